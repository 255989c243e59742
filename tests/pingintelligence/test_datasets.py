"""The deny list, the licence and other reports, and attack.log as a file."""

import pytest
from pingintelligence import PLUGIN, simulator

from siemtap.core.errors import ConfigError
from siemtap.core.windows import HOUR, MINUTE
from siemtap.testing.world import NOON, Crash, Fuse, Time, World

from .simulated_input import simulated_input


@pytest.mark.slow
def test_collect_sends_no_changes_and_no_forensics_requests():
    world = simulated_input(
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
    assert {request.method for request in world.simulator.requests} == {
        "GET"
    } and not world.simulator.counts.get("abs")
    reports = [
        event
        for event in world.output.kept
        if event["event"]["dataset"] == "pingintelligence.report"
    ]
    assert (
        len({event["pingintelligence"]["report"] for event in reports}) == 13
        and "SECRET-" not in world.shown()
    )
    metrics = [
        event
        for event in reports
        if event["pingintelligence"]["report"] == "api_metrics"
        and event["service"]["name"] == "shop"
    ]
    assert len(metrics) == 2, "once an hour"


def test_report_that_only_the_admin_user_may_read():
    with pytest.raises(ConfigError, match="use `role: admin`"):
        simulated_input(settings={"reports": ["threshold"]})
    assert (
        "api_threshold"
        in simulated_input(role="admin", settings={"reports": ["threshold"]}).cycles(1).shown()
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["plain", "wrapped", "objects"])
@pytest.mark.parametrize("filters", [True, False])
def test_deny_list_changes_become_events(form, filters):
    world = simulated_input(list_form=form, list_filter=filters).cycles(20, 10 * MINUTE)
    states_by_client = {}
    for event in world.output.kept:
        if event["event"]["dataset"] == "pingintelligence.attacklist":
            fields = event["pingintelligence"]
            identifier = (
                event.get("source", {}).get("ip")
                or event.get("user", {}).get("name")
                or event["related"]["hash"][0]
            )
            client = (fields["identifier"]["type"], identifier)
            states_by_client.setdefault(client, []).append(fields["state"])
    assert any(len(states) > 1 and states[0] == "active" for states in states_by_client.values())
    assert states_by_client[("username", "anna")] == ["active"]
    if filters or form == "objects":
        assert ["active", "expired", "removed"] in states_by_client.values()
    assert all(
        states
        in (
            ["active"],
            ["active", "expired"],
            ["active", "expired", "removed"],
            ["active", "removed"],
        )
        or states[0] in ("expired", "removed")
        for states in states_by_client.values()
    )
    assert max(world.output.ids().values()) == 1 and "SECRET-" not in world.shown()


def test_crash_between_query_and_response_emits_a_change_once():
    simulated = simulator.Simulator(simulator.Knobs(rate=0.0))
    for steps in range(40):
        world, done = simulated_input(simulated=simulated, time=Time(), fuse=Fuse()), False
        unit = next(unit for unit in world.units() if unit.dataset == "pingintelligence.attacklist")
        world.fuse.steps = world.fuse.taken + steps
        world.output.fuse = world.marks.fuse = world.fuse
        try:
            world.attempt(unit)
            done = True
        except Crash:
            world.fuse.steps = None
            world.time.now += 3 * MINUTE
            world.start()
            world.attempt(unit)
        assert max(world.output.ids().values()) == 1 and len(world.output.kept) >= 9
    assert done


def test_attack_log_is_followed_across_rotation(tmp_path):
    log, simulated = tmp_path / "attack.log", simulator.Simulator(simulator.Knobs(rate=0.02))
    sent = list(simulated.pushed(NOON - 2 * HOUR, NOON))
    lines = [message.body.decode().partition(" Audit - ")[2] for message in sent]
    log.write_text("".join(f"{line}\n" for line in lines[:50]) + lines[50][:30])
    world = World(PLUGIN, simulated, url=[], attack_log=str(log), lookback="2h")
    world.cycles(2)
    assert len(world.output.kept) == 50
    with log.open("a") as file:
        file.write(lines[50][30:] + "\n" + lines[51] + "\n")
    log.rename(tmp_path / "attack.log.2026-03-04")
    log.write_text("".join(f"{line}\n" for line in lines[52:]))
    world.start()
    world.cycles(1)
    assert (
        set(world.output.ids()) == {id for message in sent for id in message.ids}
        and max(world.output.ids().values()) == 1
    )
