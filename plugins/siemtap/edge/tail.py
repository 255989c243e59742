"""A file that another process appends to, and rolls over now and then. Complete lines, once each,
over restarts of either side.

The cursor: `file`, which file it is (the SHA-256 of its first `head` bytes), `offset`, how much of
it is read. Neither name nor inode: a file keeps its beginning when it is renamed, copied or
restored, on every system. Before there was anything to read: `after`, its last change.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..core import bounds
from ..core.errors import ConfigError, Retry

HEAD = 1024  # bytes that a file is known by; fewer while it has fewer
CHUNK = 1024 * 1024  # bytes read at once
LONGEST = 1024 * 1024  # bytes of a line; what is longer comes in pieces of it

Position = Mapping[str, Any]


class Found(NamedTuple):
    """Complete lines without their ends, and the position behind them."""

    lines: List[bytes]
    position: Dict[str, Any]


def tail(path: str, position: Position) -> Iterator[Found]:
    """What was written since the position, the files that were rolled away meanwhile first. Finite:
    to the end of what is there now.

    Rolled files are the siblings whose names begin with the file's, `attack.log.2026-03-04` say.
    ConfigError when there is no such file at all, and none was ever read; Retry when it cannot be
    read now.
    """
    current = Path(path)
    try:
        files = _rolled(current) + ([current] if current.exists() else [])
        if not files:
            if position:
                return  # rolled away, and not begun again
            raise ConfigError(f"there is no file {path}")
        at, offset = _place(files, position)
        if at is None:
            at, offset = (0, 0) if position else (len(files) - 1, 0)
        for number in range(at, len(files)):
            yield from _lines(files[number], offset, complete=files[number] != current)
            offset = 0
        if not position and current.exists() and not current.stat().st_size:
            yield Found([], {"after": current.stat().st_mtime_ns})
    except OSError as error:
        raise Retry(f"{path} cannot be read: {error.strerror or error}") from None


def _rolled(current: Path) -> List[Path]:
    """Oldest first. Compressed ones were read before they were compressed, or are lost to us."""
    siblings = [
        path
        for path in current.parent.glob(f"{current.name}.*")
        if path.is_file() and path.suffix not in (".gz", ".zip", ".bz2", ".xz")
    ]
    return sorted(siblings, key=lambda path: (path.stat().st_mtime_ns, path.name))


def _place(files: List[Path], position: Position) -> Tuple[Optional[int], int]:
    """Which file the position is in. A file that is shorter than what was read of it was written
    anew."""
    if not position:
        return None, 0
    if "after" in position:
        return (
            next(
                (
                    number
                    for number, path in enumerate(files)
                    if path.stat().st_mtime_ns >= position["after"]
                ),
                None,
            ),
            0,
        )
    for number in reversed(range(len(files))):
        head, size = _head(files[number], int(position["head"]))
        if head == position["file"]:
            return (
                (number, int(position["offset"]))
                if size >= int(position["offset"])
                else (number, 0)
            )
    return None, 0


def _head(path: Path, length: int) -> Tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(length)).hexdigest()[:32], os.fstat(file.fileno()).st_size


def _lines(path: Path, offset: int, complete: bool) -> Iterator[Found]:
    """`complete`: nobody writes it any more, so that what has no end of line is a line, too."""
    with path.open("rb") as file:
        begin = file.read(HEAD)
        if not begin:
            return
        known = {"file": hashlib.sha256(begin).hexdigest()[:32], "head": len(begin)}
        file.seek(offset)
        rest = b""
        while True:
            part = file.read(CHUNK)
            rest += part
            *lines, rest = rest.split(b"\n")
            # a chunk of short ones would all be events at once
            while len(lines) > bounds.LINES:
                some = lines[: bounds.LINES]
                del lines[: bounds.LINES]
                offset += sum(map(len, some)) + len(some)
                yield _found(some, {**known, "offset": offset})
            if not part and complete and rest:
                lines, rest = [*lines, rest], b""
            while len(rest) > LONGEST:
                lines, rest = [*lines, rest[:LONGEST]], rest[LONGEST:]
            if lines:
                offset = file.tell() - len(rest)
                yield _found(lines, {**known, "offset": offset})
            if not part:
                return


def _found(lines: List[bytes], position: Dict[str, Any]) -> Found:
    return Found([line.rstrip(b"\r") for line in lines if line.strip()], position)
