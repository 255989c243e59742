"""A fleet: workers on several machines that share the units of one configuration through Kafka."""
