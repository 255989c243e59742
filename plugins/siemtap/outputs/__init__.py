"""Where events go: one file per output, all under one contract test
(tests/outputs/test_outputs.py)."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Callable, List, Mapping, Optional, Set, Tuple

from ..core.mapping import Event
from ..core.windows import Millis
from ..edge.clock import SYSTEM, Clock

Refused = List[Tuple[Event, str]]  # events that will never be taken as they are, and why


@dataclass(frozen=True)
class Around:
    """What an output may need of the process it lives in."""

    database: Any = None  # path.data/siemtap.db
    clock: Clock = SYSTEM
    # set: raise Retry rather than wait
    stopping: threading.Event = field(default_factory=threading.Event)
    # an input's id -> the `index` it wants
    index_of: Mapping[str, str] = field(default_factory=dict)
    # the time as vendors tell it; None: nobody is asked
    vendors_now: Optional[Callable[[], Millis]] = None


def ids_of(events: List[Event]) -> Set[str]:
    return {event["event"]["id"] for event in events}
