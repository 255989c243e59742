"""What is rendered into schemas/event.schema.json: the vendors' objects, and the fields of ECS that
a plugin uses beyond the ones that the contract describes by hand."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, List

from siemtap.core.rows import Dataset
from siemtap.render import ecs
from siemtap.render.datasets import added_paths, schema_of_ecs, vendor_schema
from siemtap.render.row_types import own_types
from siemtap.render.schema_walk import Schema, has, put

RENDERED = {"$comment": "rendered"}  # marks what was not written by hand
WIDTH = 180  # columns of a line; what fits on one is not broken


def contract_of(contract: Schema, datasets: Iterable[Dataset]) -> Schema:
    """Return the contract with the parts that follow from these datasets; the rest as it is."""
    datasets = list(datasets)
    vendors = sorted({dataset.namespace for dataset in datasets})
    written = {name: value for name, value in contract["definitions"].items() if name != "shared"}
    for name in contract["vendors"]:
        del written[name]
    shared = without_rendered(contract["definitions"]["shared"])
    for dataset in datasets:
        for path in (*dataset.targets(), *added_paths(dataset)):
            facts = ecs.field(path)
            if facts is not None and not has(shared, path):
                put(shared, path, {**schema_of_ecs(facts), **RENDERED}, RENDERED)
    objects = {
        vendor: vendor_schema(own_types([each for each in datasets if each.namespace == vendor]))
        for vendor in vendors
    }
    references = {name: f"#/definitions/shared/properties/{name}" for name in shared["properties"]}
    references.update({vendor: f"#/definitions/{vendor}" for vendor in vendors})
    return {
        **contract,
        "vendors": vendors,
        "properties": {name: {"$ref": reference} for name, reference in references.items()},
        "allOf": [
            {
                "if": {"required": [vendor]},
                "then": {"properties": {"event": {"properties": {"module": {"const": vendor}}}}},
            }
            for vendor in vendors
        ],
        "definitions": {**written, "shared": shared, **objects},
    }


def without_rendered(schema: Schema) -> Schema:
    """Return an object's schema without the properties that were rendered."""
    properties: Dict[str, Any] = {}
    for name, inner in schema["properties"].items():
        if inner.get("$comment") == RENDERED["$comment"]:
            continue
        properties[name] = without_rendered(inner) if "properties" in inner else inner
    return {**schema, "properties": properties}


def to_text(value: Any) -> str:
    """Return JSON in which what fits on a line is one line."""
    return "\n".join(_lines(value, "")) + "\n"


def _lines(value: Any, indent: str) -> List[str]:
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or len(indent) + len(line) <= WIDTH:
        return [line]
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    items = list(value.items()) if isinstance(value, dict) else [("", item) for item in value]
    lines = [opening]
    for number, (name, item) in enumerate(items):
        head, *tail = _lines(item, f"{indent}  ")
        prefix = f"{json.dumps(name, ensure_ascii=False)}: " if isinstance(value, dict) else ""
        part = [f"{indent}  {prefix}{head}", *tail]
        if number + 1 < len(items):
            part[-1] += ","
        lines += part
    return [*lines, f"{indent}{closing}"]
