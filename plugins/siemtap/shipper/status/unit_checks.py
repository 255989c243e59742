"""Checks of a unit after an attempt: silence and clock differences."""

from __future__ import annotations

import logging
from typing import Set

from ...core.windows import MINUTE, Millis
from ...engine.clocks import ahead_warning, skew_warnings
from ...engine.cycle import NEVER, Cycle
from ..input import RunningInput
from ..unit import UnitState

log = logging.getLogger("siemtap")

HANGS_AFTER = 600.0  # seconds without progress in one attempt; at least three time-outs


def check_unit(running: RunningInput, state: UnitState, now: float) -> None:
    """Check a unit after an attempt; log what changed. now: the elapsed time, in seconds."""
    check_silence(running, state, now)
    check_clock(running, state)
    log_change(state)


def check_silence(running: RunningInput, state: UnitState, now: float) -> None:
    """Set a unit to degraded that delivered no event for longer than `silent_after`.

    now: the elapsed time, in seconds.
    """
    reason = silence_reason(running, state, now)
    if reason and state.state == "ok":
        state.state = "degraded"
        state.error = reason


def silence_reason(running: RunningInput, state: UnitState, now: float) -> str:
    """Return that no event came for longer than `silent_after`; "" otherwise. Also asked between
    two attempts, which may be an hour apart."""
    silent_after = running.input_config.common.silent_after
    last = max(state.last_event, state.active_since)
    if not silent_after or state.due == NEVER or (now - last) * 1000 <= silent_after:
        return ""
    return f"no event for longer than silent_after ({silent_after // MINUTE} min)"


def hang_reason(state: Cycle, now: float, timeout: Millis = 0) -> str:
    """Return that an attempt has gone on for long without a batch; "" otherwise.

    timeout: of a request in it.
    """
    if not state.running_since:
        return ""
    silent = now - max(state.running_since, state.progressed)
    if silent <= max(HANGS_AFTER, 3 * timeout / 1000):
        return ""
    return (
        f"the attempt in hand has made no progress for {silent / 60:.0f} min: does the vendor, the"
        " output or a disk hang?"
    )


def log_change(state: UnitState) -> None:
    """Log once that a check degraded a unit, and once that it recovered. Failed attempts have log
    lines of their own."""
    by_check = state.state == "degraded" and not state.attempts
    if by_check and not state.warned:
        log.warning("%s: %s", state.unit, state.error)
    elif state.warned and state.state == "ok":
        log.info("%s: recovered", state.unit)
    if by_check or state.state == "ok":
        state.warned = by_check


def warn_of_skew(running: RunningInput, reported: Set[str]) -> None:
    """Warn once of each host whose clock differs from this machine's.

    reported: the hosts that were reported; new ones are added.
    """
    for host, warning in skew_warnings(running.http):
        if host not in reported:
            reported.add(host)
            log.warning("%s", warning)


def check_clock(running: RunningInput, state: UnitState) -> None:
    """Set a unit to degraded if this machine's clock is ahead of the vendor's."""
    warning = ahead_warning(running.http, running.settings)
    state.clock_differs = state.state == "ok" and bool(warning) and not running.time_range
    if state.clock_differs:
        state.state = "degraded"
        state.error = warning
