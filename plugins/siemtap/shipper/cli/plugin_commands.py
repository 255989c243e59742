"""The commands of plugins: `siemtap <plugin> <command> SUBJECT…`."""

from __future__ import annotations

import json
import sys
from typing import Any, List

import click

from ...core.model import Command, CommandContext, Outcome, Plugin
from ...edge.client.http import connect
from ...edge.printable import escape_markup
from ...edge.receive.receiver import RECEIVED
from ...edge.store.checkpoints import Checkpoints, Database
from ...render import registry
from ..config.sections import Config, Input
from .options import config_option, load, select_input


def groups() -> List[click.Group]:
    """Return a command group for each plugin that has commands."""
    return [_group(plugin) for plugin in registry.installed().values() if plugin.commands]


def _group(plugin: Plugin) -> click.Group:
    """Return a plugin's group; `notifications add` is `add` in its subgroup `notifications`."""
    top = click.Group(plugin.name, help=f"Manage {plugin.title} through its API.")
    for command in plugin.commands:
        *parents, name = command.name.split(" ")
        group = top
        for parent in parents:
            subgroup = group.commands.get(parent)
            if not isinstance(subgroup, click.Group):
                subgroup = click.Group(
                    parent, help=f"Manage the {parent} of a {command.subject.lower()}."
                )
                group.add_command(subgroup)
            group = subgroup
        group.add_command(_command(plugin, command, name))
    return top


def _command(plugin: Plugin, command: Command, name: str) -> click.Command:
    def run(file: str, input: str, as_json: bool, subjects: Any = (), **options: Any) -> None:
        config = load(file)
        of_plugin = {
            input_config.id: input_config
            for input_config in config.inputs
            if input_config.plugin is plugin
        }
        input_config = select_input(of_plugin, input, f"of type {plugin.name}")
        client = plugin.connect(input_config.settings, connect(input_config.connection))
        context = CommandContext(
            client, input_config.settings, _last_received(config, input_config)
        )
        outcomes = []
        for outcome in command.run(context, tuple(subjects), **options):
            outcomes.append(outcome)
            if as_json:
                _print_json(outcome)
        if command.prints and not as_json:
            _print_data(outcomes)
        elif not as_json:
            _print_table(outcomes)
        sys.exit(0 if all(outcome.ok for outcome in outcomes) else 1)

    click_command = click.command(name, help=command.help)(run)
    subjects = []
    if command.subject:
        subjects = [
            click.Argument(["subjects"], nargs=-1, required=True, metavar=f"{command.subject}…")
        ]
    click_command.params = [
        *subjects,
        *(_option(option) for option in command.options),
        click.Option(
            ["--json", "as_json"], is_flag=True, help="Print each result as a line of JSON."
        ),
        click.Option(
            ["--input", "input"],
            default="",
            help="The id of the input to use, if several have this type.",
        ),
    ]
    return config_option(click_command)


def _option(option: Any) -> click.Option:
    names = [f"--{option.name.replace('_', '-')}", option.name]
    if option.flag:
        return click.Option(names, is_flag=True, help=option.help)
    return click.Option(names, metavar=option.value, multiple=option.several, help=option.help)


def _last_received(config: Config, input_config: Input) -> int:
    """Return when a received event of the input was last delivered, in milliseconds; 0 for
    never."""
    path = config.data / "siemtap.db"
    if not input_config.receiving or not path.exists():
        return 0
    database = Database(path)
    try:
        times = [
            saved.saved
            for saved in Checkpoints(database).all()
            if saved.unit.input == input_config.id and saved.unit.scope == RECEIVED
        ]
        return max(times, default=0)
    finally:
        database.close()


def _print_json(outcome: Outcome) -> None:
    line = {
        "subject": outcome.subject,
        "well": outcome.ok,
        "message": outcome.message,
        "data": outcome.data,
    }
    click.echo(json.dumps(line, ensure_ascii=False))


def _print_data(outcomes: List[Outcome]) -> None:
    """Print the data of each outcome as JSON; failures go to standard error."""
    for outcome in outcomes:
        if outcome.ok:
            click.echo(json.dumps(outcome.data, indent=1, ensure_ascii=False))
        else:
            click.echo(escape_markup(f"{outcome.subject}: {outcome.message}"), err=True)


def _print_table(outcomes: List[Outcome]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for outcome in outcomes:
        table.add_row(
            escape_markup(outcome.subject),
            "[green]ok[/]" if outcome.ok else "[red]FAIL[/]",
            escape_markup(outcome.message),
        )
    Console(soft_wrap=True).print(table)
