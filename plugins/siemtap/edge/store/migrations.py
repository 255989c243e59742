"""Upgrades of `path.data` from one version to the next.

`VERSION` is that of the whole folder: the tables of the database, whichever part of siemtap made
them, the marks in them and the spools beside it. It is stored as SQLite's `user_version`. Whoever
changes one of these formats raises it and adds a step to `MIGRATIONS`.

All steps of an upgrade run in one transaction. A siemtap that is killed meanwhile leaves the
database as it was.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path
from typing import Callable, Dict, Set

from ...core.errors import ConfigError

log = logging.getLogger("siemtap")

VERSION = 3


def _add_outputs_of_rejected_events(db: sqlite3.Connection) -> None:
    """Version 2: an event that several outputs reject is stored once for each. Those of before go
    to the outputs of their input, as those that the schema refuses."""
    seen = "looked" if "looked" in _columns(db, "rejected") else "0"
    db.execute("ALTER TABLE rejected RENAME TO rejected_of_version_1")
    db.execute(
        "CREATE TABLE rejected (id TEXT NOT NULL, output TEXT NOT NULL, input TEXT NOT NULL,"
        " dataset TEXT NOT NULL, reason TEXT NOT NULL, time INTEGER NOT NULL, event TEXT NOT NULL,"
        " size INTEGER NOT NULL, looked INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (id, output))"
    )
    db.execute(
        "INSERT INTO rejected SELECT id, '', input, dataset, reason, time, event,"
        f" length(event) + length(reason), {seen} FROM rejected_of_version_1"
    )
    db.execute("DROP TABLE rejected_of_version_1")


def _add_inputs_of_stored_events(db: sqlite3.Connection) -> None:
    """Version 3: stored events bear the id of their input; that of earlier ones is not known."""
    if "input" not in (_columns(db, "event") or {"input"}):
        db.execute("ALTER TABLE event ADD COLUMN input TEXT")


# version -> what upgrades a database of that version to the next. The statements are those of their
# time: they change no more when a table does.
MIGRATIONS: Dict[int, Callable[[sqlite3.Connection], None]] = {
    1: _add_outputs_of_rejected_events,
    2: _add_inputs_of_stored_events,
}


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Raise ConfigError if a file was written by another version of siemtap."""
    version = version_of(db)
    if version == VERSION:
        return
    if version in MIGRATIONS:
        raise ConfigError(
            f"{path} was written by an older version of siemtap. Nothing was changed. If a siemtap"
            " of that version still runs, stop it; then start `siemtap run`, which upgrades the"
            " file"
        )
    other = "a newer version" if version > VERSION else "a version before the first release"
    raise ConfigError(
        f"{path} was written by {other} of siemtap. Nothing was changed. Install that version"
        " again, or set another `path.data`"
    )


def migrate(db: sqlite3.Connection, path: Path) -> None:
    """Upgrade a file of an older version, in one transaction.

    Raise ConfigError for a file that no step upgrades; sqlite3.Error if the disk is full: nothing
    is changed then.
    """
    if version_of(db) not in MIGRATIONS:
        return check_version(db, path)
    db.execute("BEGIN IMMEDIATE")
    try:
        old = version = version_of(db)  # another process may have been faster
        while version in MIGRATIONS:
            MIGRATIONS[version](db)
            version += 1
        db.execute(f"PRAGMA user_version={version}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite may have rolled back already
            db.execute("ROLLBACK")
        raise
    if version != old:
        log.info("%s was upgraded from version %d to version %d", path, old, version)


def version_of(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _columns(db: sqlite3.Connection, table: str) -> Set[str]:
    """Return the names of a table's columns; none if there is no such table."""
    return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
