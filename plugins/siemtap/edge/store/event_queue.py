"""Batches of events that wait for one of several outputs, in the file of the checkpoints: a batch
and the mark of its unit are committed together."""

from __future__ import annotations

import json
import sqlite3
import zlib
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from ...core.errors import Retry, SiemtapError
from ...core.model import Unit
from ...core.rows import Event
from ...core.windows import Millis
from ..clock import SYSTEM, Clock
from ..encode import encode
from .checkpoints import Database, Work, to_sqlite

TABLES = (
    (
        "CREATE TABLE IF NOT EXISTS queue (number INTEGER PRIMARY KEY AUTOINCREMENT, input TEXT NOT"
        " NULL, dataset TEXT NOT NULL, scope TEXT NOT NULL, time INTEGER NOT NULL, events INTEGER"
        " NOT NULL, again INTEGER NOT NULL, size INTEGER NOT NULL, content BLOB NOT NULL)"
    ),
    "CREATE INDEX IF NOT EXISTS queue_size ON queue (size)",
    (
        "CREATE TABLE IF NOT EXISTS queue_output (output TEXT NOT NULL, number INTEGER NOT NULL,"
        " PRIMARY KEY (output, number)) WITHOUT ROWID"
    ),
    "CREATE INDEX IF NOT EXISTS queue_output_number ON queue_output (number)",
    # counted in the same transactions, for every process of a configuration
    (
        "CREATE TABLE IF NOT EXISTS queue_waiting (output TEXT PRIMARY KEY, batches INTEGER NOT"
        " NULL, events INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID"
    ),
    # the setting `index` of inputs that have queued events: they may be gone when these are read
    (
        "CREATE TABLE IF NOT EXISTS queue_index (input TEXT PRIMARY KEY, name TEXT NOT NULL)"
        " WITHOUT ROWID"
    ),
    "DELETE FROM queue_waiting",
    (
        "INSERT INTO queue_waiting SELECT output, count(*), sum(events), sum(size)"
        " FROM queue_output JOIN queue USING (number) GROUP BY output"
    ),
)
INSERT = """INSERT INTO queue (input, dataset, scope, time, events, again, size, content)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
SIZES = """SELECT number, size FROM queue_output JOIN queue USING (number)
           WHERE output = ? AND number > ? ORDER BY number LIMIT ?"""
BATCHES = """SELECT number, input, dataset, scope, time, again, size, content
             FROM queue_output JOIN queue USING (number)
             WHERE output = ? AND number > ? AND number <= ? ORDER BY number"""
WAITING = "SELECT batches, events, bytes FROM queue_waiting WHERE output = ?"
COUNT = """INSERT INTO queue_waiting VALUES (?, ?, ?, ?) ON CONFLICT (output) DO UPDATE SET
           batches = batches + excluded.batches, events = events + excluded.events,
           bytes = bytes + excluded.bytes"""
KEEP_INDEX = "INSERT OR REPLACE INTO queue_index VALUES (?, ?)"
INDEXES = "SELECT input, name FROM queue_index"
DELETE_UNNEEDED = """DELETE FROM queue WHERE number = ? AND NOT EXISTS
                     (SELECT 1 FROM queue_output WHERE queue_output.number = queue.number)"""
Read = Callable[[str, Sequence[Any]], List[Tuple[Any, ...]]]
READ_AT_ONCE = 64  # batches, if they are small
READ_BYTES = 512 * 1024  # of batches that are read at once; a larger one is read alone
LEVEL = 1  # of zlib: events are text that repeats itself, and the disk is the bound
FREED_PAGES = 2_000  # given back to the file system at once


class QueuedBatch(NamedTuple):
    """A batch of a unit that waits. `time`: when it was queued. `again`: its events were read
    beside the checkpoints, so the output may have them."""

    number: int
    unit: Unit
    time: Millis
    again: bool
    size: int
    events: List[Event]


class Waiting(NamedTuple):
    """What waits for an output."""

    batches: int = 0
    events: int = 0
    bytes: int = 0


class EventQueue:
    """The queues of all outputs. A batch is stored once, whatever the number of its outputs.

    Several processes may put; one at a time reads the queue of an output.

    max_bytes: how much may wait for one output. Beyond it nothing more is taken for it.
    index_by_input: input id -> its setting `index`. What an input had that is not configured any
    more is added when events of it are read.
    """

    def __init__(
        self,
        database: Database,
        max_bytes: int,
        clock: Clock = SYSTEM,
        index_by_input: Optional[Dict[str, str]] = None,
    ) -> None:
        self.database = database
        self.clock = clock
        self.max_bytes = max_bytes
        self.index_by_input = {} if index_by_input is None else index_by_input
        self.saved_index: Dict[str, str] = {}  # input id -> the index that the file has
        self.known: Dict[str, Waiting] = {}  # what was read last
        database.write(lambda db: [db.execute(statement) for statement in TABLES])

    def waiting(self, output: str) -> Waiting:
        """Return what waits for an output; what was known last, if the file cannot be read: then
        every delivery fails, and says so."""
        if self.database.closed:
            return self.known.get(output, Waiting())
        try:
            rows = self.database.read(WAITING, [output])
        except SiemtapError:
            return self.known.get(output, Waiting())
        waiting = self.known[output] = Waiting(*rows[0]) if rows else Waiting()
        return waiting

    def outputs(self) -> List[str]:
        """Return the outputs for which something waits."""
        query = "SELECT output FROM queue_waiting WHERE batches > 0 ORDER BY output"
        return [output for (output,) in self.database.read(query)]

    def is_full(self, output: str) -> bool:
        return self.waiting(output).bytes >= self.max_bytes

    def last_number(self, output: str) -> int:
        """Return the number of the batch that was queued last for an output; 0 if none waits."""
        query = "SELECT max(number) FROM queue_output WHERE output = ?"
        return int(self.database.read(query, [output])[0][0] or 0)

    def put(
        self,
        unit: Unit,
        events: Sequence[Event],
        outputs: Collection[str],
        save: Optional[Work] = None,
        again: bool = False,
    ) -> None:
        """Queue a batch for outputs, and run `save` in the same transaction.

        Raise Retry if the queue of one of them is full; nothing is queued then.
        """
        full = [output for output in outputs if events and self.is_full(output)]
        if full:
            raise Retry(
                f"the queue of the output {', '.join(full)} is full: {self.max_bytes >> 20} MiB of"
                " events wait for it (queue.max_bytes), so this input waits, too; does that output"
                " work?"
            )
        content = b""
        if events:
            text = b"[" + b",".join(encode(event) for event in events) + b"]"
            content = zlib.compress(text, LEVEL)
        index = self.index_by_input.get(unit.input, "")
        is_new_index = bool(events) and self.saved_index.get(unit.input) != index
        row = [*to_sqlite(unit), self.clock.now(), len(events), again, len(content), content]

        def work(db: sqlite3.Connection) -> None:
            if events:
                number = db.execute(INSERT, row).lastrowid
                db.executemany(
                    "INSERT INTO queue_output VALUES (?, ?)",
                    [(output, number) for output in outputs],
                )
                db.executemany(
                    COUNT, [(output, 1, len(events), len(content)) for output in outputs]
                )
            if is_new_index:
                db.execute(KEEP_INDEX, [row[0], index])
            if save:
                save(db)

        self.database.write(work)
        if is_new_index:
            self.saved_index[unit.input] = index

    def first(self, output: str) -> List[QueuedBatch]:
        """Return the oldest batches that wait for an output, in their order."""
        try:
            batches = next(queued_batches(self.database.read, output), [])
        except (zlib.error, ValueError) as error:
            raise self.database.damaged(f"a queued batch: {type(error).__name__}") from None
        gone = {batch.unit.input for batch in batches} - self.index_by_input.keys()
        if gone:
            kept = dict(self.database.read(INDEXES))
            self.index_by_input.update({input: kept.get(input, "") for input in gone})
        return batches

    def remove(self, output: str, batches: Sequence[QueuedBatch]) -> None:
        """Delete batches that an output has; from the disk, once no output needs them."""

        def work(db: sqlite3.Connection) -> None:
            numbers = [(batch.number,) for batch in batches]
            db.executemany(
                "DELETE FROM queue_output WHERE output = ? AND number = ?",
                [(output, batch.number) for batch in batches],
            )
            events = sum(len(batch.events) for batch in batches)
            size = sum(batch.size for batch in batches)
            db.execute(COUNT, [output, -len(batches), -events, -size])
            db.executemany(DELETE_UNNEEDED, numbers)
            if db.execute("PRAGMA freelist_count").fetchone()[0] > 2 * FREED_PAGES:
                db.execute(f"PRAGMA incremental_vacuum({FREED_PAGES})").fetchall()

        self.database.write(work)

    def delete(self, output: str) -> int:
        """Delete everything that waits for an output. Return how many events that was."""
        number = 0
        while batches := self.first(output):
            self.remove(output, batches)
            number += sum(len(batch.events) for batch in batches)
        return number


def queued_bytes(db: sqlite3.Connection) -> int:
    """Return the size of all queued batches, by an index; 0 before the first `EventQueue`."""
    try:
        return int(db.execute("SELECT total(size) FROM queue").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def queued_batches(read: Read, output: str) -> Iterator[List[QueuedBatch]]:
    """Yield what waits for an output, in its order, a few batches at once. `read`: runs a query."""
    after = 0
    while sizes := read(SIZES, [output, after, READ_AT_ONCE]):
        total, last = 0, sizes[0][0]
        for number, size in sizes:
            total += size
            if total > READ_BYTES:
                break
            last = number
        yield [
            QueuedBatch(
                number, Unit(*unit), time, bool(again), size, json.loads(zlib.decompress(content))
            )
            for number, *unit, time, again, size, content in read(BATCHES, [output, after, last])
        ]
        after = last
