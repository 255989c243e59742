"""The Elastic Common Schema: which fields there are, and what each may hold (schemas/ecs.json)."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Any, Dict, Iterable, List, Mapping, Optional

from ..core.convert import FieldType
from ..core.errors import ConfigError
from ..core.model import Plugin
from ..core.rows import ECS_VERSION, Dataset
from ..edge import schemas
from .row_types import UnknownType, describe, field_types, own_types

# kind of a converter's result -> the types of ECS that hold it
HOLDERS: Mapping[str, Iterable[str]] = {
    "keyword": ("keyword", "constant_keyword", "wildcard", "match_only_text"),
    "wildcard": ("keyword", "wildcard", "match_only_text"),
    "long": ("long", "integer", "float", "double", "scaled_float"),
    "double": ("float", "double", "scaled_float"),
    "boolean": ("boolean",),
    "ip": ("ip", "keyword"),
    "date": ("date", "keyword"),
    "flattened": ("flattened", "object", "nested"),
    "object": ("object", "nested", "flattened"),
}
ADVICE: Mapping[str, str] = {
    "long": "integer of siemtap.core.declared",
    "ip": "ip of siemtap.core.convert",
    "date": "instant of siemtap.core.convert",
}


@cache
def _document() -> Dict[str, Any]:
    document: Dict[str, Any] = schemas.read("ecs.json")
    if document["version"] != ECS_VERSION:
        raise ValueError(f"schemas/ecs.json is of ECS {document['version']}, not {ECS_VERSION}")
    return document


def fields() -> Mapping[str, Mapping[str, Any]]:
    """Return name -> {type, level, array, ignore_above, values, …} of every field."""
    known: Mapping[str, Mapping[str, Any]] = _document()["fields"]
    return known


def field(path: str) -> Optional[Mapping[str, Any]]:
    """Return what ECS says of a field; None if it has none of this name.

    A name below an object without fields of its own, such as `labels`, is a keyword.
    """
    known = fields()
    if path in known:
        return known[path]
    parent = path.rpartition(".")[0]
    return {"type": "keyword"} if known.get(parent, {}).get("type") == "object" else None


def expected_types(category: str) -> List[str]:
    """Return the values of `event.type` that ECS expects beside a value of `event.category`."""
    return list(_document()["expected_event_types"].get(category, ()))


def unexpected_types(categories: Iterable[str], types: Iterable[str]) -> List[str]:
    """Return the values of `event.type` that none of the categories expects."""
    expected = {name for category in categories for name in expected_types(category)}
    return [name for name in types if name not in expected]


def check_plugin(plugin: Plugin) -> None:
    """Check the fields of a plugin's datasets. ConfigError as `check` says, and where two datasets
    give one field two types."""
    for dataset in plugin.datasets:
        check(dataset)
    try:
        own_types(plugin.datasets)
    except UnknownType as error:
        raise ConfigError(f"{plugin.name}: {error}") from None


def check(dataset: Dataset) -> None:
    """Check the names, types and constants of a dataset's fields.

    ConfigError for a name that is neither of ECS nor below the dataset's own object, for a field
    whose type is unknown or not that of ECS, and for a constant that ECS does not allow.
    """
    try:
        types = field_types(dataset)
    except UnknownType as error:
        raise ConfigError(f"the rows of {dataset.name}: {error}") from None
    for path, kind in types.items():
        if path.startswith(f"{dataset.namespace}."):
            if kind is None:
                raise ConfigError(_untyped(dataset, path))
        else:
            _check_shared(dataset, path, kind)
    categories = dataset.constant.get("event.category", ())
    for name in unexpected_types(categories, dataset.constant.get("event.type", ())):
        if categories:
            raise ConfigError(
                f"{dataset.name}: ECS does not expect event.type {name} beside event.category"
                f" {', '.join(categories)}; it expects"
                f" {', '.join(sorted({t for c in categories for t in expected_types(c)}))}"
            )


def _check_shared(dataset: Dataset, path: str, kind: Optional[FieldType]) -> None:
    facts = field(path)
    if facts is None:
        close = get_close_matches(path, fields(), n=3, cutoff=0.6)
        hint = f" (close to it: {', '.join(close)})" if close else ""
        raise ConfigError(
            f'{dataset.name}: "{path}" is no field of ECS {ECS_VERSION}{hint}; write a field of'
            f" ECS, or one of your own below {dataset.namespace}."
        )
    if kind is None or not kind.kind:
        return
    if facts["type"] not in HOLDERS[kind.kind]:
        advice = ADVICE.get(facts["type"])
        raise ConfigError(
            f"{dataset.name}: {path} is a {facts['type']} in ECS {ECS_VERSION}, and its row gives"
            f" {describe(kind)}" + (f"; use {advice}" if advice else "")
        )
    if kind.many != bool(facts.get("array")):
        raise ConfigError(
            f"{dataset.name}: {path} is {'a list' if facts.get('array') else 'one value'} in ECS"
            f" {ECS_VERSION}, and its row gives {describe(kind)}"
        )
    allowed = facts.get("values", kind.values)
    for value in kind.values:
        if value not in allowed:
            raise ConfigError(
                f'{dataset.name}: "{value}" is no value of {path} in ECS {ECS_VERSION}; allowed are'
                f" {', '.join(allowed)}"
            )


def _untyped(dataset: Dataset, path: str) -> str:
    return (
        f"{dataset.name}: the type of {path} is not known; annotate what its row's converter"
        " returns, for example `-> Optional[int]`, or use a converter of siemtap.core.declared"
    )
