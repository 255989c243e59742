"""Events that an output or the schema refused: kept until a person retries or deletes them.

A person who lists them has looked at them; what was refused since is what a status has to tell.
"""

from __future__ import annotations

import json
import sqlite3
import time as clock
from typing import Any, Iterable, List, NamedTuple, Optional, Tuple

from ..core.mapping import Event
from ..core.model import Unit
from ..core.windows import Millis
from .checkpoints import Database, clean

KEEP = """INSERT OR REPLACE INTO rejected (id, input, dataset, reason, time, event)
          VALUES (?, ?, ?, ?, ?, ?)"""
LOOK = "UPDATE rejected SET looked = 1 WHERE id = ?"
LATEST = """SELECT input, dataset, reason FROM rejected
            WHERE looked = 0 ORDER BY time DESC LIMIT 1"""
DELETE = "DELETE FROM rejected WHERE id = ?"


class Rejected(NamedTuple):
    id: str
    input: str
    dataset: str
    reason: str
    time: Millis
    event: Event

    @property
    def unit(self) -> Unit:
        return Unit(self.input, self.dataset)


class News(NamedTuple):
    """Rejected events that nobody looked at: how many, and the latest one's unit and reason."""

    number: int
    unit: Unit
    reason: str


class Rejects:
    """Table `rejected`. Several processes may read and write it at once."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.write(_prepare)

    def keep(self, unit: Unit, refused: Iterable[Tuple[Event, str]]) -> None:
        """On disk when it returns. The same event refused twice is kept once, with the later
        reason."""
        now = int(clock.time() * 1000)
        rows = [
            clean(
                [
                    str(event["event"]["id"]),
                    unit.input,
                    unit.dataset,
                    reason,
                    now,
                    json.dumps(event, default=str),
                ]
            )
            for event, reason in refused
        ]
        self.database.write(lambda db: db.executemany(KEEP, rows))

    def all(self) -> List[Rejected]:
        rows = self.database.read(
            "SELECT id, input, dataset, reason, time, event FROM rejected ORDER BY time, id"
        )
        return [
            Rejected(id, input, dataset, reason, time, json.loads(event))
            for id, input, dataset, reason, time, event in rows
        ]

    def count(self) -> int:
        return int(self.database.read("SELECT count(*) FROM rejected")[0][0])

    def look(self, ids: Iterable[str]) -> None:
        """Note that a person has seen these."""
        rows = [[id] for id in ids]
        self.database.write(lambda db: db.executemany(LOOK, rows))

    def news(self) -> Optional[News]:
        """What was refused since a person looked; None: nothing."""
        rows = self.database.read(LATEST)
        if not rows:
            return None
        number = self.database.read("SELECT count(*) FROM rejected WHERE looked = 0")[0][0]
        input, dataset, reason = rows[0]
        return News(int(number), Unit(input, dataset), reason)

    def delete(self, ids: Iterable[Any]) -> int:
        """How many of these were there."""
        rows = [[id] for id in ids]
        return int(self.database.write(lambda db: db.executemany(DELETE, rows).rowcount))


def _prepare(db: sqlite3.Connection) -> None:
    """Databases of the versions before have no column `looked`."""
    if "looked" not in {row[1] for row in db.execute("PRAGMA table_info(rejected)")}:
        db.execute("ALTER TABLE rejected ADD COLUMN looked INTEGER NOT NULL DEFAULT 0")
    db.execute("CREATE INDEX IF NOT EXISTS rejected_news ON rejected (time) WHERE looked = 0")
