"""The fields of a data stream, as fields/*.yml declare them."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

from ...core.model import Plugin
from ...core.rows import ECS_VERSION, Dataset, Given
from ...render import ecs
from ..field_types import ADDED, lists_of_objects, types
from ..server import Server
from .model import PULLED, Stream

ELASTIC = Server("elasticsearch", (9, 1))


# What is set whatever the record has.
SET = {
    "@timestamp": "Time of the event.",
    "agent.name": "Name of the collector.",
    "agent.type": "Type of the collector: filebeat, or siemtap for events of the shipper.",
    "agent.version": "Version of the collector.",
    "data_stream.dataset": "Dataset of the data stream.",
    "data_stream.namespace": "Namespace of the data stream.",
    "data_stream.type": "Type of the data stream.",
    "ecs.version": f"Version of ECS that the event follows: {ECS_VERSION}.",
    "error.message": "Why the record could not be read, or what the API refused.",
    "event.created": "Time at which the record was read.",
    "event.dataset": "Name of the dataset.",
    "event.end": "End of the event, or of the time range that the record is about.",
    "event.id": "Hash of what identifies the record. It is the id of the document.",
    "event.ingested": "Time at which the ingest pipeline ran.",
    "event.module": "Name of the package.",
    "event.original": "The vendor's record, redacted, where it is preserved.",
    "event.start": "Start of the event, or of the time range that the record is about.",
    "event.type": "Categories of the event, by its class.",
    "fields": "Fields that the input adds.",
    "observer.name": "Name of the account, as it is set for the input.",
    "tags": "Tags of the input.",
}


LOOKED_UP_FROM = {"source": "source.ip", "user_agent": "user_agent.original"}


def sources_of(dataset: Dataset) -> Dict[str, str]:
    """Return path -> the keys of the record that it is made of, in the order of the rows."""
    sources: Dict[str, Dict[str, None]] = {}
    for row in dataset.rows:
        if isinstance(row, Given):
            continue
        keys = [row.source] if isinstance(row.source, str) else row.source
        for path in [row.target] if isinstance(row.target, str) else row.target:
            sources.setdefault(path, {}).update(dict.fromkeys(keys))
    return {path: ", ".join(keys) for path, keys in sources.items()}


def describe_field(plugin: Plugin, dataset: Dataset, path: str, source: str) -> str:
    """Return what a field holds. `source`: the keys of the record; "" for none."""
    if source:
        computed = " A key with @ is computed." if "@" in source else ""
        return f"From {source} of {plugin.title}.{computed}"
    if path in dataset.constant:
        value = dataset.constant[path]
        shown = ", ".join(value) if isinstance(value, (list, tuple)) else str(value)
        return f"{shown}, unless the record could not be read."
    settings = [
        row.setting for row in dataset.rows if isinstance(row, Given) and path == row.target
    ]
    if settings:
        return f"As the setting {settings[0]} has it."
    if path in ADDED and path not in SET:
        return f"Looked up by the ingest pipeline, from {LOOKED_UP_FROM[path.partition('.')[0]]}."
    if path == f"{dataset.namespace}.extra":
        return "Keys of the record that have no field, and values that do not fit theirs."
    if path.rpartition(".")[0] in lists_of_objects(dataset):
        parent = path.rpartition(".")[0]
        return f"From {sources_of(dataset)[parent]} of {plugin.title}: values of all its objects."
    return SET.get(path, f"Set by the mapping of {dataset.name}.")


def fields_of(plugin: Plugin, dataset: Dataset, stream: Stream) -> Dict[str, List[Dict[str, Any]]]:
    """Return the fields of a data stream, by the file that declares them."""
    source = sources_of(dataset)
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
        about = describe_field(plugin, dataset, path, source.get(path, ""))
        fields[file].append({"name": path, "description": about, **spec, **_forms(path)})
    fields["fields"] += [
        {"name": path, "description": f"From {source[path]} of {plugin.title}.", "type": "group"}
        for path in lists_of_objects(dataset)
        if path in source
    ]
    return fields


def _forms(path: str) -> Dict[str, Any]:
    """Return the multi-fields that ECS gives a field."""
    if not (ecs.fields().get(path) or {}).get("text"):
        return {}
    return {"multi_fields": [{"name": "text", "type": "match_only_text"}]}


def _agent_fields(stream: Stream) -> Iterator[Tuple[str, str]]:
    kinds = {way.input for way in stream.ways}
    yield "input.type", "keyword"
    if PULLED in kinds:
        yield "error.code", "keyword"
    if kinds & {"udp", "tcp"}:
        yield "log.source.address", "keyword"
    if "filestream" in kinds:
        yield from (("log.file.path", "keyword"), ("log.offset", "long"))
