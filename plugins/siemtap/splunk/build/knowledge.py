"""Render the search-time knowledge of an add-on: the conf files of its sourcetypes."""

from __future__ import annotations

import json
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
)

from ...core.model import Plugin
from ...core.rows import CimClass, Dataset, Rule
from ...edge.splunk.compact import duplicate_paths, sources, value_paths
from ...edge.splunk.lines import LENGTH
from ...edge.splunk.serializer import sourcetype
from ...render.datasets import list_paths
from ..runtime.names import addon
from .conf import Conf

FieldsOf = Callable[[Iterable[str]], List[str]]


def props(plugin: Plugin) -> Conf:
    """Return props.conf: line breaking, timestamps, CIM fields; and the add-on's own log."""
    app = addon(plugin)
    stanzas: Conf = {}
    for dataset in plugin.datasets:
        stanzas[sourcetype(dataset.name)] = _props_of(dataset, list_paths(dataset))
    stanzas[f"source::...{app.root}_*.log*"] = {
        "sourcetype": f"{app.root}:log",
        "SHOULD_LINEMERGE": "false",
        "TIME_FORMAT": "%Y-%m-%dT%H:%M:%S%z",
    }
    stanzas[f"{app.root}:log"] = {
        "EXTRACT-siemtap": (
            r"^\S+ (?<level>[A-Z]+) pid=(?<pid>\d+) input=(?<input>\S+) (?<message>.*)$"
        )
    }
    return stanzas


def _props_of(dataset: Dataset, lists: Set[str]) -> Dict[str, str]:
    """Return the stanza of a dataset's sourcetype, with an alias or an eval for each CIM field."""
    stanza = {
        "KV_MODE": "json",
        "SHOULD_LINEMERGE": "false",
        "LINE_BREAKER": r"([\r\n]+)",
        "TRUNCATE": "0",
        "TIME_PREFIX": r'"@timestamp":"',
        "TIME_FORMAT": "%Y-%m-%dT%H:%M:%S.%3NZ",
        "TZ": "UTC",
        "MAX_TIMESTAMP_LOOKAHEAD": "40",
        "category": "Network & Security",
    }
    alternatives = duplicate_paths(dataset)

    def fields_of(paths: Iterable[str]) -> List[str]:
        fields_at: Dict[str, None] = {}  # ordered, each once
        for path in paths:
            fields_at.update(dict.fromkeys(sources(path, alternatives)))
        fields = [f"{source}{{}}" if source in lists else source for source in fields_at]
        left_out = dict.fromkeys(_left_out(dataset, path) for path in paths)
        return fields + [json.dumps(value) for value in left_out if value is not None][:1]

    rules: Dict[str, List[Tuple[Tuple[str, ...], Rule]]] = {}
    for field, values, rule in dataset.cim.rules():
        rules.setdefault(field, []).append((values, rule))
    for field, branches in rules.items():
        key, value = _restored(field, branches, dataset.cim.by, fields_of)
        if key == "EVAL-action":  # nothing is known of a record that could not be read
            value = f"if('event.kind'==\"pipeline_error\", null(), {value})"
        stanza[key] = value
    return stanza


def _restored(
    field: str, branches: List[Tuple[Tuple[str, ...], Rule]], by: str, fields_of: FieldsOf
) -> Tuple[str, str]:
    """Return key and value of a CIM field: an alias if another field is enough, else an eval.

    `branches`: (values of the field `by`, rule), without values for all other events.
    """
    expressions: Dict[str, List[str]] = {}  # expression -> values, together if it is the same
    otherwise = "null()"
    for values, rule in branches:
        if values:
            expressions.setdefault(_eval(rule, fields_of), []).extend(values)
        else:
            otherwise = _eval(rule, fields_of)
            alias = fields_of(value_paths(rule))[:1]
    if not expressions and alias and otherwise == _quote_field(alias[0]):
        return f"FIELDALIAS-{field}", f"{_quote_alias(alias[0])} ASNEW {field}"
    if not expressions:
        return f"EVAL-{field}", otherwise
    kind = _coalesce(fields_of([by]))
    cases = "".join(
        f"in({kind}, {', '.join(map(_quote, values))}), {expression}, "
        for expression, values in expressions.items()
    )
    return f"EVAL-{field}", f"case({cases}true(), {otherwise})"


def _eval(rule: Rule, fields_of: FieldsOf) -> str:
    """Return the eval expression of a rule. `fields_of`: what Splunk extracts of paths, best
    first."""
    if "is" in rule:
        return _quote(rule["is"])
    otherwise = rule.get("else")
    if isinstance(otherwise, dict):
        otherwise = _eval(otherwise, fields_of)
    elif otherwise is not None:
        otherwise = _quote(otherwise)
    if "join" in rule:
        joined = '." ".'.join(_coalesce(fields_of([path])) for path in rule["join"])
        return f"coalesce({joined}, {otherwise})" if otherwise else joined
    fields = fields_of(value_paths(rule))
    if "map" in rule:
        field = _lower(rule, _coalesce(fields))
        cases = [(f"{field}=={_quote(value)}", name) for value, name in rule["map"].items()]
        return _case(cases, otherwise or "null()")
    if "present" in rule:
        cases = [(f"isnotnull({_quote_field(path)})", v) for path, v in rule["present"].items()]
        return _case(cases, _coalesce(fields, otherwise) if fields else otherwise or "null()")
    if "match" in rule or "part" in rule:
        return _eval_match(rule, fields)
    if "per" in rule:
        return f"{_coalesce(fields)}/{rule['per']}"
    if "length" in rule:  # of the whole value, where the event's is shortened
        lengths = [LENGTH + field for field in fields]
        return _coalesce(lengths, f"len({_coalesce(fields)})")
    if "unless" in rule:
        return f"nullif({_coalesce(fields)}, {_quote(rule['unless'])})"
    return _coalesce(fields, otherwise)


def _case(cases: List[Tuple[str, Any]], otherwise: str) -> str:
    """Return the expression that is the value of the first condition that holds."""
    tests = "".join(f"{test}, {_quote(value)}, " for test, value in cases)
    return f"case({tests}true(), {otherwise})"


def _eval_match(rule: Rule, fields: List[str]) -> str:
    """Return the expression that takes the first group of a regular expression."""
    field = _coalesce(fields)
    pattern = rule.get("match") or rule["part"]
    group = _lower(rule, f'nullif(replace({field}, "{pattern}", "\\1"), "")')
    return f'if(match({field}, "{pattern}"), {group}, null())'


def _lower(rule: Rule, expression: str) -> str:
    return f"lower({expression})" if rule.get("lower") else expression


def _left_out(dataset: Dataset, path: str) -> Any:
    """Return the value of a path that the compact event has not, if there is only one."""
    values = dataset.cim.usual.get(path, [])
    usual = values[0] if len(values) == 1 and path not in dataset.cim.implied else None
    value = dataset.constant.get(path, usual)
    return value[0] if isinstance(value, list) else value


def _coalesce(fields: List[str], otherwise: Optional[str] = None) -> str:
    """Return the expression of the first field that is there; `otherwise`: an expression."""
    operands = [*map(_quote_field, fields), *([otherwise] if otherwise else [])]
    return operands[0] if len(operands) == 1 else f"coalesce({', '.join(operands)})"


def _quote_field(field: str) -> str:
    """Return a field for an eval, in single quotes if its name has a dot; a text as it is."""
    if not field.startswith('"') and ("." in field or "{" in field):
        return f"'{field}'"
    return field


def _quote_alias(field: str) -> str:
    return f'"{field}"' if "{" in field else field


def _quote(value: Any) -> str:
    return json.dumps(str(value))


class EventType(NamedTuple):
    """The events of one class of a dataset, under a name of Splunk's."""

    name: str
    dataset: Dataset
    of: CimClass

    @property
    def fields(self) -> Mapping[str, Rule]:
        """Return the CIM fields of these events."""
        return self.dataset.cim.rules_of(self.of)


def event_types(plugin: Plugin) -> List[EventType]:
    """Return an eventtype for each class of events that is in a CIM data model: `ta_acme_attack`
    for a dataset without classes, `ta_acme_event_malware` for one with."""
    root = addon(plugin).root
    return [
        EventType("_".join(filter(None, (root, dataset.short_name, name))), dataset, of)
        for dataset in plugin.datasets
        for name, of in dataset.cim.groups().items()
    ]


class Attacks(NamedTuple):
    """The attacks and alerts of a plugin: the search that finds them, and their CIM fields."""

    search: str
    fields: FrozenSet[str]


def attacks(plugin: Plugin) -> Optional[Attacks]:
    """Return how to search a plugin's attacks and alerts, not its other events; None if it has
    none."""
    types = [each for each in event_types(plugin) if {"attack", "alert"} & set(each.of.tags)]
    if not types:
        return None
    names = [each.name for each in types]
    search = f"eventtype={names[0]}" if len(names) == 1 else f"eventtype IN ({', '.join(names)})"
    return Attacks(search, frozenset(name for each in types for name in each.fields))


def eventtypes(plugin: Plugin) -> Conf:
    """Return eventtypes.conf: one for each class of events, through the index macro. An event that
    reports an error has none."""
    stanzas: Conf = {}
    for name, dataset, of in event_types(plugin):
        search = f"`{addon(plugin).root}_index` sourcetype={_quote(sourcetype(dataset.name))}"
        if of.values:
            by, values = dataset.cim.by, ", ".join(map(_quote, of.values))
            is_usual = _left_out(dataset, by) in of.values
            search += f" ({by} IN ({values}) OR NOT {by}=*)" if is_usual else f" {by} IN ({values})"
        stanzas[name] = {"search": f"{search} NOT event.kind=pipeline_error"}
    return stanzas


def tags(plugin: Plugin) -> Conf:
    """Return tags.conf: the tags that put each eventtype into its CIM data models."""
    return {
        f"eventtype={each.name}": dict.fromkeys(each.of.tags, "enabled")
        for each in event_types(plugin)
    }


def macros(plugin: Plugin) -> Conf:
    """Return macros.conf: the index macro that every search of the add-on uses."""
    return {f"{addon(plugin).root}_index": {"definition": "index=*", "iseval": "0"}}


def collections(plugin: Plugin) -> Conf:
    """Return collections.conf: the KV store collection of the checkpoints."""
    return {
        f"{addon(plugin).root}_checkpoints": {
            "enforceTypes": "true",
            "field.input": "string",
            "field.unit": "string",
            "field.began": "string",
            "field.state": "string",
            "field.until": "string",
            "replicate": "false",
        }
    }
