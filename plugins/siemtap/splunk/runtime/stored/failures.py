"""What an input reported, so that the next run does not report it again at once.

splunkd starts a process for each run. A vendor that is down for hours would be new to each of them:
never an error, and a line a minute. The file of failures makes one report of all runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict

from ....core.model import Unit
from ....core.windows import Millis
from ....engine.cycle import Cycle, Past
from .files import read_json, write_json

FORGET_AFTER = 86_400_000  # milliseconds; of a unit that no run attempts any more
REPEAT_EVERY = 1_800_000  # milliseconds between two warnings about the same clock


class Failures:
    """The failing units and the warnings of an input, in a JSON file.

    {"units": {"<unit>": {"at": ms, "past": [failed, failing_for, logged, logged_before, repeats]}},
    "warned": {"<key>": ms}}
    """

    def __init__(self, path: Path, now: Callable[[], Millis]) -> None:
        self.path = path
        self.now = now
        self.read = read_json(path)
        # a run that is stopped reaches some units only
        self.units: Dict[str, Any] = {
            unit: entry
            for unit, entry in _object(self.read.get("units")).items()
            if 0 <= now() - _object(entry).get("at", 0) < FORGET_AFTER
        }
        self.warned: Dict[str, int] = {
            key: at
            for key, at in _object(self.read.get("warned")).items()
            if isinstance(at, int) and 0 <= now() - at < REPEAT_EVERY
        }

    def recall(self, unit: Unit, cycle: Cycle) -> None:
        """Tell a unit's cycle how earlier runs failed. A damaged entry counts as none."""
        entry = _object(_object(self.read.get("units")).get(str(unit)))
        try:
            failed, failing_for, logged, logged_before, repeats = entry["past"]
            since = max(0.0, (self.now() - int(entry["at"])) / 1000)
            past = Past(
                int(failed),
                float(failing_for) + since,
                tuple(map(str, logged)),
                float(logged_before) + since,
                int(repeats),
            )
        except (KeyError, TypeError, ValueError):
            return
        cycle.recall(past)

    def note(self, unit: Unit, cycle: Cycle) -> None:
        """Keep how a unit's last attempt failed, if it did."""
        past = cycle.past()
        if past:
            self.units[str(unit)] = {"at": self.now(), "past": list(past)}
        else:
            self.units.pop(str(unit), None)

    def is_due(self, key: str) -> bool:
        """Return whether to warn: for the first time, or after REPEAT_EVERY."""
        if key in self.warned:
            return False
        self.warned[key] = self.now()
        return True

    def save(self) -> None:
        """Write the file, or remove it if nothing is to be kept."""
        kept = {"units": self.units, "warned": self.warned}
        write_json(self.path, {name: value for name, value in kept.items() if value})


def _object(value: Any) -> Dict[str, Any]:
    return value if isinstance(value, dict) else {}
