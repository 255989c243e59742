"""The shipper in this process, without threads and without waiting: a clock of its own, a vendor
with another, one turn after the other."""

from __future__ import annotations

import collections
import json
from email.utils import formatdate

from siemtap.core.windows import MINUTE
from siemtap.edge.checkpoints import Database
from siemtap.edge.clock import Clock
from siemtap.edge.http import Http
from siemtap.runners import simulate
from siemtap.runners.config import parse
from siemtap.runners.shipper import Shipper
from world import NOON


def delivered(folder, output, query):
    """The events in the files below folder/out, or those that the query finds in the database."""
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


class Life:
    """`now`: the true time, and the vendor's. `shift`: how far our wall clock is ahead of it.
    `date`: whether the vendor says what time it is."""

    def __init__(self, folder, simulated, plugin, output="file", date=True, more="", **settings):
        self.simulated, self.now, self.shift, self.date = simulated, NOON, 0, date
        entry = {
            "type": plugin,
            **simulated.settings("https://vendor.example.com/rest"),
            **settings,
        }
        places = {
            "file": f"output.file: {{path: {folder}/out}}",
            "sqlite": "output.sqlite: {retention: 30d}",
        }
        self.config = parse(
            f"path.data: {folder}/data\nhttp.enabled: false\n{more}\n{places[output]}\ninputs:"
            f" {json.dumps([entry])}\n"
        )
        self.folder, self.output = folder, output
        self.clock = Clock(lambda: self.now + self.shift, lambda: self.now / 1000)
        self.shipper = None

    def send(self, request, seconds):
        reply = simulate.in_memory(self.simulated, Clock(lambda: self.now))(request, seconds)
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

    def states(self):
        return [state for running in self.shipper.inputs.values() for state in running.states()]

    def turns(self, number, apart=MINUTE, tidy=False):
        """Turns of every input, time passing in between; each begins with what waits being due."""
        for _ in range(number):
            for running in self.shipper.inputs.values():
                for state in [running.discovery, *running.units.values()]:
                    state.due = min(state.due, self.clock.elapsed())
                running.turn()
            if tidy:
                self.shipper.sink.tidy()
            self.now += apart
        return self

    def ids(self):
        """How often each id came out."""
        return collections.Counter(event["event"]["id"] for event in self.events())

    def events(self):
        return delivered(self.folder, self.output, "SELECT event FROM event")

    def cursors(self):
        return {saved.unit: saved.mark.cursor for saved in self.shipper.checkpoints.all()}
