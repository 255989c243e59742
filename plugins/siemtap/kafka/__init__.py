"""Apache Kafka, for the output, the input and the fleet: settings, errors, topics, transactions."""
