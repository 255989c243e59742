"""The fields of a data stream, as fields/*.yml declare them."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ...core.model import Plugin
from ...core.rows import Dataset, Given
from ..field_types import ADDED, lists_of_objects, types
from ..server import Server
from .model import PULLED, Stream

ELASTIC = Server("elasticsearch", (9, 1))


def fields_of(plugin: Plugin, dataset: Dataset, stream: Stream) -> Dict[str, List[Dict[str, Any]]]:
    source: Dict[str, str] = {}
    for row in dataset.rows:
        if not isinstance(row, Given):
            for path in [row.target] if isinstance(row.target, str) else row.target:
                source.setdefault(
                    path, row.source if isinstance(row.source, str) else ", ".join(row.source)
                )
    fields: Dict[str, List[Dict[str, Any]]] = {
        "base-fields": [],
        "ecs": [],
        "fields": [],
        "agent": [
            {"name": name, "type": kind, "description": "Set by the input of the agent."}
            for name, kind in _agent_fields(stream)
        ],
    }
    for path, spec in types(ELASTIC, dataset).items():
        file = (
            "base-fields"
            if path == "@timestamp"
            or path.startswith("data_stream.")
            or path in ("event.module", "event.dataset")
            else "fields"
            if path.startswith(f"{plugin.name}.")
            else "ecs"
        )
        about = (
            f"From {source[path]} of {plugin.title}."
            if path in source
            else (
                "Set by the ingest pipeline."
                if path in ADDED
                else f"Constant in {dataset.name} or in an input."
            )
        )
        fields[file].append(
            {"name": path, "description": about, **spec}
            if path != "data_stream.namespace"
            else {
                "name": path,
                "description": "Namespace of the data stream.",
                "type": "constant_keyword",
            }
        )
    fields["fields"] += [
        {"name": path, "description": f"From {source[path]} of {plugin.title}.", "type": "group"}
        for path in lists_of_objects(dataset)
        if path in source
    ]
    return fields


def _agent_fields(stream: Stream) -> Iterator[Tuple[str, str]]:
    kinds = {way.input for way in stream.ways}
    yield "input.type", "keyword"
    if PULLED in kinds:
        yield "error.code", "keyword"
    if kinds & {"udp", "tcp"}:
        yield "log.source.address", "keyword"
    if "filestream" in kinds:
        yield from (("log.file.path", "keyword"), ("log.offset", "long"))
