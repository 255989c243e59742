"""Rejected events: refused by an output or by the schema, stored until an admin retries or deletes
them.

The status reports those that nobody has retried or acknowledged (`looked`). Their size is limited:
beyond it the oldest are deleted, those first that somebody has acknowledged.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time as clock
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

from ...core.model import Unit
from ...core.rows import Event
from ...core.windows import Millis
from .checkpoints import LATEST_TIME, Database, to_sqlite

log = logging.getLogger("siemtap")

MAX_BYTES = 256 * 1024**2  # of all rejected events
TABLE = """CREATE TABLE IF NOT EXISTS rejected (
  id TEXT NOT NULL, output TEXT NOT NULL, input TEXT NOT NULL, dataset TEXT NOT NULL,
  reason TEXT NOT NULL, time INTEGER NOT NULL, event TEXT NOT NULL, size INTEGER NOT NULL,
  looked INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (id, output))"""
INSERT = """INSERT OR REPLACE INTO rejected (id, output, input, dataset, reason, time, event, size)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
OLDEST = "SELECT rowid, size FROM rejected ORDER BY looked DESC, time, id"
MARK_SEEN = "UPDATE rejected SET looked = 1 WHERE id = ?"
LATEST = """SELECT input, dataset, reason FROM rejected
            WHERE looked = 0 ORDER BY time DESC LIMIT 1"""
DELETE = "DELETE FROM rejected WHERE id = ?"
DELETE_ROW = "DELETE FROM rejected WHERE rowid = ?"
DELETE_OF_OUTPUT = "DELETE FROM rejected WHERE id = ? AND output = ?"


class Rejected(NamedTuple):
    """A row of the table `rejected`. `output`: the name of the output that refused the event; "" if
    the schema did. `time`: when the event was rejected. `event`: {} if it cannot be read."""

    id: str
    output: str
    input: str
    dataset: str
    reason: str
    time: Millis
    event: Event

    @property
    def unit(self) -> Unit:
        return Unit(self.input, self.dataset)


class UnseenRejections(NamedTuple):
    """The number of rejected events that nobody has seen, and the latest one's unit and reason."""

    number: int
    unit: Unit
    reason: str


class RejectedEvents:
    """The table `rejected`. Several processes may read and write it at the same time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        # unit -> where an event of its batch in hand was read; "": nowhere that is worth a word
        self.origins: Dict[Unit, Callable[[Event], str]] = {}
        self.dropped = 0  # deleted since the start, because there were too many
        database.write(_create_table)

    def store(self, unit: Unit, refused: Iterable[Tuple[Event, str]], output: str = "") -> None:
        """Store (event, reason) pairs durably. An event that is rejected twice is stored once, with
        the later reason; one that several outputs reject, once for each."""
        now = int(clock.time() * 1000)
        origin = self.origins.get(unit)
        rows = []
        for event, reason in refused:
            id = str(event["event"]["id"])
            place = origin(event) if origin else ""
            if place:
                reason = f"{reason}; {place}"
            text = json.dumps(event, default=str)
            size = len(text) + len(reason)
            rows.append(to_sqlite([id, output, unit.input, unit.dataset, reason, now, text, size]))

        def insert(db: sqlite3.Connection) -> int:
            db.executemany(INSERT, rows)
            return _limit(db)

        dropped = int(self.database.write(insert))
        if dropped:
            if not self.dropped:
                log.error(
                    "more than %d MiB of rejected events: the oldest are deleted; see `siemtap"
                    " rejected list`",
                    MAX_BYTES >> 20,
                )
            self.dropped += dropped

    def all(self) -> List[Rejected]:
        """Return the rejected events, oldest first."""
        rows = self.database.read(
            "SELECT id, output, input, dataset, reason, time, event FROM rejected"
            " ORDER BY time, id, output"
        )
        return [
            Rejected(id, output, input, dataset, str(reason), _time(time), _event(event))
            for id, output, input, dataset, reason, time, event in rows
        ]

    def count(self) -> int:
        return int(self.database.read("SELECT count(*) FROM rejected")[0][0])

    def mark_seen(self, ids: Iterable[str]) -> None:
        """Mark these events as seen by an admin."""
        rows = [[id] for id in ids]
        self.database.write(lambda db: db.executemany(MARK_SEEN, rows))

    def unseen(self) -> Optional[UnseenRejections]:
        """Return a summary of the events that nobody has seen, or None if there are none."""
        rows = self.database.read(LATEST)
        if not rows:
            return None
        number = self.database.read("SELECT count(*) FROM rejected WHERE looked = 0")[0][0]
        input, dataset, reason = rows[0]
        return UnseenRejections(int(number), Unit(input, dataset), reason)

    def delete(self, ids: Iterable[Any]) -> int:
        """Delete these events. Return how many existed."""
        rows = [[id] for id in ids]
        return int(self.database.write(lambda db: db.executemany(DELETE, rows).rowcount))

    def delete_row(self, row: Rejected) -> None:
        """Delete an event of one output."""
        self.database.write(lambda db: db.execute(DELETE_OF_OUTPUT, [row.id, row.output]))


def _event(text: Any) -> Event:
    """Return a stored event; {} if it cannot be read, so that it can be listed and deleted."""
    try:
        event = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    good = isinstance(event, dict) and isinstance(event.get("event"), dict)
    return event if good and "id" in event["event"] else {}


def _time(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value <= LATEST_TIME else 0


def rejected_bytes(db: sqlite3.Connection) -> int:
    """Return the size of all rejected events, by an index; 0 before the first `RejectedEvents`."""
    try:
        return int(db.execute("SELECT total(size) FROM rejected").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def _limit(db: sqlite3.Connection) -> int:
    """Delete the oldest events beyond MAX_BYTES, and a tenth more. Return how many."""
    excess = rejected_bytes(db) - MAX_BYTES
    if excess <= 0:
        return 0
    excess += MAX_BYTES // 10
    ids = []
    for id, size in db.execute(OLDEST):
        ids.append([id])
        excess -= size
        if excess <= 0:
            break
    return db.executemany(DELETE_ROW, ids).rowcount


def _create_table(db: sqlite3.Connection) -> None:
    db.execute(TABLE)
    db.execute("CREATE INDEX IF NOT EXISTS rejected_size ON rejected (size)")
    db.execute("CREATE INDEX IF NOT EXISTS rejected_news ON rejected (time) WHERE looked = 0")
