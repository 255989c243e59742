"""A consumer of a group, polled by a thread of its own: while the SIEM is slow its partitions are
paused, and the group does not evict it."""

from __future__ import annotations

import logging
import queue
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Set

from ..core.errors import Retry, SiemtapError
from ..engine.mapper import traceback_text
from .backlog import Backlog, Received, received
from .client import Advice, Errors, TlsFiles, error_from, library, new_client, properties
from .gaps import BROKERS_TIMEOUT, Gaps, Loss, Partition
from .settings import KafkaConnection
from .topics import Topics

log = logging.getLogger("siemtap")

# What may wait for the SIEM before partitions are paused; below half of it they are resumed.
MAX_WAITING = 4_000  # messages
MAX_WAITING_BYTES = 8 * 1024**2
AT_ONCE = 500  # messages of one poll
POLL = 0.1  # seconds
POLL_IN_HAND = 0.005  # the same while a batch is in hand, whose commit will follow
COMMIT_TIMEOUT = 30.0  # seconds
REVOKE_WAIT = 10.0  # seconds that a batch in hand may take before its partitions are given away
SESSION_MS = 10_000  # until the group misses a reader that died; librdkafka's default is 45 s
REFRESH_MS = 30_000  # between two looks for new topics
READ_RIGHTS = ("Read", "Describe")


class Commit(NamedTuple):
    """Offsets that the reader's thread is asked to commit. Only that thread calls the consumer:
    while one thread polls, librdkafka lets no other in."""

    offsets: Dict[Partition, int]
    done: Future[None]


class Consumer:
    """The messages of a group's partitions, in the order of each partition.

    `take` hands out messages; `done` says that the last ones are delivered and their offsets are
    committed, `again` that they have to be handed out once more.
    """

    def __init__(
        self,
        settings: KafkaConnection,
        topics: Iterable[str],
        group: str,
        from_start: bool,
        where: str,
    ) -> None:
        self.kafka = library()
        self.topics = list(topics)
        self.group = group
        self.where = where
        self.settings = settings
        self.advice = Advice(settings, group)
        self.errors = Errors()
        self.files = TlsFiles(settings)
        self.properties = {
            **properties(settings),
            "group.id": group,
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",  # `gaps` decides, and tells what was deleted
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_MS,
            "queued.max.messages.kbytes": 16_384,
            "topic.metadata.refresh.interval.ms": REFRESH_MS,
            "error_cb": self.errors.report,
        }
        self.changed = threading.Condition()
        self.backlog = Backlog()
        self.commits: queue.SimpleQueue[Commit] = queue.SimpleQueue()
        self.owned: Optional[Set[Partition]] = None  # None: the group has not assigned any yet
        self.at_end: Set[Partition] = set()
        self.gaps = Gaps(where, from_start, self.advice)
        self.paused = False
        self.failure: Optional[Any] = None  # the KafkaError of a topic or of the group
        self.closing = False
        self.gave_up = False  # the reader's thread has ended by a fault
        self.consumer: Any = None
        self.thread: Optional[threading.Thread] = None

    def start(self) -> None:
        """Join the group, unless that was done. After certificates were renewed, and where reading
        was given up, it is joined anew; what was not committed is read again."""
        if (self.files.changed() or self.gave_up) and self.thread is not None:
            self.close()
            self._reset()
        if self.thread is None:
            self.consumer = new_client(self.kafka.Consumer, self.properties, self.where)
            self.consumer.subscribe(
                self.topics,
                on_assign=self._assigned,
                on_revoke=self._revoked,
                on_lost=self._lost,
            )
            self.thread = threading.Thread(target=self._poll_all, name="kafka-reader", daemon=True)
            self.thread.start()

    def close(self) -> None:
        """Leave the group."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        if self.thread is not None:
            self.thread.join()

    def _reset(self) -> None:
        """Forget the reader that was closed."""
        self.backlog = Backlog()
        self.owned = None
        self.at_end = set()
        self.gaps.clear()
        self.paused = self.closing = self.gave_up = False
        self.failure = None
        self.thread = None

    # The reader's thread

    def _poll_all(self) -> None:
        try:
            while not self.closing:
                try:
                    self._commit_requested()
                    self._poll()
                    self._mind_gaps()
                except (self.kafka.KafkaException, RuntimeError) as raised:
                    with self.changed:
                        self.failure = getattr(raised, "args", [None])[0]
                    time.sleep(POLL)
            self._commit_requested()
        except Exception as error:  # `start` joins the group anew
            self.gave_up = True
            log.error("%s: reading was given up: %s", self.where, type(error).__name__)
            log.debug("%s", traceback_text(error))
        finally:
            self.consumer.close()

    def _poll(self) -> None:
        messages = self.consumer.consume(AT_ONCE, POLL_IN_HAND if self.backlog.in_hand else POLL)
        with self.changed:
            for message in messages:
                self._sort(message)
            if messages:
                self.changed.notify_all()
            number, size = len(self.backlog.waiting), self.backlog.size
            too_much = number >= MAX_WAITING or size >= MAX_WAITING_BYTES
            little = number <= MAX_WAITING // 2 and size <= MAX_WAITING_BYTES // 2
        if too_much and not self.paused:
            self.consumer.pause(self.consumer.assignment())
            self.paused = True
        elif little and self.paused:
            self.consumer.resume(self.consumer.assignment())
            self.paused = False

    def _sort(self, message: Any) -> None:
        """Keep a message or an error. Called with the lock held."""
        error = message.error()
        place = (message.topic(), message.partition())
        if error is None:
            self.failure = None
            self.at_end.discard(place)
            self.gaps.leaderless.discard(place)
            if place in (self.owned or ()):
                self.backlog.add(received(message))
        elif error.name() == "_PARTITION_EOF":
            self.failure = None
            self.at_end.add(place)
            self.gaps.leaderless.discard(place)
        elif error.name() == "_AUTO_OFFSET_RESET":
            self.at_end.discard(place)
            self.backlog.begins_anew(place)
            self.gaps.note(place, message.offset(), error.str())
        elif error.name() == "_MAX_POLL_EXCEEDED":
            log.warning("%s: %s", self.where, error.str())
        else:
            self.failure = error

    def _mind_gaps(self) -> None:
        """Start what has no offset, and learn which partitions have no leader."""
        owned = self.owned or set()
        if self.gaps.resets:
            with self.changed:
                undelivered = {each.place for each in self.backlog.undelivered()}
            for partition in self.gaps.start_again(self.consumer, owned, undelivered):
                if self.paused:
                    self.consumer.pause([partition])
        waits = not self.backlog.waiting and not self._is_read()
        self.gaps.look(self.consumer, owned, waits)

    def _commit_requested(self) -> None:
        """Commit what was asked for, of partitions that are ours, with the time of the last
        message."""
        while not self.commits.empty():
            commit = self.commits.get()
            with self.changed:
                self.backlog.committed(commit.offsets)
            positions = [
                self.kafka.TopicPartition(*place, offset, self.gaps.metadata(place))
                for place, offset in commit.offsets.items()
                if place in (self.owned or ())
            ]
            try:
                if positions:
                    self.consumer.commit(offsets=positions, asynchronous=False)
                commit.done.set_result(None)
            except self.kafka.KafkaException as raised:
                commit.done.set_exception(self._error(raised.args[0]))

    # Partitions that come and go; called in the reader's thread, within a poll

    def _assigned(self, consumer: Any, partitions: List[Any]) -> None:
        with self.changed:
            new = {(each.topic, each.partition) for each in partitions}
            self.owned = (self.owned or set()) | new
            self.backlog.take_over(new)
            self.changed.notify_all()
        consumer.incremental_assign(partitions)
        if self.paused:
            consumer.pause(partitions)

    def _revoked(self, consumer: Any, partitions: List[Any]) -> None:
        """Give partitions away, after the batch in hand if it is soon delivered: the next owner
        then reads nothing twice."""
        places = {(each.topic, each.partition) for each in partitions}
        end = time.monotonic() + REVOKE_WAIT
        while time.monotonic() < end and not self.closing:
            self._commit_requested()
            with self.changed:
                if not places & self.backlog.places_in_hand():
                    break
                self.changed.wait(POLL_IN_HAND)
        with self.changed:
            self._forget(places)
        consumer.incremental_unassign(partitions)

    def _lost(self, consumer: Any, partitions: List[Any]) -> None:
        with self.changed:
            self._forget({(each.topic, each.partition) for each in partitions})
        consumer.incremental_unassign(partitions)

    def _forget(self, places: Set[Partition]) -> None:
        self.owned = (self.owned or set()) - places
        self.at_end -= places
        self.failure = None  # what is still wrong is told again
        self.gaps.forget(places)
        self.backlog.give_away(places)
        self.changed.notify_all()

    # The worker's thread

    def take(self, number: int, size: int, patience: float) -> List[Received]:
        """Return the next messages, at most `number` and about `size` bytes; [] once all
        partitions are read to their ends, but for those without a leader, or if a loss has to be
        reported before what follows it. They are in hand until `done` or `again`.

        Raise Retry if nothing is assigned, or nothing comes, within `patience` seconds; and what
        Kafka reports.
        """
        end = time.monotonic() + patience
        with self.changed:
            while not self.backlog.waiting:
                if self.failure is not None:
                    raise self._error(self.failure)
                if self.gave_up:  # its partitions are given away, so that none is left to read
                    raise Retry(f"{self.where}: reading was given up; the log says why")
                if self._is_read() or self.gaps.losses:
                    break
                if time.monotonic() > end:
                    break
                self.changed.wait(POLL)
            messages = self.backlog.take(number, size, self._is_free)
            if messages:
                self.gaps.reached.update({each.place: each.time for each in messages})
                return messages
            if self.gaps.losses:
                return []
            is_read = self._is_read()
        self._check_brokers()
        if not is_read:
            failure = self.gaps.failure()
            if failure is not None:
                raise self._error(failure)
            raise Retry(f"{self.where}: no message came within {patience:g} s")
        return []

    def _is_free(self, message: Received) -> bool:
        """Return whether no loss has to be reported before a message."""
        return not self.gaps.is_behind_loss(message.place, message.offset)

    def _is_read(self) -> bool:
        return self.owned is not None and self.owned - self.gaps.leaderless <= self.at_end

    def unreported(self) -> List[Loss]:
        """Return what Kafka deleted, of partitions whose earlier messages are all delivered."""
        with self.changed:
            waiting = {each.place for each in self.backlog.undelivered() if self._is_free(each)}
            losses = list(self.gaps.losses.values())
            return [loss for loss in losses if loss.place not in waiting]

    def reported(self, loss: Loss) -> None:
        """Forget a loss whose event is delivered."""
        with self.changed:
            self.gaps.reported(loss)

    def is_doubtful(self) -> bool:
        """Return whether messages in hand may have been delivered before: by a reader that died, or
        by an attempt that failed."""
        with self.changed:
            return self.backlog.is_doubtful()

    def done(self) -> None:
        """Forget the messages in hand: their offsets are committed."""
        with self.changed:
            self.backlog.done()
            self.changed.notify_all()

    def again(self) -> None:
        """Put the messages in hand back, those of partitions that are still ours."""
        with self.changed:
            self.backlog.again(self.owned or set())
            self.changed.notify_all()

    def commit(self, offsets: Dict[Partition, int]) -> None:
        """Commit the offsets to go on from, of partitions that are still ours.

        Raise Retry if the group is being shared out anew, or no broker answers.
        """
        commit = Commit(offsets, Future())
        self.commits.put(commit)
        try:
            commit.done.result(COMMIT_TIMEOUT)
        except FutureTimeout:
            raise Retry(
                f"{self.where}: no broker has committed the offsets within {COMMIT_TIMEOUT:g} s"
            ) from None

    def _check_brokers(self) -> None:
        """Raise Retry if no broker answers, or what a refused login means. Only asked after an
        error beside the calls, or while the group has assigned nothing."""
        if self.errors.take() is None and self.owned is not None:
            return
        Topics(self.settings, self.where, BROKERS_TIMEOUT).brokers()
        if self.owned is None:
            raise Retry(f"{self.where}: the group {self.group} has assigned no partition yet")

    def _error(self, error: Any) -> SiemtapError:
        topic = next((name for name in self.topics if not name.startswith("^")), "<topic>")
        for name in self.topics:
            if name in str(error.str()):
                topic = name
        return error_from(error, self.where, self.advice, topic, READ_RIGHTS, self.errors.take())
