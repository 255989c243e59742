"""The outputs: one file each. tests/outputs/test_outputs.py is their contract."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Callable, Mapping, Optional, Tuple

from ..core.rows import Dataset
from ..core.windows import Millis
from ..edge.clock import SYSTEM, Clock
from ..edge.store.checkpoints import Database


@dataclass(frozen=True)
class OutputContext:
    """What an output gets from the process that runs it."""

    database: Optional[Database] = None  # path.data/siemtap.db
    clock: Clock = SYSTEM
    # Once this is set, an output raises Retry instead of waiting.
    stopping: threading.Event = field(default_factory=threading.Event)
    # input id -> the `index` setting of that input
    index_by_input: Mapping[str, str] = field(default_factory=dict)
    # Every dataset by name, for an output that has a form of its own for their events
    datasets: Mapping[str, Dataset] = field(default_factory=dict)
    # Returns the time by the vendors' clocks. None: no vendor is asked.
    vendor_now: Optional[Callable[[], Millis]] = None
    section: str = ""  # its section in the configuration, for errors
    delivers: Tuple[str, ...] = ()  # names of the datasets that its inputs give
    process: str = ""  # the name of a worker of `processes: N`; "" of the only process
