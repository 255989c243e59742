"""The spool: received payloads on disk, from their acceptance to their delivery.

An append-only log in segments. At the start a torn record at the end is cut; a damaged record is
skipped and logged. A full spool refuses payloads before they are acknowledged. One writer thread
groups the appends of all receivers into one fsync.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import uuid
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, List, NamedTuple, Optional, Sequence

from ...core.errors import Malformed, Retry
from ...core.model import Payload
from ..store import private
from .records import (
    LARGEST,
    MAGIC,
    NAME,
    Position,
    Record,
    encode_record,
    sound_end,
    sync,
    sync_folder,
)
from .spool_reader import SpoolReader, encode_end, end_file

log = logging.getLogger("siemtap")

SEGMENT = 32 * 1024 * 1024
BYTES_PER_SYNC = 4 * 1024 * 1024  # at most; the rest waits for the next fsync
DELETED = (
    "files of the spool {} were deleted or replaced while siemtap runs; no payload is accepted any"
    " more: restart siemtap"
)
TRY_EVERY = 2.0  # seconds after which a disk that failed is tried again, without a payload
TRIAL = 4096  # bytes that are written then at least, and cut off again
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


class Spool(SpoolReader):
    """A spool in one folder, with one process that writes it.

    Any thread may call `append`; one reader calls `read` and `delete_before`.

    `max_bytes`: the limit of its size on disk. `publish`: tell a `SpoolReader` in another process
    how far it may read; then nothing is read here.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int = 1024**3,
        segment: int = SEGMENT,
        publish: bool = False,
    ) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        # Small segments, because delivered payloads are deleted segment by segment.
        self.segment = max(64 * 1024, min(segment, max_bytes // 8))
        self.damaged = 0
        self.changing = threading.Lock()
        self.lock = threading.Condition()
        self.groups: List[_Group] = []
        self.waiting = 0  # bytes appended and not on disk yet
        self.stopping = False
        self.full = False  # full, and not yet below the low mark
        self.failure = ""  # why nothing more can be written until a restart
        self.disk_error = ""  # why the disk did not take what was written last
        self.trial = TRIAL  # bytes that it must take until it counts as sound
        self.sizes: Dict[int, int] = {}
        self.end: Optional[BinaryIO] = None
        try:
            private.make_folder(folder)
            # a new name, which no earlier cursor fits, for a new spool
            self.name = self._stored_name() or uuid.uuid4().hex
            if publish:
                private.close_to_others(end_file(folder))
                self.end = open(end_file(folder), "r+b", buffering=0)  # noqa: SIM115
            else:
                end_file(folder).unlink(missing_ok=True)  # of an earlier process: soon outdated
            self.sizes = {number: self._path(number).stat().st_size for number in self._numbers()}
            last = max(self.sizes, default=0)
            self.file = self._open(last or 1, sound_end(self._path(last)) if last else 0)
            self.reached = Position(max(self.sizes), self.sizes[max(self.sizes)])
            self._publish(self.reached)
        except OSError as error:
            raise private.error_from(
                error, f"{folder} cannot be written", "check `path.data`"
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
        if self.end and (self.full or self.size + added > self.max_bytes):
            self._forget_deleted()
        size = self.size
        if size + added > self.max_bytes:
            self.full = True
        elif size < LOW * self.max_bytes:
            self.full = False
        return self.full

    @property
    def size(self) -> int:
        """Return the bytes on disk and in the writer's queue."""
        return super().size + self.waiting

    def refresh(self) -> None:
        """Do nothing, unless another process reads and deletes: what this process writes is
        known."""
        if self.end:
            self._forget_deleted()

    def _forget_deleted(self) -> None:
        """Forget the segments that the reader in another process has deleted."""
        last = max(self.sizes)
        for number in list(self.sizes):
            if number < last and not self._path(number).exists():
                self.sizes.pop(number, None)

    def close(self) -> None:
        """Refuse further payloads, write those that were appended, and close the file."""
        with self.lock:
            self.stopping = True
            self.lock.notify_all()
        self.writer.join()
        self.file.close()
        if self.end:
            self.end.close()

    def problems(self) -> Iterator[str]:
        """Yield why senders are refused, for the status."""
        reason = self.check() or self.disk_error
        if reason:
            yield reason
        if self.is_full():
            yield (
                "the spool is full; senders are refused until the output accepts the events that"
                " wait"
            )
        if not self.writer.is_alive() and not self.stopping:
            yield "the thread that writes the spool has ended: restart siemtap"

    # The writer

    def _write(self) -> None:
        while True:
            with self.lock:
                self.lock.wait_for(
                    lambda: self.groups or self.stopping, TRY_EVERY if self.disk_error else None
                )
                if self.stopping and not self.groups:
                    return
                groups: List[_Group] = []
                size = 0
                while self.groups and (not groups or size + self.groups[0].size <= BYTES_PER_SYNC):
                    size += self.groups[0].size
                    groups.append(self.groups.pop(0))
            error: Optional[Retry] = None
            try:
                if groups:
                    error = self._put([record for group in groups for record in group.records])
                else:
                    self._try_disk()
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
        if self.check():
            return Full(self.failure, after=30_000)
        try:
            number = self._ready()
            end = self.sizes[number]
            for record in records:
                self.file.write(record.head(self.key, end))
                self.file.write(record.data)
                end += record.size
            self.file.flush()
            sync(self.file)
            self._publish(Position(number, end))
        except OSError as error:
            self._undo_write(max(self.sizes))
            self.trial = max(TRIAL, sum(record.size for record in records))
            return Retry(f"{self._note_disk_error(error)}; nothing was kept")
        self.sizes[number] = end
        self._note_sound_disk()
        return None

    def _ready(self) -> int:
        """Return the number of the segment that is written next: a new one if the last is full."""
        number = max(self.sizes)
        if self.sizes[number] >= self.segment:
            self.file.close()
            number += 1
            self.file = self._open(number)
        elif self.file.closed:
            self.file = self._open(number, self.sizes[number])
        return number

    def _note_disk_error(self, error: OSError) -> str:
        """Note why the disk failed, and log it once. Return the reason."""
        reason = error.strerror
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            reason = "the disk is full"
        reason = f"the spool {self.folder}: {reason}"
        if not self.disk_error:
            log.error(
                "%s; senders are refused, or wait, until the disk takes payloads again: check it",
                reason,
            )
        self.disk_error = f"{reason}; senders are refused until the disk takes payloads again"
        return reason

    def _note_sound_disk(self) -> None:
        if self.disk_error:
            log.warning("the spool %s: the disk takes payloads again", self.folder)
            self.disk_error = ""

    def _try_disk(self) -> None:
        """Write as much as failed behind the end and cut it off again, to see whether a disk that
        failed works: otherwise the status would tell of the error until the next payload comes."""
        if self.check():
            return
        try:
            number = self._ready()
            self.file.write(bytes(self.trial))
            self.file.flush()
            sync(self.file)
            self.file.close()
            self.file = self._open(number, self.sizes[number])
        except OSError as error:
            self._undo_write(max(self.sizes))
            self._note_disk_error(error)
        else:
            self._note_sound_disk()

    def _publish(self, end: Position) -> None:
        if self.end:
            self.end.seek(0)
            self.end.write(encode_end(end))

    def _undo_write(self, number: int) -> None:
        """Cut a partial record at the end of a segment. If this fails too, the next write tries it
        again; until then the reader skips it."""
        try:
            self.file.close()
        except OSError:
            pass  # the rest of its buffer could not be written either
        try:
            self.file = self._open(number, self.sizes.get(number, 0))
        except OSError:
            pass

    def _open(self, number: int, end: int = 0) -> BinaryIO:
        """Open a segment to write at its end, `end`. A new segment gets the spool's name first."""
        path = self._path(number)
        private.close_to_others(path)
        file: BinaryIO = open(path, "r+b", buffering=1024 * 1024)  # noqa: SIM115 - closed with the spool, or at the next segment
        try:
            self._begin(file, end)
        except OSError:
            with contextlib.suppress(OSError):
                file.close()
            raise
        self.sizes[number] = max(end, NAME.size)
        return file

    def _begin(self, file: BinaryIO, end: int) -> None:
        file.truncate(end if end >= NAME.size else 0)
        if end >= NAME.size:
            self.key = NAME.unpack(file.read(NAME.size))[2]
        file.seek(0, os.SEEK_END)
        if end < NAME.size:
            self.key = os.urandom(16)
            self.name = self._stored_name() or self.name  # a reader elsewhere may have renamed it
            file.write(NAME.pack(MAGIC, self.name_bytes, self.key))
            file.flush()
            sync(file)
            sync_folder(self.folder)
