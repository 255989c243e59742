"""Failures of AppTrana's API: error statuses, broken responses, time ranges that it rejects."""

import json

import pytest

from apptrana import PLUGIN, simulator_attacks
from siemtap.core.errors import ConfigError, Malformed, Retry, SiemtapError
from siemtap.core.windows import HOUR, MINUTE, SECOND
from siemtap.testing.simulation import Fault
from siemtap.testing.world import NOON, World

from .simulated_input import ATTACKS, check, simulated_input, vendor

STATUSES = [
    Fault("getAttackInfo", 2, status, body, after)
    for status, body, after in [
        (500, "list", ""),
        (500, "text", ""),
        (500, "html", ""),
        (500, "empty", ""),
        (502, "html", ""),
        (503, "list", "7"),
        (503, "other", "date:30"),
        (504, "empty", ""),
        (429, "list", "3"),
        (429, "other", ""),
        (429, "list", "date:9"),
        (408, "other", ""),
        (413, "other", ""),
        (425, "empty", ""),
    ]
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", STATUSES, ids=lambda fault: f"{fault.status}-{fault.body}-{fault.retry_after}"
)
def test_429_and_503_are_retried_after_the_requested_wait(fault):
    world = simulated_input([fault]).cycles(4)
    check(world)
    wait = float(fault.retry_after.replace("date:", "") or 0)
    if wait:
        assert any(
            isinstance(error, Retry) and wait - 2 <= error.after / 1000 <= wait + 1
            for error in world.errors
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault("getAttackInfo", 3, cut=5),
        Fault("getAttackInfo", 3, delay=100.0),
        Fault("getAttackInfo", 3, 200, "truncated", drip=9.0),
        Fault("getAttackInfo", 1, 200, "truncated"),
        Fault("getAttackInfo", 1, 200, "html"),
        Fault("getAttackInfo", 1, 302, "empty", location="https://login.example.com/"),
        Fault("getAttackInfo", 1, 406, "html"),
        Fault("getAuthToken", 2, 500),
        Fault("getAuthToken", 1, 200, "html"),
        Fault("getAuthToken", 1, 200, "empty"),
        Fault("getAuthToken", 1, 200, "other"),
        Fault("getAuthToken", 1, cut=0),
        Fault("", 6, 503),
    ],
    ids=str,
)
def test_after_a_fault_every_event_is_delivered_once(fault):
    """Whether an error is seen depends on which of the parallel windows met the fault: a window
    that fails once is queried again in halves."""
    world = simulated_input([fault]).cycles(3)
    check(world)
    assert fault.times == 0


def test_406_and_html_are_reported_as_the_vendors_firewall_and_wait_an_interval():
    for fault in (Fault("getAttackInfo", 1, 406, "html"), Fault("getAttackInfo", 1, 200, "html")):
        world = simulated_input([fault]).cycles(1)
        assert "firewall" in str(world.errors[0]) and world.errors[0].after == 60_000
    with pytest.raises(Retry, match="user_agent"):
        simulated_input(agents="Mozilla").cycle(attempts=1)
    check(World(PLUGIN, vendor(agents="siemtap/"), lookback="40m").cycles(1))


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
def test_error_that_quotes_the_request_shows_no_token(status):
    """A response with status 200 that reports a failure is covered as well."""
    world = simulated_input()
    answer, tokens = world.client.http.send, []

    def send(request, seconds):
        reply = answer(request, seconds)
        if "getAuthToken" in request.url:
            tokens.append(json.loads(reply.body)["access_token"])
            return reply
        return reply._replace(
            status=status,
            body=json.dumps({"errorMessages": [f"cannot read {dict(request.headers)}"]}).encode(),
        )

    world.client.http.send = send
    with pytest.raises(SiemtapError, match="cannot read") as caught:
        world.attempt(ATTACKS)
    assert (
        tokens
        and not any(token in str(caught.value) for token in tokens)
        and "REDACTED" in str(caught.value)
    )


def test_400_is_not_retried_and_shows_the_vendors_message():
    world = simulated_input([Fault("getAttackInfo", 99, 400)])
    with pytest.raises(ConfigError, match="a fault on request"):
        world.attempt(ATTACKS)


def test_success_status_with_a_failed_body_delivers_nothing():
    world = simulated_input(odd_success="failed")
    with pytest.raises(Retry, match="half of it is missing"):
        world.cycle(attempts=3)
    assert world.output.kept == []


@pytest.mark.parametrize(
    "fault", [Fault("getAttackInfo", 10**6, 500), Fault("getAttackInfo", 10**6, delay=1e9)], ids=str
)
def test_service_that_is_down_gets_few_requests(fault):
    """A window that fails is halved only if a one-second request works."""
    world = simulated_input([fault], settings={"concurrency": 1})
    with pytest.raises(Retry):
        world.attempt(ATTACKS)
    assert world.simulator.counts["getAttackInfo"] == 2


def test_429_reduces_the_backfill_to_one_request_at_a_time():
    world = simulated_input([Fault("getAttackInfo", 1, 429)])
    with pytest.raises(Retry):
        world.attempt(ATTACKS)
    assert world.client.throttle.allowed == 1 or world.simulator.counts["getAttackInfo"] > 1
    check(world.cycles(3))


class TooWide:
    """A simulator that answers `status` to windows wider than `limit`."""

    def __init__(self, simulated, limit, status=500):
        self.simulated, self.limit, self.status = simulated, limit, status

    def __getattr__(self, name):
        return getattr(self.simulated, name)

    def answer(self, request, now):
        if request.url.endswith("getAttackInfo"):
            asked = json.loads(request.body)
            if int(asked["endTime"]) - int(asked["startTime"]) > self.limit:
                return Fault(status=self.status).answer(now)
        return self.simulated.answer(request, now)


@pytest.mark.parametrize("status", [500, 413, 504])
def test_window_rejected_as_too_large_is_halved(status):
    world = World(PLUGIN, TooWide(vendor(), 100_000, status), lookback="40m").cycles(2)
    check(world)
    assert world.errors == []


def test_second_that_stays_malformed_holds_the_cursor_until_skip_after():
    """Events before the bad second are delivered at once, events behind it after `skip_after`,
    with an event that records the skipped range."""
    bad = NOON / 1000 - 1200.5
    world = simulated_input(settings={"skip_after": "2h"}, poison=bad, odd=False)
    with pytest.raises(Malformed, match="getAttackInfo"):
        world.cycle(attempts=3)
    stuck = world.until()
    assert bad * 1000 - 3 * SECOND <= stuck <= bad * 1000
    world.start()
    world.time.now += 2 * HOUR
    world.cycles(3)
    (lost,) = [event for event in world.output.kept if event["event"]["kind"] == "pipeline_error"]
    assert (
        lost["event"]["start"] <= "2026-03-04T11:39:59.500Z" <= lost["event"]["end"]
        and "unreadable since" in lost["message"]
    )
    hole = world.simulator.ledger(
        world.time.now, int(bad * 1000) - 2 * SECOND, int(bad * 1000) + 2 * SECOND
    )
    must = world.simulator.ledger(world.time.now, NOON - 40 * MINUTE, world.until() - 100 * SECOND)
    assert must - set(world.output.ids()) <= hole and max(world.output.ids().values()) == 1


def test_malformed_record_becomes_a_pipeline_error():
    world = simulated_input(odd=False)
    world.simulator.minute = lambda site, minute: [
        simulator_attacks.Attack(minute * MINUTE + 1, 0, site, text)
        for text in (
            {"attackTime": "yesterday", "requestHeader": f'"Cookie":"{simulator_attacks.COOKIE}"'},
            "a text",
            None,
            7,
        )
    ]
    world.cycles(1)
    assert {event["event"]["kind"] for event in world.output.kept} == {"pipeline_error"}
    originals = {event["event"]["original"] for event in world.output.kept}
    assert {'"a text"', "null", "7"} <= originals and simulator_attacks.COOKIE not in json.dumps(
        world.output.kept
    )
