"""AppTrana against its simulator: each knob and setting, with the ledger compared to the output."""

import dataclasses
import pathlib
import re

import pytest

from apptrana import simulator

from .simulated_input import check, simulated_input

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


@pytest.mark.slow
@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_no_event_is_lost_or_duplicated_with_any_knob(knobs):
    check(simulated_input(**knobs).cycles(8))


@pytest.mark.slow
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
def test_no_event_is_lost_or_duplicated_with_any_setting(settings):
    check(simulated_input(settings=settings).cycles(6))


@pytest.mark.parametrize("chosen", ["Log", "Block"])
def test_event_type_setting_has_its_own_cursor(chosen):
    world = simulated_input(settings={"event_type": chosen}, odd=False).cycles(2)
    assert [unit.scope for unit in world.units()] == [f"|{chosen}"]
    assert {event["apptrana"]["event_type"] for event in world.output.kept} == {chosen}


@pytest.mark.slow
def test_truncated_response_is_found_by_halving():
    """The service returns at most 30 attacks without reporting it; `split_at` 30 finds the
    others."""
    check(simulated_input(settings={"split_at": 30}, cap=30).cycles(3))


@pytest.mark.slow
def test_second_with_a_full_response_is_reported():
    world = simulated_input(
        settings={"split_at": 1, "lookback": "2m"}, odd=False, rate=30.0
    ).cycles(1)
    assert any(
        "cut short" in event["message"]
        for event in world.output.kept
        if event["event"]["kind"] == "pipeline_error"
    )


@pytest.mark.slow
def test_every_knob_is_set_by_a_test():
    text = "".join(path.read_text() for path in pathlib.Path(__file__).parents[1].rglob("*.py"))
    knobs = [field.name for field in dataclasses.fields(simulator.Knobs)]
    assert [name for name in knobs if not re.search(rf'\b{name}=|"{name}":|\.{name}\b', text)] == []
