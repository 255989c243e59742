"""Reading a spool: in the process that writes it, or in another one."""

from __future__ import annotations

import logging
import struct
import threading
import uuid
import zlib
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

from ...core.errors import Retry
from ...core.model import Cursor, Payload
from .records import MAGIC, NAME, Position, decode_payload, position_of, read_records, sync

log = logging.getLogger("siemtap")

END = struct.Struct("<QQI")  # segment, offset, checksum


class SpoolReader:
    """The reader of a spool that another process writes. One at a time calls `read` and
    `delete_before`.

    It reads up to the end that the writer has published: behind it, records may be torn, or be
    taken back after a failed fsync.
    """

    full = False  # only a writer can find it full

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged = 0  # damaged bytes skipped since the start
        self.name = ""
        self.sizes: Dict[int, int] = {}  # of each segment: its bytes on disk
        self.reached = Position(0, 0)  # no cursor lies beyond it: the end at the start, or as read
        self.changing = threading.Lock()  # of `sizes`, by another thread
        self.refresh()

    def refresh(self) -> None:
        """See what another process has written, or made anew, meanwhile."""
        with self.changing:
            try:
                end = published_end(self.folder)
                name = self._stored_name()
                sizes = {
                    number: self._path(number).stat().st_size
                    for number in self._numbers()
                    if end and number < end.segment
                }
            except OSError as error:
                raise Retry(f"the spool {self.folder} cannot be read: {error.strerror}") from None
            if not end or not name:  # nothing is written yet
                return
            sizes[end.segment] = end.offset
            if name != self.name:
                self.name, self.reached = name, end
            elif not self.sizes.keys() <= sizes.keys():
                log.error("files of the spool %s were deleted while siemtap runs", self.folder)
            self.sizes = sizes

    @property
    def size(self) -> int:
        """Return the bytes on disk."""
        return sum(self.sizes.copy().values())

    def problems(self) -> Iterator[str]:
        """Yield why senders are refused, for the status."""
        yield from ()

    def close(self) -> None:
        """Do nothing: files are open while they are read only."""

    def read(
        self, cursor: Cursor, at_most: int, at_most_bytes: int = 8 * 1024**2
    ) -> Tuple[List[Payload], Cursor]:
        """Return the next payloads and the cursor after them.

        A cursor of another spool, or one beyond the end, starts at the first payload. Raise Retry
        if the disk cannot be read.
        """
        try:
            self.refresh()
            if not self.sizes:
                return [], cursor
            if cursor.get("spool") == self.name and self._is_beyond(position_of(cursor)):
                log.error(
                    "%s: the checkpoint's segment %r and offset %r lie beyond its end: is it an"
                    " older spool beside newer checkpoints? All its payloads are read; events that"
                    " were delivered already are recognized by their ids",
                    self.folder,
                    cursor.get("segment"),
                    cursor.get("offset"),
                )
                self._rename()
            return self._read(cursor, at_most, at_most_bytes)
        except OSError as error:
            raise Retry(f"the spool {self.folder} cannot be read: {error.strerror}") from None

    def _read(
        self, cursor: Cursor, at_most: int, at_most_bytes: int
    ) -> Tuple[List[Payload], Cursor]:
        position = self._position(cursor)
        payloads: List[Payload] = []
        size = 0
        for number in sorted(self.sizes.copy()):
            if number < position.segment or len(payloads) >= at_most or size >= at_most_bytes:
                continue
            start = position.offset if number == position.segment else NAME.size
            end = self.sizes[number]
            for data, after, skipped in read_records(self._path(number), start, end):
                if skipped:
                    self.damaged += skipped
                    log.error(
                        "%s: %d bytes are damaged and are skipped", self._path(number), skipped
                    )
                if data is not None:
                    payloads.append(decode_payload(data))
                    size += len(data)
                position = Position(number, after)
                if len(payloads) >= at_most or size >= at_most_bytes:
                    break
        self.reached = max(self.reached, position)
        return payloads, {
            "spool": self.name,
            "segment": position.segment,
            "offset": position.offset,
        }

    def pending(self, cursor: Cursor) -> int:
        """Return the bytes after the cursor."""
        self.refresh()
        position = self._position(cursor)
        pending = 0
        for number, size in self.sizes.copy().items():
            if number >= position.segment:
                pending += size
            if number == position.segment:
                pending -= position.offset
        return pending

    def delete_before(self, cursor: Cursor) -> None:
        """Delete the segments before the cursor: all their payloads are delivered."""
        position = self._position(cursor)
        with self.changing:
            for number in sorted(self.sizes.copy()):
                if number < position.segment:
                    self._path(number).unlink(missing_ok=True)
                    self.sizes.pop(number, None)

    def _position(self, cursor: Cursor) -> Position:
        """Return where a cursor points in this spool; its start for a cursor that does not fit."""
        first = min(self.sizes.copy(), default=1)
        position = position_of(cursor)
        if (
            cursor.get("spool") != self.name
            or position.segment < first
            or self._is_beyond(position)
        ):
            return Position(first, NAME.size)
        return Position(position.segment, max(position.offset, NAME.size))

    def _is_beyond(self, position: Position) -> bool:
        """Return whether this spool never returned such a position, even if it has grown past it
        since: payloads before it were never read."""
        return position > self.reached or position.offset > self.sizes.get(
            position.segment, position.offset
        )

    def _rename(self) -> None:
        """Give the spool a new name, which no earlier cursor fits.

        The first segment's name counts, so it is written last.
        """
        self.name = uuid.uuid4().hex
        for number in sorted(self.sizes.copy(), reverse=True):
            with open(self._path(number), "r+b") as file:
                file.write(MAGIC + self.name_bytes)  # the key stays
                file.flush()
                sync(file)

    @property
    def name_bytes(self) -> bytes:
        """Return the name as a segment stores it."""
        return bytes.fromhex(self.name)

    def _stored_name(self) -> str:
        """Return the name that the first sound segment stores; "" if there is none."""
        for number in self._numbers():
            try:
                with open(self._path(number), "rb") as file:
                    head = file.read(NAME.size)
            except FileNotFoundError:  # delivered, and deleted meanwhile by the reader
                continue
            if len(head) == NAME.size and head[:4] == MAGIC:
                return bytes(NAME.unpack(head)[1]).hex()
        return ""

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:012d}.spool"

    def _numbers(self) -> List[int]:
        return sorted(int(path.stem) for path in self.folder.glob("*.spool") if path.stem.isdigit())


def end_file(folder: Path) -> Path:
    """Return the file in which a writer publishes its end to a reader in another process."""
    return folder / "end"


def encode_end(end: Position) -> bytes:
    return END.pack(*end, zlib.crc32(END.pack(*end, 0)))


def published_end(folder: Path) -> Optional[Position]:
    """Return up to where a spool is on disk; None if nothing sound is published."""
    try:
        content = end_file(folder).read_bytes()
    except FileNotFoundError:
        return None
    if len(content) != END.size:
        return None
    segment, offset, _ = END.unpack(content)
    end = Position(segment, offset)
    return end if encode_end(end) == content else None
