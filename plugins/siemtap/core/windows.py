"""Time windows. All times are UTC milliseconds since the epoch."""

from __future__ import annotations

from typing import Iterator, NamedTuple, Tuple

Millis = int

SECOND: Millis = 1_000
MINUTE: Millis = 60 * SECOND
HOUR: Millis = 60 * MINUTE
DAY: Millis = 24 * HOUR


class Window(NamedTuple):
    """A stretch of time."""

    start: Millis
    stop: Millis

    @property
    def width(self) -> Millis:
        return self.stop - self.start

    def halves(self, grain: Millis = 1) -> Tuple[Window, Window]:
        """Return two windows that share one grain."""
        middle = whole(self.start + self.width // 2, grain)
        return Window(self.start, middle), Window(middle - grain, self.stop)


def windows(start: Millis, stop: Millis, widest: Millis, touching: Millis = 1) -> Iterator[Window]:
    """Cut start..stop into windows of at most `widest`.

    Each begins `touching` before the end of the last one: whether a vendor's edges are inclusive or
    exclusive, no record on an edge is lost.
    """
    if not 0 < touching < widest:
        raise ValueError(f"windows {widest} ms wide cannot touch by {touching} ms")
    while start < stop:
        edge = min(start + widest, stop)
        yield Window(start, edge)
        if edge == stop:
            return
        start = edge - touching


def whole(moment: Millis, grain: Millis) -> Millis:
    """Return a time rounded down to its grain, such as a minute."""
    return moment - moment % grain
