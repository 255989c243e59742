"""The output `kafka`: events for topics of Apache Kafka, in transactions."""
