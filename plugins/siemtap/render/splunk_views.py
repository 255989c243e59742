"""What an add-on shows and offers: two dashboards, searches that are switched off until somebody
wants them, ways on from an event, alert actions."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Tuple
from xml.sax.saxutils import escape

from ..core.mapping import Dataset
from ..core.model import Command, Plugin
from ..runners.names import addon, sourcetype
from .splunk import Conf

NUMBERS = (("Attacks", "count"), ("Attackers", "dc(src)"), ("Rules", "dc(signature)"))
TOPS = (
    ("signature", "Rules"),
    ("src", "Attackers"),
    ("category", "Categories"),
    ("dest", "Targets"),
    ("site", "Sites"),
    ("uri_path", "Paths"),
    ("user", "Users"),
)
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


def tagged(plugin: Plugin, cim: Mapping[str, Any]) -> List[Tuple[Dataset, str, Mapping[str, Any]]]:
    """(dataset, its eventtype, its fields) of what the CIM calls an attack."""
    return [
        (
            dataset,
            f"{addon(plugin).root}_{dataset.name.partition('.')[2]}",
            cim["datasets"][dataset.name]["fields"],
        )
        for dataset in plugin.datasets
        if cim["datasets"].get(dataset.name, {}).get("tags")
    ]


# Dashboards, in Simple XML 1.1


def overview(plugin: Plugin, cim: Mapping[str, Any]) -> str:
    rows: List[str] = []
    for _dataset, eventtype, fields in tagged(plugin, cim):
        found = f"eventtype={eventtype}"
        rows += [
            _row(
                *(
                    _panel("single", title, f"{found} | stats {measure}")
                    for title, measure in NUMBERS
                )
            ),
            _row(
                _chart(
                    "Blocked and logged, over time",
                    f"{found} | timechart count by action",
                    "column",
                    stacked=True,
                ),
                _chart("Blocked against logged", f"{found} | stats count by action", "pie"),
            ),
            _row(
                _chart(
                    "Rules, over time",
                    f"{found} | timechart limit=10 count by signature",
                    "area",
                    stacked=True,
                ),
                _chart(
                    "Severity, over time",
                    f"{found} | timechart count by severity",
                    "column",
                    stacked=True,
                ),
            ),
            _row(
                _panel(
                    "map",
                    "Where attacks come from",
                    f"{found} | iplocation src | geostats latfield=lat longfield=lon count",
                    {"mapping.type": "marker"},
                )
            ),
        ]
        tops = [
            _panel("table", title, f"{found} {field}=* | top limit=10 {field}")
            for field, title in TOPS
            if field in fields
        ]
        rows += [_row(*tops[at : at + 3]) for at in range(0, len(tops), 3)]
        rows.append(
            _row(
                _panel(
                    "table",
                    "Last attacks",
                    f"{found} | head 100 | table _time"
                    f" {' '.join(name for name in COLUMNS if name in fields)}",
                    {"drilldown": "row"},
                )
            )
        )
    return _form(f"{plugin.title}: overview", "What it saw, and what it did about it.", rows)


def health(plugin: Plugin, cim: Mapping[str, Any]) -> str:
    root = addon(plugin).root
    ours, log = (
        f"`{root}_index` sourcetype={sourcetype(plugin.name + '.*')}",
        f"index=_internal sourcetype={root}:log",
    )
    return _form(
        f"{plugin.title}: health",
        "Whether everything comes, and how late.",
        [
            _row(
                _panel("single", "Events", f"{ours} | stats count"),
                _panel("single", "Inputs that sent something", f"{ours} | stats dc(source)"),
                _panel("single", "Errors", f"{log} level=ERROR | stats count"),
            ),
            _row(
                _chart(
                    "Seconds from the event to the index",
                    f"{ours} | eval late=_indextime-_time | timechart p50(late) as p50 p95(late) as"
                    " p95 max(late) as max",
                    "line",
                ),
                _chart(
                    "Events by input", f"{ours} | timechart count by source", "column", stacked=True
                ),
            ),
            _row(
                _panel(
                    "table",
                    "Inputs",
                    f"{ours} | stats count as events max(_time) as last by source sourcetype | eval"
                    ' silent=tostring(round(now()-last), "duration") | fieldformat'
                    ' last=strftime(last, "%F %T") | sort - silent',
                ),
                _panel(
                    "table",
                    "How far each input has read",
                    f'| inputlookup {root}_checkpoints | eval until=strftime(until/1000, "%F %T") |'
                    " table input unit until",
                ),
            ),
            _row(
                _panel(
                    "table",
                    "What cannot be read or went wrong",
                    f"{ours} event.kind=pipeline_error | stats count max(_time) as last by source"
                    ' error.message | fieldformat last=strftime(last, "%F %T")',
                )
            ),
            _row(
                _panel(
                    "table",
                    "Errors and warnings of the inputs",
                    f"{log} level IN (ERROR, WARNING) | stats count max(_time) as last by input"
                    ' message | fieldformat last=strftime(last, "%F %T") | sort - last',
                )
            ),
            _row(
                _chart(
                    "Licence: megabytes a day",
                    "index=_internal source=*license_usage.log* type=Usage"
                    f" st={sourcetype(plugin.name + '.*')} | eval MB=b/1048576 | timechart span=1d"
                    " sum(MB) by st",
                    "column",
                    stacked=True,
                )
            ),
        ],
    )


def _form(title: str, about: str, rows: Iterable[str]) -> str:
    time = (
        '<fieldset submitButton="false"><input type="time"'
        ' token="when"><label>Time</label><default><earliest>-24h@h</earliest><latest>now</latest></default></input></fieldset>'
    )
    return (
        '<form version="1.1"'
        f' theme="light">\n<label>{escape(title)}</label>\n<description>{escape(about)}</description>\n{time}\n'
        + "\n".join(rows)
        + "\n</form>\n"
    )


def _row(*panels: str) -> str:
    return "<row>" + "".join(panels) + "</row>"


def _panel(shape: str, title: str, search: str, options: Mapping[str, str] = {}) -> str:
    said = "".join(
        f'<option name="{name}">{escape(value)}</option>' for name, value in options.items()
    )
    return f"<panel><title>{escape(title)}</title><{shape}><search><query>{escape(search)}</query><earliest>$when.earliest$</earliest><latest>$when.latest$</latest></search>{said}</{shape}></panel>"


def _chart(title: str, search: str, kind: str, stacked: bool = False) -> str:
    return _panel(
        "chart",
        title,
        search,
        {"charting.chart": kind, **({"charting.chart.stackMode": "stacked"} if stacked else {})},
    )


def nav(plugin: Plugin) -> str:
    views = "".join(
        f'<view name="{name}"{more}/>'
        for name, more in (
            ("overview", ""),
            ("health", ""),
            ("inputs", ""),
            ("configuration", ' default="true"'),
            ("search", ""),
        )
    )
    return f"<nav>{views}</nav>\n"


# Searches; switched off until somebody wants them


def savedsearches(plugin: Plugin, cim: Mapping[str, Any]) -> Conf:
    root = addon(plugin).root
    made: Conf = {}
    for _, eventtype, _fields in tagged(plugin, cim):
        made[f"{plugin.title} - Critical attacks"] = _hourly(
            "Attacks of the highest severity in the last hour, by who and whom.",
            f"eventtype={eventtype} severity=critical | stats count values(action) as action by src"
            " dest signature",
            "7 * * * *",
        )
        made[f"{plugin.title} - Attackers over all"] = _hourly(
            "Who attacked most in the last day.",
            f"eventtype={eventtype} | stats count dc(signature) as rules values(action) as action"
            " by src | sort - count | head 100",
            "23 6 * * *",
            "-24h@h",
        )
        made[f"Threat - {plugin.title} - Many Rules Broken By One Source - Rule"] = {
            **_hourly(
                "A template for Enterprise Security: one source breaks many rules in an hour.",
                f"eventtype={eventtype} src=* | stats count dc(signature) as rules"
                " values(signature) as signature values(dest) as dest by src | where rules >= 5",
                "17 * * * *",
            ),
            "action.correlationsearch.enabled": "1",
            "action.correlationsearch.label": f"{plugin.title}: many rules broken by one source",
            "action.correlationsearch.annotations": '{"mitre_attack": ["T1190"]}',
            "action.notable": "1",
            "action.notable.param.rule_title": "$src$ broke $rules$ rules",
            "action.notable.param.rule_description": (
                f"{plugin.title} saw $count$ attacks from $src$."
            ),
            "action.notable.param.security_domain": "network",
            "action.notable.param.severity": "high",
            "action.notable.param.drilldown_name": "The attacks of $src$",
            "action.notable.param.drilldown_search": f"eventtype={eventtype} src=$src|s$",
            "alert.suppress": "1",
            "alert.suppress.fields": "src",
            "alert.suppress.period": "86300s",
            "counttype": "number of events",
            "relation": "greater than",
            "quantity": "0",
        }
    made[f"{plugin.title} - Inputs that are silent"] = _hourly(
        "Inputs that sent something yesterday, and nothing for four hours.",
        f"`{root}_index` sourcetype={sourcetype(plugin.name + '.*')} | stats max(_time) as last by"
        ' source | where last < relative_time(now(), "-4h") | fieldformat last=strftime(last,'
        ' "%F %T")',
        "37 * * * *",
        "-24h@h",
    )
    made[f"{plugin.title} - Errors of the inputs"] = _hourly(
        "What went wrong in the last hour.",
        f"index=_internal sourcetype={root}:log level=ERROR | stats count by input message",
        "47 * * * *",
    )
    return made


def _hourly(about: str, search: str, cron: str, earliest: str = "-60m@m") -> Dict[str, str]:
    return {
        "description": about,
        "search": search,
        "dispatch.earliest_time": earliest,
        "dispatch.latest_time": "now",
        "cron_schedule": cron,
        "enableSched": "1",
        "disabled": "1",
    }


# Ways on from an event


def workflow_actions(plugin: Plugin, cim: Mapping[str, Any]) -> Conf:
    root, types = (
        addon(plugin).root,
        ", ".join(eventtype for _, eventtype, _ in tagged(plugin, cim)),
    )
    made: Conf = {}
    if types:
        made[f"{root}_attacker"] = {
            "type": "search",
            "label": "Search for $src$ everywhere",
            "search.search_string": "index=* $src|s$",
            "search.target": "blank",
            "search.earliest": "-24h@h",
            "search.latest": "now",
            "display_location": "both",
            "eventtypes": types,
            "fields": "src",
        }
    if types and plugin.portal:
        made[f"{root}_vendor"] = {
            "type": "link",
            "label": f"Open {plugin.title}",
            "link.uri": plugin.portal,
            "link.method": "get",
            "link.target": "blank",
            "display_location": "event_menu",
            "eventtypes": types,
            "fields": "*",
        }
    return made


def transforms(plugin: Plugin) -> Conf:
    """The marks as a table for the page of health; not what is in them."""
    return {
        f"{addon(plugin).root}_checkpoints": {
            "external_type": "kvstore",
            "collection": f"{addon(plugin).root}_checkpoints",
            "fields_list": "_key, input, unit, until, began",
        }
    }


# Alert actions


def alerts(plugin: Plugin) -> List[Command]:
    return [command for command in plugin.commands if command.alert]


def action_name(plugin: Plugin, command: Command) -> str:
    return f"{plugin.name}_{command.name}"


def alert_actions(plugin: Plugin) -> Conf:
    return {
        action_name(plugin, command): {
            "is_custom": "1",
            "label": command.alert,
            "description": command.help,
            "icon_path": "appIcon.png",
            "payload_format": "json",
            "python.version": "python3",
            "python.required": "3.9, 3.13",
            "disabled": "0",
            "param.account": "",
            **{f"param.{option.name}": "" for option in command.options if not option.flag},
        }
        for command in alerts(plugin)
    }


def alert_spec(plugin: Plugin) -> str:
    return "".join(
        f"[{action_name(plugin, command)}]\npython.required = <string>\nparam.account = <string> An"
        " account of the configuration page.\n"
        + "".join(
            f"param.{option.name} = <string> {option.help}\n"
            for option in command.options
            if not option.flag
        )
        for command in alerts(plugin)
    )


def alert_form(plugin: Plugin, command: Command) -> str:
    """What a person fills in where the alert is made."""
    name = action_name(plugin, command)

    def one(field: str, label: str, help: str) -> str:
        place = f"action.{name}.param.{field}"
        return (
            '<div class="control-group"><label class="control-label"'
            f' for="{name}_{field}">{escape(label)}</label><div class="controls"><input type="text"'
            f' name="{place}" id="{name}_{field}"/><span'
            f' class="help-block">{escape(help)}</span></div></div>'
        )

    fields = [one("account", "Account", "One of those on the configuration page.")]
    fields += [
        one(
            option.name,
            option.name.replace("_", " ").capitalize(),
            f"{option.help} Of the result, such as $result.src_ip$; several with commas between."
            " Empty: none.",
        )
        for option in command.options
        if not option.flag
    ]
    return '<form class="form-horizontal form-complex">' + "".join(fields) + "</form>\n"
