"""Render the dashboard of an add-on's inputs, in Simple XML 1.1."""

from __future__ import annotations

from typing import Iterable, Mapping, NamedTuple, Tuple
from urllib.parse import quote
from xml.sax.saxutils import escape

from ....core.model import Plugin
from ....edge.splunk.serializer import sourcetype
from ...runtime.names import addon
from .overview import TOTAL


class Source(NamedTuple):
    """Where a panel's results come from: a search of its own, or what is done with a shared one."""

    query: str
    base: str = ""  # the id of a shared search


def _link(target: str) -> str:
    """Return the drill-down that opens a page for the time of this one."""
    address = f"{target}&earliest=$when.earliest$&latest=$when.latest$"
    return f'<drilldown><link target="_blank">{escape(address)}</link></drilldown>'


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
        'rex field=message "(?<events>[0-9]+) events" | rex field=message "read until'
        ' (?<read_until>[0-9TZ:.-]+)" | where isnotnull(events) | eval events=events*count'
        " | stats max(last) as last max(read_until) as read_until sum(count) as runs"
        " sum(events) as events"
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
) -> str:
    """Return a dashboard with a time picker. `shared`: id -> search of several panels.

    It names no theme and no colour: both are those that the reader has chosen in Splunk.
    """
    time = (
        '<fieldset submitButton="false"><input type="time" token="when"><label>Time</label>'
        "<default><earliest>-24h@h</earliest><latest>now</latest></default></input>"
        "</fieldset>"
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


def _chart(title: str, source: Source, kind: str, stacked: bool = False) -> str:
    options = {"charting.chart": kind}
    if stacked:
        options["charting.chart.stackMode"] = "stacked"
    return _panel("chart", title, source, options)
