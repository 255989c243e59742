"""Render the dashboard of an add-on's attacks, in Dashboard Studio: a definition in JSON, inside of
a view of version 2.

The form is that of Splunk 9.3, the oldest that the add-ons run on; newer ones read it too. It names
no theme and no colour.
"""

from __future__ import annotations

import json
from typing import Any, Container, Dict, Iterable, List, Mapping, NamedTuple, Sequence
from urllib.parse import quote
from xml.sax.saxutils import escape

from ....core.model import Plugin
from ...runtime.names import addon
from ..knowledge import attacks

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
TOTAL = "stats sum(count) as count | fillnull value=0 count"
WIDTH = 1200  # of the page; a row of panels fills it
HEIGHTS = {  # of a row, by the type of its first panel
    "splunk.singlevalue": 120,
    "splunk.column": 300,
    "splunk.area": 300,
    "splunk.map": 400,
    "splunk.table": 400,
}
NOTHING: Mapping[str, Any] = {}
LARGEST_PAGE = 20  # rows of the table of events on a page
PLACES = "geobin", "latitude", "longitude"  # what `geostats` makes beside the numbers
BUBBLES = {
    "type": "bubble",
    "latitude": '> primary | seriesByName("latitude")',
    "longitude": '> primary | seriesByName("longitude")',
    "bubbleSize": (
        f"> primary | frameWithoutSeriesNames({', '.join(map(json.dumps, PLACES))})"
        ' | frameBySeriesTypes("number")'
    ),
}


class Panel(NamedTuple):
    """A panel of the page.

    Attributes:
        type: The visualization, such as splunk.table.
        query: Its own search, or what is done with the results of a shared one.
        base: The name of the shared search.
        handler: What a click does, an event handler of a definition.
    """

    type: str
    title: str
    query: str
    base: str = ""
    options: Mapping[str, Any] = NOTHING
    handler: Mapping[str, Any] = NOTHING


def overview(plugin: Plugin) -> str:
    """Return the dashboard of the attacks: numbers, charts, a map, top tables, the last events."""
    label = f"{plugin.title}: overview"
    description = "Attacks: numbers, sources and outcomes."
    # the end of CDATA cannot stand in CDATA; in JSON the sign may be written by its number
    text = json.dumps(definition(plugin), indent=2).replace("]]>", "]]\\u003e")
    return (
        '<dashboard version="2">\n'
        f"<label>{escape(label)}</label>\n"
        f"<description>{escape(description)}</description>\n"
        f"<definition><![CDATA[\n{text}\n]]></definition>\n"
        "</dashboard>\n"
    )


def definition(plugin: Plugin) -> Dict[str, Any]:
    """Return the dashboard's definition."""
    known = attacks(plugin)
    shared: Dict[str, str] = {}
    rows: List[List[Panel]] = []
    if known:
        search = f"{known.search} $only$"
        over_time = [field for field in OVER_TIME if field in known.fields]
        sources = [field for field in SOURCES if field in known.fields]
        shared["over_time"] = (
            f"{search} | fillnull value={NO_VALUE} {' '.join(over_time)} | bin span=10m _time"
            f" | stats count by _time {' '.join(over_time)}"
        )
        if sources:
            names = " ".join(sources)
            shared["sources"] = (
                f"{search} | fillnull value={NO_VALUE} {names} | stats count by {names}"
            )
        rows = _attack_rows(plugin, search, known.fields)
    panels = {
        f"panel_{row}_{place}": panel
        for row, panels_of_row in enumerate(rows)
        for place, panel in enumerate(panels_of_row)
    }
    return {
        "title": f"{plugin.title}: overview",
        "description": "Attacks: numbers, sources and outcomes.",
        "inputs": _inputs(),
        "defaults": {
            "dataSources": {
                "ds.search": {
                    "options": {
                        "queryParameters": {
                            "earliest": "$when.earliest$",
                            "latest": "$when.latest$",
                        }
                    }
                }
            }
        },
        "dataSources": {
            **{name: _search(name, query) for name, query in shared.items()},
            **{f"search_of_{name}": _source(name, panel) for name, panel in panels.items()},
        },
        "visualizations": {name: _visualization(name, panel) for name, panel in panels.items()},
        "layout": {
            "type": "grid",
            "globalInputs": ["when", "only"],
            "structure": list(_structure(rows)),
        },
    }


def _attack_rows(plugin: Plugin, search: str, fields: Container[str]) -> List[List[Panel]]:
    """Return the rows of panels for the attacks that a search finds, and that have these CIM
    fields."""
    number = "splunk.singlevalue"
    numbers = [Panel(number, "Attacks", TOTAL, "over_time")]
    numbers += [
        _shared(number, title, field, f"stats dc({field})")
        for title, field in NUMBERS
        if field in fields
    ]
    tops = [_top(field, title, search) for field, title in TOPS if field in fields]
    columns = [name for name in COLUMNS if name in fields]
    latest = Panel(
        type="splunk.table",
        title="Latest attacks",
        query=(f"{search} | head 100 | rename event.id as id | table _time {' '.join(columns)} id"),
        options={"count": LARGEST_PAGE},
        handler=_open_event(plugin, search),
    )
    top_rows = [tops[start : start + 3] for start in range(0, len(tops), 3)]
    return [numbers, *_charts(fields), *top_rows, [latest]]


def _shared(
    type: str,
    title: str,
    field: str,
    query: str,
    options: Mapping[str, Any] = NOTHING,
    handler: Mapping[str, Any] = NOTHING,
) -> Panel:
    """Return a panel that goes on from the shared search that has a field, with the events that
    have it."""
    base = "over_time" if field in OVER_TIME else "sources"
    query = f'search {field}!="{NO_VALUE}" | {query}'
    return Panel(type, title, query, base, options, handler)


def _top(field: str, title: str, search: str) -> Panel:
    """Return a top ten table; a click on a row filters the page by its value."""
    handler = _filter(field, f"row.{field}.value")
    if field in (*OVER_TIME, *SOURCES):
        query = f"stats sum(count) as count by {field} | sort 10 - count"
        return _shared("splunk.table", title, field, query, handler=handler)
    query = f"{search} {field}=* | top limit=10 showperc=f {field}"
    return Panel("splunk.table", title, query, handler=handler)


def _charts(fields: Container[str]) -> List[List[Panel]]:
    """Return the rows of charts: actions, rules and severity over time; the map of sources. A
    chart of a CIM field that the events do not have is left out."""
    actions = _over_time("Actions over time", "action", "splunk.column")
    share = Panel(
        type="splunk.pie",
        title="Actions",
        query="stats sum(count) as count by action",
        base="over_time",
        handler=_filter("action", "row.action.value"),
    )
    rules = _over_time("Rules over time", "signature", "splunk.area", "limit=10 ")
    severity = _over_time("Severity over time", "severity", "splunk.column")
    query = (
        "stats sum(count) as count by src | iplocation src | geostats latfield=lat longfield=lon"
        " sum(count) as count"
    )
    sources = _shared("splunk.map", "Source locations", "src", query, {"layers": [BUBBLES]})
    rows = (
        (("action", actions), ("action", share)),
        (("signature", rules), ("severity", severity)),
        (("src", sources),),
    )
    present = [[chart for field, chart in row if field in fields] for row in rows]
    return [charts for charts in present if charts]


def _over_time(title: str, field: str, type: str, limit: str = "") -> Panel:
    """Return a chart of counts over time by the values of a field."""
    return Panel(
        type=type,
        title=title,
        query=f"timechart {limit}sum(count) by {field}",
        base="over_time",
        options={"stackMode": "stacked"},
        handler=_filter(field, "name"),
    )


# What a click does. The click's own values are tokens: `name` of the series, `row.<field>.value`.


def _filter(field: str, clicked: str) -> Dict[str, Any]:
    """Return the handler that filters the page by the value clicked on. `clicked`: the token that
    has it; Splunk puts it in quotation marks."""
    return {
        "type": "drilldown.setToken",
        "options": {"tokens": [{"token": "only", "value": f"{field}=${clicked}|s$"}]},
    }


def _open_event(plugin: Plugin, search: str) -> Dict[str, Any]:
    """Return the handler that searches for the event of a row, in the time of the page."""
    query = quote(search.replace(" $only$", ""))
    return {
        "type": "drilldown.customUrl",
        "options": {
            "url": (
                f"/app/{addon(plugin).name}/search?q={query}%20event.id%3D$row.id.value|u$"
                "&earliest=$when.earliest|u$&latest=$when.latest|u$"
            ),
            "newTab": True,
        },
    }


# The parts of a definition


def _inputs() -> Dict[str, Any]:
    return {
        "when": {
            "type": "input.timerange",
            "title": "Time",
            "options": {"token": "when", "defaultValue": "-24h@h,now"},
        },
        "only": {
            "type": "input.text",
            "title": "Filter",
            "options": {"token": "only", "defaultValue": "*"},
        },
    }


def _search(name: str, query: str) -> Dict[str, Any]:
    return {"type": "ds.search", "name": name, "options": {"query": query}}


def _source(name: str, panel: Panel) -> Dict[str, Any]:
    """Return the data source of a panel: a search, or one that goes on from a shared search."""
    title = f"{panel.title} ({name})"
    if not panel.base:
        return _search(title, panel.query)
    options = {"extend": panel.base, "query": f"| {panel.query}"}
    return {"type": "ds.chain", "name": title, "options": options}


def _visualization(name: str, panel: Panel) -> Dict[str, Any]:
    shown: Dict[str, Any] = {
        "type": panel.type,
        "title": panel.title,
        "dataSources": {"primary": f"search_of_{name}"},
        "options": panel.options,
    }
    if panel.handler:
        shown["eventHandlers"] = [panel.handler]
    return shown


def _structure(rows: Sequence[Sequence[Panel]]) -> Iterable[Dict[str, Any]]:
    """Yield where each panel stands: its row from the left to the right, the rows one below the
    other."""
    top = 0
    for row, panels in enumerate(rows):
        height = HEIGHTS[panels[0].type]
        width = WIDTH // len(panels)
        for place in range(len(panels)):
            position = {"x": place * width, "y": top, "w": width, "h": height}
            yield {"item": f"panel_{row}_{place}", "type": "block", "position": position}
        top += height
