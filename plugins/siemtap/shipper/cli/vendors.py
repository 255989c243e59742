"""For who writes a plugin: `simulate` and `new`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

import click

from ...core.errors import ConfigError
from ...core.manifest import parse_duration
from ...edge.clock import SYSTEM
from ...render import registry
from ...testing import scaffold

if TYPE_CHECKING:  # `run` starts without a simulator
    from ...testing import simulation


@click.command("simulate", short_help="Simulate a vendor's API on 127.0.0.1.")
@click.argument("vendor")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="The port on 127.0.0.1; 0 picks a free port.",
)
@click.option(
    "--knob",
    "knobs",
    multiple=True,
    metavar="NAME=VALUE",
    help=(
        "Change how the simulator behaves, such as rate=60. A name that does not exist lists all"
        " names. Repeatable."
    ),
)
@click.option(
    "--for",
    "length",
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="Exit after this time.",
)
@click.option(
    "--deliver-to",
    "addresses",
    multiple=True,
    metavar="URL",
    help=(
        "Send the events that the vendor pushes: webhooks to https://…/<plugin>/<secret>, syslog to"
        " udp:// or tcp://. Repeatable."
    ),
)
@click.option("--rate", default=1.0, show_default=True, help="With --deliver-to: events a second.")
def simulate_vendor(
    vendor: str,
    port: int,
    knobs: Tuple[str, ...],
    length: str,
    addresses: Tuple[str, ...],
    rate: float,
) -> None:
    """Simulate the API of VENDOR (a plugin's name) on 127.0.0.1.

    The first line printed is the settings of an input that reads from it, as JSON. The simulator
    then runs until Ctrl-C, or for as long as --for says.
    """
    from ...testing import simulation

    registry.plugin(vendor)
    values: Dict[str, Any] = {**simulation.parse_knobs(knobs)}
    if addresses:
        values = {"rate": rate, **values}
    simulated = simulation.simulator(vendor, values)
    try:
        server = simulation.Server(simulated, port)
    except OSError as error:
        raise ConfigError(
            f"--port: the simulator cannot listen on 127.0.0.1:{port}: {error.strerror}; name"
            " another port, or 0 for a free one"
        ) from None
    if addresses and not hasattr(server.simulated, "pushed"):
        raise ConfigError(f"{vendor} does not push events; leave out --deliver-to")
    click.echo(json.dumps(server.simulated.settings(server.url)))
    sys.stdout.flush()
    end = time.monotonic() + parse_duration(length) / 1000
    try:
        if addresses:
            _push_to(addresses, server, end)
        else:
            time.sleep(max(0.0, end - time.monotonic()))
    except KeyboardInterrupt:
        pass
    server.close()


def _push_to(addresses: Tuple[str, ...], server: simulation.Server, end: float) -> None:
    """Send what the simulated vendor pushes until `end`, in seconds of the monotonic clock."""
    from ...testing import simulation

    sender = simulation.Sender(addresses)
    since = SYSTEM.now()
    while time.monotonic() < end:
        time.sleep(min(0.2, max(0.0, end - time.monotonic())))
        now = SYSTEM.now()
        for message in server.simulated.pushed(since, now):
            sender.send(message)
        since = now
    click.echo(f"{len(sender.taken)} accepted, {sender.refused} refused")


@click.command(short_help="Create a new plugin.")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(list(scaffold.KINDS)),
    default="windows",
    show_default=True,
    help=(
        "How the vendor gives its events: windows: its API is queried by time range; cursor: it"
        " answers in pages, each with a link or cursor of the next; push: it sends them."
    ),
)
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="The folder of the package to create; without it, `plugins` of this checkout.",
)
def new(name: str, kind: str, into: Optional[Path]) -> None:
    """Create a new plugin NAME, with a simulator and a case that its tests pass.

    With --into, the plugin is an installable package of its own: install it with `pip install -e`,
    and `siemtap run` finds it.
    """
    if into:
        paths = scaffold.write_package(name, kind, into)
        hint = f"Next: cd {into}; pip install -e '.[test]'; pytest"
    else:
        if not Path("plugins/siemtap").is_dir():
            raise ConfigError(
                "this folder is no checkout of siemtap; name the folder of a new package with"
                f" --into, such as --into siemtap-{name}"
            )
        paths = scaffold.write(name, kind, Path("plugins"))
        hint = (
            "The plugin runs and passes its tests as it is. To install it, add to setup.cfg:"
            f" `{name}` under packages, and `{name} = {name}:PLUGIN` under siemtap.plugins."
        )
    for path in paths:
        click.echo(path)
    click.echo(hint)


COMMANDS = (simulate_vendor, new)
