"""Time ranges: late attacks, deleted attacks, the cursor."""

import json

import pytest

from apptrana import PLUGIN, plugin
from siemtap.core.convert import rfc3339
from siemtap.core.windows import DAY, HOUR, MINUTE, SECOND
from siemtap.testing.world import NOON, Time, World

from .simulated_input import ATTACKS, simulated_input


def test_attacks_later_than_the_overlap_are_missing():
    """Attacks that appear after ten minutes are later than lag and overlap cover. Exactly those
    are lost."""
    world = simulated_input(late=(0.0, 600.0), odd=False).cycles(20)
    must = world.simulator.ledger(world.time.now, NOON - 5 * MINUTE, NOON + 8 * MINUTE)
    missing = must - set(world.output.ids())
    late = {
        attack.id
        for attack in world.simulator.attacks(
            NOON - 5 * MINUTE, NOON + 8 * MINUTE, list(world.simulator.knobs.websites)
        )
        if attack.readable > attack.time
    }
    assert missing and missing <= late


@pytest.fixture
def short_retention(monkeypatch):
    """Let the vendor retain three hours instead of 30 days, so that the test is short."""
    assert plugin.RETENTION == 30 * DAY and plugin.FORGOTTEN == 29 * DAY
    monkeypatch.setattr(plugin, "RETENTION", 3 * HOUR)
    monkeypatch.setattr(plugin, "FORGOTTEN", 2 * HOUR)


@pytest.mark.slow
def test_time_older_than_the_retention_is_reported(short_retention):
    time = Time()
    world = simulated_input(time=time, settings={"lookback": "1h"}).cycles(1)
    before = world.until()
    time.now += 5 * HOUR
    world.start()
    world.cycles(1)
    (lost,) = [event for event in world.output.kept if "start" in event["event"]]
    assert (
        lost["event"]["start"] == rfc3339(before) and lost["event"]["end"][:13] == "2026-03-04T14"
    )
    assert "the service keeps" in lost["message"] and before < NOON
    must = world.simulator.ledger(
        time.now, time.now - 3 * HOUR + 2 * MINUTE, world.until() - 100 * SECOND
    )
    assert len(must) > 100 and must <= set(world.output.ids())


def test_windows_rejected_as_too_old_are_skipped_and_reported(short_retention):
    """The service rejects windows older than a retention that is shorter than documented."""
    world = simulated_input(settings={"lookback": "3h"}, odd=False)
    answer = world.simulator.get_attack_info

    def reject_old(call):
        if int(json.loads(call.request.body)["startTime"]) < call.now - 3 * HOUR + 20 * MINUTE:
            raise world.simulator.refusal(400, "too old")
        return answer(call)

    world.simulator.get_attack_info = reject_old
    world.cycles(1)
    named = [event["message"] for event in world.output.kept if "start" in event["event"]]
    assert 4 <= len(named) <= 6 and all("too old" in text for text in named)
    must = world.simulator.ledger(world.time.now, NOON - 155 * MINUTE, world.until() - 100 * SECOND)
    assert must <= set(world.output.ids())


def test_queries_end_before_now_minus_lag_and_are_at_most_five_minutes():
    world = simulated_input(settings={"lag": "10s"}).cycles(4)
    for request in world.simulator.requests:
        if request.url.endswith("getAttackInfo"):
            asked = json.loads(request.body)
            start, stop = int(asked["startTime"]), int(asked["endTime"])
            assert 0 < stop - start <= 300_000 and stop <= world.time.now - 10_000
            assert (
                isinstance(asked["startTime"], str)
                and "websiteName" not in asked
                and "eventType" not in asked
            )


def test_cycle_that_is_up_to_date_is_one_request():
    world = simulated_input().cycles(1)
    before = world.simulator.counts["getAttackInfo"]
    world.cycles(10)
    assert world.simulator.counts["getAttackInfo"] == before + 10


def test_clock_difference_is_measured():
    world = simulated_input(skew=300.0).cycles(1)
    assert 299_000 <= world.http.skew["vendor.example.com"] <= 301_000


def test_cursor_never_goes_back():
    """The cursor stays while the overlap is read again; otherwise a process that is killed there
    again and again would move it into the past."""
    world = simulated_input().cycles(1)
    reached = world.until()
    world.time.now += 10 * MINUTE
    steps = [
        batch.cursor["until"]
        for batch in PLUGIN.collect(world.client, ATTACKS, {"until": reached}, world.time.now)
    ]
    assert len(steps) > 2 and steps == sorted(steps) and steps[0] >= reached

    world.time.now += 20 * MINUTE
    wide = World(PLUGIN, world.simulator, time=world.time, overlap="20m")
    assert all(
        batch.cursor["until"] >= reached
        for batch in PLUGIN.collect(wide.client, ATTACKS, {"until": reached}, world.time.now)
    )
