"""Concurrent calls: their results in order, and how many are in flight."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Callable, Deque, Iterable, Iterator, TypeVar

Result = TypeVar("Result")


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
    """
    remaining = iter(calls)
    if limit <= 1:
        for call in remaining:
            yield call()
        return
    in_flight: Deque[Future[Result]] = deque()
    with ThreadPoolExecutor(limit, thread_name_prefix="ahead") as pool:
        try:
            for call in remaining:
                in_flight.append(pool.submit(call))
                if len(in_flight) >= limit:
                    yield in_flight.popleft().result()
            while in_flight:
                yield in_flight.popleft().result()
        finally:
            for future in in_flight:
                future.cancel()
