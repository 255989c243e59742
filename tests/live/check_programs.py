"""The CEL programs of the Elastic packages, run by mito as an agent does, against the simulators
of the vendors."""

import json
import random
import re
import time

import pytest
import requests
from centurylink_ips import simulator as centurylink_ips
from centurylink_ips.simulator_events import SERVERS
from fleet import new_agent
from ingest import DataStream
from pingintelligence import attack_list
from pingintelligence import simulator as pingintelligence
from pingintelligence.client import HEADERS
from pingintelligence.report_types import REPORTS
from trend_vision_one import simulator as trend_vision_one

from apptrana import simulator as apptrana
from siemtap.core.identity import identify
from siemtap.core.manifest import fill_in
from siemtap.core.windows import HOUR, MINUTE
from siemtap.render import registry
from siemtap.testing.simulation import Fault, Server

# Datasets whose unreadable answers are at once requested in halves: a single one is no error.
HALVED = ("apptrana.attack", "pingintelligence.attack")
FAULTS = [
    {"status": 429, "retry_after": "1"},
    {"status": 500},
    {"status": 200, "body": "truncated"},
    {"cut": 10},
]


@pytest.mark.parametrize(
    "name, dataset, simulated, call, options, earlier",
    [
        (
            "apptrana",
            "apptrana.attack",
            apptrana.Simulator(apptrana.Knobs(rate=5.0, late=(0.0,))),
            "getAttackInfo",
            {"initial_interval": "30m", "lag": "10s", "overlap": "225s"},
            29 * MINUTE,
        ),
        (
            "apptrana",
            "apptrana.activity",
            apptrana.Simulator(),
            "getActivity",
            {"initial_interval": "4h", "activity_page": 3},
            3 * HOUR,
        ),
        (
            "pingintelligence",
            "pingintelligence.attack",
            pingintelligence.Simulator(pingintelligence.Knobs(apis=("pay & go/v1",), rate=0.03)),
            "attack",
            {"initial_interval": "4h"},
            4 * HOUR - 45 * MINUTE,
        ),
        (
            "trend_vision_one",
            "trend_vision_one.alert",
            trend_vision_one.Simulator(),
            "alerts",
            {"initial_interval": "9h", "lag": "10s", "overlap": "5m"},
            8 * HOUR,
        ),
        (
            "trend_vision_one",
            "trend_vision_one.detection",
            trend_vision_one.Simulator(),
            "detections",
            {"initial_interval": "90m", "lag": "10s", "overlap": "5m"},
            80 * MINUTE,
        ),
    ],
)
def test_every_event_reaches_the_cluster_once(
    node, name, dataset, simulated, call, options, earlier
):
    """Through 429, 500, an invalid and a truncated answer, restarts, two crashes between
    delivery and cursor, and a rollover."""
    server, plugin = Server(simulated), registry.plugin(name)
    ledgers = {}
    if name == "trend_vision_one":
        ledgers["trend_vision_one.alert"] = simulated.alert_ids
        ledgers["trend_vision_one.detection"] = simulated.detection_ids
    try:
        agent = new_agent(server, dataset, **options)
        stream, rng, now = (
            DataStream(node, plugin, plugin.dataset(dataset)),
            random.Random(3),
            int(time.time() * 1000),
        )
        for number in range(12):
            agent.ago = 20 * 60 * (11 - number)
            if number in (1, 3, 5, 6):
                simulated.faults.append(
                    Fault(call=call, times=1, **FAULTS[(1, 3, 5, 6).index(number)])
                )
            if number == 7 and name == "apptrana":
                simulated.tokens.clear()
            agent.cycle(dies_after=2 if number in (0, 9) else 0)
            failing = (1, 3, 6) if dataset in HALVED else (1, 3, 5, 6)
            assert (agent.error != "") == (number in failing) or number == 9, (
                number,
                agent.error,
            )
            stream.take(agent.documents())
            if rng.random() < 0.4 or number in (0, 9):
                agent.restart()
            if number in (4, 8):
                stream.roll_over()
        agent.cycle()
        stream.take(agent.documents())
        settings = fill_in(
            plugin.settings,
            {
                key: value
                for key, value in {
                    **simulated.settings(server.url),
                    "lag": options.get("lag", "30m"),
                }.items()
            },
        )
        start, stop = now - 11 * 20 * MINUTE - earlier, now - settings.lag - 2 * MINUTE
        truth = (
            ledgers.get(dataset, simulated.ledger)(now, start, stop)
            if "activity" not in dataset
            else {
                identify(dataset, ["", action])
                for at, action in simulated.actions(start, stop)
                if start < at < stop
            }
        )
        if dataset == "trend_vision_one.alert":
            # an alert that changed meanwhile no longer is what it was
            truth &= ledgers[dataset](int(time.time() * 1000), start, stop)
        got = stream.ids()
        assert truth <= got.keys() and len(truth) > 300
        assert set(got.values()) == {1}, [event_id for event_id, times in got.items() if times > 1][
            :3
        ]
        seen = {id for id in (agent.cursor or {}).get("seen") or {}} | {
            id
            for mark in (agent.cursor or {}).values()
            if isinstance(mark, dict)
            for id in mark.get("seen", {})
        }
        assert seen and (name != "apptrana" or seen <= got.keys()), (
            "the ids of the program differ from those of the events"
        )
        assert stream.strange == []
    finally:
        server.close()


def test_wrong_key_is_reported_and_nothing_is_skipped():
    server = Server(apptrana.Simulator(apptrana.Knobs(rate=20.0, late=(0.0,))))
    try:
        agent = new_agent(server, "apptrana.attack", client_secret="wrong-one")
        agent.cycle()
        assert (
            "no token by client_id and client_secret" in agent.error
            and "wrong-one" not in agent.error
            and agent.cursor is None
            and agent.taken == []
        )
        assert [document["error"]["message"] for document in agent.documents()] == [
            agent.error
        ] and agent.documents() == []
    finally:
        server.close()


def test_destinations_of_centurylink_ips():
    """The baseline, a change, a token that expires, a server that fails without delaying others,
    a restart, a crash between delivery and cursor."""
    server = Server(centurylink_ips.Simulator())
    try:
        simulated, (web, other, db) = server.simulated, SERVERS
        our_url = "https://siem.example.com/hook/a-secret"
        simulated.installed |= {web, other, db}
        simulated.destinations[web] = [
            {"typeCode": "WEBHOOK", "url": our_url},
            {
                "typeCode": "SYSLOG",
                "sysLogSettings": {"ipAddress": "192.0.2.10", "udpPort": 514, "facility": 16},
            },
        ]
        agent = new_agent(
            server, "centurylink_ips.destination", our_url="https://siem.example.com/hook"
        )

        def new_events():
            agent.cycle()
            messages, agent.taken = [json.loads(event["message"]) for event in agent.taken], []
            return sorted(
                (message["server"], message["state"], message.get("target", ""))
                for message in messages
            ), {message["asked"] for message in messages}

        first, asked = new_events()
        assert (
            first
            == [
                (db, "not_here", ""),
                (web, "set", "192.0.2.10:514/16"),
                (web, "set", "https://siem.example.com/hook/…"),
                (other, "not_here", ""),
            ]
            and len(asked) == 1
            and agent.error == ""
        )
        assert "a-secret" not in json.dumps(agent.cursor) and new_events() == ([], set())
        simulated.destinations[web] = [
            {"typeCode": "WEBHOOK", "url": "https://other.example.com/x/y"},
            simulated.destinations[web][1],
        ]
        simulated.destinations[db] = [{"typeCode": "WEBHOOK", "url": our_url}]
        simulated.tokens.clear()
        simulated.faults.append(Fault(call="notifications", times=1, status=500))
        assert (
            new_events()[0]
            == [(db, "created", "https://siem.example.com/hook/…"), (db, "here", "")]
            or agent.error
        )
        assert ": 500: refused" in agent.error
        agent.restart()
        late = new_events()[0]
        assert (
            (web, "changed", "https://other.example.com/x/…") in late
            and (web, "not_here", "") in late
            and agent.error == ""
        )
        simulated.destinations[other] = [{"typeCode": "EMAIL", "emailAddress": "soc@example.com"}]
        agent.cycle(dies_after=3)
        changes = [json.loads(event["message"]) for event in agent.taken]
        agent.restart()
        agent.taken = []
        agent.cycle()
        again = [json.loads(event["message"]) for event in agent.taken]
        assert [message["state"] for message in changes] == ["created"] and changes == again, (
            "the same values, so the same id"
        )
    finally:
        server.close()


@pytest.mark.parametrize(
    "knobs",
    [{}, {"list_form": "wrapped", "role": "admin"}, {"list_form": "objects", "list_filter": False}],
)
def test_deny_list_of_pingintelligence(knobs):
    """The changes equal those that Python reports, despite a 500, a truncated answer and a crash
    between delivery and cursor."""
    server = Server(pingintelligence.Simulator(pingintelligence.Knobs(**knobs)))
    try:
        simulated, before = server.simulated, None
        settings = simulated.settings(server.url)
        agent, filled = (
            new_agent(server, "pingintelligence.attacklist", **settings),
            fill_in(registry.plugin("pingintelligence").settings, settings),
        )
        keys = dict(
            zip(HEADERS[settings["role"]], (settings["access_key"], settings["secret_key"]))
        )

        def lists():
            return [
                requests.get(
                    f"{server.url}/v4/abs/attacklist",
                    {
                        "earlier_date": "2017-01-01T00:00",
                        "later_date": "2030-01-01T00:00",
                        "status": status,
                    },
                    headers=keys,
                    timeout=300,
                ).json()
                for status in ("active", "expired")
            ]

        for number in range(4):
            if number == 1:
                simulated.unblocked |= {
                    "192.0.2.11",
                    "SECRET-listed-token",
                    next(simulated.entries(int(time.time() * 1000)))[0],
                }
                for wrong, fault in (("500", {"status": 500}), ("EOF|reset", {"cut": 10})):
                    simulated.faults.append(Fault(call="attacklist", times=1, **fault))
                    agent.cycle()
                    assert re.search(wrong, agent.error) and agent.taken == []
            if number == 2:
                simulated.unblocked.clear()
                agent.cycle(dies_after=2)
                agent.restart()
                died, agent.taken = agent.taken, []
            now, _ = attack_list.merge_responses(*lists(), filled)
            agent.cycle()
            taken, agent.taken = agent.taken, []
            messages = [json.loads(event["message"]) for event in taken]
            assert agent.error == "" and sorted(
                (message["@who"][0], message["name"], message["@who"][1], message["state"])
                for message in messages
            ) == [(*entry, state) for entry, state in attack_list.changes(before, now)]
            assert number != 2 or sorted(map(json.dumps, taken)) == sorted(map(json.dumps, died)), (
                "the same values, so the same ids"
            )
            assert (number in (0, 1, 2)) == (messages != []) and "SECRET" not in json.dumps(
                [agent.cursor, messages]
            )
            before = now
    finally:
        server.close()


def test_reports_of_pingintelligence():
    """Each is read once an hour; one that fails is reported and does not delay the others."""
    server = Server(pingintelligence.Simulator(pingintelligence.Knobs(be_name="ealier_date")))
    try:
        simulated = server.simulated
        wanted = [name for name in REPORTS if name != "threshold"]
        agent = new_agent(server, "pingintelligence.report", reports=wanted)
        simulated.faults.append(Fault(call="bc", times=1, status=500))
        agent.ago = 7_200
        agent.cycle()
        messages = [json.loads(event["message"]) for event in agent.taken]
        assert (
            "/v4/abs/bc: 500" in agent.error
            and [message for message in messages if "licence" in message] == messages[:1]
        )
        missing = {REPORTS["bc"].name} | {
            report.name for report in REPORTS.values() if report.admin
        }
        assert {(message["name"], message["api"]) for message in messages[1:]} == {
            (of.name, api)
            for of in REPORTS.values()
            if of.name not in missing
            for api in (simulated.apis if of.each else [""])
        }
        agent.restart()
        agent.taken = []
        agent.cycle()
        assert [json.loads(event["message"])["name"] for event in agent.taken] == [
            REPORTS["bc"].name
        ] and agent.error == ""
        agent.taken, agent.ago = [], 3_600
        agent.cycle()
        again = [json.loads(event["message"]) for event in agent.taken]
        assert (
            "licence" in again[0]
            and len(again) == len(messages) + 1
            and all(message["earlier"] < message["later"] for message in again[1:])
        )
    finally:
        server.close()


def test_a_report_that_is_none_is_told_and_the_others_are_read():
    """The form takes any text, for a list in Fleet has no options: every cycle says which name is
    wrong, and which are right."""
    server = Server(pingintelligence.Simulator())
    try:
        agent = new_agent(server, "pingintelligence.report", reports=["bc", "metric"])
        agent.ago = 3_600
        for wanted in ([REPORTS["bc"].name], []):
            agent.taken = []
            agent.cycle()
            assert agent.error == f'reports: "metric" is not one of {", ".join(REPORTS)}'
            messages = [json.loads(event["message"]) for event in agent.taken]
            names = {message["name"] for message in messages if "licence" not in message}
            assert sorted(names) == wanted
    finally:
        server.close()
