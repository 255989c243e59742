"""Where the memory of a process is, as it says itself: in Python's objects, in what glibc's malloc
has given out or keeps free, in SQLite. The process writes it down every few minutes of its clock,
if MEMORY_PROBE names a file for it. Linux, with glibc 2.33 or newer."""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

MIB = 1024 * 1024
# of sys._debugmallocstats
OBJECTS = r"# bytes in allocated blocks *= *([0-9,]+)"
ARENAS = r"arenas \* [0-9,]+ bytes/arena *= *([0-9,]+)"
# of `struct mallinfo2`, malloc.h
FIELDS = [
    "arena",
    "ordblks",
    "smblks",
    "hblks",
    "hblkhd",
    "usmblks",
    "fsmblks",
    "uordblks",
    "fordblks",
    "keepcost",
]


class MallocInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]


class Parts(NamedTuple):
    """Of a process, in MiB. objects: Python's, up to 512 bytes each; unused: of their arenas. given:
    by malloc, for all else, with `sqlite` in it; free: what malloc keeps. cached: the number of
    values in caches of functions."""

    resident: float
    objects: float
    unused: float
    given: float
    free: float
    sqlite: float


def parts() -> Parts:
    """Return the parts of this process."""
    libc, sqlite = ctypes.CDLL(None), ctypes.CDLL("libsqlite3.so.0")
    libc.mallinfo2.restype = MallocInfo
    sqlite.sqlite3_memory_used.restype = ctypes.c_int64
    info, (objects, arenas) = libc.mallinfo2(), python_bytes()
    return Parts(
        resident=int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / MIB,
        objects=objects / MIB,
        unused=(arenas - objects) / MIB,
        given=(info.uordblks + info.hblkhd) / MIB,
        free=info.fordblks / MIB,
        sqlite=sqlite.sqlite3_memory_used() / MIB,
    )


def python_bytes() -> tuple[int, int]:
    """Return the bytes of Python's objects, and of the arenas that they are in."""
    with tempfile.TemporaryFile() as file:
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        file.seek(0)
        text = file.read().decode(errors="replace")
    objects, arenas = (re.search(pattern, text) for pattern in (OBJECTS, ARENAS))
    return int(objects[1].replace(",", "")), int(arenas[1].replace(",", ""))


def start(path: str, every: float) -> None:
    """Append the parts to a file, as a line of JSON, every so many seconds."""

    def write() -> None:
        while True:
            line = json.dumps(parts()._asdict())
            with open(path, "a", encoding="utf-8") as file:
                file.write(f"{line}\n")
            time.sleep(every)

    threading.Thread(target=write, name="probe", daemon=True).start()


def read(path: Path) -> list[Parts]:
    """Return what was written."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [Parts(**json.loads(line)) for line in lines]
