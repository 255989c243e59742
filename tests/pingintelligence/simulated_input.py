"""An input against a simulated ABS, and the check of the delivered attacks."""

from pingintelligence import PLUGIN, simulator

from siemtap.core.windows import MINUTE
from siemtap.testing.world import World

LAG = 30 * MINUTE


def simulated_input(
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


def attacks(world):
    """Return attack id -> number of deliveries."""
    deliveries = world.output.ids()
    return {
        event["event"]["id"]: deliveries[event["event"]["id"]]
        for event in world.output.kept
        if event["event"]["dataset"] == "pingintelligence.attack"
    }


def check(world, start, stop, latest=None):
    """Assert that every attack of the ledger in the time range was delivered once."""
    got = attacks(world)
    must = world.simulator.ledger(latest or world.time.now, start, stop)
    assert len(must) > 10 and must <= set(got), f"{len(must - set(got))} of {len(must)} are missing"
    assert max(got.values()) == 1
