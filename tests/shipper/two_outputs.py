"""A shipper with two outputs of which one may be down, run step by step."""

import collections
import json

import pytest
from stepped_shipper import SteppedShipper

from apptrana import simulator
from siemtap.core.errors import Retry
from siemtap.core.windows import MINUTE
from siemtap.shipper.config.load import parse

INPUT = "inputs:\n  - {type: apptrana, client_id: a, client_secret: b%s}\n"
FILES = "outputs:\n  siem: {type: file, path: %s/siem}\n  archive: {type: file, path: %s/archive}\n"


class TwoOutputs(SteppedShipper):
    """A shipper with the file outputs siem and archive. `dead`: the names of those that fail."""

    def __init__(self, folder, rate=1.0, more="", **settings):
        settings = {"output": ["siem", "archive"], "lookback": "10m", **settings}
        super().__init__(
            folder,
            simulator.Simulator(simulator.Knobs(rate=rate)),
            "apptrana",
            into="more",
            more=FILES % (folder, folder) + more,
            **settings,
        )
        self.dead = set()

    def start(self):
        super().start()
        for name, output in self.shipper.delivery.outputs.items():
            deliver = output.output.deliver

            def refuse(unit, events, mark, name=name, deliver=deliver):
                if name in self.dead:
                    raise Retry(f"{name} is down")
                return deliver(unit, events, mark)

            output.output.deliver = refuse
        return self

    def run_turns(self, number, apart=MINUTE, tidy=False):
        for _ in range(number):
            super().run_turns(1, 0)
            for reader in self.shipper.delivery.readers.values():
                if not reader.done and reader.cycle.due <= self.clock.elapsed():
                    reader.run_due()
            self.now += apart
        return self

    def ids_of(self, name):
        """Return how often each id is in an output."""
        return collections.Counter(
            json.loads(line)["event"]["id"]
            for path in (self.folder / name).glob("*.ndjson")
            for line in path.read_bytes().splitlines()
        )

    def expected(self, since):
        """Return the ids that the vendor made up to what is read by now."""
        return self.simulated.ledger(self.now, since, self.now - 5 * MINUTE)


@pytest.fixture
def two(tmp_path):
    shippers = []

    def make(**more):
        shippers.append(TwoOutputs(tmp_path, **more))
        return shippers[0]

    yield make
    for shipper in shippers:
        shipper.stop()


def clusters():
    """Return a cluster with two different hosts."""
    return [
        parse(
            f"outputs: {{cluster: {{type: elasticsearch, hosts: ['{host}']}}}}\n" + INPUT % ""
        ).output
        for host in ("http://127.0.0.1:9200", "http://127.0.0.2:9200")
    ]
