"""One partition of the fleet's units while this worker has it: its producer and its checkpoints."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import Any, Callable, Dict, List, Optional

from ...core.errors import Retry, SiemtapError
from ...core.model import Mark, Unit
from ...core.rows import Event
from ...engine.protocols import Rejections
from ...kafka.client import Fenced
from ...kafka.transactions import Limits, Message, Transactions
from ...kafka.writer import Writer
from . import checkpoints
from .settings import Cluster

log = logging.getLogger("siemtap")

PRODUCERS = "siemtap"  # the beginning of every partition's transactional.id
MARK_BYTES = 16 * 1024**2  # of the ids that a checkpoint remembers, as JSON


class OneProducer(Transactions):
    """A producer that is never opened a second time: by then the partition may be another worker's,
    whose producer that would fence, and the marks in memory may be old.

    needs_alone: whether the next one has to find out which messages are too large for their topic.
    """

    opened = False
    needs_alone = False

    def open(self) -> None:
        if self.producer is None and self.opened:
            raise Retry(f"{self.where}: the producer of the partition is closed")
        super().open()
        self.opened = True

    def with_limits(self, limits: Limits) -> None:
        if limits != self.limits:
            self.needs_alone = limits.alone
            self.close()


class Partition:
    """A partition, from its assignment to its end. It is the lease of the inputs that belong to it,
    and the store of their marks.

    failed: called once if the partition is lost although the group still counts it as this
    worker's.
    """

    def __init__(
        self,
        settings: Cluster,
        limits: Limits,
        number: int,
        failed: Callable[[Partition], None],
    ) -> None:
        self.settings = settings
        self.number = number
        self.failed = failed
        self.ended = False
        self.opening: Optional[Future[None]] = None
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.values: Dict[bytes, bytes] = {}  # unit's key -> its checkpoint
        self.units: Dict[bytes, bytes] = {}  # unit's key -> its message in the topic of units
        self.writer: Optional[Writer] = None
        self.transactions = OneProducer(
            settings,
            transactional_id(settings, number),
            limits._replace(mark_bytes=MARK_BYTES),
            "cluster.kafka",
            self.stopping,
        )

        # the same for every worker, whatever its client_id
        self.transactions.advice.client_id = PRODUCERS

    @property
    def marks(self) -> Partition:
        return self

    def open(self) -> None:
        """Fence the owner before, then read the checkpoints: in this order, because what the owner
        has not committed is then never committed.

        Raise Retry if the brokers do not answer, or the partition was closed meanwhile.
        """
        self.transactions.open()
        try:
            self.values, self.units = (
                {
                    key: message.value
                    for key, message in checkpoints.latest(
                        self.settings, topic, [self.number], self.stopping
                    ).items()
                }
                for topic in (self.settings.checkpoints, self.settings.units)
            )
        except SiemtapError:
            self.transactions.close()
            self.transactions.opened = False  # no mark was read yet: the next attempt begins anew
            raise
        self.writer = Writer(self.transactions, f"partition-{self.number}")

    def close(self) -> None:
        """End the transaction in hand, deliver nothing more, and close the producer."""
        self.ended = True
        self.stopping.set()
        with self.lock:
            writer, self.writer = self.writer, None
        if writer:
            writer.close()

    # Marks

    def load(self, unit: Unit) -> Mark:
        """Return a unit's mark as it is committed; an empty one if there is none."""
        self._check()
        value = self.values.get(key_of(unit))
        return checkpoints.from_message(value)[1] if value else Mark()

    def save(self, unit: Unit, mark: Mark) -> None:
        """Commit a mark alone."""
        self._write([], unit, mark)

    def deliver(
        self, output: Any, unit: Unit, events: List[Event], mark: Optional[Mark]
    ) -> Rejections:
        """Commit events and their mark in one transaction. output: that of the type kafka, which
        knows the events' topics."""
        rejections: Rejections = output.deliver_by(
            lambda messages: self._write(messages, unit, mark), unit, events
        )
        return rejections

    def publish(self, units: Dict[bytes, Optional[bytes]]) -> None:
        """Commit changes of the topic of units: key -> value, None for one that is gone. What the
        topic has already is left out."""
        units = {key: value for key, value in units.items() if self.units.get(key) != value}
        self._commit(
            [
                Message(self.settings.units, key, value, partition=self.number)
                for key, value in units.items()
            ]
        )
        for key, value in units.items():
            if value is None:
                self.units.pop(key, None)
            else:
                self.units[key] = value

    def _write(self, messages: List[Message], unit: Unit, mark: Optional[Mark]) -> Dict[int, str]:
        if mark is None:
            return self._commit(messages)
        key, value = key_of(unit), checkpoints.to_message(unit, mark)
        saving = Message(self.settings.checkpoints, key, value, partition=self.number)
        refused = self._commit([*messages, saving], required=1)
        self.values[key] = value
        return refused

    def _commit(self, messages: List[Message], required: int = 0) -> Dict[int, str]:
        self._check()
        writer = self.writer
        try:
            if writer is None:
                raise Retry("the producer is closed")
            return writer.write(messages, required)
        except Fenced:
            self._fail("another worker has taken over")
            raise self._gone() from None
        except SiemtapError as error:
            if self.ended:
                raise self._gone() from None
            if self.transactions.in_doubt or self.transactions.producer is None:
                self._fail(error.message)
            raise

    def _fail(self, why: str) -> None:
        with self.lock:
            if self.ended:
                return
            self.ended = True
        log.warning("partition %d of %s: %s; it is opened anew if it is still this worker's",
                    self.number, self.settings.units, why)  # fmt: skip
        self.failed(self)

    def _check(self) -> None:
        if self.ended:
            raise self._gone()

    def _gone(self) -> Retry:
        return Retry(f"partition {self.number} of {self.settings.units} was handed over")


def key_of(unit: Unit) -> bytes:
    """Return the key of a unit's messages."""
    return str(unit).encode("utf-8", "backslashreplace")


def transactional_id(settings: Cluster, number: int) -> str:
    """Return the id of a partition's producer: the same for every worker, so that the owner of the
    partition fences the one before it."""
    return f"{PRODUCERS}-{settings.group}-{number}"
