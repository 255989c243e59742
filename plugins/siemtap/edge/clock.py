"""The time, and how long it takes. A value with two functions, so that a test can hold it."""

from __future__ import annotations

import time
from typing import Callable, NamedTuple, TypeVar

from ..core.errors import Retry
from ..core.windows import HOUR, SECOND, Millis

T = TypeVar("T")

TOLERANCE: Millis = 5 * SECOND  # clocks differ by so much; a `Date` counts whole seconds
# the wall clock against the one that only runs forward, between two looks
JUMP: Millis = 60 * SECOND
# so long a clock has run evenly before something is deleted by it
SETTLED: Millis = 1 * HOUR


def _now() -> Millis:
    return time.time_ns() // 1_000_000


class Clock(NamedTuple):
    now: Callable[[], Millis] = _now  # UTC, for what is said
    elapsed: Callable[[], float] = time.monotonic  # seconds, for what is waited


SYSTEM = Clock()


class RetryByTheirClock(Retry):
    """Our clock is ahead of the vendor's: now that its answer was heard, the next question is
    bounded by it."""


def clock_ahead(ahead: Millis) -> RetryByTheirClock:
    """What was read up to a moment that has not come yet for the vendor: nothing of it is kept,
    and it is read again."""
    return RetryByTheirClock(
        f"the clock of this machine is ahead of the vendor's by {ahead / 1000:.0f} s or more: what"
        " was read beyond the vendor's time is not kept and is read again; set the clock, by"
        " NTP say"
    )


def once_more(work: Callable[[], T]) -> T:
    """Do it, and do it again where the first answer told that our clock is ahead. For commands,
    which nobody repeats."""
    try:
        return work()
    except RetryByTheirClock:
        return work()


class Steady:
    """The time to delete old things by. It runs as fast as time passes, and follows the newest of
    what is kept only once the clock has run evenly for an hour: a clock that is ahead for a while
    deletes nothing. `jumped`: by how much the clock was off at the last look."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.wall, self.elapsed = clock.now(), clock.elapsed()
        self.settles_at = self.elapsed + SETTLED / 1000
        self.moment: Millis = 0
        self.jumped: Millis = 0

    def look(self, newest: Millis) -> Millis:
        """Return the time to delete by; `newest`: the latest time of what is kept that is not in
        the future. 0: delete nothing."""
        wall, elapsed = self.clock.now(), self.clock.elapsed()
        passed = int((elapsed - self.elapsed) * 1000)
        self.jumped = wall - self.wall - passed
        if abs(self.jumped) > JUMP:
            self.settles_at = elapsed + SETTLED / 1000
        else:
            self.jumped = 0
        self.wall, self.elapsed = wall, elapsed
        if self.moment:
            self.moment += passed
        if elapsed >= self.settles_at:
            self.moment = max(self.moment, newest)
        self.moment = min(self.moment, wall)
        return self.moment
