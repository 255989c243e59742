"""The format of the spool on disk: segments of records.

A segment begins with MAGIC, the spool's name and the segment's key. A record is a head and the
payload. The head is MAGIC, length, CRC-32 of the payload, and a tag: a keyed hash of the length and
the record's own offset.

The key is random and never leaves the disk. So bytes inside a payload are no record, even if its
own record is torn: no sender can make a tag, and a copy of a record has another offset.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import BinaryIO, Iterator, NamedTuple, Optional, Tuple

from ...core.model import Cursor, Payload

log = logging.getLogger("siemtap")

MAGIC = b"\xa7tap"
HEAD = struct.Struct("<4sII8s")  # magic, length, checksum, tag
PLACE = struct.Struct("<QI")  # what a tag is the hash of: offset, length
# at the start of a segment: magic, the spool's name, the segment's key
NAME = struct.Struct("<4s16s16s")
LARGEST = 64 * 1024 * 1024  # bytes; a longer record is damage


class Position(NamedTuple):
    """A place in the spool: a segment's number and a byte offset in it."""

    segment: int
    offset: int


class Record(NamedTuple):
    """A payload's bytes and their checksum. The head is made when the offset is known."""

    data: bytes
    checksum: int

    @property
    def size(self) -> int:
        """Return the bytes on disk."""
        return HEAD.size + len(self.data)

    def head(self, key: bytes, offset: int) -> bytes:
        """Return the head of this record at an offset of a segment with this key."""
        tag = _tag(key, offset, len(self.data))
        return HEAD.pack(MAGIC, len(self.data), self.checksum, tag)


def encode_record(payload: Payload) -> Record:
    """Return a payload as a record."""
    head = json.dumps(
        [payload.channel, payload.path, payload.peer, payload.received, dict(payload.headers)]
    ).encode()
    data = head + b"\n" + payload.body
    return Record(data, zlib.crc32(data))


def _tag(key: bytes, offset: int, length: int) -> bytes:
    return hashlib.blake2b(PLACE.pack(offset, length), digest_size=8, key=key).digest()


def decode_payload(data: bytes) -> Payload:
    """Return the payload that a record's data contains."""
    head, _, body = data.partition(b"\n")
    channel, path, peer, received, headers = json.loads(head)
    return Payload(body, channel, path, peer, received, headers)


def position_of(cursor: Cursor) -> Position:
    """Return where a cursor points; beyond everything if its values are not integers."""
    segment = cursor.get("segment", 0)
    offset = cursor.get("offset", 0)
    if type(segment) is int and type(offset) is int:
        return Position(segment, offset)
    return Position(sys.maxsize, 0)


def read_records(path: Path, start: int, end: int) -> Iterator[Tuple[Optional[bytes], int, int]]:
    """Yield (data, the offset after it, damaged bytes skipped before it) for each record.

    `data` is None if no complete record follows the damage.
    """
    with open(path, "rb", buffering=1024 * 1024) as file:
        name = file.read(NAME.size)
        key = NAME.unpack(name)[2] if len(name) == NAME.size else b""
        at = start
        while at < end:
            data = _read_record(file, key, at, end)
            skipped = 0
            if data is None:
                skipped, data = _next_record(file, key, at, end)
            at += skipped
            if data is not None:
                at += HEAD.size + len(data)
            yield data, at, skipped


def sound_end(path: Path) -> int:
    """Return the offset at which the last complete record of a segment ends."""
    size = path.stat().st_size
    end = min(size, NAME.size)
    for data, after, _ in read_records(path, NAME.size, size):
        if data is not None:
            end = after
    if end < size:
        log.warning(
            "%s: an incomplete record of %d bytes at the end, which was never acknowledged, is"
            " removed",
            path,
            size - end,
        )
    return end


def _read_record(file: BinaryIO, key: bytes, at: int, end: int) -> Optional[bytes]:
    """Return the data of the record at an offset, or None if it is damaged.

    `end`: of the segment.
    """
    file.seek(at)
    head = file.read(HEAD.size)
    if end - at < HEAD.size or len(head) < HEAD.size:
        return None
    magic, length, checksum, tag = HEAD.unpack(head)
    if magic != MAGIC or length > min(LARGEST, end - at - HEAD.size):
        return None
    if tag != _tag(key, at, length):  # before the data is read: a payload may be full of heads
        return None
    data = file.read(length)
    return data if len(data) == length and zlib.crc32(data) == checksum else None


def _next_record(file: BinaryIO, key: bytes, at: int, end: int) -> Tuple[int, Optional[bytes]]:
    """Return how many damaged bytes to skip, and the sound record after them, if there is one."""
    file.seek(at)
    rest = file.read(end - at)
    skipped = rest.find(MAGIC, 1)
    while 0 <= skipped <= len(rest) - HEAD.size:
        _, length, _, tag = HEAD.unpack_from(rest, skipped)
        if tag == _tag(key, at + skipped, length):
            data = _read_record(file, key, at + skipped, end)
            if data is not None:
                return skipped, data
        skipped = rest.find(MAGIC, skipped + 1)
    return end - at, None


def sync(file: BinaryIO) -> None:
    """Make what was written to a file survive a power cut."""
    getattr(os, "fdatasync", os.fsync)(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the name of a new segment survive a power cut. Windows has no such call."""
    if os.name == "posix":
        handle = os.open(str(folder), os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
