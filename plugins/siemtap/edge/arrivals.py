"""Ids of what was pushed and delivered, for as long as a repetition is to be known again. On
disk, row by row: a day of them is too much for a mark."""

from __future__ import annotations

import sqlite3
from typing import Iterable, Set

from ..core.model import Mark, Unit
from ..core.windows import Millis
from .checkpoints import Database, clean, save
from .clock import SYSTEM, Clock, Steady

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS arrival (input TEXT NOT NULL, id TEXT NOT NULL, time INTEGER"
        " NOT NULL, PRIMARY KEY (input, id)) WITHOUT ROWID"
    ),
    "CREATE INDEX IF NOT EXISTS arrival_time ON arrival (input, time)",
)
AT_ONCE = 500
FORGOTTEN_AT_ONCE = 2_000


class Arrivals:
    """Checkpoints of a pushed unit: the mark and its ids are saved together."""

    def __init__(self, database: Database, remember: Millis, clock: Clock = SYSTEM) -> None:
        self.database, self.remember, self.steady = database, remember, Steady(clock)
        database.write(lambda db: [db.execute(line) for line in SCHEMA])

    def known(self, unit: Unit, ids: Iterable[str]) -> Set[str]:
        wanted = sorted(ids)
        found: Set[str] = set()
        for start in range(0, len(wanted), AT_ONCE):
            part = wanted[start : start + AT_ONCE]
            rows = self.database.read(
                f"SELECT id FROM arrival WHERE input = ? AND id IN ({','.join('?' * len(part))})",
                clean([unit.input, *part]),
            )
            found.update(id for (id,) in rows)
        return found

    def save(self, unit: Unit, mark: Mark) -> None:
        """`mark.seen`: the ids of this delivery, and when they arrived: by our clock, which may be
        ahead for a while. What waited for long is remembered as long as what did not."""
        newest = max(mark.seen.values(), default=0)
        before = min(self.steady.look(newest), newest) - self.remember

        def work(db: sqlite3.Connection) -> None:
            save(db, unit, Mark(mark.cursor))
            db.executemany(
                "INSERT OR IGNORE INTO arrival VALUES (?, ?, ?)",
                [clean([unit.input, id, time]) for id, time in mark.seen.items()],
            )
            db.execute(
                "DELETE FROM arrival WHERE (input, id) IN (SELECT input, id FROM arrival WHERE"
                " input = ? AND time < ? LIMIT ?)",
                clean([unit.input, before, FORGOTTEN_AT_ONCE]),
            )

        self.database.write(work)
