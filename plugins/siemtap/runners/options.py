"""What several commands share."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Iterator, Mapping

import click
import filelock

from ..core.errors import ConfigError
from .config import Config, Input

config_option = click.option(
    "-c", "--config", "file", default="siemtap.yml", show_default=True, help="The configuration."
)


def chosen(found: Mapping[str, Input], id: str, which: str) -> Input:
    """The input that was named, or the only one there is. `which`: that it "receives", say."""
    if id in found:
        return found[id]
    if not id and len(found) == 1:
        return next(iter(found.values()))
    raise ConfigError(f"which input {which}? There are {', '.join(found) or 'none'}; say --input")


@contextmanager
def only_one(config: Config) -> Iterator[None]:
    """One process per path.data."""
    config.data.mkdir(parents=True, exist_ok=True)
    name = config.data / "siemtap.pid"
    lock = filelock.FileLock(config.data / "siemtap.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        other = name.read_text().strip() if name.exists() else "?"
        raise ConfigError(
            f"{config.data} is in use by another siemtap (process {other}); stop it, or give this"
            " one a path.data of its own"
        ) from None
    try:
        name.write_text(str(os.getpid()))
        yield
    finally:
        name.unlink(missing_ok=True)
        lock.release()
