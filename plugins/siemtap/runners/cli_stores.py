"""Commands about what is kept: `audit`, `state`, `rejected`, `replay`."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Iterator, List, Tuple

import click

from ..core.errors import ConfigError
from ..core.manifest import guess, millis
from ..core.mapping import rfc3339
from ..core.model import Mark, Payload, Unit
from ..core.windows import Millis
from ..edge.checkpoints import Checkpoints, Database
from ..edge.clock import SYSTEM
from ..edge.http import connect
from ..edge.rejects import Rejects
from ..engine import InDoubt
from ..outputs import Around
from . import audit, logs
from .config import OUTPUTS, load
from .options import chosen, config_option, only_one
from .shipper import Shipper, also

TOGETHER = 1_000  # elements of a captured list that are one payload


@click.command("audit")
@config_option
@click.option("--since", default="24h", show_default=True, help="How far back.")
@click.option("--repair", is_flag=True, help="Deliver what is missing.")
def audit_all(file: str, since: str, repair: bool) -> None:
    """Ask the vendors again, and the output what it has: per hour, what is missing, different,
    twice or too much."""
    config = load(file)
    for line in audit.left_out(config.inputs):
        click.echo(line)
    asked = audit.inputs_of(config.inputs)
    if not asked:
        click.echo("nothing was compared: no input can be asked again")
        return
    with ExitStack() as stack:
        database = None
        if config.output in ("sqlite", "file"):  # these are written by one process at a time
            stack.enter_context(only_one(config))
        if config.output == "sqlite":
            database = Database(config.data / "siemtap.db")
            stack.callback(database.close)
        output = OUTPUTS[config.output](
            config.output_settings,
            Around(database, index_of={wish.id: wish.every.index for wish in config.inputs}),
        )
        stack.callback(output.close)
        checking = audit.Audit(
            output, SYSTEM, millis(since), audit.rejected_ids(str(config.data / "siemtap.db"))
        )
        for wish in asked:
            checking.ask(wish, connect(wish.connection), dict(also()))
        found = checking.compare()
        for line in audit.report(found):
            click.echo(line)
        ignored = getattr(output, "counts", {}).get("ignored", 0)
        if ignored:
            click.echo(
                f"{ignored} of these are stored with a field that the cluster could not read"
                " (`_ignored`): whole in their source, but not found by that field"
            )
        for kind in ("different", "twice", "extra"):
            for id in getattr(found, kind):
                click.echo(f"{kind}\t{id}")
        well = found.well
        if repair and found.missing:
            number, refused = checking.repair(found.missing)
            well = not (found.different or found.twice or found.extra or refused)
            click.echo(
                f"{number} delivered"
                + "".join(
                    f"\nrefused\t{event['event']['id']}\t{reason}" for event, reason in refused
                )
            )
    sys.exit(0 if well else 1)


@click.group()
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
        raise ConfigError(
            f'there is no unit "{name}"{guess(name, units)}; there are {", ".join(units) or "none"}'
        )
    return units[name]


@state.command("list")
@config_option
def state_list(file: str) -> None:
    """Every unit that has a checkpoint."""
    with checkpoints(file) as found:
        for saved in found.all():
            click.echo(
                f"{saved.unit}\t{json.dumps(saved.mark.cursor)}\t{len(saved.mark.seen)} ids\tsaved"
                f" {rfc3339(saved.saved)}"
            )


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
        raise ConfigError(
            f"{cursor} is no JSON object; see how `siemtap state list` shows one"
        ) from None
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


@click.group()
def rejected() -> None:
    """Events that the schema or an output refused."""


@rejected.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="The whole events, a line each.")
def rejected_list(file: str, as_json: bool) -> None:
    """What was refused, and why. /health is degraded for events that nobody has looked at, until
    then."""
    with checkpoints(file) as found:
        rejects = Rejects(found.database)
        rows = rejects.all()
        for row in rows:
            click.echo(
                json.dumps(row._asdict())
                if as_json
                else f"{rfc3339(row.time)}\t{row.input}\t{row.dataset}\t{row.id}\t{row.reason}"
            )
        rejects.look([row.id for row in rows])


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
        # delivered first, deleted then: a crash in between is in doubt, and asked about
        for row in rows:
            refused = shipper.counts.totals["rejected"]
            output.deliver(row.unit, [row.event], None)
            if shipper.counts.totals["rejected"] == refused:
                shipper.rejects.delete([row.id])
        left = shipper.rejects.count()
        shipper.rejects.look([row.id for row in rows])
        shipper.close()
    click.echo(f"{len(rows) - left} accepted, {left} refused again")
    sys.exit(1 if left else 0)


@rejected.command("delete")
@config_option
@click.argument("ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Every one of them.")
def rejected_delete(file: str, ids: Tuple[str, ...], every: bool) -> None:
    """Forget refused events: their ids, as `rejected list` shows them, or --all. Nothing brings
    them back."""
    if bool(ids) == every:
        raise ConfigError("say which: the ids that `siemtap rejected list` shows, or --all")
    with checkpoints(file) as found:
        rejects = Rejects(found.database)
        known = {row.id for row in rejects.all()}
        unknown = [id for id in ids if id not in known]
        if unknown:
            raise ConfigError(
                f"there is no rejected event {', '.join(unknown)}; see `siemtap rejected list`"
            )
        click.echo(f"{rejects.delete(known if every else ids)} deleted")


@click.command()
@config_option
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--input",
    "id",
    default="",
    help="The input that these would have been pushed to; needed where several receive.",
)
@click.option(
    "--path",
    default="",
    help="What a webhook's path would have said after the secret, such as ACME/web01.",
)
def replay(file: str, files: Tuple[Path, ...], id: str, path: str) -> None:
    """Payloads captured earlier, through the same door: JSON, one or one a line, CEF or other
    text line by line."""
    config = load(file)
    wish = chosen(
        {wish.id: wish for wish in config.inputs if wish.receiving and wish.every.enabled},
        id,
        "that receives",
    )
    with only_one(config):
        shipper = Shipper(dataclasses.replace(config, inputs=(wish,)), once=True, pull=False)
        reception = shipper.inputs[wish.id].reception
        assert reception is not None
        number = 0
        for name in files:
            payloads = captured(name.read_bytes(), path, SYSTEM.now())
            for part in reception.spool.parts(payloads):
                reception.spool.append(part).result()
            number += len(payloads)
        well = shipper.run()
    totals = shipper.counts.totals
    click.echo(
        f"{number:,} payloads: {totals['accepted']:,} events accepted, {totals['rejected']:,}"
        f" rejected, {totals['echoes']:,} known already"
    )
    sys.exit(0 if well else 1)


def captured(said: bytes, path: str, now: Millis) -> List[Payload]:
    """One JSON document, in parts where it is a long list; or a payload a line."""
    try:
        value = json.loads(said)
    except (ValueError, RecursionError):
        lines = [line for line in said.splitlines() if line.strip()]
        if lines and not any(
            line.lstrip().startswith((b"{", b"[", b"<")) or b"CEF:" in line or b"LEEF:" in line
            for line in lines
        ):
            lines = [said]  # one text of several lines
        return [
            Payload(
                line, "webhook" if line.lstrip()[:1] in (b"{", b"[") else "replay", path, "", now
            )
            for line in lines
        ]
    # a payload holds no more records than it has room for
    if isinstance(value, list) and len(value) > TOGETHER:
        return [
            Payload(json.dumps(value[start : start + TOGETHER]).encode(), "webhook", path, "", now)
            for start in range(0, len(value), TOGETHER)
        ]
    return [Payload(said, "webhook", path, "", now)]


COMMANDS = (audit_all, state, rejected, replay)
