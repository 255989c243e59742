"""The time, and how long it takes. A value with two functions, so that a test can hold it."""

from __future__ import annotations

import time
from typing import Callable, NamedTuple

from ..core.windows import Millis


def _now() -> Millis:
    return time.time_ns() // 1_000_000


class Clock(NamedTuple):
    now: Callable[[], Millis] = _now                    # UTC, for what is said
    elapsed: Callable[[], float] = time.monotonic       # seconds, for what is waited


SYSTEM = Clock()
