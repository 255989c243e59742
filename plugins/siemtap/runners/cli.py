"""siemtap: the command. Exit codes: 0 done, 1 something was left undone, 2 a person must change the configuration or the call."""

from __future__ import annotations

import dataclasses
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
from typing import Any, Dict, Iterator, List, Optional, Tuple

import click
import filelock
from rich.console import Console

from .. import VERSION, contract
from ..core.convert import instant, millis_of
from ..core.errors import ConfigError, SiemtapError
from ..core.manifest import guess, millis
from ..core.mapping import rfc3339
from ..core.model import Mark, Unit
from ..core.windows import MINUTE, Millis
from ..edge.checkpoints import Checkpoints, Database
from ..edge.clock import SYSTEM
from ..edge.http import connect
from ..edge.rejects import Rejects
from ..engine import InDoubt, voice
from ..outputs import Around
from ..render.config import input_schema, sample
from ..render.datasets import schema_of
from . import audit, logs, plugins, scaffold, setup, simulate
from . import demo as demonstration
from .config import OUTPUTS, Config, Input, load, whole_schema
from .page import Server
from .progress import Backfill
from .shipper import Shipper, also

config_option = click.option("-c", "--config", "file", default="siemtap.yml", show_default=True, help="The configuration.")


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
def only_one(config: Config) -> Iterator[None]:
    """One process per path.data."""
    config.data.mkdir(parents=True, exist_ok=True)
    name = config.data / "siemtap.pid"
    lock = filelock.FileLock(config.data / "siemtap.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        other = name.read_text().strip() if name.exists() else "?"
        raise ConfigError(f"{config.data} is in use by another siemtap (process {other}); stop it, or give this one a path.data of its own") from None
    try:
        name.write_text(str(os.getpid()))
        yield
    finally:
        name.unlink(missing_ok=True)
        lock.release()


@contextmanager
def signals(shipper: Shipper, reload: Any = None) -> Iterator[None]:
    """SIGTERM and Ctrl-C stop asking and drain; SIGHUP reads the configuration again."""
    before = {number: signal.signal(number, lambda *_: shipper.stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    if reload and hasattr(signal, "SIGHUP"):
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, lambda *_: threading.Thread(target=reload, name="reload").start())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@main.command()
@config_option
@click.option("--once", is_flag=True, help="Work through all that is due, then end: 0, or 1 if anything was left undone.")
@click.option("--patience", default="2m", show_default=True, help="With --once: how long to retry a vendor that fails.")
@click.option("--from", "start", help="Read from here, beside the checkpoints (2026-03-04T10:00Z); ends by itself.")
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
    if threading.active_count() > 1:        # what did not drain in time holds nothing that the next start does not do again
        os._exit(code)
    sys.exit(code)


def work(config: Config, once: bool, patience: float, stretch: Optional[Tuple[Millis, Millis]]) -> int:
    progress = Backfill()
    shipper = Shipper(config, once, patience, stretch, progress=progress)
    log = logging.getLogger("siemtap")

    def reload() -> None:
        try:
            shipper.configure(load(config.file).inputs)
            log.info("inputs read again from %s", config.file)
        except SiemtapError as error:
            log.error("inputs stay as they were: %s", error)

    with signals(shipper, reload):      # before anybody can know that we are here
        page = Server(shipper, config.http.host, config.http.port) if config.http.enabled and not once else None
        if page:
            log.info("status page at %s", page.address)
        if shipper.database.new:
            log.info("no checkpoints in %s yet: every input starts from its `lookback`", config.data)
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
            if once and state.state != "ok":
                log.error("left undone: %s: %s", state.unit, state.error or state.state)
    log.info("%s events accepted, %s rejected, %s read again", *(f"{shipper.counts.totals[name]:,}" for name in ("accepted", "rejected", "echoes")))
    return 0 if done or asked_to_stop else 1


def moment(said: str) -> Millis:
    try:
        return millis_of(instant(said))
    except ValueError:
        raise ConfigError(f'"{said}" is no time; write it like 2026-03-04T10:00Z') from None


@main.command()
@click.option("--once", is_flag=True, help="End when everything is collected and shown.")
@click.option("--port", default=5066, show_default=True, help="Where the status page listens; 0 takes a free port.")
@click.option("--data", type=click.Path(path_type=Path), help="Keep the embedded store here; a temporary folder by default.")
def demo(once: bool, port: int, data: Optional[Path]) -> None:
    """Every vendor there is: simulated, collected, shown."""
    console = Console()
    with ExitStack() as stack:
        data = data or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="siemtap-demo-", ignore_cleanup_errors=True)))
        config = demonstration.config(demonstration.servers(stack), data, 0 if once else port)
        logs.start(config.logging)
        stack.enter_context(only_one(config))
        began = time.monotonic()
        console.print(f"collecting 24 hours of {', '.join(running.plugin.title for running in config.inputs)}, simulated, into {data / 'siemtap.db'} …")
        shipper = Shipper(config, once=once)
        page = Server(shipper, config.http.host, config.http.port)
        with signals(shipper):
            if not once:
                threading.Thread(target=_show_when_done, args=(shipper, console, began, page.address), daemon=True).start()
            done = shipper.run()
        if once:
            _show(shipper, console, began)
        page.close()
    sys.exit(0 if done or not once else 1)


def _show_when_done(shipper: Shipper, console: Console, began: float, address: str) -> None:
    while not shipper.stopping.is_set() and not all(state.success for running in shipper.inputs.values() for state in running.states()):
        time.sleep(0.1)
    _show(shipper, console, began)
    console.print(f"status page: {address}   (Ctrl-C ends the demo)")


def _show(shipper: Shipper, console: Console, began: float) -> None:
    demonstration.show(shipper.tally, console)
    totals = shipper.counts.totals
    console.print(f"{totals['accepted']:,} events in {time.monotonic() - began:.1f} s; {totals['rejected']} rejected, {totals['echoes']:,} read again and left out")


@main.group()
def test() -> None:
    """Check the configuration, the inputs, the output."""


@test.command("config")
@config_option
def test_config(file: str) -> None:
    """Read the configuration and say what it means."""
    config = load(file)
    for wish in config.inputs:
        click.echo(f"{wish.id}: {wish.plugin.title}, {wish.connection.proxy or 'no proxy'}{'' if wish.every.enabled else ', disabled'}")
    click.echo(f"output: {config.output}\nOK: {file}")


@test.command("inputs")
@config_option
@click.option("--preview", is_flag=True, help="Show up to three records of each dataset beside their events. Nothing is delivered.")
def test_inputs(file: str, preview: bool) -> None:
    """Log in, ask once, say what was seen."""
    config = load(file)
    failed = False
    for wish in config.inputs:
        if not wish.every.enabled:
            continue
        try:
            _test_input(wish, preview)
        except SiemtapError as error:
            failed = True
            click.echo(f"{wish.id}: {type(error).__name__}: {error}", err=True)
    sys.exit(1 if failed else 0)


def _test_input(wish: Input, preview: bool) -> None:
    settings = dataclasses.replace(wish.settings, lookback=min(wish.settings.lookback, 10 * MINUTE))
    http = connect(wish.connection)
    client = wish.plugin.connect(settings, http)
    say = voice(wish.plugin, settings, wish.every, {}, lambda: rfc3339(SYSTEM.now()))
    for unit in [Unit(wish.id, *place) for place in wish.plugin.units(client, settings)]:
        pairs: List[Tuple[Any, Any]] = []
        seen = 0
        newest = ""
        for batch in wish.plugin.collect(client, unit, {}, http.now()):
            events = say(batch)
            seen += len(events)
            newest = max([newest, *(event["@timestamp"] for event in events)])
            pairs += list(zip(batch.records, events))[:3 - len(pairs)]
        age = f", the newest {(SYSTEM.now() - millis_of(newest)) / 1000:.0f} s old" if newest else ""
        click.echo(f"{unit}: logged in; {seen} events in the last {settings.lookback // MINUTE} min{age}")
        for record, event in pairs if preview else []:
            click.echo(json.dumps({"record": wish.plugin.dataset(unit.dataset).redact_for(settings)(record), "event": event}, indent=1))
    for host, skew in http.skew.items():
        click.echo(f"{wish.id}: the clock of {host} is {abs(skew) / 1000:.0f} s {'ahead of' if skew > 0 else 'behind'} ours")


@test.command("output")
@config_option
def test_output(file: str) -> None:
    """Connect; say version, rights that are missing, state of the templates; write a canary event, find it, remove it."""
    well = True
    for good, said in setup.examine(load(file)):
        well = well and good
        click.echo(f"{'ok  ' if good else 'FAIL'}  {said}")
    sys.exit(0 if well else 1)


@main.command("setup")
@config_option
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
def setup_cluster(file: str, dry_run: bool) -> None:
    """Templates, pipelines and lifecycle into Elasticsearch or OpenSearch. What is there as it should be is left alone."""
    config = load(file)
    es = setup.cluster(config)
    changed = 0
    for change in setup.changes(config, es, setup.server_of(config, es)):
        what = f"{change.asset.kind} {change.asset.name}"
        if change.before is not None and not change.differences:
            click.echo(f"as it should be: {what}")
            continue
        changed += 1
        click.echo(f"{'would be ' if dry_run else ''}{'created' if change.before is None else 'changed'}: {what}")
        for line in change.differences:
            click.echo(f"    {line}")
        if not dry_run:
            setup.put(config, es, change.asset)
    click.echo(f"{changed} {'to change' if dry_run else 'changed'}" + ("; a data stream that exists takes new mappings at its next rollover" if changed and not dry_run else ""))


@main.command("audit")
@config_option
@click.option("--since", default="24h", show_default=True, help="How far back.")
@click.option("--repair", is_flag=True, help="Deliver what is missing.")
def audit_all(file: str, since: str, repair: bool) -> None:
    """Ask the vendors again, and the output what it has: per hour, what is missing, different, twice or too much."""
    config = load(file)
    with ExitStack() as stack:
        database = None
        if config.output in ("sqlite", "file"):     # these are written by one process at a time
            stack.enter_context(only_one(config))
        if config.output == "sqlite":
            database = Database(config.data / "siemtap.db")
            stack.callback(database.close)
        output = OUTPUTS[config.output](config.output_settings, Around(database, index_of={wish.id: wish.every.index for wish in config.inputs}))
        stack.callback(output.close)
        checking = audit.Audit(output, SYSTEM, millis(since), audit.rejected_ids(str(config.data / "siemtap.db")))
        for wish in audit.inputs_of(config.inputs):
            checking.ask(wish, connect(wish.connection), dict(also()))
        found = checking.compare()
        for line in audit.report(found):
            click.echo(line)
        for kind in ("different", "twice", "extra"):
            for id in getattr(found, kind):
                click.echo(f"{kind}\t{id}")
        well = found.well
        if repair and found.missing:
            number, refused = checking.repair(found.missing)
            well = not (found.different or found.twice or found.extra or refused)
            click.echo(f"{number} delivered" + "".join(f"\nrefused\t{event['event']['id']}\t{reason}" for event, reason in refused))
    sys.exit(0 if well else 1)


@main.group()
def state() -> None:
    """Checkpoints, seen and edited by a person."""


@contextmanager
def checkpoints(file: str, change: bool = False) -> Iterator[Checkpoints]:
    config = load(file)
    with ExitStack() as stack:
        if change:
            stack.enter_context(only_one(config))
        if not (config.data / "siemtap.db").exists():
            raise ConfigError(f"there are no checkpoints in {config.data} yet")
        database = Database(config.data / "siemtap.db")
        stack.callback(database.close)
        yield Checkpoints(database)


def unit_named(found: Checkpoints, name: str) -> Unit:
    units = {str(saved.unit): saved.unit for saved in found.all()}
    if name not in units:
        raise ConfigError(f'there is no unit "{name}"{guess(name, units)}; there are {", ".join(units) or "none"}')
    return units[name]


@state.command("list")
@config_option
def state_list(file: str) -> None:
    """Every unit that has a checkpoint."""
    with checkpoints(file) as found:
        for saved in found.all():
            click.echo(f"{saved.unit}\t{json.dumps(saved.mark.cursor)}\t{len(saved.mark.seen)} ids\tsaved {rfc3339(saved.saved)}")


@state.command("show")
@config_option
@click.argument("unit")
def state_show(file: str, unit: str) -> None:
    """One checkpoint, as JSON."""
    with checkpoints(file) as found:
        click.echo(json.dumps(found.load(unit_named(found, unit)).to_json(), indent=1))


@state.command("set")
@config_option
@click.argument("unit")
@click.argument("cursor")
def state_set(file: str, unit: str, cursor: str) -> None:
    """Set a unit's cursor (JSON), as `state list` shows it. What it remembers having seen stays."""
    try:
        said = json.loads(cursor)
        if not isinstance(said, dict):
            raise ValueError
    except ValueError:
        raise ConfigError(f"{cursor} is no JSON object; see how `siemtap state list` shows one") from None
    with checkpoints(file, change=True) as found:
        place = unit_named(found, unit)
        found.save(place, Mark(said, found.load(place).seen))


@state.command("delete")
@config_option
@click.argument("unit")
def state_delete(file: str, unit: str) -> None:
    """Forget a unit: it starts afresh from `lookback`."""
    with checkpoints(file, change=True) as found:
        found.delete(unit_named(found, unit))


@main.group()
def rejected() -> None:
    """Events that the schema or an output refused."""


@rejected.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="The whole events, a line each.")
def rejected_list(file: str, as_json: bool) -> None:
    """What was refused, and why."""
    with checkpoints(file) as found:
        for row in Rejects(found.database).all():
            click.echo(json.dumps(row._asdict()) if as_json else f"{rfc3339(row.time)}\t{row.input}\t{row.dataset}\t{row.id}\t{row.reason}")


@rejected.command("retry")
@config_option
def rejected_retry(file: str) -> None:
    """Hand them to the output once more; what is refused again stays."""
    config = load(file)
    logs.start(config.logging)
    with only_one(config):
        shipper = Shipper(dataclasses.replace(config, inputs=()), once=True)
        rows = shipper.rejects.all()
        output = InDoubt(shipper.ready, shipper.unmarked)
        for row in rows:        # delivered first, deleted then: a crash in between is in doubt, and asked about
            refused = shipper.counts.totals["rejected"]
            output.deliver(row.unit, [row.event], None)
            if shipper.counts.totals["rejected"] == refused:
                shipper.rejects.delete([row.id])
        left = shipper.rejects.count()
        shipper.close()
    click.echo(f"{len(rows) - left} accepted, {left} refused again")
    sys.exit(1 if left else 0)


@main.group()
def export() -> None:
    """What siemtap is made of, as text."""


@export.command("mapping")
@click.argument("dataset")
def export_mapping(dataset: str) -> None:
    """How a dataset's records become events: the compiled mapping, as Python."""
    click.echo(dataset_named(dataset).source)


@export.command("schema")
@click.argument("name")
def export_schema(name: str) -> None:
    """JSON Schema of a dataset's events (acme.event), of an input (acme), of siemtap.yml (config)."""
    if name == "config":
        found: Dict[str, Any] = whole_schema()
    elif "." in name:
        found = schema_of(contract.read("event.schema.json"), dataset_named(name))
    else:
        found = input_schema(plugins.plugin(name))
    click.echo(json.dumps(found, indent=1))


@export.command("templates")
@config_option
@click.option("--into", required=True, type=click.Path(path_type=Path), help="The folder to write into.")
@click.option("--version", "version", default="9.1", show_default=True, help="The cluster's version, as major.minor.")
def export_templates(file: str, into: Path, version: str) -> None:
    """What `siemtap setup` would put into a cluster, as files: a cluster is not asked."""
    config = load(file)
    try:
        major, minor = map(int, version.split(".")[:2])
    except ValueError:
        raise ConfigError(f'--version: "{version}" is no version; write major.minor, such as 9.1') from None
    for path in setup.write(config, (major, minor), into):
        click.echo(path)


@export.command("sample")
@click.argument("plugin")
def export_sample(plugin: str) -> None:
    """A plugin's part of siemtap.yml, with every setting."""
    click.echo(sample(plugins.plugin(plugin)), nl=False)


def dataset_named(name: str) -> Any:
    known = {dataset.name: dataset for plugin in plugins.installed().values() for dataset in plugin.datasets}
    if name not in known:
        raise ConfigError(f'there is no dataset "{name}"{guess(name, known)}; there are {", ".join(known)}')
    return known[name]


@main.command("simulate")
@click.argument("vendor")
@click.option("--port", default=0, help="The port on 127.0.0.1; 0 takes a free one.")
@click.option("--knob", "knobs", multiple=True, metavar="NAME=VALUE", help="How the vendor behaves; see its simulator.py.")
@click.option("--for", "length", default="1h", show_default=True, help="End after so long.")
def simulate_vendor(vendor: str, port: int, knobs: Tuple[str, ...], length: str) -> None:
    """A vendor's API on loopback, with faults on request (POST /_simulator/faults)."""
    plugins.plugin(vendor)
    server = simulate.Server(simulate.simulator(vendor, simulate.knobs_of(knobs)), port)
    click.echo(json.dumps(server.simulated.settings(server.url)))
    sys.stdout.flush()
    try:
        time.sleep(millis(length) / 1000)
    except KeyboardInterrupt:
        pass
    server.close()


@main.command()
@click.argument("name")
@click.option("--into", default="plugins", show_default=True, type=click.Path(path_type=Path), help="The folder of plugins.")
def new(name: str, into: Path) -> None:
    """A new plugin's folder, which passes its tests at once."""
    for path in scaffold.write(name, into):
        click.echo(path)
    click.echo(f"It runs and is tested as it is. To install it, add to setup.cfg: `{name}` under packages, and `{name} = {name}:PLUGIN` under siemtap.plugins.")


logging.getLogger("siemtap").addHandler(logging.NullHandler())
if __name__ == "__main__":
    main()
