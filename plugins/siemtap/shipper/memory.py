"""Settings of the Python interpreter and of glibc that a shipper runs with."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from typing import Any, Optional

# from malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

LARGE_BLOCK = 4 * 1024 * 1024  # bytes: larger blocks go back to the system when they are freed
FREE_MEMORY = 16 * 1024 * 1024  # bytes at the end of an arena that are kept for the next batch
ARENAS = 2
TRIM_EVERY = 60.0  # seconds; a trim takes 1 ms, and 40 ms for 100 MiB


def run_gc_less_often() -> None:
    """Run Python's cycle collector less often, and leave out what there is.

    Events are trees without cycles. A search for cycles every 700 objects, Python's default, costs
    a tenth of the run time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def tune_malloc(stopping: threading.Event) -> None:
    """Make glibc keep the memory of one batch for the next, and no more, until siemtap stops.

    mallopt(3): by default glibc has eight arenas per core, and raises the threshold above which a
    block goes back to the system up to 32 MiB, so that each arena keeps the memory of the largest
    answer it ever held. With a fixed threshold it returns free memory at once, and the system has
    to clear every page anew: four fifths of all page faults.
    """
    libc = _glibc()
    if libc:
        libc.mallopt(M_ARENA_MAX, ARENAS)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        libc.mallopt(M_TRIM_THRESHOLD, FREE_MEMORY)
        threading.Thread(target=_trim, args=[stopping], name="memory", daemon=True).start()


def return_free_memory() -> None:
    """Return the free pages within the arenas to the system, but those at the end.

    malloc(3) returns by itself what is free at the end of an arena only. The holes that a first
    read of two days leaves, and that small blocks then keep open, were 100 of 220 MiB.
    """
    libc = _glibc()
    if libc:
        libc.malloc_trim(ctypes.c_size_t(FREE_MEMORY))


def _trim(stopping: threading.Event) -> None:
    while not stopping.wait(TRIM_EVERY):
        return_free_memory()


def _glibc() -> Optional[Any]:
    """Return the C library if it is glibc: musl has none of these functions."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
