"""The scheduler: runs the inputs, and the queues of outputs, when they are due, in a pool of
workers."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from typing import Callable, List, Optional, Protocol, Tuple

from ..core.windows import MINUTE
from ..edge.clock import Clock
from ..engine.mapper import traceback_text

log = logging.getLogger("siemtap")

LONGEST_TURN = 20.0  # seconds, while others wait for a worker


class Scheduled(Protocol):
    """What is run when it is due. `id`: its name in the log. `stopped`: it is not run any more."""

    stopped: bool

    @property
    def id(self) -> str: ...

    def run_due(self) -> None: ...

    def due(self) -> Optional[float]:
        """Return when it is due again, in seconds of the monotonic clock; None for never."""


class Scheduler:
    """The inputs and queues by the time at which they are due, and the workers that run them.

    stopping: set when the workers shall end. number: of workers. once: each input runs until
    nothing of it is due, and is not scheduled again.
    """

    def __init__(self, clock: Clock, stopping: threading.Event, number: int, once: bool) -> None:
        self.clock = clock
        self.stopping = stopping
        self.once = once
        self.fatal: Optional[BaseException] = None  # the error that ends the process
        self.internal_error = False  # an exception outside of any unit
        self.lock = threading.Condition()
        self.heap: List[Tuple[float, int, Scheduled]] = []  # by due time
        self.order = itertools.count()
        self.busy: List[Scheduled] = []  # whose turn it is now
        self.reconsidered: List[Scheduled] = []  # of the busy ones
        self.workers = [
            threading.Thread(target=self._run_worker, name=f"worker-{index}", daemon=True)
            for index in range(number)
        ]

    def add(self, running: Scheduled, due: float) -> None:
        """Schedule an input or a queue; `due` is in seconds of the monotonic clock."""
        with self.lock:
            heapq.heappush(self.heap, (due, next(self.order), running))
            self.lock.notify_all()

    def reconsider(self, changed: Callable[[str], bool]) -> None:
        """Ask what waits when it is due, because that has changed. changed: of an id."""
        with self.lock:
            waiting, self.heap = self.heap, []
            for due, order, running in waiting:
                now_due = running.due() if changed(running.id) else due
                if now_due is not None:
                    self.heap.append((now_due, order, running))
            heapq.heapify(self.heap)
            self.reconsidered += [running for running in self.busy if changed(running.id)]
            self.lock.notify_all()

    def scheduled(self) -> List[Scheduled]:
        """Return what is due now or later, or has its turn."""
        with self.lock:
            return [*(running for _, _, running in self.heap), *self.busy]

    def is_busy(self, id: str) -> bool:
        """Return whether an input of this id, also a stopped one, has its turn."""
        return any(running.id == id for running in self.busy)

    def wait_while_busy(self, id: str) -> None:
        """Wait until no input of this id has its turn, or the shipper stops. Called with the lock
        held, which is released meanwhile."""
        if self.is_busy(id):
            log.info("%s: its settings change once the request in hand has ended", id)
        while self.is_busy(id) and not self.stopping.is_set():
            self.lock.wait(0.5)

    def stalled(self) -> float:
        """Return for how many seconds something has been due while a worker was free.

        More than moments mean that the workers have ended, or hang. That all are busy, with vendors
        or outputs that are slow, is no stall.
        """
        with self.lock:
            if not self.heap or len(self.busy) >= len(self.workers) or self.stopping.is_set():
                return 0.0
            return max(0.0, self.clock.elapsed() - self.heap[0][0])

    def start(self) -> None:
        """Start the workers."""
        for worker in self.workers:
            worker.start()

    def wait_for_end(self) -> None:
        """Wait until the shipper stops; with `once`, until nothing is due or running."""
        with self.lock:
            while not self.stopping.is_set():
                if self.once and not self.heap and not self.busy:
                    return
                self.lock.wait(0.5)

    def stop(self) -> None:
        """Ask the workers to end after the batch in hand."""
        self.stopping.set()
        with self.lock:
            self.lock.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the workers; return whether all have ended."""
        deadline = time.monotonic() + timeout
        for worker in self.workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        return not any(worker.is_alive() for worker in self.workers)

    def _run_worker(self) -> None:
        """Take the input that is due first, run what is due of it, put it back; repeat."""
        while True:
            with self.lock:
                running = self._take_due_input()
                if running is None:
                    return
                self.busy.append(running)
            due: Optional[float] = None
            try:
                running.run_due()
                due = running.due()
            except MemoryError as error:
                self.abort(error)
            # outside of any attempt: a defect of siemtap, no reason to stop the other inputs
            except Exception as error:
                due = self._after_internal_error(running, error)
            # the process is told to end, or standard output is closed; checkpoints stay as saved
            except BaseException as error:
                self.abort(error)
            with self.lock:
                self.busy.remove(running)
                if running in self.reconsidered:  # perhaps after it was asked
                    self.reconsidered = [each for each in self.reconsidered if each is not running]
                    due = None if due is None else running.due()
                if due is not None and not running.stopped:
                    heapq.heappush(self.heap, (due, next(self.order), running))
                self.lock.notify_all()

    def abort(self, error: BaseException) -> None:
        """End the process with an error."""
        self.fatal = error
        self.stopping.set()

    def _after_internal_error(self, running: Scheduled, error: Exception) -> Optional[float]:
        """Log the error; return when the input is due again, None for never."""
        log.error(
            "%s: %s outside of any unit, a defect in siemtap; the input's other units wait for a"
            " minute",
            running.id,
            type(error).__name__,
        )
        log.debug("%s", traceback_text(error))
        self.internal_error = True
        return None if self.once else self.clock.elapsed() + MINUTE / 1000

    def _take_due_input(self) -> Optional[Scheduled]:
        """Wait for the next input that is due and return it; None when the shipper stops.

        Called with the lock held.
        """
        while not self.stopping.is_set():
            if not self.heap:
                self.lock.wait()
                continue
            wait = self.heap[0][0] - self.clock.elapsed()
            if wait <= 0:
                running = heapq.heappop(self.heap)[2]
                if running.stopped:
                    continue
                return running
            self.lock.wait(wait)
        return None
