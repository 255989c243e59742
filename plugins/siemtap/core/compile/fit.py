"""Whether a value fits the JSON Schema of its field, in Python.

The compiled mapping asks this of every value where it puts it into an event, so that the event as a
whole need not be checked again. A yes is certain, and a no is not: the validator of the whole event
decides then. It knows the words that the schemas of events use; a schema with any other fits
nothing.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import AbstractSet, Any, Callable, Dict, Iterable, Mapping, Tuple

from ..convert import OCTETS
from ..paths import parents

Schema = Mapping[str, Any]  # JSON Schema of a field, without references
Fits = Callable[[Any], bool]

LONGEST_IPV6 = 45  # characters
CLASSES = re.compile(r"\\[bdswBDSW]")
TEXT = {"type": "string", "minLength": 1}
SAYS_NOTHING = ("$schema", "title", "description", "definitions", "$comment", "ref")
FORMATS = ({"format": "ipv4"}, {"format": "ipv6"})  # of an IP address


@dataclass(frozen=True, eq=False)
class FieldSchemas:
    """What a dataset's schema says of its fields.

    `fields`: path -> schema of each that is no object with properties. `required`: path of an
    object ("" for the event) -> the names that it must have. `sure`: (position of a row, path)
    where the row's converter surely gives what fits the field.
    """

    fields: Mapping[str, Schema]
    required: Mapping[str, Tuple[str, ...]]
    sure: AbstractSet[Tuple[int, str]] = frozenset()
    checks: Dict[str, Fits] = field(default_factory=dict, repr=False)

    def fits(self, path: str) -> Fits:
        """Return the check of a field's value; no value fits a field that is not there."""
        if path not in self.checks:  # each input asks for those of its constants
            self.checks[path] = fits(self.fields[path]) if path in self.fields else never
        return self.checks[path]

    def item_fits(self, path: str) -> Fits:
        """Return the check of one item of a field that is a list."""
        items = self.fields.get(path, {}).get("items")
        return fits(items) if items else never

    def is_complete(self, present: Iterable[str], possible: Iterable[str]) -> bool:
        """Return whether an event with the fields `present` has all that is required, in each
        object in which one of the fields `possible` is."""
        names = {inner for path in present for inner in (*parents(path), path)}
        objects = {"", *(inner for path in possible for inner in (*parents(path), path))}
        return all(
            f"{path}.{name}".lstrip(".") in names
            for path, required in self.required.items()
            if path in objects
            for name in required
        )


def condition(schema: Schema, value: str, check: str) -> str:
    """Return Python that says whether the variable `value` fits: without a call where that is
    possible, else by calling `check`."""
    rules = known(schema)
    if rules == TEXT:
        return f"{value} and {value}.__class__ is str"
    if rules == {"type": "boolean"}:
        return f"{value}.__class__ is bool"
    if rules.get("type") == "integer" and rules.keys() <= {"type", "minimum", "maximum"}:
        least = f"{rules['minimum']} <= " if "minimum" in rules else ""
        most = f" <= {rules['maximum']}" if "maximum" in rules else ""
        bounds = f" and {least}{value}{most}" if least or most else ""
        return f"{value}.__class__ is int{bounds}"
    if rules == {"type": "object", "minProperties": 1}:
        return f"{value} and {value}.__class__ is dict"
    return f"{check}({value})"


def known(schema: Schema) -> Dict[str, Any]:
    """Return the rules of a schema."""
    return {word: rule for word, rule in schema.items() if word not in SAYS_NOTHING}


def never(value: Any) -> bool:
    """Return that a value does not surely fit."""
    return False


def fits(schema: Schema) -> Fits:
    """Return the check of a value."""
    rules = known(schema)
    words = set(rules)
    if words == {"const"}:
        return one_of([rules["const"]])
    if words == {"enum"}:
        return one_of(rules["enum"])
    if words == {"type", "anyOf"} and all(each in FORMATS for each in rules["anyOf"]):
        return is_ip
    kind = rules.get("type")
    if kind == "string" and words <= {"type", "minLength", "pattern"}:
        return text_fits(rules)
    if kind == "integer" and words <= {"type", "minimum", "maximum"}:
        return number_fits(rules, (int,))
    if kind == "number" and words <= {"type", "minimum", "maximum"}:
        return number_fits(rules, (int, float))
    if kind == "boolean" and words == {"type"}:
        return lambda value: value.__class__ is bool
    if kind == "array" and words <= {"type", "items", "minItems", "uniqueItems"}:
        return list_fits(rules)
    if kind == "object" and words <= OBJECT_WORDS:
        return object_fits(rules)
    return never


OBJECT_WORDS = {"type", "minProperties", "properties", "required", "additionalProperties"}


def one_of(values: Iterable[Any]) -> Fits:
    """Return the check of a value that is one of several texts, numbers or booleans."""
    allowed = {(value.__class__, value) for value in values}
    scalars = {str, int, bool}

    def check(value: Any) -> bool:
        return value.__class__ in scalars and (value.__class__, value) in allowed

    return check


def text_fits(rules: Schema) -> Fits:
    """Return the check of a text."""
    least = rules.get("minLength", 0)
    pattern = rules.get("pattern", "")
    if not pattern:
        return lambda value: value.__class__ is str and len(value) >= least
    # Python's `$` matches before a last line end, too
    if "$" in pattern[:-1] or pattern.endswith("\\$"):
        return never
    # of these classes, languages have the same printable ASCII characters only
    is_ascii = bool(CLASSES.search(pattern))
    search = re.compile(re.sub(r"\$$", r"\\Z", pattern)).search

    def check(value: Any) -> bool:
        if value.__class__ is not str or len(value) < least or not search(value):
            return False
        return not is_ascii or (value.isascii() and value.isprintable())

    return check


def number_fits(rules: Schema, classes: Tuple[type, ...]) -> Fits:
    """Return the check of a number; NaN and infinity are none."""
    least, most = rules.get("minimum", float("-inf")), rules.get("maximum", float("inf"))

    def check(value: Any) -> bool:
        return value.__class__ in classes and value - value == 0 and least <= value <= most

    return check


def is_ip(value: Any) -> bool:
    """Return whether a value is the text of an IP address, without a zone."""
    if value.__class__ is not str or len(value) > LONGEST_IPV6:
        return False
    parts = value.split(".")
    return (len(parts) == 4 and OCTETS.issuperset(parts)) or is_ipv6(value)


@lru_cache(4_096)
def is_ipv6(text: str) -> bool:
    if "%" in text:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def list_fits(rules: Schema) -> Fits:
    """Return the check of a list. Of different items are texts only: the number 1 and `true` are
    two items for JSON, and one for Python."""
    item = fits(rules.get("items", {}))
    least = rules.get("minItems", 0)
    is_unique = rules.get("uniqueItems", False)

    def check(value: Any) -> bool:
        if value.__class__ is not list or len(value) < least or not all(map(item, value)):
            return False
        return not is_unique or (
            all(each.__class__ is str for each in value) and len(set(value)) == len(value)
        )

    return check


def object_fits(rules: Schema) -> Fits:
    """Return the check of an object: with properties of its own, or with any."""
    least = rules.get("minProperties", 0)
    required = set(rules.get("required", ()))
    if "properties" not in rules:
        return lambda value: (
            value.__class__ is dict and len(value) >= least and required <= value.keys()
        )
    if rules.get("additionalProperties") is not False:
        return never
    checks = {name: fits(inner) for name, inner in rules["properties"].items()}

    def check(value: Any) -> bool:
        return (
            value.__class__ is dict
            and len(value) >= least
            and required <= value.keys() <= checks.keys()
            and all(checks[name](inner) for name, inner in value.items())
        )

    return check
