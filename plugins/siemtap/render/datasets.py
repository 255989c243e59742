"""The JSON Schema of one dataset, from the contract, ECS and the mapping table.

The validator is compiled from it, and schemas/ is rendered from it.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Set, Tuple

from ..core.compile.fit import OBJECT_WORDS, FieldSchemas, known
from ..core.convert import FieldType, text
from ..core.declared import Const, Each, Integer, Lookup, Lower, Text, declaration_of
from ..core.rows import Dataset, Join, is_collected, record_rows
from . import ecs
from .row_types import own_types, types_of
from .schema_walk import Schema, has, narrow, object_schema, put, resolve_all, walk

# Paths that an input may add to the events of any dataset.
INPUT_PATHS = (
    "tags",
    "fields",
    "data_stream.namespace",
    "agent.type",
    "agent.version",
    "agent.name",
)
# Paths that the processor `geoip` adds to events with `source.ip`.
LOOKED_UP = (
    "source.geo.continent_name",
    "source.geo.country_iso_code",
    "source.geo.country_name",
    "source.geo.region_iso_code",
    "source.geo.region_name",
    "source.geo.city_name",
    "source.geo.location",
    "source.as.number",
    "source.as.organization.name",
)
SIMPLE: Mapping[str, Schema] = {
    "long": {"$ref": "#/definitions/long"},
    "integer": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "double": {"type": "number"},
    "float": {"type": "number"},
    "scaled_float": {"type": "number"},
    "boolean": {"type": "boolean"},
    "ip": {"$ref": "#/definitions/ip"},
    "date": {"$ref": "#/definitions/timestamp"},
    "flattened": {"$ref": "#/definitions/flattened"},
    "object": {"type": "object", "minProperties": 1},
    "nested": {"type": "object", "minProperties": 1},
    "geo_point": {"type": "object", "minProperties": 1},
}  # type of an index -> schema; a type that is not listed is a text
TEXT: Schema = {"type": "string", "minLength": 1}


def added_paths(dataset: Dataset) -> Tuple[str, ...]:
    """Return the paths that may be added to an event after its mapping."""
    return (*INPUT_PATHS, *LOOKED_UP) if "source.ip" in dataset.targets() else INPUT_PATHS


def schema_of(contract: Schema, dataset: Dataset) -> Schema:
    """Return the schema of a dataset's events: the shared fields that it has, its vendor's object.

    Other fields are not allowed. A shared field has the schema of the contract, or else the one
    that follows from its type in ECS. `contract`: schemas/event.schema.json.
    """
    shared = contract["definitions"]["shared"]
    namespace = dataset.namespace
    paths = {*dataset.targets(), *added_paths(dataset)}
    shared_paths = {path for path in paths if not path.startswith(f"{namespace}.")}
    tree = narrow(shared, shared_paths)
    for path in sorted(shared_paths):
        facts = ecs.field(path)
        if facts is not None and not has(shared, path):
            put(tree, path, schema_of_ecs(facts))
    properties = tree["properties"]
    properties["event"]["properties"].update(
        dataset={"const": dataset.name}, module={"const": namespace}
    )
    properties["data_stream"]["properties"].update(dataset={"const": dataset.name})
    return {
        "$schema": contract["$schema"],
        "title": dataset.name,
        "type": "object",
        "additionalProperties": False,
        "required": shared["required"],
        "properties": {**properties, namespace: vendor_schema(own_types([dataset]))},
        "definitions": {name: contract["definitions"][name] for name in SHARED_DEFINITIONS},
    }


def field_schemas(schema: Schema, dataset: Dataset) -> FieldSchemas:
    """Return what the schema of a dataset says of its fields, and which of its rows surely give
    what fits. A schema that says more of an object than the names it may and must have has no field
    that surely fits."""
    if not OBJECT_WORDS.issuperset(known(schema)):
        return FieldSchemas({}, {})
    fields: Dict[str, Schema] = {}
    required = {"": tuple(schema["required"])}
    for row in walk(schema):
        if row.in_list:
            continue
        if row.is_object:
            words = known(row.schema)
            if not OBJECT_WORDS.issuperset(words) or words.get("minProperties", 0) > 1:
                return FieldSchemas({}, {})
            required[row.path] = tuple(row.schema.get("required", ()))
        else:
            fields[row.path] = resolve_all(row.schema, schema["definitions"])
    sure = {
        (number, path)
        for number, row in record_rows(dataset)
        # the values of a Join come as they were sent, empty ones too
        if is_declared(row.convert) and not isinstance(row, Join)
        for path, kind in types_of(row).items()
        if kind and path in fields and is_sure(kind, fields[path], is_collected(path))
    }
    return FieldSchemas(fields, required, sure)


def is_declared(convert: Callable[..., Any]) -> bool:
    """Return whether a converter is one of ours through and through, which never gives an empty
    text: what it declares, it gives. An annotation is no more than a promise, and a converter that
    returns a value of the vendor's may break it."""
    declaration = declaration_of(convert)
    if isinstance(declaration, Lookup):
        return declaration.otherwise is None and all(map(is_scalar, declaration.values.values()))
    if isinstance(declaration, Const):
        return is_scalar(declaration.value)
    if isinstance(declaration, Each):
        return all(map(is_declared, declaration.parts))
    return convert is text or isinstance(declaration, (Integer, Lower, Text))


def is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int))


def is_sure(kind: FieldType, schema: Schema, is_item: bool = False) -> bool:
    """Return whether every value of a type fits a field's schema. `is_item`: it becomes an item of
    the field, a list."""
    if is_item:
        kind, schema = kind._replace(many=False), schema.get("items", {})
    rules = known(schema)
    if kind.many:
        return False
    if kind.values:
        if rules == TEXT:
            return all(value.__class__ is str and value for value in kind.values)
        return all(value in rules.get("enum", ()) for value in kind.values)
    if kind.least is not None and kind.most is not None:
        return rules.get("type") == "integer" and (
            rules.get("minimum", kind.least) <= kind.least
            and kind.most <= rules.get("maximum", kind.most)
        )
    # without bounds, only a text is whatever its type is
    return kind.kind not in SIMPLE and rules == TEXT


SHARED_DEFINITIONS = ("flattened", "ip", "long", "port", "timestamp")


def list_paths(dataset: Dataset) -> Set[str]:
    """Return the paths that hold lists: Splunk extracts a JSON list `a.b` as the field `a.b{}`."""
    own = own_types([dataset])
    return {
        path
        for path in {*dataset.targets(), *INPUT_PATHS, *own}
        if (own[path].many if path in own else (ecs.field(path) or {}).get("array"))
    }


def vendor_schema(types: Mapping[str, FieldType]) -> Schema:
    """Return the schema of a vendor's object."""
    tree = object_schema()
    last = sorted(types, key=lambda path: path.endswith(".extra"))
    for path, kind in ((path, types[path]) for path in last):
        put(tree, path.partition(".")[2], schema_of_type(kind))
    return tree


def schema_of_type(kind: FieldType) -> Schema:
    """Return the schema of a field of this type."""
    if kind.many:
        return {"type": "array", "items": schema_of_type(kind._replace(many=False)), "minItems": 1}
    if kind.values:
        return {"enum": list(kind.values)}
    if kind.properties:
        properties = {name: schema_of_type(inner) for name, inner in kind.properties}
        return {**object_schema(), "properties": properties, "required": list(properties)}
    if kind.least is not None and kind.most is not None:
        return {"type": "integer", "minimum": kind.least, "maximum": kind.most}
    return dict(SIMPLE.get(kind.kind, TEXT))


def schema_of_ecs(facts: Mapping[str, Any]) -> Schema:
    """Return the schema of a field of ECS."""
    schema = dict(SIMPLE.get(facts["type"], TEXT))
    if "values" in facts:
        schema = {"enum": facts["values"]}
    if "pattern" in facts:
        schema["pattern"] = facts["pattern"]
    return {"type": "array", "items": schema, "minItems": 1} if facts.get("array") else schema
