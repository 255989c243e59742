"""librdkafka's mock cluster: real listeners on loopback, quick, without aborts, fencing and
compaction. It creates topics by itself, with four partitions."""

from __future__ import annotations

import ctypes
import os
import time
import uuid
from pathlib import Path

import confluent_kafka
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


def _library() -> ctypes.CDLL:
    """Return the librdkafka that confluent_kafka has loaded: Python cannot ask for all of it."""
    folder = Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs"
    (path,) = folder.glob("librdkafka*")
    library = ctypes.CDLL(str(path))
    library.rd_kafka_handle_mock_cluster.restype = ctypes.c_void_p
    library.rd_kafka_handle_mock_cluster.argtypes = [ctypes.c_void_p]
    library.rd_kafka_mock_partition_set_leader.argtypes = [
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_int32,
        ctypes.c_int32,
    ]
    return library


class Mock:
    """A cluster of three brokers in this process. `hosts`: their addresses."""

    def __init__(self) -> None:
        self.cluster = Producer({"test.mock.num.brokers": 3, "bootstrap.servers": "ignored:1"})
        brokers = self.cluster.list_topics(timeout=10).brokers.values()
        self.hosts = [f"{broker.host}:{broker.port}" for broker in brokers]

    def write(self, topic: str, *values: bytes, key: bytes = b"unit", headers=(), to=-1) -> None:
        """Write messages, to the partition `to`, or that of the key."""
        producer = Producer({"bootstrap.servers": ",".join(self.hosts)})
        for value in values:
            producer.produce(topic, value, key, to, headers=list(headers))
        assert producer.flush(30) == 0

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Make a broker, by its number from 1 on, the leader of a partition; -1: it has none."""
        library = _library()
        # the handle is the first thing of confluent_kafka's object
        handle = ctypes.c_void_p.from_address(id(self.cluster) + object.__basicsize__)
        cluster = library.rd_kafka_handle_mock_cluster(handle)
        assert not library.rd_kafka_mock_partition_set_leader(
            cluster, topic.encode(), partition, broker
        )

    def delete_old(self, topic: str, partition: int) -> int:
        """Write to a partition until the cluster has deleted its oldest messages: it keeps 5 MB.
        Return the first offset that is left."""
        place = TopicPartition(topic, partition)
        consumer = Consumer({"bootstrap.servers": ",".join(self.hosts), "group.id": "deletes"})
        try:
            before = consumer.get_watermark_offsets(place, timeout=20)[0]
            while True:
                self.write(topic, *(os.urandom(400_000) for _ in range(5)), to=partition)
                low, _ = consumer.get_watermark_offsets(place, timeout=20)
                if low > before:
                    return low
        finally:
            consumer.close()

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
