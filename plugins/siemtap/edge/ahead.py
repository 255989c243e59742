"""Requests in flight, results in order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Deque, Iterable, Iterator, TypeVar

Result = TypeVar("Result")


def ahead(n: int, calls: Iterable[Callable[[], Result]]) -> Iterator[Result]:
    """Make the calls, n at a time, and give their results in the order of the calls.

    The n-th call beyond the one being consumed is not begun, so memory stays bounded. An error
    comes up in its turn, after the results before it; calls then in flight are waited for and their
    results forgotten.
    """
    queue = iter(calls)
    if n <= 1:
        for call in queue:
            yield call()
        return
    flying: Deque[Future[Result]] = deque()
    with ThreadPoolExecutor(n, thread_name_prefix="ahead") as pool:
        try:
            for call in queue:
                flying.append(pool.submit(call))
                if len(flying) >= n:
                    yield flying.popleft().result()
            while flying:
                yield flying.popleft().result()
        finally:
            for future in flying:
                future.cancel()
