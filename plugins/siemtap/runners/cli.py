"""siemtap: the command. Exit codes: 0 done, 1 something was left undone, 2 a person must change
the configuration or the call."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

import click
from rich.console import Console

from .. import VERSION
from ..core.convert import instant, millis_of
from ..core.errors import ConfigError, SiemtapError
from ..core.manifest import millis
from ..core.windows import DAY, Millis
from ..edge.clock import SYSTEM
from ..edge.rejects import News
from . import cli_checks, cli_plugins, cli_stores, logs, plugins, scaffold, simulate
from . import demo as demonstration
from .config import Config, load
from .options import config_option, only_one
from .page import Server
from .progress import Backfill
from .shipper import Shipper, refusal


class _Commands(click.Group):
    """A mistake of a person's is one sentence and exit code 2."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except SiemtapError as error:
            click.echo(f"siemtap: {error}", err=True)
            context.exit(2 if isinstance(error, ConfigError) else 1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="siemtap")
def main() -> None:
    """Collect what security vendors know, once and only once, into the SIEM you have."""


@contextmanager
def signals(shipper: Shipper, reload: Any = None) -> Iterator[None]:
    """SIGTERM and Ctrl-C stop asking and drain; SIGHUP reads the configuration again."""
    before = {
        number: signal.signal(number, lambda *_: shipper.stop())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    if reload and hasattr(signal, "SIGHUP"):
        before[signal.SIGHUP] = signal.signal(
            signal.SIGHUP, lambda *_: threading.Thread(target=reload, name="reload").start()
        )
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@main.command()
@config_option
@click.option(
    "--once",
    is_flag=True,
    help="Work through all that is due, then end: 0, or 1 if anything was left undone.",
)
@click.option(
    "--patience",
    default="2m",
    show_default=True,
    help="With --once: how long to retry a vendor that fails.",
)
@click.option(
    "--from",
    "start",
    help="Read from here, beside the checkpoints (2026-03-04T10:00Z); ends by itself.",
)
@click.option("--to", "stop", help="With --from: up to here; now by default.")
def run(file: str, once: bool, patience: str, start: Optional[str], stop: Optional[str]) -> None:
    """Collect."""
    config = load(file)
    logs.start(config.logging)
    if stop and not start:
        raise ConfigError("--to needs --from")
    stretch = (moment(start), moment(stop) if stop else SYSTEM.now()) if start else None
    if stretch and stretch[0] >= stretch[1]:
        raise ConfigError("--from must lie before --to")
    with only_one(config):
        code = work(config, once or stretch is not None, millis(patience) / 1000, stretch)
    sys.stdout.flush()
    # what did not drain in time holds nothing that the next start does not do again
    if threading.active_count() > 1:
        os._exit(code)
    sys.exit(code)


def work(
    config: Config, once: bool, patience: float, stretch: Optional[Tuple[Millis, Millis]]
) -> int:
    progress = Backfill()
    shipper = Shipper(config, once, patience, stretch, progress=progress)
    log = logging.getLogger("siemtap")

    def reload() -> None:
        try:
            inputs = load(config.file).inputs
        except SiemtapError as error:
            log.error("inputs stay as they were: %s", error)
            return
        try:
            shipper.configure(inputs)
            log.info("inputs read again from %s", config.file)
        except SiemtapError as error:
            log.error(
                "inputs read again from %s; one cannot be as it is wanted: %s", config.file, error
            )

    with signals(shipper, reload):  # before anybody can know that we are here
        page = (
            Server(shipper, config.http.host, config.http.port)
            if config.http.enabled and not once
            else None
        )
        if page:
            log.info("status page at %s", page.address)
        if shipper.database.new:
            log.info(
                "no checkpoints in %s yet: every input starts from its `lookback`", config.data
            )
        asked_to_stop = False
        try:
            done = shipper.run()
            asked_to_stop = not once
        finally:
            progress.close()
            if page:
                page.close()
    for running in shipper.inputs.values():
        for state in running.states():
            if once and not state.done:
                log.error("left undone: %s: %s", state.unit, state.error or state.state)
    if once and shipper.ready.latest:
        unit, reason = shipper.ready.latest
        log.error("left undone: %s", refusal(News(shipper.counts.totals["rejected"], unit, reason)))
    log.info(
        "%s events accepted, %s rejected, %s read again",
        *(f"{shipper.counts.totals[name]:,}" for name in ("accepted", "rejected", "echoes")),
    )
    return 0 if done or asked_to_stop else 1


def moment(said: str) -> Millis:
    try:
        return millis_of(instant(said))
    except ValueError:
        raise ConfigError(f'"{said}" is no time; write it like 2026-03-04T10:00Z') from None


@main.command()
@click.option("--once", is_flag=True, help="End when everything is collected and shown.")
@click.option(
    "--port",
    default=5066,
    show_default=True,
    help="Where the status page listens; 0 takes a free port.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Keep the embedded store here; a temporary folder by default.",
)
def demo(once: bool, port: int, data: Optional[Path]) -> None:
    """Every vendor there is: simulated, collected, shown."""
    console = Console()
    with ExitStack() as stack:
        data = data or Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="siemtap-demo-", ignore_cleanup_errors=True)
            )
        )
        vendors = demonstration.servers(stack)
        config = demonstration.config(vendors, data, 0 if once else port)
        logs.start(config.logging)
        stack.enter_context(only_one(config))
        began = time.monotonic()
        console.print(
            "collecting 24 hours of"
            f" {', '.join(running.plugin.title for running in config.inputs)}, simulated, into"
            f" {data / 'siemtap.db'} …"
        )
        shipper = Shipper(config, once=once, listen=True)
        demonstration.push(shipper, vendors, SYSTEM.now() - DAY, SYSTEM.now())
        page = Server(shipper, config.http.host, config.http.port)
        with signals(shipper):
            if not once:
                threading.Thread(
                    target=_show_when_done,
                    args=(shipper, console, began, page.address),
                    daemon=True,
                ).start()
                threading.Thread(
                    target=_go_on_pushing, args=(shipper, vendors), daemon=True
                ).start()
            done = shipper.run()
        if once:
            _show(shipper, console, began)
        page.close()
    sys.exit(0 if done or not once else 1)


def _go_on_pushing(shipper: Shipper, vendors: Dict[str, simulate.Server]) -> None:
    since = SYSTEM.now()
    while not shipper.stopping.wait(1.0):
        now = SYSTEM.now()
        demonstration.push(shipper, vendors, since, now)
        since = now


def _show_when_done(shipper: Shipper, console: Console, began: float, address: str) -> None:
    while not shipper.stopping.is_set() and not all(
        state.success for running in shipper.inputs.values() for state in running.states()
    ):
        time.sleep(0.1)
    _show(shipper, console, began)
    console.print(f"status page: {address}   (Ctrl-C ends the demo)")


def _show(shipper: Shipper, console: Console, began: float) -> None:
    demonstration.show(shipper.tally, console)
    totals = shipper.counts.totals
    console.print(
        f"{totals['accepted']:,} events in {time.monotonic() - began:.1f} s; {totals['rejected']}"
        f" rejected, {totals['echoes']:,} read again and left out"
    )


@main.command("simulate")
@click.argument("vendor")
@click.option("--port", default=0, help="The port on 127.0.0.1; 0 takes a free one.")
@click.option(
    "--knob",
    "knobs",
    multiple=True,
    metavar="NAME=VALUE",
    help="How the vendor behaves; see its simulator.py.",
)
@click.option("--for", "length", default="1h", show_default=True, help="End after so long.")
@click.option(
    "--deliver-to",
    "places",
    multiple=True,
    metavar="URL",
    help=(
        "A vendor that pushes: webhooks to https://…/<plugin>/<secret>, syslog to udp:// or tcp://."
    ),
)
@click.option("--rate", default=1.0, show_default=True, help="With --deliver-to: events a second.")
def simulate_vendor(
    vendor: str,
    port: int,
    knobs: Tuple[str, ...],
    length: str,
    places: Tuple[str, ...],
    rate: float,
) -> None:
    """A vendor's API on loopback, with faults on request (POST /_simulator/faults); and what it
    pushes."""
    plugins.plugin(vendor)
    server = simulate.Server(
        simulate.simulator(
            vendor,
            {"rate": rate, **simulate.knobs_of(knobs)} if places else simulate.knobs_of(knobs),
        ),
        port,
    )
    if places and not hasattr(server.simulated, "pushed"):
        raise ConfigError(f"{vendor} pushes nothing; --deliver-to is for vendors that do")
    click.echo(json.dumps(server.simulated.settings(server.url)))
    sys.stdout.flush()
    end = time.monotonic() + millis(length) / 1000
    try:
        sender = simulate.Sender(places)
        since = SYSTEM.now()
        while time.monotonic() < end:
            time.sleep(min(0.2 if places else 3600.0, max(0.0, end - time.monotonic())))
            now = SYSTEM.now()
            for thing in server.simulated.pushed(since, now) if places else ():
                sender.send(thing)
            since = now
        if places:
            click.echo(f"{len(sender.taken)} taken, {sender.refused} refused")
    except KeyboardInterrupt:
        pass
    server.close()


@main.command()
@click.argument("name")
@click.option(
    "--into",
    default="plugins",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The folder of plugins.",
)
def new(name: str, into: Path) -> None:
    """A new plugin's folder, which passes its tests at once."""
    for path in scaffold.write(name, into):
        click.echo(path)
    click.echo(
        f"It runs and is tested as it is. To install it, add to setup.cfg: `{name}` under packages,"
        f" and `{name} = {name}:PLUGIN` under siemtap.plugins."
    )


for command in (*cli_checks.COMMANDS, *cli_stores.COMMANDS, *cli_plugins.groups()):
    main.add_command(command)

logging.getLogger("siemtap").addHandler(logging.NullHandler())
if __name__ == "__main__":
    main()
