"""Tests for plugins, ours and those of others.

    from acme import PLUGIN
    from siemtap.testing.contract import contract_of

    TestAcme = contract_of(PLUGIN)

world       an input against a simulator: a clock, an output and checkpoints in memory
cases       case folders: a request and its answer, and the events they give
contract    what every plugin must hold: nothing lost, nothing twice, no secret shown
vendor      the frame of a vendor's simulator: routes, faults, responses
simulation  runs a simulator, as a server or as a function
scaffold    `siemtap new`: the files of a new plugin
"""

import sys

if "pytest" in sys.modules:
    # failures of these assertions then show the values, in whatever package the tests are
    for module in ("cases", "cim", "contract"):
        sys.modules["pytest"].register_assert_rewrite(f"{__name__}.{module}")
