"""The contract, narrowed to one dataset: what a validator in the pipe is compiled from, and what
is rendered into schemas/datasets."""

from __future__ import annotations

from typing import Any, Dict, Set

from ..core.mapping import Dataset

OF_EVERY_INPUT = (
    "tags",
    "fields",
    "data_stream.namespace",
    "agent.type",
    "agent.version",
    "agent.name",
)


def schema_of(contract: Dict[str, Any], dataset: Dataset) -> Dict[str, Any]:
    """Strict: of the shared fields those that the dataset can set, and the one vendor object. A
    vendor whose object the contract does not hold yet (a plugin from elsewhere) gets one made of
    its mapping table."""
    shared = contract["definitions"]["shared"]
    space = dataset.namespace
    vendor = (
        {"$ref": f"#/definitions/{space}"} if space in contract["definitions"] else _vendor(dataset)
    )
    fields = _narrowed(shared, {*dataset.targets(), *OF_EVERY_INPUT})["properties"]
    fields["event"]["properties"].update(dataset={"const": dataset.name}, module={"const": space})
    fields["data_stream"]["properties"].update(dataset={"const": dataset.name})
    used = {space} if space in contract["definitions"] else set()
    return {
        "$schema": contract["$schema"],
        "title": dataset.name,
        "type": "object",
        "additionalProperties": False,
        "required": shared["required"],
        "properties": {**fields, space: vendor},
        "definitions": {
            name: contract["definitions"][name] for name in sorted(used | _shared(contract))
        },
    }


def _narrowed(schema: Dict[str, Any], paths: Set[str], place: str = "") -> Dict[str, Any]:
    """An object's schema with only the properties that lie on one of the paths."""
    properties = {}
    for name, below in schema["properties"].items():
        path = f"{place}{name}"
        if path in paths or any(one.startswith(f"{path}.") for one in paths):
            properties[name] = (
                _narrowed(below, paths, f"{path}.") if "properties" in below else below
            )
    return {**schema, "properties": properties}


def _shared(contract: Dict[str, Any]) -> Set[str]:
    """Definitions that the shared fields refer to."""
    return set(contract["definitions"]) - {"shared"} - set(contract["vendors"])


def _vendor(dataset: Dataset) -> Dict[str, Any]:
    """An object that knows the names of the table, and nothing of their types."""
    tree: Dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"extra": {"type": "object"}},
    }
    for path in dataset.targets():
        names = path.split(".")
        if names[0] == dataset.namespace:
            place = tree
            for name in names[1:-1]:
                place = place["properties"].setdefault(
                    name, {"type": "object", "additionalProperties": False, "properties": {}}
                )
            place["properties"].setdefault(names[-1], {})
    return tree
