"""The dataset of notification destinations."""

import json

import pytest
from centurylink_ips import PLUGIN

from siemtap.core.errors import ConfigError, Retry
from siemtap.testing.simulation import Fault

from .simulated_input import OURS, WEB, simulated_input


def events(world):
    return [
        (
            event["host"]["name"],
            event["centurylink_ips"]["state"],
            event["event"]["type"][0],
            event["message"],
        )
        for event in world.output.kept
    ]


def test_first_events_are_a_baseline_and_later_ones_changes():
    world = simulated_input(
        settings={"servers": [WEB], "our_url": "https://siem.example.com/centurylink_ips"}
    )
    world.simulator.destinations[WEB] = [
        {"typeCode": "WEBHOOK", "url": OURS},
        {"typeCode": "EMAIL", "emailAddress": "soc@example.com"},
    ]
    world.cycles(3, 900_000)
    assert events(world) == [
        (WEB, "set", "info", f"{WEB}: EMAIL destination is set"),
        (WEB, "set", "info", f"{WEB}: WEBHOOK destination is set"),
    ]
    assert "3f9c1d7ab2e04c58" not in world.shown() + json.dumps(list(world.marks.saved.values())), (
        "the secret of the URL is shown"
    )
    world.output.kept.clear()
    world.simulator.destinations[WEB] = [
        {"typeCode": "WEBHOOK", "url": "https://other.example.com/x"},
        {
            "typeCode": "SYSLOG",
            "sysLogSettings": {"ipAddress": "192.0.2.10", "udpPort": 514, "facility": 16},
        },
    ]
    world.cycles(2, 900_000)
    assert [destination[1:3] for destination in events(world)] == [
        ("changed", "change"),
        ("removed", "deletion"),
        ("created", "creation"),
        ("not_here", "change"),
    ]
    assert world.output.kept[2]["centurylink_ips"]["destination"] == {
        "type_code": "SYSLOG",
        "syslog": {"ip": "192.0.2.10", "port": 514, "facility": 16},
    }
    world.output.kept.clear()
    world.simulator.destinations[WEB] = [{"typeCode": "WEBHOOK", "url": OURS}]
    world.cycles(2, 900_000)
    assert [destination[1] for destination in events(world)] == [
        "changed",
        "removed",
        "here",
    ] and max(world.output.ids().values()) == 1


def test_query_after_a_crash_gives_the_same_records():
    world = simulated_input(settings={"servers": [WEB]})
    world.simulator.destinations[WEB] = [{"typeCode": "WEBHOOK", "url": OURS}]
    (unit,) = world.units()
    first, second = PLUGIN.collect(world.client, unit, {}, world.time.now)
    assert (
        first.records == []
        and first.cursor == {"asked": world.time.now}
        and len(second.records) == 1
    )
    (again,) = PLUGIN.collect(world.client, unit, first.cursor, world.time.now + 60_000)
    assert again.records == second.records and again.cursor == second.cursor


def test_rejected_server_does_not_delay_others():
    world = simulated_input(settings={"servers": ["NOWHERE", WEB]})
    world.simulator.destinations[WEB] = [{"typeCode": "WEBHOOK", "url": OURS}]
    wrong, good = world.units()
    with pytest.raises(ConfigError, match="does not exist"):
        world.attempt(wrong)
    world.attempt(good)
    assert len(world.output.kept) == 1
    world.simulator.faults.append(Fault("notifications", 1, 503, retry_after="7"))
    with pytest.raises(Retry) as error:
        world.attempt(good)
    assert error.value.after == 7_000
