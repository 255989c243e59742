"""The command `state`: checkpoints, seen and edited by a person."""

from __future__ import annotations

import json
from typing import Any, Dict, Mapping

import click

from ....core.convert import rfc3339
from ....core.errors import ConfigError
from ....core.manifest import suggest
from ....core.model import Mark, Unit
from ....edge.printable import printable
from ....edge.store.checkpoints import LATEST_TIME, Checkpoints
from ....edge.store.first_reads import confirm_first_read
from ...config.sections import Config
from ..options import config_option, load
from .opened import elsewhere, open_checkpoints


@click.group()
def state() -> None:
    """List, show, set or delete checkpoints."""


def unit_named(checkpoints: Checkpoints, name: str, config: Config) -> Unit:
    """Return the unit of this name that has a checkpoint. Raise ConfigError if there is none."""
    units = {str(saved.unit): saved.unit for saved in checkpoints.all()}
    if name not in units:
        notes = "".join(f"; {note}" for note in elsewhere(config))
        raise ConfigError(
            f'there is no unit "{name}"{suggest(name, units)}; there are'
            f" {', '.join(units) or 'none'}{notes}"
        )
    return units[name]


@state.command("list", short_help="List the units and their checkpoints.")
@config_option
def state_list(file: str) -> None:
    """List every unit that has a checkpoint: the position in it (JSON), the number of event ids it
    remembers, and when it was saved. `siemtap run` may go on.

    The checkpoints of a fleet's pulled units and of inputs of the type kafka are in Kafka; the
    command says how to see them.
    """
    config = load(file)
    with open_checkpoints(config) as checkpoints:
        for saved in checkpoints.all():
            click.echo(
                f"{printable(saved.unit)}\t{json.dumps(saved.mark.cursor)}"
                f"\t{len(saved.mark.seen)} ids\tsaved {rfc3339(saved.saved)}"
            )
    for note in elsewhere(config):
        click.echo(note, err=True)


@state.command("show", short_help="Print one checkpoint as JSON.")
@config_option
@click.argument("unit")
def state_show(file: str, unit: str) -> None:
    """Print the checkpoint of UNIT, named as in `siemtap state list`, as JSON."""
    config = load(file)
    with open_checkpoints(config) as checkpoints:
        mark = checkpoints.load(unit_named(checkpoints, unit, config))
        click.echo(json.dumps(mark.to_json(), indent=1))


@state.command("set", short_help="Set the checkpoint of a unit.")
@config_option
@click.argument("unit")
@click.argument("cursor", metavar="POSITION")
def state_set(file: str, unit: str, cursor: str) -> None:
    """Set the position in the checkpoint of UNIT to POSITION, a JSON object as `siemtap state list`
    shows it.

    The event ids that the checkpoint remembers stay. Stop `siemtap run` first.
    """
    try:
        value = json.loads(cursor)
        if not isinstance(value, dict):
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"{cursor} is not a JSON object; `siemtap state list` shows what a position looks like"
        ) from None
    config = load(file)
    with open_checkpoints(config, change=True) as checkpoints:
        key = unit_named(checkpoints, unit, config)
        mark = checkpoints.load(key)
        _check_position(value, mark.cursor)
        checkpoints.save(key, Mark(value, mark.seen))


def _check_position(value: Dict[str, Any], present: Mapping[str, Any]) -> None:
    """Raise ConfigError unless a position has the names and the kinds of values of the present
    one: any other would be read as no position at all, or not be read."""
    shown = json.dumps(present)
    hint = f"write it like the present one, {shown}; `siemtap state delete` starts afresh"
    if not value or set(value) - set(present):
        unknown = ", ".join(sorted(set(value) - set(present)))
        raise ConfigError(f"a position of this unit has no {unknown or 'empty form'}; {hint}")
    for name, part in value.items():
        if type(part) is not type(present[name]):
            raise ConfigError(f"{name} is {json.dumps(part)}, another kind of value; {hint}")
        if isinstance(part, int) and not 0 <= part <= LATEST_TIME:
            raise ConfigError(f"{name} is {part}, which is no time; {hint}")


@state.command("delete", short_help="Delete the checkpoint of a unit.")
@config_option
@click.argument("unit")
def state_delete(file: str, unit: str) -> None:
    """Delete the checkpoint of UNIT: it then starts again from `lookback`. Stop `siemtap run`
    first."""
    config = load(file)
    with open_checkpoints(config, change=True) as checkpoints:
        key = unit_named(checkpoints, unit, config)
        confirm_first_read(checkpoints.database, key)
        checkpoints.delete(key)


COMMANDS = (state,)
