"""The command `events`."""

from __future__ import annotations

import sys
from contextlib import closing
from itertools import islice
from typing import Any, Callable, Iterable, List, Tuple, TypeVar

import click

from ....core.convert import rfc3339
from ....core.errors import ConfigError
from ....core.settings import SEVERITIES
from ....core.windows import Millis
from ....edge.clock import SYSTEM
from ....edge.store.snapshot import Snapshot
from ....outputs.stdout import write_lines
from ...config.sections import Config
from ...events.search import Hit, Query, Search, severity_numbers, spelled_as_stored, time_range
from ...events.table import Row, row_of
from ..options import config_option, load

WIDTH = 200  # columns of a table that goes into a file or a pipe
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _many(name: str, help: str, **more: Any) -> Callable[[Decorated], Decorated]:
    """Return an option that may be given several times."""
    return click.option(f"--{name}", name, multiple=True, help=help, **more)


@click.command("events", short_help="Search the events of the embedded store.")
@config_option
@click.option("--since", default="", metavar="DURATION", help="Events of this time before now.")
@click.option(
    "--from", "start", default="", metavar="TIME", help="From this time, such as 2026-03-04T10:00Z."
)
@click.option("--to", "stop", default="", metavar="TIME", help="Before this time.")
@_many("severity", f"With this severity: {', '.join(SEVERITIES)}.", metavar="NAME")
@_many("source", "From this `source.ip`, or else `source.address`.", metavar="ADDRESS")
@_many("dataset", "Of this dataset, such as acme.event.", metavar="NAME")
@_many("input", "Of the input with this id.", metavar="ID")
@_many("action", "With this `event.action`, such as blocked.", metavar="NAME")
@click.option("--text", default="", help="With this text in any field, in upper or lower case.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="How many events to show: the newest ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print whole events, one JSON line each.")
def events(
    file: str,
    since: str,
    start: str,
    stop: str,
    severity: Tuple[str, ...],
    source: Tuple[str, ...],
    dataset: Tuple[str, ...],
    input: Tuple[str, ...],
    action: Tuple[str, ...],
    text: str,
    limit: int,
    as_json: bool,
) -> None:
    """Search the events that the output sqlite has stored, and show the newest first.

    An event must match all options; of an option that is given several times, one value. `siemtap
    run` may go on.
    """
    config = load(file)
    first, last = time_range(since, start, stop, SYSTEM.now())
    query = Query(
        start=first,
        stop=last,
        source=spelled_as_stored(source),
        severity=severity_numbers(severity),
        dataset=dataset,
        input=input,
        action=action,
        text=text,
    )
    from rich.console import Console

    require_embedded_store(config)
    # On a terminal, lines of JSON show by themselves that the search goes on.
    terminal = Console(stderr=True, quiet=as_json and sys.stdout.isatty())
    rows: List[Row] = []
    with closing(Snapshot(config.data / "siemtap.db")) as snapshot:
        with terminal.status("searching …") as status:

            def show_reached(reached: Millis) -> None:
                status.update(f"searching … back to {rfc3339(reached)[:19]}Z")

            hits = islice(Search(snapshot, query, on_step=show_reached), limit)
            if as_json:
                number = _print_json(hits)
            else:
                rows = [row_of(hit) for hit in hits]
                number = len(rows)
    if rows:
        _print_table(rows)
    if not number:
        click.echo("no event matches", err=True)
    elif number == limit:
        click.echo(f"the newest {number:,}; --limit shows more", err=True)


def require_embedded_store(config: Config) -> None:
    """Raise ConfigError, with the place of the events, unless they are in the embedded store."""
    if not config.has_store:
        places = "; ".join(
            f"{output.section}: the events are {output.location}" for output in config.outputs
        )
        raise ConfigError(
            "`siemtap events` searches the embedded store, the output sqlite, which this"
            f" configuration does not have. It has {places}"
        )


def _print_json(hits: Iterable[Hit]) -> int:
    """Print the events as they are stored; return how many."""
    number = 0
    for hit in hits:
        write_lines(hit.text.encode() + b"\n")
        number += 1
    return number


def _print_table(rows: List[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in Row._fields:
        table.add_column(name, no_wrap=name == "time", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in (f"{row.time[:19]}Z", *row[1:])))
    width = None if sys.stdout.isatty() else WIDTH
    Console(width=width).print(table)


COMMANDS = (events,)
