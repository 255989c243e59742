"""Marks made durable: one SQLite file, one writer thread, group commit.

The embedded store keeps its events in the same file, so that events and mark are one transaction.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ..core.errors import ConfigError, Retry, SiemtapError
from ..core.model import Mark, Unit
from ..core.windows import Millis

# works in one commit: bounds what a crash of the machine can take back, and how long a reader waits
AT_MOST = 256
SCHEMA = """
CREATE TABLE IF NOT EXISTS mark (
  input TEXT NOT NULL, dataset TEXT NOT NULL, scope TEXT NOT NULL,
  mark TEXT NOT NULL, saved INTEGER NOT NULL,
  PRIMARY KEY (input, dataset, scope)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rejected (
  id TEXT PRIMARY KEY, input TEXT NOT NULL, dataset TEXT NOT NULL,
  reason TEXT NOT NULL, time INTEGER NOT NULL, event TEXT NOT NULL);
"""
Work = Callable[[sqlite3.Connection], Any]


class Database:
    """One file. `write` returns once its work is committed with synchronous=FULL; works of many
    threads share a commit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.new = not path.exists()
        self.works: queue.SimpleQueue[Optional[Tuple[Work, Future[Any]]]] = queue.SimpleQueue()
        self.local = threading.local()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._check()
            db = self._connect(path, shared=True)
        except sqlite3.OperationalError as error:
            raise self._trouble(error) from None
        except sqlite3.DatabaseError as error:
            raise self.damaged(error) from None
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be opened: {error.strerror}; check `path.data`"
            ) from None
        self.writer = threading.Thread(
            target=self._write, args=[db], name="sqlite-writer", daemon=True
        )
        self.writer.start()

    def damaged(self, error: object) -> ConfigError:
        return ConfigError(
            f"{self.path} is damaged ({error}). Nothing was changed. Put back a copy of it, or move"
            " it away to start afresh from `lookback`, and read the hole with `siemtap run --from"
            " … --to …`"
        )

    def _connect(self, path: Path, shared: bool = False) -> sqlite3.Connection:
        db = sqlite3.connect(
            str(path), isolation_level=None, timeout=30, check_same_thread=not shared
        )
        db.executescript(
            "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            " PRAGMA cache_size=-16384;"
        )
        return db

    def _check(self) -> None:
        if self.new:
            self._create()
        db = self._connect(self.path)
        try:
            found = db.execute("PRAGMA quick_check('mark')").fetchone()
            if found and found[0] != "ok":
                raise sqlite3.DatabaseError(found[0])
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            raise sqlite3.DatabaseError("it holds no marks") from None
        finally:
            db.close()

    def _create(self) -> None:
        """Under another name first: a process that is killed meanwhile leaves nothing that looks
        like a damaged file."""
        left = self.path.with_name(self.path.name + "-wal")
        # of a file that was moved away; SQLite would play it into the new one
        if left.exists():
            left.replace(left.with_name(left.name + ".left"))
        begun = self.path.with_name(self.path.name + ".new")
        for part in ("", "-wal", "-shm", "-journal"):
            begun.with_name(begun.name + part).unlink(missing_ok=True)
        db = self._connect(begun)
        try:
            db.executescript(SCHEMA)
        finally:
            db.close()  # puts all of it into the one file
        begun.replace(self.path)

    def write(self, work: Work) -> Any:
        """What the work returns, once it is on disk. Retry where the disk is full or fails:
        nothing of it is there then."""
        done: Future[Any] = Future()
        self.works.put((work, done))
        return done.result()

    def read(self, sql: str, values: Sequence[Any] = ()) -> List[Tuple[Any, ...]]:
        """Rows, by a connection of the calling thread's own."""
        try:
            if not hasattr(self.local, "db"):
                self.local.db = self._connect(self.path)
            rows: List[Tuple[Any, ...]] = self.local.db.execute(sql, values).fetchall()
            return rows
        except sqlite3.DatabaseError as error:
            raise self._trouble(error) from None

    def close(self) -> None:
        self.works.put(None)
        self.writer.join()
        if hasattr(self.local, "db"):
            self.local.db.close()
            del self.local.db

    def _write(self, db: sqlite3.Connection) -> None:
        running = True
        while running:
            waiting = [self.works.get()]
            while len(waiting) < AT_MOST and not self.works.empty():
                waiting.append(self.works.get())
            running = None not in waiting
            self._commit(db, [work for work in waiting if work])
        with suppress(sqlite3.Error):  # a full disk; the next start does it
            # so that the one file is all there is to copy
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()

    def _commit(self, db: sqlite3.Connection, works: List[Tuple[Work, Future[Any]]]) -> None:
        """All works in one transaction; one that fails by itself fails alone, a commit that
        fails fails them all."""
        results: List[Tuple[Future[Any], Any, Optional[BaseException]]] = []
        try:
            db.execute("BEGIN IMMEDIATE")
            for work, done in works:
                db.execute("SAVEPOINT one")
                try:
                    results.append((done, work(db), None))
                    db.execute("RELEASE one")
                except sqlite3.OperationalError:
                    raise
                except BaseException as error:  # the work's own: handed to whoever asked for it
                    db.execute("ROLLBACK TO one")
                    db.execute("RELEASE one")
                    results.append((done, None, error))
            db.execute("COMMIT")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            trouble = self._trouble(error)
            results = [(done, None, trouble) for _, done in works]
        for done, result, failed in results:
            if failed:
                done.set_exception(failed)
            else:
                done.set_result(result)

    def _trouble(self, error: sqlite3.Error) -> SiemtapError:
        if "full" in str(error):
            return Retry(
                f"the disk of {self.path} is full; nothing was committed, and it goes on when there"
                " is room"
            )
        if isinstance(error, sqlite3.OperationalError):
            return Retry(f"{self.path}: {error}; nothing was committed")
        return self.damaged(error)


class Saved(NamedTuple):
    unit: Unit
    mark: Mark
    saved: Millis


class Checkpoints:
    """Marks by unit."""

    def __init__(self, database: Database) -> None:
        self.database = database
        for _ in self.all():  # a damaged one is found now, and not in the middle of the night
            pass

    def all(self) -> List[Saved]:
        rows = self.database.read(
            "SELECT input, dataset, scope, mark, saved FROM mark ORDER BY 1, 2, 3"
        )
        return [Saved(Unit(*row[:3]), self._read(row[3]), row[4]) for row in rows]

    def load(self, unit: Unit) -> Mark:
        rows = self.database.read(
            "SELECT mark FROM mark WHERE input = ? AND dataset = ? AND scope = ?", clean(unit)
        )
        return self._read(rows[0][0]) if rows else Mark()

    def save(self, unit: Unit, mark: Mark) -> None:
        self.database.write(lambda db: save(db, unit, mark))

    def delete(self, unit: Unit) -> bool:
        return bool(
            self.database.write(
                lambda db: (
                    db.execute(
                        "DELETE FROM mark WHERE input = ? AND dataset = ? AND scope = ?",
                        clean(unit),
                    ).rowcount
                )
            )
        )

    def _read(self, said: str) -> Mark:
        try:
            return Mark.from_json(json.loads(said))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self.database.damaged(f"a mark cannot be read: {type(error).__name__}") from None


def clean(values: Iterable[Any]) -> List[Any]:
    """Values as SQLite can keep them. Half a surrogate pair, for which UTF-8 has no bytes, is
    spelled `\\ud800`, so that two names that differ still do; an integer beyond 64 bits and what
    has parts become texts."""
    return [_clean(value) for value in values]


def _clean(value: Any) -> Any:
    if (
        value is None
        or (isinstance(value, int) and -(2**63) <= value < 2**63)
        or isinstance(value, float)
    ):
        return value
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def save(db: sqlite3.Connection, unit: Unit, mark: Mark) -> None:
    """Inside somebody's transaction."""
    db.execute(
        "INSERT OR REPLACE INTO mark VALUES (?, ?, ?, ?, ?)",
        [*clean(unit), json.dumps(mark.to_json(), separators=(",", ":")), int(time.time() * 1000)],
    )
