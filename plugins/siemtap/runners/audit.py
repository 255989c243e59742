"""`siemtap audit`: ask the vendor again, ask the output what it has, say per hour what is missing,
too much or different; deliver what is missing. This is how a person knows that nothing was lost."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any, Dict, Iterator, List, NamedTuple, Set, Tuple

from ..core.convert import millis_of
from ..core.errors import ConfigError
from ..core.forms import Every
from ..core.identity import canonical
from ..core.mapping import Event, rfc3339
from ..core.model import Unit
from ..core.windows import HOUR, Millis, whole
from ..edge.clock import Clock, once_more
from ..edge.http import Http
from ..engine import Say, voice
from ..outputs import Refused
from ..outputs.encode import encode
from .config import Input

# of the run that delivered it, not of the vendor's words
OURS = ("event.created", "agent.", "ecs.version")
AT_ONCE = 500


class Found(NamedTuple):
    """What an audit came to."""

    # (dataset, hour) -> due, there, missing, extra, different, twice, rejected
    hours: Dict[Tuple[str, Millis], Counter[str]]
    missing: List[str]  # ids
    extra: List[str]
    different: List[str]
    twice: List[str]

    @property
    def well(self) -> bool:
        return not (self.missing or self.different or self.extra or self.twice)


class Audit:
    """Over a temporary database on disk: a day of events need not fit into memory."""

    def __init__(self, output: Any, clock: Clock, since: Millis, rejected: Set[str]) -> None:
        self.output, self.clock, self.rejected = output, clock, rejected
        self.now = clock.now()
        self.start = whole(self.now - since, HOUR)
        self.db = sqlite3.connect("")
        self.db.execute(
            "CREATE TABLE due (dataset TEXT, namespace TEXT, id TEXT PRIMARY KEY, hour INTEGER,"
            " event TEXT, input TEXT, scope TEXT, timed INTEGER, seen INTEGER DEFAULT 0)"
        )
        # a vendor may say one event in two ways
        self.db.execute("CREATE TABLE other (id TEXT, event TEXT, PRIMARY KEY (id, event))")
        # (dataset, namespace) -> where to look, and until when
        self.places: Dict[Tuple[str, str], Tuple[Unit, Millis]] = {}
        # the same: events come there that no vendor says again
        self.pushed: Set[Tuple[str, str]] = set()

    def ask(self, wish: Input, http: Http, also: Dict[str, Any]) -> None:
        """The vendor again, from the start on. What is younger than the overlap is not due yet."""
        settings = replace(wish.settings, lookback=self.now - self.start)
        if is_told(wish):
            self.pushed.update(
                (dataset.name, wish.every.namespace) for dataset in wish.plugin.datasets
            )
        client = wish.plugin.connect(settings, http)
        say = voice(wish.plugin, settings, wish.every, also, lambda: rfc3339(self.now))
        for unit in [
            Unit(wish.id, *place)
            for place in wish.plugin.units(client, settings)
            if not wish.plugin.dataset(place[0]).snapshot
        ]:
            once_more(partial(self._ask_unit, wish, settings, client, unit, say, http))

    def _ask_unit(
        self, wish: Input, settings: Any, client: Any, unit: Unit, say: Say, http: Http
    ) -> None:
        """As far as the vendor's own clock: what is beyond it is not due yet, whatever ours
        says. What is read again is expected once."""
        now = min(self.now, http.now())
        stop = (
            now
            - max(getattr(settings, "overlap", 0), getattr(settings, "lag", 0))
            - settings.interval
        )
        before = self.places.get((unit.dataset, wish.every.namespace), (unit, stop))[1]
        self.places[unit.dataset, wish.every.namespace] = (unit, min(before, stop))
        for batch in wish.plugin.collect(client, unit, {}, now):
            self._expect(unit, wish.every, say(batch), rfc3339(batch.until))

    def _expect(self, unit: Unit, every: Every, events: List[Event], until: str) -> None:
        """An event that bears the end of its window had no time of its own: another reading
        gives it another."""
        rows = [
            (
                unit.dataset,
                every.namespace,
                event["event"]["id"],
                whole(millis_of(event["@timestamp"]), HOUR),
                encode(event).decode(),
                unit.input,
                unit.scope,
                event["@timestamp"] != until,
            )
            for event in events
            if self.start <= millis_of(event["@timestamp"])
        ]
        for row in rows:
            if not self.db.execute(
                "INSERT OR IGNORE INTO due (dataset, namespace, id, hour, event, input, scope,"
                " timed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            ).rowcount:
                self.db.execute("INSERT OR IGNORE INTO other VALUES (?, ?)", [row[2], row[4]])

    def compare(self) -> Found:
        found = Found({}, [], [], [], [])
        for (dataset, namespace), (unit, stop) in sorted(self.places.items()):
            held = self.output.read(unit, namespace, self.start, stop)
            if held is None:
                raise ConfigError(
                    "this output cannot say what it has; an audit needs elasticsearch, opensearch,"
                    " sqlite or file"
                )
            for event in held:
                self._meet(found, dataset, event, (dataset, namespace) in self.pushed)
            rows = self.db.execute(
                "SELECT id, hour, seen, event FROM due WHERE dataset = ? AND namespace = ? ORDER BY"
                " hour, id",
                [dataset, namespace],
            )
            while part := rows.fetchmany(AT_ONCE):
                self._settle(found, unit, stop, part)
        return found

    def _settle(self, found: Found, unit: Unit, stop: Millis, rows: List[Tuple[Any, ...]]) -> None:
        """What was not met is asked for by id before it is called missing."""
        due = [(id, hour, seen, json.loads(event)) for id, hour, seen, event in rows]
        due = [row for row in due if millis_of(row[3]["@timestamp"]) < stop]
        unmet = [event for _, _, seen, event in due if not seen]
        held = (self.output.holds(unit, unmet) or set()) if unmet else set()
        for id, hour, seen, _ in due:
            kind = (
                "there" if seen or id in held else "rejected" if id in self.rejected else "missing"
            )
            _count(found, unit.dataset, hour, "due", kind)
            if kind == "missing":
                found.missing.append(id)

    def _meet(self, found: Found, dataset: str, event: Event, pushed: bool) -> None:
        id, hour = event["event"]["id"], whole(millis_of(event["@timestamp"]), HOUR)
        row = self.db.execute("SELECT event, seen, timed FROM due WHERE id = ?", [id]).fetchone()
        if row is None:
            if pushed or event["event"].get("kind") == "pipeline_error":
                # nobody says it again; or its time is ours: it was lost time, or had none
                return
            found.extra.append(id)
            _count(found, dataset, hour, "extra")
            return
        if row[1]:
            found.twice.append(id)
            _count(found, dataset, hour, "twice")
        elif not any(
            same(
                {**json.loads(said), **({} if row[2] else {"@timestamp": event["@timestamp"]})},
                event,
            )
            for said in self._ways(id, row[0])
        ):
            found.different.append(id)
            _count(found, dataset, hour, "different")
        self.db.execute("UPDATE due SET seen = 1 WHERE id = ?", [id])

    def _ways(self, id: str, first: str) -> Iterator[str]:
        yield first
        for (said,) in self.db.execute("SELECT event FROM other WHERE id = ?", [id]).fetchall():
            yield said

    def repair(self, missing: List[str]) -> Tuple[int, Refused]:
        """Deliver what is missing: how many, and what the output refused."""
        refused: Refused = []
        for start in range(0, len(missing), AT_ONCE):
            part = missing[start : start + AT_ONCE]
            rows = self.db.execute(
                "SELECT input, dataset, scope, event FROM due WHERE id IN"
                f" ({','.join('?' * len(part))})",
                part,
            ).fetchall()
            by_unit: Dict[Unit, List[Event]] = {}
            for input, dataset, scope, event in rows:
                by_unit.setdefault(Unit(input, dataset, scope), []).append(json.loads(event))
            for unit, events in by_unit.items():
                refused += self.output.deliver(unit, events, None) or []
        return len(missing) - len(refused), refused


def same(due: Event, held: Event) -> bool:
    """Whether all that is due stands there, arrays as sets. What the cluster adds beside it is
    its own, but for the vendor's object."""
    ours, theirs = _leaves(due), _leaves(held)
    vendor = f"{due['event']['module']}."
    return all(
        values <= theirs.get(path, set())
        for path, values in ours.items()
        if not path.startswith(OURS)
    ) and all(
        values <= ours.get(path, set())
        for path, values in theirs.items()
        if path.startswith(vendor)
    )


def _leaves(event: Event) -> Dict[str, Set[str]]:
    """Path -> the values that stand there, in one spelling. A cluster may give back a list of
    one as its item, and sorted, and names with dots."""
    found: Dict[str, Set[str]] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for name, below in value.items():
                walk(below, f"{path}.{name}" if path else name)
        elif isinstance(value, list):
            for below in value:
                walk(below, path)
        elif value not in (None, ""):
            found.setdefault(path, set()).add(canonical(value))

    walk(event, "")
    return found


def _count(found: Found, dataset: str, hour: Millis, *kinds: str) -> None:
    found.hours.setdefault((dataset, hour), Counter()).update(kinds)


def rejected_ids(path: str) -> Set[str]:
    """Those that wait in `siemtap rejected`: kept, and so not missing."""
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return {id for (id,) in db.execute("SELECT id FROM rejected")}
    except sqlite3.Error:
        return set()


def report(found: Found) -> Iterator[str]:
    """A line per hour in which something is not as it should be, and the sum."""
    total: Counter[str] = Counter()
    for (dataset, hour), counts in sorted(found.hours.items()):
        total.update(counts)
        if set(counts) - {"due", "there"}:
            yield f"{rfc3339(hour)[:16]}Z  {dataset}  {counts['due']} due, {_told(counts)}"
    verdict = "; nothing is missing, nothing is twice"
    if set(total) - {"due", "there"}:
        verdict = f", {_told(total, False)}"
    yield f"in all: {total['due']} due, {total['there']} there{verdict}"


def _told(counts: Counter[str], there: bool = True) -> str:
    names = [*(("there",) if there else ()), "missing", "different", "twice", "extra", "rejected"]
    return ", ".join(f"{counts[name]} {name}" for name in names if counts[name])


def inputs_of(inputs: Tuple[Input, ...]) -> List[Input]:
    """Those that can be asked again: a vendor who is pulled about a past."""
    return [wish for wish in inputs if wish.every.enabled and hasattr(wish.settings, "lookback")]


def is_told(wish: Input) -> bool:
    """Whether something is pushed to it."""
    return bool(wish.receiving and (wish.receiving.listen or wish.receiving.syslog))


def left_out(inputs: Tuple[Input, ...]) -> Iterator[str]:
    """Say what is not compared, and why."""
    for wish in inputs:
        if wish.every.enabled and not hasattr(wish.settings, "lookback"):
            yield (
                f"{wish.id}: left out: what is pushed, or says of the moment, nobody can be asked"
                " for again"
            )
        elif wish.every.enabled and is_told(wish):
            yield f"{wish.id}: what is pushed to it is left out: nobody can be asked for it again"
