"""What a reader of topics cannot read: offsets that Kafka deleted, partitions without a leader."""

from __future__ import annotations

import logging
import time
from typing import Any, Dict, Iterator, NamedTuple, Optional, Set, Tuple

from .client import Advice, library

log = logging.getLogger("siemtap")

Partition = Tuple[str, int]  # topic, number

BROKERS_TIMEOUT = 5.0  # seconds in which one broker has to answer
LOOK_EVERY = 30.0  # seconds between two looks for partitions without a leader
LOOK_SOON = 3.0  # the same while a partition gives nothing


class Loss(NamedTuple):
    """Offsets that Kafka deleted before they were read: from `first` up to `next`, which is there.
    `start`, `stop`: milliseconds between which their messages were written."""

    topic: str
    partition: int
    first: int
    next: int
    start: int
    stop: int

    @property
    def place(self) -> Partition:
        return self.topic, self.partition

    @property
    def number(self) -> int:
        """How many offsets: messages, and markers of transactions."""
        return self.next - self.first


class Gaps:
    """The gaps of one reader. Its thread calls what needs the client.

    `resets`: partitions to start again, and the offset that is not there; None: none is committed.
    `losses`: those that are not reported yet. `leaderless`: partitions without a leader. `reached`:
    the time of the last message of a partition that was handed out, in milliseconds.
    """

    def __init__(self, where: str, from_start: bool, advice: Advice) -> None:
        self.kafka = library()
        self.where = where
        self.from_start = from_start
        self.advice = advice
        self.resets: Dict[Partition, Optional[int]] = {}
        self.losses: Dict[Partition, Loss] = {}
        self.leaderless: Set[Partition] = set()
        self.reached: Dict[Partition, int] = {}
        self.looked = time.monotonic()  # when the leaders were asked for, by the monotonic clock

    def forget(self, places: Set[Partition]) -> None:
        """Forget partitions that others read now."""
        self.leaderless -= places
        for place in places:
            self.resets.pop(place, None)
            self.losses.pop(place, None)
            self.reached.pop(place, None)

    def clear(self) -> None:
        """Forget all partitions."""
        self.forget({*self.leaderless, *self.resets, *self.losses, *self.reached})

    # Offsets that are not there

    def metadata(self, place: Partition) -> str:
        """Return what is committed beside an offset: the time of the last message before it."""
        return str(self.reached.get(place, ""))

    def start_again(self, client: Any, owned: Set[Partition]) -> Iterator[Any]:
        """Start partitions whose offset is not committed, or not there any more; yield each.

        KafkaException: the brokers do not say what they have; it is tried again.
        """
        for place, offset in list(self.resets.items()):
            if place in owned:
                start = self._start(client, place, offset)
                client.incremental_unassign([self.kafka.TopicPartition(*place)])
                partition = self.kafka.TopicPartition(*place, start)
                client.incremental_assign([partition])
                yield partition
            self.resets.pop(place, None)

    def _start(self, client: Any, place: Partition, offset: Optional[int]) -> int:
        """Return where a partition starts: as `initial_offset` says, or, if its offset is not there
        any more, with the oldest message. What Kafka deleted is noted as a loss."""
        if offset is None:
            return int(self.kafka.OFFSET_BEGINNING if self.from_start else self.kafka.OFFSET_END)
        partition = self.kafka.TopicPartition(*place)
        low, high = client.get_watermark_offsets(partition, timeout=BROKERS_TIMEOUT)
        if offset >= low:
            log.warning(
                "%s: the topic %s, partition %d, ends at offset %d and was read up to %d: it was"
                " created anew, or lost its end; it is read from its start",
                self.where,
                *place,
                high,
                offset,
            )
            return int(low)
        stop = int(time.time() * 1000)
        loss = Loss(*place, offset, low, self._reached(client, place) or stop, stop)
        log.error(
            "%s: Kafka deleted %s offsets of the topic %s, partition %d, before they were read (%d"
            " to %d): keep messages for longer (`retention.ms`, `retention.bytes`)",
            self.where,
            f"{loss.number:,}",
            *place,
            offset,
            low - 1,
        )
        self.losses[place] = loss
        return int(low)

    def is_behind_loss(self, place: Partition, offset: int) -> bool:
        """Return whether an offset follows a loss that is not reported yet."""
        loss = self.losses.get(place)
        return loss is not None and offset >= loss.next

    def _reached(self, client: Any, place: Partition) -> int:
        """Return the time of the last message that was read, also before a restart; 0 if it is not
        known."""
        if place in self.reached:
            return self.reached[place]
        partition = self.kafka.TopicPartition(*place)
        (committed,) = client.committed([partition], timeout=BROKERS_TIMEOUT)
        metadata = committed.metadata or ""
        return int(metadata) if metadata.isascii() and metadata.isdigit() else 0

    # Partitions without a leader

    def look(self, client: Any, owned: Set[Partition], waits: bool) -> None:
        """Learn from time to time which partitions have no leader: the client says nothing of
        them. waits: a partition gives nothing."""
        now = time.monotonic()
        if not owned:
            self.looked = now  # the first messages come soon
        if not owned or now - self.looked < (LOOK_SOON if waits else LOOK_EVERY):
            return
        self.looked = now
        names = {topic for topic, _ in owned}
        try:
            answer = client.list_topics(
                names.pop() if len(names) == 1 else None, timeout=BROKERS_TIMEOUT
            )
        except self.kafka.KafkaException:
            return  # what is wrong shows where the brokers are needed
        leaders = {
            (topic.topic, number): partition.leader
            for topic in answer.topics.values()
            for number, partition in topic.partitions.items()
        }
        before = self.leaderless
        self.leaderless = {place for place in owned if leaders.get(place, 0) < 0}
        if self.leaderless - before:
            log.warning("%s: %s", self.where, self.unread())

    def unread(self) -> str:
        """Return which partitions cannot be read, and what to do; "" if there is none."""
        places = sorted(self.leaderless)
        if not places:
            return ""
        topic, number = places[0]
        more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        return (
            f"the topic {topic}, partition {number}{more}, has no leader: its messages wait until"
            f" its broker is back; see {self.advice.unavailable(topic)}"
        )
