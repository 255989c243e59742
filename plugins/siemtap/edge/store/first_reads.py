"""Where the first read of each unit began: what is older was never read, so it is not missing."""

from __future__ import annotations

import sqlite3
from typing import Iterable, Iterator, List

from ...core.model import Batch, Unit
from ...core.windows import Millis
from .checkpoints import Database, to_sqlite

FIRST_READS = "SELECT input, dataset, scope, start FROM first_read"
CREATE = """CREATE TABLE IF NOT EXISTS first_read (
  input TEXT NOT NULL, dataset TEXT NOT NULL, scope TEXT NOT NULL,
  start INTEGER NOT NULL, confirmed INTEGER NOT NULL,
  PRIMARY KEY (input, dataset, scope)) WITHOUT ROWID"""
# The first delivery may fail, and be repeated by another process hours later: then the later start
# is true. After a checkpoint was deleted the earlier one stays true.
NOTE = """INSERT INTO first_read VALUES (?, ?, ?, ?, 0)
  ON CONFLICT (input, dataset, scope) DO UPDATE SET
  start = CASE WHEN confirmed THEN min(start, excluded.start) ELSE excluded.start END"""
CONFIRM = "UPDATE first_read SET confirmed = 1 WHERE input = ? AND dataset = ? AND scope = ?"


def note_first_read(database: Database, unit: Unit, start: Millis) -> None:
    """Note where the read of a unit without a checkpoint begins, before its first delivery."""
    row: List[object] = [*to_sqlite(unit), start]

    def work(db: sqlite3.Connection) -> None:
        db.execute(CREATE)
        db.execute(NOTE, row)

    database.write(work)


def confirm_first_read(database: Database, unit: Unit) -> None:
    """Keep the start of a unit whose checkpoint is about to be deleted."""

    def work(db: sqlite3.Connection) -> None:
        db.execute(CREATE)
        db.execute(CONFIRM, to_sqlite(unit))

    database.write(work)


def noting_first_read(
    database: Database, unit: Unit, start: Millis, batches: Iterable[Batch]
) -> Iterator[Batch]:
    """Yield the batches of a first read; before the first of them, note where the read begins."""
    for number, batch in enumerate(batches):
        if not number:
            note_first_read(database, unit, start)
        yield batch
