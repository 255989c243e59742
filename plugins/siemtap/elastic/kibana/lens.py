"""Lens visualizations of Kibana: one for each panel of an overview that shows numbers."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Tuple

from ...core.settings import SEVERITIES
from ...render.panels import NUMBER, OVER_TIME, SHARE, TOP, Panel

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
Types = Mapping[str, Mapping[str, Any]]  # path -> field mapping


def visualization_of(panel: Panel, types: Types, view_id: str) -> Dict[str, Any]:
    """Return the Lens visualization of a panel, on the data view with this id."""
    layer = "layer"
    if panel.only[0]:
        lens_type(types, panel.only[0], only_shown=True)
    columns = {"measure": _measure(panel, types)}
    if panel.shape == OVER_TIME:
        columns = {"time": _time(), **columns}
    if panel.by:
        columns = {"by": _split(panel, types), **columns}
    kind, visualization = VISUALIZATIONS[panel.shape](panel, layer)
    state = {
        "visualization": visualization,
        "query": kql(*panel.only),
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
                "id": view_id,
                "name": f"indexpattern-datasource-layer-{layer}",
            }
        ],
    }


def _metric(panel: Panel, layer: str) -> Tuple[str, Dict[str, Any]]:
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


VISUALIZATIONS = {NUMBER: _metric, OVER_TIME: _bars, SHARE: _donut, TOP: _table}


def _measure(panel: Panel, types: Types) -> Dict[str, Any]:
    label = panel.of
    if panel.shape == NUMBER:
        label = panel.title
    elif panel.measure == "count":
        label = "Events"
    column = {
        "label": label,
        "customLabel": True,
        "dataType": "number",
        "isBucketed": False,
        "scale": "ratio",
        "params": {"emptyAsNull": True},
    }
    if panel.measure == "count":
        return {**column, "operationType": "count", "sourceField": "___records___"}
    kind = lens_type(types, panel.of)
    if panel.measure != "unique" and kind != "number":
        raise KeyError(f"{panel.title}: {panel.of} is not a number")
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


def _split(panel: Panel, types: Types) -> Dict[str, Any]:
    kind = lens_type(types, panel.by)
    column = {"label": panel.by, "customLabel": True, "isBucketed": True, "scale": "ordinal"}
    if panel.by == "event.severity":  # numbers that have names
        filters = [
            {"input": {"language": "kuery", "query": f"event.severity: {number}"}, "label": name}
            for name, number in sorted(SEVERITIES.items(), key=lambda pair: -pair[1])
        ]
        return {
            **column,
            "dataType": "string",
            "operationType": "filters",
            "params": {"filters": filters},
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


def lens_type(types: Types, path: str, only_shown: bool = False) -> str:
    """Return the name that Lens has for a field's type.

    Raise KeyError for a field that does not exist, or that cannot be aggregated unless it is only
    shown.
    """
    if path == "@timestamp":
        return "date"
    kind = str(types[path]["type"])
    if only_shown:
        return KINDS.get(kind, "string")
    return KINDS[kind]


def kql(field: str = "", value: str = "") -> Dict[str, str]:
    return {"language": "kuery", "query": f'{field}: "{value}"' if field else ""}
