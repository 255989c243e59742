"""A vendor, a clock and an output in memory: what the tests of the loop play with."""

from __future__ import annotations

import collections
import json

from siemtap.core.convert import instant, millis_of
from siemtap.core.errors import Retry, SiemtapError
from siemtap.core.forms import Every
from siemtap.core.manifest import fill_in
from siemtap.core.model import Mark, Unit
from siemtap.edge.clock import Clock
from siemtap.edge.http import Http
from siemtap.engine import InDoubt, Then, collected, pump, voice
from siemtap.outputs import ids_of
from siemtap.runners import simulate

NOON = millis_of(instant("2026-03-04T12:00:00.000Z"))


class Crash(BaseException):
    """The process is gone."""


class Fuse:
    """The n-th step is the last."""

    def __init__(self, steps=None):
        self.steps, self.taken = steps, 0

    def step(self):
        self.taken += 1
        if self.steps is not None and self.taken > self.steps:
            raise Crash


class Time:
    """Stands still until told to go on."""

    def __init__(self, now=NOON):
        self.now = now
        self.clock = Clock(lambda: self.now, lambda: self.now / 1000)


class Memory:
    """An output that keeps events in a list, one step each."""

    together = False

    def __init__(self, fuse=None):
        self.fuse, self.kept = fuse or Fuse(), []

    def deliver(self, unit, events, mark):
        for event in events:
            self.fuse.step()
            self.kept.append(event)

    def holds(self, unit, events):
        return ids_of(self.kept) & ids_of(events)

    def ids(self):
        return collections.Counter(event["event"]["id"] for event in self.kept)

    def close(self):
        pass


class Marks:
    """Checkpoints in memory, through JSON as on disk."""

    def __init__(self, fuse=None):
        self.fuse, self.saved = fuse or Fuse(), {}

    def load(self, unit):
        return Mark.from_json(json.loads(self.saved[unit])) if unit in self.saved else Mark()

    def save(self, unit, mark):
        self.fuse.step()
        self.saved[unit] = json.dumps(mark.to_json())


class World:
    """One input against a simulator, without sockets and without waiting."""

    def __init__(
        self,
        plugin,
        simulator,
        time=None,
        output=None,
        marks=None,
        fuse=None,
        every=None,
        **settings,
    ):
        self.plugin, self.simulator, self.time = plugin, simulator, time or Time()
        self.output, self.marks, self.fuse = output or Memory(), marks or Marks(), fuse or Fuse()
        self.settings = fill_in(
            plugin.settings, {**simulator.settings("https://vendor.example.com/rest"), **settings}
        )
        self.say = voice(plugin, self.settings, fill_in(Every, every or {}), {}, lambda: None)
        self.errors = []
        self.start()

    def start(self):
        """A new process: a new client, and what the old one left is in doubt."""
        self.http = Http(self.send, clock=self.time.clock)
        self.client = self.plugin.connect(self.settings, self.http)
        self.in_doubt, self.unmarked = True, set()

    def send(self, request, seconds):
        self.fuse.step()
        return simulate.in_memory(self.simulator, self.time.clock)(request, seconds)

    def units(self):
        return [Unit("it", *place) for place in self.plugin.units(self.client, self.settings)]

    def attempt(self, unit):
        mark = self.marks.load(unit)
        output = (
            Then(
                InDoubt(self.output, self.unmarked) if self.in_doubt else self.output,
                self.marks,
                self.unmarked,
            )
            if not self.output.together
            else self.output
        )
        times = (getattr(self.settings, name, 0) for name in ("overlap", "lookback"))
        pump(
            unit,
            mark,
            collected(self.plugin, self.client, unit, mark.cursor, self.http, *times),
            self.say,
            output,
        )

    def cycle(self, attempts=40):
        """Every unit to its end, as a runner would: again and again after an error, time passing
        in between."""
        for unit in self.again(self.units, attempts):
            self.again(lambda unit=unit: self.attempt(unit), attempts)
        self.in_doubt = False

    def again(self, work, attempts):
        for _ in range(attempts):
            try:
                return work()
            except SiemtapError as error:
                self.errors.append(error)
                self.in_doubt = True
                self.time.now += max(error.after, 1000) if isinstance(error, Retry) else 1000
        raise self.errors[-1]

    def cycles(self, number, apart=60_000):
        for _ in range(number):
            self.cycle()
            self.time.now += apart
        return self

    def until(self):
        return min(self.marks.load(unit).cursor["until"] for unit in self.units())

    def shown(self):
        """All that a person or an output could see."""
        return (
            json.dumps(self.output.kept)
            + "".join(map(str, self.errors))
            + "".join(map(repr, self.errors))
        )
