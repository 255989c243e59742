"""The spool: received payloads on disk, from their acceptance to their delivery.

An append-only log in segments. At the start a torn record at the end is cut; a damaged record is
skipped and logged. A full spool refuses payloads before they are acknowledged. One writer thread
groups the appends of all receivers into one fsync.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ...core.errors import ConfigError, Malformed, Retry
from ...core.model import Cursor, Payload
from ..store import private
from .records import (
    LARGEST,
    MAGIC,
    NAME,
    Position,
    Record,
    decode_payload,
    encode_record,
    position_of,
    read_records,
    sound_end,
    sync,
    sync_folder,
)

log = logging.getLogger("siemtap")

SEGMENT = 32 * 1024 * 1024
BYTES_PER_SYNC = 4 * 1024 * 1024  # at most; the rest waits for the next fsync
DELETED = (
    "files of the spool {} were deleted or replaced while siemtap runs; no payload is accepted any"
    " more: restart siemtap"
)
LOW = 0.8  # of the maximum: below it a full spool accepts payloads again


class Full(Retry):
    """The spool is full or stopping. Nothing was stored; the sender tries again later."""


class Receipt(NamedTuple):
    """The proof that payloads are on disk. Only the writer creates one, and only a receipt makes a
    success answer to a sender."""

    payloads: int


class _Group(NamedTuple):
    records: List[Record]
    future: Future[Receipt]
    size: int


class Spool:
    """A spool in one folder, for one process.

    Any thread may call `append`; one reader calls `read` and `forget`.

    `max_bytes`: the limit of its size on disk.
    """

    def __init__(self, folder: Path, max_bytes: int = 1024**3, segment: int = SEGMENT) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        # Small segments, because delivered payloads are deleted segment by segment.
        self.segment = max(64 * 1024, min(segment, max_bytes // 8))
        self.damaged = 0  # damaged bytes skipped since the start
        self.lock = threading.Condition()
        self.groups: List[_Group] = []
        self.waiting = 0  # bytes appended and not on disk yet
        self.stopping = False
        self.full = False  # full, and not yet below the low mark
        self.failure = ""  # why nothing more can be written until a restart
        try:
            private.make_folder(folder)
            self.name = self._read_name()
            self.sizes: Dict[int, int] = {
                number: self._path(number).stat().st_size for number in self._numbers()
            }
            last = max(self.sizes, default=0)
            self.file = self._open(last or 1, sound_end(self._path(last)) if last else 0)
            # No cursor lies beyond this: the end at the start, or the last read.
            self.reached = Position(max(self.sizes), self.sizes[max(self.sizes)])
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be written: {error.strerror}; check `path.data`"
            ) from None
        self.writer = threading.Thread(target=self._write, name="spool-writer", daemon=True)
        self.writer.start()

    # Receivers

    def append(self, payloads: Sequence[Payload]) -> Future[Receipt]:
        """Store payloads, all or none. The future completes once they are on disk.

        Raises:
            Full: There is no room, or the spool is stopping.
            Malformed: A payload is so large that it would be read as damage.

        The future raises Retry if the disk fails.
        """
        records = list(map(encode_record, payloads))
        if any(record.size > LARGEST for record in records):
            raise Malformed(f"a payload of more than {LARGEST >> 20} MiB")
        size = sum(record.size for record in records)
        future: Future[Receipt] = Future()
        # A caller that stops waiting cannot cancel the write.
        future.set_running_or_notify_cancel()
        with self.lock:
            if self.stopping:
                raise Full("the receiver is stopping")
            if self.failure:
                raise Full(self.failure, after=30_000)
            if self.is_full(size):
                raise Full(
                    f"the spool {self.folder} is full: {self.size:,} of {self.max_bytes:,} bytes"
                    " wait for the output",
                    after=30_000,
                )
            self.waiting += size
            self.groups.append(_Group(records, future, size))
            self.lock.notify_all()
        return future

    def parts(self, payloads: Sequence[Payload]) -> Iterator[List[Payload]]:
        """Yield the payloads in parts of at most half a segment, so that each fits as soon as one
        segment is deleted."""
        part: List[Payload] = []
        size = 0
        for payload in payloads:
            if part and size + len(payload.body) > self.segment // 2:
                yield part
                part, size = [], 0
            part.append(payload)
            size += len(payload.body) + 200
        if part:
            yield part

    def is_full(self, added: int = 0) -> bool:
        """Return whether the spool refuses `added` more bytes. A full spool accepts payloads again
        below the low mark."""
        size = self.size
        if size + added > self.max_bytes:
            self.full = True
        elif size < LOW * self.max_bytes:
            self.full = False
        return self.full

    @property
    def size(self) -> int:
        """Return the bytes on disk and in the writer's queue."""
        return sum(self.sizes.copy().values()) + self.waiting

    def close(self) -> None:
        """Refuse further payloads, write those that were appended, and close the file."""
        with self.lock:
            self.stopping = True
            self.lock.notify_all()
        self.writer.join()
        self.file.close()

    # The reader

    def read(
        self, cursor: Cursor, at_most: int, at_most_bytes: int = 8 * 1024**2
    ) -> Tuple[List[Payload], Cursor]:
        """Return the next payloads and the cursor after them.

        A cursor of another spool, or one beyond the end, starts at the first payload. Raise Retry
        if the disk cannot be read.
        """
        try:
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
        for number in sorted(self.sizes.copy()):
            if number < position.segment:
                self._path(number).unlink(missing_ok=True)
                with self.lock:
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

    # The writer

    def _write(self) -> None:
        while True:
            with self.lock:
                self.lock.wait_for(lambda: self.groups or self.stopping)
                if not self.groups:
                    return
                groups: List[_Group] = []
                size = 0
                while self.groups and (not groups or size + self.groups[0].size <= BYTES_PER_SYNC):
                    size += self.groups[0].size
                    groups.append(self.groups.pop(0))
            try:
                error = self._put([record for group in groups for record in group.records])
            except Exception as defect:  # the writer must go on, or senders wait forever
                log.exception("%s: the writer failed", self.folder)
                self._undo_write(max(self.sizes))
                error = Retry(f"the spool {self.folder}: {type(defect).__name__}")
            with self.lock:
                self.waiting -= size
            for group in groups:
                if error:
                    group.future.set_exception(error)
                else:
                    group.future.set_result(Receipt(len(group.records)))

    def check(self) -> str:
        """Return why nothing can be stored until a restart; "" if something can."""
        try:
            if not self.failure and private.is_replaced(
                self._path(max(self.sizes)), os.fstat(self.file.fileno())
            ):
                self.failure = DELETED.format(self.folder)
                log.error("%s", self.failure)
        except (OSError, ValueError):  # the file is closed, and opened again by the next write
            pass
        return self.failure

    def _put(self, records: Sequence[Record]) -> Optional[Retry]:
        """Write records to the disk, all or none. Return the error if it failed."""
        number = max(self.sizes)
        if self.check():
            return Full(self.failure, after=30_000)
        try:
            if self.sizes[number] >= self.segment:
                self.file.close()
                number += 1
                self.file = self._open(number)
            if self.file.closed:
                self.file = self._open(number, self.sizes[number])
            end = self.sizes[number]
            for record in records:
                self.file.write(record.head(self.key, end))
                self.file.write(record.data)
                end += record.size
            self.file.flush()
            sync(self.file)
        except OSError as error:
            self._undo_write(number)
            reason = error.strerror
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                reason = "the disk is full"
            return Retry(f"the spool {self.folder}: {reason}; nothing was kept")
        self.sizes[number] = end
        return None

    def _undo_write(self, number: int) -> None:
        """Cut a partial record at the end of a segment; if this fails too, the reader skips it."""
        try:
            self.file.close()
        except OSError:
            pass  # the rest of its buffer could not be written either
        try:
            self.file = self._open(number, self.sizes.get(number, 0))
        except OSError:
            log.exception("%s cannot be opened again", self._path(number))

    def _open(self, number: int, end: int = 0) -> BinaryIO:
        """Open a segment to write at its end, `end`. A new segment gets the spool's name first."""
        path = self._path(number)
        private.close_to_others(path)
        file: BinaryIO = open(path, "r+b", buffering=1024 * 1024)  # noqa: SIM115 - closed with the spool, or at the next segment
        file.truncate(end if end >= NAME.size else 0)
        if end >= NAME.size:
            self.key = NAME.unpack(file.read(NAME.size))[2]
        file.seek(0, os.SEEK_END)
        if end < NAME.size:
            self.key = os.urandom(16)
            file.write(NAME.pack(MAGIC, self.name_bytes, self.key))
            file.flush()
            sync(file)
            sync_folder(self.folder)
            end = NAME.size
        self.sizes[number] = end
        return file

    # Names

    @property
    def name_bytes(self) -> bytes:
        """Return the name as a segment stores it."""
        return bytes.fromhex(self.name)

    def _read_name(self) -> str:
        """Return the name that the first sound segment stores. Return a new one for a new spool, so
        that no earlier cursor fits it."""
        self.sizes = {}
        for number in self._numbers():
            with open(self._path(number), "rb") as file:
                head = file.read(NAME.size)
            if len(head) == NAME.size and head[:4] == MAGIC:
                return bytes(NAME.unpack(head)[1]).hex()
        return uuid.uuid4().hex

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:012d}.spool"

    def _numbers(self) -> List[int]:
        return sorted(int(path.stem) for path in self.folder.glob("*.spool") if path.stem.isdigit())
