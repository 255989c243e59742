"""Overviews -> Kibana's saved objects: a data view, a list of events, a dashboard of Lens
panels. For Kibana 8.9 and newer, which migrate them."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

from ..core.forms import SEVERITIES
from .panels import EVENTS, NUMBER, OVER_TIME, SHARE, TOP, Overview, Panel

OLDEST = (8, 9)
# The oldest spelling that is still ours; Kibana brings it up to its own, and refuses what is newer
# than itself.
VERSIONS = {"index-pattern": "8.0.0", "search": "8.0.0", "dashboard": "8.9.0"}
CORE_VERSION = "8.8.0"
COLUMNS = 48  # of Kibana's grid
HEIGHTS = {NUMBER: 6, OVER_TIME: 12, SHARE: 11, TOP: 12, EVENTS: 20}
ABREAST = {NUMBER: 4, OVER_TIME: 2, SHARE: 4, TOP: 4, EVENTS: 1}
KINDS = {
    "keyword": "string",
    "constant_keyword": "string",
    "wildcard": "string",
    "ip": "ip",
    "long": "number",
    "double": "number",
    "float": "number",
    "date": "date",
    "boolean": "boolean",
}
SIZES = {OVER_TIME: 6, SHARE: 6, TOP: 10}
Saved = Dict[str, Any]
Types = Mapping[str, Mapping[str, Any]]  # path -> field mapping


class View(NamedTuple):
    """Where Kibana looks: a data view of our own, or one that is there already; and how the ids
    of what looks there begin."""

    id: str
    pattern: str = ""  # "": it is there already
    named: str = ""  # siemtap-<overview>, if nobody says

    def own(self, overview: Overview) -> str:
        return self.named or f"siemtap-{overview.name}"


def objects(overview: Overview, types: Types, view: View) -> List[Saved]:
    """In the order in which they refer to each other. KeyError for a panel of a field that the
    index does not have, or cannot count."""
    found = [_data_view(overview, view)] if view.pattern else []
    lists = [
        (panel, _search(overview, panel, types, view))
        for panel in overview.panels
        if panel.shape == EVENTS
    ]
    return [
        *found,
        *(search for _, search in lists),
        _dashboard(overview, types, view, {panel: search["id"] for panel, search in lists}),
    ]


def ndjson(saved: List[Saved]) -> str:
    return "".join(json.dumps(one, ensure_ascii=False, sort_keys=True) + "\n" for one in saved)


def _saved(
    kind: str, id: str, attributes: Dict[str, Any], references: List[Dict[str, str]]
) -> Saved:
    return {
        "type": kind,
        "id": id,
        "attributes": attributes,
        "references": references,
        "coreMigrationVersion": CORE_VERSION,
        "typeMigrationVersion": VERSIONS[kind],
    }


def _data_view(overview: Overview, view: View) -> Saved:
    return _saved(
        "index-pattern",
        view.id,
        {
            "title": view.pattern,
            "name": f"siemtap {overview.name}",
            "timeFieldName": "@timestamp",
            "allowNoIndex": True,
        },
        [],
    )


def _search(overview: Overview, panel: Panel, types: Types, view: View) -> Saved:
    for path in panel.columns:
        _kind(types, path, shown=True)
    source, references = _source(overview, view)
    source["query"] = _kql(*panel.only)
    source["indexRefName"] = "kibanaSavedObjectMeta.searchSourceJSON.index"
    references.append({"type": "index-pattern", "id": view.id, "name": source["indexRefName"]})
    attributes = {
        "title": overview.title.replace("Overview", panel.title),
        "columns": list(panel.columns),
        "sort": [["@timestamp", "desc"]],
        "grid": {},
        "hideChart": True,
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text(source)},
    }
    return _saved(
        "search", f"{view.own(overview)}-{_slug(panel)}", _revised(attributes), references
    )


def _dashboard(overview: Overview, types: Types, view: View, lists: Mapping[Panel, str]) -> Saved:
    source, references = _source(overview, view)
    panels = []
    for panel, grid in _laid(overview.panels):
        id = _slug(panel)
        here = {
            "version": VERSIONS["dashboard"],
            "gridData": {**grid, "i": id},
            "panelIndex": id,
            "title": panel.title,
        }
        if panel.shape == EVENTS:
            panels.append(
                {
                    **here,
                    "type": "search",
                    "embeddableConfig": {"enhancements": {}},
                    "panelRefName": f"panel_{id}",
                }
            )
            references.append({"type": "search", "id": lists[panel], "name": f"{id}:panel_{id}"})
        else:
            lens = _lens(panel, types, view)
            panels.append(
                {
                    **here,
                    "type": "lens",
                    "embeddableConfig": {
                        "attributes": lens,
                        "enhancements": {},
                        "hidePanelTitles": panel.shape == NUMBER,
                    },
                }
            )
            references += [{**one, "name": f"{id}:{one['name']}"} for one in lens["references"]]
    attributes = {
        "title": overview.title,
        "panelsJSON": _text(panels),
        "timeRestore": False,
        "version": 1,
        "optionsJSON": _text(
            {
                "useMargins": True,
                "syncColors": True,
                "syncCursor": True,
                "syncTooltips": False,
                "hidePanelTitles": False,
            }
        ),
        "kibanaSavedObjectMeta": {"searchSourceJSON": _text(source)},
    }
    return _saved("dashboard", view.own(overview), _revised(attributes), references)


def _revised(attributes: Dict[str, Any]) -> Dict[str, Any]:
    """Kibana rewrites what it keeps, so what it keeps cannot be compared with ours; this can."""
    revision = hashlib.sha256(_text(attributes).encode()).hexdigest()[:8]
    return {**attributes, "description": f"Made by siemtap, revision {revision}"}


def _source(overview: Overview, view: View) -> Tuple[Dict[str, Any], List[Dict[str, str]]]:
    """Of these datasets only, whatever else the data view matches."""
    names = [dataset.name for dataset in overview.datasets]
    field, reference = (
        "data_stream.dataset",
        "kibanaSavedObjectMeta.searchSourceJSON.filter[0].meta.index",
    )
    phrases = [{"match_phrase": {field: name}} for name in names]
    meta = {
        "alias": None,
        "disabled": False,
        "negate": False,
        "key": field,
        "field": field,
        "indexRefName": reference,
        "params": names,
        "type": "phrases",
        "value": names,
    }
    filter = {
        "$state": {"store": "appState"},
        "meta": meta,
        "query": {"bool": {"minimum_should_match": 1, "should": phrases}},
    }
    return {"query": _kql(), "filter": [filter]}, [
        {"type": "index-pattern", "id": view.id, "name": reference}
    ]


def _kql(field: str = "", value: str = "") -> Dict[str, str]:
    return {"language": "kuery", "query": f'{field}: "{value}"' if field else ""}


def _laid(panels: Tuple[Panel, ...]) -> Iterator[Tuple[Panel, Dict[str, int]]]:
    """From left to right, a new row where the shape changes or the row is full; the last row of
    a shape is stretched to the edge."""
    top = place = 0
    while place < len(panels):
        shape = panels[place].shape
        row = [panel for panel in panels[place : place + ABREAST[shape]] if panel.shape == shape]
        for number, panel in enumerate(row):
            left, right = (COLUMNS * edge // len(row) for edge in (number, number + 1))
            yield panel, {"x": left, "y": top, "w": right - left, "h": HEIGHTS[shape]}
        top += HEIGHTS[shape]
        place += len(row)


# Lens


def _lens(panel: Panel, types: Types, view: View) -> Dict[str, Any]:
    layer = "layer"
    if panel.only[0]:
        _kind(types, panel.only[0], shown=True)
    columns = {"measure": _measure(panel, types)}
    if panel.shape == OVER_TIME:
        columns = {"time": _time(), **columns}
    if panel.by:
        columns = {"by": _by(panel, types), **columns}
    kind, visualization = DRAWN[panel.shape](panel, layer)
    state = {
        "visualization": visualization,
        "query": _kql(*panel.only),
        "filters": [],
        "internalReferences": [],
        "adHocDataViews": {},
        "datasourceStates": {
            "formBased": {
                "layers": {
                    layer: {
                        "columns": columns,
                        "columnOrder": list(columns),
                        "incompleteColumns": {},
                        "sampling": 1,
                    }
                }
            }
        },
    }
    return {
        "title": panel.title,
        "type": "lens",
        "visualizationType": kind,
        "state": state,
        "references": [
            {
                "type": "index-pattern",
                "id": view.id,
                "name": f"indexpattern-datasource-layer-{layer}",
            }
        ],
    }


def _number(panel: Panel, layer: str) -> Tuple[str, Dict[str, Any]]:
    return "lnsMetric", {"layerId": layer, "layerType": "data", "metricAccessor": "measure"}


def _bars(panel: Panel, layer: str) -> Tuple[str, Dict[str, Any]]:
    series = "bar_stacked" if panel.measure in ("count", "sum") else "line"
    return "lnsXY", {
        "legend": {"isVisible": True, "position": "right"},
        "valueLabels": "hide",
        "preferredSeriesType": series,
        "layers": [
            {
                "layerId": layer,
                "layerType": "data",
                "seriesType": series,
                "xAccessor": "time",
                "accessors": ["measure"],
                "position": "top",
                "showGridlines": False,
                **({"splitAccessor": "by"} if panel.by else {}),
            }
        ],
    }


def _donut(panel: Panel, layer: str) -> Tuple[str, Dict[str, Any]]:
    return "lnsPie", {
        "shape": "donut",
        "layers": [
            {
                "layerId": layer,
                "layerType": "data",
                "primaryGroups": ["by"],
                "metrics": ["measure"],
                "numberDisplay": "percent",
                "categoryDisplay": "default",
                "legendDisplay": "default",
                "nestedLegend": False,
            }
        ],
    }


def _table(panel: Panel, layer: str) -> Tuple[str, Dict[str, Any]]:
    return "lnsDatatable", {
        "layerId": layer,
        "layerType": "data",
        "columns": [{"columnId": "by"}, {"columnId": "measure", "width": 90}],
    }


DRAWN = {NUMBER: _number, OVER_TIME: _bars, SHARE: _donut, TOP: _table}


def _measure(panel: Panel, types: Types) -> Dict[str, Any]:
    column = {
        "label": (
            panel.title
            if panel.shape == NUMBER
            else "Events"
            if panel.measure == "count"
            else panel.of
        ),
        "customLabel": True,
        "dataType": "number",
        "isBucketed": False,
        "scale": "ratio",
        "params": {"emptyAsNull": True},
    }
    if panel.measure == "count":
        return {**column, "operationType": "count", "sourceField": "___records___"}
    kind = _kind(types, panel.of)
    if panel.measure != "unique" and kind != "number":
        raise KeyError(f"{panel.title}: {panel.of} is no number")
    return {
        **column,
        "operationType": "unique_count" if panel.measure == "unique" else panel.measure,
        "sourceField": panel.of,
    }


def _time() -> Dict[str, Any]:
    return {
        "label": "@timestamp",
        "dataType": "date",
        "operationType": "date_histogram",
        "sourceField": "@timestamp",
        "isBucketed": True,
        "scale": "interval",
        "params": {"interval": "auto", "includeEmptyRows": True, "dropPartials": False},
    }


def _by(panel: Panel, types: Types) -> Dict[str, Any]:
    kind = _kind(types, panel.by)
    column = {"label": panel.by, "customLabel": True, "isBucketed": True, "scale": "ordinal"}
    if panel.by == "event.severity":  # numbers with names
        named = [
            {"input": {"language": "kuery", "query": f"event.severity: {number}"}, "label": name}
            for name, number in sorted(SEVERITIES.items(), key=lambda pair: -pair[1])
        ]
        return {
            **column,
            "dataType": "string",
            "operationType": "filters",
            "params": {"filters": named},
        }
    return {
        **column,
        "dataType": kind,
        "operationType": "terms",
        "sourceField": panel.by,
        "params": {
            "size": SIZES[panel.shape],
            "orderBy": {"type": "column", "columnId": "measure"},
            "orderDirection": "desc",
            "otherBucket": panel.shape != TOP,
            "missingBucket": False,
            "parentFormat": {"id": "terms"},
            "include": [],
            "exclude": [],
            "includeIsRegex": False,
            "excludeIsRegex": False,
        },
    }


def _kind(types: Types, path: str, shown: bool = False) -> str:
    """Lens's name for a field's type. KeyError where there is none, or it cannot be told apart."""
    if path == "@timestamp":
        return "date"
    kind = str(types[path]["type"])
    return KINDS.get(kind, "string") if shown else KINDS[kind]


def _slug(panel: Panel) -> str:
    """An id that says what it is, and that stays when a panel is put elsewhere."""
    words = (
        f"{panel.title} {panel.shape}" if panel.shape in (NUMBER, EVENTS, SHARE) else panel.title
    )
    return "-".join("".join(char if char.isalnum() else " " for char in words.lower()).split())


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
