"""The clock: the current time and elapsed time, as a value that tests can replace."""

from __future__ import annotations

import time
from typing import Callable, NamedTuple, TypeVar

from ..core.convert import rfc3339
from ..core.errors import Retry
from ..core.windows import HOUR, SECOND, Millis

T = TypeVar("T")

# Differences between two clocks up to this are ignored. A `Date` header counts whole seconds.
TOLERANCE: Millis = 5 * SECOND
# A jump: how much further than the monotonic clock the wall clock moved since the last check.
JUMP: Millis = 60 * SECOND
# The wall clock must run this long without a jump before anything is deleted by it.
SETTLED: Millis = 1 * HOUR


def _now() -> Millis:
    return time.time_ns() // 1_000_000


class Clock(NamedTuple):
    """`now`: UTC, for times in events and logs. `elapsed`: monotonic seconds, for waiting."""

    now: Callable[[], Millis] = _now
    elapsed: Callable[[], float] = time.monotonic

    def timestamp(self) -> str:
        """Return the current time as an event has it."""
        return rfc3339(self.now())


SYSTEM = Clock()


class RetryByTheirClock(Retry):
    """This machine's clock is ahead of the vendor's.

    The vendor's answer has told its time, so the next request ends there.
    """


def check_ahead(ahead: Millis) -> None:
    """Raise RetryByTheirClock for a window that ends in the vendor's future, by more than
    TOLERANCE: its records are dropped and read again."""
    if ahead > TOLERANCE:
        raise RetryByTheirClock(
            f"the clock of this machine is ahead of the vendor's by {ahead / 1000:.0f} s or more:"
            " records of a window that ends after the vendor's time are dropped and read again;"
            " set the clock, for example by NTP"
        )


def retry_once(work: Callable[[], T]) -> T:
    """Return the result of `work`; run it a second time if the first answer showed that this
    machine's clock is ahead. For commands, which no loop retries."""
    try:
        return work()
    except RetryByTheirClock:
        return work()


class SteadyClock:
    """The time by which old data is deleted.

    It advances with the monotonic clock. It follows the newest stored item only after the wall
    clock has run for an hour without a jump, so that a clock that is ahead for a while deletes
    nothing. `jumped`: the size of the jump seen at the last call of `look`, or 0.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.wall = clock.now()
        self.elapsed = clock.elapsed()
        self.settles_at = self.elapsed + SETTLED / 1000
        self.moment: Millis = 0
        self.jump: Millis = 0

    def deletion_time(self, newest: Millis) -> Millis:
        """Return the time by which to delete; 0 means delete nothing.

        `newest`: the latest time of a stored item that is not in the future.
        """
        wall = self.clock.now()
        elapsed = self.clock.elapsed()
        passed = int((elapsed - self.elapsed) * 1000)
        self.jump = wall - self.wall - passed
        if abs(self.jump) > JUMP:
            self.settles_at = elapsed + SETTLED / 1000
        else:
            self.jump = 0
        self.wall = wall
        self.elapsed = elapsed
        if self.moment:
            self.moment += passed
        if elapsed >= self.settles_at:
            self.moment = max(self.moment, newest)
        self.moment = min(self.moment, wall)
        return self.moment
