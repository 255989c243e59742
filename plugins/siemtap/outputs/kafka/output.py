"""The output `kafka`: events are delivered once the transaction that holds them is committed.

One thread writes for all inputs, a transaction at a time, and a transaction holds what waits then.
The mark is saved after the commit, in path.data: what is committed when the process dies in
between is written again, with equal ids (decision 0019).
"""

from __future__ import annotations

import logging
import queue
import re
import threading
import uuid
from collections import Counter
from concurrent.futures import Future
from typing import Any, Dict, Iterable, Iterator, List, Optional, Set, Tuple

from ...core.errors import Retry, SiemtapError
from ...core.model import Mark, Unit
from ...core.rows import Event
from ...core.windows import Millis
from ...edge.encode import encode
from ...edge.store.identity import identity
from ...engine.protocols import Rejections
from ...kafka.client import Fenced, error_from
from ...kafka.topics import Topics
from ...kafka.transactions import Limits, Message, Transactions, failures
from .. import OutputContext
from ..index_names import index_name
from .settings import Settings

log = logging.getLogger("siemtap")

# of one transaction, unless a single delivery has more
MAX_MESSAGES = 10_000
MAX_BYTES = 16 * 1024**2
AT_START = 5.0  # seconds that brokers may take to answer before the inputs start
ONLY_DATASET = re.compile(r"^(%\{\[event\.dataset\]\}|[^%])*$")


class FencedExit(SystemExit):
    """The end of the process when another one uses its transactional.id. The log says why."""


class Job:
    """A delivery that waits for its transaction."""

    def __init__(self, events: List[Event], messages: List[Message]) -> None:
        self.events = events
        self.messages = messages
        self.refused: Rejections = []
        self.future: Future[Rejections] = Future()

    @property
    def bytes(self) -> int:
        return sum(len(message.value or b"") for message in self.messages)

    def drop(self, indices: Set[int]) -> None:
        """Leave out the events at these indices."""
        keep = [index for index in range(len(self.events)) if index not in indices]
        self.events = [self.events[index] for index in keep]
        self.messages = [self.messages[index] for index in keep]


class Kafka:
    """The output `kafka`."""

    together = False
    settings_type = Settings

    def __init__(self, settings: Settings, context: OutputContext = OutputContext()) -> None:
        self.settings = settings
        self.context = context
        self.where = context.section or "output.kafka"
        self.limits = Limits(settings.max_message_bytes, settings.timeout, settings.compression)
        self.transactions = Transactions(
            settings, self._transactional_id(), self.limits, self.where, context.stopping
        )
        self.counts: Counter[str] = Counter()
        self.heads: Dict[str, Tuple[Tuple[str, bytes], ...]] = {}
        # ids of events of a commit whose outcome is not known, and of such that turned out well
        self.doubtful: Set[str] = set()
        self.delivered: Set[str] = set()
        self.warned: Set[str] = set()  # topics that take smaller messages than the settings say
        if settings.tls and not settings.verify:
            log.warning(
                "%s: certificates are not verified (verify: false); anybody on the network path can"
                " read the password and the events",
                self.where,
            )
        self._check_topics()
        self.jobs: queue.SimpleQueue[Optional[Job]] = queue.SimpleQueue()
        self.writer = threading.Thread(target=self._write_all, name="kafka-writer", daemon=True)
        self.writer.start()

    @staticmethod
    def location(settings: Settings) -> str:
        """Return where the events are, to complete "the events are …"."""
        return (
            f"in Kafka, in the topics {settings.topic} of {', '.join(settings.hosts)}; read them"
            " with isolation.level=read_committed"
        )

    def _transactional_id(self) -> str:
        """Return an id that path.data keeps: a successor with it fences this process. Without
        path.data, as for `siemtap test output`, nobody is fenced."""
        database = self.context.database
        own = identity(database) if database else f"once-{uuid.uuid4().hex}"
        return f"{self.settings.client_id}-{own}-{self.where}"

    def _check_topics(self) -> None:
        """Refuse to start if a topic or a right is missing. Brokers that are away are no reason:
        then the inputs wait."""
        names = topics_of(self.settings, self.context.delivers)
        if not names:
            return
        try:
            for _, error in Topics(self.settings, self.where, AT_START).check(names):
                raise error
        except Retry as error:
            log.warning("%s; the inputs wait until it answers", error)

    # Messages

    def _message(self, key: bytes, event: Event) -> Message:
        details = event["event"]
        head = self.heads.get(details["dataset"])
        if head is None:
            head = self.heads[details["dataset"]] = (
                ("dataset", details["dataset"].encode()),
                ("schema.version", str(event.get("ecs", {}).get("version", "")).encode()),
            )
        return Message(
            index_name(self.settings.topic, event),
            key,
            encode(event),
            (*head, ("event.id", details["id"].encode())),
        )

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Write the events in one transaction, perhaps with those of other units; return those that
        are too large.

        Raise Retry if the brokers do not commit in time. FencedExit ends the process.
        """
        key = str(unit).encode()
        job = Job(list(events), [self._message(key, event) for event in events])
        limit = self.settings.max_message_bytes
        large = {
            index for index, message in enumerate(job.messages) if len(message.value or b"") > limit
        }
        for index in sorted(large):
            size = len(job.messages[index].value or b"")
            reason = f"{size:,} bytes are more than max_message_bytes ({limit:,})"
            job.refused.append((job.events[index], reason))
        job.drop(large)
        if job.messages:
            self.jobs.put(job)
        else:
            job.future.set_result(job.refused)
        try:
            return job.future.result()
        except Fenced as error:
            log.error(
                "%s, and siemtap stops: does a copy of this path.data run elsewhere? If this"
                " process was only paused for long, start it again",
                error,
            )
            raise FencedExit(1) from None
        except Retry as error:
            raise Retry(f"{error.message}; {len(events)} events wait", after=error.after) from None

    # The writer's thread

    def _write_all(self) -> None:
        waiting: Optional[Job] = None
        while True:
            job = waiting or self.jobs.get()
            if job is None:
                return
            jobs, waiting, ends = self._joined(job)
            try:
                self._write(jobs)
            except SiemtapError as error:
                for job in jobs:
                    if not job.future.done():
                        job.future.set_exception(error.with_traceback(None))
            except BaseException as error:
                for job in jobs:
                    if not job.future.done():
                        job.future.set_exception(error)
            if ends:
                return

    def _joined(self, job: Job) -> Tuple[List[Job], Optional[Job], bool]:
        """Return the jobs of the next transaction, one that does not fit, and whether the output
        is closed."""
        jobs, number, size = [job], len(job.messages), job.bytes
        while True:
            try:
                other = self.jobs.get_nowait()
            except queue.Empty:
                return jobs, None, False
            if other is None:
                return jobs, None, True
            number += len(other.messages)
            size += other.bytes
            if number > MAX_MESSAGES or size > MAX_BYTES:
                return jobs, other, False
            jobs.append(other)

    def _write(self, jobs: List[Job]) -> None:
        """Write until each job is committed or has its error."""
        self._resolve()
        for job in jobs:
            self._skip_delivered(job)
        try:
            while jobs:
                messages = [message for job in jobs for message in job.messages]
                try:
                    errors = self.transactions.write(messages) if messages else {}
                except Retry:
                    if self.transactions.in_doubt:
                        self.doubtful |= ids(job.events for job in jobs)
                    raise
                if not errors:
                    self.counts.update(transactions=1)
                    for job in jobs:
                        job.future.set_result(job.refused)
                    return
                jobs = self._without_failed(jobs, errors)
        finally:
            if self.transactions.limits.alone:
                self.transactions.with_limits(self.limits)

    def _resolve(self) -> None:
        """Learn what became of a commit without an answer. Raise Retry if nobody knows yet."""
        if not self.transactions.in_doubt:
            return
        if self.transactions.resolve():
            self.delivered |= self.doubtful
        self.doubtful = set()

    def _skip_delivered(self, job: Job) -> None:
        if not self.delivered:
            return
        names = [event["event"]["id"] for event in job.events]
        job.drop({index for index, id in enumerate(names) if id in self.delivered})
        self.delivered.difference_update(names)

    def _without_failed(self, jobs: List[Job], errors: Dict[int, Any]) -> List[Job]:
        """Return the jobs to write again: without those that failed, and without events that are
        too large for their topic."""
        large, others = failures(errors)
        rest: List[Job] = []
        start = 0
        for job in jobs:
            own = range(start, start + len(job.messages))
            start = own.stop
            failed = next((index for index in others if index in own), None)
            if failed is not None:
                error = errors[failed]
                topic = job.messages[failed - own.start].topic
                meaning = error_from(error, self.where, self.transactions.advice, topic)
                job.future.set_exception(meaning)
                continue
            if self.transactions.limits.alone:
                self._refuse(job, {index - own.start for index in large if index in own}, errors)
            rest.append(job)
        if large and not self.transactions.limits.alone:
            # The size of a batch was refused: which of its messages are too large by themselves?
            self.transactions.with_limits(self.limits._replace(alone=True))
        return rest

    def _refuse(self, job: Job, indices: Set[int], errors: Dict[int, Any]) -> None:
        for index in sorted(indices):
            message = job.messages[index]
            size = len(message.value or b"")
            reason = f"{size:,} bytes are more than the topic {message.topic} takes"
            job.refused.append((job.events[index], reason))
            if message.topic not in self.warned:
                self.warned.add(message.topic)
                log.warning(
                    "%s: %s; lower `max_message_bytes`, or raise the topic's max.message.bytes",
                    self.where,
                    reason,
                )
        job.drop(indices)

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        """Return None: a topic cannot be searched."""
        return None

    def read(
        self, unit: Unit, namespace: str, start: Millis, stop: Millis
    ) -> Optional[Iterator[Event]]:
        """Return None: a topic cannot be searched."""
        return None

    def close(self) -> None:
        self.jobs.put(None)
        self.writer.join()
        self.transactions.close()


def ids(groups: Iterable[List[Event]]) -> Set[str]:
    return {event["event"]["id"] for events in groups for event in events}


def topics_of(settings: Settings, datasets: Iterable[str]) -> List[str]:
    """Return the topics that events of these datasets go to; [] if the pattern needs more than a
    dataset's name."""
    if not ONLY_DATASET.match(settings.topic):
        return []
    names = {index_name(settings.topic, {"event": {"dataset": name}}) for name in datasets}
    return sorted(names)
