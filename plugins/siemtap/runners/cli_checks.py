"""Commands that look, prepare and show: `test`, `setup`, `export`."""

from __future__ import annotations

import dataclasses
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Tuple

import click

from .. import contract
from ..core.convert import millis_of
from ..core.errors import ConfigError, SiemtapError
from ..core.manifest import guess
from ..core.mapping import rfc3339
from ..core.model import Unit
from ..core.windows import MINUTE
from ..edge.clock import SYSTEM, once_more
from ..edge.http import Http, connect
from ..engine import Say, voice
from ..render.config import input_schema, sample
from ..render.datasets import schema_of
from . import plugins, setup
from .config import Input, load, whole_schema
from .options import config_option


@click.group()
def test() -> None:
    """Check the configuration, the inputs, the output."""


@test.command("config")
@config_option
def test_config(file: str) -> None:
    """Read the configuration and say what it means."""
    config = load(file)
    for wish in config.inputs:
        click.echo(
            f"{wish.id}: {wish.plugin.title},"
            f" {wish.connection.proxy or 'no proxy'}{'' if wish.every.enabled else ', disabled'}"
        )
    click.echo(f"output: {config.output}\nOK: {file}")


@test.command("inputs")
@config_option
@click.option(
    "--preview",
    is_flag=True,
    help="Show up to three records of each dataset beside their events. Nothing is delivered.",
)
def test_inputs(file: str, preview: bool) -> None:
    """Log in, ask once, say what was seen."""
    config = load(file)
    failed = False
    for wish in config.inputs:
        if not wish.every.enabled:
            continue
        try:
            _test_input(wish, preview)
        except SiemtapError as error:
            failed = True
            click.echo(f"{wish.id}: {type(error).__name__}: {error}", err=True)
    sys.exit(1 if failed else 0)


def _test_input(wish: Input, preview: bool) -> None:
    settings = (
        dataclasses.replace(wish.settings, lookback=min(wish.settings.lookback, 10 * MINUTE))
        if hasattr(wish.settings, "lookback")
        else wish.settings
    )
    span = (
        f"in the last {settings.lookback // MINUTE} min" if hasattr(settings, "lookback") else "now"
    )
    http = connect(wish.connection)
    client = wish.plugin.connect(settings, http)
    say = voice(wish.plugin, settings, wish.every, {}, lambda: rfc3339(SYSTEM.now()))
    units = [Unit(wish.id, *place) for place in wish.plugin.units(client, settings)]
    ears = (
        [place for place in (wish.receiving.listen, *wish.receiving.syslog) if place]
        if wish.receiving
        else []
    )
    if ears or not units:
        click.echo(
            f"{wish.id}: `siemtap run` listens at"
            f" {', '.join(ears) or 'nothing and asks nobody: is a setting missing?'}"
        )
    for unit in units:
        pairs, seen, newest = once_more(partial(_ask_once, wish, client, unit, say, http))
        age = (
            f", the newest {(SYSTEM.now() - millis_of(newest)) / 1000:.0f} s old" if newest else ""
        )
        click.echo(f"{unit}: logged in; {seen} events {span}{age}")
        for record, event in pairs if preview else []:
            click.echo(
                json.dumps(
                    {
                        "record": wish.plugin.dataset(unit.dataset).redact_for(settings)(record),
                        "event": event,
                    },
                    indent=1,
                )
            )
    for host, skew in http.skew.items():
        click.echo(
            f"{wish.id}: the clock of {host} is {abs(skew) / 1000:.0f} s"
            f" {'ahead of' if skew > 0 else 'behind'} ours"
        )


def _ask_once(
    wish: Input, client: Any, unit: Unit, say: Say, http: Http
) -> Tuple[List[Tuple[Any, Any]], int, str]:
    """Return up to three records beside their events, how many events there are, and the latest
    time of one."""
    pairs: List[Tuple[Any, Any]] = []
    seen, newest = 0, ""
    for batch in wish.plugin.collect(client, unit, {}, http.now()):
        events = say(batch)
        seen += len(events)
        newest = max([newest, *(event["@timestamp"] for event in events)])
        pairs += list(zip(batch.records, events))[: 3 - len(pairs)]
    return pairs, seen, newest


@test.command("output")
@config_option
def test_output(file: str) -> None:
    """Connect; say version, rights that are missing, state of the templates; write a canary
    event, find it, remove it."""
    well = True
    for good, said in setup.examine(load(file)):
        well = well and good
        click.echo(f"{'ok  ' if good else 'FAIL'}  {said}")
    sys.exit(0 if well else 1)


@click.command("setup")
@config_option
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
def setup_cluster(file: str, dry_run: bool) -> None:
    """Templates, pipelines and lifecycle into Elasticsearch or OpenSearch, dashboards into
    Kibana. What is there as it should be is left alone."""
    config = load(file)
    es = setup.cluster(config)
    server = setup.server_of(config, es)
    changed = 0
    for change in setup.changes(config, es, server):
        if _is_to_do(change, dry_run):
            changed += 1
            if not dry_run:
                setup.put(config, es, change)
    boards = [
        change for change in setup.dashboard_changes(config, server) if _is_to_do(change, dry_run)
    ]
    if not dry_run:
        setup.put_dashboards(config, boards)
    click.echo(
        f"{changed + len(boards)} {'to change' if dry_run else 'changed'}"
        + (
            "; a data stream that exists takes new mappings at its next rollover"
            if changed and not dry_run
            else ""
        )
    )


def _is_to_do(change: setup.Change, dry_run: bool) -> bool:
    """Shows it, too."""
    what = f"{change.asset.kind} {change.asset.name}"
    if change.before is not None and not change.differences:
        click.echo(f"as it should be: {what}")
        return False
    click.echo(
        f"{'would be ' if dry_run else ''}{'created' if change.before is None else 'changed'}:"
        f" {what}"
    )
    for line in change.differences:
        click.echo(f"    {line}")
    return True


@click.group()
def export() -> None:
    """What siemtap is made of, as text."""


@export.command("mapping")
@click.argument("dataset")
def export_mapping(dataset: str) -> None:
    """How a dataset's records become events: the compiled mapping, as Python."""
    click.echo(dataset_named(dataset).source)


@export.command("schema")
@click.argument("name")
def export_schema(name: str) -> None:
    """JSON Schema of a dataset's events (acme.event), of an input (acme), of siemtap.yml
    (config)."""
    if name == "config":
        found: Dict[str, Any] = whole_schema()
    elif "." in name:
        found = schema_of(contract.read("event.schema.json"), dataset_named(name))
    else:
        found = input_schema(plugins.plugin(name))
    click.echo(json.dumps(found, indent=1))


@export.command("templates")
@config_option
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), help="The folder to write into."
)
@click.option(
    "--version",
    "version",
    default="9.1",
    show_default=True,
    help="The cluster's version, as major.minor.",
)
def export_templates(file: str, into: Path, version: str) -> None:
    """What `siemtap setup` would put into a cluster, as files: a cluster is not asked."""
    config = load(file)
    try:
        major, minor = map(int, version.split(".")[:2])
    except ValueError:
        raise ConfigError(
            f'--version: "{version}" is no version; write major.minor, such as 9.1'
        ) from None
    for path in setup.write(config, (major, minor), into):
        click.echo(path)


@export.command("dashboards")
@config_option
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), help="The folder to write into."
)
def export_dashboards(file: str, into: Path) -> None:
    """What `siemtap setup` would put into Kibana, as files for its page "Saved objects": Kibana
    is not asked."""
    for path in setup.write_dashboards(load(file), into):
        click.echo(path)


@export.command("sample")
@click.argument("plugin")
def export_sample(plugin: str) -> None:
    """A plugin's part of siemtap.yml, with every setting."""
    click.echo(sample(plugins.plugin(plugin)), nl=False)


def dataset_named(name: str) -> Any:
    known = plugins.datasets()
    if name not in known:
        raise ConfigError(
            f'there is no dataset "{name}"{guess(name, known)}; there are {", ".join(known)}'
        )
    return known[name]


COMMANDS = (test, setup_cluster, export)
