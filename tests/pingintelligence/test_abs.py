"""The ABS input against its simulator: late detections, unusual responses, failures and
restarts. The delivered events must equal the ledger of the simulator."""

import json
import random
import threading
import time as time_
from functools import partial

import pytest
from pingintelligence import PLUGIN, simulator

from siemtap.core.convert import instant, millis_of
from siemtap.core.errors import ConfigError, Malformed, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.core.settings import Connection
from siemtap.core.windows import DAY, HOUR, MINUTE
from siemtap.edge.client import walk
from siemtap.edge.client.ahead import ahead
from siemtap.edge.client.http import connect
from siemtap.testing.simulation import Fault, Server
from siemtap.testing.world import NOON, Crash, Time

from .simulated_input import LAG, attacks, check, simulated_input


@pytest.mark.slow
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("status", [400, 404])
def test_a_type_that_is_rejected_for_a_moment_loses_nothing(status, restarted):
    """Found by `ci/campaign vendors`: the type was not read until the next start. A window right
    after a start was read without it."""
    world = simulated_input(real_time_in_zero=False, settings={"concurrency": 1})
    world.cycles(2, 10 * MINUTE)
    if restarted:
        world.start()
    sent = world.client.http.send

    def send(request, seconds):
        reply = sent(request, seconds)
        return reply._replace(status=status) if "type=100" in request.url else reply

    world.client.http.send = send
    with pytest.raises(ConfigError, match=f"{status}.*ABS has answered attack type 100 before"):
        world.cycle(attempts=2)
    world.client.http.send = sent
    world.cycles(8, 10 * MINUTE)
    check(world, NOON - 2 * HOUR + MINUTE, world.time.now - LAG - 45 * MINUTE)


@pytest.mark.parametrize("known", [False, True])
def test_a_type_that_abs_does_not_know_holds_up_no_other(known, caplog):
    """It is asked for again, because ABS may know it after an update."""
    world = simulated_input(settings={"concurrency": 1})
    sent = world.client.http.send

    def send(request, seconds):
        reply = sent(request, seconds)
        is_old = "type=100" in request.url and (not known or world.time.now < NOON + 25 * MINUTE)
        return reply._replace(status=400) if is_old else reply

    world.client.http.send = send
    world.cycles(6, 10 * MINUTE)
    check(world, NOON - 2 * HOUR + MINUTE, world.time.now - LAG - 45 * MINUTE)
    warnings = [text for text in caplog.messages if "rejects attack type 100" in text]
    assert len(warnings) == 1 and (100 in world.client.answered) == known


@pytest.mark.slow
@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"role": "admin"},
        {"obfuscated": "mask"},
        {"edges": "[)"},
        {"edges": "(]"},
        {"edges": "()"},
        {"select": "detection", "late": (0.0, 1500.0)},
        {"real_time_in_zero": False},
        {"empty_as": "object", "rate": 0.01},
        {"empty_as": "lists", "rate": 0.01},
        {"empty_as": "nothing", "rate": 0.01},
        {"empty_as": "204", "rate": 0.01},
        {"one_object": True, "rate": 0.005},
        {"admin_at": "v4"},
        {"admin_at": "both"},
        {"widest": 1.0},
        {"zone": "Europe/Berlin"},
        {"zone": "Asia/Kolkata"},
        {"late": (0.0, 600.0, 1500.0)},
        {"apis": 12, "rate": 0.01},
    ],
    ids=str,
)
def test_no_event_is_lost_or_duplicated_with_any_knob(knobs):
    world = simulated_input(**knobs).cycles(8, 10 * MINUTE)
    check(world, NOON - 2 * HOUR + MINUTE, world.time.now - LAG - 45 * MINUTE)
    assert "SECRET-" not in world.shown() + json.dumps(list(world.marks.saved.values()))


@pytest.mark.slow
def test_a_week_of_late_detections_and_random_restarts():
    """The delivered events are exactly those of the ledger, and no id is delivered twice."""
    rng, time = random.Random(11), Time()
    simulated = simulator.Simulator(
        simulator.Knobs(rate=0.002, late=(0.0, 300.0, 1500.0), apis=("shop", "pay"))
    )
    world, killed = simulated_input(simulated=simulated, time=time), 0
    while time.now < NOON + 7 * DAY:
        world.fuse.steps = world.fuse.taken + rng.randrange(3, 40) if rng.random() < 0.3 else None
        world.output.fuse = world.marks.fuse = world.fuse
        try:
            world.cycle()
        except Crash:
            killed += 1
            time.now += rng.randrange(1, 20) * MINUTE
            world.fuse.steps = None
            world.start()
            continue
        time.now += int(rng.uniform(0.3, 1.0) * 60 * MINUTE)
    world.fuse.steps = None
    world.cycle()
    until = time.now - LAG
    got = {id: number for id, number in attacks(world).items()}
    truth = simulated.ledger(time.now, NOON - 2 * HOUR + MINUTE, until - 40 * MINUTE)
    assert killed > 50 and len(truth) > 3_000 and truth <= set(got) and max(got.values()) == 1
    assert set(got) <= simulated.ledger(time.now, NOON - 4 * HOUR, until + MINUTE), (
        "an event that is not in the ledger"
    )


@pytest.mark.slow
@pytest.mark.parametrize("night", ["2026-10-25T02:00:00.000Z", "2026-03-29T02:00:00.000Z"])
@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC"])
def test_nights_of_daylight_saving_changes(night, name):
    time = Time(millis_of(instant(night)) - 6 * HOUR)
    world = simulated_input(time=time, zone=name, rate=0.01, odd=False)
    start = time.now
    world.cycles(60, 10 * MINUTE)
    got = attacks(world)
    must = world.simulator.ledger(time.now, start, time.now - 2 * HOUR)
    if name == "UTC" or "03-29" in night:
        assert must <= set(got) and max(got.values()) == 1
    # Two hours have the same local times: equal times are one event, and all others are there.
    else:
        assert len(must & set(got)) > 0.9 * len(must) and max(got.values()) == 1
        assert any(event["pingintelligence"].get("time_ambiguous") for event in world.output.kept)


def test_detections_later_than_lag_and_overlap_are_missing():
    """The ledger shows the loss, which `lag` and `overlap` exist to prevent."""
    world = simulated_input(late=(5_400.0,), settings={"lookback": "10m"}).cycles(10, 10 * MINUTE)
    assert not world.simulator.ledger(world.time.now, NOON, NOON + 5 * MINUTE) <= set(
        attacks(world)
    )


def test_api_that_fails_does_not_delay_others():
    world = simulated_input(rate=0.02)
    answer = world.simulator.answer
    world.simulator.answer = lambda request, now: (
        Fault(status=400).answer(now) if "api=shop" in request.url else answer(request, now)
    )
    for unit in world.units():
        if unit.scope == "shop":
            with pytest.raises(ConfigError):
                world.attempt(unit)
        else:
            world.attempt(unit)
    assert {
        event["pingintelligence"]["api_name"]
        for event in world.output.kept
        if event["event"]["dataset"] == "pingintelligence.attack"
    } == {"all", "pay & go/v1"}


def test_one_of_several_nodes_is_down():
    world = simulated_input(
        settings={"url": ["https://one.example.com", "https://two.example.com"]}
    )
    send = world.http.send
    down = {"one.example.com"}

    def send_if_up(request, seconds):
        if any(name in request.url for name in down):
            raise Retry("the connection failed")
        return send(request, seconds)

    world.http.send = send_if_up
    world.cycles(3, 10 * MINUTE)
    check(world, NOON - 2 * HOUR + MINUTE, world.time.now - 70 * MINUTE)
    assert len(world.errors) == 2 and world.output.kept[0]["observer"]["name"] == "one.example.com"
    down = {"two.example.com"}
    world.cycles(2, 10 * MINUTE)
    assert len(world.errors) == 4


def test_429_reduces_the_calls_in_flight_to_one():
    world = simulated_input()
    world.simulator.faults.append(Fault(call="attack", times=1, status=429, retry_after="7"))
    before = world.time.now
    world.cycles(1)
    assert world.errors[0].after == 7000 and world.time.now - before >= 7000
    assert world.client.throttle.allowed == 4  # each success doubles the number


def test_range_without_valid_json_is_narrowed_and_skipped_after_skip_after():
    poison = (NOON - 90 * MINUTE) / 1000
    world = simulated_input(poison=poison, apis=("shop",), settings={"skip_after": "20m"})
    for _ in range(6):
        for unit in world.units():
            try:
                world.attempt(unit)
            except Malformed as error:
                world.errors.append(error)
        world.time.now += 10 * MINUTE
    lost = [event for event in world.output.kept if event["event"]["kind"] == "pipeline_error"]
    # the unit of all APIs, and shop
    assert (
        world.errors
        and len(lost) == 2
        and all("unreadable since" in event["message"] for event in lost)
    )
    assert all(
        millis_of(event["event"]["end"]) - millis_of(event["event"]["start"]) <= 10 * MINUTE
        for event in lost
    )
    check(world, NOON - 2 * HOUR + MINUTE, int(poison * 1000) - 10 * MINUTE)
    check(world, int(poison * 1000) + 11 * MINUTE, world.time.now - 70 * MINUTE)


def test_large_response_is_split_into_batches_and_the_last_has_the_cursor(monkeypatch):
    monkeypatch.setattr(walk, "AT_ONCE", 7)
    world = simulated_input(apis=("shop",))
    unit = next(unit for unit in world.units() if unit.scope == "shop")
    batches = list(PLUGIN.collect(world.client, unit, {}, world.time.now))
    assert len(batches) > 10 and max(len(batch.records) for batch in batches) == 7
    assert all(batch.cursor == {} for batch in batches[:-1]) and batches[-1].cursor == {
        "until": world.time.now - LAG,
        "types": [100, 101],
    }
    world.cycles(3, 10 * MINUTE)
    check(world, NOON - 2 * HOUR + MINUTE, world.time.now - 75 * MINUTE)


def test_calls_in_flight_are_limited_by_concurrency():
    simulated = simulator.Simulator(simulator.Knobs(rate=0.001, apis=20))
    in_flight = [0]
    highest = [0]
    lock = threading.Lock()
    answer = simulated.answer

    def counting_answer(request, now):
        with lock:
            in_flight[0] += 1
            highest[0] = max(highest[0], in_flight[0])
        time_.sleep(0.02)
        with lock:
            in_flight[0] -= 1
        return answer(request, now)

    simulated.answer = counting_answer
    server = Server(simulated)
    try:
        settings = fill_in(
            PLUGIN.settings, {**simulated.settings(server.url), "concurrency": 3, "lookback": "1h"}
        )
        client = PLUGIN.connect(settings, connect(fill_in(Connection, {})))
        now = client.http.now()
        for _ in ahead(
            10,
            [
                partial(list, PLUGIN.collect(client, Unit("it", *unit), {}, now))
                for unit in PLUGIN.units(client, settings)
            ],
        ):
            pass
    finally:
        server.close()
    assert highest[0] == 3 and simulated.counts["attack"] >= 20 * 3 + 1
