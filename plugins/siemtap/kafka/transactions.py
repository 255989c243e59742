"""A producer that writes in transactions: all messages of one are visible to read_committed
readers, or none."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..core.errors import Retry
from .client import (
    FENCED,
    TOO_LARGE,
    Advice,
    Errors,
    Fenced,
    TlsFiles,
    error_from,
    library,
    new_client,
    properties,
)
from .settings import KafkaConnection

OVERHEAD = 10_000  # bytes of key, headers and framing beside a message's value
LINGER_MS = 5
PURGED = ("_PURGE_QUEUE", "_PURGE_INFLIGHT")
STEP = 5.0  # seconds of one call that is repeated


class Message(NamedTuple):
    """A message to write. `value` None removes the key from a compacted topic. `partition`: -1 for
    the one that the key gives."""

    topic: str
    key: bytes
    value: Optional[bytes]
    headers: Tuple[Tuple[str, bytes], ...] = ()
    partition: int = -1


class Limits(NamedTuple):
    """`message_bytes`: of one message. `timeout`: milliseconds of one transaction. `alone`: each
    message has a batch of its own, so that a broker's refusal of a size is about one message.
    `mark_bytes`: of a mark, if it may be larger than other messages."""

    message_bytes: int = 1_000_000
    timeout: int = 30_000
    compression: str = "zstd"
    alone: bool = False
    mark_bytes: int = 0


class Transactions:
    """A producer with a `transactional.id`, used by one thread at a time.

    where: the start of error texts, such as `output.kafka`. stopping: once it is set, a call that
    waits for brokers gives up with Retry.
    """

    def __init__(
        self,
        settings: KafkaConnection,
        transactional_id: str,
        limits: Limits = Limits(),
        where: str = "output.kafka",
        stopping: Optional[threading.Event] = None,
    ) -> None:
        self.kafka = library()
        self.settings = settings
        self.transactional_id = transactional_id
        self.limits = limits
        self.where = where
        self.stopping = stopping or threading.Event()
        self.advice = Advice(settings)
        self.errors = Errors()
        self.files = TlsFiles(settings)
        self.producer: Any = None
        self.failed: Dict[int, Any] = {}  # index of a message -> its KafkaError
        self.in_doubt = False  # a commit was asked for, and its outcome is not known

    def properties(self) -> Dict[str, Any]:
        """Return the producer's properties."""
        limits = self.limits
        given = {
            **properties(self.settings),
            "transactional.id": self.transactional_id,
            "transaction.timeout.ms": max(limits.timeout, 60_000),
            "message.timeout.ms": limits.timeout,
            "compression.type": limits.compression,
            "linger.ms": LINGER_MS,
            "message.max.bytes": max(limits.message_bytes, limits.mark_bytes) + OVERHEAD,
            "batch.size": limits.message_bytes,
            "topic.metadata.propagation.max.ms": 5_000,  # a topic that is just being created
            "partitioner": "murmur2_random",  # as Java's clients
            "error_cb": self.errors.report,
        }
        if limits.alone:
            given["batch.num.messages"] = 1
        return given

    # Opening

    def open(self) -> None:
        """Open the producer, unless it is: end what an earlier owner of the id left open, and fence
        it. After certificates were renewed it is opened anew.

        Raise Retry if no broker answers in time; ConfigError or AuthError if a person must act.
        """
        if not self.in_doubt and self.files.changed():
            self.close()
        if self.producer is not None:
            return
        self.errors.take()
        producer = new_client(self.kafka.Producer, self.properties(), self.where)
        try:
            self._repeat(producer, "init_transactions")
        except Exception:
            self._discard(producer)
            raise
        self.producer = producer
        self.in_doubt = False

    def with_limits(self, limits: Limits) -> None:
        """Go on with other limits. The producer is opened anew if they differ."""
        if limits != self.limits:
            self.close()
            self.limits = limits

    def _discard(self, producer: Any) -> None:
        """Forget a producer without waiting for what it has not delivered. The brokers abort what
        it left open."""
        with suppress(self.kafka.KafkaException, SystemError):  # once more what made it useless
            producer.purge(in_queue=True, in_flight=True, blocking=False)

    def close(self) -> None:
        """Abort what is open, and close the producer."""
        producer, self.producer = self.producer, None
        if producer is not None:
            self._discard(producer)

    # One transaction

    def write(self, messages: Sequence[Message]) -> Dict[int, Any]:
        """Write messages in one transaction. Return the errors of messages that cannot be written,
        index -> KafkaError: then none of the messages is visible, and others may have errors, too.
        {}: all are visible.

        Raise Retry if it failed otherwise, and Fenced if another process uses the id. After Retry
        with `in_doubt`, `resolve` tells what became of the transaction.
        """
        self.open()
        self.failed = {}
        self.errors.take()
        deadline = time.monotonic() + self.limits.timeout / 1000
        try:
            self.producer.begin_transaction()
            for index, message in enumerate(messages):
                if not self._produce(index, message, deadline):
                    break
            self._flush(deadline)
            if not self.failed:
                self.in_doubt = True
                self._commit(deadline)
                return {}
        except (self.kafka.KafkaException, SystemError) as raised:
            self._fail(self._error_of(raised))
        self._abort()
        if failures(self.failed)[1]:
            self.close()  # librdkafka would remember that a topic is missing, or no right is there
        return self.failed

    def _produce(self, index: int, message: Message, deadline: float) -> bool:
        """Hand a message over. Return False if the transaction has failed already."""
        while True:
            try:
                self.producer.produce(
                    message.topic,
                    message.value,
                    message.key,
                    message.partition,
                    on_delivery=partial(self._delivered, index),
                    headers=list(message.headers),
                )
                return True
            except BufferError:
                self._check_time(deadline)
                self.producer.poll(0.1)
            except self.kafka.KafkaException as raised:
                error = raised.args[0]
                if error.fatal() or error.name() in FENCED:
                    raise
                if error.name() == "_STATE" and self.failed:
                    return False
                self.failed[index] = error
                return True

    def _delivered(self, index: int, error: Optional[Any], message: Any) -> None:
        # what is purged fails for the sake of another message
        if error is not None and error.name() not in PURGED:
            self.failed[index] = error

    def _flush(self, deadline: float) -> None:
        """Wait until every message has its report, or one has failed: others then wait for the
        end of the transaction."""
        while not self.failed and self.producer.flush(0.5):
            self._check_time(deadline)

    def _check_time(self, deadline: float) -> None:
        """Abort and raise Retry if the brokers take too long, or siemtap stops."""
        if time.monotonic() < deadline and not self.stopping.is_set():
            return
        why = "siemtap stops" if self.stopping.is_set() else "no answer in time"
        reported = self.errors.take()
        self.close()
        more = f" ({reported.str()})" if reported is not None else ""
        raise Retry(f"{self.where}: {why}{more}")

    def _commit(self, deadline: float) -> None:
        """Commit. A commit without an answer is repeated: librdkafka goes on with the same one."""
        while True:
            try:
                self.producer.commit_transaction(STEP)
                self.in_doubt = False
                return
            except (self.kafka.KafkaException, SystemError) as raised:
                error = self._error_of(raised)
                if not error.retriable():
                    self.in_doubt = False
                    raise
            if self._is_over(self.producer, deadline):
                reported = self.errors.take()
                raise error_from(error, self.where, self.advice, reported=reported)

    def resolve(self) -> bool:
        """Return whether the transaction that was in doubt is committed. Raise Retry if no broker
        answers yet."""
        deadline = time.monotonic() + self.limits.timeout / 1000
        try:
            self._commit(deadline)
            return True
        except (self.kafka.KafkaException, SystemError) as raised:
            self._fail(self._error_of(raised))
        self._abort()
        return False

    def _error_of(self, raised: BaseException) -> Any:
        """Return the KafkaError of an exception. A fatal error is raised in the midst of reports
        of messages, which makes it the cause of a SystemError."""
        while not isinstance(raised, self.kafka.KafkaException):
            cause = raised.__cause__ or raised.__context__
            if cause is None:
                raise raised
            raised = cause
        return raised.args[0]

    def _abort(self) -> None:
        try:
            self._repeat(self.producer, "abort_transaction")
        except Retry:
            self.close()  # the next `open` aborts it
            raise

    def _fail(self, error: Any) -> None:
        """Return if the transaction has to be aborted for errors of its messages; raise what
        another error means."""
        if error.fatal() or error.name() in FENCED or not error.txn_requires_abort():
            self.close()
        if error.txn_requires_abort() and self.failed:
            return
        if self.producer is not None:
            self._abort()
        raise error_from(error, self.where, self.advice, reported=self.errors.take())

    def _repeat(self, producer: Any, call: str) -> None:
        """Make a call of the transactions' API until it is answered."""
        deadline = time.monotonic() + self.limits.timeout / 1000
        while True:
            try:
                getattr(producer, call)(STEP)
                return
            except (self.kafka.KafkaException, SystemError) as raised:
                error = self._error_of(raised)
            is_over = self._is_over(producer, deadline)
            reported = self.errors.take()
            meaning = error_from(error, self.where, self.advice, reported=reported)
            if is_over or not error.retriable() or not isinstance(meaning, Retry):
                raise meaning

    def _is_over(self, producer: Any, deadline: float) -> bool:
        """Return whether a call without an answer is given up. While no broker is there the next
        attempt waits as for any output, so that /health tells it as soon."""
        with suppress(self.kafka.KafkaException, SystemError):  # the same fatal error
            producer.poll(0)  # lets the client report what is beside the call
        return time.monotonic() > deadline or self.stopping.is_set() or self.errors.all_down


def failures(errors: Dict[int, Any]) -> Tuple[List[int], List[int]]:
    """Return the indices of messages that are too large, and of those with another error."""
    large = [index for index, error in errors.items() if error.name() in TOO_LARGE]
    others = [index for index, error in errors.items() if error.name() not in TOO_LARGE]
    return large, others


__all__ = ["Fenced", "Limits", "Message", "Transactions", "failures"]
