"""The dataset `siemtap.health`: events about siemtap itself. A runner counts and delivers them."""

from __future__ import annotations

from typing import Any, Tuple

from ..core.convert import instant, rfc3339
from ..core.declared import integer
from ..core.rows import Dataset, Field, Split
from .panels import EVENTS, NUMBER, OVER_TIME, TOP, Overview, Panel


def number(value: Any) -> float:
    """Return a number as float."""
    return float(value)


def truth(value: Any) -> bool:
    """Return a flag as bool."""
    return bool(value)


def state(value: Any) -> Tuple[str, str]:
    """Return a unit's state, and the event.outcome that it means."""
    return value, {"ok": "success", "degraded": "failure"}.get(value, "unknown")


ROWS = (
    # metric: a regular report; event: a change of a state
    Field("what", "event.kind"),
    Field("message", "message"),
    Field("error", "error.message"),
    Field("input", "siemtap.input"),
    Field("unit", "siemtap.unit"),
    Split("state", ("siemtap.state", "event.outcome"), state),
    # failed attempts since the last success
    Field("attempts", "siemtap.attempts", integer),
    # delivered since the last report
    Field("events", "siemtap.events", integer),
    # events read again and not sent again, since the last report
    Field("echoes", "siemtap.echoes", integer),
    Field("read_until", "siemtap.read_until", instant),
    Field("cursor_age_s", "siemtap.cursor_age_s", number),  # how far the unit is behind
    # events that came after their time had been read, since the process started
    Field("late_events", "siemtap.late_events", integer),
    Field("late_p50_s", "siemtap.late_p50_s", number),
    Field("late_p99_s", "siemtap.late_p99_s", number),
    Field("late_max_s", "siemtap.late_max_s", number),
    Field("lag_s", "siemtap.lag_s", number),
    Field("overlap_s", "siemtap.overlap_s", number),
    Field("overlap_suffices", "siemtap.overlap_suffices", truth),
    Field("output", "siemtap.output"),
    # The next seven are numbers since the last report.
    Field("accepted", "siemtap.accepted", integer),
    Field("rejected", "siemtap.rejected", integer),
    Field("retried", "siemtap.retried", integer),
    Field("duplicates", "siemtap.duplicates", integer),
    Field("failure_store", "siemtap.failure_store", integer),
    Field("waits", "siemtap.waits", integer),
    Field("requests", "siemtap.requests", integer),
    # events of the last 24 hours with a field that the cluster ignored
    Field("ignored", "siemtap.ignored", integer),
    Field(
        "waiting_rejected", "siemtap.waiting_rejected", integer
    ),  # rejected events that are stored now
    # events that wait for one of several outputs
    Field("waiting_events", "siemtap.waiting_events", integer),
    Field("uptime_s", "siemtap.uptime_s", number),
)
DATASET = Dataset(
    name="siemtap.health",
    clock=lambda record: rfc3339(record["moment"]),
    identity=("agent", "moment", "what", "unit"),
    rows=ROWS,
    expected_keys=("agent", "moment"),
    constant={
        "observer.vendor": "siemtap",
        "observer.product": "siemtap",
        "observer.type": "collector",
    },
)
OVERVIEW = Overview(
    "siemtap",
    "[Logs siemtap] Health",
    (DATASET,),
    (
        Panel("Events accepted", NUMBER, measure="sum", of="siemtap.accepted"),
        Panel("Events rejected", NUMBER, measure="sum", of="siemtap.rejected"),
        Panel("Failed attempts", NUMBER, measure="sum", of="siemtap.retried"),
        Panel("Fields ignored, last 24 hours", NUMBER, measure="max", of="siemtap.ignored"),
        Panel("Events over time, by input", OVER_TIME, "siemtap.input", "sum", "siemtap.events"),
        Panel("Seconds behind, by unit", OVER_TIME, "siemtap.unit", "max", "siemtap.cursor_age_s"),
        Panel(
            "Maximum delay of late events, seconds",
            TOP,
            "siemtap.unit",
            "max",
            "siemtap.late_max_s",
        ),
        Panel(
            "Delay of late events, p99, seconds", TOP, "siemtap.unit", "max", "siemtap.late_p99_s"
        ),
        Panel("Overlap too short", TOP, "siemtap.unit", only=("siemtap.overlap_suffices", "false")),
        Panel("Degraded", TOP, "siemtap.unit", only=("siemtap.state", "degraded")),
        Panel(
            "Changes",
            EVENTS,
            columns=("siemtap.unit", "siemtap.state", "error.message", "message"),
            only=("event.kind", "event"),
        ),
    ),
    controls=(("Input", "siemtap.input"), ("Unit", "siemtap.unit"), ("State", "siemtap.state")),
)
