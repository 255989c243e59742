"""Checkpoints as messages of a compacted topic, and reading what a partition holds."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ...core.errors import Retry
from ...core.model import Mark, Unit, damaged
from ...core.windows import Millis
from ...kafka.client import Advice, Errors, error_from, library, new_client, properties
from .settings import Cluster

STEP = 1.0  # seconds of one wait for messages
END = "_PARTITION_EOF"


def to_message(unit: Unit, mark: Mark) -> bytes:
    """Return a checkpoint as the value of a message."""
    return json.dumps({**unit._asdict(), **mark.to_json()}, separators=(",", ":")).encode()


def from_message(value: bytes) -> Tuple[Unit, Mark]:
    """Read what `to_message` wrote. ConfigError for anything else."""
    try:
        parts = json.loads(value)
        unit = Unit(*(str(parts[name]) for name in Unit._fields))
        return unit, Mark.from_json(parts)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise damaged("message", value[:60], "one that siemtap writes") from None


class Latest(NamedTuple):
    """The newest message of a key, and the partition and time of it (milliseconds since 1970)."""

    value: bytes
    partition: int
    time: Millis


def latest(
    settings: Cluster,
    topic: str,
    partitions: Iterable[int],
    stopping: threading.Event,
    timeout: float = 60.0,
    where: str = "cluster.kafka",
) -> Dict[bytes, Latest]:
    """Return the newest message of each key of some partitions, as committed. A key that was
    removed is left out.

    Raise Retry if the brokers do not answer within `timeout` seconds, or `stopping` is set.
    """
    kept: Dict[bytes, Latest] = {}
    for message in _committed(settings, topic, list(partitions), stopping, timeout, where):
        if message.value() is None:
            kept.pop(message.key(), None)
        else:
            kept[message.key()] = Latest(
                message.value(), message.partition(), message.timestamp()[1]
            )
    return kept


def _committed(
    settings: Cluster,
    topic: str,
    partitions: List[int],
    stopping: threading.Event,
    timeout: float,
    where: str,
) -> Iterator[Any]:
    """Yield the committed messages of partitions up to their ends. Markers of transactions take up
    offsets: only the brokers know where the end is."""
    kafka = library()
    errors = Errors()
    consumer = new_client(
        kafka.Consumer,
        {
            **properties(settings),
            "group.id": settings.group,  # it is not joined, and nothing is committed
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "error_cb": errors.report,
        },
        where,
    )
    left = set(partitions)
    deadline = time.monotonic() + timeout
    last: Optional[Any] = None
    try:
        consumer.assign(
            [kafka.TopicPartition(topic, number, kafka.OFFSET_BEGINNING) for number in partitions]
        )
        while left:
            if stopping.is_set() or time.monotonic() > deadline:
                why = "siemtap stops" if stopping.is_set() else "no answer in time"
                reported = errors.take() or last
                more = f" ({reported.str()})" if reported is not None else ""
                raise Retry(f"{where}: reading {topic}: {why}{more}")
            for message in consumer.consume(1_000, STEP):
                error = message.error()
                if error is None:
                    yield message
                elif error.name() == END:
                    left.discard(message.partition())
                elif error.retriable() or error.name().startswith("_"):
                    last = error
                else:
                    raise error_from(
                        error,
                        where,
                        Advice(settings, settings.group),
                        topic,
                        ("Read",),
                        errors.take(),
                    )
    finally:
        consumer.close()
