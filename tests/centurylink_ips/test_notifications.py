"""The commands that read, set and verify notification destinations."""

import json
from types import SimpleNamespace

import pytest
from centurylink_ips import commands
from centurylink_ips.simulator import Knobs, Simulator

from siemtap.core.errors import ConfigError
from siemtap.core.model import CommandContext
from siemtap.testing import simulation

from .simulated_input import OURS, WEB, results, run_command, simulated_input


@pytest.mark.parametrize("nothing", ["list", "404"])
@pytest.mark.parametrize("key", ["intervalCode", "IntervalCod"])
@pytest.mark.parametrize("strict", [False, True])
def test_destinations_set_by_others_are_kept(nothing, key, strict):
    world = simulated_input(nothing_set=nothing, interval_key=key, reject_unknown_keys=strict)
    assert results(run_command(world, "notifications list")) == [(WEB, True, "none set")]
    world.simulator.destinations[WEB] = [
        {"typeCode": "EMAIL", "emailAddress": "soc@example.com"},
        {"typeCode": "SLACK", "url": "https://chat.example.com/hook"},
    ]
    (dry,) = run_command(world, "notifications add", webhook=OURS, dry_run=True)
    assert (
        dry.message == "would change: + WEBHOOK https://siem.example.com/centurylink_ips/…"
        and len(world.simulator.destinations[WEB]) == 2
    )
    (outcome,) = run_command(world, "notifications add", webhook=OURS, syslog="192.0.2.10:514/17")
    assert outcome.ok, outcome.message
    current = {
        (
            destination["typeCode"],
            destination.get("url")
            or destination.get("emailAddress")
            or json.dumps(destination["sysLogSettings"]),
        )
        for destination in world.simulator.destinations[WEB]
    }
    assert current == {
        ("EMAIL", "soc@example.com"),
        ("SLACK", "https://chat.example.com/hook"),
        ("WEBHOOK", OURS),
        ("SYSLOG", '{"ipAddress": "192.0.2.10", "udpPort": 514, "facility": 17}'),
    }
    assert run_command(world, "notifications add", webhook=OURS)[0].message == "no change needed"
    assert (
        run_command(world, "notifications remove", webhook=OURS, email="nobody@example.com")[
            0
        ].message
        == "- WEBHOOK https://siem.example.com/centurylink_ips/…"
    )
    assert len(world.simulator.destinations[WEB]) == 3


def test_webhook_of_others_is_replaced_only_with_replace():
    world = simulated_input()
    world.simulator.destinations[WEB] = [
        {"typeCode": "WEBHOOK", "url": "https://other.example.com/x"}
    ]
    (refused,) = run_command(world, "notifications add", webhook=OURS)
    assert (
        not refused.ok
        and "at most one WEBHOOK; add --replace" in refused.message
        and world.simulator.destinations[WEB][0]["url"] == "https://other.example.com/x"
    )
    assert run_command(world, "notifications add", webhook=OURS, replace=True)[0].ok and [
        destination["url"] for destination in world.simulator.destinations[WEB]
    ] == [OURS]
    (refused,) = run_command(world, "notifications set", email="soc@example.com")
    assert not refused.ok and "would be removed; add --replace" in refused.message
    assert run_command(world, "notifications set", email="soc@example.com", replace=True)[
        0
    ].ok and world.simulator.destinations[WEB] == [
        {"typeCode": "EMAIL", "emailAddress": "soc@example.com"}
    ]


def test_concurrent_change_of_the_list_is_read_again_or_reported(monkeypatch):
    world = simulated_input(meddle=True)
    (outcome,) = run_command(world, "notifications add", webhook=OURS)
    assert outcome.ok and {
        destination["typeCode"] for destination in world.simulator.destinations[WEB]
    } == {
        "EMAIL",
        "WEBHOOK",
    }, "a destination added between two reads must be kept"
    really = world.client.set_destinations
    monkeypatch.setattr(
        world.client,
        "set_destinations",
        lambda server, wanted: (
            really(server, wanted),
            world.simulator.destinations[WEB].append(
                {"typeCode": "SLACK", "url": "https://chat.example.com/a/x"}
            ),
        ),
    )
    (outcome,) = run_command(world, "notifications remove", webhook=OURS)
    assert (
        not outcome.ok
        and "SLACK https://chat.example.com/a/… was set by another client" in outcome.message
    )
    answers = iter(
        [[{"typeCode": "EMAIL", "emailAddress": f"{number}@example.com"}] for number in range(9)]
    )
    monkeypatch.setattr(world.client, "destinations", lambda server: next(answers))
    assert (
        "another client is changing"
        in run_command(world, "notifications add", webhook=OURS)[0].message
    )


def test_vendor_error_is_reported():
    world = simulated_input(reject_slack=True)
    (outcome,) = run_command(world, "notifications add", slack="https://chat.example.com/hook")
    assert (
        not outcome.ok
        and "typeCode SLACK is not supported" in outcome.message
        and WEB not in world.simulator.destinations
    )
    world = simulated_input(unknown_server=404)
    assert "does not exist" in run_command(world, "notifications list", "NOWHERE")[0].message


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "use at least one of --webhook"),
        ({"webhook": "siem.example.com"}, "a URL with http"),
        ({"email": "soc"}, "not an email address"),
        ({"syslog": "12345"}, "not an IP address"),
        ({"syslog": "192.0.2.10:99999"}, "not valid"),
        ({"syslog": "192.0.2.10:514/3"}, "16 to 23"),
        ({"syslog": "siem.example.com:514"}, "not an IP address"),
    ],
)
def test_invalid_options_are_rejected_without_a_request(options, message):
    world = simulated_input()
    with pytest.raises(ConfigError, match=message):
        run_command(world, "notifications add", **options)
    assert world.simulator.counts == {}


def test_numbers_are_sent_as_json_integers():
    """The example of the vendor's page quotes them, its table says Integer. A server that
    accepts both accepts integers."""
    world = simulated_input(quoted_numbers=True)
    assert (
        run_command(world, "notifications add", syslog="192.0.2.10:8081")[0].ok
        and world.simulator.destinations[WEB][0]["sysLogSettings"]["udpPort"] == 8081
    )
    for status in (204, 404):
        direct = Simulator(Knobs(delete_twice=status))
        direct.tokens["t"] = 10**15
        answers = [
            direct.answer(
                simulation.Request(
                    "DELETE",
                    f"https://vendor.example.com/ips/api/notifications/ACME/{WEB}",
                    {"Authorization": "Bearer t", "Content-Type": "application/json"},
                ),
                0,
            ).status
            for _ in range(2)
        ]
        assert answers == [status, status]


def test_verify_command(tmp_path):
    world = simulated_input(
        settings={"our_url": "https://siem.example.com/centurylink_ips", "our_syslog": ""}
    )
    world.simulator.destinations[WEB] = [
        {
            "typeCode": "SYSLOG",
            "sysLogSettings": {"ipAddress": "192.0.2.10", "udpPort": 514, "facility": 16},
        }
    ]
    (outcome,) = run_command(world, "verify")
    assert (
        not outcome.ok
        and "no destination is this input; current destinations: SYSLOG 192.0.2.10:514/16"
        in outcome.message
        and "no event received yet" in outcome.message
    )
    world = simulated_input(settings={"our_syslog": "192.0.2.10:514"})
    world.simulator.destinations[WEB] = [
        {
            "typeCode": "SYSLOG",
            "sysLogSettings": {"ipAddress": "192.0.2.10", "udpPort": 514, "facility": 16},
        }
    ]
    outcome = next(
        commands.verify(CommandContext(world.client, world.settings, 1_772_618_400_000), (WEB,))
    )
    assert (
        outcome.ok
        and "it sends its events here" in outcome.message
        and "last event at 2026-03-04T10:00:00.000Z" in outcome.message
    )


def test_verify_names_the_setting_that_it_needs():
    """Whether the input listens is no matter: the vendor's way to it is not known."""
    (outcome,) = run_command(simulated_input(), "verify")
    assert not outcome.ok and "configured" not in outcome.message
    assert "`our_url` and `our_syslog` are not set" in outcome.message
    assert "the listener cannot be checked: set `our_url` to the webhook's URL" in outcome.message


@pytest.mark.parametrize(
    "status, sentence", [(405, "the listener answers"), (404, "of this input (it sent 404)")]
)
def test_verify_asks_our_listener(status, sentence):
    server = simulation.Server(SimpleNamespace(answer=lambda *_: simulation.Answer(status)))
    url = f"{server.url}/centurylink_ips/3f9c1d7ab2e04c58"
    world = simulated_input(settings={"our_url": url})
    world.simulator.destinations[WEB] = [{"typeCode": "WEBHOOK", "url": url}]
    (outcome,) = run_command(world, "verify")
    server.close()
    assert outcome.ok is (status == 405) and sentence in outcome.message
    (outcome,) = run_command(world, "verify")
    assert not outcome.ok and "the listener does not answer" in outcome.message
    assert "3f9c1d7ab2e04c58" not in outcome.message
