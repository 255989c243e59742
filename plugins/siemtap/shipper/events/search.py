"""A search of the embedded store: the newest events first, in small steps.

A step reads a limited number of rows. Between two steps nothing is held open, so that a slow reader
does not keep the shipper from truncating its write-ahead log, and a search can end at any time and
tell how far back it came.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from time import monotonic
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

from ...core import convert
from ...core.errors import ConfigError
from ...core.manifest import parse_duration, parse_time
from ...core.settings import SEVERITIES
from ...core.windows import Millis
from ...edge.encode import encode
from ...edge.store.checkpoints import LATEST_TIME, to_sqlite
from ...edge.store.snapshot import Snapshot

COLUMNS = ("source", "severity", "dataset", "input", "action")  # each with an index (column, time)
ROWS_AT_ONCE = 200
BYTES_AT_ONCE = 1024**2  # of matching events
COUNTED = 10_000  # rows that are counted to learn which condition is the narrowest
Position = Tuple[Millis, int]  # time and rowid of the last row that was read


@dataclass(frozen=True)
class Query:
    """Conditions of a search. All of them must hold; of a list one value. Empty: no condition.

    start, stop: start <= @timestamp < stop, in milliseconds. source: `source.ip`, or else
    `source.address`. severity: values of event.severity. text: a part of any value of the event, in
    upper or lower case. before: the id of an event, to go on with those that are older.
    """

    start: Optional[Millis] = None
    stop: Optional[Millis] = None
    source: Tuple[str, ...] = ()
    severity: Tuple[int, ...] = ()
    dataset: Tuple[str, ...] = ()
    input: Tuple[str, ...] = ()
    action: Tuple[str, ...] = ()
    text: str = ""
    before: str = ""


class Hit(NamedTuple):
    """An event that matches. `text`: the event as JSON; the other members are its columns."""

    time: Millis
    id: str
    dataset: str
    severity: Optional[int]
    action: Optional[str]
    source: Optional[str]
    rule: Optional[str]
    text: str


def time_range(
    since: str, start: str, stop: str, now: Millis
) -> Tuple[Optional[Millis], Optional[Millis]]:
    """Return the bounds that a person wrote: a duration before now, or two times. Empty: no bound.

    Raise ConfigError for what is no duration or time.
    """
    if since and start:
        raise ConfigError("`since` and `from` both say where to begin: give one of them")
    first: Optional[Millis] = None
    if since:
        first = now - parse_duration(since)
    elif start:
        first = parse_time(start)
    last = parse_time(stop) if stop else None
    if first is not None and last is not None and first >= last:
        raise ConfigError("the time to begin at must be before the time to end at")
    return first, last


def severity_numbers(names: Tuple[str, ...]) -> Tuple[int, ...]:
    """Return the values of event.severity. Raise ConfigError for an unknown name."""
    for name in names:
        if name not in SEVERITIES:
            raise ConfigError(f'"{name}" is no severity; there are {", ".join(SEVERITIES)}')
    return tuple(SEVERITIES[name] for name in names)


def spelled_as_stored(sources: Tuple[str, ...]) -> Tuple[str, ...]:
    """Return addresses as `source.ip` has them: 2001:db8::7 for 2001:DB8::00:7."""
    return tuple(convert.ip(source) or source for source in sources)


class Search:
    """One search, iterated once.

    `reached`: the events from this time on were looked at; None: none yet. `finished`: there is no
    older event that matches.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        query: Query,
        seconds: float = float("inf"),
        on_step: Callable[[Millis], None] = lambda reached: None,
    ) -> None:
        """`seconds`: after them no further step begins. `on_step`: called with `reached`."""
        self.snapshot = snapshot
        self.query = query
        self.seconds = seconds
        self.on_step = on_step
        self.reached: Optional[Millis] = None
        self.finished = False

    def __iter__(self) -> Iterator[Hit]:
        if not self.snapshot.has_table("event"):
            self.finished = True
            return
        deadline = monotonic() + self.seconds
        sql, values = statement(self.query, self._narrowest())
        contains = text_filter(self.query.text)
        position = self._start()
        while not self.finished and monotonic() < deadline:
            hits: List[Hit] = []
            rows = size = 0
            for rowid, *columns in self.snapshot.each(sql, [*values, *position, ROWS_AT_ONCE]):
                hit = Hit._make(columns)
                position = (hit.time, rowid)
                rows += 1
                if hit.text is not None and contains(hit.text):
                    hits.append(hit)
                    size += len(hit.text)
                if size >= BYTES_AT_ONCE:
                    break
            else:
                self.finished = rows < ROWS_AT_ONCE
            if rows:
                self.reached = position[0]
                self.on_step(self.reached)
            yield from hits

    def _start(self) -> Position:
        """Return the position that the search goes back from."""
        stop = LATEST_TIME + 1 if self.query.stop is None else self.query.stop
        if not self.query.before:
            return stop, 0
        sql = "SELECT time, rowid FROM event WHERE id = ?"
        rows = self.snapshot.read(sql, to_sqlite([self.query.before]))
        if not rows:
            raise ConfigError(f'there is no event with the id "{self.query.before}" any more')
        return min((stop, 0), (rows[0][0], rows[0][1]))

    def _narrowest(self) -> str:
        """Return the column with one wanted value that the fewest events have; "" for none."""
        columns = [column for column in COLUMNS if len(getattr(self.query, column)) == 1]
        if len(columns) < 2:
            return "".join(columns)
        return min(columns, key=self._count)

    def _count(self, column: str) -> int:
        """Return how many events of the time range have the one value; at most COUNTED."""
        first = -1 if self.query.start is None else self.query.start
        sql = (
            f"SELECT count(*) FROM (SELECT 1 FROM event WHERE {column} = ? AND time >= ? AND"
            " (time, rowid) < (?, ?) LIMIT ?)"
        )
        values = to_sqlite(getattr(self.query, column))
        ((number,),) = self.snapshot.read(sql, [*values, first, *self._start(), COUNTED])
        return int(number)


def statement(query: Query, leading: str) -> Tuple[str, List[Any]]:
    """Return the SQL of a step, and its parameters before the position and the number of rows.

    `leading`: the column whose index is read; "" for that of the time. Every row that the index
    gives is returned, with NULL for an event that does not match: so a step is short, whatever it
    looks for.
    """
    where: List[str] = []
    case: List[str] = []
    where_values: List[Any] = []
    case_values: List[Any] = []
    for column in COLUMNS:
        values = to_sqlite(getattr(query, column))
        if column == leading:
            where.append(f"{column} = ?")
            where_values += values
        elif values:
            case.append(f"{column} IN ({', '.join('?' * len(values))})")
            case_values += values
    if query.start is not None:
        where.append("time >= ?")
        where_values.append(query.start)
    where.append("(time, rowid) < (?, ?)")
    event = f"CASE WHEN {' AND '.join(case)} THEN event END" if case else "event"
    sql = (
        f"SELECT rowid, time, id, dataset, severity, action, source, rule, {event} FROM event"
        f" WHERE {' AND '.join(where)} ORDER BY time DESC, rowid DESC LIMIT ?"
    )
    return sql, [*case_values, *where_values]


def text_filter(wanted: str) -> Callable[[str], bool]:
    """Return a function: whether a text is in a value of an event that is given as JSON."""
    if not wanted:
        return lambda text: True
    wanted = wanted.encode("utf-8", "replace").decode().lower()
    escaped = encode({"": wanted}).decode()[len('{"":"') : -len('"}')].lower()

    def contains(text: str) -> bool:
        if escaped not in text.lower():  # most events end here, unparsed
            return False
        event = json.loads(text, parse_int=str, parse_float=str)
        return any(wanted in value.lower() for value in _values(event))

    return contains


def _values(value: Any) -> Iterator[str]:
    """Yield every text, number and boolean inside a value, as text."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, bool):
            yield "true" if value else "false"
        elif value is not None:
            yield str(value)
