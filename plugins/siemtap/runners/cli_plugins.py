"""The commands that plugins bring: `siemtap <plugin> <command> SUBJECT…`."""

from __future__ import annotations

import json
import sys
from typing import Any, List

import click
from rich.console import Console
from rich.table import Table

from ..core.model import Command, Plugin, Site
from ..edge.checkpoints import Checkpoints, Database
from ..edge.http import connect
from . import plugins
from .config import Config, Input, load
from .demo import printable
from .options import chosen, config_option
from .receiving import RECEIVED


def groups() -> List[click.Group]:
    return [_group(plugin) for plugin in plugins.installed().values() if plugin.commands]


def _group(plugin: Plugin) -> click.Group:
    """`notifications add` is `add` in a group `notifications`."""
    top = click.Group(plugin.name, help=f"{plugin.title}: what its API can be told.")
    for command in plugin.commands:
        place, *words = top, *command.name.split(" ")
        for word in words[:-1]:
            inner = place.commands.get(word)
            if not isinstance(inner, click.Group):
                inner = click.Group(
                    word, help=f"{word.capitalize()} of a {command.subject.lower()}."
                )
                place.add_command(inner)
            place = inner
        place.add_command(_command(plugin, command, words[-1]))
    return top


def _command(plugin: Plugin, command: Command, name: str) -> click.Command:
    def run(file: str, input: str, as_json: bool, subjects: Any = (), **options: Any) -> None:
        config = load(file)
        wish = chosen(
            {wish.id: wish for wish in config.inputs if wish.plugin is plugin},
            input,
            f"of type {plugin.name}",
        )
        client = plugin.connect(wish.settings, connect(wish.connection))
        outcomes = []
        for outcome in command.run(
            Site(client, wish.settings, _last(config, wish)), tuple(subjects), **options
        ):
            outcomes.append(outcome)
            if as_json:
                click.echo(
                    json.dumps(
                        {
                            "subject": outcome.subject,
                            "well": outcome.well,
                            "said": outcome.said,
                            "data": outcome.data,
                        },
                        ensure_ascii=False,
                    )
                )
        if command.prints and not as_json:
            for outcome in outcomes:
                click.echo(
                    (
                        json.dumps(outcome.data, indent=1, ensure_ascii=False)
                        if outcome.well
                        else printable(f"{outcome.subject}: {outcome.said}")
                    ),
                    err=not outcome.well,
                )
        elif not as_json:
            _show(outcomes)
        sys.exit(0 if all(outcome.well for outcome in outcomes) else 1)

    made = click.command(name, help=command.help)(run)
    subjects = (
        [click.Argument(["subjects"], nargs=-1, required=True, metavar=f"{command.subject}…")]
        if command.subject
        else []
    )
    made.params = [
        *subjects,
        *(_option(option) for option in command.options),
        click.Option(
            ["--json", "as_json"], is_flag=True, help="One line of JSON for each, for scripts."
        ),
        click.Option(
            ["--input", "input"],
            default="",
            help="The input's id, where there are several of this type.",
        ),
    ]
    return config_option(made)


def _option(option: Any) -> click.Option:
    name = f"--{option.name.replace('_', '-')}"
    return (
        click.Option([name, option.name], is_flag=True, help=option.help)
        if option.flag
        else click.Option(
            [name, option.name], metavar=option.value, multiple=option.several, help=option.help
        )
    )


def _last(config: Config, wish: Input) -> int:
    """When something that was received came out of the spool last."""
    path = config.data / "siemtap.db"
    if not wish.receiving or not path.exists():
        return 0
    database = Database(path)
    try:
        return max(
            (
                saved.saved
                for saved in Checkpoints(database).all()
                if saved.unit.input == wish.id and saved.unit.scope == RECEIVED
            ),
            default=0,
        )
    finally:
        database.close()


def _show(outcomes: List[Any]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for outcome in outcomes:
        table.add_row(
            printable(outcome.subject),
            "[green]ok[/]" if outcome.well else "[red]FAIL[/]",
            printable(outcome.said),
        )
    Console(soft_wrap=True).print(table)
