"""What an audit says while it works, on standard error: a day of events takes minutes."""

from __future__ import annotations

import time
from typing import Callable

from ...core.convert import rfc3339
from ...core.windows import Millis

EVERY = 5.0  # seconds between two lines of one step


def _silent(line: str) -> None:
    """Print nothing."""


class Progress:
    """Prints each step as it begins, and every five seconds how far it is."""

    def __init__(
        self,
        write: Callable[[str], None] = _silent,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.note = write
        self.elapsed = elapsed
        self.printed = 0.0
        self.number = 0
        self.step = ""

    def starting(self, unit: str, start: Millis, stop: Millis) -> None:
        self._begin(f"{unit}: reading the vendor again from {rfc3339(start)} to {rfc3339(stop)}")

    def reading(self, unit: str, until: Millis, number: int) -> None:
        """Count events that a vendor returned, up to a time."""
        self.number += number
        if self._is_time():
            self.note(f"{unit}: {self.number:,} events read, up to {rfc3339(until)}")

    def comparing(self, dataset: str) -> None:
        self.step = f"{dataset}: comparing with the output"
        self._begin(self.step)

    def compared(self) -> None:
        """Count an event of the output."""
        self.number += 1
        if self._is_time():
            self.note(f"{self.step}: {self.number:,} events")

    def _begin(self, line: str) -> None:
        self.note(line)
        self.number = 0
        self.printed = self.elapsed()

    def _is_time(self) -> bool:
        now = self.elapsed()
        if now - self.printed < EVERY:
            return False
        self.printed = now
        return True
