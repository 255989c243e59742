"""AppTrana against its simulator: every knob turned, and the ledger compared with what came out."""

import dataclasses
import json
import pathlib
import re

import pytest

from apptrana import PLUGIN, plugin, simulator
from apptrana.plugin import Client
from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry, SiemtapError
from siemtap.core.manifest import fill_in
from siemtap.core.mapping import rfc3339
from siemtap.core.model import Unit
from siemtap.core.windows import DAY, HOUR, MINUTE, SECOND
from siemtap.edge.clock import Clock
from siemtap.edge.http import Http
from siemtap.runners.simulate import Fault, in_memory
from world import NOON, Time, World

ATTACKS = Unit("it", "apptrana.attack")


def vendor(faults=(), **knobs):
    return simulator.Simulator(simulator.Knobs(**{"rate": 8.0, **knobs}), list(faults))


def world(faults=(), settings=None, time=None, **knobs):
    return World(
        PLUGIN, vendor(faults, **knobs), time=time, **{"lookback": "40m", **(settings or {})}
    )


def check(world, margin=100 * SECOND):
    """Everything readable is there, once, and nothing else; no secret of the vendor's or ours
    shows."""
    got = world.output.ids()
    begin = NOON - 40 * MINUTE
    must = world.simulator.ledger(world.time.now, begin, world.until() - margin)
    may = world.simulator.ledger(world.time.now, begin - 10 * MINUTE, world.time.now + 1)
    lost = [event["event"]["id"] for event in world.output.kept if "start" in event["event"]]
    assert len(must) > 100
    assert must - set(got) == set()
    assert set(got) - may - set(lost) == set()
    assert max(got.values()) == 1
    shown = world.shown()
    leaked = [
        secret
        for secret in (
            simulator.COOKIE,
            simulator.BEARER,
            "demo-secret",
            *(token for token, _ in world.simulator.tokens.values()),
        )
        if secret in shown
    ]
    assert leaked == []


KNOBS = [
    {},
    {"edges": "[)"},
    {"edges": "(]"},
    {"edges": "()"},
    {"late": (0.0, 83.0)},
    {"order": "desc"},
    {"order": "shuffled"},
    {"no_attacks": "null", "rate": 3.0},
    {"no_attacks": "missing", "rate": 3.0},
    {"no_attacks": "no_site", "rate": 3.0},
    {"no_attacks": "data_null", "rate": 3.0},
    {"token_fresh": True},
    {"expires_in_as": "string"},
    {"expires_in_as": "missing"},
    {"token_life": 120.0},
    {"token_life": 400.0},
    {"revoke_every": 5},
    {"one_token_call": True},
    {"odd_success": "other"},
    {"odd_success": "missing"},
    {"skew": 300.0},
    {"bom": True},
    {"twice": True},
    {"old_window": "400"},
    {"unknown_site": "400"},
    {"wrong_content_type": 400},
    {"agents": "siemtap"},
    {"seed": 7, "websites": ("a.example.com",)},
    {"odd": False},
]


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_whatever_the_vendor_is_like_nothing_is_lost_or_doubled(knobs):
    check(world(**knobs).cycles(8))


@pytest.mark.parametrize(
    "settings",
    [
        {"time_as": "number"},
        {"websites": "shop.example.com, www.example.com"},
        {"discover_websites": "true"},
        {"window": "60s"},
        {"concurrency": 1},
        {"overlap": "10s"},
        {"split_at": 5},
        {"split_at": 40},
    ],
    ids=str,
)
def test_whatever_the_settings_nothing_is_lost_or_doubled(settings):
    check(world(settings=settings).cycles(6))


@pytest.mark.parametrize("chosen", ["Log", "Block"])
def test_a_chosen_event_type_has_its_own_cursor(chosen):
    it = world(settings={"event_type": chosen}, odd=False).cycles(2)
    assert [unit.scope for unit in it.units()] == [f"|{chosen}"]
    assert {event["apptrana"]["event_type"] for event in it.output.kept} == {chosen}


def test_a_cut_answer_is_found_out_by_halving():
    """The service stops at 30 attacks without saying so; `split_at` 30 finds the rest."""
    check(world(settings={"split_at": 30}, cap=30).cycles(3))


def test_a_second_too_full_to_know_is_named():
    it = world(settings={"split_at": 1, "lookback": "2m"}, odd=False, rate=30.0).cycles(1)
    assert any(
        "cut short" in event["message"]
        for event in it.output.kept
        if event["event"]["kind"] == "pipeline_error"
    )


def test_every_knob_is_turned_by_a_test():
    said = "".join(path.read_text() for path in pathlib.Path(__file__).parents[1].rglob("*.py"))
    knobs = [field.name for field in dataclasses.fields(simulator.Knobs)]
    assert [name for name in knobs if not re.search(rf'\b{name}=|"{name}":|\.{name}\b', said)] == []


# The token


@pytest.mark.parametrize("auth", ["client_credentials", "basic", "code"])
@pytest.mark.parametrize("strict", [True, False])
def test_three_ways_to_a_token(auth, strict):
    check(
        world(settings={"auth": auth}, auth=auth if strict else "any", code_extra=strict).cycles(2)
    )


@pytest.mark.parametrize(
    "auth,other",
    [("client_credentials", "basic"), ("basic", "code"), ("code", "client_credentials")],
)
def test_the_wrong_way_is_an_error_that_names_the_others(auth, other):
    it = world(settings={"auth": auth}, auth=other)
    with pytest.raises(
        AuthError, match="check client_id/client_secret.*client_credentials, basic, code"
    ):
        it.cycle(attempts=1)
    assert it.simulator.counts["getAuthToken"] == 1  # a wrong key is never presented twice


def test_the_code_under_another_name_or_by_hand():
    check(
        world(
            settings={"auth": "code", "code_parameter": "auth"},
            code_parameter="auth",
            code_extra=True,
        ).cycles(1)
    )
    # the only parameter there is
    check(world(settings={"auth": "code"}, code_parameter="authorisation").cycles(1))
    with pytest.raises(AuthError, match="carries no code"):
        world(settings={"auth": "code"}, code_silent=True).cycle(attempts=1)
    it = world(settings={"auth": "code", "code": "stale"}, code_once=False, code_life=1.0)
    with pytest.raises(AuthError):
        it.cycle(attempts=1)
    it.simulator.codes["fresh"] = ("demo", NOON + DAY)
    check(world_with(it.simulator, settings={"auth": "code", "code": "fresh"}).cycles(1))


def world_with(simulated, settings):
    return World(PLUGIN, simulated, **{"lookback": "40m", **settings})


def test_a_code_is_asked_for_anew_when_it_aged():
    it = world(settings={"auth": "code"}, token_life=3600.0).cycles(1)
    it.time.now += 2 * HOUR
    check(it.cycles(1))
    assert it.simulator.counts["authorize"] >= 2


@pytest.mark.parametrize("allow_list", ["403_json", "401_json", "403_html"])
def test_an_address_not_on_the_allow_list_is_told_so(allow_list):
    it = world(allow_list=allow_list)
    with pytest.raises((AuthError, Retry), match="allow-list"):
        it.cycle(attempts=1)


def test_one_fresh_token_on_401_and_no_more():
    it = world(refuse_always=True)
    with pytest.raises(AuthError):
        it.cycle(attempts=1)
    assert (
        it.simulator.counts == {"getAuthToken": 2, "getAttackInfo": 2}
        or it.simulator.counts["getAttackInfo"] <= 2 * PLUGIN.settings.concurrency
    )


def test_the_very_token_it_refused_is_no_loop():
    it = world(stubborn=True, revoke_every=3)
    with pytest.raises(AuthError):
        it.cycle(attempts=1)
    assert it.simulator.counts["getAuthToken"] < 12


def test_an_ageing_token_is_not_asked_for_in_a_loop():
    """The service hands out the same token with little life left until it ends."""
    it = world(settings={"token_margin": "300s"}, token_life=310.0)
    it.cycles(30, apart=10_000)
    assert it.simulator.counts["getAuthToken"] <= 12


def test_expires_in_decides():
    it = world(token_life=3600.0)
    it.cycles(50)
    assert it.simulator.counts["getAuthToken"] == 1
    it.cycles(12)
    # at half of what is left, of the same token
    assert 1 < it.simulator.counts["getAuthToken"] <= 6


def test_a_stranger_without_the_right_header_is_refused():
    """Ours travels as `Authorization: Bearer`; what the page spells `Authorisation` would not
    do."""
    it = world()
    it.cycle()
    sent = next(
        request for request in it.simulator.requests if request.url.endswith("getAttackInfo")
    )
    assert (
        sent.headers["Authorization"].startswith("Bearer ") and "Authorisation" not in sent.headers
    )
    for headers in (
        {"Authorisation": sent.headers["Authorization"]},
        {"Authorization": "Basic x"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer 0"},
    ):
        assert (
            it.simulator.answer(
                sent._replace(headers={"Content-Type": "application/json", **headers}), it.time.now
            ).status
            == 401
        )


# What goes wrong

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


@pytest.mark.parametrize(
    "fault", STATUSES, ids=lambda fault: f"{fault.status}-{fault.body}-{fault.retry_after}"
)
def test_a_refusal_is_waited_for(fault):
    it = world([fault]).cycles(4)
    check(it)
    wait = float(fault.retry_after.replace("date:", "") or 0)
    if wait:
        assert any(
            isinstance(error, Retry) and wait - 2 <= error.after / 1000 <= wait + 1
            for error in it.errors
        )


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
def test_an_accident_costs_nothing_but_time(fault):
    it = world([fault]).cycles(3)
    check(it)
    assert it.errors or fault.body == "truncated"


def test_406_and_html_are_the_vendors_own_firewall_and_not_asked_again_before_the_next_interval():
    for fault in (Fault("getAttackInfo", 1, 406, "html"), Fault("getAttackInfo", 1, 200, "html")):
        it = world([fault]).cycles(1)
        assert "firewall" in str(it.errors[0]) and it.errors[0].after == 60_000
    with pytest.raises(Retry, match="user_agent"):
        world(agents="Mozilla").cycle(attempts=1)
    check(World(PLUGIN, vendor(agents="siemtap/"), lookback="40m").cycles(1))


@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
def test_an_error_that_quotes_us_shows_no_token(status):
    """Also where a success says that it failed."""
    it = world()
    answer, tokens = it.client.http.send, []

    def send(request, seconds):
        reply = answer(request, seconds)
        if "getAuthToken" in request.url:
            tokens.append(json.loads(reply.body)["access_token"])
            return reply
        return reply._replace(
            status=status,
            body=json.dumps({"errorMessages": [f"cannot read {dict(request.headers)}"]}).encode(),
        )

    it.client.http.send = send
    with pytest.raises(SiemtapError, match="cannot read") as caught:
        it.attempt(ATTACKS)
    assert (
        tokens
        and not any(token in str(caught.value) for token in tokens)
        and "REDACTED" in str(caught.value)
    )


def test_a_400_is_not_retried_and_names_the_complaint():
    it = world([Fault("getAttackInfo", 99, 400)])
    with pytest.raises(ConfigError, match="a fault on request"):
        it.attempt(ATTACKS)


def test_a_success_that_says_it_failed_is_none():
    it = world(odd_success="failed")
    with pytest.raises(Retry, match="half of it is missing"):
        it.cycle(attempts=3)
    assert it.output.kept == []


@pytest.mark.parametrize(
    "fault", [Fault("getAttackInfo", 10**6, 500), Fault("getAttackInfo", 10**6, delay=1e9)], ids=str
)
def test_a_service_that_is_down_is_not_asked_a_hundred_times(fault):
    """A window that fails is halved only if a sliver of it works."""
    it = world([fault], settings={"concurrency": 1})
    with pytest.raises(Retry):
        it.attempt(ATTACKS)
    assert it.simulator.counts["getAttackInfo"] == 2


def test_too_many_requests_brings_the_backfill_down_to_one_at_a_time():
    it = world([Fault("getAttackInfo", 1, 429)])
    with pytest.raises(Retry):
        it.attempt(ATTACKS)
    assert it.client.parallel == 1 or it.simulator.counts["getAttackInfo"] > 1
    check(it.cycles(3))


class TooWide:
    """Windows wider than `limit` fail with `status`."""

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
def test_a_window_refused_as_too_big_is_halved(status):
    it = World(PLUGIN, TooWide(vendor(), 100_000, status), lookback="40m").cycles(2)
    check(it)
    assert it.errors == []


def test_a_page_that_stays_malformed_holds_the_cursor_then_is_given_up_with_an_event():
    """The bad second is isolated; everything before it arrives at once, everything behind it
    once `skip_after` has passed."""
    bad = NOON / 1000 - 1200.5
    it = world(settings={"skip_after": "2h"}, poison=bad, odd=False)
    with pytest.raises(Malformed, match="getAttackInfo"):
        it.cycle(attempts=3)
    stuck = it.until()
    assert bad * 1000 - 3 * SECOND <= stuck <= bad * 1000
    it.start()
    it.time.now += 2 * HOUR
    it.cycles(3)
    (lost,) = [event for event in it.output.kept if event["event"]["kind"] == "pipeline_error"]
    assert (
        lost["event"]["start"] <= "2026-03-04T11:39:59.500Z" <= lost["event"]["end"]
        and "unreadable since" in lost["message"]
    )
    hole = it.simulator.ledger(
        it.time.now, int(bad * 1000) - 2 * SECOND, int(bad * 1000) + 2 * SECOND
    )
    must = it.simulator.ledger(it.time.now, NOON - 40 * MINUTE, it.until() - 100 * SECOND)
    assert must - set(it.output.ids()) <= hole and max(it.output.ids().values()) == 1


def test_a_malformed_record_is_an_event_that_says_so():
    it = world(odd=False)
    it.simulator.minute = lambda site, minute: [
        simulator.Attack(minute * MINUTE + 1, 0, site, said)
        for said in (
            {"attackTime": "yesterday", "requestHeader": f'"Cookie":"{simulator.COOKIE}"'},
            "a text",
            None,
            7,
        )
    ]
    it.cycles(1)
    assert {event["event"]["kind"] for event in it.output.kept} == {"pipeline_error"}
    originals = {event["event"]["original"] for event in it.output.kept}
    assert {'"a text"', "null", "7"} <= originals and simulator.COOKIE not in json.dumps(
        it.output.kept
    )


# Time


def test_late_beyond_the_overlap_shows_in_the_ledger():
    """Ten minutes is later than lag and overlap reach: what is lost is exactly that."""
    it = world(late=(0.0, 600.0), odd=False).cycles(20)
    must = it.simulator.ledger(it.time.now, NOON - 5 * MINUTE, NOON + 8 * MINUTE)
    missing = must - set(it.output.ids())
    late = {
        attack.id
        for attack in it.simulator.attacks(
            NOON - 5 * MINUTE, NOON + 8 * MINUTE, list(it.simulator.knobs.websites)
        )
        if attack.readable > attack.time
    }
    assert missing and missing <= late


@pytest.fixture
def short_memory(monkeypatch):
    """A vendor that keeps three hours and not thirty days, for the test's sake."""
    assert plugin.RETENTION == 30 * DAY and plugin.FORGOTTEN == 29 * DAY
    monkeypatch.setattr(plugin, "RETENTION", 3 * HOUR)
    monkeypatch.setattr(plugin, "FORGOTTEN", 2 * HOUR)


def test_what_is_older_than_the_vendors_memory_is_named(short_memory):
    time = Time()
    it = world(time=time, settings={"lookback": "1h"}).cycles(1)
    before = it.until()
    time.now += 5 * HOUR
    it.start()
    it.cycles(1)
    (lost,) = [event for event in it.output.kept if "start" in event["event"]]
    assert (
        lost["event"]["start"] == rfc3339(before) and lost["event"]["end"][:13] == "2026-03-04T14"
    )
    assert "the service keeps" in lost["message"] and before < NOON
    must = it.simulator.ledger(
        time.now, time.now - 3 * HOUR + 2 * MINUTE, it.until() - 100 * SECOND
    )
    assert len(must) > 100 and must <= set(it.output.ids())


def test_what_the_service_has_forgotten_is_skipped_and_named(short_memory):
    """It refuses windows older than its memory, which is shorter than it says."""
    it = world(settings={"lookback": "3h"}, odd=False)
    answer = it.simulator.get_attack_info

    def forgetful(request, headers, now):
        if int(json.loads(request.body)["startTime"]) < now - 3 * HOUR + 20 * MINUTE:
            return simulator.said({"errorMessages": ["too old"]}, 400)
        return answer(request, headers, now)

    it.simulator.get_attack_info = forgetful
    it.cycles(1)
    named = [event["message"] for event in it.output.kept if "start" in event["event"]]
    assert 4 <= len(named) <= 6 and all("too old" in said for said in named)
    must = it.simulator.ledger(it.time.now, NOON - 155 * MINUTE, it.until() - 100 * SECOND)
    assert must <= set(it.output.ids())


def test_nothing_is_ever_asked_of_the_future_nor_too_much_at_once():
    it = world(settings={"lag": "10s"}).cycles(4)
    for request in it.simulator.requests:
        if request.url.endswith("getAttackInfo"):
            asked = json.loads(request.body)
            start, stop = int(asked["startTime"]), int(asked["endTime"])
            assert 0 < stop - start <= 300_000 and stop <= it.time.now - 10_000
            assert (
                isinstance(asked["startTime"], str)
                and "websiteName" not in asked
                and "eventType" not in asked
            )


def test_a_live_cycle_is_one_call():
    it = world().cycles(1)
    before = it.simulator.counts["getAttackInfo"]
    it.cycles(10)
    assert it.simulator.counts["getAttackInfo"] == before + 10


def test_clocks_that_differ_are_measured():
    it = world(skew=300.0).cycles(1)
    assert 299_000 <= it.http.skew["vendor.example.com"] <= 301_000


# Activity and sites


@pytest.mark.parametrize("unit", ["records", "pages"])
@pytest.mark.parametrize("page", [1, 2, 5, 10_000])
def test_the_audit_log_page_by_page(unit, page):
    it = world(
        settings={"datasets": "activity", "activity_offset_unit": unit, "activity_page": page},
        activity_unit=unit,
    ).cycles(4)
    ids = it.output.ids()
    assert max(ids.values()) == 1 and 40 <= len(ids) <= 50
    event = it.output.kept[0]
    assert (
        event["event"]["dataset"] == "apptrana.activity"
        and event["user"]["name"] == "operator@example.com"
        and event["message"].endswith("disabled")
    )


@pytest.mark.parametrize("edges", ["[]", "[)", "(]", "()"])
def test_the_audit_log_whatever_its_edges(edges):
    it = world(settings={"datasets": "activity"}, edges=edges).cycles(5)
    minutes = sorted(event["@timestamp"] for event in it.output.kept)
    assert len(minutes) == len(set(minutes)) >= 40
    assert all(
        millis(after) - millis(before) == MINUTE for before, after in zip(minutes, minutes[1:])
    )


def millis(timestamp):
    from siemtap.core.convert import millis_of

    return millis_of(timestamp)


def test_a_page_that_comes_again_for_ever_is_an_error():
    with pytest.raises(Malformed, match="activity_offset_unit"):
        world(settings={"datasets": "activity", "activity_page": 2}, activity_repeat=True).cycle(
            attempts=2
        )


def test_an_audit_log_of_nothing():
    assert world(settings={"datasets": "activity"}, activity_null=True).cycles(1).output.kept == []


def test_a_stamp_with_seconds_would_be_refused():
    from siemtap.edge.http import Request

    simulated = vendor()
    token = json.loads(
        simulated.answer(
            Http(lambda *_: None).form(
                "https://x/getAuthToken",
                {
                    "client_id": "demo",
                    "client_secret": "demo-secret",
                    "grant_type": "client_credentials",
                },
            ),
            NOON,
        ).body
    )
    body = json.dumps(
        {
            "startDate": "2026-03-04T10:00:30Z",
            "endDate": "2026-03-04T10:05Z",
            "offSet": 0,
            "maxResult": 5,
        }
    ).encode()
    request = Request(
        "POST",
        "https://x/getActivity",
        {"Content-Type": "application/json", "Authorization": f"Bearer {token['access_token']}"},
        body,
    )
    assert simulated.answer(request, NOON).status == 400
    simulated.knobs.activity_strict = False
    assert simulated.answer(request, NOON).status == 200


@pytest.mark.parametrize("shape", ["objects", "nested"])
def test_sites_in_any_shape(shape):
    it = world(settings={"discover_websites": "true"}, sites_as=shape)
    assert [unit.scope for unit in it.units()] == ["shop.example.com", "www.example.com"]


@pytest.mark.parametrize("shape,error", [("empty", Malformed), ("missing", ConfigError)])
def test_no_sites_is_an_error(shape, error):
    with pytest.raises(error):
        world(settings={"discover_websites": "true"}, sites_as=shape).units()


def test_a_site_the_vendor_does_not_know():
    assert world(settings={"websites": "nobody.example.com"}).cycles(1).output.kept == []
    with pytest.raises(ConfigError, match="no such website"):
        world(settings={"websites": "nobody.example.com"}, unknown_site="400").cycle(attempts=1)


def test_what_was_before_siem_was_enabled_is_empty_and_no_error():
    it = world(enabled_days=0.01).cycles(2)
    assert (
        it.errors == []
        and min(event["@timestamp"] for event in it.output.kept) >= "2026-03-04T11:45"
    )


def test_many_threads_one_token():
    """Single flight: a backfill that begins without a token asks for one, once."""
    simulated = vendor(one_token_call=True)
    settings = fill_in(
        PLUGIN.settings,
        {**simulated.settings("https://vendor.example.com"), "concurrency": 16, "lookback": "1d"},
    )
    time = Time()
    client = Client(
        settings, Http(in_memory(simulated, time.clock), clock=Clock(lambda: NOON, lambda: 0.0))
    )
    assert sum(1 for _ in PLUGIN.collect(client, ATTACKS, {}, NOON)) > 200
    assert simulated.counts["getAuthToken"] == 1


def test_a_token_that_another_thread_has_replaced_already_is_not_replaced_again():
    it = world(token_fresh=True)
    first = it.client.bearer()
    second = it.client.bearer(refused=first)
    assert (
        it.client.bearer(refused=first) == second != first
        and it.simulator.counts["getAuthToken"] == 2
    )


def test_the_cursor_never_goes_back():
    """Not even while the overlap is read again: a process that dies there, again and again,
    would walk into the past."""
    it = world().cycles(1)
    reached = it.until()
    it.time.now += 10 * MINUTE
    steps = [
        batch.cursor["until"]
        for batch in PLUGIN.collect(it.client, ATTACKS, {"until": reached}, it.time.now)
    ]
    assert len(steps) > 2 and steps == sorted(steps) and steps[0] >= reached

    it.time.now += 20 * MINUTE
    wide = World(PLUGIN, it.simulator, time=it.time, overlap="20m")
    assert all(
        batch.cursor["until"] >= reached
        for batch in PLUGIN.collect(wide.client, ATTACKS, {"until": reached}, it.time.now)
    )
