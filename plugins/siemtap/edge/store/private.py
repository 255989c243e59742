"""Files and folders that only the user of siemtap may read: events, payloads, checkpoints."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

from ...core.errors import ConfigError, Retry, SiemtapError

FOLDER = 0o700
FILE = 0o600


def make_folder(path: Path) -> None:
    """Create a folder with its parents, and close it to other users, also if it existed."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in [*reversed(missing), path]:
        folder.mkdir(mode=FOLDER, exist_ok=True)  # FileExistsError for a file
    with suppress(PermissionError):  # another user's folder, such as a mounted volume
        path.chmod(FOLDER)


def opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=opener)`; a new file is closed to other users."""
    return os.open(path, flags, FILE)


def close_to_others(path: Path) -> None:
    """Create a file, or take the rights of other users from it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE))
    with suppress(PermissionError):
        path.chmod(FILE)


def error_from(error: OSError, sentence: str, advice: str) -> SiemtapError:
    """Return the error that ends a start, because a file cannot be made or written.

    A disk that is full or fails may work at the next start: Retry, after which a service manager
    starts siemtap again. Anything else, such as missing rights, is for a person: ConfigError.
    """
    sentence = f"{sentence}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Retry(f"{sentence}; make room on its disk, and start siemtap again")
    if error.errno == errno.EIO:
        return Retry(f"{sentence}; its disk fails: check it, and start siemtap again")
    return ConfigError(f"{sentence}; {advice}")


def is_replaced(path: Path, file: os.stat_result) -> bool:
    """Return whether a path names another file than an open one, or none: then whatever is written
    to the open file is lost."""
    try:
        now = os.stat(path)
    except OSError:
        return True
    return (now.st_dev, now.st_ino) != (file.st_dev, file.st_ino)
