"""A vendor's dashboards as saved objects of Kibana: a data view, saved searches, dashboards of Lens
panels.

Kibana 8.11 and newer, which have links panels (elastic/kibana pull request 166896), import them and
migrate them to their own version.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from ...core.rows import Dataset
from ...render.panels import COLUMNS as COLUMNS_OF_EVENTS
from ...render.panels import EVENTS, NUMBER, OVER_TIME, SHARE, TOP, Overview, Panel
from .lens import Types, kql, lens_type, visualization_of
from .navigation import LINKS_HEIGHT, control_group, drilldown, links_panel, text

OLDEST = (8, 11)
# Versions of the format written here. Kibana migrates an older version, and rejects a newer one.
VERSIONS = {"index-pattern": "8.0.0", "search": "8.0.0", "dashboard": "8.9.0"}
CORE_VERSION = "8.8.0"
COLUMNS = 48  # of Kibana's grid
HEIGHTS = {NUMBER: 6, OVER_TIME: 12, SHARE: 11, TOP: 12, EVENTS: 20}
PER_ROW = {NUMBER: 4, OVER_TIME: 2, SHARE: 4, TOP: 4, EVENTS: 1}
Saved = Dict[str, Any]


class View(NamedTuple):
    """A data view, and the prefix of the ids of the objects that use it."""

    id: str
    pattern: str = ""  # index pattern; "": the data view exists already
    package: str = ""  # the prefix of the ids; "": siemtap-<vendor>

    def own(self, overview: Overview) -> str:
        """Return the id of a dashboard, which is the prefix of the ids of its objects."""
        if self.package:
            return f"{self.package}-{overview.topic}"
        topic = "" if overview.topic == "overview" else f"-{overview.topic}"
        return f"siemtap-{overview.name}{topic}"


def objects(dashboards: Sequence[Overview], types: Types, view: View) -> List[Saved]:
    """Return the saved objects of a vendor's dashboards. The dashboards, which refer to each other,
    are the last.

    Raise KeyError for a panel of a field that the index does not have or cannot aggregate.
    """
    first = dashboards[0]
    saved = []
    if view.pattern:
        saved.append(_data_view(first, view))
    if len(first.datasets) > 1:
        saved += [_dataset_search(first, dataset, types, view) for dataset in first.datasets]
    search_ids: Dict[Tuple[str, Panel], str] = {}
    for overview in dashboards:
        for panel in overview.panels:
            if panel.shape == EVENTS:
                search = _search(overview, panel, types, view)
                search_ids[overview.topic, panel] = search["id"]
                saved.append(search)
    return [
        *saved,
        *(_dashboard(overview, dashboards, types, view, search_ids) for overview in dashboards),
    ]


def ndjson(saved: List[Saved]) -> str:
    """Return saved objects in the format that Kibana imports."""
    lines = [json.dumps(item, ensure_ascii=False, sort_keys=True) for item in saved]
    return "".join(f"{line}\n" for line in lines)


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
    """Return the saved search of a panel."""
    source, references = _source(overview.datasets, view)
    source["query"] = kql(*panel.only)
    title = _titled(overview, panel.title)
    id = f"{view.own(overview)}-{_slug(panel)}"
    return _search_of(id, title, panel.columns, source, references, types, view)


def _dataset_search(overview: Overview, dataset: Dataset, types: Types, view: View) -> Saved:
    """Return the saved search of all events of a dataset, with the columns that vary."""
    source, references = _source([dataset], view)
    varying = set(dataset.targets()) - set(dataset.constant)
    columns = [path for path in COLUMNS_OF_EVENTS if path in varying and path in types]
    title = _titled(overview, f"{dataset.short_name} events")
    id = f"{view.own(overview)}-dataset-{dataset.short_name}"
    return _search_of(id, title, columns, source, references, types, view)


def _titled(overview: Overview, name: str) -> str:
    """Return the title of a saved search: [Logs Acme] Events, [Logs Acme] Rules: Events."""
    logs, _, topic = overview.title.rpartition("] ")
    return f"{logs}] {name}" if topic == "Overview" else f"{overview.title}: {name}"


def _search_of(
    id: str,
    title: str,
    columns: Sequence[str],
    source: Dict[str, Any],
    references: List[Dict[str, str]],
    types: Types,
    view: View,
) -> Saved:
    for path in columns:
        lens_type(types, path, only_shown=True)
    index = "kibanaSavedObjectMeta.searchSourceJSON.index"
    attributes = {
        "title": title,
        "columns": list(columns),
        "sort": [["@timestamp", "desc"]],
        "grid": {},
        "hideChart": True,
        "kibanaSavedObjectMeta": {"searchSourceJSON": text({**source, "indexRefName": index})},
    }
    more = [{"type": "index-pattern", "id": view.id, "name": index}]
    return _saved("search", id, _revised(attributes), [*references, *more])


def _dashboard(
    overview: Overview,
    dashboards: Sequence[Overview],
    types: Types,
    view: View,
    search_ids: Mapping[Tuple[str, Panel], str],
) -> Saved:
    source, references = _source(overview.datasets, view)
    panels = []
    ids = {dashboard.topic: view.own(dashboard) for dashboard in dashboards}
    top = 0
    if len(dashboards) > 1:
        links, more = links_panel(dashboards, ids)
        panels.append({"version": VERSIONS["dashboard"], **links})
        references += more
        top = LINKS_HEIGHT
    for panel, grid in _lay_out(overview.panels, top):
        id = _slug(panel)
        if panel.shape == EVENTS:
            body, reference = _search_panel(panel, search_ids[overview.topic, panel])
            references.append(reference)
        else:
            enhancements, more = drilldown(overview, panel, id, ids)
            body, lens_references = _lens_panel(panel, types, view, enhancements)
            references += [*lens_references, *more]
        panels.append(
            {
                "version": VERSIONS["dashboard"],
                "gridData": {**grid, "i": id},
                "panelIndex": id,
                "title": panel.title,
                **body,
            }
        )
    for _, path in overview.controls:
        lens_type(types, path)
    controls, more = control_group(overview, view.id)
    references += more
    attributes = {
        "title": overview.title,
        "panelsJSON": text(panels),
        "timeRestore": False,
        "version": 1,
        "optionsJSON": text(
            {
                "useMargins": True,
                "syncColors": True,
                "syncCursor": True,
                "syncTooltips": False,
                "hidePanelTitles": False,
            }
        ),
        "kibanaSavedObjectMeta": {"searchSourceJSON": text(source)},
    }
    if overview.controls:
        attributes["controlGroupInput"] = controls
    return _saved("dashboard", view.own(overview), _revised(attributes), references)


def _search_panel(panel: Panel, search_id: str) -> Tuple[Dict[str, Any], Dict[str, str]]:
    """Return a panel that shows a saved search, and the reference to it."""
    id = _slug(panel)
    body = {
        "type": "search",
        "embeddableConfig": {"enhancements": {}},
        "panelRefName": f"panel_{id}",
    }
    return body, {"type": "search", "id": search_id, "name": f"{id}:panel_{id}"}


def _lens_panel(
    panel: Panel, types: Types, view: View, enhancements: Mapping[str, Any]
) -> Tuple[Dict[str, Any], List[Dict[str, str]]]:
    """Return a panel that holds a Lens visualization, and its references."""
    id = _slug(panel)
    lens = visualization_of(panel, types, view.id)
    config = {
        "attributes": lens,
        "enhancements": dict(enhancements),
        "hidePanelTitles": panel.shape == NUMBER,
    }
    references = [
        {**reference, "name": f"{id}:{reference['name']}"} for reference in lens["references"]
    ]
    return {"type": "lens", "embeddableConfig": config}, references


def _revised(attributes: Dict[str, Any]) -> Dict[str, Any]:
    """Return attributes with a revision in the description.

    Kibana rewrites what it stores, so only the revision can be compared later.
    """
    revision = hashlib.sha256(text(attributes).encode()).hexdigest()[:8]
    return {**attributes, "description": f"Made by siemtap, revision {revision}"}


def _source(datasets: Iterable[Dataset], view: View) -> Tuple[Dict[str, Any], List[Dict[str, str]]]:
    """Return a search source with a filter on datasets, and its references."""
    names = [dataset.name for dataset in datasets]
    field = "data_stream.dataset"
    reference = "kibanaSavedObjectMeta.searchSourceJSON.filter[0].meta.index"
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
    references = [{"type": "index-pattern", "id": view.id, "name": reference}]
    return {"query": kql(), "filter": [filter]}, references


def _lay_out(panels: Tuple[Panel, ...], top: int) -> Iterator[Tuple[Panel, Dict[str, int]]]:
    """Yield each panel with its position, the first at `top`.

    A row ends where the shape changes or the row is full. The panels of a row fill its width.
    """
    index = 0
    while index < len(panels):
        shape = panels[index].shape
        row = [panel for panel in panels[index : index + PER_ROW[shape]] if panel.shape == shape]
        for number, panel in enumerate(row):
            left = COLUMNS * number // len(row)
            right = COLUMNS * (number + 1) // len(row)
            yield panel, {"x": left, "y": top, "w": right - left, "h": HEIGHTS[shape]}
        top += HEIGHTS[shape]
        index += len(row)


def _slug(panel: Panel) -> str:
    """Return a readable id of a panel, which does not depend on its position."""
    name = panel.title
    if panel.shape in (NUMBER, EVENTS, SHARE):
        name = f"{panel.title} {panel.shape}"
    letters = "".join(char if char.isalnum() else " " for char in name.lower())
    return "-".join(letters.split())
