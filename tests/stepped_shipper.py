"""A shipper inside the test process, without threads and waits: a test runs it step by step. Its
clock and that of its vendor are set by the test."""

from __future__ import annotations

import collections
import json
from email.utils import formatdate

from siemtap.core.windows import MINUTE
from siemtap.edge.client.http import Http
from siemtap.edge.clock import Clock
from siemtap.edge.store.checkpoints import Database
from siemtap.shipper.config.load import parse
from siemtap.shipper.process import Shipper
from siemtap.testing import simulation
from siemtap.testing.world import NOON


def delivered(folder, output, query):
    """Return the events in the files below folder/out, or those that a query returns from the
    database."""
    if output == "file":
        return [
            json.loads(line)
            for path in sorted((folder / "out").glob("*.ndjson"))
            for line in path.read_bytes().splitlines()
        ]
    database = Database(folder / "data/siemtap.db")
    try:
        return [json.loads(event) for (event,) in database.read(query)]
    finally:
        database.close()


class SteppedShipper:
    """A shipper and its vendor. `now`: the true time, which the vendor has. `shift`: how far the
    wall clock of the shipper is ahead. `date`: whether answers have a `Date` header."""

    def __init__(self, folder, simulated, plugin, into="file", date=True, more="", **settings):
        self.simulated, self.now, self.shift, self.date = simulated, NOON, 0, date
        entry = {
            "type": plugin,
            **simulated.settings("https://vendor.example.com/rest"),
            **settings,
        }
        outputs = {
            "file": f"output.file: {{path: {folder}/out}}",
            "sqlite": "output.sqlite: {retention: 30d}",
            "more": "",  # those of `more`
        }
        self.config = parse(
            f"path.data: {folder}/data\nhttp.enabled: false\n{more}\n{outputs[into]}\ninputs:"
            f" {json.dumps([entry])}\n"
        )
        self.folder, self.into = folder, into
        self.clock = Clock(lambda: self.now + self.shift, lambda: self.now / 1000)
        self.shipper = None

    def send(self, request, seconds):
        reply = simulation.in_memory(self.simulated, Clock(lambda: self.now))(request, seconds)
        headers = {name: value for name, value in reply.headers.items() if name != "date"}
        return reply._replace(
            headers={
                **headers,
                **({"date": formatdate(self.now // 1000, usegmt=True)} if self.date else {}),
            }
        )

    def start(self):
        self.stop()
        self.shipper = Shipper(
            self.config,
            clock=self.clock,
            https=lambda connection: Http(self.send, clock=self.clock),
        )
        return self

    def stop(self):
        if self.shipper:
            self.shipper.close()
            self.shipper = None

    def output_of_shipper(self):
        return self.shipper.delivery.outputs["default"].output

    def states(self):
        return [state for running in self.shipper.inputs.values() for state in running.states()]

    def run_turns(self, number, apart=MINUTE, tidy=False):
        """Run all units of all inputs `number` times, `apart` milliseconds from each other."""
        for _ in range(number):
            for running in self.shipper.inputs.values():
                for state in [running.discovery, *running.units.values()]:
                    state.due = min(state.due, self.clock.elapsed())
                running.run_due()
            if tidy:
                self.output_of_shipper().tidy()
            self.now += apart
        return self

    def ids(self):
        """Return how often each id was delivered."""
        return collections.Counter(event["event"]["id"] for event in self.events())

    def events(self):
        return delivered(self.folder, self.into, "SELECT event FROM event")

    def cursors(self):
        return {saved.unit: saved.mark.cursor for saved in self.shipper.checkpoints.all()}
