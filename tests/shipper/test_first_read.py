"""The first read begins where the first attempt began, however long the output takes nothing."""

import pytest
from shipper import clocks
from shipper.clocks import check

from siemtap.core.errors import Retry
from siemtap.core.windows import DAY, HOUR, MINUTE
from siemtap.testing.world import NOON

# fixtures
make_shipper = clocks.make_shipper


def be_away(stepped, monkeypatch):
    """Let the output take nothing until the returned function is called."""
    output = stepped.output_of_shipper()

    def refuse(unit, events, mark):
        raise Retry("the SIEM is away")

    monkeypatch.setattr(output, "deliver", refuse)
    return monkeypatch.undo


@pytest.mark.parametrize("plugin", ["apptrana", "pingintelligence"])
def test_an_output_that_is_away_from_the_start_on(make_shipper, monkeypatch, plugin):
    stepped = make_shipper(plugin, into="sqlite").start()
    come_back = be_away(stepped, monkeypatch)
    lookback = stepped.config.inputs[0].settings.lookback
    stepped.run_turns(2 * lookback // (10 * MINUTE), 10 * MINUTE)
    assert not stepped.ids() and not stepped.cursors()
    come_back()
    clocks.settle(stepped, plugin)
    check(stepped)
    rows = stepped.shipper.database.read("SELECT start, dataset FROM first_read")
    starts = [start for start, dataset in rows if dataset.endswith(".attack")]
    assert starts and max(starts) <= NOON - lookback, "the audit begins there, too"


def test_a_clock_that_was_years_behind_begins_no_read_of_years(make_shipper, monkeypatch):
    stepped = make_shipper(into="sqlite")
    stepped.shift = -400 * DAY
    come_back = be_away(stepped.start(), monkeypatch)
    stepped.run_turns(3)
    stepped.shift = 0
    come_back()
    stepped.run_turns(8)
    (state,) = stepped.states()
    assert state.first_read > NOON - 2 * HOUR
    check(stepped)
