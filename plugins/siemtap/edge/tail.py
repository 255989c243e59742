"""Tail a log file that another process writes and rotates. Each complete line is read once, across
restarts of both processes.

The cursor: `file`, the SHA-256 of the file's first `head` bytes, and `offset`, the bytes read. The
beginning identifies a file, not its name or inode: it stays when the file is renamed, copied or
restored, on every system. While the file is empty the cursor is `after`, its modification time.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

from ..core import bounds
from ..core.errors import ConfigError, Retry

HEAD = 1024  # bytes that identify a file; fewer while it is shorter
CHUNK = 1024 * 1024  # bytes read at once
LONGEST = 1024 * 1024  # bytes of a line; a longer line is returned in parts

Position = Mapping[str, Any]


class ReadLines(NamedTuple):
    """Complete lines without their line ends, and the position after them."""

    lines: List[bytes]
    position: Dict[str, Any]


def tail(path: str, position: Position) -> Iterator[ReadLines]:
    """Yield the lines written since the position, up to the present end of the file. Files that
    were rotated meanwhile come first.

    Rotated files are siblings whose names begin with the file's, such as `attack.log.2026-03-04`.

    Raises:
        ConfigError: The file does not exist, and none was ever read.
        Retry: The file cannot be read now.
    """
    current = Path(path)
    try:
        files = _rotated(current)
        if current.exists():
            files.append(current)
        if not files:
            if position:
                return  # rotated, and the new file does not exist yet
            raise ConfigError(f"there is no file {path}")
        start, offset = _find(files, position)
        for number in range(start, len(files)):
            yield from _lines(files[number], offset, complete=files[number] != current)
            offset = 0
        if not position and current.exists() and not current.stat().st_size:
            yield ReadLines([], {"after": current.stat().st_mtime_ns})
    except OSError as error:
        raise Retry(f"{path} cannot be read: {error.strerror or error}") from None


def _rotated(current: Path) -> List[Path]:
    """Return the rotated files, oldest first. Compressed files are left out: they were read before
    they were compressed, or are lost."""
    siblings = [
        path
        for path in current.parent.glob(f"{current.name}.*")
        if path.is_file() and path.suffix not in (".gz", ".zip", ".bz2", ".xz")
    ]
    return sorted(siblings, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _find(files: List[Path], position: Position) -> Tuple[int, int]:
    """Return the index of the file to start with, and the offset in it.

    The newest file without a position; the oldest if no file fits the position. A file that is
    shorter than the offset was truncated and is read from its start.
    """
    if not position:
        return len(files) - 1, 0
    if "after" in position:
        for number, path in enumerate(files):
            if path.stat().st_mtime_ns >= position["after"]:
                return number, 0
        return 0, 0
    for number in reversed(range(len(files))):
        head, size = _head(files[number], int(position["head"]))
        if head == position["file"]:
            offset = int(position["offset"])
            return number, offset if size >= offset else 0
    return 0, 0


def _head(path: Path, length: int) -> Tuple[str, int]:
    """Return the digest of a file's first bytes, and its size."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(length)).hexdigest()[:32], os.fstat(file.fileno()).st_size


def _lines(path: Path, offset: int, complete: bool) -> Iterator[ReadLines]:
    """Yield the lines of a file from an offset on.

    `complete`: nothing is appended to the file any more, so its last line needs no line end.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        if not head:
            return
        identity = {"file": hashlib.sha256(head).hexdigest()[:32], "head": len(head)}
        file.seek(offset)
        rest = b""
        while True:
            chunk = file.read(CHUNK)
            rest += chunk
            *lines, rest = rest.split(b"\n")
            # in parts, because all lines of a chunk become events at the same time
            while len(lines) > bounds.LINES_PER_READ:
                part = lines[: bounds.LINES_PER_READ]
                del lines[: bounds.LINES_PER_READ]
                offset += sum(map(len, part)) + len(part)
                yield _read_lines(part, {**identity, "offset": offset})
            if not chunk and complete and rest:
                lines.append(rest)
                rest = b""
            while len(rest) > LONGEST:
                lines.append(rest[:LONGEST])
                rest = rest[LONGEST:]
            if lines:
                offset = file.tell() - len(rest)
                yield _read_lines(lines, {**identity, "offset": offset})
            if not chunk:
                return


def _read_lines(lines: List[bytes], position: Dict[str, Any]) -> ReadLines:
    return ReadLines([line.rstrip(b"\r") for line in lines if line.strip()], position)
