"""docs/README.md of a package."""

from __future__ import annotations

from typing import Any, Dict, List

from ...core.model import Plugin
from ...core.rows import Dataset
from ...render.panels import overview, product_name
from .form import absent
from .manifests import KIBANA
from .model import INPUTS, Package

ABSENT = """### Settings that are not available

These settings are available in the siemtap shipper only.

| Setting | Reason |
|---|---|
{rows}

"""


def exported_fields(dataset: Dataset, rows: List[Dict[str, Any]]) -> str:
    lines = "\n".join(
        f"| {row['name']} | {row['description']} | {row['type']} |"
        for row in sorted(rows, key=lambda row: str(row["name"]))
    )
    return (
        f"### {dataset.short_name}\n\n**Exported fields**\n\n| Field | Description |"
        f" Type |\n|---|---|---|\n{lines}\n"
    )


def readme_of(plugin: Plugin, package: Package) -> str:
    names = ", ".join(f"`{name}`" for name in package.streams)
    rows = "\n".join(
        f"| `{name}` | {', '.join(INPUTS[way.input] for way in stream.ways)} |"
        for name, stream in package.streams.items()
    )
    missing = "\n".join(
        f"| `{name}` | {reason} |" for name, reason in absent(plugin, package).items()
    )
    elsewhere = ABSENT.format(rows=missing) if missing else ""
    listens = sorted(
        {way.input for stream in package.streams.values() for way in stream.ways}
        & {"http_endpoint", "udp", "tcp"}
    )
    ways = "network access from the agent to the vendor's API" + (
        "; for events that the vendor sends, from the vendor to the port of the agent"
        if listens
        else ""
    )
    return f"""# {plugin.title}

## Overview

This integration collects {names} from {plugin.title} with Elastic Agent; no other software is required. The events have the same fields and ids as those of the siemtap shipper, which may write to the same data streams.

### Compatibility

Kibana and Elastic Agent {KIBANA.replace("^", "").replace(" || ", ", ")} and newer.

### How it works

The agent reads one time range after another. Its cursor holds the time up to which it has read and the ids of the latest events, so that no event is lost or duplicated. An ingest pipeline creates the event.

## What data does this integration collect?

| Data stream | How |
|---|---|
{rows}

Each record becomes one event with ECS fields and the fields of the vendor.

### Supported use cases

Search the events of {plugin.title} together with those of other sources, view them in the included dashboards (overview, sources, rules, health of the collection), and create alerts in Elastic Security as described below.

## What do I need to use this integration?

The credentials in the integration's settings, and {ways}.

## How do I deploy this integration?

### Agent-based deployment

An Elastic Agent must be installed and enrolled in Fleet, on a host that can reach the vendor.

### Onboard / configure

If the siemtap shipper is to write to the same data streams, upload this package before its first event: newer Kibana versions refuse the upload of a package whose data streams exist already.

1. In Kibana, open **Integrations**, choose **Create new integration** and then **Upload it as a .zip**, and select the package.
2. Choose **Add {plugin.title}**, fill in the settings, enable the inputs that you need, and choose an agent policy.

{elsewhere}### Validation

In Discover, search for `data_stream.dataset : {plugin.name}.*`, or open the dashboard `{overview(product_name(map(plugin.dataset, package.streams)), map(plugin.dataset, package.streams)).title}`.

## Alerts

Events that are alerts have `event.kind : alert`, the rule's name as `message`, and `event.severity` 21, 47, 73 or 99. In Kibana, **Security**, **Rules**, **Detection rules (SIEM)**, **Add Elastic rules**: install and enable the rule *External Alerts*. Each of these events then becomes an alert in Elastic Security with that name and severity.

## Troubleshooting

A request that is answered with 429 or 5xx is repeated by the agent, as the settings say. A record that cannot be parsed, or an error of the API, becomes an event with `event.kind : pipeline_error` and the reason in `error.message`. After an error of the API, Fleet also shows the input as degraded.

The packages of siemtap itself were tested with package-spec, with mito and simulated vendors, and with their pipelines on OpenSearch. None of them has been run in a real Kibana or Elastic Agent.

## Performance and scaling

Assign the policy to one agent only: two agents would query the same API twice. The id of an event is its document id, so that an event that is read again is not indexed again.

## Reference
"""
