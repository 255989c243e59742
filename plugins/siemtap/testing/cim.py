"""Checks of what a dataset's events give to Splunk's Common Information Model."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional

from ..core.paths import get
from ..core.rows import Dataset, Event, Rule
from ..render.cim import models

# Required fields that do not depend on what a record happens to have.
ALWAYS = {
    "action",
    "category",
    "change_type",
    "dvc",
    "ids_type",
    "object_category",
    "severity",
    "signature",
    "type",
    "vendor_product",
}


def check_cim(dataset: Dataset, event: Event) -> None:
    """Check that an event has what its data models require, with values that they allow."""
    group = dataset.cim.class_of(event)
    rules = dataset.cim.rules_of(group)
    for model in group.models if group else ():
        for name in ALWAYS & set(models()[model]["required"]):
            assert value_of(event, rules[name]), f"{name}, which {model} requires"
        for name, allowed in models()[model]["fields"].items():
            value = value_of(event, rules[name]) if name in rules else None
            assert not allowed or value is None or value in allowed, f"{name} of {model}: {value}"


def value_of(event: Event, rule: Rule) -> Optional[str]:
    """Return the value that a rule gives a CIM field of a whole event."""
    if "is" in rule:
        return str(rule["is"])
    otherwise: Optional[str] = rule.get("else")
    if isinstance(otherwise, dict):
        otherwise = value_of(event, otherwise)
    if "join" in rule:
        parts = [_text(event, path) for path in rule["join"]]
        return otherwise if None in parts else " ".join(map(str, parts))
    paths = [rule["from"]] if "from" in rule else rule.get("first", ())
    value = next((text for path in paths if (text := _text(event, path)) is not None), None)
    if "present" in rule and not paths:
        words: Mapping[str, str] = rule["present"]
        return next((words[path] for path in words if get(event, path) is not None), otherwise)
    if value is not None and "lower" in rule:
        value = value.lower()
    if "map" in rule:
        names: Mapping[Optional[str], str] = rule["map"]
        return names.get(value, otherwise)
    if value is None or value == rule.get("unless"):
        return otherwise
    return _derived(value, rule)


def _derived(value: str, rule: Rule) -> Optional[str]:
    """Return what a rule makes of a text or a number."""
    if "length" in rule:
        return str(len(value))
    if "per" in rule:
        return f"{float(value) / rule['per']:.15g}"
    if "part" in rule:
        match = re.match(rule["part"], value)
        return (match[1] or None) if match else None
    return value


def _text(event: Event, path: str) -> Optional[str]:
    """Return a field as Splunk has it; of a list the first."""
    value: Any = get(event, path)
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
