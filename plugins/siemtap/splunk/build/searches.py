"""Render the searches of an add-on: saved searches that are disabled by default, the searches that
start from an event, and the lookup of the checkpoints."""

from __future__ import annotations

import json
from typing import Dict, Optional

from ...core.model import Plugin
from ...edge.splunk.serializer import sourcetype
from ..runtime.names import addon
from .conf import Conf
from .knowledge import attacks, event_types

# An event that arrives later than this after it happened is in no scheduled search. It is older
# only if a first run is told to read further back; vendors keep 30 days or so.
EVENTS_FROM = "-31d@d"
# A vendor's clock may be ahead. Splunk takes times of up to two days ahead (MAX_DAYS_HENCE in
# props.conf.spec).
EVENTS_TO = "+2d"


def savedsearches(plugin: Plugin) -> Conf:
    """Return savedsearches.conf: searches for attacks and for the inputs' health."""
    root = addon(plugin).root
    stanzas: Conf = {}
    known = attacks(plugin)
    if known:
        stanzas.update(_attack_searches(plugin, known.search))
    stanzas[f"{plugin.title} - Silent inputs"] = {
        **_scheduled(
            "Inputs that sent an event in the last 31 days, and none in the last 4 hours.",
            f"| tstats count max(_indextime) as last where `{root}_index`"
            f" sourcetype={sourcetype(plugin.name + '.*')} by source"
            ' | where last < relative_time(now(), "-4h") | fieldformat last=strftime(last,'
            ' "%F %T")',
            cron="37 * * * *",
        ),
        **_alert("source", "24h"),
    }
    stanzas[f"{plugin.title} - Input errors"] = {
        **_each_once(
            "Errors in the log of the inputs that arrived in the previous hour.",
            f"index=_internal sourcetype={root}:log level=ERROR | stats count by input message",
            minute=47,
        ),
        **_alert(),
    }
    return stanzas


def _attack_searches(plugin: Plugin, search: str) -> Conf:
    """Return the searches for attacks: two reports, and a correlation search."""
    critical = _each_once(
        "Attacks of critical severity that arrived in the previous hour, by source and"
        " destination.",
        f"{search} severity=critical | fillnull value=unknown src dest signature | stats count"
        " values(action) as action by src dest signature",
        minute=7,
    )
    top = _each_once(
        "The sources with the most attacks that arrived yesterday.",
        f"{search} | stats count dc(signature) as rules values(action) as action"
        " by src | sort - count | head 100",
        minute=23,
        hour=6,
    )
    many_rules = _each_once(
        "A template for Enterprise Security: one source matches many rules in the attacks that"
        " arrived in the previous hour.",
        f"{search} src=* | stats count dc(signature) as rules"
        " values(signature) as signature values(dest) as dest by src | where rules >= 5",
        minute=17,
    )
    drilldown = {
        "name": "The attacks of $src$",
        "search": f"{search} src=$src|s$",
        "earliest_offset": "$info_min_time$",
        "latest_offset": "$info_max_time$",
    }
    correlation = {
        "action.correlationsearch.enabled": "1",
        "action.correlationsearch.label": f"{plugin.title}: many rules matched by one source",
        "action.correlationsearch.annotations": '{"mitre_attack": ["T1190"]}',
        "action.notable": "1",
        "action.notable.param.rule_title": "$src$ matched $rules$ rules",
        "action.notable.param.rule_description": (
            f"{plugin.title} reported $count$ attacks from $src$."
        ),
        "action.notable.param.security_domain": "network",
        "action.notable.param.severity": "high",
        "action.notable.param.drilldown_searches": json.dumps([drilldown]),
        "action.risk": "1",
        "action.risk.param._risk": json.dumps([RISK, THREAT]),
        "action.risk.param._risk_message": f"$src$ matched $rules$ rules of {plugin.title}",
        "alert.suppress": "1",
        "alert.suppress.fields": "src",
        "alert.suppress.period": "86300s",
        **AT_LEAST_ONE,
    }
    return {
        f"{plugin.title} - Critical attacks": critical,
        f"{plugin.title} - Top attackers": top,
        f"Threat - {plugin.title} - Many Rules Matched By One Source - Rule": {
            **many_rules,
            **correlation,
        },
    }


# Of the template for Enterprise Security: who gets how many points, and what stands beside them
RISK = {"risk_object_field": "src", "risk_object_type": "system", "risk_score": 60}
THREAT = {"threat_object_field": "signature", "threat_object_type": "signature"}
AT_LEAST_ONE = {"counttype": "number of events", "relation": "greater than", "quantity": "0"}


def _alert(each: str = "", period: str = "") -> Dict[str, str]:
    """Return the settings of an alert in Splunk's list of triggered alerts: one for all results, or
    with `each`, a field, one for each of its values, and then none for `period`."""
    settings = {**AT_LEAST_ONE, "alert.track": "1", "alert.severity": "4"}
    if each:
        settings.update(
            {
                "alert.digest_mode": "0",
                "alert.suppress": "1",
                "alert.suppress.fields": each,
                "alert.suppress.period": period,
            }
        )
    return settings


def _each_once(
    description: str, search: str, *, minute: int, hour: Optional[int] = None
) -> Dict[str, str]:
    """Return a scheduled search that sees each event in exactly one run, however late it arrives.

    A run reads what was indexed in the whole hour before it (with `hour`, the whole day), not what
    happened in it: ABS reports attacks 30 minutes late and more, and after an outage an input
    catches up. `minute`: of the run; what was indexed by the end of the window is then searchable.
    Whole hours stay disjoint when a run is late: its range is that of its scheduled time (Splunk's
    reporting manual, "Prioritize concurrently scheduled reports"). `realtime_schedule = 0` is
    continuous scheduling: no run is skipped, and what was due while the search head was down runs
    after the restart (savedsearches.conf.spec 10.2.3, line 172).
    """
    unit = "h" if hour is None else "d"
    at = "*" if hour is None else str(hour)
    return {
        **_scheduled(description, search, cron=f"{minute} {at} * * *"),
        "dispatch.index_earliest": f"-1{unit}@{unit}",
        "dispatch.index_latest": f"@{unit}",
        "realtime_schedule": "0",
    }


def _scheduled(description: str, search: str, *, cron: str) -> Dict[str, str]:
    """Return a scheduled search over all times of events, disabled until an admin enables it."""
    return {
        "description": description,
        "search": search,
        "dispatch.earliest_time": EVENTS_FROM,
        "dispatch.latest_time": EVENTS_TO,
        "cron_schedule": cron,
        "enableSched": "1",
        "disabled": "1",
    }


# Workflow actions of an event


def workflow_actions(plugin: Plugin) -> Conf:
    """Return workflow_actions.conf: search for the source, and open the vendor's portal.

    A workflow action knows `$field$` without filters, and does not quote a value
    (workflow_actions.conf.spec 10.2.3, lines 78 to 95 and 167): so it searches for `src_ip`, which
    is an address, and not for `src`, which may be any text that an attacker sends. An event must
    have all of its `eventtypes` (line 61): they are a pattern, and no list.
    """
    root = addon(plugin).root
    eventtypes = f"{root}_*" if event_types(plugin) else ""
    known = attacks(plugin)
    stanzas: Conf = {}
    if known and "src_ip" in known.fields:
        stanzas[f"{root}_attacker"] = {
            "type": "search",
            "label": "Search for $src_ip$ in all indexes",
            "search.search_string": "index=* $src_ip$",
            "search.target": "blank",
            "search.earliest": "-24h@h",
            "search.latest": "now",
            "display_location": "both",
            "eventtypes": eventtypes,
            "fields": "src_ip",
        }
    if eventtypes and plugin.portal:
        stanzas[f"{root}_vendor"] = {
            "type": "link",
            "label": f"Open {plugin.title}",
            "link.uri": plugin.portal,
            "link.method": "get",
            "link.target": "blank",
            "display_location": "event_menu",
            "eventtypes": eventtypes,
            "fields": "*",
        }
    return stanzas


def transforms(plugin: Plugin) -> Conf:
    """Return transforms.conf: the checkpoints without their state, as a lookup of the dashboard."""
    return {
        f"{addon(plugin).root}_checkpoints": {
            "external_type": "kvstore",
            "collection": f"{addon(plugin).root}_checkpoints",
            "fields_list": "_key, input, unit, until, began",
        }
    }
