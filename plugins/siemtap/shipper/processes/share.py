"""Which units a process runs, of those of its configuration."""

from __future__ import annotations

import threading
from typing import Dict, List, Optional, Protocol

from ...core.model import Unit
from ...engine.protocols import CheckpointStore

OUTPUT = "output"  # the input of a unit that reads the queue of an output


class Lease(Protocol):
    """The right to run the pulled units of an input. `marks`: where their marks are; None: in
    path.data. `ended`: the right is gone, and what is in hand is not delivered any more."""

    ended: bool

    @property
    def marks(self) -> Optional[CheckpointStore]: ...


class Endless:
    """The lease of a process whose units never go to another."""

    ended = False
    marks: Optional[CheckpointStore] = None


ENDLESS = Endless()


class Share(Protocol):
    """The units of one process. `name`: of the process, in the log; "" if it is alone."""

    name: str

    @property
    def alone(self) -> bool:
        """Return whether the process runs all receivers and queues of its path.data."""

    def owned(self, units: List[Unit]) -> List[Unit]:
        """Return those of the units that this process runs. Another of the same path.data never
        runs them, until all processes have ended."""
        return units

    def lease(self, input: str) -> Optional[Lease]:
        """Return the lease of an input's pulled units; None while another worker has it. It may
        change at any time: a new lease is a new object."""
        return ENDLESS

    def others_queue(self) -> bool:
        """Return whether another process may queue events."""
        return False

    def know(self, input: str, plugin: str, units: List[Unit]) -> None:
        """Take notice of the pulled units that an input has now."""
        return None

    def problem(self) -> str:
        """Return why this process gets no units; "" if nothing is wrong."""
        return ""


class Whole(Share):
    """The share of the only process."""

    name = ""
    alone = True


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
