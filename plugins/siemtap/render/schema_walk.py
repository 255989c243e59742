"""The JSON Schema of nested objects: its properties one after the other, and by path."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Set

from ..core import paths

Schema = Dict[str, Any]


class Property(NamedTuple):
    """A property of an event: its path, and its schema with the reference resolved."""

    path: str
    schema: Schema  # `ref` is the name of the definition that it comes from
    items: Schema  # the same for the items of a list; {} if it is no list, or one of anything
    in_list: bool  # whether it is part of an object in a list

    @property
    def is_object(self) -> bool:
        """Return whether it has properties."""
        return "properties" in self.schema

    @property
    def is_list(self) -> bool:
        """Return whether it is a list."""
        return self.schema.get("type") == "array"

    @property
    def is_object_list(self) -> bool:
        """Return whether it is a list of objects."""
        return "properties" in self.items


def walk(
    schema: Mapping[str, Any],
    definitions: Optional[Mapping[str, Any]] = None,
    prefix: str = "",
    in_list: bool = False,
) -> Iterator[Property]:
    """Yield every property, each object before its own properties."""
    definitions = schema.get("definitions", {}) if definitions is None else definitions
    for name, inner in schema["properties"].items():
        inner = _resolve(inner, definitions)
        items = _resolve(inner.get("items", {}), definitions)
        row = Property(f"{prefix}{name}", inner, items, in_list)
        yield row
        if row.is_object:
            yield from walk(inner, definitions, f"{row.path}.", in_list)
        elif row.is_object_list:
            yield from walk(items, definitions, f"{row.path}.", True)


def narrow(schema: Mapping[str, Any], kept: Set[str], prefix: str = "") -> Schema:
    """Return an object's schema with only the properties of these paths."""
    properties = {}
    for name, inner in schema["properties"].items():
        path = f"{prefix}{name}"
        if path in kept or any(other.startswith(f"{path}.") for other in kept):
            if "properties" in inner:
                inner = narrow(inner, kept, f"{path}.")
            properties[name] = inner
    return {**schema, "properties": properties}


def object_schema() -> Schema:
    """Return the schema of an object that has no properties yet, and allows no others."""
    return {"type": "object", "additionalProperties": False, "minProperties": 1, "properties": {}}


def put(tree: Schema, path: str, schema: Schema, mark: Mapping[str, str] = {}) -> None:
    """Add the schema of a path to that of an object, with the objects on the way, each marked."""
    *objects, leaf = paths.names(path)
    for name in objects:
        tree = tree["properties"].setdefault(name, {**object_schema(), **mark})
    tree["properties"][leaf] = schema


def has(schema: Mapping[str, Any], path: str) -> bool:
    """Return whether an object's schema has a property of this path."""
    place: Any = schema
    for name in paths.names(path):
        place = place.get("properties", {}).get(name, {})
    return bool(place)


def _resolve(schema: Schema, definitions: Mapping[str, Any]) -> Schema:
    """Return a schema, or the definition that it refers to with the name of that."""
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].rpartition("/")[2]
    return {**definitions[name], "ref": name}


def resolve_all(schema: Schema, definitions: Mapping[str, Any]) -> Schema:
    """Return a schema without references: those of its items and properties are resolved, too."""
    schema = dict(_resolve(schema, definitions))
    if "items" in schema:
        schema["items"] = resolve_all(schema["items"], definitions)
    if "properties" in schema:
        schema["properties"] = {
            name: resolve_all(inner, definitions) for name, inner in schema["properties"].items()
        }
    return schema
