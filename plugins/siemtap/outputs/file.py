"""NDJSON on disk. A torn last line is cut; what a crash left in doubt is read back from the
tail."""

from __future__ import annotations

import json
import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List, Optional, Set

from ..core.errors import ConfigError, Retry
from ..core.manifest import integer, text
from ..core.mapping import Event, rfc3339
from ..core.model import Mark, Unit
from ..core.windows import Millis
from . import Around, Refused, ids_of
from .encode import encode, write

ID = re.compile(rb'"id":"([0-9a-f]{32})"')
CLOSED = re.compile(r"events-([0-9]{15})\.ndjson")
# bytes read back at a start: far more than the batches that can be in doubt
TAIL = 256 * 1024 * 1024


@dataclass(frozen=True)
class Settings:
    path: str = text("Folder", help="The folder to write events.ndjson into.")
    rotate_every_bytes: int = integer(
        "Rotate every",
        100 * 1024**2,
        least=1024,
        help="A file is closed once it is larger, and renamed to events-<time>.ndjson.",
    )
    number_of_files: int = integer(
        "Number of files", 0, least=0, help="How many closed files to keep; 0 keeps them all."
    )


class File:
    """path/events.ndjson, appended to and fsynced; closed files are named by the time of their
    end, and in their order."""

    together = False
    settings = Settings

    def __init__(self, settings: Settings, around: Around = Around()) -> None:
        self.wish, self.clock, self.lock = settings, around.clock, threading.Lock()
        self.folder = Path(settings.path)
        self.path = self.folder / "events.ndjson"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise ConfigError(
                f"output.file.path: {self.folder} cannot be written: {error.strerror}"
            ) from None
        self.before = self._written()

    def _open(self) -> None:
        self.file = open(self.path, "ab+", buffering=0)  # noqa: SIM115
        self._cut_torn_line()
        _sync(self.folder)
        self.end = self.file.seek(0, os.SEEK_END)

    def _cut_torn_line(self) -> None:
        end = self.file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 1024 * 1024)
            self.file.seek(start)
            line_end = (self.file.read(end - start) or b"").rfind(b"\n")
            if line_end >= 0:
                self.file.truncate(start + line_end + 1)
                return
            end = start
        self.file.truncate(0)

    def _written(self) -> Set[str]:
        """The ids in the last files: what the process before this one may have written without
        its mark."""
        found: Set[str] = set()
        left = TAIL
        for path in [self.path, *reversed(self.closed())]:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - left))
                for line in file:
                    # Quotes inside a text are escaped, so an attacker's words cannot look like an
                    # id.
                    found.update(id.decode() for id in ID.findall(line))
                left -= size
            if left <= 0:
                break
        return found

    def closed(self) -> List[Path]:
        """Closed files, oldest first."""
        return sorted(self.folder.glob("events-*.ndjson"))

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Refused:
        lines = b"".join(encode(event) + b"\n" for event in events)
        with self.lock:
            try:
                if self.end + len(lines) > self.wish.rotate_every_bytes and self.end:
                    self._rotate()
                self._append(lines)
            except OSError as error:
                self._undo()
                raise Retry(
                    f"{self.path}: {error.strerror}; nothing of the batch was kept, and it goes on"
                    " when there is room"
                ) from None
        return []

    def _append(self, lines: bytes) -> None:
        write(self.file, lines)
        os.fsync(self.file.fileno())
        self.end += len(lines)

    def _undo(self) -> None:
        try:
            if self.file.closed:
                self._open()
            self.file.truncate(self.end)
        except OSError:  # then the next start cuts it
            pass

    def _rotate(self) -> None:
        self.file.close()
        self.path.rename(self.folder / self._name())
        self._open()
        if self.wish.number_of_files:
            for path in self.closed()[: -self.wish.number_of_files]:
                path.unlink()

    def _name(self) -> str:
        """A name that sorts behind all that are there, whatever the clock says: a file that was
        closed while it was ahead, too."""
        named = [
            int(match[1])
            for match in (CLOSED.fullmatch(path.name) for path in self.closed())
            if match
        ]
        return f"events-{max([self.clock.now(), *(last + 1 for last in named)]):015d}.ndjson"

    def holds(self, unit: Unit, events: List[Event]) -> Set[str]:
        """Asked in the first cycle after a start, about what the process before wrote."""
        return self.before & ids_of(events)

    def read(self, unit: Unit, namespace: str, start: Millis, stop: Millis) -> Iterator[Event]:
        first, last = rfc3339(start), rfc3339(stop)
        for path in [*self.closed(), self.path]:
            with open(path, "rb") as file:
                for line in file:
                    event = json.loads(line)
                    if (
                        event["event"]["dataset"] == unit.dataset
                        and first <= event["@timestamp"] < last
                        and event["data_stream"].get("namespace", "default") == namespace
                    ):
                        yield event

    def close(self) -> None:
        with self.lock:
            self.file.close()


def _sync(folder: Path) -> None:
    """Make a new name durable, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
