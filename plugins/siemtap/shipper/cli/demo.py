"""The command `demo`."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional

import click

from ...core.windows import DAY
from ...edge.clock import SYSTEM
from .. import logs
from ..process import Shipper
from ..status.server import Server
from .options import data_folder_lock, signals

if TYPE_CHECKING:  # the terminal and the simulators: `run` starts without them
    from rich.console import Console

    from ...testing import simulation

DEMO_PORT = 5066
OTHER_PORT = "name another one with --port; 0 picks a free port"
SILENCE = 4.0  # seconds without a line while the demo collects


@click.command(short_help="Collect simulated events of every vendor and show them.")
@click.option("--once", is_flag=True, help="Exit when everything is collected and shown.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=(
        "The port of the status page; 0 picks a free port. By default 5066, and a free port with"
        " --once."
    ),
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="The folder for the embedded store; by default a temporary folder.",
)
def demo(once: bool, port: Optional[int], data: Optional[Path]) -> None:
    """Simulate every vendor, collect 24 hours of their events, and show them.

    Needs no account, no network and no configuration file.
    """
    from rich.console import Console

    from .. import demo as demonstration

    console = Console()
    kept = "" if data else " (temporary: deleted at the end; --data DIR keeps it)"
    with ExitStack() as stack:
        data = data or Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="siemtap-demo-", ignore_cleanup_errors=True)
            )
        )
        vendors = demonstration.servers(stack)
        if port is None:
            port = 0 if once else DEMO_PORT
        config = demonstration.config(vendors, data, port)
        logs.start(config.logging)
        stack.enter_context(data_folder_lock(config))
        began = time.monotonic()
        titles = ", ".join(input_config.plugin.title for input_config in config.inputs)
        place = f"{data / 'siemtap.db'}{kept}"
        console.print(f"collecting 24 hours of {titles}, simulated, into {place} …")
        shipper = Shipper(config, once=once, listen=True)
        _in_background(_show_progress, shipper, console)
        demonstration.push(shipper, vendors, SYSTEM.now() - DAY, SYSTEM.now())
        page = Server(shipper, config.http.host, config.http.port, advice=OTHER_PORT)
        if once and port:
            console.print(f"status page until the end: {page.address}")
        with signals(shipper):
            if not once:
                _in_background(_show_when_done, shipper, console, began, page.address)
                _in_background(_push_until_stopped, shipper, vendors)
            try:
                done = shipper.run()
            finally:
                page.close()
        if once:
            _show(shipper, console, began)
    sys.exit(0 if done or not once else 1)


def _in_background(function: Any, *args: Any) -> None:
    threading.Thread(target=function, args=args, daemon=True).start()


def _push_until_stopped(shipper: Shipper, vendors: Dict[str, simulation.Server]) -> None:
    from .. import demo as demonstration

    since = SYSTEM.now()
    while not shipper.stopping.wait(1.0):
        now = SYSTEM.now()
        demonstration.push(shipper, vendors, since, now)
        since = now


def _show_progress(shipper: Shipper, console: Console) -> None:
    """Print how many events have arrived, so that no silence is longer than SILENCE."""
    while not shipper.stopping.wait(SILENCE) and not _is_collected(shipper):
        console.print(f"  {shipper.counts.totals['accepted']:,} events so far")


def _is_collected(shipper: Shipper) -> bool:
    return all(state.success for running in shipper.inputs.values() for state in running.states())


def _show_when_done(shipper: Shipper, console: Console, began: float, address: str) -> None:
    while not shipper.stopping.is_set() and not _is_collected(shipper):
        time.sleep(0.1)
    _show(shipper, console, began)
    console.print(f"status page: {address}   (Ctrl-C ends the demo)")


def _show(shipper: Shipper, console: Console, began: float) -> None:
    from .. import demo as demonstration

    demonstration.show(shipper.tally, console)
    totals = shipper.counts.totals
    console.print(
        f"{totals['accepted']:,} events in {time.monotonic() - began:.1f} s; {totals['rejected']}"
        f" rejected, {totals['echoes']:,} read again and dropped"
    )
