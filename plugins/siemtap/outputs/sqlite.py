"""The embedded store, and the default: events beside their marks, in one transaction."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from dataclasses import dataclass
from functools import partial
from typing import Any, Iterator, List, Optional, Set, Tuple

from ..core.convert import millis_of
from ..core.errors import SiemtapError
from ..core.manifest import duration, integer
from ..core.mapping import Event
from ..core.model import Mark, Unit
from ..core.windows import Millis
from ..edge.checkpoints import clean, save
from ..edge.clock import Steady
from ..health import DATASET as HEALTH
from . import Around, Refused, ids_of
from .encode import encode

log = logging.getLogger("siemtap")

SCHEMA = """
CREATE TABLE IF NOT EXISTS event (
  id TEXT PRIMARY KEY, time INTEGER NOT NULL, dataset TEXT NOT NULL,
  severity INTEGER, action TEXT, rule TEXT, source TEXT, service TEXT,
  event TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_time ON event (time);
CREATE INDEX IF NOT EXISTS event_dataset ON event (dataset, time);
CREATE INDEX IF NOT EXISTS event_severity ON event (severity, time);
CREATE INDEX IF NOT EXISTS event_rule ON event (rule, time);
CREATE INDEX IF NOT EXISTS event_source ON event (source, time);
CREATE INDEX IF NOT EXISTS event_service ON event (service, time);
"""
AT_ONCE = 5_000  # events deleted in one commit
TIDY_EVERY = 60.0  # seconds


@dataclass(frozen=True)
class Settings:
    retention: int = duration(
        "Retention",
        "30d",
        help="Events that are older than the newest by this are deleted; 0s keeps them all.",
    )
    max_bytes: int = integer(
        "Most bytes",
        10 * 1024**3,
        least=0,
        help="The oldest events are deleted to stay below; 0 sets no limit.",
    )


class Sqlite:
    """Table `event` of path.data/siemtap.db: the whole event as JSON, and the columns people
    filter by."""

    together = True
    settings = Settings

    def __init__(self, settings: Settings, around: Around) -> None:
        self.wish, self.database, self.clock = settings, around.database, around.clock
        self.vendors_now = around.vendors_now or around.clock.now
        self.steady, self.steady_health = Steady(around.clock), Steady(around.clock)
        self.database.write(
            lambda db: [db.execute(line) for line in SCHEMA.split(";") if line.strip()]
        )
        self.stopped = threading.Event()
        self.tidier = threading.Thread(target=self._keep_tidy, name="sqlite-tidier", daemon=True)
        self.tidier.start()

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Refused:
        rows = [row(event) for event in events]

        def work(db: sqlite3.Connection) -> None:
            db.executemany("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            if mark is not None:
                save(db, unit, mark)

        self.database.write(work)
        return []

    def holds(self, unit: Unit, events: List[Event]) -> Set[str]:
        wanted = sorted(ids_of(events))
        found: Set[str] = set()
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            found.update(
                id
                for (id,) in self.database.read(
                    f"SELECT id FROM event WHERE id IN ({','.join('?' * len(part))})", part
                )
            )
        return found

    def read(self, unit: Unit, namespace: str, start: Millis, stop: Millis) -> Iterator[Event]:
        last: Tuple[Millis, str] = (start, "")
        while True:
            rows = self.database.read(
                "SELECT time, id, event FROM event WHERE dataset = ? AND (time, id) > (?, ?) AND"
                " time < ? ORDER BY time, id LIMIT 5000",
                [unit.dataset, *last, stop],
            )
            for time, id, said in rows:
                last = (time, id)
                event = json.loads(said)
                if event["data_stream"].get("namespace", "default") == namespace:
                    yield event
            if not rows:
                return

    def close(self) -> None:
        self.stopped.set()
        self.tidier.join()

    def _keep_tidy(self) -> None:
        while not self.stopped.wait(TIDY_EVERY):
            try:
                self.tidy()
            except SiemtapError:  # a full disk: whoever delivers says so
                continue

    def tidy(self) -> int:
        """Delete what is too old or too much; how many events went. Too old is told by the
        newest event, and not while the clock jumps."""
        gone = 0
        old, old_health = self._old() if self.wish.retention else (0, 0)
        while not self.stopped.is_set():
            deleted = int(self.database.write(partial(self._delete_some, old, old_health)))
            gone += deleted
            if not deleted:
                break
        return gone

    def _old(self) -> Tuple[Millis, Millis]:
        """What is older than this goes; of our own health, what is older than the second. Its time
        is that of our clock, so it is no measure for others, and nobody else is needed for it to
        go."""
        now = self.clock.now()
        ((newest,),) = self.database.read(
            "SELECT max(time) FROM event WHERE time <= ? AND dataset != ?",
            [min(now, self.vendors_now()), HEALTH.name],
        )
        ((newest_health,),) = self.database.read(
            "SELECT max(time) FROM event WHERE time <= ? AND dataset = ?", [now, HEALTH.name]
        )
        moment = self.steady.look(newest or 0)
        if self.steady.jumped:
            log.warning(
                "the clock of this machine jumped by %.0f s: for an hour the embedded store deletes"
                " nothing that the jump made old",
                self.steady.jumped / 1000,
            )
        health = self.steady_health.look(max(newest or 0, newest_health or 0))
        return moment - self.wish.retention, health - self.wish.retention

    def _delete_some(self, old: Millis, old_health: Millis, db: sqlite3.Connection) -> int:
        deleted = 0
        if old > 0:
            deleted = db.execute(
                "DELETE FROM event WHERE rowid IN (SELECT rowid FROM event WHERE time < ? ORDER BY"
                " time LIMIT ?)",
                [old, AT_ONCE],
            ).rowcount
        if not deleted and old_health > 0:
            deleted = db.execute(
                "DELETE FROM event WHERE rowid IN (SELECT rowid FROM event WHERE dataset = ? AND"
                " time < ? ORDER BY time LIMIT ?)",
                [HEALTH.name, old_health, AT_ONCE],
            ).rowcount
        if not deleted and self.wish.max_bytes and size(db) > self.wish.max_bytes:
            deleted = db.execute(
                "DELETE FROM event WHERE rowid IN (SELECT rowid FROM event ORDER BY time LIMIT ?)",
                [AT_ONCE],
            ).rowcount
        if deleted:
            db.execute("PRAGMA incremental_vacuum").fetchall()
        return deleted


def size(db: sqlite3.Connection) -> int:
    """Bytes in use."""
    page, pages, free = (
        db.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(page * (pages - free))


def row(event: Event) -> Tuple[Any, ...]:
    said = event["event"]
    return (
        *clean(
            [
                said["id"],
                millis_of(event["@timestamp"]),
                said["dataset"],
                said.get("severity"),
                said.get("action"),
                event.get("rule", {}).get("name"),
                event.get("source", {}).get("address"),
                event.get("service", {}).get("name"),
            ]
        ),
        encode(event).decode(),
    )
