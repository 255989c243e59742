"""Trend Vision One against its simulator: each knob and setting, with the ledger compared to the
output."""

import dataclasses
import pathlib
import re

import pytest
from trend_vision_one import PLUGIN, simulator

from siemtap.core.errors import AuthError, Malformed
from siemtap.core.windows import MINUTE, SECOND
from siemtap.testing.simulation import Fault
from siemtap.testing.world import NOON, Crash, Fuse, World

LOOKBACK = 70 * MINUTE  # two pages in each time range


def vendor(faults=(), **knobs):
    return simulator.Simulator(simulator.Knobs(**knobs), list(faults))


def simulated_input(faults=(), settings=None, **knobs):
    return World(PLUGIN, vendor(faults, **knobs), **{"lookback": "70m", **(settings or {})})


def check(world, margin=100 * SECOND):
    """Assert that every detection, and every alert as it is, was delivered once."""
    got = world.output.ids()
    must = world.simulator.ledger(world.time.now, NOON - LOOKBACK, world.until() - margin)
    assert len(must) > 350
    assert must - set(got) == set()
    assert max(got.values()) == 1
    assert simulator.API_KEY not in world.shown()


KNOBS = [
    {},
    {"edges": "[)"},
    {"edges": "(]"},
    {"edges": "()"},
    {"late": (0.0, 83.0)},
    {"link_life": 0.0},
    {"link_life": 0.0, "expired": 404},
    {"link_life": 0.0, "expired": 410},
    {"per_minute": 7},
    {"per_minute": 7, "retry_after": ""},
    {"total": False},
    {"moves": False},
    {"last_link": "null"},
    {"last_link": "empty"},
    {"skew": 300.0},
    {"bom": True},
    {"gzip": False},
    {"odd": False},
]


@pytest.mark.slow
@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_no_event_is_lost_or_duplicated_with_any_knob(knobs):
    check(simulated_input(**knobs).cycles(4))


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"overlap": "90s"},
        {"lag": "5m"},
        {"alert_filter": "severity eq 'high'", "detection_filter": "not (riskLevel eq 'info')"},
    ],
    ids=str,
)
def test_no_event_is_lost_or_duplicated_with_any_setting(settings):
    check(simulated_input(settings=settings).cycles(4), margin=30 * SECOND)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault(times=2, status=429, retry_after="17"),
        Fault(call="alerts", times=3, status=500),
        Fault(call="detections", times=2, body="truncated", status=200),
        Fault(times=1, cut=5),
    ],
    ids=str,
)
def test_a_fault_between_pages_costs_time_only(fault):
    world = simulated_input()
    world.simulator.faults = [Fault(times=2, status=500), fault]
    check(world.cycles(4))


@pytest.mark.slow
def test_a_crash_at_any_step_loses_nothing():
    """The reading goes on in the middle of the pages."""
    for crash_at in (1, 2, 3, 4, 202, 402):
        world = simulated_input(odd=False)
        world.fuse = world.marks.fuse = world.output.fuse = Fuse(crash_at)
        with pytest.raises(Crash):
            world.cycles(3)
        world.fuse = world.marks.fuse = world.output.fuse = Fuse()
        world.start()
        check(world.cycles(3))


def test_an_alert_that_is_changed_while_its_pages_are_read(caplog):
    """An alert leaves the time range between two pages: the ones behind it are not skipped."""
    world = simulated_input(settings={"overlap": "0s", "datasets": "alert"})
    send, start = world.http.send, NOON - LOOKBACK

    def slowly(request, seconds):
        if "alerts" in request.url:
            world.time.now += 6 * MINUTE
        return send(request, seconds)

    world.http.send = slowly
    world.cycle()
    assert "an alert was changed while the pages were read" in caplog.text
    world.http.send = send
    world.cycles(2)
    must = world.simulator.alert_ids(world.time.now, start, world.until() - MINUTE)
    assert len(must) > 50 and must - set(world.output.ids()) == set()


def test_each_change_of_an_alert_is_an_event():
    world = simulated_input(settings={"datasets": "alert", "lookback": "2m"}).cycles(50)
    states = {}
    for event in world.output.kept:
        if event["event"]["kind"] == "alert":
            states.setdefault(event["trend_vision_one"]["id"], []).append(
                event["trend_vision_one"]["status"]
            )
    assert ["Open", "In Progress", "Closed"] in states.values()
    assert ["Open"] in states.values()


def test_the_links_lead_to_another_host():
    world = simulated_input(link_host="https://other.example.com")
    with pytest.raises(Malformed, match=r"leads to https://other\.example\.com"):
        world.cycle(attempts=1)
    assert not any("other" in request.url for request in world.simulator.requests)


def test_a_role_that_permits_nothing_and_a_wrong_key():
    with pytest.raises(AuthError, match="403: AccessDenied; The role .*check `api_key`, the perm"):
        simulated_input(role="none").cycle(attempts=1)
    with pytest.raises(
        AuthError, match="401: Unauthorized; Invalid token; check `api_key`, .*`url`"
    ):
        simulated_input(settings={"api_key": "wrong"}).cycle(attempts=1)
    world = simulated_input(settings={"api_key": "wrong"})
    with pytest.raises(AuthError):
        PLUGIN.check_login(world.client)
    PLUGIN.check_login(simulated_input().client)


def test_the_simulator_is_strict():
    """It refuses what the reference does not allow."""
    world = simulated_input()

    def status(path, **query):
        request = world.http.get(f"https://vendor.example.com/v3.0/{path}", query)
        headers = {**request.headers, "Authorization": f"Bearer {simulator.API_KEY}"}
        reply = world.http.ask(request._replace(headers=headers))
        return reply.status, reply.json().get("error", {}).get("code")

    at = {"startDateTime": "2026-03-04T09:00:00Z", "endDateTime": "2026-03-04T10:00:00Z"}
    assert status("workbench/alerts", **at) == (200, None)
    for wrong in (
        {"startDateTime": "2026-03-04T09:00:00.000Z"},
        {"startDateTime": "1772614800"},
        {"endDateTime": "2026-03-04T12:00:01Z"},
        {"endDateTime": "2026-03-04T08:00:00Z"},
        {"startDateTime": "2025-03-01T00:00:00Z"},
        {"dateTimeTarget": "updated"},
        {"orderBy": "updatedDateTime up"},
        {"limit": "10"},
        {"skipToken": "none"},
    ):
        assert status("workbench/alerts", **{**at, **wrong}) == (400, "BadRequest"), wrong
    assert status("oat/detections", top="10") == (400, "BadRequest")
    assert status("oat/detections", top="50")[0] == 200
    assert status("audit/logs") == (404, "NotFound")


def test_every_knob_is_turned_here():
    text = pathlib.Path(__file__).read_text(encoding="utf-8")
    common = {"delay", "wrong_content_type"}
    names = {knob.name for knob in dataclasses.fields(simulator.Knobs)} - common
    assert {name for name in names if not re.search(rf'"{name}"|{name}=', text)} == set()


def test_the_requests_follow_the_reference():
    world = simulated_input(settings={"lookback": "5m"})
    world.cycle()
    first = {request.line: request for request in reversed(world.simulator.requests)}
    assert [line.rpartition("/v3.0/")[2] for line in first] == [
        "oat/detections",
        "workbench/alerts",
    ]
    assert world.until() > NOON - MINUTE
