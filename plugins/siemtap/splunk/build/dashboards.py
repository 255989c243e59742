"""Render the dashboards of an add-on, in Simple XML 1.1, and its menu."""

from __future__ import annotations

from typing import Container, Iterable, List, Mapping
from xml.sax.saxutils import escape

from ...core.model import Plugin
from ...edge.splunk.serializer import sourcetype
from ..runtime.names import addon
from .knowledge import attacks

# (title, aggregation, the CIM field that it needs) of the single values
NUMBERS = (
    ("Attacks", "count", ""),
    ("Attackers", "dc(src)", "src"),
    ("Rules", "dc(signature)", "signature"),
)
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


def overview(plugin: Plugin) -> str:
    """Return the dashboard of the attacks: numbers, charts, a map, top tables, the last events."""
    known = attacks(plugin)
    rows = _attack_rows(*known) if known else []
    return _form(f"{plugin.title}: overview", "Attacks: numbers, sources and outcomes.", rows)


def _attack_rows(search: str, fields: Container[str]) -> List[str]:
    """Return the rows of the attacks that a search finds, and that have these CIM fields."""
    numbers = [
        _panel("single", title, f"{search} | stats {count}")
        for title, count, field in NUMBERS
        if not field or field in fields
    ]
    tops = [
        _panel("table", title, f"{search} {field}=* | top limit=10 {field}")
        for field, title in TOPS
        if field in fields
    ]
    columns = " ".join(name for name in COLUMNS if name in fields)
    latest = _panel(
        "table",
        "Latest attacks",
        f"{search} | head 100 | table _time {columns}",
        {"drilldown": "row"},
    )
    top_rows = [_row(*tops[start : start + 3]) for start in range(0, len(tops), 3)]
    return [_row(*numbers), *_charts(search, fields), *top_rows, _row(latest)]


def _charts(search: str, fields: Container[str]) -> List[str]:
    """Return the rows of charts: actions, rules and severity over time; the map of sources. A
    chart of a CIM field that the events do not have is left out."""
    actions = _chart(
        "Actions over time", f"{search} | timechart count by action", "column", stacked=True
    )
    action_share = _chart("Actions", f"{search} | stats count by action", "pie")
    rules = _chart(
        "Rules over time",
        f"{search} | timechart limit=10 count by signature",
        "area",
        stacked=True,
    )
    severity = _chart(
        "Severity over time", f"{search} | timechart count by severity", "column", stacked=True
    )
    sources = _panel(
        "map",
        "Source locations",
        f"{search} | iplocation src | geostats latfield=lat longfield=lon count",
        {"mapping.type": "marker"},
    )
    rows = (
        (("action", actions), ("action", action_share)),
        (("signature", rules), ("severity", severity)),
        (("src", sources),),
    )
    present = [[chart for field, chart in row if field in fields] for row in rows]
    return [_row(*charts) for charts in present if charts]


def health(plugin: Plugin) -> str:
    """Return the dashboard of the inputs: volume, latency, checkpoints, errors, licence usage."""
    root = addon(plugin).root
    events = f"`{root}_index` sourcetype={sourcetype(plugin.name + '.*')}"
    log = f"index=_internal sourcetype={root}:log"
    numbers = (
        _panel("single", "Events", f"{events} | stats count"),
        _panel("single", "Active inputs", f"{events} | stats dc(source)"),
        _panel("single", "Errors", f"{log} level=ERROR | stats count"),
    )
    latency = _chart(
        "Indexing latency in seconds",
        f"{events} | eval late=_indextime-_time | timechart p50(late) as p50 p95(late) as"
        " p95 max(late) as max",
        "line",
    )
    volume = _chart(
        "Events by input", f"{events} | timechart count by source", "column", stacked=True
    )
    inputs = _panel(
        "table",
        "Inputs",
        f"{events} | stats count as events max(_time) as last by source sourcetype | eval"
        ' silent=tostring(round(now()-last), "duration") | fieldformat'
        ' last=strftime(last, "%F %T") | sort - silent',
    )
    checkpoints = _panel(
        "table",
        "Checkpoints",
        f'| inputlookup {root}_checkpoints | eval until=strftime(until/1000, "%F %T") |'
        " table input unit until",
    )
    pipeline_errors = _panel(
        "table",
        "Pipeline errors",
        f"{events} event.kind=pipeline_error | stats count max(_time) as last by source"
        ' error.message | fieldformat last=strftime(last, "%F %T")',
    )
    log_errors = _panel(
        "table",
        "Errors and warnings of the inputs",
        f"{log} level IN (ERROR, WARNING) | stats count max(_time) as last by input"
        ' message | fieldformat last=strftime(last, "%F %T") | sort - last',
    )
    licence = _chart(
        "License usage in megabytes a day",
        "index=_internal source=*license_usage.log* type=Usage"
        f" st={sourcetype(plugin.name + '.*')} | eval MB=b/1048576 | timechart span=1d"
        " sum(MB) by st",
        "column",
        stacked=True,
    )
    return _form(
        f"{plugin.title}: health",
        "Inputs: volume, latency, checkpoints and errors.",
        [
            _row(*numbers),
            _row(latency, volume),
            _row(inputs, checkpoints),
            _row(pipeline_errors),
            _row(log_errors),
            _row(licence),
        ],
    )


def _form(title: str, description: str, rows: Iterable[str]) -> str:
    """Return a dashboard with a time picker."""
    time = (
        '<fieldset submitButton="false"><input type="time"'
        ' token="when"><label>Time</label><default><earliest>-24h@h</earliest><latest>now</latest></default></input></fieldset>'
    )
    return (
        '<form version="1.1"'
        f' theme="light">\n<label>{escape(title)}</label>\n<description>{escape(description)}</description>\n{time}\n'
        + "\n".join(rows)
        + "\n</form>\n"
    )


def _row(*panels: str) -> str:
    return "<row>" + "".join(panels) + "</row>"


def _panel(shape: str, title: str, search: str, options: Mapping[str, str] = {}) -> str:
    """Return a panel. `shape`: the element of Simple XML, such as single, chart, table or map."""
    option_tags = "".join(
        f'<option name="{name}">{escape(value)}</option>' for name, value in options.items()
    )
    return f"<panel><title>{escape(title)}</title><{shape}><search><query>{escape(search)}</query><earliest>$when.earliest$</earliest><latest>$when.latest$</latest></search>{option_tags}</{shape}></panel>"


def _chart(title: str, search: str, kind: str, stacked: bool = False) -> str:
    options = {"charting.chart": kind}
    if stacked:
        options["charting.chart.stackMode"] = "stacked"
    return _panel("chart", title, search, options)


def nav(plugin: Plugin) -> str:
    """Return the add-on's menu; it opens on the configuration page."""
    views = ("overview", "health", "inputs", "configuration", "search")
    default = {"configuration": ' default="true"'}
    items = "".join(f'<view name="{view}"{default.get(view, "")}/>' for view in views)
    return f"<nav>{items}</nav>\n"
