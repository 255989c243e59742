"""Odd values, and an installation with a good input and one whose vendor sends odd data."""

import collections
import copy
import json
import logging
from pathlib import Path

import pytest
from centurylink_ips import simulator as ips_simulator
from hypothesis import strategies as st
from pingintelligence import simulator as abs_simulator
from stepped_shipper import delivered

from apptrana import simulator as waf_simulator
from siemtap.edge.client.http import Http
from siemtap.edge.clock import Clock
from siemtap.shipper.config.load import parse
from siemtap.shipper.process import Shipper
from siemtap.testing import simulation
from siemtap.testing.world import NOON

SURROGATE = "\ud800"


ODD = [
    None,
    True,
    0,
    -1,
    1.5,
    float("nan"),
    float("inf"),
    2**63,
    -(2**70),
    10**40,
    "",
    "-",
    " ",
    SURROGATE,
    f"a{SURROGATE}b",
    "\0",
    "\u202e",
    "x" * 5_000,
    "0999-03-04T10:00:00.000Z",
    "0001-01-01T00:00:00+14:00",
    "99999-03-04T10:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "Thu Mar 05 03:39:12 UTC 0999",
    "Thu Mar 05 03:39:12 UTC 99999",
    "Wed Mar 04 10:02:13:417 0007",
    -62_135_596_800_000_000,
    253_402_300_800_000,
    "253402300800000",
    [],
    {},
    [None],
    [[]],
    {"a": SURROGATE},
    {SURROGATE: 1},
    {"": {"": []}},
    [1] * 50,
]


HEADERS = [
    {},
    {"date": "Wed, 04 Mar 99999 12:00:00 GMT"},
    {"date": "Thu, 01 Jan 0001 00:00:00 GMT"},
    {"date": "Fri, 31 Dec 9999 23:59:59 -9999"},
    {"date": SURROGATE},
    {"date": "(" * 500},
    {"retry-after": "9" * 5_000},
    {"retry-after": "Wed, 04 Mar 99999 12:00:00 GMT"},
    {"retry-after": "-5"},
    {"content-type": f"text/html{SURROGATE}"},
    {"location": f"https://x.example.com/?code={SURROGATE}"},
]


VENDORS = {
    "apptrana": lambda: waf_simulator.Simulator(
        waf_simulator.Knobs(rate=2.0, websites=("shop.example.com",))
    ),
    "centurylink_ips": lambda: ips_simulator.Simulator(ips_simulator.Knobs()),
    "pingintelligence": lambda: abs_simulator.Simulator(
        abs_simulator.Knobs(rate=0.02, apis=("shop",))
    ),
}


VENDOR_SETTINGS = {
    "apptrana": {"lookback": "10m", "datasets": ["attack", "activity"], "discover_websites": True},
    "centurylink_ips": {},
    "pingintelligence": {"lookback": "90m", "reports": ["metrics", "be", "discovery"]},
}


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(ODD),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(), max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)


each_vendor = pytest.mark.parametrize("vendor", list(VENDORS))


each_output = pytest.mark.parametrize("output", ["file", "sqlite"])


@pytest.fixture(autouse=True)
def no_waits_and_no_log(monkeypatch):
    """Do not wait between attempts, and do not log thousands of errors."""
    monkeypatch.setattr("siemtap.engine.cycle.random.uniform", lambda low, high: low)
    monkeypatch.setattr(logging.getLogger("siemtap"), "level", logging.CRITICAL)


class Installation:
    """A data folder, and shippers that each collect everything that is due."""

    def __init__(self, folder, inputs, output="sqlite", more=""):
        self.folder, self.output = Path(folder), output
        paths = {
            "file": f"output.file: {{path: {folder}/out}}",
            "sqlite": "output.sqlite: {retention: 0s}",
        }
        self.config = parse(
            f"path.data: {folder}/data\nhttp.enabled: false\n{more}\n{paths[output]}\ninputs:"
            f" {json.dumps(inputs)}\n"
        )
        self.clock = Clock(lambda: NOON)
        self.hosts = {}

    def send(self, request, seconds):
        return self.hosts[request.url.split("/")[2]](request, seconds)

    def shipper(self, **more):
        return Shipper(
            self.config,
            once=True,
            patience=0.0,
            clock=self.clock,
            https=lambda connection: Http(self.send, clock=self.clock),
            **more,
        )

    def run(self, payloads=()):
        """Run a shipper to its end; return the states of all units by name."""
        shipper = self.shipper()
        for running in shipper.inputs.values():
            if payloads and running.receiver:
                running.receiver.spool.append(list(payloads)).result(10)
        shipper.run()
        self.waiting = [
            running.receiver.spool.pending(running.received_until())
            for running in shipper.inputs.values()
            if running.receiver
        ]
        return {
            str(state.unit): state
            for running in shipper.inputs.values()
            for state in running.states()
        }

    def events(self):
        return delivered(
            self.folder,
            self.output,
            "SELECT event FROM event UNION ALL SELECT event FROM rejected",
        )

    def ids(self):
        return collections.Counter(event["event"]["id"] for event in self.events())


def errors_of_poison(states):
    """Return the errors of the units of the input `poison` that call the API."""
    return [
        state.error
        for name, state in states.items()
        if name.startswith("poison/") and not name.endswith("/received")
    ]


def answers(simulated):
    clock = Clock(lambda: NOON)
    return simulation.in_memory(simulated, clock)


def entry(vendor, id, simulated, **more):
    return {
        "type": vendor,
        "id": id,
        **simulated.settings(f"https://{id}.example.com/rest"),
        **VENDOR_SETTINGS[vendor],
        **more,
    }


def two_inputs(folder, vendor, output="sqlite", **more):
    """Return an installation with two inputs: `poison`, whose vendor may send anything, and
    `good`; and the simulator of `good`."""
    poison, good = (
        VENDORS[vendor](),
        waf_simulator.Simulator(
            waf_simulator.Knobs(rate=2.0, seed=7, websites=("shop.example.com",))
        ),
    )
    installation = Installation(
        folder,
        [
            entry(vendor, "poison", poison, **more),
            {
                "type": "apptrana",
                "id": "good",
                "lookback": "10m",
                **good.settings("https://good.example.com/rest"),
            },
        ],
        output,
    )
    installation.hosts = {"poison.example.com": answers(poison), "good.example.com": answers(good)}
    return installation, good


def check_good(installation, good, states):
    """Assert that the input `good` delivered its events and is ok."""
    expected = good.ledger(NOON, NOON - 9 * 60_000, NOON - 15_000)
    assert (
        len(expected) > 5
        and expected <= set(installation.ids())
        and all(state.state == "ok" for name, state in states.items() if name.startswith("good/"))
    )


def paths(value, path=()):
    yield path
    for key, inner in (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    ):
        yield from paths(inner, (*path, key))


def mutated(value, rng, odd):
    """Return the JSON value with one value or name in it replaced, or one removed."""
    value = copy.deepcopy(value)
    path = rng.choice(list(paths(value)))
    if not path:
        return odd
    place = value
    for key in path[:-1]:
        place = place[key]
    if rng.random() < 0.15:
        del place[path[-1]]
    elif rng.random() < 0.1 and isinstance(place, dict):
        place[rng.choice([SURROGATE, "", "@when", "@kind", "x" * 300])] = place.pop(path[-1])
    else:
        place[path[-1]] = odd
    return value


# Defects of siemtap


def failing_function(error, text="s3cret"):
    """Return a function that raises an error."""

    def raises(*arguments, **more):
        raise error(text)

    return raises
