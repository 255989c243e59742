"""What a receiver has promised to keep: an append-only log in segments, each record with its
checksum. Torn ends are cut, damage is stepped over and said, and what is full says so before it
promises anything.

A record is MAGIC, length, CRC-32, the payload; a segment begins with the spool's own name. One
writer thread groups the appends of many receivers into one fsync.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import struct
import sys
import threading
import uuid
import zlib
from concurrent.futures import Future
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..core.errors import ConfigError, Malformed, Retry
from ..core.model import Cursor, Payload

log = logging.getLogger("siemtap")

MAGIC = b"\xa7tap"
HEAD = struct.Struct("<4sII")  # magic, length, checksum
NAME = struct.Struct("<4s16s")  # at the start of a segment: magic, the spool's name
SEGMENT = 32 * 1024 * 1024
# bytes in one fsync; what comes meanwhile waits for the next
AT_ONCE = 4 * 1024 * 1024
LARGEST = 64 * 1024 * 1024  # a length beyond this is damage
LOW = 0.8  # of the most: below it a full spool opens again


class Position(NamedTuple):
    segment: int
    offset: int


class Full(Retry):
    """No room: nothing was kept, ask again later."""


class Receipt(NamedTuple):
    """For payloads that are on disk. The writer alone makes one: a sender is told that all is
    well for a receipt, and for nothing else."""

    payloads: int


class _Group(NamedTuple):
    data: bytes
    kept: Future[Receipt]
    payloads: int


class Spool:
    """One folder, one process. `append` from any thread; `read` and `forget` from one reader."""

    def __init__(self, folder: Path, most: int = 1024**3, segment: int = SEGMENT) -> None:
        self.folder, self.most = folder, most
        # what is delivered goes segment by segment
        self.segment = max(64 * 1024, min(segment, most // 8))
        self.damaged = 0  # bytes stepped over since the start
        self.lock = threading.Condition()
        self.groups: List[_Group] = []
        self.waiting = 0  # bytes handed in and not on disk yet
        self.stopping = False
        self.shut = False  # above the high mark, and not yet below the low one
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.name = self._named()
            self.sizes: Dict[int, int] = {
                number: self._path(number).stat().st_size for number in self._numbers()
            }
            last = max(self.sizes, default=0)
            self.file = self._open(last or 1, self._sound_end(last) if last else 0)
            # no cursor lies beyond: what a process found, or has read
            self.reached = Position(max(self.sizes), self.sizes[max(self.sizes)])
        except OSError as error:
            raise ConfigError(
                f"{folder} cannot be written: {error.strerror}; check `path.data`"
            ) from None
        self.writer = threading.Thread(target=self._write, name="spool-writer", daemon=True)
        self.writer.start()

    # Receivers

    def append(self, payloads: Sequence[Payload]) -> Future[Receipt]:
        """Done once they are on disk; Full, at once, when there is no room; Retry in the future
        when the disk fails. All of them, or none. Malformed, at once, for one so large that it
        would be read as damage."""
        records = list(map(_record, payloads))
        if any(len(record) > LARGEST for record in records):
            raise Malformed(f"a payload of more than {LARGEST >> 20} MiB")
        data = b"".join(records)
        kept: Future[Receipt] = Future()
        # who waited may go away; what was handed in is kept all the same
        kept.set_running_or_notify_cancel()
        with self.lock:
            if self.stopping:
                raise Full("the receiver is stopping")
            if self.is_full(len(data)):
                raise Full(
                    f"the spool {self.folder} is full: {self.held:,} of {self.most:,} bytes wait"
                    " for the output",
                    after=30_000,
                )
            self.waiting += len(data)
            self.groups.append(_Group(data, kept, len(records)))
            self.lock.notify_all()
        return kept

    def parts(self, payloads: Sequence[Payload]) -> Iterator[List[Payload]]:
        """Cut so that each fits as soon as there is a segment's room."""
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

    def is_full(self, more: int = 0) -> bool:
        """Closed above the high mark, open again below the low one."""
        held = self.held
        if held + more > self.most:
            self.shut = True
        elif held < LOW * self.most:
            self.shut = False
        return self.shut

    @property
    def held(self) -> int:
        """On disk and on the way there."""
        return sum(self.sizes.copy().values()) + self.waiting

    def close(self) -> None:
        """What was handed in is written; nothing is taken any more."""
        with self.lock:
            self.stopping = True
            self.lock.notify_all()
        self.writer.join()
        self.file.close()

    # The reader

    def read(
        self, cursor: Cursor, at_most: int, at_most_bytes: int = 8 * 1024**2
    ) -> Tuple[List[Payload], Cursor]:
        """The next payloads, and the cursor after them. A cursor of another spool's, or one beyond
        the end, begins at the first. Retry while the disk cannot be read."""
        try:
            if cursor.get("spool") == self.name and self._is_beyond(_place(cursor)):
                log.error(
                    "%s: the checkpoint's segment %r and offset %r lie beyond its end: is it an"
                    " older spool beside newer checkpoints? All that it holds is read; events that"
                    " were delivered already are known by their ids",
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
        place = self._position(cursor)
        found: List[Payload] = []
        size = 0
        for number in sorted(self.sizes.copy()):
            if number < place.segment or len(found) >= at_most or size >= at_most_bytes:
                continue
            start = place.offset if number == place.segment else NAME.size
            end = self.sizes[number]
            for data, after, lost in _records(self._path(number), start, end):
                if lost:
                    self.damaged += lost
                    log.error(
                        "%s: %d bytes cannot be read any more and are stepped over",
                        self._path(number),
                        lost,
                    )
                if data is not None:
                    found.append(_payload(data))
                    size += len(data)
                place = Position(number, after)
                if len(found) >= at_most or size >= at_most_bytes:
                    break
        self.reached = max(self.reached, place)
        return found, {"spool": self.name, "segment": place.segment, "offset": place.offset}

    def pending(self, cursor: Cursor) -> int:
        """Bytes after the cursor."""
        place = self._position(cursor)
        return sum(
            size - (place.offset if number == place.segment else 0)
            for number, size in self.sizes.copy().items()
            if number >= place.segment
        )

    def forget(self, cursor: Cursor) -> None:
        """What lies before it is delivered: segments that are wholly behind go."""
        place = self._position(cursor)
        for number in sorted(self.sizes.copy()):
            if number < place.segment:
                self._path(number).unlink(missing_ok=True)
                with self.lock:
                    self.sizes.pop(number, None)

    def _position(self, cursor: Cursor) -> Position:
        first = min(self.sizes.copy(), default=1)
        place = _place(cursor)
        if cursor.get("spool") != self.name or place.segment < first or self._is_beyond(place):
            return Position(first, NAME.size)
        return Position(place.segment, max(place.offset, NAME.size))

    def _is_beyond(self, place: Position) -> bool:
        """Whether a place is none that this spool ever told of, even if it has grown past it
        meanwhile: what lies before it was never read."""
        return place > self.reached or place.offset > self.sizes.get(place.segment, place.offset)

    def _rename(self) -> None:
        """No cursor from before fits any more. The first segment's name counts, and comes last."""
        self.name = uuid.uuid4().hex
        for number in sorted(self.sizes.copy(), reverse=True):
            with open(self._path(number), "r+b") as file:
                file.write(NAME.pack(MAGIC, self.name_bytes))
                file.flush()
                _sync(file)

    # The writer

    def _write(self) -> None:
        while True:
            with self.lock:
                self.lock.wait_for(lambda: self.groups or self.stopping)
                if not self.groups:
                    return
                groups: List[_Group] = []
                size = 0
                while self.groups and (not groups or size + len(self.groups[0].data) <= AT_ONCE):
                    size += len(self.groups[0].data)
                    groups.append(self.groups.pop(0))
            trouble = self._put(b"".join(group.data for group in groups))
            with self.lock:
                self.waiting -= size
            for group in groups:
                if trouble:
                    group.kept.set_exception(trouble)
                else:
                    group.kept.set_result(Receipt(group.payloads))

    def _put(self, data: bytes) -> Optional[Retry]:
        """On disk, or as if it had never been there."""
        number = max(self.sizes)
        try:
            if self.sizes[number] >= self.segment:
                self.file.close()
                number += 1
                self.file = self._open(number)
            if self.file.closed:
                self.file = self._open(number, self.sizes[number])
            self.file.write(data)
            self.file.flush()
            _sync(self.file)
        except OSError as error:
            self._take_back(number)
            what = (
                "the disk is full"
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
                else error.strerror
            )
            return Retry(f"the spool {self.folder}: {what}; nothing was kept")
        self.sizes[number] += len(data)
        return None

    def _take_back(self, number: int) -> None:
        """Half a record at the end would be read as damage; if even this fails, it is stepped
        over later."""
        try:
            self.file.close()
        except OSError:
            pass  # what its buffer held could not be written either
        try:
            self.file = self._open(number, self.sizes.get(number, 0))
        except OSError:
            log.exception("%s cannot be opened again", self._path(number))

    def _open(self, number: int, end: int = 0) -> BinaryIO:
        """A segment to write at its end; a new one gets the spool's name first."""
        path = self._path(number)
        file: BinaryIO = open(path, "r+b" if path.exists() else "w+b", buffering=1024 * 1024)  # noqa: SIM115 - closed with the spool, or at the next segment
        file.truncate(end if end >= NAME.size else 0)
        file.seek(0, os.SEEK_END)
        if end < NAME.size:
            file.write(NAME.pack(MAGIC, self.name_bytes))
            file.flush()
            _sync(file)
            _sync_folder(self.folder)
            end = NAME.size
        self.sizes[number] = end
        return file

    # Names

    @property
    def name_bytes(self) -> bytes:
        return bytes.fromhex(self.name)

    def _named(self) -> str:
        """Of whatever segment has it; a new one where there is none, so that no old cursor fits
        a new spool."""
        self.sizes = {}
        for number in self._numbers():
            with open(self._path(number), "rb") as file:
                head = file.read(NAME.size)
            if len(head) == NAME.size and head[:4] == MAGIC:
                return head[4:].hex()
        return uuid.uuid4().hex

    def _sound_end(self, number: int) -> int:
        """Where the last whole record of the last segment ends."""
        size = self._path(number).stat().st_size
        end = min(size, NAME.size)
        for data, after, _ in _records(self._path(number), NAME.size, size):
            if data is not None:
                end = after
        if end < size:
            log.warning(
                "%s: a torn end of %d bytes, never promised to anybody, is cut",
                self._path(number),
                size - end,
            )
        return end

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:012d}.spool"

    def _numbers(self) -> List[int]:
        return sorted(int(path.stem) for path in self.folder.glob("*.spool") if path.stem.isdigit())


def _place(cursor: Cursor) -> Position:
    """Where a cursor points; beyond everything where it holds no numbers."""
    segment, offset = cursor.get("segment", 0), cursor.get("offset", 0)
    return (
        Position(segment, offset)
        if type(segment) is type(offset) is int
        else Position(sys.maxsize, 0)
    )


def _record(payload: Payload) -> bytes:
    head = json.dumps(
        [payload.channel, payload.path, payload.peer, payload.received, dict(payload.headers)]
    ).encode()
    data = head + b"\n" + payload.body
    return HEAD.pack(MAGIC, len(data), zlib.crc32(data)) + data


def _payload(data: bytes) -> Payload:
    head, _, body = data.partition(b"\n")
    channel, path, peer, received, headers = json.loads(head)
    return Payload(body, channel, path, peer, received, headers)


def _records(path: Path, start: int, end: int) -> Iterator[Tuple[Optional[bytes], int, int]]:
    """(data, the offset after it, bytes stepped over before it); data None: nothing whole
    follows any more."""
    with open(path, "rb", buffering=1024 * 1024) as file:
        at = start
        while at < end:
            file.seek(at)
            data = _whole(file, end - at)
            lost = 0
            if data is None:
                lost, data = _next_whole(file, at, end)
            at += lost + (HEAD.size + len(data) if data is not None else 0)
            yield data, at, lost


def _whole(file: BinaryIO, left: int) -> Optional[bytes]:
    """The record that begins here, if it is sound."""
    head = file.read(HEAD.size)
    if left < HEAD.size or len(head) < HEAD.size:
        return None
    magic, length, checksum = HEAD.unpack(head)
    if magic != MAGIC or length > min(LARGEST, left - HEAD.size):
        return None
    data = file.read(length)
    return data if len(data) == length and zlib.crc32(data) == checksum else None


def _next_whole(file: BinaryIO, at: int, end: int) -> Tuple[int, Optional[bytes]]:
    """After damage: how many bytes to step over, and the sound record there."""
    file.seek(at)
    said = file.read(end - at)
    place = said.find(MAGIC, 1)
    while place >= 0:
        file.seek(at + place)
        data = _whole(file, end - at - place)
        if data is not None:
            return place, data
        place = said.find(MAGIC, place + 1)
    return end - at, None


def _sync(file: BinaryIO) -> None:
    getattr(os, "fdatasync", os.fsync)(file.fileno())


def _sync_folder(folder: Path) -> None:
    """So that the name of a new segment survives a power cut, too; Windows has no such call."""
    if os.name == "posix":
        handle = os.open(str(folder), os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
