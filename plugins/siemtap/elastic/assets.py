"""The templates, pipelines and lifecycle policies that a search cluster gets.

They are derived from the mapping tables, ECS and the abilities of the cluster.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple

from ..core.rows import Dataset
from .field_types import mappings
from .pipelines import pipeline
from .server import Server

ISM = "ISM policy"
# Above the built-in logs-*-* (100), below an integration package (200), so both can be installed.
PRIORITY = 190


class TemplateOptions(NamedTuple):
    """The retention of events, and what enforces it."""

    lifecycle: str = "data_stream"  # data_stream, policy or none
    policy: str = ""  # an ILM policy's name
    retention_days: int = 0  # 0: unlimited


class Asset(NamedTuple):
    """A template, pipeline or policy of the cluster: its path and its body."""

    kind: str
    name: str
    path: str
    body: Dict[str, Any]


def assets(
    server: Server,
    datasets: List[Dataset],
    options: TemplateOptions = TemplateOptions(),
) -> List[Asset]:
    """Return all assets, in an order in which the cluster accepts them."""
    all_assets = []
    if (
        server.flavour == "opensearch"
        and options.lifecycle == "data_stream"
        and options.retention_days
    ):
        all_assets.append(
            Asset(
                ISM,
                "siemtap",
                "/_plugins/_ism/policies/siemtap",
                ism_policy(datasets, options.retention_days),
            )
        )
    for dataset in datasets:
        name = f"siemtap-{dataset.name}"
        all_assets += [
            Asset("ingest pipeline", name, f"/_ingest/pipeline/{name}", pipeline(server, dataset)),
            Asset(
                "component template",
                f"{name}-mappings",
                f"/_component_template/{name}-mappings",
                component_template(server, dataset),
            ),
            Asset(
                "index template",
                name,
                f"/_index_template/{name}",
                index_template(server, dataset, options),
            ),
        ]
    return all_assets


def ism_policy(datasets: List[Dataset], days: int) -> Dict[str, Any]:
    """Return a policy that deletes old indices of OpenSearch, whose data streams have no lifecycle.

    An index is deleted `days` days after its rollover, so no event is deleted too early.
    """
    rollover = {"min_index_age": f"{max(1, min(30, days // 4))}d", "min_primary_shard_size": "50gb"}
    states = [
        {
            "name": "written",
            "actions": [{"rollover": rollover}],
            "transitions": [{"state_name": "over", "conditions": {"min_rollover_age": f"{days}d"}}],
        },
        {"name": "over", "actions": [{"delete": {}}], "transitions": []},
    ]
    patterns = [
        {"index_patterns": [f"logs-{dataset.name}-*" for dataset in datasets], "priority": PRIORITY}
    ]
    return {
        "policy": {
            "description": f"siemtap, {days} days",
            "default_state": "written",
            "states": states,
            "ism_template": patterns,
        }
    }


def component_template(server: Server, dataset: Dataset) -> Dict[str, Any]:
    """Return the component template with the mappings of a dataset."""
    return {"template": {"mappings": mappings(server, dataset)}, "_meta": _meta(dataset)}


def index_template(
    server: Server, dataset: Dataset, options: TemplateOptions = TemplateOptions()
) -> Dict[str, Any]:
    """Return the index template of a dataset's data streams."""
    name = f"siemtap-{dataset.name}"
    index: Dict[str, Any] = {"default_pipeline": name}
    template: Dict[str, Any] = {"settings": {"index": index}}
    body: Dict[str, Any] = {
        "index_patterns": [f"logs-{dataset.name}-*"],
        "priority": PRIORITY,
        "data_stream": {},
        "composed_of": [f"{name}-mappings"],
        "template": template,
        "_meta": _meta(dataset),
    }
    if server.has_ecs:
        body["composed_of"] = [
            "logs@mappings",
            "logs@settings",
            "ecs@mappings",
            f"{name}-mappings",
            f"{name}-custom",
        ]
        body["ignore_missing_component_templates"] = [f"{name}-custom"]
    if options.lifecycle == "data_stream" and server.has_lifecycle:
        if not server.serverless:
            # `logs@settings` names an ILM policy, which would take precedence.
            index["lifecycle"] = {"prefer_ilm": "false"}
        template["lifecycle"] = {"enabled": True}
        if options.retention_days:
            template["lifecycle"]["data_retention"] = f"{options.retention_days}d"
    elif options.lifecycle == "policy" and server.flavour == "elasticsearch":
        index["lifecycle"] = {"name": options.policy}
    if server.has_failure_store:
        template["data_stream_options"] = {"failure_store": {"enabled": True}}
    return body


def _meta(dataset: Dataset) -> Dict[str, Any]:
    return {"managed_by": "siemtap", "description": f"siemtap {dataset.name}"}
