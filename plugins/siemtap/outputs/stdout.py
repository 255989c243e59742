"""Events as lines on standard output, for a pipe or a terminal."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from typing import List, Optional, Set

from ..core.model import Mark, Unit
from ..core.rows import Event
from ..edge.encode import encode, write
from ..engine.protocols import Rejections
from . import OutputContext


@dataclass(frozen=True)
class Settings:
    """No settings."""


class PipeClosed(SystemExit):
    """The end of the process when the reader of standard output closes the pipe. No error."""


def write_lines(lines: bytes) -> None:
    """Write to standard output. Raise PipeClosed if its reader has gone."""
    try:
        write(sys.stdout.buffer, lines)
    except BrokenPipeError:
        # Python flushes standard output once more at exit; it must not find the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise PipeClosed(0) from None


class Stdout:
    """NDJSON on standard output. It cannot say what it delivered before."""

    together = False
    unreadable = "it keeps none"
    settings_type = Settings

    def __init__(self, settings: Settings, context: OutputContext = OutputContext()) -> None:
        self.lock = threading.Lock()

    @staticmethod
    def location(settings: Settings) -> str:
        """Return where the events are, to complete "the events are …"."""
        return "printed by `siemtap run`, and stored nowhere by siemtap"

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Write the events as one block of lines."""
        lines = b"".join(encode(event) + b"\n" for event in events)
        with self.lock:
            write_lines(lines)
        return []

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        return None

    def close(self) -> None:
        pass
