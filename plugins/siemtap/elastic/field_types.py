"""The types of an index's fields: those of ECS, and of the mapping table for a vendor's own."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from ..core.convert import FieldType
from ..core.paths import nest
from ..core.rows import Dataset
from ..render import ecs
from ..render.datasets import INPUT_PATHS
from ..render.row_types import own_types
from .server import Server

IGNORE_ABOVE = 1024
# Characters. A term may have 32,766 bytes, and a character four; a longer term makes the cluster
# reject the whole event.
LONGEST_TERM = 8_191
# Fields that the pipeline adds.
ADDED = (
    "event.ingested",
    "source.geo.location",
    "source.geo.city_name",
    "source.geo.region_name",
    "source.geo.region_iso_code",
    "source.geo.country_name",
    "source.geo.continent_name",
    "source.as.number",
    "source.as.organization.name",
    "user_agent.name",
    "user_agent.version",
    "user_agent.device.name",
    "user_agent.os.name",
    "user_agent.os.version",
    "user_agent.os.full",
)


def mappings(server: Server, dataset: Dataset) -> Dict[str, Any]:
    """Return the mappings of all fields that the dataset or the pipeline sets. Nothing else is
    indexed."""
    properties = nest(types(server, dataset), between="properties")
    return {"dynamic": "false", "properties": properties}


def types(server: Server, dataset: Dataset) -> Dict[str, Dict[str, Any]]:
    """Return path -> field mapping of all fields that the dataset or the pipeline sets, sorted."""
    own = own_types([dataset])
    fields: Dict[str, Dict[str, Any]] = {}
    for path in {*dataset.targets(), *INPUT_PATHS}:
        if path not in own:
            fields[path] = _of_ecs(server, ecs.field(path) or {"type": "flattened"})
    for path, kind in own.items():
        if kind.kind != "object":
            fields[path] = _of_row(server, kind)
        # An index has the values of all objects of a list under each name.
        for name, inner in kind.properties:
            fields[f"{path}.{name}"] = _of_row(server, inner)
    # The pipeline adds to objects that the dataset has.
    prefixes = ["event."]
    for prefix in ("source.", "user_agent."):
        if any(path.startswith(prefix) for path in fields):
            prefixes.append(prefix)
    for path in ADDED:
        if path.startswith(tuple(prefixes)):
            fields[path] = _of_ecs(server, ecs.fields()[path])
    constants = {
        "data_stream.type": "logs",
        "data_stream.dataset": dataset.name,
        "event.dataset": dataset.name,
        "event.module": dataset.namespace,
    }
    # An aggregation over a constant_keyword of OpenSearch answers names of indices. Every event has
    # these values, so a keyword finds the same events.
    has_constants = server.flavour == "elasticsearch"
    for path, value in constants.items():
        fields[path] = {"type": "constant_keyword", "value": value} if has_constants else _keyword()
    # The first event of a data stream sets this constant.
    fields["data_stream.namespace"] = {"type": "constant_keyword"} if has_constants else _keyword()
    return dict(sorted(fields.items()))


def lists_of_objects(dataset: Dataset) -> List[str]:
    """Return the paths of a dataset that are lists of objects, sorted."""
    return sorted(path for path, kind in own_types([dataset]).items() if kind.properties)


def _of_ecs(server: Server, facts: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the mapping of a field of ECS."""
    kind = facts["type"]
    if facts.get("index") is False:
        return _stored()
    if kind in ("keyword", "constant_keyword"):
        return _keyword(facts.get("ignore_above", IGNORE_ABOVE))
    if kind == "wildcard":
        return {"type": kind, "ignore_above": LONGEST_TERM}
    if kind == "flattened":
        return _flattened(server)
    if kind == "scaled_float":
        return {"type": kind, "scaling_factor": facts["scaling_factor"]}
    return {"type": "object" if kind == "nested" else kind}


def _of_row(server: Server, kind: FieldType) -> Dict[str, Any]:
    """Return the mapping of a vendor's own field."""
    if not kind.indexed:
        return _stored()
    if kind.kind == "keyword":
        return _keyword()
    if kind.kind == "flattened":
        return _flattened(server)
    if kind.kind == "wildcard" and server.flavour == "opensearch":
        # its doc values hold 32,766 bytes, and it rejects the event of a longer text
        return {"type": "wildcard", "doc_values": False}
    return {"type": kind.kind}


def _stored() -> Dict[str, Any]:
    """Return the mapping of a field that is stored, but not searchable."""
    return {"type": "keyword", "index": False, "doc_values": False}


def _flattened(server: Server) -> Dict[str, Any]:
    if server.flavour == "elasticsearch":
        return {"type": "flattened", "ignore_above": LONGEST_TERM}
    return {"type": "flat_object"}


def _keyword(longest: int = IGNORE_ABOVE) -> Dict[str, Any]:
    return {"type": "keyword", "ignore_above": min(longest, LONGEST_TERM)}
