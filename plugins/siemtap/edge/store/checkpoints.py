"""Durable marks in one SQLite file, with one writer thread and group commit.

The embedded store writes its events to the same file, so that events and their mark are committed
in one transaction.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sqlite3
import threading
import time
import zlib
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Iterable, List, NamedTuple, Optional, Sequence, Tuple

from ...core.errors import ConfigError, Retry, SiemtapError
from ...core.model import Mark, Unit
from ...core.windows import Millis
from . import private
from .migrations import VERSION, check_version, migrate

log = logging.getLogger("siemtap")

# A bound of what a crash of the machine can undo, and of how long a caller waits.
WORKS_PER_COMMIT = 256
LATEST_TIME = 253_402_300_799_999  # the end of the year 9999
# The last member of a stored mark, because a damaged number looks like another one.
CHECKSUM = ',"checksum":'
# Small tables whose pages are checked at the start: pages have no checksums.
CHECKED = {"mark", "first_read"}
# what SQLite says of a disk that fails or is read-only, as SQLITE_IOERR, READONLY and CANTOPEN
REFUSED = ("disk I/O error", "readonly database", "unable to open database file")
SCHEMA = """
CREATE TABLE IF NOT EXISTS mark (
  input TEXT NOT NULL, dataset TEXT NOT NULL, scope TEXT NOT NULL,
  mark TEXT NOT NULL, saved INTEGER NOT NULL,
  PRIMARY KEY (input, dataset, scope)) WITHOUT ROWID;
"""
Work = Callable[[sqlite3.Connection], Any]


class Database:
    """A SQLite file.

    `write` returns once its work is committed with synchronous=FULL. Works of several threads share
    a commit.

    `upgrade`: bring a file of an older version to this one. Only for who has the file for itself:
    a siemtap of the older version could not go on.
    """

    def __init__(self, path: Path, upgrade: bool = False) -> None:
        self.path = path
        self.upgrade = upgrade
        self.new = not path.exists()
        self.closed = False
        self.works: queue.SimpleQueue[Optional[Tuple[Work, Future[Any]]]] = queue.SimpleQueue()
        self.local = threading.local()
        try:
            private.make_folder(path.parent)
            self._check()
            db = self._connect(path, shared=True)
            self.file = os.stat(path)
        except sqlite3.OperationalError as error:
            raise self._error_from(error) from None
        except sqlite3.DatabaseError as error:
            raise self.damaged(error) from None
        except OSError as error:
            raise private.error_from(
                error, f"{path} cannot be opened", "check `path.data`"
            ) from None
        self.writer = threading.Thread(
            target=self._write, args=[db], name="sqlite-writer", daemon=True
        )
        self.writer.start()

    def damaged(self, error: object) -> ConfigError:
        """Return the error that stops siemtap when the file cannot be trusted."""
        return ConfigError(
            f"{self.path} is damaged ({error}). Nothing was changed. Restore a copy of it; or move"
            " it away, which starts again from `lookback`, and read the gap with"
            " `siemtap run --from … --to …`"
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
        private.close_to_others(self.path)
        db = self._connect(self.path)
        try:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
            if "mark" not in tables:
                raise sqlite3.DatabaseError("it holds no marks")
            for table in CHECKED & tables:
                row = db.execute(f"PRAGMA quick_check('{table}')").fetchone()
                if row and row[0] != "ok":
                    raise sqlite3.DatabaseError(" ".join(row[0].split()))
            (migrate if self.upgrade else check_version)(db, self.path)
        finally:
            db.close()

    def _create(self) -> None:
        """Create the file under a temporary name and rename it.

        A process that is killed meanwhile leaves nothing that looks like a damaged file.
        """
        # The log of a file that was moved away. SQLite would replay it into the new file.
        old_wal = self.path.with_name(self.path.name + "-wal")
        if old_wal.exists():
            old_wal.replace(old_wal.with_name(old_wal.name + ".left"))
        temporary = self.path.with_name(self.path.name + ".new")
        for suffix in ("", "-wal", "-shm", "-journal"):
            temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
        private.close_to_others(temporary)  # the write-ahead log gets the same rights
        db = self._connect(temporary)
        try:
            db.executescript(f"{SCHEMA} PRAGMA user_version={VERSION};")
        finally:
            db.close()  # moves the write-ahead log into the file
        temporary.replace(self.path)

    def write(self, work: Work) -> Any:
        """Run `work(connection)` in the writer's transaction and return its result once it is
        committed. Raise Retry if the disk is full or fails; nothing is written then."""
        future: Future[Any] = Future()
        self.works.put((work, future))
        return future.result()

    def check(self) -> None:
        """Raise ConfigError if the file was deleted or replaced: what is written to it, or read
        from it, is lost when the process ends."""
        if private.is_replaced(self.path, self.file):
            raise ConfigError(
                f"{self.path} was deleted or replaced while siemtap runs; nothing is accepted any"
                " more: restart siemtap"
            )

    def read(self, sql: str, values: Sequence[Any] = ()) -> List[Tuple[Any, ...]]:
        """Return the rows of a query. Each thread has a connection of its own."""
        self.check()
        try:
            if not hasattr(self.local, "db"):
                self.local.db = self._connect(self.path)
            rows: List[Tuple[Any, ...]] = self.local.db.execute(sql, values).fetchall()
            return rows
        except sqlite3.DatabaseError as error:
            raise self._error_from(error) from None

    def close(self) -> None:
        """Commit what is queued and close the file."""
        self.closed = True
        self.works.put(None)
        self.writer.join()
        if hasattr(self.local, "db"):
            self.local.db.close()
            del self.local.db

    def _write(self, db: sqlite3.Connection) -> None:
        running = True
        while running:
            queued = [self.works.get()]
            while len(queued) < WORKS_PER_COMMIT and not self.works.empty():
                queued.append(self.works.get())
            running = None not in queued
            works = [work for work in queued if work]
            try:
                self.check()
                self._commit(db, works)
            except Exception as error:  # the writer must go on, or its callers wait forever
                if not isinstance(error, SiemtapError):
                    log.exception("%s: the writer failed", self.path)
                    error = Retry(f"{self.path}: {type(error).__name__}; nothing was committed")
                for _, future in works:
                    if not future.done():
                        future.set_exception(error)
        with suppress(sqlite3.Error):  # the disk is full: the next start truncates it
            # One file is then all that a copy needs.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()

    def _commit(self, db: sqlite3.Connection, works: List[Tuple[Work, Future[Any]]]) -> None:
        """Run all works in one transaction.

        A work that raises is rolled back alone. If the commit fails, all of them fail.
        """
        results: List[Tuple[Future[Any], Any, Optional[BaseException]]] = []
        try:
            db.execute("BEGIN IMMEDIATE")
            for work, future in works:
                db.execute("SAVEPOINT one")
                try:
                    results.append((future, work(db), None))
                    db.execute("RELEASE one")
                except sqlite3.OperationalError:
                    raise
                except BaseException as error:  # the work's own error: its caller gets it
                    db.execute("ROLLBACK TO one")
                    db.execute("RELEASE one")
                    results.append((future, None, error))
            db.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):  # SQLite may have rolled back already
                db.execute("ROLLBACK")
            commit_error = self._error_from(error)
            results = [(future, None, commit_error) for _, future in works]
        for future, result, work_error in results:
            if work_error:
                future.set_exception(work_error)
            else:
                future.set_result(result)

    def _error_from(self, error: sqlite3.Error) -> SiemtapError:
        if "full" in str(error):
            return Retry(
                f"the disk of {self.path} is full; nothing was committed; siemtap continues when"
                " there is room"
            )
        if any(words in str(error) for words in REFUSED):
            return Retry(
                f"{self.path} cannot be read or written: {error}; nothing was committed; check its"
                " disk, mount and rights"
            )
        if isinstance(error, sqlite3.OperationalError):
            return Retry(f"{self.path}: {error}; nothing was committed")
        return self.damaged(error)


class Saved(NamedTuple):
    """A unit's mark, and the time it was saved."""

    unit: Unit
    mark: Mark
    saved: Millis


class Checkpoints:
    """The marks of all units, in the table `mark`."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.all()  # fails at the start if a mark is damaged, not hours later

    def all(self) -> List[Saved]:
        """Return all marks, by input, dataset and scope."""
        rows = self.database.read(
            "SELECT input, dataset, scope, mark, saved FROM mark ORDER BY 1, 2, 3"
        )
        return [Saved(Unit(*row[:3]), self._read(row[3]), self._time(row[4])) for row in rows]

    def load(self, unit: Unit) -> Mark:
        """Return a unit's mark; an empty one if none is saved."""
        rows = self.database.read(
            "SELECT mark FROM mark WHERE input = ? AND dataset = ? AND scope = ?", to_sqlite(unit)
        )
        return self._read(rows[0][0]) if rows else Mark()

    def save(self, unit: Unit, mark: Mark) -> None:
        self.database.write(self.saving(unit, mark))

    def saving(self, unit: Unit, mark: Mark) -> Work:
        """Return what saves a mark within a transaction."""
        return lambda db: save(db, unit, mark)

    def delete(self, unit: Unit) -> bool:
        """Delete a unit's mark. Return whether there was one."""

        def work(db: sqlite3.Connection) -> int:
            return db.execute(
                "DELETE FROM mark WHERE input = ? AND dataset = ? AND scope = ?", to_sqlite(unit)
            ).rowcount

        return bool(self.database.write(work))

    def _time(self, value: Any) -> Millis:
        if not isinstance(value, int) or not 0 <= value <= LATEST_TIME:
            raise self.database.damaged("the time of a mark cannot be read")
        return value

    def _read(self, text: str) -> Mark:
        try:
            body, present, checksum = text.rpartition(CHECKSUM)
            if present:
                text = body + "}"
                if checksum != f"{_checksum(text)}}}":
                    raise ValueError("checksum")
            return Mark.from_json(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self.database.damaged(f"a mark cannot be read: {type(error).__name__}") from None


def to_sqlite(values: Iterable[Any]) -> List[Any]:
    """Return values that SQLite can store.

    A lone surrogate, which UTF-8 cannot encode, becomes the text `\\ud800`, so that different names
    stay different. Integers beyond 64 bits and structured values become text.
    """
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


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode())


def save(db: sqlite3.Connection, unit: Unit, mark: Mark) -> None:
    """Save a mark within the caller's transaction."""
    text = json.dumps(mark.to_json(), separators=(",", ":"))
    db.execute(
        "INSERT OR REPLACE INTO mark VALUES (?, ?, ?, ?, ?)",
        [
            *to_sqlite(unit),
            f"{text[:-1]}{CHECKSUM}{_checksum(text)}}}",
            int(time.time() * 1000),
        ],
    )
