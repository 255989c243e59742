"""A simulated AppTrana, an input that reads it, and the check of what was delivered."""

from apptrana import PLUGIN, simulator, simulator_attacks
from siemtap.core.model import Unit
from siemtap.core.windows import MINUTE, SECOND
from siemtap.testing.world import NOON, World

ATTACKS = Unit("apptrana", "apptrana.attack")


def vendor(faults=(), **knobs):
    return simulator.Simulator(simulator.Knobs(**{"rate": 8.0, **knobs}), list(faults))


def simulated_input(faults=(), settings=None, time=None, **knobs):
    return World(
        PLUGIN, vendor(faults, **knobs), time=time, **{"lookback": "40m", **(settings or {})}
    )


def check(world, margin=100 * SECOND):
    """Assert that every readable attack was delivered once, and nothing else, and that no secret
    of the vendor or of the account is shown."""
    got = world.output.ids()
    start = NOON - 40 * MINUTE
    must = world.simulator.ledger(world.time.now, start, world.until() - margin)
    may = world.simulator.ledger(world.time.now, start - 10 * MINUTE, world.time.now + 1)
    lost = [event["event"]["id"] for event in world.output.kept if "start" in event["event"]]
    assert len(must) > 100
    assert must - set(got) == set()
    assert set(got) - may - set(lost) == set()
    assert max(got.values()) == 1
    shown = world.shown()
    leaked = [
        secret
        for secret in (
            simulator_attacks.COOKIE,
            simulator_attacks.BEARER,
            "demo-secret",
            *(token for token, _ in world.simulator.tokens.values()),
        )
        if secret in shown
    ]
    assert leaked == []
