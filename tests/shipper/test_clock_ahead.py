"""The local clock is ahead or behind for a while: in the end every event is delivered once, and
nothing is deleted."""

import pytest
from shipper import clocks
from shipper.clocks import check, settle, shifts

from siemtap.core.windows import SECOND

pytestmark = pytest.mark.slow

# fixtures
make_shipper = clocks.make_shipper


@shifts
@pytest.mark.parametrize("plugin", ["apptrana", "pingintelligence"])
@pytest.mark.parametrize("restart", ["never", "before", "after", "both"])
def test_clock_ahead_for_a_while(make_shipper, plugin, shift, restart):
    stepped = make_shipper(plugin).start()
    stepped.run_turns(3)
    stepped.shift = shift
    if restart in ("before", "both"):
        stepped.start()
    stepped.run_turns(4)
    limit = stepped.now + 5 * SECOND
    assert all(
        cursor.get(name, 0) <= limit
        for cursor in stepped.cursors().values()
        for name in ("until", "asked")
    ), "a cursor is in the future"
    healthy, why = stepped.shipper.health()
    lag = stepped.config.inputs[0].settings.lag
    assert healthy == (shift < lag) and ("is ahead of vendor.example.com by" in why) == (
        shift > lag
    ), why
    stepped.shift = 0
    if restart in ("after", "both"):
        stepped.start()
    settle(stepped, plugin)
    assert stepped.shipper.health() == (True, "ok")
    check(stepped)


@shifts
@pytest.mark.parametrize("plugin", ["apptrana", "pingintelligence"])
def test_clock_ahead_at_the_first_start(make_shipper, plugin, shift):
    stepped = make_shipper(plugin)
    stepped.shift = shift
    stepped.start().run_turns(5)
    stepped.shift = 0
    settle(stepped, plugin)
    check(stepped)


@shifts
def test_repeated_run_once_with_a_clock_that_stays_ahead(make_shipper, shift):
    """As started by cron: no start knows the clock of the vendor."""
    stepped = make_shipper()
    stepped.shift = shift
    for _ in range(8):
        stepped.start().run_turns(3, 20 * SECOND)
    check(stepped)


@shifts
def test_query_time_of_a_snapshot_is_not_in_the_future(make_shipper, shift):
    """A snapshot stores the time of its query before the response. A query with a time from the
    wrong clock is repeated."""
    stepped = make_shipper("centurylink_ips")
    stepped.shift = shift
    stepped.start().run_turns(1)
    stepped.start().run_turns(4)
    assert {state.state for state in stepped.states()} <= {"ok", "degraded"}
    assert (
        all(
            cursor.get(name, 0) <= stepped.now
            for cursor in stepped.cursors().values()
            for name in ("until", "asked")
        )
        and stepped.simulated.counts["notifications"] >= 3
    )
