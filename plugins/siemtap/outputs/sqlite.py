"""The embedded store, which is the default output. Events and checkpoint are saved in one
transaction."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from dataclasses import dataclass
from functools import partial
from typing import Any, Iterator, List, Optional, Protocol, Sequence, Set, Tuple

from ..core.convert import millis_of
from ..core.errors import SiemtapError
from ..core.events import ids_of
from ..core.manifest import duration, integer
from ..core.model import Mark, Unit
from ..core.rows import Event
from ..core.windows import Millis
from ..edge.clock import SteadyClock
from ..edge.encode import encode
from ..edge.store.checkpoints import save, to_sqlite
from ..edge.store.event_queue import queued_bytes
from ..edge.store.rejected import rejected_bytes
from ..engine.protocols import Rejections
from . import OutputContext

log = logging.getLogger("siemtap")

HEALTH = "siemtap.health"  # the dataset of siemtap's own events, which have their own age

SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
  id TEXT PRIMARY KEY, time INTEGER NOT NULL, dataset TEXT NOT NULL,
  severity INTEGER, action TEXT, rule TEXT, source TEXT, service TEXT,
  event TEXT NOT NULL, input TEXT);
CREATE INDEX IF NOT EXISTS event_time ON event (time);
CREATE INDEX IF NOT EXISTS event_dataset ON event (dataset, time);
CREATE INDEX IF NOT EXISTS event_severity ON event (severity, time);
CREATE INDEX IF NOT EXISTS event_rule ON event (rule, time);
CREATE INDEX IF NOT EXISTS event_source ON event (source, time);
CREATE INDEX IF NOT EXISTS event_service ON event (service, time);
CREATE INDEX IF NOT EXISTS event_input ON event (input, time);
CREATE INDEX IF NOT EXISTS event_action ON event (action, time);
"""
INSERT = """INSERT OR IGNORE INTO event
            (id, time, dataset, severity, action, rule, source, service, event, input)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
DELETE_AT_ONCE = 5_000  # events deleted in one transaction
READ_AT_ONCE = 5_000
IDS_AT_ONCE = 500  # SQLite limits the parameters of a statement
TIDY_EVERY = 60.0  # seconds


@dataclass(frozen=True)
class Settings:
    retention: int = duration(
        "Retention",
        "30d",
        help="Events older than this, counted from the newest event, are deleted. 0s keeps all.",
    )
    max_bytes: int = integer(
        "Maximum size",
        10 * 1024**3,
        least=0,
        help=(
            "Size of the events in bytes, without those that are rejected or wait for another"
            " output. Above it the oldest events are deleted; 0 sets no limit."
        ),
    )


class Rows(Protocol):
    """What the events are read from: the shipper's database, or one opened for reading only."""

    def read(self, sql: str, values: Sequence[Any] = ()) -> List[Tuple[Any, ...]]: ...


class StoredEvents:
    """The table `event`, read."""

    def __init__(self, database: Rows) -> None:
        self.rows = database

    def holds(self, unit: Unit, events: List[Event]) -> Set[str]:
        """Return the ids of those events that are stored."""
        ids = sorted(ids_of(events))
        stored: Set[str] = set()
        for start in range(0, len(ids), IDS_AT_ONCE):
            part = ids[start : start + IDS_AT_ONCE]
            parameters = ",".join("?" * len(part))
            rows = self.rows.read(f"SELECT id FROM event WHERE id IN ({parameters})", part)
            stored.update(id for (id,) in rows)
        return stored

    def read(self, unit: Unit, namespace: str, start: Millis, stop: Millis) -> Iterator[Event]:
        """Yield a dataset's events with start <= @timestamp < stop, by time and id."""
        last: Tuple[Millis, str] = (start, "")
        while True:
            rows = self.rows.read(
                "SELECT time, id, event FROM event WHERE dataset = ? AND (time, id) > (?, ?) AND"
                " time < ? ORDER BY time, id LIMIT ?",
                [unit.dataset, *last, stop, READ_AT_ONCE],
            )
            for time, id, text in rows:
                last = (time, id)
                event = json.loads(text)
                if event["data_stream"].get("namespace", "default") == namespace:
                    yield event
            if not rows:
                return


class Sqlite(StoredEvents):
    """Table `event` of path.data/siemtap.db: the event as JSON, and columns for common filters."""

    together = True
    unreadable = ""
    settings_type = Settings

    def __init__(self, settings: Settings, context: OutputContext) -> None:
        self.settings = settings
        assert context.database is not None
        super().__init__(context.database)
        self.database = context.database
        self.clock = context.clock
        self.vendor_now = context.vendor_now or context.clock.now
        self.steady = SteadyClock(context.clock)
        self.steady_health = SteadyClock(context.clock)
        self.database.write(_create_tables)
        self.stopped = threading.Event()
        self.tidier = threading.Thread(
            target=self._tidy_regularly, name="sqlite-tidier", daemon=True
        )
        self.tidier.start()

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Insert the events and save the checkpoint, in one transaction."""
        rows = [build_row(event, unit.input) for event in events]

        def insert(db: sqlite3.Connection) -> None:
            db.executemany(INSERT, rows)
            if mark is not None:
                save(db, unit, mark)

        self.database.write(insert)
        return []

    def close(self) -> None:
        self.stopped.set()
        self.tidier.join()

    def _tidy_regularly(self) -> None:
        while not self.stopped.wait(TIDY_EVERY):
            try:
                self.tidy()
            except SiemtapError:  # such as a full disk, which the next delivery reports
                continue
            except Exception as error:  # the thread must go on, or nothing is deleted any more
                log.error("old events were not deleted: %s", type(error).__name__)

    def tidy(self) -> int:
        """Delete events beyond `retention` and `max_bytes`; return how many.

        The age is measured from the newest event. A jump of the clock makes no event old.
        """
        total = 0
        old: Millis = 0
        old_health: Millis = 0
        if self.settings.retention:
            old, old_health = self._limits()
        while not self.stopped.is_set():
            deleted = int(self.database.write(partial(self._delete_some, old, old_health)))
            total += deleted
            if not deleted:
                break
        return total

    def _limits(self) -> Tuple[Millis, Millis]:
        """Return two times: events before the first, and health events before the second, are old.

        Health events bear the time of this machine's clock. So they say nothing of the age of a
        vendor's events, and their own age needs no vendor's event.
        """
        now = self.clock.now()
        ((newest,),) = self.database.read(
            "SELECT max(time) FROM event WHERE time <= ? AND dataset != ?",
            [min(now, self.vendor_now()), HEALTH],
        )
        ((newest_health,),) = self.database.read(
            "SELECT max(time) FROM event WHERE time <= ? AND dataset = ?", [now, HEALTH]
        )
        moment = self.steady.deletion_time(newest or 0)
        if self.steady.jump:
            log.warning(
                "the clock of this machine jumped by %.0f s; for an hour the embedded store deletes"
                " no event that only the jump made old",
                self.steady.jump / 1000,
            )
        health = self.steady_health.deletion_time(max(newest or 0, newest_health or 0))
        return moment - self.settings.retention, health - self.settings.retention

    def _delete_some(self, old: Millis, old_health: Millis, db: sqlite3.Connection) -> int:
        """Delete some events; return how many. 0: there is nothing to delete."""
        deleted = 0
        if old > 0:
            deleted = db.execute(
                "DELETE FROM event WHERE rowid IN (SELECT rowid FROM event WHERE time < ? ORDER BY"
                " time LIMIT ?)",
                [old, DELETE_AT_ONCE],
            ).rowcount
        if not deleted and old_health > 0:
            deleted = db.execute(
                "DELETE FROM event WHERE rowid IN (SELECT rowid FROM event WHERE dataset = ? AND"
                " time < ? ORDER BY time LIMIT ?)",
                [HEALTH, old_health, DELETE_AT_ONCE],
            ).rowcount
        most = self.settings.max_bytes
        others = rejected_bytes(db) + queued_bytes(db)
        if not deleted and most and used_bytes(db) - others > most:
            deleted = db.execute(
                "DELETE FROM event WHERE rowid IN (SELECT rowid FROM event ORDER BY time LIMIT ?)",
                [DELETE_AT_ONCE],
            ).rowcount
        if deleted:
            db.execute("PRAGMA incremental_vacuum").fetchall()
        return deleted


def _create_tables(db: sqlite3.Connection) -> None:
    for statement in SCHEMA.split(";"):
        if statement.strip():
            db.execute(statement)


def used_bytes(db: sqlite3.Connection) -> int:
    """Return the bytes of the pages in use."""

    def pragma(name: str) -> int:
        return int(db.execute(f"PRAGMA {name}").fetchone()[0])

    return pragma("page_size") * (pragma("page_count") - pragma("freelist_count"))


def build_row(event: Event, input: str) -> Tuple[object, ...]:
    """Return an event's row of table `event`, in the order of its columns.

    `input`: the id of the input that delivered it.
    """
    details = event["event"]
    source = event.get("source", {})
    return (
        *to_sqlite(
            [
                details["id"],
                millis_of(event["@timestamp"]),
                details["dataset"],
                details.get("severity"),
                details.get("action"),
                event.get("rule", {}).get("name"),
                source.get("ip") or source.get("address"),
                event.get("service", {}).get("name"),
            ]
        ),
        encode(event).decode(),
        *to_sqlite([input]),
    )
