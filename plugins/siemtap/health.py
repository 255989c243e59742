"""What siemtap says of itself, as events like any other: dataset `siemtap.health`. Pure; a
runner counts, and delivers."""

from __future__ import annotations

from typing import Any

from .core.convert import integer
from .core.mapping import Dataset, Field, Split, rfc3339
from .render.panels import EVENTS, NUMBER, OVER_TIME, TOP, Overview, Panel


def number(said: Any) -> float:
    return float(said)


def truth(said: Any) -> bool:
    return bool(said)


def state(said: Any) -> Any:
    return said, {"ok": "success", "degraded": "failure"}.get(said, "unknown")


ROWS = (
    # metric: every period; event: when the state changes
    Field("what", "event.kind"),
    Field("message", "message"),
    Field("error", "error.message"),
    Field("input", "siemtap.input"),
    Field("unit", "siemtap.unit"),
    Split("state", ("siemtap.state", "event.outcome"), state),
    # failed, since the last success
    Field("attempts", "siemtap.attempts", integer),
    # delivered since the last report
    Field("events", "siemtap.events", integer),
    # read again and left out, since the last report
    Field("echoes", "siemtap.echoes", integer),
    Field("read_until", "siemtap.read_until"),
    Field("cursor_age_s", "siemtap.cursor_age_s", number),  # how far behind it is
    # came after their time had been read, since the start
    Field("late_events", "siemtap.late_events", integer),
    Field("late_p50_s", "siemtap.late_p50_s", number),
    Field("late_p99_s", "siemtap.late_p99_s", number),
    Field("late_max_s", "siemtap.late_max_s", number),
    Field("lag_s", "siemtap.lag_s", number),
    Field("overlap_s", "siemtap.overlap_s", number),
    Field("overlap_suffices", "siemtap.overlap_suffices", truth),
    Field("output", "siemtap.output"),
    # these seven since the last report
    Field("accepted", "siemtap.accepted", integer),
    Field("rejected", "siemtap.rejected", integer),
    Field("retried", "siemtap.retried", integer),
    Field("duplicates", "siemtap.duplicates", integer),
    Field("failure_store", "siemtap.failure_store", integer),
    Field("waits", "siemtap.waits", integer),
    Field("requests", "siemtap.requests", integer),
    # events of the last 24 hours with a field that the cluster could not read
    Field("ignored", "siemtap.ignored", integer),
    Field("waiting_rejected", "siemtap.waiting_rejected", integer),  # wait for a person, now
    Field("uptime_s", "siemtap.uptime_s", number),
)
DATASET = Dataset(
    name="siemtap.health",
    clock=lambda record: rfc3339(record["moment"]),
    identity=("agent", "moment", "what", "unit"),
    rows=ROWS,
    quiet=("agent", "moment"),
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
        Panel("Attempts that failed", NUMBER, measure="sum", of="siemtap.retried"),
        Panel("Fields ignored, last 24 hours", NUMBER, measure="max", of="siemtap.ignored"),
        Panel("Events over time, by input", OVER_TIME, "siemtap.input", "sum", "siemtap.events"),
        Panel("Seconds behind, by unit", OVER_TIME, "siemtap.unit", "max", "siemtap.cursor_age_s"),
        Panel("Latest event, seconds late", TOP, "siemtap.unit", "max", "siemtap.late_max_s"),
        Panel(
            "99 % came less late than, seconds", TOP, "siemtap.unit", "max", "siemtap.late_p99_s"
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
)
