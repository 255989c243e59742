"""A checkpoint in the future, written under a wrong clock, or without a time."""

import pytest
from shipper import clocks
from shipper.clocks import check, set_checkpoint, settle

from siemtap.core.model import Mark
from siemtap.core.windows import DAY, MINUTE, SECOND

pytestmark = pytest.mark.slow

# fixtures
make_shipper = clocks.make_shipper


@pytest.mark.parametrize(
    "shift", [40 * MINUTE, DAY, 31 * DAY, 10**15], ids=lambda shift: f"{shift // 1000}s"
)
@pytest.mark.parametrize("plugin", ["apptrana", "pingintelligence"])
@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
def test_checkpoint_in_the_future_is_reported_and_set_back(
    make_shipper, caplog, plugin, shift, date
):
    """Left by an older version of siemtap or by a flipped bit."""
    stepped = make_shipper(plugin, date=date).start()
    stepped.run_turns(3)
    stepped.now += 10 * MINUTE
    set_checkpoint(stepped, stepped.now + shift)
    stepped.start().run_turns(4)
    assert "which is in the future: the clock of this machine was ahead" in caplog.text
    settle(stepped, plugin)
    assert stepped.shipper.health() == (True, "ok")
    check(stepped)


NO_TIMES = {
    "float": lambda now: {"until": float(now + 30 * DAY)},
    "large": lambda now: {"until": 9e15},
    "text": lambda now: {"until": str(now)},
    "truth": lambda now: {"until": True},
    "nothing": lambda now: {"until": None},
    "asked": lambda now: {"until": now, "asked": 9e18},
    "none": lambda now: {"until": float("nan")},
    "list": lambda now: {"until": [now]},
}


NO_STRETCHES = {
    "number": lambda now: {"until": now, "skipped": 5},
    "text": lambda now: {"until": now, "skipped": [["a", 3]]},
    "one time": lambda now: {"until": now, "skipped": [[now]]},
    "half": lambda now: {"until": now, "skipped": [[now - 0.5, now]]},
    "stuck": lambda now: {"until": now, "stuck": [1]},
    "stuck at nothing": lambda now: {"until": now, "stuck": None},
}


@pytest.mark.parametrize(
    "plugin,wrong",
    [
        *(("apptrana", name) for name in [*NO_TIMES, *NO_STRETCHES]),
        *(("pingintelligence", name) for name in NO_TIMES),
    ],
)
@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
def test_checkpoint_without_a_time_is_rejected(make_shipper, caplog, plugin, wrong, date):
    """The unit is degraded and reports what to do, and no time range counts as read. After a
    repair it continues."""
    stepped = make_shipper(plugin, date=date).start()
    stepped.run_turns(3)
    before = stepped.cursors()
    value = {**NO_TIMES, **(NO_STRETCHES if wrong not in NO_TIMES else {})}[wrong](stepped.now)
    spoiled = [unit for unit in before if unit.dataset.endswith(".attack")]
    for unit in spoiled:
        stepped.shipper.checkpoints.save(unit, Mark(value))
    stepped.start().run_turns(4)
    states = [state for state in stepped.states() if state.unit in spoiled]
    assert spoiled and all(
        state.state == "degraded"
        and "ConfigError" in state.error
        and "siemtap state set" in state.error
        for state in states
    )
    assert not stepped.shipper.health()[0] and "unexpected" not in caplog.text
    for unit in spoiled:
        stepped.shipper.checkpoints.save(unit, Mark(before[unit]))
    settle(stepped.start(), plugin)
    assert stepped.shipper.health() == (True, "ok")
    check(stepped)


@pytest.mark.parametrize("date", [True, False], ids=["date", "no date"])
def test_skipped_range_that_ends_in_the_future_is_damage(make_shipper, caplog, date):
    stepped = make_shipper(date=date).start()
    stepped.run_turns(3)
    for unit, cursor in stepped.cursors().items():
        stepped.shipper.checkpoints.save(
            unit,
            Mark(
                {
                    **cursor,
                    "skipped": [
                        [stepped.now - DAY // 2, stepped.now - DAY // 2 + 1],
                        [stepped.now - 10 * MINUTE, stepped.now + 300 * DAY],
                    ],
                }
            ),
        )
    stepped.start().run_turns(12)
    assert "ends in the future" in caplog.text and stepped.shipper.health() == (True, "ok")
    assert all(len(cursor["skipped"]) == 1 for cursor in stepped.cursors().values())
    check(stepped)


def test_checkpoint_slightly_ahead_is_covered_by_the_overlap(make_shipper, caplog):
    stepped = make_shipper().start()
    stepped.run_turns(3)
    set_checkpoint(stepped, stepped.now + 60 * SECOND)
    stepped.start().run_turns(12)
    assert "in the future" not in caplog.text
    check(stepped)
