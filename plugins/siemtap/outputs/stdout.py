"""Events as lines on standard output, for a pipe or a look."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from typing import Iterator, List, Optional, Set

from ..core.mapping import Event
from ..core.model import Mark, Unit
from ..core.windows import Millis
from . import Around, Refused
from .encode import encode, write


@dataclass(frozen=True)
class Settings:
    """Nothing to set."""


class Closed(SystemExit):
    """Whoever read our standard output went away: an end, and no error."""


class Stdout:
    together = False
    settings = Settings

    def __init__(self, settings: Settings, around: Around = Around()) -> None:
        self.lock = threading.Lock()

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Refused:
        lines = b"".join(encode(event) + b"\n" for event in events)
        with self.lock:
            try:
                write(sys.stdout.buffer, lines)
            except BrokenPipeError:
                # so that Python's own last flush finds no pipe
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise Closed(0) from None
        return []

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        return None

    def read(
        self, unit: Unit, namespace: str, start: Millis, stop: Millis
    ) -> Optional[Iterator[Event]]:
        return None

    def close(self) -> None:
        pass
