"""Concurrent calls: their results in order, and how many are in flight."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Callable, Deque, Iterable, Iterator, Tuple, TypeVar

Result = TypeVar("Result")

BUSY = 0.005  # seconds: a consumer that takes longer for a result works on it
WORTH_A_THREAD = 0.125  # of the consumer's time: waiting any longer is worth a call ahead
# results that are in time before the consumer tries a call itself; after a try in vain four times
# as many
PATIENCE, MOST_PATIENCE = 4, 256


class Throttle:
    """How many calls may be in flight: at most `limit`; one after the service has answered 429 or
    503, and twice as many after each success."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.allowed = limit
        self.in_flight = 0
        self.gate = threading.Condition()

    def note(self, status: int) -> None:
        """Adapt to the status of an answer."""
        with self.gate:
            if status in (429, 503):
                self.allowed = 1
            elif status < 300:
                self.allowed = min(self.limit, self.allowed * 2)
                self.gate.notify_all()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait until one more call may be in flight, and count it."""
        with self.gate:
            while self.in_flight >= self.allowed:
                self.gate.wait()
            self.in_flight += 1
        try:
            yield
        finally:
            with self.gate:
                self.in_flight -= 1
                self.gate.notify()


def ahead(limit: int, calls: Iterable[Callable[[], Result]]) -> Iterator[Result]:
    """Run at most `limit` calls at a time and yield their results in the order of the calls.

    Memory is bounded: at most `limit` results wait for the consumer. An exception is raised at its
    own position, after the results before it. Calls in flight at that moment run to their end, and
    their results are dropped.

    A service that answers in a fraction of the consumer's time is called less often ahead, at last
    by the consumer itself: what one thread reads and uses at once stays in the cache of its
    processor, and it need not share the interpreter, which saves a fifth of the time of both.
    Whether a call waits for the service or for the interpreter shows in the consumer's thread only,
    so it tries a call now and then, and ever more seldom if that makes it wait.
    """
    remaining = iter(calls)
    if limit <= 1:
        for call in remaining:
            yield call()
        return
    in_flight: Deque[Future[Tuple[float, Result]]] = deque()
    wanted = limit  # calls in flight; 1: the consumer's thread makes them
    in_time = 0  # results that were there when the consumer came for them, since `wanted` changed
    patience = PATIENCE
    waited = float("inf")  # seconds for which the last call waited
    given = time.monotonic()  # when the consumer got a result last

    def submit(number: int) -> None:
        for call in islice(remaining, max(0, number - len(in_flight))):
            in_flight.append(pool.submit(_timed, call))

    with ThreadPoolExecutor(limit, thread_name_prefix="ahead") as pool:
        try:
            while True:
                busy = time.monotonic() - given
                if busy > BUSY and in_flight and all(each.done() for each in in_flight):
                    in_time += 1
                    if wanted > 2 or waited <= busy * WORTH_A_THREAD or in_time > patience:
                        wanted, in_time = max(1, wanted - 1), 0
                if wanted > 1:
                    submit(wanted)
                if in_flight:
                    future = in_flight.popleft()
                    if not future.done():
                        wanted, in_time = min(limit, wanted * 2), 0
                    waited, result = future.result()
                else:
                    own = next(remaining, None)
                    if own is None:
                        return
                    waited, result = _timed(own)
                    if waited > busy * WORTH_A_THREAD:
                        wanted, patience = 2, min(MOST_PATIENCE, patience * 4)
                        submit(wanted)
                    else:
                        patience = PATIENCE
                given = time.monotonic()
                yield result
        finally:
            for future in in_flight:
                future.cancel()


def _timed(call: Callable[[], Result]) -> Tuple[float, Result]:
    """Return the seconds for which a call waited, and its result."""
    waited = time.thread_time() - time.monotonic()
    result = call()
    return time.monotonic() - time.thread_time() + waited, result
