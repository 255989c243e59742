"""What a running input needs of the process it runs in."""

from __future__ import annotations

import threading
from typing import Any, Mapping, Optional, Protocol

from ..core.settings import Connection
from ..edge.client.http import Http
from ..edge.clock import Clock
from ..edge.receive.receiver import Receiver
from ..edge.store.checkpoints import Checkpoints, Database
from ..edge.store.rejected import RejectedEvents
from ..engine.protocols import EventCheck
from .config.sections import Input
from .delivery.routes import Route
from .processes.share import Share
from .stats import Counts, Tally
from .unit import UnitState


class Host(Protocol):
    """What a running input needs of the process it runs in: the shipper."""

    added_fields: Mapping[str, Any]
    check: Optional[EventCheck]
    clock: Clock
    counts: Counts
    database: Database
    once: bool
    patience: float
    pull: bool
    rejected_events: RejectedEvents
    share: Share
    stopping: threading.Event
    tally: Tally

    @property
    def checkpoints(self) -> Checkpoints: ...

    def http(self, connection: Connection) -> Http: ...

    def has_spool(self, input: str) -> bool: ...

    def receive(self, input_config: Input) -> Receiver: ...

    def route(self, input_config: Input) -> Route: ...

    def after_attempt(self, running: Any, state: UnitState) -> None: ...

    def progress(self, running: Any, state: UnitState) -> None: ...
