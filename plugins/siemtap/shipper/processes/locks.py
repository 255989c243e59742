"""The locks of the processes of a supervisor, in `path.data`: each holds its own until it ends."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import filelock

from ...core.errors import Retry
from ...edge.store import private

log = logging.getLogger("siemtap")

LOOK_EVERY = 0.2  # seconds
KILL_AFTER = 10.0  # seconds beyond shutdown_timeout


def lock_file(folder: Path, process: str) -> Path:
    """Return the lock file of a process."""
    return folder / f"siemtap-{process.replace(' ', '-')}.lock"


def wait_for_processes(folder: Path, seconds: float) -> None:
    """Wait until no process of an earlier supervisor is left: it may have been killed, and they end
    after their batch in hand. Raise Retry if one still runs."""
    deadline = time.monotonic() + seconds
    for path in sorted(folder.glob(lock_file(Path(), "*").name)):
        lock = filelock.FileLock(path, mode=private.FILE)
        is_logged = False
        while True:
            try:
                lock.acquire(timeout=LOOK_EVERY)
            except filelock.Timeout:
                if time.monotonic() > deadline:
                    raise Retry(
                        f"a process of an earlier siemtap still runs, and holds {path}: end it, or"
                        " set another path.data"
                    ) from None
                if not is_logged:
                    log.info("a process of an earlier siemtap has not ended yet (%s)", path)
                is_logged = True
            else:
                lock.release()
                break
