"""The assets of a search cluster: what siemtap needs, what differs, and how it is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import elastic_transport
from elasticsearch import ApiError, Elasticsearch, NotFoundError

from ...core.errors import ConfigError, Retry
from ...core.paths import leaves
from ...core.windows import DAY
from ...elastic.assets import ISM, Asset, TemplateOptions, assets
from ...elastic.server import Server
from ...outputs.elasticsearch.client import FAILURES, build_client, error_from
from ...outputs.types import CLUSTERS
from ..config.sections import Config

# Paths of which siemtap owns everything: what it does not set is removed.
OWNED = ("template.mappings", "processors", "composed_of")


class Change(NamedTuple):
    """An asset as it should be, and how the one on the server differs."""

    asset: Asset
    before: Optional[Dict[str, Any]]  # the one on the server; None: it is missing
    differences: List[str]


def cluster(config: Config) -> Elasticsearch:
    """Return a client for the output's cluster. Raise ConfigError for another output."""
    if config.output.type not in CLUSTERS:
        raise ConfigError(
            f"{config.output.section} needs no setup; elasticsearch, opensearch and kafka do"
        )
    return build_client(config.output.settings, config.output.type)


def request(config: Config, doing: str, call: Callable[[], Any]) -> Any:
    """Return the JSON object that a call of the client answers; raise what a failure means."""
    try:
        body = call().body
    except FAILURES as error:
        raise error_from(error, config.output.type, doing) from None
    if not isinstance(body, dict):
        raise Retry(
            f"{doing}: the answer is not a JSON object; check whether a proxy is in between"
        )
    return body


def read_server(config: Config, es: Elasticsearch) -> Server:
    """Read the version and the abilities of a cluster. Raise ConfigError for one that siemtap does
    not support."""
    body = request(config, "asking for the version", es.info)
    version = body.get("version", {})
    flavour = version.get("distribution", "elasticsearch")
    if flavour != config.output.type:
        raise ConfigError(
            f"the server at {config.output.section} is {flavour}; make it an output of the type"
            f" {flavour}"
        )
    major, minor = (int(part) for part in version["number"].split(".")[:2])
    oldest = (2, 14) if flavour == "opensearch" else (8, 0)
    if (major, minor) < oldest:
        raise ConfigError(
            f"{flavour} {version['number']} is too old; siemtap needs Elasticsearch 8.0 or"
            " OpenSearch 2.14"
        )
    nodes = request(
        config,
        "asking for ingest processors",
        lambda: es.nodes.info(metric="ingest", filter_path="nodes.*.ingest.processors"),
    )
    by_node = [
        {processor["type"] for processor in node.get("ingest", {}).get("processors", [])}
        for node in nodes.get("nodes", {}).values()
    ]
    return Server(
        flavour=flavour,
        version=(major, minor),
        processors=frozenset(set.intersection(*by_node) if by_node else ()),
        serverless=version.get("build_flavor") == "serverless",
    )


def changes(config: Config, es: Elasticsearch, server: Server) -> Iterator[Change]:
    """Yield everything that the cluster should have, with its differences."""
    for asset in _assets(config, server):
        before = _read_asset(config, es, asset)
        changed = [] if before is None else differences(before, asset.body)
        yield Change(asset, before, changed)


def template_options(config: Config) -> TemplateOptions:
    """Return the `setup` section's options. Raise ConfigError for a policy of OpenSearch."""
    if config.output.type == "opensearch" and config.setup.lifecycle == "policy":
        raise ConfigError(
            "setup.lifecycle: an ISM policy names its indices itself, in `ism_template`; use"
            " `none`, or `data_stream` with a `retention` for a policy made by siemtap"
        )
    return TemplateOptions(
        lifecycle=config.setup.lifecycle,
        policy=config.setup.policy,
        retention_days=config.setup.retention // DAY,
    )


def _assets(config: Config, server: Server) -> List[Asset]:
    return assets(
        server,
        config.datasets,
        template_options(config),
    )


def _read_asset(config: Config, es: Elasticsearch, asset: Asset) -> Optional[Dict[str, Any]]:
    """Return an asset as the cluster has it; None if it is missing."""
    doing = f"reading the {asset.kind} {asset.name}"
    try:
        body = es.perform_request("GET", asset.path, headers={"accept": "application/json"}).body
    except NotFoundError:
        return None
    except ApiError as error:
        if asset.kind == ISM and error.status_code == 400:
            raise ConfigError(
                "this OpenSearch has no Index State Management to delete old events; set"
                " setup.retention to 0s"
            ) from None
        raise error_from(error, config.output.type, doing) from None
    except elastic_transport.TransportError as error:
        raise error_from(error, config.output.type, doing) from None
    for key, inner in (
        ("component_templates", "component_template"),
        ("index_templates", "index_template"),
    ):
        if key in body:
            return dict(body[key][0][inner])
    return dict(body if asset.kind == ISM else body[asset.name])


def differences(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """Return `path: before -> after` for what has to change. What the server adds stays."""
    old = dict(_texts(before))
    new = dict(_texts(after))
    lines = []
    for path, value in new.items():
        if old.get(path) != value:
            lines.append(f"{path}: {old.get(path, 'nothing')} -> {value}")
    for path, value in old.items():
        if path not in new and path.startswith(OWNED):
            lines.append(f"{path}: {value} -> nothing")
    return lines


def _texts(body: Dict[str, Any]) -> Iterator[Tuple[str, str]]:
    """Yield (path, value as text) of each leaf. The server returns every setting as text."""
    if "data_stream" in body:  # the server adds fields to this object
        body = {**body, "data_stream": "yes"}
    for path, value in leaves(body, item=lambda index: f".{index}"):
        if value not in ({}, []):
            yield path, json.dumps(value) if isinstance(value, bool) else str(value)


def put(config: Config, es: Elasticsearch, change: Change) -> None:
    """Write an asset. An ISM policy is only replaced if it is still the one that was read."""
    asset = change.asset
    version = {}
    if asset.kind == ISM and change.before:
        version = {
            "if_seq_no": change.before["_seq_no"],
            "if_primary_term": change.before["_primary_term"],
        }
    request(
        config,
        f"writing the {asset.kind} {asset.name}",
        lambda: es.perform_request(
            "PUT",
            asset.path,
            params=version,
            body=asset.body,
            headers={"accept": "application/json", "content-type": "application/json"},
        ),
    )


def write(
    config: Config, version: Tuple[int, int], into: Path, serverless: bool = False
) -> Iterator[Path]:
    """Write each asset as a file, for a cluster of this version that has every processor."""
    processors = ["user_agent"]
    if config.output.type == "elasticsearch":
        processors.append("geoip")
    server = Server(config.output.type, version, frozenset(processors), serverless)
    for asset in _assets(config, server):
        path = into / f"{asset.path.strip('/').replace('/', '-').lstrip('_')}.json"
        into.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asset.body, indent=1) + "\n", encoding="utf-8")
        yield path
