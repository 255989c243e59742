"""`siemtap setup` and `siemtap test output`: what a search cluster lacks, and what it says of
us."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import elastic_transport
from elasticsearch import ApiError, Elasticsearch, NotFoundError

from .. import contract, health
from ..core.convert import millis_of
from ..core.errors import ConfigError, Retry
from ..core.mapping import ECS_VERSION, Dataset, Event, rfc3339
from ..core.windows import Millis
from ..edge.clock import SYSTEM
from ..outputs.cluster import FAILURES, client, hits_of, trouble
from ..render.elastic import ISM, Asset, Server, Wish, assets
from ..render.kibana import ndjson
from . import kibana
from .config import Config

# What each step needs. The README lists the same.
CLUSTER_RIGHTS = ("monitor",)
SETUP_RIGHTS = ("manage_index_templates", "manage_ingest_pipelines")
INDEX_RIGHTS = ("create_doc", "auto_configure", "read", "maintenance")


class Change(NamedTuple):
    asset: Asset
    before: Optional[Dict[str, Any]]  # None: it is not there
    differences: List[str]


def datasets_of(config: Config) -> List[Dataset]:
    plugins = {wish.plugin.name: wish.plugin for wish in config.inputs if wish.every.enabled}
    return [
        *(dataset for plugin in plugins.values() for dataset in plugin.datasets),
        *([health.DATASET] if config.health.enabled else []),
    ]


def cluster(config: Config) -> Elasticsearch:
    if config.output not in ("elasticsearch", "opensearch"):
        raise ConfigError(
            f"output.{config.output} needs no setup; output.elasticsearch and output.opensearch do"
        )
    return client(config.output_settings, config.output)


def asked(config: Config, doing: str, call: Callable[[], Any]) -> Any:
    """The answer's body, an object, or what its absence means."""
    try:
        body = call().body
    except FAILURES as error:
        raise trouble(error, config.output, doing) from None
    if not isinstance(body, dict):
        raise Retry(f"{doing}: the answer is no object; is a proxy in between?")
    return body


def server_of(config: Config, es: Elasticsearch) -> Server:
    said = asked(config, "asking for the version", es.info)
    version = said.get("version", {})
    flavour = version.get("distribution", "elasticsearch")
    if flavour != config.output:
        raise ConfigError(
            f"the server at output.{config.output} is {flavour}; write output.{flavour}"
        )
    major, minor = (int(part) for part in version["number"].split(".")[:2])
    if (flavour, major) < ("elasticsearch", 8) or (
        flavour == "opensearch" and (major, minor) < (2, 14)
    ):
        raise ConfigError(
            f"{flavour} {version['number']} is too old; siemtap needs Elasticsearch 8.0 or"
            " OpenSearch 2.14"
        )
    nodes = asked(
        config,
        "asking for ingest processors",
        lambda: es.nodes.info(metric="ingest", filter_path="nodes.*.ingest.processors"),
    )
    processors = [
        {one["type"] for one in node.get("ingest", {}).get("processors", [])}
        for node in nodes.get("nodes", {}).values()
    ]
    return Server(
        flavour,
        (major, minor),
        frozenset(set.intersection(*processors) if processors else ()),
        version.get("build_flavor") == "serverless",
    )


def changes(config: Config, es: Elasticsearch, server: Server) -> Iterator[Change]:
    """Everything that should be there, and how what is there differs."""
    for asset in assets(
        server, contract.read("event.schema.json"), datasets_of(config), wish_of(config)
    ):
        before = _found(config, es, asset)
        yield Change(asset, before, [] if before is None else differences(before, asset.body))


def dashboard_changes(config: Config, server: Server) -> Iterator[Change]:
    """The same for Kibana; nothing where the configuration names none."""
    if config.kibana.host:
        there = kibana.Kibana(config)
        there.check()
        for asset in kibana.assets(server, config, datasets_of(config)):
            before = there.found(*asset.path.split("/"))
            yield Change(
                asset, before, [] if before is None else kibana.differences(before, asset.body)
            )


def put_dashboards(config: Config, changes: List[Change]) -> None:
    """All at once: they refer to each other."""
    if changes:
        kibana.Kibana(config).put([change.asset.body for change in changes])


def wish_of(config: Config) -> Wish:
    if config.output == "opensearch" and config.setup.lifecycle == "policy":
        raise ConfigError(
            "setup.lifecycle: an ISM policy names its indices itself, in `ism_template`; write"
            " `none`, or `data_stream` with a `retention` for a policy of siemtap's"
        )
    return Wish(config.setup.lifecycle, config.setup.policy, config.setup.retention // 86_400_000)


def _found(config: Config, es: Elasticsearch, asset: Asset) -> Optional[Dict[str, Any]]:
    try:
        said = es.perform_request("GET", asset.path, headers={"accept": "application/json"}).body
    except NotFoundError:
        return None
    except ApiError as error:
        if asset.kind == ISM and error.status_code == 400:
            raise ConfigError(
                "this OpenSearch has no Index State Management, which would delete old events; set"
                " setup.retention to 0s"
            ) from None
        raise trouble(error, config.output, f"reading the {asset.kind} {asset.name}") from None
    except elastic_transport.TransportError as error:
        raise trouble(error, config.output, f"reading the {asset.kind} {asset.name}") from None
    for key, inner in (
        ("component_templates", "component_template"),
        ("index_templates", "index_template"),
    ):
        if key in said:
            return dict(said[key][0][inner])
    return dict(said if asset.kind == ISM else said[asset.name])


def differences(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """`path: before -> after`, for what we want otherwise. What the server adds of its own is
    its own."""
    old, new = dict(_flat(before)), dict(_flat(after))
    found = [
        f"{path}: {old.get(path, 'nothing')} -> {value}"
        for path, value in new.items()
        if old.get(path) != value
    ]
    return found + [
        f"{path}: {value} -> nothing"
        for path, value in old.items()
        if path not in new and path.startswith(("template.mappings", "processors", "composed_of"))
    ]


def _flat(tree: Any, place: str = "") -> Iterator[Tuple[str, str]]:
    """Leaves by path. The server spells every setting as text."""
    if place == "data_stream":  # the server adds words of its own to it
        yield place, "yes"
    elif isinstance(tree, dict) and tree:
        for name, value in tree.items():
            yield from _flat(value, f"{place}.{name}" if place else name)
    elif isinstance(tree, list) and tree:
        for number, value in enumerate(tree):
            yield from _flat(value, f"{place}.{number}")
    elif tree not in ({}, []):
        yield place, json.dumps(tree) if isinstance(tree, bool) else str(tree)


def put(config: Config, es: Elasticsearch, change: Change) -> None:
    asset = change.asset
    seen = (
        {"if_seq_no": change.before["_seq_no"], "if_primary_term": change.before["_primary_term"]}
        if asset.kind == ISM and change.before
        else {}
    )
    asked(
        config,
        f"writing the {asset.kind} {asset.name}",
        lambda: es.perform_request(
            "PUT",
            asset.path,
            params=seen,
            body=asset.body,
            headers={"accept": "application/json", "content-type": "application/json"},
        ),
    )


def write(config: Config, version: Tuple[int, int], into: Path) -> Iterator[Path]:
    """The same as files, one a thing, for a cluster of this version that has every processor."""
    server = Server(
        config.output,
        version,
        frozenset(("geoip", "user_agent") if config.output == "elasticsearch" else ("user_agent",)),
    )
    for asset in assets(
        server, contract.read("event.schema.json"), datasets_of(config), wish_of(config)
    ):
        path = into / f"{asset.path.strip('/').replace('/', '-').lstrip('_')}.json"
        into.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asset.body, indent=1) + "\n", encoding="utf-8")
        yield path


def write_dashboards(config: Config, into: Path) -> Iterator[Path]:
    """What Kibana's page "Saved objects" imports, one file a dashboard."""
    datasets = datasets_of(config)
    into.mkdir(parents=True, exist_ok=True)
    for shown in kibana.overviews(datasets):
        path = into / f"kibana-{shown.name}.ndjson"
        path.write_text(
            ndjson(
                kibana.saved_objects(
                    Server("elasticsearch", (9, 1)),
                    list(shown.datasets),
                    kibana.patterns(config, datasets),
                )
            ),
            encoding="utf-8",
        )
        yield path


# siemtap test output


def examine(config: Config) -> Iterator[Tuple[bool, str]]:
    """(all well, a sentence), one after the other."""
    es = cluster(config)
    server = server_of(config, es)
    version = ".".join(map(str, server.version))
    yield True, f"{server.flavour} {version}{', serverless' if server.serverless else ''} answers"
    yield from _rights(config, es, server)
    ready = True
    for change in changes(config, es, server):
        ready = ready and change.before is not None
        yield _state(change)
    for change in dashboard_changes(config, server):
        yield _state(change)
    if ready:
        yield from _canary(config, es)
    else:
        yield (
            False,
            (
                "no canary event was written: without the templates the cluster would guess an"
                " index for it"
            ),
        )


def _state(change: Change) -> Tuple[bool, str]:
    state = (
        "is missing; run `siemtap setup`"
        if change.before is None
        else "differs; run `siemtap setup --dry-run`"
        if change.differences
        else "is there"
    )
    return state == "is there", f"{change.asset.kind} {change.asset.name} {state}"


def _rights(config: Config, es: Elasticsearch, server: Server) -> Iterator[Tuple[bool, str]]:
    """One by one, where the cluster can be asked."""
    if server.flavour == "opensearch":
        yield True, "rights: OpenSearch cannot be asked; the canary shows whether they suffice"
        return
    names = [f"logs-{dataset.name}-*" for dataset in datasets_of(config)]
    try:
        said = es.security.has_privileges(
            cluster=[*CLUSTER_RIGHTS, *SETUP_RIGHTS],
            index=[{"names": names, "privileges": list(INDEX_RIGHTS)}],
        ).body
    except ApiError as error:
        if error.status_code in (400, 404, 405, 500):
            yield True, "rights: the cluster has no security"
            return
        raise trouble(error, config.output, "asking for rights") from None
    for right, granted in said["cluster"].items():
        if not granted:
            yield (
                right in SETUP_RIGHTS,
                (
                    f"the cluster right {right} is"
                    f" missing{' (only `siemtap setup` needs it)' if right in SETUP_RIGHTS else ''}"
                ),
            )
    for name, rights in said["index"].items():
        for right, granted in rights.items():
            if not granted:
                yield False, f"the right {right} on {name} is missing"
    if said["has_all_requested"]:
        yield True, "all rights are there"


def canary_of(dataset: Dataset, namespace: str, now: Millis) -> Event:
    """Make an event that says what it is."""
    return {
        "@timestamp": rfc3339(now),
        "message": "siemtap test output: written, and removed at once",
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


def _canary(config: Config, es: Elasticsearch) -> Iterator[Tuple[bool, str]]:
    """An event of our own, written, found again and removed; and the cluster's clock."""
    dataset, namespace = datasets_of(config)[0], config.inputs[0].every.namespace
    place = f"logs-{dataset.name}-{namespace}"
    now = SYSTEM.now()
    event = canary_of(dataset, namespace, now)
    id = event["event"]["id"]
    try:
        es.create(index=place, id=id, document=event, refresh=True)
        answer = es.search(index=place, query={"ids": {"values": [id]}}, size=1)
        hits = hits_of(answer.body, f"a canary event in {place}")
    except FAILURES as error:
        yield False, str(trouble(error, config.output, f"a canary event in {place}"))
        return
    yield (
        bool(hits),
        f"a canary event was written to {place} and {'found again' if hits else 'not found again'}",
    )
    if hits and "ingested" in hits[0]["_source"].get("event", {}):
        skew = (
            millis_of(hits[0]["_source"]["event"]["ingested"][:23].rstrip("Z").ljust(23, "0") + "Z")
            - now
        )
        yield (
            abs(skew) < 60_000,
            f"the cluster's clock differs from ours by {abs(skew) / 1000:.1f} s",
        )
    try:
        es.delete_by_query(index=place, query={"ids": {"values": [id]}}, refresh=True)
        yield True, "and removed"
    except ApiError as error:
        yield (
            True,
            (
                f"but it stays: {error.status_code}, the user may not delete (nor need it for"
                " anything else); its tag is siemtap-canary"
            ),
        )
