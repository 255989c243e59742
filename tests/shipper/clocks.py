"""Fixtures for the tests of wrong clocks: a shipper that runs step by step, and the check of its
events."""

import pytest
from centurylink_ips import simulator as ips
from pingintelligence import simulator as abs_
from stepped_shipper import SteppedShipper

from apptrana import simulator as waf
from siemtap.core.model import Mark
from siemtap.core.windows import DAY, MINUTE, SECOND
from siemtap.testing.world import NOON

AHEAD = [40 * SECOND, 7 * MINUTE, DAY, 31 * DAY]


shifts = pytest.mark.parametrize("shift", AHEAD, ids=lambda shift: f"{shift // 1000}s")


@pytest.fixture
def make_shipper(tmp_path):
    """Return a function that makes a shipper with a simulated vendor."""
    shippers = []

    def make(plugin="apptrana", **more):
        if plugin == "apptrana":
            simulated = waf.Simulator(
                waf.Knobs(rate=3.0, late=(0.0, 83.0), websites=("shop.example.com",))
            )
            shippers.append(
                SteppedShipper(
                    tmp_path, simulated, plugin, **{"lookback": "20m", "concurrency": 3, **more}
                )
            )
        elif plugin == "pingintelligence":
            shippers.append(
                SteppedShipper(
                    tmp_path,
                    abs_.Simulator(abs_.Knobs(rate=0.05)),
                    plugin,
                    **{"lookback": "2h", **more},
                )
            )
        else:
            shippers.append(
                SteppedShipper(
                    tmp_path, ips.Simulator(ips.Knobs()), plugin, servers=["VA1ACMEWEB01"]
                )
            )
        return shippers[-1]

    yield make
    for stepped in shippers:
        stepped.stop()


def settle(stepped, plugin):
    """Run until everything that happened is delivered: ABS is read half an hour late."""
    if plugin == "pingintelligence":
        stepped.run_turns(10, 5 * MINUTE).run_turns(1)
    else:
        stepped.run_turns(8)


def check(stepped, since=None, missing=0):
    """Assert that every event since the first lookback was delivered once, except up to
    `missing`."""
    lag, lookback = (
        stepped.config.inputs[0].settings.lag,
        stepped.config.inputs[0].settings.lookback,
    )
    got = stepped.ids()
    must = stepped.simulated.ledger(
        stepped.now, (since or NOON - lookback) + 2 * MINUTE, stepped.now - lag - 4 * MINUTE
    )
    assert len(must) > 20
    assert len(must - set(got)) <= missing, f"{len(must - set(got))} of {len(must)} are lost"
    assert max(got.values()) == 1, "doubled"


def set_checkpoint(stepped, until):
    """Set the checkpoint of the attack dataset to a time."""
    for unit in stepped.cursors():
        if unit.dataset.endswith(".attack"):
            stepped.shipper.checkpoints.save(unit, Mark({"until": until}))
