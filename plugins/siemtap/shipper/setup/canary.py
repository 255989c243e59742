"""Test events with the real shape of each dataset: every field has a value of its type, so that a
mapping that does not fit is found before the first event."""

from __future__ import annotations

import uuid
from typing import Any, Dict, Iterator, Tuple

from ...core.convert import rfc3339
from ...core.paths import nest
from ...core.rows import ECS_VERSION, Dataset, Event
from ...core.windows import Millis
from ...elastic.field_types import ADDED, types
from ...elastic.server import Server
from ...outputs.index_names import index_name
from ...render import health
from ..config.sections import Config, Input

VALUES: Dict[str, Any] = {
    "boolean": True,
    "byte": 1,
    "double": 1.5,
    "flat_object": {"siemtap": "test output"},
    "flattened": {"siemtap": "test output"},
    "float": 1.5,
    "geo_point": {"lat": 0.0, "lon": 0.0},
    "half_float": 1.5,
    "integer": 1,
    "ip": "192.0.2.1",
    "long": 1,
    "scaled_float": 1.5,
    "short": 1,
    "unsigned_long": 1,
}
TEXT = "siemtap test output"


def canaries(config: Config, server: Server, now: Millis) -> Dict[str, Event]:
    """Return index -> a test event, for every index that events of the enabled inputs go to."""
    events: Dict[str, Event] = {}
    for dataset, namespace, setting in _targets(config):
        event = build_sample(server, dataset, namespace, now)
        index = index_name(setting, event)
        events.setdefault(index, event)
    return events


def _targets(config: Config) -> Iterator[Tuple[Dataset, str, str]]:
    """Yield (dataset, namespace, setting `index`) of each input and dataset."""
    for input_config in config.inputs:
        if input_config.common.enabled:
            setting = input_config.common.index or config.output.settings.index
            for dataset in _collected(input_config):
                yield dataset, input_config.common.namespace, setting
    if config.health.enabled:
        yield health.DATASET, config.health.namespace, config.output.settings.index


def _collected(input_config: Input) -> Iterator[Dataset]:
    """Yield the datasets that an input collects: those of its setting `datasets`, or all."""
    names = getattr(input_config.settings, "datasets", None)
    for dataset in input_config.datasets:
        if names is None or dataset.short_name in names:
            yield dataset


def build_sample(server: Server, dataset: Dataset, namespace: str, now: Millis) -> Event:
    """Return a test event with every field that the dataset has in the cluster's mapping. What the
    pipeline adds is left out."""
    fields: Dict[str, Any] = {}
    for path, mapping in types(server, dataset).items():
        parents = (path[:end] for end, letter in enumerate(path) if letter == ".")
        if path in ADDED or any(parent in fields for parent in parents):
            continue
        kind = mapping.get("type", "object")
        if kind == "date":
            fields[path] = rfc3339(now)
        elif kind == "object":
            fields[path] = {"siemtap": "test output"}
        else:
            fields[path] = VALUES.get(kind, TEXT)
    event = build_canary(dataset, namespace, now)
    return _merged(nest(fields), event)


def build_canary(dataset: Dataset, namespace: str, now: Millis) -> Event:
    """Return an event whose message and tag say that it is a test."""
    return {
        "@timestamp": rfc3339(now),
        "message": "siemtap test output: written and deleted again",
        "ecs": {"version": ECS_VERSION},
        "tags": ["siemtap-canary"],
        "data_stream": {"type": "logs", "dataset": dataset.name, "namespace": namespace},
        "event": {
            "id": uuid.uuid4().hex,
            "kind": "event",
            "dataset": dataset.name,
            "module": dataset.namespace,
        },
    }


def _merged(first: Dict[str, Any], second: Dict[str, Any]) -> Dict[str, Any]:
    """Return a nested object with the values of both; the second wins."""
    merged = dict(first)
    for name, value in second.items():
        before = merged.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[name] = _merged(before, value)
        else:
            merged[name] = value
    return merged
