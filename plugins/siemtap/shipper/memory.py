"""Settings of the Python interpreter and of glibc that a shipper runs with."""

from __future__ import annotations

import ctypes
import gc
import sys

# from malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8

LARGE_BLOCK = 4 * 1024 * 1024  # bytes: larger blocks go back to the system when they are freed
FREE_MEMORY = 16 * 1024 * 1024  # bytes at the end of an arena that are kept for the next batch
ARENAS = 2


def run_gc_less_often() -> None:
    """Run Python's cycle collector less often, and leave out what there is.

    Events are trees without cycles. A search for cycles every 700 objects, Python's default, costs
    a tenth of the run time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def tune_malloc() -> None:
    """Make glibc keep the memory of one batch for the next, and no more.

    mallopt(3): by default glibc has eight arenas per core, and raises the threshold above which a
    block goes back to the system up to 32 MiB, so that each arena keeps the memory of the largest
    answer it ever held. With a fixed threshold it returns free memory at once, and the system has
    to clear every page anew: four fifths of all page faults.
    """
    mallopt = None
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_ARENA_MAX, ARENAS)
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(M_TRIM_THRESHOLD, FREE_MEMORY)
