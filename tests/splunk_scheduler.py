"""A model of Splunk's scheduler: when a scheduled search runs, and what a run reads.

1. `cron_schedule`, in the time zone of the search's owner. A skew moves a run within its minute
only, unless the cron expression is one of those that savedsearches.conf.spec 10.2.3 lists (lines
112 to 128); others are refused here.
2. `realtime_schedule`: if true, a run that is due while the search head is down is skipped; if
false, it runs later (the same file, lines 172 to 186).
3. A run that is late reads the range of its scheduled time (Splunk's reporting manual, "Prioritize
concurrently scheduled reports").
4. A run reads an event if its time is in `dispatch.earliest_time` to `dispatch.latest_time`, and
its index time in `dispatch.index_earliest` to `dispatch.index_latest`, if these are set (lines 597
to 625). The start of a range is in it, its end is not.
5. An event is found by a run only once it is searchable, some time after it was indexed."""

import re
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

MODIFIER = re.compile(r"(?:([+-])(\d+)([mhd]))?(?:@([mhd]))?")
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
UNSET = {"earliest": datetime.min, "latest": datetime.max}
NEVER, ALWAYS = (moment.replace(tzinfo=timezone.utc) for moment in UNSET.values())


class Arrival(NamedTuple):
    """An event: when it happened, when it was indexed."""

    happened: datetime
    indexed: datetime


class Run(NamedTuple):
    """A run of a scheduled search: when it really started, and the ranges that it reads."""

    started: datetime
    happened: tuple
    indexed: tuple

    def reads(self, arrival, searchable_after=timedelta()):
        """Return whether the run reads an event."""
        return (
            arrival.indexed + searchable_after <= self.started
            and self.happened[0] <= arrival.happened < self.happened[1]
            and self.indexed[0] <= arrival.indexed < self.indexed[1]
        )


def run_of(search, due, started, zone):
    """Return the run of a search that is due at a time."""

    def bound(name, otherwise):
        modifier = search.get(f"dispatch.{name}")
        return resolve(modifier, due, zone) if modifier else otherwise

    return Run(
        started,
        (bound("earliest_time", NEVER), bound("latest_time", ALWAYS)),
        (bound("index_earliest", NEVER), bound("index_latest", ALWAYS)),
    )


def resolve(modifier, at, zone):
    """Return the moment that a time modifier, such as -1h@h, means at a moment. Hours are elapsed
    hours, days are days of the calendar."""
    if modifier == "now":
        return at
    sign, amount, unit, snap = MODIFIER.fullmatch(modifier).groups()
    if amount:
        step = int(amount) * UNITS[unit] * (-1 if sign == "-" else 1)
        at = (at.astimezone(zone) + step).astimezone(timezone.utc) if unit == "d" else at + step
    if snap:
        local = at.astimezone(zone).replace(second=0, microsecond=0)
        local = local if snap == "m" else local.replace(minute=0)
        at = (local if snap != "d" else local.replace(hour=0, fold=0)).astimezone(timezone.utc)
    return at


def due_times(cron, start, stop, zone):
    """Yield the times at which a cron expression of a minute, or of minute and hour, is due."""
    minute, hour, *others = cron.split()
    assert re.fullmatch(r"[1-9]\d?", minute) and others == ["*", "*", "*"], (
        f"{cron}: the scheduler may skew it by more than a minute"
    )
    at = start.replace(minute=0, second=0, microsecond=0)
    while at < stop:
        local = at.astimezone(zone)
        # a zone may be half an hour off, so the minute is set in local time
        due = (at + timedelta(minutes=int(minute) - local.minute)).astimezone(timezone.utc)
        if hour == "*" or int(hour) == due.astimezone(zone).hour:
            yield due
        at += timedelta(hours=1)


def runs(search, start, stop, zone, outages, delay):
    """Return the runs of a search. `outages`: (start, stop) of the search head; `delay()`: how late
    a run starts."""
    done, busy_until = [], NEVER
    for due in due_times(search["cron_schedule"], start, stop, zone):
        started, outage = due + delay(), next((o for o in outages if o[0] <= due < o[1]), None)
        if outage and search.get("realtime_schedule", "1") != "0":
            continue
        # one at a time
        started = busy_until = max(started, outage[1] if outage else started, busy_until)
        done.append(run_of(search, due, started, zone))
    return done
