"""Ids of pushed events that were delivered, so that a repeated event is recognized.

The ids are rows of a table, because a day of them is too large for a mark.
"""

from __future__ import annotations

import sqlite3
from typing import Iterable, Set

from ...core.model import Mark, Unit
from ...core.windows import Millis
from ..clock import SYSTEM, Clock, SteadyClock
from ..store.checkpoints import Database, Work, save, to_sqlite

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS arrival (input TEXT NOT NULL, id TEXT NOT NULL, time INTEGER"
        " NOT NULL, PRIMARY KEY (input, id)) WITHOUT ROWID"
    ),
    "CREATE INDEX IF NOT EXISTS arrival_time ON arrival (input, time)",
)
IDS_PER_QUERY = 500
DELETED_PER_SAVE = 2_000  # rows


class DeliveredIds:
    """Checkpoints of pushed units. A mark and the ids of its events are saved in one transaction.

    `remember`: how long an id is kept, in milliseconds.
    """

    def __init__(self, database: Database, remember: Millis, clock: Clock = SYSTEM) -> None:
        self.database = database
        self.remember = remember
        self.steady = SteadyClock(clock)
        database.write(lambda db: [db.execute(statement) for statement in SCHEMA])

    def known(self, unit: Unit, ids: Iterable[str]) -> Set[str]:
        """Return those of the ids that were delivered before."""
        wanted = sorted(ids)
        known: Set[str] = set()
        for start in range(0, len(wanted), IDS_PER_QUERY):
            part = wanted[start : start + IDS_PER_QUERY]
            rows = self.database.read(
                f"SELECT id FROM arrival WHERE input = ? AND id IN ({','.join('?' * len(part))})",
                to_sqlite([unit.input, *part]),
            )
            known.update(id for (id,) in rows)
        return known

    def save(self, unit: Unit, mark: Mark) -> None:
        self.database.write(self.saving(unit, mark))

    def saving(self, unit: Unit, mark: Mark) -> Work:
        """Return what saves a mark and its ids within a transaction, and deletes ids older than
        `remember`.

        `mark.seen` maps each id of the delivery to the time it was received, by this machine's
        clock, which may be ahead for a while. An id's age counts from the newest delivery, so that
        events that waited long in the spool are remembered as long as others.
        """
        newest = max(mark.seen.values(), default=0)
        before = min(self.steady.deletion_time(newest), newest) - self.remember

        def work(db: sqlite3.Connection) -> None:
            save(db, unit, Mark(mark.cursor))
            db.executemany(
                "INSERT OR IGNORE INTO arrival VALUES (?, ?, ?)",
                [to_sqlite([unit.input, id, time]) for id, time in mark.seen.items()],
            )
            db.execute(
                "DELETE FROM arrival WHERE (input, id) IN (SELECT input, id FROM arrival WHERE"
                " input = ? AND time < ? LIMIT ?)",
                to_sqlite([unit.input, before, DELETED_PER_SAVE]),
            )

        return work
