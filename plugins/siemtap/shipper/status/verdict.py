"""The answer of /health: whether everything works, and the first reason if not."""

from __future__ import annotations

import logging
from typing import Any, Iterator, Tuple

from ...core.errors import SiemtapError
from ...edge.store.rejected import MAX_BYTES, UnseenRejections
from ...outputs.validated import escape_controls
from .unit_checks import hang_reason, silence_reason

log = logging.getLogger("siemtap")


def health(shipper: Any) -> Tuple[bool, str]:
    """Return whether everything works, and the first reason if not."""
    reason = next(_reasons(shipper), "")
    return (False, reason) if reason else (True, "ok")


def _reasons(shipper: Any) -> Iterator[str]:
    """Yield why something does not work. Nothing here waits for a unit or a request."""
    elapsed = shipper.clock.elapsed()
    if shipper.share.problem():
        yield shipper.share.problem()
    if shipper.delivery.refused:
        yield f"the outputs do not run as configured: {shipper.delivery.refused}"
    for id, why in list(shipper.refused.items()):
        yield f"{id} does not run as configured: {why}"
    for running in list(shipper.inputs.values()):
        if running.input_config.idle:
            yield f"{running.id} {running.input_config.idle}"
        for state in running.states():
            if state.state == "degraded":
                yield f"{state.unit}: {state.error}"
            reason = hang_reason(state, elapsed, running.http.timeout) or silence_reason(
                running, state, elapsed
            )
            if reason:
                yield f"{state.unit}: {reason}"
        if running.source:
            for reason in running.source.problems():
                yield f"{running.id}: {reason}"
        if running.receiver:
            for reason in running.receiver.problems():
                yield f"{running.id}: {reason}"
    for reader in list(shipper.delivery.readers.values()):
        yield from _queue_reasons(reader, elapsed)
    for client in list(shipper.clients.values()):
        if hasattr(client.send, "problems"):  # a simulated vendor has no certificates
            yield from client.send.problems()
    for output in list(shipper.delivery.outputs.values()):
        for reason in output.problems():
            yield f"output {output.name}: {reason}"
    yield from _store_reasons(shipper)
    if shipper.scheduler.fatal:
        yield f"the process ends: {type(shipper.scheduler.fatal).__name__}"


def _queue_reasons(reader: Any, elapsed: float) -> Iterator[str]:
    """Yield why the queue of an output does not get shorter, if so."""
    if reader.done:
        return
    waiting = f"{reader.waiting.events:,} events wait for the {reader.id}"
    if reader.cycle.state == "degraded":
        yield f"{waiting}: {reader.cycle.error}"
    reason = hang_reason(reader.cycle, elapsed)
    if reason:
        yield f"{waiting}: {reason}"


def _store_reasons(shipper: Any) -> Iterator[str]:
    try:
        shipper.database.check()
        unseen = shipper.rejected_events.unseen()
    except SiemtapError as error:
        yield str(error)
        return
    if unseen:
        yield describe_rejected(unseen, shipper.rejected_events.dropped)


def describe_rejected(unseen: UnseenRejections, dropped: int = 0) -> str:
    """Return a sentence: how many events were rejected, why, and what to do.

    dropped: how many were deleted, because there were too many.
    """
    sentence = (
        f"{unseen.number:,} rejected events have not been reviewed; the latest, of {unseen.unit}:"
        f" {escape_controls(unseen.reason)}; see `siemtap rejected list`, then `retry`, `delete`"
        " or `list --acknowledge` them"
    )
    if dropped:
        sentence += (
            f"; {dropped:,} older ones were deleted, because more than {MAX_BYTES >> 20} MiB of"
            " rejected events are not kept"
        )
    return sentence


def log_failures(shipper: Any) -> None:
    """Log what a run with --once did not finish."""
    for running in shipper.inputs.values():
        for state in running.states():
            if not state.done:
                log.error("not finished: %s: %s", state.unit, state.error or state.state)
        if running.source and running.source.unread():
            log.error("not finished: %s: %s", running.id, running.source.unread())
    for reader in shipper.delivery.readers.values():
        if not reader.done:
            log.error(
                "not finished: %s events wait for the %s: %s",
                f"{reader.waiting.events:,}",
                reader.id,
                reader.cycle.error or "its delivery was not finished",
            )
    if shipper.delivery.latest:
        unit, reason = shipper.delivery.latest
        rejections = UnseenRejections(shipper.counts.totals["rejected"], unit, reason)
        log.error("not finished: %s", describe_rejected(rejections))
