"""The commands `queue`: events that wait for one of several outputs."""

from __future__ import annotations

import click

from ....core.errors import ConfigError
from ....core.manifest import suggest
from ....edge.store.checkpoints import Database
from ....edge.store.event_queue import EventQueue
from ..options import config_option, data_folder_lock, load


@click.group(short_help="List or delete events that wait for an output.")
def queue() -> None:
    """List or delete events that wait in `path.data` for one of several outputs."""


@queue.command("list", short_help="List what waits for each output.")
@config_option
def queue_list(file: str) -> None:
    """List each output for which events wait, with their number and their bytes on disk. `siemtap
    run` may go on."""
    config = load(file)
    known = [output.name for output in config.outputs]
    waiting = _open(file)
    names = waiting.outputs()
    if not names:
        click.echo("no events wait for an output", err=True)
    for name in names:
        numbers = waiting.waiting(name)
        gone = "" if name in known else "\tnot configured any more"
        click.echo(f"{name}\t{numbers.events} events\t{numbers.bytes} bytes{gone}")
    waiting.database.close()


@queue.command("delete", short_help="Delete what waits for an output.")
@config_option
@click.argument("output")
def queue_delete(file: str, output: str) -> None:
    """Delete the events that wait for OUTPUT: it never gets them. Other outputs that need them keep
    them. Stop `siemtap run` first."""
    with data_folder_lock(load(file)):
        waiting = _open(file)
        names = waiting.outputs()
        try:
            if output not in names:
                raise ConfigError(
                    f'nothing waits for "{output}"{suggest(output, names)}; events wait for'
                    f" {', '.join(names) or 'no output'}"
                )
            click.echo(f"{waiting.delete(output):,} events deleted")
        finally:
            waiting.database.close()


def _open(file: str) -> EventQueue:
    config = load(file)
    path = config.data / "siemtap.db"
    if not path.exists():
        raise ConfigError(f"nothing waits: there is no {path} yet")
    return EventQueue(Database(path), config.queue.max_bytes)


COMMANDS = (queue,)
