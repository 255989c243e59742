"""Settings of the Python interpreter and of glibc that a shipper runs with."""

from __future__ import annotations

import ctypes
import gc
import sys

M_MMAP_THRESHOLD = -3  # from malloc.h
LARGE_BLOCK = 256 * 1024  # bytes


def run_gc_less_often() -> None:
    """Run Python's cycle collector less often.

    Events are trees without cycles. A search for cycles every 700 objects, Python's default, costs
    a tenth of the run time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def tune_malloc() -> None:
    """Make glibc return large blocks to the system when they are freed.

    mallopt(3), M_MMAP_THRESHOLD: by default glibc raises this threshold up to 32 MiB, and each of
    its arenas (eight per core) then keeps the memory of the largest answer it ever held.
    """
    mallopt = None
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
