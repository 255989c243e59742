"""librdkafka's mock cluster: real listeners on loopback, quick, without aborts, fencing and
compaction. It creates topics by itself, with four partitions."""

from __future__ import annotations

import time
import uuid

from confluent_kafka import Consumer, Producer, TopicPartition


def committed(hosts: list[str], group: str, topic: str) -> int:
    """Return how many messages of a topic a group has committed."""
    consumer = Consumer({"bootstrap.servers": ",".join(hosts), "group.id": group})
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in partitions]
        return sum(max(0, each.offset) for each in consumer.committed(places, timeout=20))
    finally:
        consumer.close()


class Mock:
    """A cluster of three brokers in this process. `hosts`: their addresses."""

    def __init__(self) -> None:
        self.cluster = Producer({"test.mock.num.brokers": 3, "bootstrap.servers": "ignored:1"})
        brokers = self.cluster.list_topics(timeout=10).brokers.values()
        self.hosts = [f"{broker.host}:{broker.port}" for broker in brokers]

    def write(self, topic: str, *values: bytes, key: bytes = b"unit", headers=()) -> None:
        producer = Producer({"bootstrap.servers": ",".join(self.hosts)})
        for value in values:
            producer.produce(topic, value, key, headers=list(headers))
        assert producer.flush(30) == 0

    def read(self, topic: str, number: int) -> list:
        """Return the messages of a topic, ordered by their values, once there are so many."""
        consumer = Consumer(
            {
                "bootstrap.servers": ",".join(self.hosts),
                "group.id": uuid.uuid4().hex,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe([topic])
        messages, end = [], time.monotonic() + 60
        try:
            while len(messages) < number:
                assert time.monotonic() < end, f"{len(messages)} of {number} messages"
                message = consumer.poll(1)
                if message is not None:
                    assert not message.error(), message.error()
                    messages.append(message)
            return sorted(messages, key=lambda message: message.value())
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> int:
        return committed(self.hosts, group, topic)

    def __enter__(self) -> Mock:
        return self

    def __exit__(self, *exc) -> None:
        del self.cluster
