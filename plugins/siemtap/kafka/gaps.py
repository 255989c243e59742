"""What a reader of topics cannot read: offsets that Kafka deleted, partitions without a leader."""

from __future__ import annotations

import logging
import re
import time
from typing import Any, Dict, Iterator, NamedTuple, Optional, Set, Tuple

from .client import Advice, library

log = logging.getLogger("siemtap")

Partition = Tuple[str, int]  # topic, number

BROKERS_TIMEOUT = 5.0  # seconds in which one broker has to answer
LOOK_EVERY = 30.0  # seconds between two looks for partitions without a leader
LOOK_SOON = 3.0  # the same while a partition gives nothing
START_AGAIN = 5.0  # seconds until a partition that could not be started is tried again
START_PATIENCE = 30.0  # seconds for which one may fail to start until the status says so

# What librdkafka says of a partition whose new leader lacks what was read last; it names no offset
# otherwise (rd_kafka_toppar_handle_OffsetForLeaderEpoch, 2.1 and later).
TRUNCATION = "log truncation detected at "
NEW_END = re.compile(r"broker end offset is (\d{1,19}) ")


class Loss(NamedTuple):
    """Offsets that Kafka deleted before they were read: from `first` up to `next`, which is there.
    `start`, `stop`: milliseconds between which their messages were written. `start` is 0 if nothing
    says when the last message before them was written."""

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


class Failure(NamedTuple):
    """Why a partition could not be started (a KafkaError), since when, and when it is tried again,
    by the monotonic clock."""

    error: Any
    since: float
    again: float


class Gaps:
    """The gaps of one reader. Its thread calls what needs the client.

    `resets`: partitions to start again, and the offset to go on from, which may not be there; None:
    the client names none. `truncated`: those of them whose log lost its end; the offset is its end
    now. `failures`: those that could not be started, and why. `losses`: those that are not reported
    yet. `leaderless`: partitions without a leader. `reached`: the time of the last message of a
    partition that was handed out, in milliseconds.
    """

    def __init__(self, where: str, from_start: bool, advice: Advice) -> None:
        self.kafka = library()
        self.where = where
        self.from_start = from_start
        self.advice = advice
        self.resets: Dict[Partition, Optional[int]] = {}
        self.truncated: Set[Partition] = set()
        self.failures: Dict[Partition, Failure] = {}
        self.losses: Dict[Partition, Loss] = {}
        self.leaderless: Set[Partition] = set()
        self.reached: Dict[Partition, int] = {}
        self.looked = time.monotonic()  # when the leaders were asked for, by the monotonic clock

    def forget(self, places: Set[Partition]) -> None:
        """Forget partitions that others read now."""
        self.leaderless -= places
        self.truncated -= places
        for place in places:
            self.resets.pop(place, None)
            self.failures.pop(place, None)
            self.losses.pop(place, None)
            self.reached.pop(place, None)

    def clear(self) -> None:
        """Forget all partitions."""
        self.forget({*self.leaderless, *self.resets, *self.losses, *self.reached})

    # Offsets that are not there

    def metadata(self, place: Partition) -> str:
        """Return what is committed beside an offset: the time of the last message before it."""
        return str(self.reached.get(place, ""))

    def note(self, place: Partition, offset: Optional[int], text: str) -> None:
        """Note that the client cannot go on with a partition. offset: that which is not there, if
        it names one. text: its error."""
        end = NEW_END.search(text) if TRUNCATION in text else None
        self.resets[place] = int(end[1]) if end else offset
        self.truncated.discard(place)
        if end:
            self.truncated.add(place)

    def start_again(
        self, client: Any, owned: Set[Partition], undelivered: Set[Partition]
    ) -> Iterator[Any]:
        """Start partitions whose offset is not committed, or not there any more; yield each.

        undelivered: partitions of which messages are not delivered yet; they and those with a loss
        that is not reported are started later. After one that cannot be started the client has to
        poll before the next is tried: an answer is waited for.
        """
        for place, offset in list(self.resets.items()):
            if place not in owned:
                self._started(place)
            elif self._can_start(place) and place not in undelivered:
                try:
                    partition = self.kafka.TopicPartition(
                        *place, self._start(client, place, offset)
                    )
                    client.incremental_unassign([self.kafka.TopicPartition(*place)])
                    client.incremental_assign([partition])
                except self.kafka.KafkaException as raised:
                    now = time.monotonic()
                    before = self.failures.get(place)
                    since = before.since if before else now
                    self.failures[place] = Failure(raised.args[0], since, now + START_AGAIN)
                    self.losses.pop(place, None)  # it is noted again with the next try
                    return
                self._started(place)
                yield partition

    def _can_start(self, place: Partition) -> bool:
        failure = self.failures.get(place)
        return (
            place not in self.losses
            and place not in self.leaderless
            and (failure is None or time.monotonic() >= failure.again)
        )

    def _started(self, place: Partition) -> None:
        self.resets.pop(place, None)
        self.truncated.discard(place)
        self.failures.pop(place, None)

    def failure(self) -> Optional[Any]:
        """Return the KafkaError of a partition that has a leader and cannot be started."""
        failures = list(self.failures.items())
        return next((each.error for place, each in failures if place not in self.leaderless), None)

    def _start(self, client: Any, place: Partition, offset: Optional[int]) -> int:
        """Return where a partition starts: at its offset, or, if that is not there any more, with
        the oldest message; without one as `initial_offset` says. What Kafka deleted is noted as a
        loss. Where no loss will be committed, the start is: it holds after a restart, too."""
        if offset is None:
            offset = int(self._committed(client, place).offset)
        if offset < 0 and self.from_start:
            return int(self.kafka.OFFSET_BEGINNING)
        partition = self.kafka.TopicPartition(*place)
        low, high = client.get_watermark_offsets(partition, timeout=BROKERS_TIMEOUT)
        if offset < 0:
            self.reached[place] = int(time.time() * 1000)
            return self._commit(client, place, high)
        if place in self.truncated and offset >= low:
            log.warning(
                "%s: the topic %s, partition %d, lost its end, which was read: it goes on at offset"
                " %d; see `unclean.leader.election.enable`",
                self.where,
                *place,
                offset,
            )
            return self._commit(client, place, offset)
        if low <= offset <= high:
            return offset
        if offset > high:
            log.warning(
                "%s: the topic %s, partition %d, ends at offset %d and was read up to %d: it was"
                " created anew, or lost its end; it is read from its start",
                self.where,
                *place,
                high,
                offset,
            )
            return self._commit(client, place, low)
        stop = int(time.time() * 1000)
        loss = Loss(*place, offset, low, self._reached(client, place), stop)
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

    def _commit(self, client: Any, place: Partition, offset: int) -> int:
        """Commit where a partition starts, and return it."""
        position = self.kafka.TopicPartition(*place, offset, self.metadata(place))
        client.commit(offsets=[position], asynchronous=False)
        return int(offset)

    def _committed(self, client: Any, place: Partition) -> Any:
        """Return what is committed; its offset is negative if nothing is."""
        partition = self.kafka.TopicPartition(*place)
        (committed,) = client.committed([partition], timeout=BROKERS_TIMEOUT)
        if committed.error:
            raise self.kafka.KafkaException(committed.error)
        return committed

    def reported(self, loss: Loss) -> None:
        """Forget a loss; not another one of its partition, which changed hands meanwhile."""
        if self.losses.get(loss.place) is loss:
            del self.losses[loss.place]

    def is_behind_loss(self, place: Partition, offset: int) -> bool:
        """Return whether an offset follows a loss that is not reported yet."""
        loss = self.losses.get(place)
        return loss is not None and offset >= loss.next

    def _reached(self, client: Any, place: Partition) -> int:
        """Return the time of the last message that was read, also before a restart; 0 if it is not
        known."""
        if place in self.reached:
            return self.reached[place]
        metadata = self._committed(client, place).metadata or ""
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
            return self._not_started()
        topic, number = places[0]
        more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        return (
            f"the topic {topic}, partition {number}{more}, has no leader: its messages wait until"
            f" its broker is back; see {self.advice.unavailable(topic)}"
        )

    def _not_started(self) -> str:
        """Return which partition cannot be started for long, though it has a leader, and why."""
        since = time.monotonic() - START_PATIENCE
        for (topic, number), failure in sorted(self.failures.items()):
            if failure.since <= since:
                return (
                    f"the topic {topic}, partition {number}, cannot be started, and its messages"
                    f" wait: {failure.error.str()}"
                )
        return ""
