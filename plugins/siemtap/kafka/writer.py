"""Writes for several threads, one transaction at a time: a transaction holds what waits then."""

from __future__ import annotations

import logging
import queue
import threading
from concurrent.futures import Future
from typing import Any, Dict, List, NamedTuple, Optional, Set, Tuple

from ..core.errors import ConfigError, Retry, SiemtapError
from .client import error_from
from .transactions import Message, Transactions, failures

log = logging.getLogger("siemtap")

EVENT_ID = "event.id"  # the header by which a message is recognized after a commit in doubt
# of one transaction, unless a single delivery has more
MAX_MESSAGES = 10_000
MAX_BYTES = 16 * 1024**2


class Numbered(NamedTuple):
    """A message, and its index in the call that wrote it."""

    place: int
    message: Message


class Job:
    """Messages that wait for their transaction. The last `required` of them are never left out."""

    def __init__(self, messages: List[Message], required: int) -> None:
        self.parts = [Numbered(place, message) for place, message in enumerate(messages)]
        self.optional = len(messages) - required
        self.refused: Dict[int, str] = {}
        self.future: Future[Dict[int, str]] = Future()

    @property
    def bytes(self) -> int:
        return sum(len(part.message.value or b"") for part in self.parts)


class Writer:
    """A thread that owns a producer. `commits`: transactions so far.

    After a commit whose outcome is not known, the next write learns it first, and leaves out the
    messages that are there already.
    """

    def __init__(self, transactions: Transactions, name: str = "kafka-writer") -> None:
        self.transactions = transactions
        self.limits = transactions.limits
        self.commits = 0
        # ids of messages of a commit whose outcome is not known, and of such that turned out well
        self.doubtful: Set[bytes] = set()
        self.delivered: Set[bytes] = set()
        self.warned: Set[str] = set()  # topics that take smaller messages than the settings say
        self.jobs: queue.SimpleQueue[Optional[Job]] = queue.SimpleQueue()
        self.lock = threading.Lock()
        self.closed = False
        self.thread = threading.Thread(target=self._write_all, name=name, daemon=True)
        self.thread.start()

    def write(self, messages: List[Message], required: int = 0) -> Dict[int, str]:
        """Write messages in one transaction, perhaps with those of other threads. Return the
        reasons of those that are too large for their topic and left out, by their index.

        required: so many messages at the end are not left out; ConfigError if one is too large.
        Raise Retry if the brokers do not commit in time, Fenced if another process uses the id.
        """
        if not messages:
            return {}
        job = Job(messages, required)
        with self.lock:
            if self.closed:
                raise Retry(f"{self.transactions.where}: the producer is closed")
            self.jobs.put(job)
        return job.future.result()

    def close(self) -> None:
        """End after the transaction in hand. What waits fails with Retry."""
        with self.lock:
            self.closed = True
            self.jobs.put(None)
        self.thread.join()
        self.transactions.close()

    def _write_all(self) -> None:
        waiting: Optional[Job] = None
        while True:
            job = waiting or self.jobs.get()
            if job is None:
                return
            if self.closed:
                job.future.set_exception(Retry(f"{self.transactions.where}: the producer closes"))
                waiting = None
                continue
            jobs, waiting, ends = self._joined(job)
            try:
                self._write(jobs)
            except BaseException as error:  # each of them belongs to whoever waits for it
                for job in jobs:
                    if not job.future.done():
                        job.future.set_exception(error.with_traceback(None))
            if ends:
                return

    def _joined(self, job: Job) -> Tuple[List[Job], Optional[Job], bool]:
        """Return the jobs of the next transaction, one that does not fit, and whether this is the
        end."""
        jobs, number, size = [job], len(job.parts), job.bytes
        while True:
            try:
                other = self.jobs.get_nowait()
            except queue.Empty:
                return jobs, None, False
            if other is None:
                return jobs, None, True
            number += len(other.parts)
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
                messages = [part.message for job in jobs for part in job.parts]
                try:
                    errors = self.transactions.write(messages) if messages else {}
                except SiemtapError:
                    if self.transactions.in_doubt:
                        self.doubtful |= {id for id in map(_id_of, messages) if id}
                    raise
                if not errors:
                    self.commits += 1
                    for job in jobs:
                        job.future.set_result(job.refused)
                    return
                jobs = self._without_failed(jobs, errors)
        finally:
            # other limits close the producer, which alone can learn of a commit in doubt
            if self.transactions.limits.alone and not self.transactions.in_doubt:
                self.transactions.with_limits(self.limits)

    def _resolve(self) -> None:
        """Learn what became of a commit without an answer. Raise Retry if nobody knows yet, or if
        it was aborted."""
        if not self.transactions.in_doubt:
            return
        try:
            if self.transactions.resolve():
                self.delivered |= self.doubtful
        finally:
            if not self.transactions.in_doubt:
                self.doubtful = set()

    def _skip_delivered(self, job: Job) -> None:
        if not self.delivered:
            return
        ids = {_id_of(part.message) for part in job.parts} & self.delivered
        job.parts = [part for part in job.parts if _id_of(part.message) not in ids]
        self.delivered -= ids

    def _without_failed(self, jobs: List[Job], errors: Dict[int, Any]) -> List[Job]:
        """Return the jobs to write again: without those that failed, and without messages that are
        too large for their topic."""
        large, others = failures(errors)
        alone = self.transactions.limits.alone
        rest: List[Job] = []
        start = 0
        for job in jobs:
            own = range(start, start + len(job.parts))
            start = own.stop
            failed = [index - own.start for index in others if index in own]
            too_large = {index - own.start for index in large if index in own}
            required = [at for at in too_large if job.parts[at].place >= job.optional]
            if alone and required:
                job.future.set_exception(self._too_large(job.parts[required[0]].message))
                continue
            if failed:
                topic = job.parts[failed[0]].message.topic
                error = errors[own.start + failed[0]]
                job.future.set_exception(
                    error_from(
                        error, self.transactions.where, self.transactions.advice, topic=topic
                    )
                )
                continue
            if alone:
                self._refuse(job, too_large)
            rest.append(job)
        if large and not alone:
            # The size of a batch was refused: which of its messages are too large by themselves?
            self.transactions.with_limits(self.limits._replace(alone=True))
        return rest

    def _too_large(self, message: Message) -> ConfigError:
        size = len(message.value or b"")
        command = self.transactions.advice.configure(
            message.topic, "max.message.bytes", str(max(self.limits.mark_bytes, 2 * size))
        )
        return ConfigError(
            f"{self.transactions.where}: {size:,} bytes are more than the topic {message.topic}"
            f" takes; run {command}"
        )

    def _refuse(self, job: Job, places: Set[int]) -> None:
        for at in places:
            place, message = job.parts[at]
            size = len(message.value or b"")
            reason = f"{size:,} bytes are more than the topic {message.topic} takes"
            job.refused[place] = reason
            if message.topic not in self.warned:
                self.warned.add(message.topic)
                log.warning(
                    "%s: %s; lower `max_message_bytes`, or raise the topic's max.message.bytes",
                    self.transactions.where,
                    reason,
                )
        job.parts = [part for at, part in enumerate(job.parts) if at not in places]


def _id_of(message: Message) -> Optional[bytes]:
    return next((value for name, value in message.headers if name == EVENT_ID), None)
