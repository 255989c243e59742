"""ABS that detects late, answers oddly, fails; an input that is killed and started again. What
must come out is the simulator's ledger."""

import json
import logging
import random
import threading
import time as time_
from functools import partial
from pathlib import Path

import pytest
from pingintelligence import PLUGIN, attack_types, plugin, simulator
from pingintelligence.attacks import Asked, flatten
from pingintelligence.times import asked, moment

from siemtap.core.convert import instant, millis_of
from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.forms import Connection
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.core.windows import DAY, HOUR, MINUTE
from siemtap.edge import walk
from siemtap.edge.ahead import ahead
from siemtap.edge.http import Http, connect
from siemtap.runners.simulate import Fault, Server
from world import NOON, Crash, Fuse, Time, World

LAG = 30 * MINUTE


def world(
    faults=(), time=None, marks=None, output=None, fuse=None, settings=None, simulated=None, **knobs
):
    simulated = simulated or simulator.Simulator(simulator.Knobs(**knobs))
    simulated.faults.extend(faults)
    return World(
        PLUGIN,
        simulated,
        time=time,
        marks=marks,
        output=output,
        fuse=fuse,
        **{"lookback": "2h", **(settings or {})},
    )


def attacks(it):
    """Ids of attacks, how often each came out."""
    return {
        event["event"]["id"]: number
        for event in it.output.kept
        for number in [it.output.ids()[event["event"]["id"]]]
        if event["event"]["dataset"] == "pingintelligence.attack"
    }


def check(it, start, stop, latest=None):
    got = attacks(it)
    must = it.simulator.ledger(latest or it.time.now, start, stop)
    assert len(must) > 10 and must <= set(got), f"{len(must - set(got))} of {len(must)} are missing"
    assert max(got.values()) == 1


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
def test_whatever_is_unknown_of_abs_nothing_is_lost_and_nothing_doubled(knobs):
    it = world(**knobs).cycles(8, 10 * MINUTE)
    check(it, NOON - 2 * HOUR + MINUTE, it.time.now - LAG - 45 * MINUTE)
    assert "SECRET-" not in it.shown() + json.dumps(list(it.marks.saved.values()))


def test_a_week_of_late_detections_and_restarts_at_random():
    """The set of events is the simulator's truth, no id twice."""
    luck, time = random.Random(11), Time()
    simulated = simulator.Simulator(
        simulator.Knobs(rate=0.002, late=(0.0, 300.0, 1500.0), apis=("shop", "pay"))
    )
    it, killed = world(simulated=simulated, time=time), 0
    while time.now < NOON + 7 * DAY:
        it.fuse.steps = it.fuse.taken + luck.randrange(3, 40) if luck.random() < 0.3 else None
        it.output.fuse = it.marks.fuse = it.fuse
        try:
            it.cycle()
        except Crash:
            killed += 1
            time.now += luck.randrange(1, 20) * MINUTE
            it.fuse.steps = None
            it.start()
            continue
        time.now += int(luck.uniform(0.3, 1.0) * 60 * MINUTE)
    it.fuse.steps = None
    it.cycle()
    until = time.now - LAG
    got = {id: number for id, number in attacks(it).items()}
    truth = simulated.ledger(time.now, NOON - 2 * HOUR + MINUTE, until - 40 * MINUTE)
    assert killed > 50 and len(truth) > 3_000 and truth <= set(got) and max(got.values()) == 1
    assert set(got) <= simulated.ledger(time.now, NOON - 4 * HOUR, until + MINUTE), (
        "nothing that never happened"
    )


@pytest.mark.parametrize("night", ["2026-10-25T02:00:00.000Z", "2026-03-29T02:00:00.000Z"])
@pytest.mark.parametrize("name", ["Europe/Berlin", "UTC"])
def test_the_nights_when_clocks_change(night, name):
    time = Time(millis_of(instant(night)) - 6 * HOUR)
    it = world(time=time, zone=name, rate=0.01, odd=False)
    start = time.now
    it.cycles(60, 10 * MINUTE)
    got = attacks(it)
    must = it.simulator.ledger(time.now, start, time.now - 2 * HOUR)
    if name == "UTC" or "03-29" in night:
        assert must <= set(got) and max(got.values()) == 1
    # two hours have one spelling: what is spelled alike is one event, and all else is there
    else:
        assert len(must & set(got)) > 0.9 * len(must) and max(got.values()) == 1
        assert any(event["pingintelligence"].get("time_ambiguous") for event in it.output.kept)


def test_a_detection_beyond_lag_and_overlap_is_seen_to_be_missing():
    """The ledger would tell: this is what `lag` and `overlap` are for."""
    it = world(late=(5_400.0,), settings={"lookback": "10m"}).cycles(10, 10 * MINUTE)
    assert not it.simulator.ledger(it.time.now, NOON, NOON + 5 * MINUTE) <= set(attacks(it))


def test_one_api_that_fails_holds_up_no_other():
    it = world(rate=0.02)
    simulated, answer = it.simulator, it.simulator._answer
    simulated._answer = lambda path, request, now: (
        Fault(status=400).answer(now) if "api=shop" in request.url else answer(path, request, now)
    )
    for unit in it.units():
        if unit.scope == "shop":
            with pytest.raises(ConfigError):
                it.attempt(unit)
        else:
            it.attempt(unit)
    assert {
        event["pingintelligence"]["api_name"]
        for event in it.output.kept
        if event["event"]["dataset"] == "pingintelligence.attack"
    } == {"all", "pay & go/v1"}


@pytest.mark.parametrize("listed, found", [(["all"], []), (["shop"], ["shop"])])
def test_keys_that_may_not_ask_for_admin(listed, found, caplog):
    it = world(admin_at="refused", settings={"apis": listed})
    units = [(unit.dataset.partition(".")[2], unit.scope) for unit in it.units()]
    assert units == [("attack", ""), *(("attack", api) for api in found), ("attacklist", "")]
    assert ("cannot read the admin report" in caplog.text) == (listed == ["all"])


def test_a_refusal_later_is_no_reason_to_forget_the_apis():
    it = world()
    before = it.units()
    it.simulator.faults.append(Fault(call="admin", times=1, status=403))
    assert it.units() == before


@pytest.mark.parametrize("status", ["401", "403", "200"])
def test_wrong_keys(status):
    it = world(wrong_key=status)
    it.settings = fill_in(
        PLUGIN.settings, {**it.simulator.settings("https://abs.example.com"), "access_key": "other"}
    )
    it.start()
    unit = it.units()[0]
    with pytest.raises(
        AuthError if status != "200" else Retry,
        match="x-abs-ak-ru and x-abs-sk-ru" if status != "200" else "a success that says it failed",
    ):
        it.attempt(unit)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"lag": "29m"}, "`allow_early: true`"),
        ({"timezone": "Mars/Olympus"}, "is no time zone"),
        ({"access_key": "a:b"}, "no colon"),
        ({"access_key": ""}, "needs `access_key`"),
        ({"attack_log": "/var/log/attack.log"}, "use one of them"),
        ({"url": "abs.example.com"}, "write https://"),
        ({"types": ["some"]}, "numbers of attack types"),
        ({"reports": ["everything"]}, "is not one of"),
    ],
)
def test_what_is_refused_at_the_start(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        PLUGIN.connect(
            fill_in(
                PLUGIN.settings,
                {
                    "url": "https://abs.example.com:8080",
                    "access_key": "a",
                    "secret_key": "b",
                    **settings,
                },
            ),
            Http(None),
        )


def test_what_may_be_said_knowingly(caplog):
    PLUGIN.connect(
        fill_in(
            PLUGIN.settings,
            {
                "url": "https://abs.example.com:8080",
                "access_key": "abs_ak_ru",
                "secret_key": "b",
                "lag": "5m",
                "allow_early": True,
            },
        ),
        Http(None),
    )
    assert "keys of ABS are those it comes with" in caplog.text and "abs_ak_ru" not in caplog.text


def test_several_nodes_and_one_of_them_down():
    it = world(settings={"url": ["https://one.example.com", "https://two.example.com"]})
    send = it.http.send
    down = {"one.example.com"}

    def through(request, seconds):
        if any(name in request.url for name in down):
            raise Retry("the connection failed")
        return send(request, seconds)

    it.http.send = through
    it.cycles(3, 10 * MINUTE)
    check(it, NOON - 2 * HOUR + MINUTE, it.time.now - 70 * MINUTE)
    assert len(it.errors) == 2 and it.output.kept[0]["observer"]["name"] == "one.example.com"
    down = {"two.example.com"}
    it.cycles(2, 10 * MINUTE)
    assert len(it.errors) == 4


def test_too_many_calls_bring_it_down_to_one():
    it = world()
    it.simulator.faults.append(Fault(call="attack", times=1, status=429, retry_after="7"))
    before = it.time.now
    it.cycles(1)
    assert it.errors[0].after == 7000 and it.time.now - before >= 7000
    assert it.client.parallel == 4  # success by success


def test_a_report_that_is_no_json_is_narrowed_down_and_given_up_in_the_end():
    poison = (NOON - 90 * MINUTE) / 1000
    it = world(poison=poison, apis=("shop",), settings={"skip_after": "20m"})
    for _ in range(6):
        for unit in it.units():
            try:
                it.attempt(unit)
            except Malformed as error:
                it.errors.append(error)
        it.time.now += 10 * MINUTE
    lost = [event for event in it.output.kept if event["event"]["kind"] == "pipeline_error"]
    # across, and shop
    assert (
        it.errors
        and len(lost) == 2
        and all("unreadable since" in event["message"] for event in lost)
    )
    assert all(
        millis_of(event["event"]["end"]) - millis_of(event["event"]["start"]) <= 10 * MINUTE
        for event in lost
    )
    check(it, NOON - 2 * HOUR + MINUTE, int(poison * 1000) - 10 * MINUTE)
    check(it, int(poison * 1000) + 11 * MINUTE, it.time.now - 70 * MINUTE)


def test_collect_never_changes_anything_and_asks_for_no_forensics():
    it = world(
        settings={
            "reports": [
                "metrics",
                "anomalies",
                "apikeys",
                "oauthtokens",
                "username",
                "bc",
                "flowcontrol",
                "be",
                "decoy",
                "discovery",
                "validurl",
                "hackersurl",
            ],
            "report_details": True,
        }
    ).cycles(8, 10 * MINUTE)
    assert {request.method for request in it.simulator.requests} == {
        "GET"
    } and not it.simulator.counts.get("abs")
    reports = [
        event for event in it.output.kept if event["event"]["dataset"] == "pingintelligence.report"
    ]
    assert (
        len({event["pingintelligence"]["report"] for event in reports}) == 13
        and "SECRET-" not in it.shown()
    )
    metrics = [
        event
        for event in reports
        if event["pingintelligence"]["report"] == "api_metrics"
        and event["service"]["name"] == "shop"
    ]
    assert len(metrics) == 2, "once an hour"


def test_a_report_for_the_admin_user_only():
    it = world(settings={"reports": ["threshold"]})
    with pytest.raises(ConfigError, match="use `role: admin`"):
        it.units()
    assert (
        "api_threshold"
        in world(role="admin", settings={"reports": ["threshold"]}).cycles(1).shown()
    )


@pytest.mark.parametrize("form", ["plain", "wrapped", "objects"])
@pytest.mark.parametrize("filters", [True, False])
def test_the_deny_list_as_changes(form, filters):
    it = world(list_form=form, list_filter=filters).cycles(20, 10 * MINUTE)
    told = {}
    for event in it.output.kept:
        if event["event"]["dataset"] == "pingintelligence.attacklist":
            said = event["pingintelligence"]
            who = (
                event.get("source", {}).get("ip")
                or event.get("user", {}).get("name")
                or event["related"]["hash"][0]
            )
            told.setdefault((said["identifier"]["type"], who), []).append(said["state"])
    assert [
        states for states in told.values() if len(states) > 1 and states[0] == "active"
    ] and told[("username", "anna")] == ["active"]
    if filters or form == "objects":
        assert ["active", "expired", "removed"] in told.values()
    assert all(
        states
        in (
            ["active"],
            ["active", "expired"],
            ["active", "expired", "removed"],
            ["active", "removed"],
        )
        or states[0] in ("expired", "removed")
        for states in told.values()
    )
    assert max(it.output.ids().values()) == 1 and "SECRET-" not in it.shown()


def test_a_crash_between_the_question_and_its_answer_tells_a_change_once():
    simulated = simulator.Simulator(simulator.Knobs(rate=0.0))
    for steps in range(40):
        it, done = world(simulated=simulated, time=Time(), fuse=Fuse()), False
        unit = next(unit for unit in it.units() if unit.dataset == "pingintelligence.attacklist")
        it.fuse.steps = it.fuse.taken + steps
        it.output.fuse = it.marks.fuse = it.fuse
        try:
            it.attempt(unit)
            done = True
        except Crash:
            it.fuse.steps = None
            it.time.now += 3 * MINUTE
            it.start()
            it.attempt(unit)
        assert max(it.output.ids().values()) == 1 and len(it.output.kept) >= 9
    assert done


def test_attack_log_is_followed(tmp_path):
    log, simulated = tmp_path / "attack.log", simulator.Simulator(simulator.Knobs(rate=0.02))
    sent = list(simulated.pushed(NOON - 2 * HOUR, NOON))
    lines = [thing.body.decode().partition(" Audit - ")[2] for thing in sent]
    log.write_text("".join(f"{line}\n" for line in lines[:50]) + lines[50][:30])
    it = World(PLUGIN, simulated, url=[], attack_log=str(log), lookback="2h")
    it.cycles(2)
    assert len(it.output.kept) == 50
    with log.open("a") as file:
        file.write(lines[50][30:] + "\n" + lines[51] + "\n")
    log.rename(tmp_path / "attack.log.2026-03-04")
    log.write_text("".join(f"{line}\n" for line in lines[52:]))
    it.start()
    it.cycles(1)
    assert (
        set(it.output.ids()) == {id for thing in sent for id in thing.ids}
        and max(it.output.ids().values()) == 1
    )


def test_a_large_answer_comes_in_several_batches_and_its_cursor_with_the_last(monkeypatch):
    monkeypatch.setattr(walk, "AT_ONCE", 7)
    it = world(apis=("shop",))
    unit = next(unit for unit in it.units() if unit.scope == "shop")
    batches = list(PLUGIN.collect(it.client, unit, {}, it.time.now))
    assert len(batches) > 10 and max(len(batch.records) for batch in batches) == 7
    assert all(batch.cursor == {} for batch in batches[:-1]) and batches[-1].cursor == {
        "until": it.time.now - LAG
    }
    it.cycles(3, 10 * MINUTE)
    check(it, NOON - 2 * HOUR + MINUTE, it.time.now - 75 * MINUTE)


def test_exact_repeats_are_counted():
    said = {
        "attack_type": "Decoy Attack",
        "api_name": "shop",
        "ips": [
            {
                "ip": "192.0.2.1",
                "details": (
                    [{"access_time": "Wed Mar 04 10:02:13:417 2026", "attack_code": "decoy"}] * 3
                ),
            }
        ],
    }
    (record,) = flatten(said, Asked(100, "shop"), fill_in(PLUGIN.settings, {}))
    assert record["@count"] == 3


def test_no_more_calls_in_flight_than_were_allowed():
    simulated = simulator.Simulator(simulator.Knobs(rate=0.001, apis=20))
    busy, most, lock = [0], [0], threading.Lock()
    answer = simulated.answer

    def counted(request, now):
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        time_.sleep(0.02)
        with lock:
            busy[0] -= 1
        return answer(request, now)

    simulated.answer = counted
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
                partial(list, PLUGIN.collect(client, Unit("it", *place), {}, now))
                for place in PLUGIN.units(client, settings)
            ],
        ):
            pass
    finally:
        server.close()
    assert most[0] == 3 and simulated.counts["attack"] >= 20 * 3 + 1


def test_times():
    assert moment("Wed Mar 04 10:02:13:417 2026", "UTC").text == "2026-03-04T10:02:13.417Z"
    assert moment("Wed Mar 04 10:02:13:417 2026", "Asia/Kolkata").text == "2026-03-04T04:32:13.417Z"
    assert moment("Thu Feb 29 10:00:00:000 2024", "UTC") and all(
        moment(said, "UTC") is None
        for said in (
            "Wed Feb 30 10:00:00:000 2026",
            "Wed Mar 04 24:00:00:000 2026",
            "2026-03-04",
            "",
            None,
            7,
        )
    )
    noon = millis_of(instant("2026-07-01T12:00:30Z"))
    assert asked(noon - HOUR, noon, "Europe/Berlin") == ("2026-07-01T13:00", "2026-07-01T14:00")
    # near the fold, the question never begins too late nor runs backwards
    for hours in range(-30, 30):
        at = millis_of(instant("2026-10-25T01:00:00Z")) + hours * 10 * MINUTE
        earlier, later = asked(at - 35 * MINUTE, at, "Europe/Berlin")
        assert earlier < later


def test_types_from_names():
    for id, of in attack_types.TYPES.items():
        if id < 50:
            kind = of.kinds[0] if of.kinds else "access_token"
            assert attack_types.id_of(of.name, of.scope == attack_types.ACROSS, kind) == id, of
    assert (
        attack_types.id_of("Stolen Cookie Attack Type 1", False, "cookie") == 4
        and attack_types.id_of("stolen  COOKIE type 2 ATTACK", True, "cookie") == 17
    )
    assert (
        attack_types.id_of("Stolen API Key Attack- Per API Key", True, "api_key") == 31
        and attack_types.id_of("Decoy", False, "ip") == 100
        and attack_types.id_of("Never Heard Of", False, "ip") is None
    )


@pytest.mark.parametrize("id", ["\u00b2", "\u0664", "9" * 5000, "x", "", None])
def test_a_number_that_is_no_type(id):
    assert attack_types.of(id) is attack_types.OTHER and attack_types.of("8") is attack_types.of(8)


def test_the_readme_lists_every_type():
    said = (Path(plugin.__file__).parent / "README.md").read_text()
    words = {99: "critical", 73: "high", 47: "medium", 21: "low"}
    for id, of in attack_types.TYPES.items():
        assert (
            f"| {id} | {of.name}{f' ({of.kinds[0]})' if of.kinds else ''} |"
            f" {'one API' if of.scope == 'api' else 'across'} | {of.category} |"
            f" {words[of.severity]} |" in said
        )


@pytest.mark.parametrize("said", ["text", 7, True])
def test_an_answer_that_is_neither_an_object_nor_a_list(said):
    with pytest.raises(Malformed):
        flatten(said, Asked(), fill_in(PLUGIN.settings, {}))


def test_it_warns_once_that_abs_is_training(caplog):
    caplog.set_level(logging.INFO)
    it = world(training=True)
    it.units()
    it.units()
    assert caplog.text.count("still training") == 1
