"""Five days of every scheduled search: each event is seen by exactly one run, however late it
arrives."""

import collections
import random
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from splunk_scheduler import Arrival, due_times, resolve, run_of, runs

from siemtap.core.manifest import describe, parse_duration
from siemtap.render import registry
from siemtap.splunk.build.searches import savedsearches

START = datetime(2026, 10, 23, tzinfo=timezone.utc)  # before the end of summer time in Europe
DAYS = 5
STOP = START + timedelta(days=DAYS)
SEARCHABLE_AFTER = timedelta(minutes=5)  # of an event, at most, after it was indexed
# the collector, and the search head: a restart, some hours, more than a day
COLLECTOR_OUTAGES = ((3.1, 3.2), (30.0, 56.5), (80.5, 84.0))
SEARCH_HEAD_OUTAGES = ((5.05, 5.2), (20.0, 23.3), (60.0, 86.0))
# hours until the vendor shows an event, or an agent reports it: mostly at once, some very late
LATE = {"apptrana": (0, 0, 0.05), "pingintelligence": (0, 0.3, 0.5), "trend_vision_one": (0, 0, 24)}
PUSHED_LATE = (0, 0, 0.2, 30)  # of an agent without a connection
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata")
OLD = {
    "dispatch.earliest_time": "-60m@m",
    "dispatch.latest_time": "now",
    "cron_schedule": "7 * * * *",
}


def hours(number):
    return timedelta(hours=number)


def moments(spans):
    return [(START + hours(start), START + hours(stop)) for start, stop in spans]


def up(moment, outages):
    """Return the moment, or the end of the outage it is in."""
    return next((stop for start, stop in outages if start <= moment < stop), moment)


def arrivals(plugin, dice):
    """Return the events of five days as they arrive with the plugin's own settings; those of the
    first day are a backfill, which arrives at the start."""
    defaults = {s["name"]: s["default"] for s in describe(plugin.settings)}
    lag = timedelta(milliseconds=parse_duration(defaults.get("lag", "0s")))
    interval = timedelta(milliseconds=parse_duration(defaults.get("interval", "1s")))
    late = LATE.get(plugin.name, PUSHED_LATE)
    outages = moments(COLLECTOR_OUTAGES)
    arrived = []
    for number in range(-24 * 12, DAYS * 24 * 12):
        happened = START + timedelta(minutes=5 * number, seconds=dice.uniform(0, 300))
        readable = max(happened + max(lag, hours(dice.choice(late))), START)
        polled = START + -(-(readable - START) // interval) * interval
        arrived.append(
            Arrival(happened, up(polled, outages) + timedelta(seconds=dice.uniform(0, 5)))
        )
    return arrived


def seen(search, events, zone, dice):
    """Return how many runs saw an event -> how many events."""
    done = runs(
        search,
        START - timedelta(days=1),
        STOP + timedelta(days=3),
        zone,
        moments(SEARCH_HEAD_OUTAGES),
        lambda: timedelta(seconds=dice.choice((0, 30, 600, 3000))),
    )
    return collections.Counter(
        sum(run.reads(event, SEARCHABLE_AFTER) for run in done) for event in events
    )


def searches():
    for plugin in registry.installed().values():
        for name, search in savedsearches(plugin).items():
            if not search["search"].startswith("| tstats"):
                yield pytest.param(plugin, search, id=name)


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("plugin, search", [*searches()])
def test_each_event_is_seen_by_exactly_one_run(plugin, search, zone):
    dice = random.Random(f"{plugin.name} {zone}")
    events = arrivals(plugin, dice)
    assert seen(search, events, ZoneInfo(zone), dice) == {1: len(events)}


def test_the_simulation_shows_what_a_window_of_event_times_misses():
    """ABS reports attacks 30 minutes late and more: an hour by `_time` sees less than half."""
    plugin, dice = registry.plugin("pingintelligence"), random.Random(1)
    events = arrivals(plugin, dice)
    counts = seen(OLD, events, timezone.utc, dice)
    assert counts[0] > len(events) / 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"realtime_schedule": "1"},
        {"dispatch.index_latest": "now"},
        {"dispatch.index_earliest": "-60m@m"},
        {"dispatch.index_earliest": "-2h@h"},
        {"dispatch.earliest_time": "-60m@m"},
        {"cron_schedule": "2 * * * *"},
    ],
    ids=str,
)
def test_the_simulation_detects_each_wrong_setting(change):
    plugin, dice = registry.plugin("apptrana"), random.Random(2)
    search = savedsearches(plugin)[f"{plugin.title} - Critical attacks"]
    events = arrivals(plugin, dice)
    assert set(seen({**search, **change}, events, timezone.utc, dice)) != {1}


def test_an_input_that_is_silent_for_days_is_still_seen():
    """From four hours to 31 days after its last event, by the time it arrived."""
    for plugin in registry.installed().values():
        search = savedsearches(plugin)[f"{plugin.title} - Silent inputs"]
        assert "max(_indextime) as last" in search["search"] and '"-4h"' in search["search"]
        last = Arrival(START - hours(1), START)
        end = START + timedelta(days=30)
        for due in due_times(search["cron_schedule"], START, end, timezone.utc):
            assert run_of(search, due, due, timezone.utc).reads(last), due
        assert search["alert.suppress.fields"] == "source"  # once a day, not each hour


@pytest.mark.parametrize(
    "modifier, expected",
    [
        ("now", "2026-10-25T12:47:30"),
        ("-1h@h", "2026-10-25T11:00:00"),
        ("@h", "2026-10-25T12:00:00"),
        ("-1d@d", "2026-10-23T22:00:00"),  # midnight in summer time
        ("@d", "2026-10-24T22:00:00"),
        ("+2d", "2026-10-27T12:47:30"),
        ("-60m@m", "2026-10-25T11:47:00"),
    ],
)
def test_time_modifiers(modifier, expected):
    at = datetime(2026, 10, 25, 12, 47, 30, tzinfo=timezone.utc)
    resolved = resolve(modifier, at, ZoneInfo("Europe/Berlin"))
    assert resolved == datetime.fromisoformat(expected).replace(tzinfo=timezone.utc)
