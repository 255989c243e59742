"""The commands `test` and `setup`."""

from __future__ import annotations

import dataclasses
import json
import sys
from functools import partial
from typing import Any, List, Tuple

import click

from ...core.convert import millis_of, rfc3339
from ...core.errors import SiemtapError
from ...core.formats.url import without_userinfo
from ...core.model import Unit
from ...core.windows import MINUTE
from ...edge.client.http import Http, connect
from ...edge.clock import SYSTEM, retry_once
from ...edge.printable import printable
from ...engine.mapper import batch_mapper
from ...engine.protocols import MapBatch
from ...outputs.types import CLUSTERS
from ..config import exposure
from ..config.sections import Config, Input
from ..processors.steps import process
from ..setup import assets, kafka_check, kibana, output_check
from . import bundles
from .options import (
    cluster_parts,
    config_option,
    load,
    output_option,
    parts_of,
)

LONGEST_LOOKBACK = 10 * MINUTE  # of a test, before the `lag`
PREVIEW_RECORDS = 3


@click.group()
def test() -> None:
    """Test the configuration, the inputs or the output."""


@test.command("config", short_help="Check the configuration file.")
@config_option
def test_config(file: str) -> None:
    """Check the configuration file and list its inputs and its output."""
    config = load(file)
    for input_config in config.inputs:
        proxy = without_userinfo(input_config.connection.proxy) or "no proxy"
        disabled = "" if input_config.common.enabled else ", disabled"
        click.echo(f"{input_config.id}: {input_config.plugin.title}, {proxy}{disabled}")
    for warning in exposure.warnings(config):
        click.echo(f"warning: {warning}", err=True)
    for output in config.outputs:
        name = f" {output.name}" if len(config.outputs) > 1 else ""
        click.echo(f"output{name}: {output.type}")
    click.echo(f"OK: {file}")


@test.command("inputs", short_help="Log in to each vendor and read the latest events.")
@config_option
@click.option(
    "--preview",
    is_flag=True,
    help="Print up to three records of each unit and their events.",
)
def test_inputs(file: str, preview: bool) -> None:
    """Log in to each vendor, read the latest events, and report the result.

    Reads what a first run with a `lookback` of 10 minutes reads: up to `lag` before now. No events
    in so short a time is normal. Nothing is delivered, and no checkpoint changes. `siemtap run` may
    go on.
    """
    config = load(file)
    failed = False
    for input_config in config.inputs:
        if not input_config.common.enabled:
            continue
        try:
            _test_input(input_config, preview)
        except SiemtapError as error:
            failed = True
            message = printable(f"{type(error).__name__}: {error}")
            click.echo(f"{input_config.id}: {message}", err=True)
    sys.exit(1 if failed else 0)


def _test_input(input_config: Input, preview: bool) -> None:
    if input_config.plugin.reads_events:
        for line in kafka_check.check_source(input_config):
            click.echo(f"{input_config.id}: {printable(line)}")
        return
    settings = input_config.settings
    if hasattr(settings, "lookback"):
        longest = LONGEST_LOOKBACK + getattr(settings, "lag", 0)
        settings = dataclasses.replace(settings, lookback=min(settings.lookback, longest))
    http = connect(input_config.connection)
    client = input_config.plugin.connect(settings, http)
    map_batch = batch_mapper(
        plugin=input_config.plugin,
        settings=settings,
        common=input_config.common,
        added_fields={},
        created=lambda: rfc3339(SYSTEM.now()),
    )
    map_batch = process(map_batch, input_config.processors)
    units = [
        Unit(input_config.id, dataset, scope)
        for dataset, scope in input_config.plugin.units(client, settings)
    ]
    _print_listeners(input_config, bool(units))
    for unit in units:
        pairs, number, newest = retry_once(
            partial(_read_once, input_config, client, unit, map_batch, http)
        )
        note = "in so short a time this is normal"
        if newest:
            note = f"the newest is {(SYSTEM.now() - millis_of(newest)) / 1000:.0f} s old"
        click.echo(f"{printable(unit)}: logged in; {number} events read: {note}")
        if preview:
            redact = input_config.plugin.dataset(unit.dataset).redact_for(settings)
            for record, event in pairs:
                click.echo(json.dumps({"record": redact(record), "event": event}, indent=1))
    for host, skew in http.skew.items():
        direction = "ahead of" if skew > 0 else "behind"
        click.echo(
            f"{input_config.id}: the clock of {host} is {abs(skew) / 1000:.0f} s {direction} this"
            " machine's"
        )


def _print_listeners(input_config: Input, pulls: bool) -> None:
    """Print where `siemtap run` listens for this input; warn if it does nothing at all."""
    addresses: List[str] = []
    if input_config.receiving:
        listeners = (input_config.receiving.listen, *input_config.receiving.syslog)
        addresses = [address for address in listeners if address]
    if addresses:
        click.echo(f"{input_config.id}: `siemtap run` listens at {', '.join(addresses)}")
    elif not pulls:
        click.echo(
            f"{input_config.id}: `siemtap run` would neither listen nor call an API: is a setting"
            " missing?"
        )


def _read_once(
    input_config: Input, client: Any, unit: Unit, map_batch: MapBatch, http: Http
) -> Tuple[List[Tuple[Any, Any]], int, str]:
    """Return up to three records with their events, the number of events, and the latest
    @timestamp ("" without events)."""
    pairs: List[Tuple[Any, Any]] = []
    number, newest = 0, ""
    for batch in input_config.plugin.collect(client, unit, {}, http.now()):
        events = map_batch(batch)
        number += len(events)
        newest = max([newest, *(event["@timestamp"] for event in events)])
        pairs += list(zip(batch.records, events))[: PREVIEW_RECORDS - len(pairs)]
    return pairs, number, newest


@test.command("output", short_help="Connect to the output and check it.")
@config_option
@output_option
def test_output(file: str, outputs: Tuple[str, ...]) -> None:
    """Connect to the output and check it. Of elasticsearch and opensearch: the version, privileges
    and templates, and the dashboards of `setup.kibana`; write test events and find them.

    A test event has a value in every field of its dataset, and goes wherever an input's events go:
    a mapping that does not fit is found before the first event. Test events are deleted again if
    the user may delete; otherwise they stay, with the tag siemtap-canary.

    Of splunk_hec: the health of each host, the token, and indexer acknowledgement. No event is
    sent, because HEC deletes none.

    Of kafka: the brokers, whether topics exist and may be written to, and whether transactions are
    allowed. No event is written.

    Of sqlite and file: whether this user may write there. Nothing is created.
    """
    ok = True
    config = load(file)
    for part in parts_of(config, outputs):
        _print_output(config, part)
        for passed, message in output_check.check_output(part):
            ok = ok and passed
            click.echo(f"{'ok  ' if passed else 'FAIL'}  {printable(message, lines=True)}")
    sys.exit(0 if ok else 1)


def _print_output(config: Config, part: Config) -> None:
    """Print which output the next lines are about, if there are several."""
    if len(config.outputs) > 1:
        click.echo(f"output {part.output.name}:")


@click.command("setup", short_help="Install templates, pipelines, lifecycle and dashboards.")
@config_option
@click.option("--dry-run", is_flag=True, help="Show the changes without making them.")
@click.option(
    "--packages", is_flag=True, help="Upload the Elastic packages of the inputs to Kibana first."
)
@output_option
def setup_cluster(file: str, dry_run: bool, packages: bool, outputs: Tuple[str, ...]) -> None:
    """Install templates, ingest pipelines and lifecycle in Elasticsearch or OpenSearch, and
    dashboards in Kibana; create the topics that are missing in Kafka.

    Objects that are up to date are not changed.
    """
    config = load(file)
    for part in cluster_parts(config, outputs, (*CLUSTERS, "kafka")):
        _print_output(config, part)
        uploaded = 0
        if packages and part.output.type != "kafka":
            uploaded = bundles.upload_packages(part, dry_run)
        _set_up(part, dry_run, uploaded)


def _set_up(config: Config, dry_run: bool, uploaded: int) -> None:
    if config.output.type == "kafka":
        for line in kafka_check.set_up_topics(config, dry_run):
            click.echo(line)
        return
    es = assets.cluster(config)
    server = assets.read_server(config, es)
    changed = 0
    for change in assets.changes(config, es, server):
        _print_change(change, dry_run)
        if _is_needed(change):
            changed += 1
            if not dry_run:
                assets.put(config, es, change)
    dashboards = []
    for change in kibana.dashboard_changes(config, server):
        _print_change(change, dry_run)
        if _is_needed(change):
            dashboards.append(change)
    if not dry_run:
        kibana.put_dashboards(config, dashboards)
    summary = f"{uploaded + changed + len(dashboards)} {'to change' if dry_run else 'changed'}"
    if changed and not dry_run:
        summary += "; existing data streams use new mappings after their next rollover"
    click.echo(summary)


def _is_needed(change: assets.Change) -> bool:
    return change.before is None or bool(change.differences)


def _print_change(change: assets.Change, dry_run: bool) -> None:
    name = f"{change.asset.kind} {change.asset.name}"
    if not _is_needed(change):
        click.echo(f"unchanged: {name}")
        return
    verb = "created" if change.before is None else "changed"
    click.echo(f"{'would be ' if dry_run else ''}{verb}: {name}")
    for line in change.differences:
        click.echo(f"    {line}")


COMMANDS = (test, setup_cluster)
