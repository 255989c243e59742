"""What narrows a dashboard, and what leads from it to others: controls, links and drill-downs.

The forms are those of Kibana 8.18 (elastic/kibana):

    controls     src/plugins/dashboard/server/dashboard_saved_object/schema/v1/v1.ts
                 (controlGroupInput), src/plugins/controls/common/options_list
    links        src/plugins/links/common/content_management/v1/cm_services.ts; in a dashboard, not
                 in an object of their own, which package-spec does not allow
    drill-downs  x-pack/plugins/dashboard_enhanced/common/drilldowns/dashboard_drilldown

A reference of a control has the prefix `controlGroup_<control>:`, one of a panel `<panel>:`
(src/plugins/dashboard/common/dashboard_container/persistable_state).
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ...render.panels import OVER_TIME, SHARE, TOP, Overview, Panel

Reference = Dict[str, str]
LINKS, LINKS_HEIGHT = "links", 4  # the panel's id, and its height on Kibana's grid
DRILLDOWN = "DASHBOARD_TO_DASHBOARD_DRILLDOWN"
# The field that splits a panel -> the dashboard that tells more about its values.
LEADS = {"rule.name": "rules", "source.address": "sources", "event.dataset": "overview"}
SPLIT = (OVER_TIME, SHARE, TOP)  # shapes whose values can be clicked


def control_group(overview: Overview, view_id: str) -> Tuple[Dict[str, Any], List[Reference]]:
    """Return a dashboard's `controlGroupInput`, and its references."""
    panels = {}
    references = []
    for order, (label, path) in enumerate(overview.controls):
        id = path.replace(".", "-")
        panels[id] = {
            "order": order,
            "type": "optionsListControl",
            "width": "medium",
            "grow": True,
            "explicitInput": {
                "id": id,
                "fieldName": path,
                "title": label,
                "selectedOptions": [],
                "enhancements": {},
            },
        }
        name = f"controlGroup_{id}:optionsListDataView"
        references.append({"type": "index-pattern", "id": view_id, "name": name})
    ignored = ("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations")
    group = {
        "controlStyle": "oneLine",
        "chainingSystem": "HIERARCHICAL",
        "panelsJSON": text(panels),
        "ignoreParentSettingsJSON": text(dict.fromkeys(ignored, False)),
    }
    return group, references


def links_panel(
    dashboards: Sequence[Overview], ids: Mapping[str, str]
) -> Tuple[Dict[str, Any], List[Reference]]:
    """Return a panel with a link to each of a vendor's dashboards, and its references.

    `ids`: topic -> the id of its dashboard.
    """
    links = []
    references = []
    for order, dashboard in enumerate(dashboards):
        name = f"link_{dashboard.topic}_dashboard"
        links.append(
            {
                "type": "dashboardLink",
                "id": dashboard.topic,
                "order": order,
                "label": dashboard.topic.capitalize(),
                "destinationRefName": name,
                "options": {
                    "openInNewTab": False,
                    "useCurrentFilters": True,
                    "useCurrentDateRange": True,
                },
            }
        )
        references.append(
            {"type": "dashboard", "id": ids[dashboard.topic], "name": f"{LINKS}:{name}"}
        )
    panel = {
        "type": "links",
        "gridData": {"x": 0, "y": 0, "w": 48, "h": LINKS_HEIGHT, "i": LINKS},
        "panelIndex": LINKS,
        "title": "Dashboards",
        "embeddableConfig": {
            "attributes": {"title": "Dashboards", "layout": "horizontal", "links": links},
            "enhancements": {},
            "hidePanelTitles": True,
        },
    }
    return panel, references


def drilldown(
    overview: Overview, panel: Panel, panel_id: str, ids: Mapping[str, str]
) -> Tuple[Dict[str, Any], List[Reference]]:
    """Return the `enhancements` of a panel: a click on a value opens the dashboard about it, with
    the value as a filter. Nothing for a panel that leads nowhere."""
    topic = LEADS.get(panel.by, "")
    if panel.shape not in SPLIT or topic == overview.topic or topic not in ids:
        return {}, []
    event = f"to-{topic}"
    action = {
        "factoryId": DRILLDOWN,
        "name": f"Open {topic}",
        "config": {"openInNewTab": False, "useCurrentFilters": True, "useCurrentDateRange": True},
    }
    events = [{"eventId": event, "triggers": ["FILTER_TRIGGER"], "action": action}]
    name = f"{panel_id}:drilldown:{DRILLDOWN}:{event}:dashboardId"
    reference = {"type": "dashboard", "id": ids[topic], "name": name}
    return {"dynamicActions": {"events": events}}, [reference]


def text(value: Any) -> str:
    """Return a value as JSON, the same text for the same value."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
