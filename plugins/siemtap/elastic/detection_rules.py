"""Detection rules for Elastic Security, in the format that its page "Rules" imports: NDJSON, a rule
on each line (Kibana's `RuleToImport`: the properties of a new rule, and `rule_id`).

They are derived from the datasets: a rule exists where a dataset has the fields that it reads. They
are imported disabled.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, Iterator, List

from ..core.model import Plugin
from ..core.rows import Dataset
from ..core.settings import SEVERITIES

Rule = Dict[str, Any]
# What an alert is about, in the order of preference.
SITES = ("service.name", "host.name")
WITH_SOURCE = ("source.ip", "event.type", "rule.name")
BLOCKED, FAILED = 10, 5  # events before the one that counts
SILENT = "1 hour"


def rules_of(plugin: Plugin) -> List[Rule]:
    """Return the detection rules for a plugin's events."""
    alerts = [dataset for dataset in plugin.datasets if "event.severity" in dataset.targets()]
    logins = [dataset for dataset in plugin.datasets if _has_logins(dataset)]
    return [
        *(_critical_attack(plugin, alerts) if alerts else ()),
        *_let_through(plugin, [dataset for dataset in alerts if _has_blocked(dataset)]),
        *_brute_force(plugin, logins),
        *(rule for dataset in alerts for rule in _new_rule(plugin, dataset)),
        *(_silent(plugin, dataset) for dataset in plugin.datasets),
    ]


def ndjson(rules: Iterable[Rule]) -> str:
    """Return rules as the text of a file to import."""
    return "".join(f"{json.dumps(rule, ensure_ascii=False, sort_keys=True)}\n" for rule in rules)


def _sets(dataset: Dataset, *paths: str) -> bool:
    known = {*dataset.targets(), *dataset.constant}
    return known.issuperset(paths)


def _varies(dataset: Dataset, path: str) -> bool:
    """Return whether a row sets the field: a constant is then its default."""
    return any(
        path == row.target if isinstance(row.target, str) else path in row.target
        for row in dataset.rows
    )


def _has_blocked(dataset: Dataset) -> bool:
    """Return whether some attacks of a dataset are blocked and others are not."""
    return _sets(dataset, *WITH_SOURCE) and _varies(dataset, "event.type")


def _has_logins(dataset: Dataset) -> bool:
    """Return whether some events of a dataset may be logins: their category depends on their
    class."""
    return _varies(dataset, "event.category") and _sets(dataset, "event.outcome", "user.name")


def _rule(plugin: Plugin, name: str, level: str, **more: Any) -> Rule:
    """Return a rule. `level`: a severity, which is the rule's risk score, too."""
    slug = "-".join("".join(char if char.isalnum() else " " for char in name.lower()).split())
    return {
        "rule_id": f"siemtap-{plugin.name}-{slug}",
        "name": f"{plugin.title}: {name}",
        "severity": level,
        "risk_score": SEVERITIES[level],
        "enabled": False,
        "interval": "5m",
        "from": "now-10m",
        "max_signals": 100,
        "author": ["siemtap"],
        "tags": [plugin.title, "siemtap"],
        "version": 1,
        **more,
    }


def _indices(datasets: Iterable[Dataset]) -> List[str]:
    return [f"logs-{dataset.name}-*" for dataset in datasets]


def _critical_attack(plugin: Plugin, datasets: List[Dataset]) -> Iterator[Rule]:
    yield _rule(
        plugin,
        "critical attack",
        "critical",
        description="An alert of the vendor with the highest severity. The vendor's rule is the"
        " name of the alert.",
        type="query",
        language="kuery",
        index=_indices(datasets),
        query=f"event.kind : alert and event.severity >= {SEVERITIES['critical']}",
        max_signals=1000,
        rule_name_override="message",
        timestamp_override="event.ingested",
    )


def _let_through(plugin: Plugin, datasets: List[Dataset]) -> Iterator[Rule]:
    # no timestamp_override: a sequence is in the order of @timestamp
    if datasets:
        yield _rule(
            plugin,
            "attacks blocked, then one that was not",
            "high",
            description=f"A source whose attacks were blocked {BLOCKED} times within 15 minutes,"
            " and one of whose attacks was then not: something was found that no rule blocks.",
            type="eql",
            language="eql",
            index=_indices(datasets),
            query=(
                "sequence by source.ip with maxspan=15m\n"
                f'  [any where event.type == "denied" and rule.name != null] with runs={BLOCKED}\n'
                '  [any where event.type != "denied" and rule.name != null]'
            ),
            **{"from": "now-30m"},
        )


def _brute_force(plugin: Plugin, datasets: List[Dataset]) -> Iterator[Rule]:
    if datasets:
        yield _rule(
            plugin,
            "failed logins, then a successful one",
            "high",
            description=f"A user whose login failed {FAILED} times within 15 minutes, and then"
            " succeeded: a password may have been guessed.",
            type="eql",
            language="eql",
            index=_indices(datasets),
            query=(
                "sequence by user.name with maxspan=15m\n"
                f'  [authentication where event.outcome == "failure"] with runs={FAILED}\n'
                '  [authentication where event.outcome == "success"]'
            ),
            **{"from": "now-30m"},
        )


def _new_rule(plugin: Plugin, dataset: Dataset) -> Iterator[Rule]:
    site = next((path for path in SITES if _sets(dataset, path)), "")
    if site and _sets(dataset, "rule.name"):
        yield _rule(
            plugin,
            f"new rule for a site, {dataset.short_name}",
            "medium",
            description=f"A rule of the vendor that had no event for this {site} in the last 14"
            " days.",
            type="new_terms",
            language="kuery",
            index=_indices([dataset]),
            query=f"event.kind : (alert or event) and rule.name : * and {site} : *",
            new_terms_fields=[site, "rule.name"],
            history_window_start="now-14d",
            timestamp_override="event.ingested",
        )


def _silent(plugin: Plugin, dataset: Dataset) -> Rule:
    by = ["data_stream.dataset"]
    if _sets(dataset, "observer.name"):
        by.append("observer.name")
    return _rule(
        plugin,
        f"silent input, {dataset.short_name}",
        "medium",
        description=f"No event was stored for {SILENT}, but some in the 24 hours before: the"
        " collection may have stopped, or there were no events.",
        type="esql",
        language="esql",
        query=(
            f"FROM logs-{dataset.name}-*\n"
            f"| STATS last = MAX(event.ingested) BY {', '.join(by)}\n"
            f"| WHERE last < NOW() - {SILENT}"
        ),
        interval="1h",
        timestamp_override="event.ingested",
        **{"from": "now-25h"},
    )
