"""The search of the embedded store on the status page: a form, a table, one event as JSON."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import islice
from typing import Any, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import urlencode

from ...core.convert import rfc3339
from ...core.errors import ConfigError
from ...core.settings import SEVERITIES
from ...core.windows import Millis
from ...edge.printable import UNSAFE, printable
from ...edge.store.checkpoints import to_sqlite
from ...edge.store.snapshot import Snapshot
from ..events.search import Query, Search, severity_numbers, spelled_as_stored, time_range
from ..events.table import Row, row_of
from .answers import SECONDS, Answer, Fields, html_answer
from .page import BOTTOM, escape, render_top

ROWS = 100  # of the table
OPTIONS = 500  # of a list to choose from
PERIODS = {"": "any time", "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days"}
LISTS = ("source", "dataset", "input", "action")


class Result(NamedTuple):
    """What a search gave. `older`: the query string for older events; "" if there are none.
    `note`: how far the search came."""

    rows: List[Tuple[str, Row]]  # (id, cells)
    older: str
    note: str


def answer_events(shipper: Any, fields: Fields) -> Answer:
    """Return the page with the form, and with the events that match it."""
    if not shipper.config.has_store:
        return html_answer(_render_elsewhere(shipper.config))
    query = Query()
    result: Optional[Result] = None
    error = ""
    with closing(open_store(shipper)) as snapshot:
        try:
            query = query_of(fields, shipper.clock.now())
            result = search(snapshot, query, fields)
        except ConfigError as mistake:
            error = str(mistake)
    return html_answer(_render(shipper, fields, query, result, error), 400 if error else 200)


def answer_event(shipper: Any, fields: Fields) -> Answer:
    """Return the page of one stored event, by its `id`."""
    return answer_json(shipper, fields, "event", "/events")


def answer_json(shipper: Any, fields: Fields, table: str, address: str) -> Answer:
    """Return a page with an event of a table as JSON. `address`: of the page with all of them."""
    id = _first(fields, "id")
    rows: List[Tuple[Any, ...]] = []
    with closing(open_store(shipper)) as snapshot:
        if snapshot.has_table(table):
            rows = snapshot.read(f"SELECT event FROM {table} WHERE id = ?", to_sqlite([id]))
    return html_answer(_render_json(id, rows[0][0] if rows else "", address), 200 if rows else 404)


def open_store(shipper: Any) -> Snapshot:
    """Return the shipper's database, opened for reading. Raise ConfigError if it was replaced."""
    shipper.database.check()
    return Snapshot(shipper.database.path)


def query_of(fields: Fields, now: Millis) -> Query:
    """Return the query of a form. Raise ConfigError for what it cannot mean."""
    since, start, stop = (_first(fields, name) for name in ("since", "from", "to"))
    first, last = time_range(since, start, stop, now)
    lists = {name: tuple(map(str.strip, fields.get(name, ()))) for name in LISTS}
    return Query(
        first,
        last,
        source=spelled_as_stored(lists.pop("source")),
        severity=severity_numbers(fields.get("severity", ())),
        text=_first(fields, "text"),
        before=_first(fields, "before"),
        **lists,
    )


def _first(fields: Fields, name: str) -> str:
    return next(iter(fields.get(name, ())), "").strip()


def search(snapshot: Snapshot, query: Query, fields: Fields, seconds: float = SECONDS) -> Result:
    """Return the newest events that match, at most ROWS of them."""
    running = Search(snapshot, query, seconds)
    hits = iter(running)
    rows = [(hit.id, row_of(hit)) for hit in islice(hits, ROWS)]
    if len(rows) == ROWS and next(hits, None):
        return Result(rows, _address(fields, before=rows[-1][0]), f"the newest {ROWS} events")
    number = f"{len(rows):,} event{'' if len(rows) == 1 else 's'}"
    if running.finished:
        return Result(rows, "", number if rows else "no event matches")
    if running.reached is None:
        return Result(rows, "", f"{number}; the search ended after {seconds:g} s; try again")
    back = rfc3339(running.reached)
    return Result(
        rows,
        _address(fields, to=rfc3339(running.reached + 1)),
        f"{number} back to {back[:19]}Z, where the search ended after {seconds:g} s",
    )


def _address(fields: Fields, **changed: str) -> str:
    """Return the query string of the same search that begins elsewhere."""
    kept = [(name, values) for name, values in fields.items() if name not in ("before", *changed)]
    return urlencode([*kept, *changed.items()], doseq=True)


def _render_elsewhere(config: Any) -> Iterator[str]:
    places = "; ".join(
        f"with {output.section} the events are {output.location}" for output in config.outputs
    )
    yield from render_top("events", "/events")
    yield (
        '<section><h2>Events</h2><p id="elsewhere">This page searches the embedded store, the'
        f" output sqlite; {escape(printable(places))}.</p></section>"
    )
    yield BOTTOM


def _render(
    shipper: Any, fields: Fields, query: Query, result: Optional[Result], error: str
) -> Iterator[str]:
    yield from render_top("events", "/events")
    yield '<div class="grid"><section class="wide">'
    yield from _render_form(shipper, fields, query)
    yield "</section>"
    if error:
        yield f'<p class="error wide" id="error">{escape(printable(error))}</p>'
    if result:
        yield from _render_result(result)
    yield "</div>"
    yield BOTTOM


def _render_form(shipper: Any, fields: Fields, query: Query) -> Iterator[str]:
    inputs = [running.input_config for running in list(shipper.inputs.values())]
    datasets = {dataset.name for each in inputs for dataset in each.datasets}
    if shipper.health_events:
        datasets.add("siemtap.health")
    actions = [name for name, _ in shipper.tally.top("action", 30)]
    yield '<form id="search" action="/events">'
    yield _text("text", "Text in any field", fields)
    yield _select("since", "Time", PERIODS, fields)
    since = _first(fields, "since")
    yield _moment("from", None if since else query.start)
    yield _moment("to", query.stop)
    yield _select("dataset", "Dataset", _choices(datasets), fields)
    yield _select("input", "Input", _choices(shipper.inputs), fields)
    yield _text("source", "Source address", fields)
    yield _text("action", "Action", fields, "actions")
    yield "<fieldset><legend>Severity</legend>"
    for name in SEVERITIES:
        checked = " checked" if name in fields.get("severity", ()) else ""
        yield (
            f'<label><input type="checkbox" name="severity" value="{name}"{checked}>'
            f'<span class="{name}">{name}</span></label>'
        )
    yield "</fieldset><button>Search</button>"
    yield '<datalist id="actions">'
    yield "".join(f'<option value="{escape(name)}">' for name in actions)
    yield "</datalist></form>"


def _choices(names: Iterable[str]) -> Mapping[str, str]:
    return {"": "any", **{name: name for name in sorted(names)[:OPTIONS]}}


def _text(name: str, label: str, fields: Fields, choices: str = "") -> str:
    more = f' list="{choices}"' if choices else ""
    return (
        f'<label>{label}<input name="{name}" value="{escape(_first(fields, name))}"'
        f' maxlength="200" autocomplete="off"{more}></label>'
    )


def _select(name: str, label: str, choices: Mapping[str, str], fields: Fields) -> str:
    chosen = _first(fields, name)
    options = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>'
        f"{escape(shown)}</option>"
        for value, shown in {**choices, chosen: choices.get(chosen, chosen)}.items()
    )
    return f'<label>{label}<select name="{name}">{options}</select></label>'


def _moment(name: str, time: Optional[Millis]) -> str:
    value = "" if time is None else rfc3339(time)[:-1].removesuffix(".000").removesuffix(":00")
    return (
        f'<label>{name.capitalize()} (UTC)<input type="datetime-local" step="any" name="{name}"'
        f' value="{value}"></label>'
    )


def _render_result(result: Result) -> Iterator[str]:
    yield f'<section class="wide"><p class="soft" id="note">{escape(result.note)}</p>'
    if result.rows:
        yield '<table id="events"><tr>'
        yield "".join(f"<th>{name}</th>" for name in Row._fields) + "</tr>"
    for id, row in result.rows:
        address = urlencode({"id": id})
        yield (
            f'<tr><td class="name"><a href="/event?{address}" title="the whole event">'
            f'{row.time[:19]}Z</a></td><td class="{row.severity}">{row.severity}</td>'
            f'<td class="name">{escape(row.dataset)}</td><td>{escape(row.action)}</td>'
            f"<td>{escape(row.source)}</td>"
            f'<td class="long">{escape(row.event)}</td></tr>'
        )
    if result.rows:
        yield "</table>"
    if result.older:
        yield f'<p><a id="older" href="/events?{escape(result.older)}">older events</a></p>'
    yield "</section>"


def _render_json(id: str, text: str, address: str) -> Iterator[str]:
    yield from render_top("event", address)
    yield f"<section><h2>{escape(printable(id[:100]))}</h2>"
    if text:
        yield f'<pre id="event">{escape(_pretty(text))}</pre>'
    else:
        yield '<p class="error">There is no such event any more, or there never was.</p>'
    yield f'</section><p><a href="{address}">back to all</a></p>'
    yield BOTTOM


def _pretty(text: str) -> str:
    """Return JSON with line ends, and what could mislead the eye escaped as JSON does."""
    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):  # a rejected event may be damaged: shown as it is
        pass
    return "\n".join(
        UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", line) for line in text.split("\n")
    )
