"""Which units a process runs, of those of its configuration."""

from __future__ import annotations

import threading
from typing import Dict, List, Protocol

from ...core.model import Unit

OUTPUT = "output"  # the input of a unit that reads the queue of an output


class Share(Protocol):
    """The units of one process. `name`: of the process, in the log; "" if it is alone."""

    name: str

    @property
    def alone(self) -> bool:
        """Return whether the process runs all units, receivers and queues."""

    def owned(self, units: List[Unit]) -> List[Unit]:
        """Return those of the units that this process runs. Another never runs them, until all
        processes have ended."""

    def others_queue(self) -> bool:
        """Return whether another process may queue events."""


class Whole:
    """The share of the only process."""

    name = ""
    alone = True

    def owned(self, units: List[Unit]) -> List[Unit]:
        return units

    def others_queue(self) -> bool:
        return False


ALONE = Whole()


class Ownership:
    """Which worker owns which unit, known to the supervisor alone.

    A unit goes to the worker that has the fewest, once, and stays there: also while that worker is
    started again, and over a reload. So no two workers ever run it.
    """

    def __init__(self, workers: int) -> None:
        self.lock = threading.Lock()
        self.owners: Dict[Unit, int] = {}
        # of readers of queues apart: they may have nothing to do
        self.loads = {True: [0] * workers, False: [0] * workers}

    def claim(self, worker: int, units: List[Unit]) -> List[Unit]:
        """Return those of the units that a worker owns; units without an owner get one first."""
        with self.lock:
            for unit in units:
                if unit not in self.owners:
                    loads = self.loads[unit.input == OUTPUT]
                    owner = loads.index(min(loads))
                    loads[owner] += 1
                    self.owners[unit] = owner
            return [unit for unit in units if self.owners[unit] == worker]
