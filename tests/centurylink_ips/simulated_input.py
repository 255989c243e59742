"""Inputs against a simulated vendor, and results of its commands."""

from centurylink_ips import PLUGIN
from centurylink_ips.simulator import Knobs, Simulator

from siemtap.core.model import CommandContext
from siemtap.testing.world import World

WEB = "VA1ACMEWEB01"
OURS = "https://siem.example.com/centurylink_ips/3f9c1d7ab2e04c58/ACME"


def simulated_input(faults=(), settings=None, **knobs):
    simulated = Simulator(Knobs(**knobs))
    simulated.faults.extend(faults)
    return World(PLUGIN, simulated, **(settings or {}))


def run_command(world, command, *hosts, **options):
    return list(
        next(item for item in PLUGIN.commands if item.name == command).run(
            CommandContext(world.client, world.settings), hosts or (WEB,), **options
        )
    )


def results(outcomes):
    return [(outcome.subject, outcome.ok, outcome.message) for outcome in outcomes]
