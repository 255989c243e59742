"""Commands for stored data: `rejected`, `replay`."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import List, Sequence, Tuple

import click

from ....core.convert import CONVERSION_ERRORS, rfc3339
from ....core.errors import ConfigError, SiemtapError
from ....core.model import Payload, Unit
from ....core.windows import Millis
from ....edge.clock import SYSTEM
from ....edge.printable import printable
from ....edge.receive.receiver import RECEIVED
from ....edge.receive.spool import Spool
from ....edge.store.rejected import Rejected, RejectedEvents
from ... import logs
from ...config.sections import DEFAULT_OUTPUT, Config
from ...process import Shipper
from ..options import (
    config_option,
    data_folder_lock,
    load,
    select_input,
)
from .opened import open_checkpoints

RECORDS_PER_PAYLOAD = 1_000  # elements of a captured list that become one payload


# rejected


@click.group(short_help="List, retry or delete rejected events.")
def rejected() -> None:
    """List, retry or delete rejected events: those that the schema or the output refused."""


@rejected.command("list", short_help="List rejected events and the reasons.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print whole events, one JSON line each.")
@click.option(
    "--acknowledge",
    is_flag=True,
    help="Mark the listed events as reviewed: /health is ok again until the next one.",
)
def rejected_list(file: str, as_json: bool, acknowledge: bool) -> None:
    """List rejected events and the reasons.

    /health returns 503 until they are delivered (`siemtap rejected retry`), deleted (`siemtap
    rejected delete`) or acknowledged; acknowledged events stay stored. `siemtap run` may go on.
    """
    with open_checkpoints(load(file)) as checkpoints:
        rejected_events = RejectedEvents(checkpoints.database)
        rows = rejected_events.all()
        if not rows:
            click.echo("there are no rejected events", err=True)
        for row in rows:
            if as_json:
                click.echo(json.dumps(row._asdict()))
            else:
                by = f"output {row.output}: " if row.output not in ("", DEFAULT_OUTPUT) else ""
                click.echo(
                    f"{rfc3339(row.time)}\t{row.input}\t{row.dataset}\t{row.id}"
                    f"\t{printable(by + row.reason)}"
                )
        if acknowledge:
            rejected_events.mark_seen([row.id for row in rows])


@rejected.command("retry", short_help="Deliver rejected events again.")
@config_option
def rejected_retry(file: str) -> None:
    """Deliver rejected events again. Events that are refused again stay stored. Stop `siemtap run`
    first."""
    config = load(file)
    logs.start(config.logging)
    with data_folder_lock(config):
        shipper = Shipper(dataclasses.replace(config, inputs=()), once=True)
        shipper.index_by_input.update({each.id: each.common.index for each in config.inputs})
        rows = shipper.rejected_events.all()
        # delete after delivery: after a crash in between, the output is asked what it has
        for row in rows:
            if not row.event:
                click.echo(f"{row.id}: the stored event cannot be read; delete it", err=True)
                continue
            names = _outputs_of(row, config)
            if not names:
                click.echo(
                    f"{row.id}: the output {row.output or 'of its input'} is not configured any"
                    " more: configure it again, or delete the event",
                    err=True,
                )
                continue
            if _retry(shipper, row, names):
                shipper.rejected_events.delete_row(row)
        left = shipper.rejected_events.count()
        shipper.rejected_events.mark_seen([row.id for row in rows])
        shipper.close()
    click.echo(f"{len(rows) - left} accepted, {left} refused again")
    sys.exit(1 if left else 0)


def _retry(shipper: Shipper, row: Rejected, names: Sequence[str]) -> bool:
    """Deliver a rejected event to outputs. Return whether its row has done its work: each output
    has the event, or has refused it and got a row of its own."""
    before = shipper.counts.totals["rejected"]
    for name in names:
        output = shipper.delivery.outputs[name]
        sink = output.sink(save_checkpoints=False, doubt={}, checkpoints=shipper.checkpoints)
        try:
            sink.deliver(row.unit, [row.event], None)
        except SiemtapError as error:
            click.echo(f"{row.id}: output {name}: {printable(error)}", err=True)
            return False
        except CONVERSION_ERRORS as error:  # it is looked up before it is validated
            click.echo(
                f"{row.id}: it is no event ({type(error).__name__}): delete it, or correct what"
                " wrote it",
                err=True,
            )
            return False
    own_rows = not row.output and len(shipper.config.outputs) > 1
    return own_rows or shipper.counts.totals["rejected"] == before


def _outputs_of(row: Rejected, config: Config) -> Sequence[str]:
    """Return the names of the outputs that a rejected event is for: the one that refused it, or
    those of its input. Where only one is configured, that one."""
    known = [output.name for output in config.outputs]
    if len(known) == 1:
        return known
    if row.output:
        return [name for name in known if name == row.output]
    of_input = [each.outputs for each in config.inputs if each.id == row.input]
    return of_input[0] if of_input else ()


@rejected.command("delete", short_help="Delete rejected events permanently.")
@config_option
@click.argument("ids", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Delete all rejected events.")
def rejected_delete(file: str, ids: Tuple[str, ...], every: bool) -> None:
    """Delete the rejected events with these IDS, as `siemtap rejected list` shows them, or --all.

    Deleted events cannot be restored. `siemtap run` may go on.
    """
    if bool(ids) == every:
        raise ConfigError("give either ids, as `siemtap rejected list` shows them, or --all")
    with open_checkpoints(load(file)) as checkpoints:
        rejected_events = RejectedEvents(checkpoints.database)
        known = {row.id for row in rejected_events.all()}
        unknown = [id for id in ids if id not in known]
        if unknown:
            raise ConfigError(
                f"there is no rejected event {', '.join(unknown)}; see `siemtap rejected list`"
            )
        click.echo(f"{rejected_events.delete(known if every else ids)} deleted")


# replay


@click.command(short_help="Process captured webhook or syslog payloads.")
@config_option
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--input",
    "id",
    default="",
    help="The id of the input that receives the payloads, if several inputs receive.",
)
@click.option(
    "--path",
    default="",
    help="The part of the webhook's path after the secret, such as ACME/web01.",
)
def replay(file: str, files: Tuple[Path, ...], id: str, path: str) -> None:
    """Process payloads captured earlier as if they were received now.

    A file holds one JSON document, or one payload a line: JSON, CEF, LEEF or other text. Stop
    `siemtap run` first.
    """
    config = load(file)
    receiving = {
        input_config.id: input_config
        for input_config in config.inputs
        if input_config.receiving and input_config.common.enabled
    }
    input_config = select_input(receiving, id, "that receives")
    with data_folder_lock(config):
        shipper = Shipper(
            dataclasses.replace(config, inputs=(input_config,)), once=True, pull=False
        )
        receiver = shipper.inputs[input_config.id].receiver
        assert receiver is not None and isinstance(receiver.spool, Spool)
        number = 0
        unit = Unit(input_config.id, input_config.plugin.datasets[0].name, RECEIVED)
        waiting = receiver.spool.pending(shipper.checkpoints.load(unit).cursor)
        for name in files:
            payloads = read_payloads(name.read_bytes(), path, SYSTEM.now())
            for part in receiver.spool.parts(payloads):
                receiver.spool.append(part).result()
            number += len(payloads)
        ok = shipper.run()
    totals = shipper.counts.totals
    others = " (with payloads that waited in the spool before)" if waiting else ""
    click.echo(
        f"{number:,} payloads{others}: {totals['accepted']:,} events accepted,"
        f" {totals['rejected']:,} rejected, {totals['echoes']:,} duplicates left out"
    )
    if not all(state.done for state in shipper.inputs[input_config.id].states()):
        click.echo("not all were delivered: the rest waits in the spool for the next `siemtap run`")
    sys.exit(0 if ok else 1)


def read_payloads(body: bytes, path: str, now: Millis) -> List[Payload]:
    """Return the payloads in a captured file.

    One JSON document is one payload; a long list becomes several. Else each line is a payload, and
    text that looks like neither JSON, XML, CEF nor LEEF is one payload as a whole.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return [_line_payload(line, path, now) for line in _payload_lines(body)]
    # a payload must not hold more records than siemtap accepts in one
    if isinstance(value, list) and len(value) > RECORDS_PER_PAYLOAD:
        return [
            Payload(
                json.dumps(value[start : start + RECORDS_PER_PAYLOAD]).encode(),
                "webhook",
                path,
                "",
                now,
            )
            for start in range(0, len(value), RECORDS_PER_PAYLOAD)
        ]
    return [Payload(body, "webhook", path, "", now)]


def _payload_lines(body: bytes) -> List[bytes]:
    lines = [line for line in body.splitlines() if line.strip()]
    if lines and not any(map(_is_payload, lines)):
        return [body]  # one text of several lines
    return lines


def _is_payload(line: bytes) -> bool:
    return line.lstrip().startswith((b"{", b"[", b"<")) or b"CEF:" in line or b"LEEF:" in line


def _line_payload(line: bytes, path: str, now: Millis) -> Payload:
    channel = "webhook" if line.lstrip()[:1] in (b"{", b"[") else "replay"
    return Payload(line, channel, path, "", now)


COMMANDS = (rejected, replay)
