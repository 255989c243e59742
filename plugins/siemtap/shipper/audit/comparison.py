"""Compare what the vendors return with what the output has: what is missing, different, duplicate
or extra. It can deliver what is missing."""

from __future__ import annotations

import json
import sqlite3
import time
from dataclasses import replace
from functools import cache, partial
from typing import (
    AbstractSet,
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
)

from ...core.convert import millis_of, rfc3339
from ...core.model import Cursor, Unit
from ...core.rows import Dataset, Event
from ...core.windows import HOUR, MINUTE, Millis, whole
from ...edge.client.http import Http
from ...edge.clock import Clock
from ...edge.encode import encode
from ...engine.cycle import Cycle, Fault, Policy
from ...engine.mapper import batch_mapper
from ...engine.protocols import EventCheck, MapBatch, ReadableOutput, Rejections
from ..config.sections import Input
from ..processors.steps import process
from .fields import differing_fields, values_of
from .findings import Comparison
from .progress import Progress
from .ranges import ReadRange, compared_range, is_pushed, selected_time, stored_ranges

AT_ONCE = 500
# Units that are read about as far back have one client: each may log in.
CLIENT_FOR = 10 * MINUTE
PATIENCE = 120.0  # seconds without progress until a vendor that fails is given up
TABLES = """
CREATE TABLE expected (
  dataset TEXT, namespace TEXT, id TEXT PRIMARY KEY, hour INTEGER, event TEXT, input TEXT,
  scope TEXT, timed INTEGER, due INTEGER, seen INTEGER DEFAULT 0);
CREATE TABLE variant (id TEXT, event TEXT, PRIMARY KEY (id, event));
CREATE TABLE unknown (number INTEGER PRIMARY KEY, event TEXT);
"""
INSERT = """INSERT INTO expected (dataset, namespace, id, hour, event, input, scope, timed, due)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""


class Scope(NamedTuple):
    """What is compared together: the events of a dataset in one place of the output."""

    dataset: str
    namespace: str
    pattern: str  # the input's setting `index`


class Part(NamedTuple):
    """A unit of a scope: the time range that the output must have, and how to read on behind it."""

    unit: Unit
    start: Millis
    stop: Millis
    read_on: Callable[[], None]


class Audit:
    """A comparison in a temporary database on disk: a day of events may not fit into memory.

    `rejected`: ids of events that are stored as rejected. They are not missing. `waiting`: ids of
    those that are queued for the output, and not missing either. `read`: unit ->
    what the shipper has read by its checkpoints; None: there are no checkpoints here. `check`: the
    validation that the shipper runs before a delivery.
    """

    def __init__(
        self,
        output: ReadableOutput,
        clock: Clock,
        since: Millis,
        rejected: Set[str],
        read: Optional[Mapping[Unit, ReadRange]] = None,
        check: Optional[EventCheck] = None,
        progress: Progress = Progress(),
        waiting: AbstractSet[str] = frozenset(),
    ) -> None:
        self.output = output
        self.rejected = set(rejected)
        self.waiting = waiting
        self.read = read
        self.check = check
        self.progress = progress
        self.clock = clock
        self.sleep = time.sleep
        self.patience = PATIENCE
        self.now = clock.now()
        self.start = whole(self.now - since, HOUR)
        self.db = sqlite3.connect("")
        self.db.executescript(TABLES)
        self.scopes: Dict[Scope, List[Part]] = {}
        self.datasets: Dict[str, Dataset] = {}
        # of pushed events, which no vendor returns again
        self.pushed: Set[Scope] = set()

    # What the vendor has

    def read_vendor(self, input_config: Input, http: Http, added_fields: Dict[str, Any]) -> None:
        """Read a vendor again, from the start of the audit to the checkpoints."""
        plugin, common = input_config.plugin, input_config.common
        settings = input_config.settings

        @cache
        def connect(lookback: Millis) -> Any:
            return plugin.connect(replace(settings, lookback=lookback), http)

        mapper = batch_mapper(
            plugin, settings, common, added_fields, created=lambda: rfc3339(self.now)
        )
        map_batch = process(mapper, input_config.processors)
        self.datasets.update({dataset.name: dataset for dataset in plugin.datasets})
        if is_pushed(input_config):
            self.pushed.update(
                Scope(dataset.name, common.namespace, common.index) for dataset in plugin.datasets
            )
        addresses = plugin.units(connect(settings.lookback), settings)
        for unit in [Unit(input_config.id, *address) for address in addresses]:
            if not plugin.dataset(unit.dataset).snapshot:
                self._read_unit(unit, input_config, connect, map_batch, http)

    def _read_unit(
        self,
        unit: Unit,
        input_config: Input,
        connect: Callable[[Millis], Any],
        map_batch: MapBatch,
        http: Http,
    ) -> None:
        """Read a unit up to where the shipper has read it. `connect`: returns a client that reads
        that far back."""
        if self.read is not None and unit not in self.read:
            self.progress.note(f"{unit}: not compared: it has no checkpoint, so nothing was read")
            return
        saved = None if self.read is None else self.read[unit]
        settings = input_config.settings
        start, stop = compared_range(settings, saved, self.start, min(self.now, http.now()))
        if start >= stop:
            self.progress.note(f"{unit}: not compared: nothing was read for long enough")
            return
        latest = stop + getattr(settings, "lag", 0)
        client = connect(whole(latest - start + CLIENT_FOR - 1, CLIENT_FOR))
        cursor: Cursor = {}

        def read(to_now: bool) -> None:
            nonlocal cursor
            now = http.now()
            if not to_now:
                now = min(now, latest)
            for batch in input_config.plugin.collect(client, unit, cursor, now):
                # what a vendor has lost depends on the time range that is queried
                events = map_batch(batch._replace(lost=()))
                due = (start, stop) if not to_now else (0, 0)
                self._expect(unit, input_config, events, rfc3339(batch.until), due)
                cursor = batch.cursor
                self.progress.reading(str(unit), batch.until, len(events))

        self.progress.starting(str(unit), start, stop)
        self._retry(unit, partial(read, to_now=False))
        scope = Scope(unit.dataset, input_config.common.namespace, input_config.common.index)
        part = Part(unit, start, stop, partial(self._retry, unit, partial(read, to_now=True)))
        self.scopes.setdefault(scope, []).append(part)

    def _retry(self, unit: Unit, read: Callable[[], None]) -> None:
        """Read a unit; after a failure that time may mend, go on where it happened, for up to
        `patience`."""

        def attempt() -> bool:
            read()
            return True

        cycle = Cycle(unit, self.clock.elapsed, Policy(patience=self.patience))
        while error := cycle.attempt(attempt):
            if cycle.is_given_up or isinstance(error, Fault):
                raise error
            self.sleep(max(0.0, cycle.due - self.clock.elapsed()))

    def _expect(
        self,
        unit: Unit,
        input_config: Input,
        events: List[Event],
        until: str,
        due: Tuple[Millis, Millis],
    ) -> None:
        """Store what a vendor returned. The output must have what is from the time range `due`.

        `due` is of the time by which the vendor selects: a detection of an old event belongs to
        the hour in which it was ingested.

        An event without a time of its own gets the end of its window (`until`), which is different
        each time it is read. So its time is not compared (`timed` is 0).
        """
        for event in events:
            timed = event["@timestamp"] != until
            checked = self._as_delivered(event)
            moment = millis_of(checked["@timestamp"])
            id = checked["event"]["id"]
            text = encode(checked).decode()
            is_due = due[0] <= selected_time(self.datasets[unit.dataset], checked) < due[1]
            inserted = self.db.execute(
                INSERT,
                (
                    unit.dataset,
                    input_config.common.namespace,
                    id,
                    whole(moment, HOUR),
                    text,
                    unit.input,
                    unit.scope,
                    timed,
                    is_due,
                ),
            )
            if not inserted.rowcount:  # a vendor may return an event in several forms
                self.db.execute("INSERT OR IGNORE INTO variant VALUES (?, ?)", [id, text])
                if is_due:
                    self.db.execute("UPDATE expected SET due = 1 WHERE id = ?", [id])

    def _as_delivered(self, event: Event) -> Event:
        """Return an event as validation lets it pass. One that it refuses counts as rejected."""
        if self.check is None or self.check(event) is None:
            return event
        mended = self.check.without_unfit(event)
        if mended is None:
            self.rejected.add(event["event"]["id"])
            return event
        return mended

    # What the output has

    def compare(self) -> Comparison:
        """Compare what the vendors returned with what the output has."""
        result = Comparison({}, [])
        for scope, parts in sorted(self.scopes.items()):
            first = min(part.start for part in parts)
            last = max(part.stop for part in parts)
            self.progress.comparing(scope.dataset)
            for start, stop in stored_ranges(first, last, self._hours_of(scope)):
                for event in self.output.read(parts[0].unit, scope.namespace, start, stop):
                    self.progress.compared()
                    if self._compare_event(result, event):
                        continue
                    # What was read between old hours would be too much to hold.
                    if first <= selected_time(self.datasets[scope.dataset], event) < last:
                        text = encode(event).decode()
                        self.db.execute("INSERT INTO unknown (event) VALUES (?)", [text])
            self._judge_unknown(result, scope, parts)
            self._count_expected(result, scope, parts[0].unit)
        return result

    def _hours_of(self, scope: Scope) -> List[Millis]:
        """Return the hours of the events that the output must have, if the vendor selects them by
        another time."""
        if self.datasets[scope.dataset].selected_by == "@timestamp":
            return []
        rows = self.db.execute(
            "SELECT DISTINCT hour FROM expected WHERE dataset = ? AND namespace = ? AND due",
            [scope.dataset, scope.namespace],
        )
        return [hour for (hour,) in rows]

    def _judge_unknown(self, result: Comparison, scope: Scope, parts: List[Part]) -> None:
        """Report the events that no vendor returns.

        The shipper may have delivered some of them since the vendor was read: so it is read on to
        the present first. What is from outside the time range of a unit is not judged.
        """
        texts = self.db.execute("SELECT event FROM unknown ORDER BY number").fetchall()
        self.db.execute("DELETE FROM unknown")
        if not texts or scope in self.pushed or self.datasets[scope.dataset].latest_only:
            return
        for part in parts:
            part.read_on()
        start = max(part.start for part in parts)
        stop = min(part.stop for part in parts)
        for (text,) in texts:
            event = json.loads(text)
            if self._compare_event(result, event):
                continue
            # An event that reports an error bears a time of siemtap's: it stands for lost time, or
            # for a record without a time.
            judged = start <= selected_time(self.datasets[scope.dataset], event) < stop
            if judged and event["event"].get("kind") != "pipeline_error":
                result.add("extra", event)

    def _count_expected(self, result: Comparison, scope: Scope, unit: Unit) -> None:
        """Count expected events. One that was not read is searched by its id first."""
        rows = self.db.execute(
            "SELECT id, hour, seen, event FROM expected WHERE dataset = ? AND namespace = ? AND due"
            " ORDER BY hour, id",
            [scope.dataset, scope.namespace],
        )
        while part := rows.fetchmany(AT_ONCE):
            unseen = [json.loads(text) for _, _, seen, text in part if not seen]
            stored = (self.output.holds(unit, unseen) or set()) if unseen else set()
            for id, hour, seen, text in part:
                kind = "found"
                if not seen and id not in stored:
                    kind = self._kind_of_absent(id)
                result.count(scope.dataset, hour, "expected")
                if kind == "missing":
                    result.add(kind, json.loads(text))
                else:
                    result.count(scope.dataset, hour, kind)

    def _kind_of_absent(self, id: str) -> str:
        if id in self.rejected:
            return "rejected"
        return "waiting" if id in self.waiting else "missing"

    def _compare_event(self, result: Comparison, event: Event) -> bool:
        """Compare an event of the output with the expected one of its id. Return whether there is
        one."""
        id = event["event"]["id"]
        row = self.db.execute(
            "SELECT event, seen, timed FROM expected WHERE id = ?", [id]
        ).fetchone()
        if row is None:
            return False
        text, seen, timed = row
        if seen:
            result.add("duplicate", event)
        else:
            fields = self._differences(id, text, bool(timed), event)
            if fields:
                result.add("different", event, fields=fields)
        self.db.execute("UPDATE expected SET seen = 1 WHERE id = ?", [id])
        return True

    def _differences(
        self, id: str, text: str, timed: bool, event: Event
    ) -> Mapping[str, Tuple[str, str]]:
        """Return the fields that differ from the most similar form the vendor returned."""
        ignored = list(self.datasets[event["event"]["dataset"]].of_query)
        if not timed:
            ignored += ["@timestamp", "event.start", "event.end"]
        best: Optional[Tuple[Event, List[str]]] = None
        for variant in self._variants(id, text):
            expected = json.loads(variant)
            fields = differing_fields(expected, event, ignored)
            if not fields:
                return {}
            if best is None or len(fields) < len(best[1]):
                best = expected, fields
        assert best
        expected_values, stored_values = values_of(best[0]), values_of(event)
        return {
            path: (
                ", ".join(sorted(expected_values.get(path, ()))) or "nothing",
                ", ".join(sorted(stored_values.get(path, ()))) or "nothing",
            )
            for path in best[1]
        }

    def _variants(self, id: str, first: str) -> Iterator[str]:
        yield first
        rows = self.db.execute("SELECT event FROM variant WHERE id = ?", [id]).fetchall()
        for (text,) in rows:
            yield text

    # Repair

    def repair(self, missing: List[str]) -> Tuple[int, Rejections]:
        """Deliver missing events; return how many, and those that the output rejected."""
        refused: Rejections = []
        for start in range(0, len(missing), AT_ONCE):
            part = missing[start : start + AT_ONCE]
            rows = self.db.execute(
                "SELECT input, dataset, scope, event FROM expected WHERE id IN"
                f" ({','.join('?' * len(part))})",
                part,
            ).fetchall()
            by_unit: Dict[Unit, List[Event]] = {}
            for input, dataset, scope, event in rows:
                by_unit.setdefault(Unit(input, dataset, scope), []).append(json.loads(event))
            for unit, events in by_unit.items():
                refused += self.output.deliver(unit, events, None) or []
        return len(missing) - len(refused), refused
