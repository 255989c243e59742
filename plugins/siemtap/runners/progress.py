"""How far a backfill is: bars for a person who watches, a line now and then for a log."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any, Dict

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..core.mapping import rfc3339
from ..core.windows import MINUTE

log = logging.getLogger("siemtap")
BEHIND = 15 * MINUTE  # less than this is no backfill
SAY_EVERY = 10.0  # seconds


class Backfill:
    """Called after every delivery of every unit."""

    def __init__(self, watched: bool = sys.stderr.isatty()) -> None:
        self.lock = threading.Lock()
        self.said: Dict[Any, float] = {}
        self.tasks: Dict[Any, Any] = {}
        self.bars = (
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>5.1f}% {task.fields[until]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            if watched
            else None
        )

    def __call__(self, running: Any, state: Any) -> None:
        goal = (running.stretch or (0, running.shipper.clock.now()))[1] - getattr(
            running.settings, "lag", 0
        )
        # of what comes in one piece there is no progress to tell
        if goal - state.until < BEHIND or state.until <= state.first:
            with self.lock:
                self._arrived(state)
            return
        share = min(1.0, (state.until - state.first) / max(1, goal - state.first))
        with self.lock:
            if self.bars:
                self._bar(state, share)
            elif time.monotonic() - self.said.get(state.unit, 0.0) > SAY_EVERY:
                log.info(
                    "%s: backfill %.1f %%, read until %s",
                    state.unit,
                    100 * share,
                    rfc3339(state.until),
                )
                self.said[state.unit] = time.monotonic()

    def _arrived(self, state: Any) -> None:
        self.said.pop(state.unit, None)
        if self.bars and state.unit in self.tasks:
            self.bars.remove_task(self.tasks.pop(state.unit))
            if not self.tasks:
                self.bars.stop()

    def _bar(self, state: Any, share: float) -> None:
        assert self.bars
        if not self.tasks:
            self.bars.start()
        if state.unit not in self.tasks:
            self.tasks[state.unit] = self.bars.add_task(str(state.unit), total=1.0, until="")
        self.bars.update(self.tasks[state.unit], completed=share, until=rfc3339(state.until)[:16])

    def close(self) -> None:
        if self.bars and self.tasks:
            self.bars.stop()
