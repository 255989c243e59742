"""Progress of a backfill: bars on a terminal, else a log line every LOG_EVERY seconds."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any, Dict, Tuple

from ..core.convert import rfc3339
from ..core.windows import MINUTE, Millis
from .input import RunningInput
from .unit import UnitState

log = logging.getLogger("siemtap")
BEHIND = 15 * MINUTE  # a unit that is less behind is not backfilling
LOG_EVERY = 10.0  # seconds


class Backfill:
    """A callback for every delivery of every unit."""

    def __init__(self, is_terminal: bool = sys.stderr.isatty()) -> None:
        self.lock = threading.Lock()
        self.logged: Dict[Any, float] = {}  # unit -> when its last line was logged
        self.tasks: Dict[Any, Any] = {}
        # unit -> where its backfill began, and the largest share shown: a cycle that is cut short
        # starts in the middle, and the present moves on
        self.shown: Dict[Any, Tuple[Millis, float]] = {}
        self.bars = _bars() if is_terminal else None

    def __call__(self, running: RunningInput, state: UnitState) -> None:
        """Show how far a unit is, or that it has caught up."""
        stop = running.host.clock.now()
        if running.time_range:
            stop = running.time_range[1]
        goal = stop - getattr(running.settings, "lag", 0)
        # A unit that is read in one piece has no progress in between.
        with self.lock:
            if goal - state.until < BEHIND:
                self._finish(state)
            began = state.unit in self.shown
        if goal - state.until < BEHIND or (state.until <= state.first and not began):
            return
        with self.lock:
            first, before = self.shown.get(state.unit, (state.first, 0.0))
            share = max(before, min(1.0, (state.until - first) / max(1, goal - first)))
            self.shown[state.unit] = first, share
            if self.bars:
                self._draw(state, share)
            elif time.monotonic() - self.logged.get(state.unit, 0.0) > LOG_EVERY:
                log.info(
                    "%s: backfill %.1f %%, read until %s",
                    state.unit,
                    100 * share,
                    rfc3339(state.until),
                )
                self.logged[state.unit] = time.monotonic()

    def _finish(self, state: Any) -> None:
        self.logged.pop(state.unit, None)
        self.shown.pop(state.unit, None)
        if self.bars and state.unit in self.tasks:
            self.bars.remove_task(self.tasks.pop(state.unit))
            if not self.tasks:
                self.bars.stop()

    def _draw(self, state: Any, share: float) -> None:
        assert self.bars
        if not self.tasks:
            self.bars.start()
        if state.unit not in self.tasks:
            self.tasks[state.unit] = self.bars.add_task(str(state.unit), total=1.0, until="")
        self.bars.update(self.tasks[state.unit], completed=share, until=rfc3339(state.until)[:16])

    def close(self) -> None:
        if self.bars and self.tasks:
            self.bars.stop()


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>5.1f}% {task.fields[until]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
