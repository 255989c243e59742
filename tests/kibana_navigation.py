"""The forms of a dashboard's controls, links and drill-downs, as the simulator of Kibana checks them.
Each rule names the file of elastic/kibana that it follows."""

import json

from elastic_refusal import Refusal


def controls(saved_object):
    """Check the controls of a dashboard; return the names of their references, without the prefix
    (dashboard_container_references.ts: controlGroup_).

    controls/common/control_group/types.ts: ControlPanelState; options_list/types.ts:
    OptionsListEmbeddableInput; options_list_persistable_state.ts: the data view is a reference;
    control_group_migrations.ts: the orders begin at 0."""
    group = saved_object["attributes"].get("controlGroupInput")
    if not group:
        return []
    ignored = json.loads(group["ignoreParentSettingsJSON"])
    placed = json.loads(group["panelsJSON"])
    problems = [
        set(group) != {"controlStyle", "chainingSystem", "panelsJSON", "ignoreParentSettingsJSON"},
        group["controlStyle"] not in ("oneLine", "twoLine"),
        group["chainingSystem"] not in ("HIERARCHICAL", "NONE"),
        set(ignored) != {"ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations"},
        not all(isinstance(value, bool) for value in ignored.values()),
        sorted(control["order"] for control in placed.values()) != list(range(len(placed))),
    ]
    for id, control in placed.items():
        given = control["explicitInput"]
        problems += [
            set(control) != {"order", "type", "width", "grow", "explicitInput"},
            control["type"] != "optionsListControl",
            control["width"] not in ("small", "medium", "large"),
            given["id"] != id or not given["fieldName"] or not given["title"],
            "dataViewId" in given,
            not {"id", "fieldName", "title", "selectedOptions", "enhancements"} >= set(given),
        ]
    if any(problems):
        raise Refusal(400, "Bad Request", f"{saved_object['id']}: controls {problems}")
    return [f"{id}:optionsListDataView" for id in placed]


def links(attributes):
    """Check a links panel; return the names of its references.

    links/common/content_management/v1/cm_services.ts: linksAttributesSchema and
    dashboardLinkSchema, which forbid others; persistable_state/references.ts: the names."""
    options = {"openInNewTab", "useCurrentFilters", "useCurrentDateRange"}
    problems = [
        not {"title", "description", "links", "layout"} >= set(attributes),
        attributes["layout"] not in ("horizontal", "vertical"),
    ]
    names = []
    for link in attributes["links"]:
        names.append(f"link_{link['id']}_dashboard")
        problems += [
            set(link) != {"id", "type", "label", "order", "destinationRefName", "options"},
            link["type"] != "dashboardLink" or link["destinationRefName"] != names[-1],
            set(link["options"]) != options,
            not all(isinstance(value, bool) for value in link["options"].values()),
        ]
    problems.append(len(set(names)) != len(names))
    if any(problems):
        raise Refusal(400, "Bad Request", f"links: {problems}")
    return names


def drilldowns(panel):
    """Check the drill-downs of a panel; return the names of their references.

    dashboard_enhanced/common/drilldowns/dashboard_drilldown: the name, and a configuration without
    the dashboard's id; ui_actions_enhanced/common/types.ts: SerializedEvent."""
    names = []
    events = panel["embeddableConfig"]["enhancements"].get("dynamicActions", {}).get("events", [])
    for event in events:
        action = event["action"]
        problems = [
            set(event) != {"eventId", "triggers", "action"},
            event["triggers"] != ["FILTER_TRIGGER"],
            set(action) != {"factoryId", "name", "config"},
            action["factoryId"] != "DASHBOARD_TO_DASHBOARD_DRILLDOWN",
            set(action["config"]) != {"openInNewTab", "useCurrentFilters", "useCurrentDateRange"},
            panel["type"] != "lens",
        ]
        if any(problems):
            raise Refusal(400, "Bad Request", f"drill-down {event['eventId']}: {problems}")
        names.append(f"drilldown:{action['factoryId']}:{event['eventId']}:dashboardId")
    return names
