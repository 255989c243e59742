"""Transforms of a package: an index with the latest event of each thing whose states are events.

Kibana installs them with the privileges of whoever uploads the package, and starts them.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from ...core.rows import Dataset
from .model import Stream

# To be raised whenever a transform changes: Fleet installs it anew only then.
VERSION = "0.1.0"


def destination(dataset: Dataset) -> str:
    """Return the alias of the index with the latest events.

    It begins with no `logs-`: what searches `logs-*` would find each of them twice.
    """
    return f"{dataset.namespace}_latest.{dataset.short_name}"


def transform_files(
    dataset: Dataset, stream: Stream, fields: Mapping[str, List[Dict[str, Any]]]
) -> Dict[str, Any]:
    """Return the files of a dataset's transform: path -> content; none if its events tell no state.

    `fields`: those of the data stream, by file.
    """
    if not stream.latest:
        return {}
    place = f"elasticsearch/transform/latest_{dataset.short_name}"
    alias = destination(dataset)
    transform = {
        "description": f"The latest state of each entry of {dataset.name}.",
        "source": {
            "index": [f"logs-{dataset.name}-*"],
            # no errors of the API
            "query": {"term": {"event.kind": "state"}},
        },
        "dest": {
            "index": f"{alias}-1",
            "aliases": [{"alias": alias, "move_on_creation": True}],
        },
        "latest": {"unique_key": list(stream.latest), "sort": "@timestamp"},
        "frequency": "1m",
        "sync": {"time": {"field": "event.ingested", "delay": "120s"}},
        # the mappings are those of fields/
        "settings": {"deduce_mappings": False, "unattended": True},
        "_meta": {
            "managed": True,
            "fleet_transform_version": VERSION,
            "run_as_kibana_system": False,
        },
    }
    manifest = {
        "start": True,
        "destination_index_template": {"mappings": {"dynamic": False, "date_detection": False}},
    }
    return {
        f"{place}/transform.yml": transform,
        f"{place}/manifest.yml": manifest,
        **{f"{place}/fields/{name}.yml": rows for name, rows in fields.items() if rows},
    }
