"""One input against a simulator: without sockets, without waiting, with a crash at any step."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Set, TypeVar

from ..core.convert import instant, millis_of
from ..core.errors import SiemtapError
from ..core.events import ids_of
from ..core.manifest import fill_in
from ..core.model import Mark, Plugin, Unit
from ..core.rows import Event
from ..core.settings import CommonSettings
from ..core.windows import Millis
from ..edge.client.http import Http
from ..edge.client.messages import Reply, Request
from ..edge.clock import Clock
from ..engine.cycle import Cycle, Fault
from ..engine.feeds import pulled_batches
from ..engine.mapper import batch_mapper
from ..engine.protocols import CheckpointStore, Feed, Output, Rejections, Sink
from ..engine.pump import pump
from ..engine.sinks import CheckpointAfter, SkipDelivered
from .simulation import in_memory

NOON: Millis = millis_of(instant("2026-03-04T12:00:00.000Z"))
INTERVAL = 60.0  # seconds between two cycles

Result = TypeVar("Result")


class Crash(BaseException):
    """The process is gone."""


class Fuse:
    """Crash after a number of steps; None: never."""

    def __init__(self, steps: Optional[int] = None) -> None:
        self.steps = steps
        self.taken = 0

    def step(self) -> None:
        self.taken += 1
        if self.steps is not None and self.taken > self.steps:
            raise Crash


class Time:
    """A clock that stands still until `now` is set."""

    def __init__(self, now: Millis = NOON) -> None:
        self.now = now
        self.clock = Clock(lambda: self.now, lambda: self.now / 1000)


class Memory:
    """An output that keeps events in a list. Each event is a step."""

    together = False

    def __init__(self, fuse: Optional[Fuse] = None) -> None:
        self.fuse = fuse or Fuse()
        self.kept: List[Event] = []

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        for event in events:
            self.fuse.step()
            self.kept.append(event)
        return []

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        return ids_of(self.kept) & ids_of(events)

    def ids(self) -> Counter[str]:
        """Return how often each id was delivered."""
        return Counter(event["event"]["id"] for event in self.kept)

    def close(self) -> None:
        """Do nothing."""


class Marks:
    """Checkpoints in memory, through JSON as on disk. Each save is a step."""

    def __init__(self, fuse: Optional[Fuse] = None) -> None:
        self.fuse = fuse or Fuse()
        self.saved: Dict[Unit, str] = {}

    def load(self, unit: Unit) -> Mark:
        return Mark.from_json(json.loads(self.saved[unit])) if unit in self.saved else Mark()

    def save(self, unit: Unit, mark: Mark) -> None:
        self.fuse.step()
        self.saved[unit] = json.dumps(mark.to_json())


class World:
    """One input of a plugin, its simulator, an output and the checkpoints.

    `cycles(n)` reads as a runner does, with a minute between two cycles, from NOON on. `output` has
    what was delivered, `errors` what went wrong; `read_at` is when the last cycle began.

    `settings`: of the input, over those that the simulator needs. Each request, each event and each
    save is a step of `fuse`.
    """

    def __init__(
        self,
        plugin: Plugin,
        simulator: Any,
        time: Optional[Time] = None,
        output: Optional[Output] = None,
        marks: Optional[CheckpointStore] = None,
        fuse: Optional[Fuse] = None,
        common: Optional[Dict[str, Any]] = None,
        **settings: Any,
    ) -> None:
        self.plugin = plugin
        self.simulator = simulator
        self.time = time or Time()
        self.output: Any = output or Memory()
        self.marks: Any = marks or Marks()
        self.fuse = fuse or Fuse()
        needed = simulator.settings("https://vendor.example.com/rest")
        self.settings = fill_in(plugin.settings, {**needed, **settings})
        self.map_batch = batch_mapper(
            plugin,
            self.settings,
            fill_in(CommonSettings, common or {}),
            added_fields={},
            created=lambda: "",
        )
        self.errors: List[SiemtapError] = []
        self.read_at: Millis = self.time.now
        self.start()

    def start(self) -> None:
        """Begin a new process: a new client, and what the old one delivered last is in doubt."""
        self.http = Http(self.send, clock=self.time.clock)
        self.client = self.plugin.connect(self.settings, self.http)
        self.in_doubt = True
        self.unsaved: Set[str] = set()

    def send(self, request: Request, seconds: float) -> Reply:
        self.fuse.step()
        return in_memory(self.simulator, self.time.clock)(request, seconds)

    def units(self) -> List[Unit]:
        return [Unit("it", *place) for place in self.plugin.units(self.client, self.settings)]

    def attempt(self, unit: Unit) -> bool:
        """Read a unit from its checkpoint to now, once."""
        mark = self.marks.load(unit)
        sink: Sink = self.output
        if not self.output.together:
            if self.in_doubt:
                sink = SkipDelivered(sink, self.output.holds, self.unsaved)
            sink = CheckpointAfter(sink, self.marks, self.unsaved)
        batches = pulled_batches(
            self.plugin,
            self.client,
            unit,
            cursor=mark.cursor,
            http=self.http,
            overlap=getattr(self.settings, "overlap", 0),
            lookback=getattr(self.settings, "lookback", 0),
        )
        return pump(unit, mark, Feed(batches), self.map_batch, sink)

    def cycle(self, attempts: int = 40) -> None:
        """Read every unit to its end, as a runner does: after an error the time passes until the
        next attempt is due."""
        self.read_at = self.time.now
        for unit in self._repeat(Unit("it", "discovery"), self.units, attempts):
            self._repeat(unit, partial(self.attempt, unit), attempts)
        self.in_doubt = False

    def _repeat(self, unit: Unit, work: Callable[[], Result], attempts: int) -> Result:
        results: List[Result] = []

        def attempt() -> bool:
            results.append(work())
            return True

        cycle = Cycle(unit, self.time.clock.elapsed)
        for _ in range(attempts):
            error = cycle.attempt(attempt, INTERVAL)
            if error is None:
                return results[-1]
            if isinstance(error, Fault) and error.__cause__:
                raise error.__cause__
            self.errors.append(error)
            self.in_doubt = True
            self.time.now += max(1_000, int((cycle.due - self.time.clock.elapsed()) * 1000))
        raise self.errors[-1]

    def cycles(self, number: int, apart: Millis = 60_000) -> World:
        """Make several cycles, `apart` milliseconds from each other."""
        for _ in range(number):
            self.cycle()
            self.time.now += apart
        return self

    def until(self) -> Millis:
        """Return the time up to which every unit is read."""
        until: Millis = min(self.marks.load(unit).cursor["until"] for unit in self.units())
        return until

    def shown(self) -> str:
        """Return all text that a person or an output could see."""
        errors = "".join(f"{error}{error!r}" for error in self.errors)
        return json.dumps(self.output.kept) + errors
