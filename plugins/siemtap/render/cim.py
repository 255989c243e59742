"""Splunk's Common Information Model: what its data models require (schemas/cim.json)."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Any, Dict, Iterable, Iterator, List, Mapping

from ..core.errors import ConfigError
from ..core.model import Plugin
from ..core.rows import Cim, CimClass, Dataset, Rule
from ..edge import schemas


@cache
def models() -> Mapping[str, Any]:
    """Return the data models: name -> its fields, its tags, and the fields that it requires."""
    known: Mapping[str, Any] = schemas.read("cim.json")["models"]
    return known


def check_plugin(plugin: Plugin) -> None:
    """Check what the datasets of a plugin say about the CIM. ConfigError as `check` says."""
    for dataset in plugin.datasets:
        check(dataset)


def check(dataset: Dataset) -> None:
    """Check the CIM rules of a dataset.

    ConfigError for a data model that does not exist, lacks a tag or lacks a field that it requires,
    for a class whose events cannot be told, for a field of no model, for a rule that reads what no
    row sets, and for a value that the model does not allow.
    """
    for problem in _problems(dataset):
        raise ConfigError(f"{dataset.name}: {problem}")


def _problems(dataset: Dataset) -> Iterator[str]:
    cim = dataset.cim
    yield from _problems_of_classes(cim)
    for name, group in cim.groups().items():
        yield from _problems_of_models(f"the class {name} of Cim" if name else "Cim", group, cim)
    named = [model for group in cim.groups().values() for model in group.models]
    known = {*cim.custom, *(field for model in named for field in models()[model]["fields"])}
    for field, _, rule in cim.rules():
        if field not in known:
            yield (
                f"the CIM field {field} is in none of its data models ({_list(named) or 'none'});"
                " write it as the model does, or list it in Cim.custom"
            )
        for path in [*_paths(rule)]:
            yield from _problems_of_path(dataset, f"the rule of the CIM field {field}", path)
    if cim.by:
        yield from _problems_of_path(dataset, "Cim.by", cim.by)


def _problems_of_classes(cim: Cim) -> Iterator[str]:
    if cim.classes and (cim.models or cim.tags or not cim.by):
        yield (
            "Cim has classes; name the field that tells them apart in Cim.by, and leave models and"
            " tags to the classes"
        )
    if cim.by and not cim.classes:
        yield "Cim.by is for classes, and Cim has none; add them to Cim.classes, or remove it"
    of_value: Dict[str, str] = {}
    for name, group in cim.classes.items():
        if not group.values:
            yield f"the class {name} of Cim has no values; list those of {cim.by} that mean it"
        for value in group.values:
            if value in of_value:
                yield f"{cim.by} {value} means two classes of Cim, {of_value[value]} and {name}"
            of_value[value] = name


def _problems_of_models(where: str, group: CimClass, cim: Cim) -> Iterator[str]:
    unknown = [model for model in group.models if model not in models()]
    if unknown:
        yield f"{where} names {_list(unknown)}; the data models are {_list(models())}"
    if not group.models:
        yield f"{where} has tags and no data model; name the model that the tags mean"
    rules = cim.rules_of(group)
    for model in group.models:
        facts = models()[model]
        tags = [tag for tag in facts["tags"] if tag not in group.tags]
        if tags:
            yield f"{where} is in {model}, whose events have the tags {_list(tags)}; add them"
        missing = [field for field in facts["required"] if field not in rules]
        if missing:
            place = "its fields or to Cim.fields" if group.values else "Cim.fields"
            yield (
                f"{where} is in {model}, which requires {_list(missing)}; add a rule for each to"
                f' {place}, such as "{missing[0]}": {{"from": "<a field of the event>"}}'
            )
        for field, allowed in facts["fields"].items():
            wrong = [
                value for value in _values(rules.get(field, {})) if value not in (allowed or ())
            ]
            if allowed and wrong:
                yield (
                    f"{where} gives the CIM field {field} the value {_list(wrong)}; {model} allows"
                    f" {_list(allowed)}"
                )


def _problems_of_path(dataset: Dataset, where: str, path: str) -> Iterator[str]:
    targets = dataset.targets()
    if path not in targets and path.rpartition(".")[0] not in targets:
        close = get_close_matches(path, targets, n=3, cutoff=0.6)
        hint = f" (close to it: {_list(close)})" if close else ""
        yield f"{where} reads {path}, which no row sets{hint}"


def _paths(rule: Rule) -> Iterator[str]:
    """Yield the paths of the event that a rule reads."""
    yield from ([rule["from"]] if "from" in rule else [])
    yield from [*rule.get("first", ()), *rule.get("join", ()), *rule.get("present", ())]
    if isinstance(rule.get("else"), dict):
        yield from _paths(rule["else"])


def _values(rule: Rule) -> List[Any]:
    """Return the values that a rule gives by itself."""
    values = [*rule.get("map", {}).values(), *rule.get("present", {}).values()]
    values += [rule["is"]] if "is" in rule else []
    otherwise = rule.get("else")
    if isinstance(otherwise, dict):
        return values + _values(otherwise)
    return values + ([] if otherwise is None else [otherwise])


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)
