"""The command `audit`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import partial
from typing import Any, Tuple

import click

from ....core.errors import ConfigError
from ....core.manifest import parse_duration
from ....core.windows import Millis
from ....edge.client.http import connect
from ....edge.printable import printable
from ....outputs.types import OUTPUTS
from ...audit import ranges, report, stored
from ...audit.findings import Comparison
from ...config.sections import Config, OutputConfig
from ...process import added_fields
from ..options import config_option, data_folder_lock, load, output_option, parts_of


@click.command("audit", short_help="Compare the output with the vendors' data.")
@config_option
@click.option(
    "--since",
    default="24h",
    metavar="DURATION",
    show_default=True,
    help="How far back to compare.",
)
@click.option(
    "--patience",
    default="2m",
    metavar="DURATION",
    show_default=True,
    help="The retry timeout of a vendor that fails.",
)
@click.option("--repair", is_flag=True, help="Deliver missing events.")
@output_option
def audit_all(file: str, since: str, patience: str, repair: bool, outputs: Tuple[str, ...]) -> None:
    """Read the vendors' events again and compare them with the output.

    Prints each event that is missing, different, a duplicate, or unknown to the vendor, with the
    fields that differ, and for each hour how many there are. Exits with 1 if there are any. What
    the shipper has not read yet, or was never to read, is not compared. Of several outputs each is
    compared; events that wait for one are not missing.

    `siemtap run` may go on: nothing is written. With --repair and the outputs sqlite and file, stop
    it first. The outputs stdout, splunk_hec and kafka cannot be compared.
    """
    config = load(file)
    for line in ranges.explain_skipped(config.inputs):
        click.echo(line)
    ok = True
    for part in parts_of(config, outputs):
        if len(config.outputs) > 1:
            click.echo(f"output {part.output.name}:")
            if OUTPUTS[part.output.type].load().unreadable and not outputs:
                click.echo(f"not compared: {why_unreadable(part.output)}")
                continue
        ok = _audit(part, parse_duration(since), parse_duration(patience), repair) and ok
    sys.exit(0 if ok else 1)


def why_unreadable(output: OutputConfig) -> str:
    """Return why nothing can be compared with an output; "" if it can be read."""
    why = OUTPUTS[output.type].load().unreadable
    return f"{output.type} cannot return its events: {why}" if why else ""


def _audit(config: Config, since: Millis, patience: Millis, repair: bool) -> bool:
    """Compare one output with the vendors. Return whether it has exactly what they have."""
    problem = why_unreadable(config.output)
    if problem:
        readable = ", ".join(name for name in OUTPUTS if not OUTPUTS[name].load().unreadable)
        raise ConfigError(f"{config.output.section}: {problem} (an audit needs {readable})")
    inputs = ranges.auditable_inputs(config.inputs)
    if not inputs:
        click.echo("nothing was compared: no input can be read again")
        return True
    with ExitStack() as stack:
        # one process at a time may write these
        if repair and config.output.type in ("sqlite", "file"):
            stack.enter_context(data_folder_lock(config))
        checking = stored.open_audit(config, since, repair, stack, partial(click.echo, err=True))
        checking.patience = patience / 1000
        for input_config in inputs:
            checking.read_vendor(
                input_config, connect(input_config.connection), dict(added_fields())
            )
        comparison = checking.compare()
        _print_comparison(comparison, checking.output)
        ok = comparison.ok
        missing = comparison.ids("missing")
        if repair and missing:
            number, refused = checking.repair(missing)
            ok = len(missing) == len(comparison.findings) and not refused
            click.echo(f"{number} delivered")
            for event, reason in refused:
                click.echo(f"refused\t{event['event']['id']}\t{printable(reason)}")
    return ok


def _print_comparison(comparison: Comparison, output: Any) -> None:
    for line in report.details(comparison):
        click.echo(line)
    ignored = getattr(output, "counts", {}).get("ignored", 0)
    if ignored:
        click.echo(
            f"{ignored} of these have a field that the cluster could not index (`_ignored`): their"
            " source is complete, but a search for that field does not find them"
        )
    for line in report.report(comparison):
        click.echo(line)
