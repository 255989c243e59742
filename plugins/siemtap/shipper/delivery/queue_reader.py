"""Delivers what waits in the queue of one output."""

from __future__ import annotations

import logging
import threading
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Protocol, Tuple

from ...core.model import Mark, Unit
from ...core.rows import Event
from ...core.windows import Millis
from ...edge.clock import Clock
from ...edge.store.event_queue import EventQueue, QueuedBatch, Waiting
from ...engine.cycle import NEVER, Cycle, Policy
from ...engine.protocols import Sink
from ...engine.sinks import CheckpointAfter, SkipDelivered
from ..logs import LogDeliveries, debugging
from ..processes.share import OUTPUT, Share
from ..scheduler import LONGEST_TURN
from .routes import OpenOutput

log = logging.getLogger("siemtap")

LOOK_EVERY = 0.2  # seconds between two looks at what other processes have queued
MAX_EVENTS = 5_000  # of one delivery, unless a batch holds more


class Host(Protocol):
    """What a reader needs of the process it runs in: the shipper."""

    clock: Clock
    once: bool
    patience: float
    share: Share
    stopping: threading.Event


class QueueReader:
    """The reader of an output's queue. It is scheduled as an input is, while something waits.

    `schedule`: puts it among what is due.
    """

    def __init__(
        self,
        output: OpenOutput,
        queue: EventQueue,
        host: Host,
        schedule: Callable[[QueueReader], None],
    ) -> None:
        self.output = output
        self.queue = queue
        self.host = host
        self.schedule = schedule
        self.id = f"output {output.name}"
        self.stopped = False
        policy = Policy(patience=host.patience) if host.once else Policy()
        self.cycle = Cycle(Unit(OUTPUT, output.name), host.clock.elapsed, policy)
        # Before a start anything that waits may have been delivered: a crash, a restored backup.
        self.doubtful_until = queue.last_number(output.name)
        self.replacement: Optional[OpenOutput] = None
        self.delivered = 0
        self.oldest: Millis = 0  # when the batch in hand was queued
        self.lock = threading.Lock()
        self.is_scheduled = False
        self.turn = threading.Lock()  # one delivery at a time

    @property
    def waiting(self) -> Waiting:
        """Return what waits for the output."""
        return self.queue.waiting(self.output.name)

    @property
    def done(self) -> bool:
        """Whether nothing waits."""
        return not self.waiting.batches

    def take_over(self, output: OpenOutput) -> None:
        """Deliver to another output of the same name, after the delivery in hand. Nothing here
        waits for that; `wait_for_turn` does. From now on it is due, so the scheduler has to
        reconsider it."""
        with self.lock:
            self.replacement = output

    def wait_for_turn(self) -> None:
        """Wait until the turn in hand has ended: no delivery to a replaced output is under way."""
        with self.turn:
            self._adopt()

    def _adopt(self) -> None:
        """Go on with the replacement. Called by whoever has the turn."""
        with self.lock:
            output, self.replacement = self.replacement, None
            if output is not None:
                self.output = output
                self.cycle.in_doubt = True
                self.cycle.due = self.host.clock.elapsed()  # the old one may have asked for long

    def wake(self) -> None:
        """Schedule the reader, unless it is."""
        with self.lock:
            if self.is_scheduled or self.cycle.is_given_up:
                return
            self.is_scheduled = True
            self.cycle.progress()  # while nothing waited, there was no time without progress
            self.cycle.due = max(self.cycle.due, self.host.clock.elapsed())
        self.schedule(self)

    def due(self) -> Optional[float]:
        """Return when the next attempt is due, in seconds of the monotonic clock; None if nothing
        waits."""
        with self.lock:
            others = self.host.share.others_queue()  # before the look: what they queued is seen
            done = self.done
            if (done and not others) or self.cycle.due == NEVER:
                self.is_scheduled = False
                return None
            if self.replacement:
                return self.host.clock.elapsed()
            if done:
                return self.host.clock.elapsed() + LOOK_EVERY
            return self.cycle.due

    def run_due(self) -> None:
        """Deliver what waits; a delivery that fails is attempted again later."""
        if not self.cycle.failed:  # while nothing waited, there was no time without progress
            self.cycle.progress()
        with self.turn:
            self._adopt()
            self.cycle.attempt(self._deliver_all, interval=0.0)

    def _deliver_all(self) -> bool:
        """Return whether the turn came to its end; False if siemtap stops. It ends when everything
        is delivered, or after LONGEST_TURN: others need the worker, too."""
        end = self.host.clock.elapsed() + LONGEST_TURN
        while batches := self.queue.first(self.output.name):
            self.oldest = batches[0].time
            for together in _by_unit(batches):
                if self.host.stopping.is_set():
                    return False
                if self.replacement or self.host.clock.elapsed() > end:
                    return True
                self._deliver(together)
            # Only what was read together can have been delivered and not deleted before a failure.
            self.cycle.in_doubt = False
        self.oldest = 0
        return True

    def _deliver(self, batches: List[QueuedBatch]) -> None:
        unit = batches[0].unit
        events: List[Event] = [event for batch in batches for event in batch.events]
        sink: Sink = self.output.unchecked
        in_doubt = self.cycle.in_doubt or batches[0].number <= self.doubtful_until
        if in_doubt or batches[0].again:
            sink = SkipDelivered(sink, self.output.holds, self.output.unsaved)
        if debugging():
            sink = LogDeliveries(sink)
        removal = _Removal(self.queue, self.output.name, batches)
        sink = CheckpointAfter(sink, removal, self.output.unsaved)
        refused = sink.deliver(unit, events, Mark())
        self.delivered += len(events) - len(refused)
        self.cycle.progress()

    def stats(self, now: Millis) -> Dict[str, Any]:
        """Return the queue's part of /stats, as JSON values. `oldest_s`: how long the oldest batch
        has waited."""
        waiting = self.waiting
        return {
            "state": self.cycle.state,
            "error": self.cycle.error,
            "delivered": self.delivered,
            "waiting_events": waiting.events,
            "waiting_bytes": waiting.bytes,
            "oldest_s": (now - self.oldest) // 1000 if self.oldest and waiting.batches else 0,
            "full": self.queue.is_full(self.output.name),
        }


class _Removal(NamedTuple):
    """What is saved after a delivery from a queue: that its batches wait no longer."""

    queue: EventQueue
    output: str
    batches: List[QueuedBatch]

    def save(self, unit: Unit, mark: Mark) -> None:
        self.queue.remove(self.output, self.batches)


def _by_unit(batches: List[QueuedBatch]) -> Iterator[List[QueuedBatch]]:
    """Yield neighbours of one unit together, up to MAX_EVENTS events."""
    together: List[QueuedBatch] = []
    number = 0
    key: Tuple[Any, ...] = ()
    for batch in batches:
        number += len(batch.events)
        if together and ((batch.unit, batch.again) != key or number > MAX_EVENTS):
            yield together
            together, number = [], len(batch.events)
        key = (batch.unit, batch.again)
        together.append(batch)
    if together:
        yield together
