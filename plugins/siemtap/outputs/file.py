"""NDJSON files on disk.

A torn last line is cut at start. After a crash, the ids at the end of the files say which events
were written before the checkpoint was saved.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Iterator, List, Optional, Set, Tuple

from ..core.convert import rfc3339
from ..core.errors import Retry
from ..core.events import ids_of
from ..core.manifest import integer, text
from ..core.model import Mark, Unit
from ..core.rows import Event
from ..core.windows import Millis
from ..edge.encode import encode, write
from ..edge.store import private
from ..engine.protocols import Rejections
from . import OutputContext

log = logging.getLogger("siemtap")

ID = re.compile(rb'"id":"([0-9a-f]{32})"')
CLOSED = re.compile(r"events-([0-9]{15})\.ndjson")
# Bytes that are read back at start: far more than the batches whose checkpoint may be missing.
TAIL = 256 * 1024 * 1024
ATTEMPTS = 100  # to open all files while another process rotates them
BLOCK = 1024 * 1024  # bytes read at a time when a torn line is searched for


@dataclass(frozen=True)
class Settings:
    path: str = text("Folder", help="Folder of events.ndjson and of the rotated files.")
    rotate_every_bytes: int = integer(
        "Rotate every",
        100 * 1024**2,
        least=1024,
        help=(
            "Size in bytes at which events.ndjson is closed and renamed to events-<time>.ndjson."
        ),
    )
    number_of_files: int = integer(
        "Number of files",
        0,
        least=0,
        help="Number of rotated files to keep; the oldest are deleted. 0 keeps all.",
    )


class StoredFiles:
    """The files, read. Another process may write them at the same time."""

    def __init__(self, settings: Settings) -> None:
        self.folder = Path(settings.path)
        self.path = self.folder / "events.ndjson"

    def closed(self) -> List[Path]:
        """Return the rotated files, oldest first."""
        return sorted(self.folder.glob("events-*.ndjson"))

    def read(self, unit: Unit, namespace: str, start: Millis, stop: Millis) -> Iterator[Event]:
        """Yield a dataset's events with start <= @timestamp < stop, in writing order."""
        first, last = rfc3339(start), rfc3339(stop)
        for path, number, event in self._events():
            try:
                if (
                    event["event"]["dataset"] == unit.dataset
                    and first <= event["@timestamp"] < last
                    and event["data_stream"].get("namespace", "default") == namespace
                ):
                    yield event
            except (TypeError, KeyError, AttributeError):
                raise _not_an_event(path, number) from None

    def holds(self, unit: Unit, events: List[Event]) -> Set[str]:
        """Return the ids of those events that are in the files."""
        ids = ids_of(events)
        return {event["event"]["id"] for _, _, event in self._events() if is_one_of(event, ids)}

    def _events(self) -> Iterator[Tuple[Path, int, Any]]:
        """Yield (file, line number, event)."""
        with ExitStack() as stack:
            for path, file in self._open_all(stack):
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):  # it is being written, or torn
                        break
                    try:
                        yield path, number, json.loads(line)
                    except ValueError:
                        raise _not_an_event(path, number) from None

    def _open_all(self, stack: ExitStack) -> List[Tuple[Path, BinaryIO]]:
        """Open all files, oldest first. If one was rotated or deleted meanwhile, open them anew:
        else its events would be read twice or not at all."""
        for _ in range(ATTEMPTS):
            with ExitStack() as attempt:
                before = self.closed()
                try:
                    files: List[Tuple[Path, BinaryIO]] = [
                        (path, attempt.enter_context(open(path, "rb")))
                        for path in [*before, self.path]
                    ]
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise Retry(f"{self.folder} cannot be read: {error.strerror}") from None
                if before == self.closed():
                    stack.enter_context(attempt.pop_all())
                    return files
        raise Retry(
            f"{self.folder}: there is no events.ndjson, or the files change too quickly: check"
            " `output.file.path`, and try again"
        )

    def close(self) -> None:
        """Do nothing: the files are open while they are read only."""


def is_one_of(event: Any, ids: Set[str]) -> bool:
    """Return whether a line is an event with one of these ids."""
    details = event.get("event") if isinstance(event, dict) else None
    return isinstance(details, dict) and details.get("id") in ids


def _not_an_event(path: Path, number: int) -> Retry:
    return Retry(f"{path} line {number} is not an event: correct or remove the line")


class File(StoredFiles):
    """path/events.ndjson, appended to and fsynced, and the rotated files beside it.

    A rotated file is named after the time of its rotation, so the names sort in writing order.
    """

    together = False
    unreadable = ""
    settings_type = Settings

    def __init__(self, settings: Settings, context: OutputContext = OutputContext()) -> None:
        super().__init__(settings)
        self.settings = settings
        self.clock = context.clock
        self.lock = threading.Lock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._open()
        except OSError as error:
            raise private.error_from(
                error,
                f"output.file.path: {self.folder} cannot be written",
                "name a folder that this user may write",
            ) from None
        self.before = self._read_ids()
        self.is_sound = True  # false: the end of the file is not known to be `end`

    @staticmethod
    def location(settings: Settings) -> str:
        """Return where the events are, to complete "the events are …"."""
        return f"in the NDJSON files of {settings.path}, the newest in events.ndjson"

    def _open(self) -> None:
        self.file = open(self.path, "ab+", buffering=0, opener=private.opener)  # noqa: SIM115
        self._cut_torn_line()
        _sync(self.folder)
        self.end = self.file.seek(0, os.SEEK_END)

    def _cut_torn_line(self) -> None:
        end = self.file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - BLOCK)
            self.file.seek(start)
            line_end = (self.file.read(end - start) or b"").rfind(b"\n")
            if line_end >= 0:
                self.file.truncate(start + line_end + 1)
                return
            end = start
        self.file.truncate(0)

    def _read_ids(self) -> Set[str]:
        """Return the ids at the end of the files.

        The process before this one may have written these events without saving the checkpoint.
        """
        ids: Set[str] = set()
        left = TAIL
        for path in [self.path, *reversed(self.closed())]:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - left))
                for line in file:
                    # Quotes inside a text are escaped, so no text of an attacker looks like an id.
                    ids.update(id.decode() for id in ID.findall(line))
                left -= size
            if left <= 0:
                break
        return ids

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Append and fsync all events. Raise Retry after undoing a write that failed."""
        lines = b"".join(encode(event) + b"\n" for event in events)
        with self.lock:
            try:
                self._make_sound()
                if self.end + len(lines) > self.settings.rotate_every_bytes and self.end:
                    self._rotate()
                self._append(lines)
            except OSError as error:
                self._undo()
                raise Retry(
                    f"{self.path}: {error.strerror}; no event of the batch was written; free some"
                    " space, and the batch is written again"
                ) from None
        return []

    def _append(self, lines: bytes) -> None:
        write(self.file, lines)
        os.fsync(self.file.fileno())
        self.end += len(lines)

    def _make_sound(self) -> None:
        """Undo a write that failed, if that is still to do; open a new file if somebody removed or
        renamed this one. Until then nothing is appended."""
        if not self.is_sound:
            self._undo_write()
        if self.file.closed:
            self._open()
        elif private.is_replaced(self.path, os.fstat(self.file.fileno())):
            log.error(
                "%s was removed or replaced while siemtap runs; a new file is opened. What was in"
                " the old one is no longer there, unless it was renamed",
                self.path,
            )
            self.file.close()
            self._open()

    def _undo(self) -> None:
        self.is_sound = False
        try:
            self._undo_write()
        except OSError:  # the next delivery tries again before it appends
            pass

    def _undo_write(self) -> None:
        """Cut the file where the last delivery ended. After a failed fsync the system may have
        dropped pages of the old descriptor, so the file is opened again."""
        if not self.file.closed:
            self.file.close()
        file = open(self.path, "ab+", buffering=0, opener=private.opener)  # noqa: SIM115
        try:
            if os.fstat(file.fileno()).st_size > self.end:
                file.truncate(self.end)
            os.fsync(file.fileno())
            self.end = os.fstat(file.fileno()).st_size
        except OSError:
            file.close()
            raise
        self.file = file
        self.is_sound = True

    def _rotate(self) -> None:
        self.file.close()
        self.path.rename(self.folder / self._rotated_name())
        self._open()
        if self.settings.number_of_files:
            for path in self.closed()[: -self.settings.number_of_files]:
                path.unlink()

    def _rotated_name(self) -> str:
        """Return a name that sorts after all rotated files.

        It does so even if the clock was ahead when one of them was rotated.
        """
        moment = self.clock.now()
        for path in self.closed():
            match = CLOSED.fullmatch(path.name)
            if match:
                moment = max(moment, int(match[1]) + 1)
        return f"events-{moment:015d}.ndjson"

    def holds(self, unit: Unit, events: List[Event]) -> Set[str]:
        """Return the ids of those events that the process before this one wrote.

        The first cycle after a start asks for them.
        """
        return self.before & ids_of(events)

    def close(self) -> None:
        with self.lock:
            self.file.close()


def _sync(folder: Path) -> None:
    """Make a new file name durable, on systems that can sync a folder."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
