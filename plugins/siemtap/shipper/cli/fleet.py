"""The command `fleet`: the workers that share the inputs of a configuration."""

from __future__ import annotations

import json
import sys

import click

from ...core.errors import ConfigError
from ...edge.clock import SYSTEM
from ...edge.printable import printable
from ...outputs.kafka.output import topics_of
from ..fleet.status import Status, status
from .options import config_option, load


@click.group(short_help="Show the workers of a fleet.")
def fleet() -> None:
    """Show the workers that share the inputs of a configuration through Kafka."""


@fleet.command("status", short_help="Show who reads which unit, and how far.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def fleet_status(file: str, as_json: bool) -> None:
    """Show the workers of a fleet with their partitions, the units with their worker and the age of
    their cursors, and how many messages the groups that read the events have not read yet.

    Exits with 1 if nobody reads a unit. Any machine that reaches the brokers can run it.
    """
    config = load(file)
    if not config.cluster.enabled:
        raise ConfigError(f"{file} has no section cluster.kafka: this is no worker of a fleet")
    names = topics_of(config.output.settings, [dataset.name for dataset in config.datasets])
    shown = status(config.cluster, names, SYSTEM.now())
    if as_json:
        click.echo(json.dumps(_as_json(shown)))
    else:
        _print(shown)
    sys.exit(1 if shown.orphans else 0)


def _as_json(shown: Status) -> object:
    return {
        "workers": [worker._asdict() for worker in shown.workers],
        "units": [{**unit._asdict(), "unit": str(unit.unit)} for unit in shown.units],
        "lags": shown.lags,
    }


def _print(shown: Status) -> None:
    for worker in shown.workers:
        partitions = ", ".join(map(str, worker.partitions)) or "none"
        click.echo(
            f"worker {printable(worker.instance_id)}\t{worker.host}\tpartitions {partitions}"
            f"\t{worker.inputs} inputs"
        )
    for unit in shown.units:
        age = "nothing committed yet" if unit.age is None else f"read up to {unit.age:.0f} s ago"
        click.echo(f"{printable(unit.unit)}\t{printable(unit.worker) or 'NOBODY'}\t{age}")
    for group, lag in shown.lags.items():
        click.echo(f"group {printable(group)}\t{lag:,} messages behind")
    click.echo(
        f"{len(shown.workers)} workers, {len(shown.units)} units"
        + (f", {shown.orphans} that nobody reads" if shown.orphans else "")
    )


COMMANDS = (fleet,)
