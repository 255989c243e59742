"""Render the searches of an add-on: saved searches that are disabled by default, the searches that
start from an event, and the lookup of the checkpoints."""

from __future__ import annotations

from typing import Dict

from ...core.model import Plugin
from ...edge.splunk.serializer import sourcetype
from ..runtime.names import addon
from .conf import Conf
from .knowledge import attacks, event_types


def savedsearches(plugin: Plugin) -> Conf:
    """Return savedsearches.conf: searches for attacks and for the inputs' health."""
    root = addon(plugin).root
    stanzas: Conf = {}
    known = attacks(plugin)
    if known:
        stanzas.update(_attack_searches(plugin, known.search))
    stanzas[f"{plugin.title} - Silent inputs"] = _scheduled(
        "Inputs with events in the last 24 hours, but none in the last 4 hours.",
        f"`{root}_index` sourcetype={sourcetype(plugin.name + '.*')} | stats max(_time) as last by"
        ' source | where last < relative_time(now(), "-4h") | fieldformat last=strftime(last,'
        ' "%F %T")',
        cron="37 * * * *",
        earliest="-24h@h",
    )
    stanzas[f"{plugin.title} - Input errors"] = _scheduled(
        "Errors in the log of the inputs in the last hour.",
        f"index=_internal sourcetype={root}:log level=ERROR | stats count by input message",
        cron="47 * * * *",
    )
    return stanzas


def _attack_searches(plugin: Plugin, search: str) -> Conf:
    """Return the searches for attacks: two reports, and a correlation search."""
    critical = _scheduled(
        "Attacks of critical severity in the last hour, by source and destination.",
        f"{search} severity=critical | fillnull value=unknown src dest signature | stats count"
        " values(action) as action by src dest signature",
        cron="7 * * * *",
    )
    top = _scheduled(
        "The sources with the most attacks in the last 24 hours.",
        f"{search} | stats count dc(signature) as rules values(action) as action"
        " by src | sort - count | head 100",
        cron="23 6 * * *",
        earliest="-24h@h",
    )
    many_rules = _scheduled(
        "A template for Enterprise Security: one source matches many rules in an hour.",
        f"{search} src=* | stats count dc(signature) as rules"
        " values(signature) as signature values(dest) as dest by src | where rules >= 5",
        cron="17 * * * *",
    )
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
        "action.notable.param.drilldown_name": "The attacks of $src$",
        "action.notable.param.drilldown_search": f"{search} src=$src|s$",
        "alert.suppress": "1",
        "alert.suppress.fields": "src",
        "alert.suppress.period": "86300s",
        "counttype": "number of events",
        "relation": "greater than",
        "quantity": "0",
    }
    return {
        f"{plugin.title} - Critical attacks": critical,
        f"{plugin.title} - Top attackers": top,
        f"Threat - {plugin.title} - Many Rules Matched By One Source - Rule": {
            **many_rules,
            **correlation,
        },
    }


def _scheduled(
    description: str, search: str, *, cron: str, earliest: str = "-60m@m"
) -> Dict[str, str]:
    """Return a scheduled search, disabled until an admin enables it."""
    return {
        "description": description,
        "search": search,
        "dispatch.earliest_time": earliest,
        "dispatch.latest_time": "now",
        "cron_schedule": cron,
        "enableSched": "1",
        "disabled": "1",
    }


# Workflow actions of an event


def workflow_actions(plugin: Plugin) -> Conf:
    """Return workflow_actions.conf: search for the source, and open the vendor's portal."""
    root = addon(plugin).root
    eventtypes = ", ".join(each.name for each in event_types(plugin))
    stanzas: Conf = {}
    if eventtypes:
        stanzas[f"{root}_attacker"] = {
            "type": "search",
            "label": "Search for $src$ in all indexes",
            "search.search_string": "index=* $src|s$",
            "search.target": "blank",
            "search.earliest": "-24h@h",
            "search.latest": "now",
            "display_location": "both",
            "eventtypes": eventtypes,
            "fields": "src",
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
