"""Render the dashboards of an add-on, in Simple XML 1.1, and its menu."""

from __future__ import annotations

from typing import Container, Iterable, List, Mapping, NamedTuple, Tuple
from urllib.parse import quote
from xml.sax.saxutils import escape

from ...core.model import Plugin
from ...edge.splunk.serializer import sourcetype
from ..runtime.names import addon
from .knowledge import attacks

# (title, CIM field) of the numbers of different values
NUMBERS = (("Attackers", "src"), ("Rules", "signature"))
# (CIM field, title) of the top ten tables
TOPS = (
    ("signature", "Rules"),
    ("src", "Attackers"),
    ("category", "Categories"),
    ("dest", "Targets"),
    ("site", "Sites"),
    ("uri_path", "Paths"),
    ("user", "Users"),
)
# CIM fields of the two searches that the panels share. Each counts combinations of values, so it
# has few rows: a shared search keeps 500,000 results at most. Paths and users have too many values.
OVER_TIME = ("action", "severity", "signature")
SOURCES = ("src", "category", "dest", "site")
NO_VALUE = "-"  # of a field that an event does not have: `stats by` would leave the event out
# CIM fields of the table of events
COLUMNS = (
    "action",
    "severity",
    "signature",
    "src",
    "user",
    "dest",
    "site",
    "url",
    "dest_port",
    "attack_code",
)
# A click on a value sets the filter of the page.
FILTER = (
    '<input type="text" token="only" searchWhenChanged="true"><label>Filter</label>'
    "<default>*</default></input>"
)


class Source(NamedTuple):
    """Where a panel's results come from: a search of its own, or what is done with a shared one."""

    query: str
    base: str = ""  # the id of a shared search


def overview(plugin: Plugin) -> str:
    """Return the dashboard of the attacks: numbers, charts, a map, top tables, the last events."""
    known = attacks(plugin)
    title, description = f"{plugin.title}: overview", "Attacks: numbers, sources and outcomes."
    if not known:
        return _form(title, description, {}, [])
    search, fields = f"{known.search} $only$", known.fields
    over_time = [field for field in OVER_TIME if field in fields]
    sources = [field for field in SOURCES if field in fields]
    shared = {
        "over_time": f"{search} | fillnull value={NO_VALUE} {' '.join(over_time)} | bin span=10m"
        f" _time | stats count by _time {' '.join(over_time)}",
        "sources": f"{search} | fillnull value={NO_VALUE} {' '.join(sources)} | stats count by"
        f" {' '.join(sources)}",
    }
    used = {name: query for name, query in shared.items() if not query.endswith(" by ")}
    return _form(title, description, used, _attack_rows(search, fields), FILTER)


def _attack_rows(search: str, fields: Container[str]) -> List[str]:
    """Return the rows of the attacks that a search finds, and that have these CIM fields."""
    numbers = [_panel("single", "Attacks", Source(TOTAL, "over_time"))]
    numbers += [
        _panel("single", title, _shared(field, f"stats dc({field})"))
        for title, field in NUMBERS
        if field in fields
    ]
    tops = [_top(field, title, search) for field, title in TOPS if field in fields]
    columns = [name for name in COLUMNS if name in fields]
    shown = "".join(f', "{name}"' for name in columns)
    event = f"search?q={quote(search.replace(' $only$', ''))}%20event.id%3D$row.id|u$"
    latest = _panel(
        "table",
        "Latest attacks",
        Source(f"{search} | head 100 | rename event.id as id | table _time {' '.join(columns)} id"),
        {"drilldown": "row"},
        inside=f'<fields>["_time"{shown}]</fields>{_link(event)}',
    )
    top_rows = [_row(*tops[start : start + 3]) for start in range(0, len(tops), 3)]
    return [_row(*numbers), *_charts(fields), *top_rows, _row(latest)]


TOTAL = "stats sum(count) as count | fillnull value=0 count"


def _shared(field: str, query: str) -> Source:
    """Return what a panel does with the shared search that has a field, of the events with it."""
    base = "over_time" if field in OVER_TIME else "sources"
    return Source(f'search {field}!="{NO_VALUE}" | {query}', base)


def _top(field: str, title: str, search: str) -> str:
    """Return a top ten table; a click on a value filters the page by it."""
    source = Source(f"{search} {field}=* | top limit=10 showperc=f {field}")
    if field in (*OVER_TIME, *SOURCES):
        source = _shared(field, f"stats sum(count) as count by {field} | sort 10 - count")
    return _panel("table", title, source, {"drilldown": "row"}, inside=_filter(field, "value"))


def _filter(field: str, clicked: str) -> str:
    """Return the drill-down that filters the page by the value clicked on. `clicked`: the part of
    the click that has it."""
    return f'<drilldown><set token="form.only">{field}=$click.{clicked}|s$</set></drilldown>'


def _link(target: str) -> str:
    """Return the drill-down that opens a page for the time of this one."""
    address = f"{target}&earliest=$when.earliest$&latest=$when.latest$"
    return f'<drilldown><link target="_blank">{escape(address)}</link></drilldown>'


def _charts(fields: Container[str]) -> List[str]:
    """Return the rows of charts: actions, rules and severity over time; the map of sources. A
    chart of a CIM field that the events do not have is left out."""
    share = Source("stats sum(count) as count by action", "over_time")
    actions = _over_time("Actions over time", "action", "column")
    action_share = _chart("Actions", share, "pie", inside=_filter("action", "value"))
    rules = _over_time("Rules over time", "signature", "area", "limit=10 ")
    severity = _over_time("Severity over time", "severity", "column")
    places = _shared(
        "src",
        "stats sum(count) as count by src | iplocation src | geostats latfield=lat longfield=lon"
        " sum(count) as count",
    )
    sources = _panel("map", "Source locations", places, {"mapping.type": "marker"})
    rows = (
        (("action", actions), ("action", action_share)),
        (("signature", rules), ("severity", severity)),
        (("src", sources),),
    )
    present = [[chart for field, chart in row if field in fields] for row in rows]
    return [_row(*charts) for charts in present if charts]


def _over_time(title: str, field: str, kind: str, limit: str = "") -> str:
    source = Source(f"timechart {limit}sum(count) by {field}", "over_time")
    return _chart(title, source, kind, stacked=True, inside=_filter(field, "name2"))


def health(plugin: Plugin) -> str:
    """Return the dashboard of the inputs: volume, latency, runs, log, errors, licence usage."""
    root = addon(plugin).root
    types = sourcetype(plugin.name + ".*")
    events = f"`{root}_index` sourcetype={types}"
    log = f"index=_internal sourcetype={root}:log"
    shared = {
        "events": f"| tstats count max(_time) as last max(_indextime) as arrived where {events}"
        " by source sourcetype _time span=1h",
        "log": f"{log} | stats count max(_time) as last by level input message",
    }
    numbers = (
        _panel("single", "Events", Source(TOTAL, "events")),
        _panel("single", "Active inputs", Source("stats dc(source)", "events")),
        _panel("single", "Errors", Source(f"search level=ERROR | {TOTAL}", "log")),
    )
    latency = _chart(
        "Indexing latency in seconds",
        Source(
            f"{events} | eval late=_indextime-_time | timechart p50(late) as p50 p95(late) as"
            " p95 max(late) as max"
        ),
        "line",
    )
    volume = _chart(
        "Events by input",
        Source("timechart span=1h sum(count) by source", "events"),
        "column",
        stacked=True,
    )
    inputs = _panel(
        "table",
        "Inputs",
        Source(
            "stats sum(count) as events max(last) as last max(arrived) as arrived by source"
            " sourcetype | eval seconds=now()-arrived | sort - seconds | eval"
            f' silent=tostring(seconds, "duration") | fields - seconds arrived | {_as_time("last")}',
            "events",
        ),
        inside=_link(f"search?q={quote(events)}%20source%3D%22$row.source|u$%22"),
    )
    pipeline_errors = _panel(
        "table",
        "Pipeline errors",
        Source(
            f"{events} event.kind=pipeline_error | stats count max(_time) as last by source"
            f" error.message | {_as_time('last')}"
        ),
    )
    licence = _chart(
        "License usage in megabytes a day",
        Source(
            "index=_internal source=*license_usage.log* type=Usage"
            f" st={types} | eval MB=b/1048576 | timechart span=1d sum(MB) by st"
        ),
        "column",
        stacked=True,
    )
    return _form(
        f"{plugin.title}: health",
        "Inputs: volume, latency, runs, log and errors.",
        shared,
        [
            _row(*numbers),
            _row(latency, volume),
            _row(inputs, *_progress(root)),
            _row(pipeline_errors),
            _row(*_log_tables(log)),
            _row(licence),
        ],
    )


def _progress(root: str) -> Tuple[str, ...]:
    """Return the tables of how far the inputs have read: by their log, which a search head has, and
    by their checkpoints, which are in the KV store of the machine where they run."""
    runs = Source(
        'rex field=message "(?<events>[0-9]+) events" | where isnotnull(events) | eval'
        " events=events*count | stats max(last) as last sum(count) as runs sum(events) as events"
        f" by input | sort last | {_as_time('last')}",
        "log",
    )
    checkpoints = Source(
        f'| inputlookup {root}_checkpoints | eval until=strftime(until/1000, "%F %T") |'
        " table input unit until"
    )
    return (
        _panel("table", "Runs", runs),
        _panel("table", "Checkpoints (where the inputs run)", checkpoints),
    )


def _log_tables(log: str) -> Tuple[str, ...]:
    """Return the tables of the inputs' own log: what went wrong, and all of it."""
    newest = f"sort 200 - last | table last level input message count | {_as_time('last')}"
    of_input = _link(f"search?q={quote(log)}%20input%3D%22$row.input|u$%22")
    wrong = Source(f"search level IN (ERROR, WARNING) | {newest}", "log")
    return (
        _panel("table", "Errors and warnings of the inputs", wrong, inside=of_input),
        _panel("table", "Log of the inputs", Source(newest, "log"), inside=of_input),
    )


def _as_time(field: str) -> str:
    return f'fieldformat {field}=strftime({field}, "%F %T")'


def _form(
    title: str,
    description: str,
    shared: Mapping[str, str],
    rows: Iterable[str],
    inputs: str = "",
) -> str:
    """Return a dashboard with a time picker. `shared`: id -> search of several panels.

    It names no theme and no colour: both are those that the reader has chosen in Splunk.
    """
    time = (
        '<fieldset submitButton="false"><input type="time" token="when"><label>Time</label>'
        "<default><earliest>-24h@h</earliest><latest>now</latest></default></input>"
        f"{inputs}</fieldset>"
    )
    searches = [f'<search id="{name}">{_query(query)}</search>' for name, query in shared.items()]
    head = [
        f"<label>{escape(title)}</label>",
        f"<description>{escape(description)}</description>",
        *searches,
        time,
    ]
    return "\n".join(['<form version="1.1">', *head, *rows, "</form>", ""])


def _row(*panels: str) -> str:
    return "<row>" + "".join(panels) + "</row>"


def _query(query: str) -> str:
    return (
        f"<query>{escape(query)}</query><earliest>$when.earliest$</earliest>"
        "<latest>$when.latest$</latest>"
    )


def _panel(
    shape: str, title: str, source: Source, options: Mapping[str, str] = {}, inside: str = ""
) -> str:
    """Return a panel. `shape`: the element of Simple XML, such as single, chart, table or map;
    `inside`: what else stands in it, such as a drill-down."""
    search = f"<search>{_query(source.query)}</search>"
    if source.base:
        search = f'<search base="{source.base}"><query>{escape(source.query)}</query></search>'
    settings = "".join(
        f'<option name="{name}">{escape(value)}</option>' for name, value in options.items()
    )
    return f"<panel><title>{escape(title)}</title><{shape}>{search}{settings}{inside}</{shape}></panel>"


def _chart(title: str, source: Source, kind: str, stacked: bool = False, inside: str = "") -> str:
    options = {"charting.chart": kind}
    if stacked:
        options["charting.chart.stackMode"] = "stacked"
    return _panel("chart", title, source, options, inside)


def nav(plugin: Plugin) -> str:
    """Return the add-on's menu; it opens on the configuration page."""
    views = ("overview", "health", "inputs", "configuration", "search")
    default = {"configuration": ' default="true"'}
    items = "".join(f'<view name="{view}"{default.get(view, "")}/>' for view in views)
    return f"<nav>{items}</nav>\n"
