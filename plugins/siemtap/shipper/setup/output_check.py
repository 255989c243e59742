"""`siemtap test output`: test the connection, the privileges, and the way of an event."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Iterator, Tuple

from elasticsearch import ApiError, Elasticsearch

from ...core.convert import millis_of
from ...core.rows import Event
from ...core.windows import MINUTE, Millis
from ...edge.clock import SYSTEM
from ...elastic.server import Server
from ...outputs.elasticsearch.client import FAILURES, error_from, parse_hits
from ..config.sections import Config
from . import canary
from .assets import Change, changes, cluster, read_server
from .hec_check import check_hec
from .kafka_check import check_kafka
from .kibana import dashboard_changes

# Privileges that each step needs. docs/elasticsearch.md lists the same.
CLUSTER_RIGHTS = ("monitor",)
SETUP_RIGHTS = ("manage_index_templates", "manage_ingest_pipelines")
INDEX_RIGHTS = ("create_doc", "auto_configure", "read", "maintenance")


def check_output(config: Config) -> Iterator[Tuple[bool, str]]:
    """Test the output step by step; yield (whether the step succeeded, a sentence)."""
    if config.output.type == "splunk_hec":
        yield from check_hec(config)
        return
    if config.output.type == "kafka":
        yield from check_kafka(config)
        return
    if config.output.type == "stdout":
        yield True, "`siemtap run` prints the events; there is nothing to connect to"
        return
    if config.output.type in ("sqlite", "file"):
        yield _check_files(config)
        return
    es = cluster(config)
    server = read_server(config, es)
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
        yield from _canaries(config, es, server)
    else:
        yield (
            False,
            "no test event was written: without the templates the cluster would create an index"
            " with guessed types for it",
        )


def _check_files(config: Config) -> Tuple[bool, str]:
    """Return whether events can be written to the output's folder. Nothing is created there."""
    folder, name, setting = config.data, "siemtap.db", "path.data"
    if config.output.type == "file":
        folder, name = Path(config.output.settings.path), "events.ndjson"
        setting = f"{config.output.section}.path"
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    advice = f"let the user of siemtap write there, or set another {setting}"
    if not existing.is_dir():
        return False, f"{existing} is no folder; set another {setting}"
    if not os.access(existing, os.W_OK | os.X_OK):
        return False, f"this user may not write to {existing}; {advice}"
    path = folder / name
    if path.exists() and not os.access(path, os.W_OK):
        return False, f"this user may not write to {path}; {advice}"
    later = "" if folder.exists() else "; `siemtap run` creates the folder"
    return True, f"events can be written to {path}{later}"


def _state(change: Change) -> Tuple[bool, str]:
    name = f"{change.asset.kind} {change.asset.name}"
    if change.before is None:
        return False, f"{name} is missing; run `siemtap setup`"
    if change.differences:
        return False, f"{name} differs; run `siemtap setup --dry-run`"
    return True, f"{name} exists"


def _rights(config: Config, es: Elasticsearch, server: Server) -> Iterator[Tuple[bool, str]]:
    """Yield each privilege that the user lacks, if the cluster can be asked for them."""
    if server.flavour == "opensearch":
        yield (
            True,
            "privileges: OpenSearch cannot be asked; the test event shows whether they suffice",
        )
        return
    names = [f"logs-{dataset.name}-*" for dataset in config.datasets]
    try:
        body = es.security.has_privileges(
            cluster=[*CLUSTER_RIGHTS, *SETUP_RIGHTS],
            index=[{"names": names, "privileges": list(INDEX_RIGHTS)}],
        ).body
    except ApiError as error:
        if error.status_code in (400, 404, 405, 500):
            yield True, "privileges: the security features of the cluster are off"
            return
        raise error_from(error, config.output.type, "asking for privileges") from None
    for privilege, granted in body["cluster"].items():
        if not granted:
            only_setup = privilege in SETUP_RIGHTS
            text = f"the cluster privilege {privilege} is missing"
            yield only_setup, text + (" (only `siemtap setup` needs it)" if only_setup else "")
    for name, privileges in body["index"].items():
        for privilege, granted in privileges.items():
            if not granted:
                yield False, f"the privilege {privilege} on {name} is missing"
    if body["has_all_requested"]:
        yield True, "all privileges are granted"


def _canaries(config: Config, es: Elasticsearch, server: Server) -> Iterator[Tuple[bool, str]]:
    """Write, find and delete a test event wherever an input's events go; compare the cluster's
    clock."""
    now = SYSTEM.now()
    for number, (index, event) in enumerate(canary.canaries(config, server, now).items()):
        yield from _canary(config, es, index, event, now if not number else 0)


def _canary(
    config: Config, es: Elasticsearch, index: str, event: Event, now: Millis
) -> Iterator[Tuple[bool, str]]:
    """Write, find and delete a test event. `now`: compare the cluster's clock with it; 0: do
    not."""
    id = event["event"]["id"]
    query = {"ids": {"values": [id]}}
    try:
        es.create(index=index, id=id, document=event, refresh=True)
        answer = es.search(index=index, query=query, size=1)
        hits = parse_hits(answer.body, f"a test event in {index}")
    except FAILURES as error:
        yield False, str(error_from(error, config.output.type, f"a test event in {index}"))
        return
    ignored = hits[0].get("_ignored") if hits else None
    if isinstance(ignored, list) and ignored:
        fields = ", ".join(sorted(map(str, ignored)))
        yield (
            False,
            f"a test event was written to {index}, but its mapping does not fit these fields, and a"
            f" search does not find them: {fields}; see `siemtap setup --dry-run`",
        )
    elif hits:
        yield True, f"a test event with every field was written to {index} and found"
    else:
        yield False, f"a test event was written to {index} but not found"
    source = hits[0].get("_source") if hits else None
    details = source.get("event") if isinstance(source, dict) else None
    ingested = details.get("ingested") if isinstance(details, dict) else None
    if now and isinstance(ingested, str):
        skew = millis_of(ingested[:23].rstrip("Z").ljust(23, "0") + "Z") - now
        yield (
            abs(skew) < MINUTE,
            f"the clocks of the cluster and this machine differ by {abs(skew) / 1000:.1f} s",
        )
    try:
        es.delete_by_query(index=index, query=query, refresh=True)
        yield True, f"the test event was deleted from {index}"
    except ApiError as error:
        yield (
            True,
            f"the test event was not deleted: {error.status_code}, the user may not delete, which"
            f" siemtap does not need otherwise; in {index} its tag is siemtap-canary",
        )
