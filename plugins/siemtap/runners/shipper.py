"""Hosts the loop outside a SIEM: inputs by due time, a bounded pool of workers, one output."""

from __future__ import annotations

import gc
import heapq
import itertools
import logging
import os
import random
import socket
import threading
import time
from dataclasses import replace
from functools import partial
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Set, Tuple

from .. import VERSION, contract
from ..core.convert import millis_of
from ..core.errors import AuthError, ConfigError, Retry, SiemtapError
from ..core.forms import Connection
from ..core.mapping import Event, rfc3339
from ..core.model import Batch, Cursor, Mark, Payload, Unit
from ..core.windows import HOUR, MINUTE, Millis
from ..edge.arrivals import Arrivals
from ..edge.checkpoints import Checkpoints, Database
from ..edge.clock import SYSTEM, Clock
from ..edge.http import Http, connect
from ..edge.rejects import Rejects
from ..engine import InDoubt, Then, pump, spooled, voice
from ..outputs import Around, ids_of
from ..outputs.checked import Checked, compiled
from . import plugins
from .config import OUTPUTS, Config, Input
from .health import Health
from .receiving import Ears, Reception
from .stats import Counts, Lateness, Tally, severity_name

log = logging.getLogger("siemtap")

TURN = 20.0                     # seconds a unit may take while others of its input wait
DEGRADED_AFTER = 5              # failed attempts
LONGEST_WAIT = 60.0             # seconds between attempts, but for what the vendor asks
REDISCOVER = 1 * HOUR
RECEIVED = "received"           # the scope of what an input was pushed
RECEIVED_EVERY = 0.2            # seconds between two looks into a spool
SKEW_WARNING = 60_000           # milliseconds
ENOUGH = 0.8                    # of the overlap is what events may be late before we warn
Hook = Callable[..., None]


def spare_the_collector() -> None:
    """Events are trees that die by themselves; looking among them for cycles every 700 objects costs a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def also() -> Mapping[str, Any]:
    """What every event says of who brought it."""
    return {"agent.type": "siemtap", "agent.version": VERSION, "agent.name": socket.gethostname()}


class UnitState:
    """One unit at work, and what a person may want to know about it."""

    __slots__ = ("unit", "mark", "due", "attempts", "state", "error", "success", "started", "events", "echoes", "in_doubt", "reached",
                 "until", "first", "said", "late", "last_event", "active_since", "progressed")

    def __init__(self, unit: Unit, due: float, now: Millis) -> None:
        self.unit, self.due = unit, due
        self.mark: Optional[Mark] = None
        self.attempts = self.events = self.echoes = self.said = 0
        self.state, self.error = "starting", ""
        self.success: Millis = 0            # end of the last complete cycle
        self.reached: Millis = 0            # how far it was read before this cycle
        self.until: Millis = 0              # how far it is read
        self.first: Millis = 0              # where this cycle began
        self.late = Lateness()
        self.last_event: Millis = 0         # when one was delivered last
        self.active_since = now
        self.started = self.progressed = 0.0
        self.in_doubt = True

    def show(self, now: Millis, settings: Any) -> Dict[str, Any]:
        """`overlap_suffices`: with a fifth to spare, and as far as late events have been seen."""
        lag, overlap = getattr(settings, "lag", 0), getattr(settings, "overlap", 0)
        return {"unit": str(self.unit), "state": self.state, "error": self.error, "events": self.events, "echoes": self.echoes,
                "last_success": rfc3339(self.success) if self.success else None, "read_until": rfc3339(self.until) if self.until else None,
                "cursor_age_s": (now - self.until) // 1000 if self.until else None, "attempts": self.attempts,
                "late_events": self.late.number, "late_p50_s": self.late.within(0.5) / 1000, "late_p99_s": self.late.within(0.99) / 1000, "late_max_s": self.late.most / 1000,
                "lag_s": lag / 1000, "overlap_s": overlap / 1000, "overlap_suffices": self.late.most <= ENOUGH * overlap}


class Running:
    """One input at work: a client, and its units, of which one is asked at a time."""

    def __init__(self, wish: Input, shipper: Shipper, stretch: Optional[Tuple[Millis, Millis]] = None) -> None:
        self.wish, self.shipper, self.stretch = wish, shipper, stretch
        self.units: Dict[Unit, UnitState] = {}
        self.discovery = UnitState(Unit(wish.id, "discovery"), 0.0, shipper.clock.now())
        settings = replace(wish.settings, lookback=stretch[1] - stretch[0], lag=0) if stretch and hasattr(wish.settings, "lookback") else wish.settings
        self.settings = settings
        self.client = wish.plugin.connect(settings, shipper.http(wish.connection))
        self.reception = shipper.receive(wish) if wish.receiving and stretch is None else None
        self.arrivals = Arrivals(shipper.database, wish.receiving.remember) if wish.receiving and self.reception else None
        self.say = voice(wish.plugin, settings, wish.every, shipper.also, lambda: rfc3339(shipper.clock.now()))
        self.stopped = False

    @property
    def id(self) -> str:
        return self.wish.id

    def states(self) -> List[UnitState]:
        return list(self.units.values()) or [self.discovery]

    def received_until(self) -> Cursor:
        return next((state.mark.cursor for unit, state in self.units.items() if unit.scope == RECEIVED and state.mark), {})

    def due(self) -> Optional[float]:
        """When to look at this input next; None: never again."""
        waits = [state.due for state in self.states() if state.due is not None]
        return min((wait for wait in waits if wait != float("inf")), default=None)

    def turn(self) -> None:
        """Work through what is due, the longest waiting first."""
        if self.discovery.due <= self.shipper.clock.elapsed():
            self._attempt(self.discovery, self._discover)
        for state in sorted(self.units.values(), key=lambda state: state.due):
            if state.due <= self.shipper.clock.elapsed() and not self.shipper.stopping.is_set() and not self.stopped:
                self._attempt(state, self._collect)

    def _discover(self, state: UnitState) -> bool:
        """Find the units; for most inputs that asks nobody."""
        now = self.shipper.clock
        again = self.stretch and not hasattr(self.settings, "lookback")     # what has no past cannot be read again
        found = [] if again or not self.shipper.pull else [Unit(self.id, dataset, scope) for dataset, scope in self.wish.plugin.units(self.client, self.settings)]
        if self.reception:
            found.append(Unit(self.id, self.wish.plugin.datasets[0].name, RECEIVED))
        for unit in found:
            self.units.setdefault(unit, UnitState(unit, now.elapsed(), now.now()))
        for unit in set(self.units) - set(found):
            del self.units[unit]
        state.due = float("inf") if self.shipper.once else now.elapsed() + REDISCOVER / 1000
        return True

    def _collect(self, state: UnitState) -> bool:
        """One cycle of a unit: from the saved mark to now. True if it came to its end."""
        shipper, unit = self.shipper, state.unit
        if state.mark is None:
            state.mark = Mark() if self.stretch else shipper.checkpoints.load(unit)
            state.reached = 0 if unit.scope == RECEIVED else max(state.mark.seen.values(), default=0)
        state.started, state.first = shipper.clock.elapsed(), 0
        now = self.stretch[1] if self.stretch else shipper.clock.now()
        if self.reception and unit.scope == RECEIVED:
            output = _Watched(self, state, shipper.output(beside=False, in_doubt=state.in_doubt, checkpoints=self.arrivals))
            batches = spooled(self.reception.spool, state.mark.cursor, partial(self._receive, self.settings), self.wish.plugin.datasets[0])
        else:
            output = _Watched(self, state, shipper.output(beside=bool(self.stretch), in_doubt=state.in_doubt))
            batches = self.wish.plugin.collect(self.client, unit, state.mark.cursor, now)
        turn = _Turn(batches, lambda: self._must_stop(state))
        pump(unit, state.mark, turn, self._say_of(state), output)
        if turn.cut_short:
            return False
        state.in_doubt, state.success = False, shipper.clock.now()
        state.reached = 0 if unit.scope == RECEIVED else state.until
        return True

    def _receive(self, settings: Any, payload: Payload) -> Iterator[Batch]:
        assert self.wish.plugin.receive is not None
        return self.wish.plugin.receive(settings, payload)

    def _new_ones(self, unit: Unit, events: List[Event]) -> List[Event]:
        """Without what was pushed before; the output knows it, or we do."""
        if not events or not self.arrivals:
            return events
        ids = ids_of(events)
        known = (self.shipper.ready.holds(unit, events) or set()) if self.shipper.sink.together else self.arrivals.known(unit, ids)
        return [event for event in events if event["event"]["id"] not in known] if known else events

    def _say_of(self, state: UnitState) -> Callable[[Batch], List[Event]]:
        def say(batch: Batch) -> List[Event]:
            events = self.say(batch)
            state.first = state.first or batch.until
            state.until = max(state.until, batch.until)
            state.said = len(events)
            return self._new_ones(state.unit, events) if state.unit.scope == RECEIVED else events
        return say

    def _must_stop(self, state: UnitState) -> bool:
        others_wait = len(self.units) > 1 and self.shipper.clock.elapsed() - state.started > TURN
        return self.shipper.stopping.is_set() or self.stopped or others_wait

    def _attempt(self, state: UnitState, work: Callable[[UnitState], bool]) -> None:
        """What comes of one try: done until the next interval, or again after a wait."""
        elapsed = self.shipper.clock.elapsed
        began = elapsed()
        if state.state == "starting":
            state.state, state.progressed = "running", began
        try:
            done = work(state)
        except SiemtapError as error:
            self._failed(state, error)
        else:
            if state.attempts and done:
                log.info("%s: goes on after %d failed attempts", state.unit, state.attempts)
            if state is not self.discovery:
                state.due = elapsed() if not done else self._next(began, RECEIVED_EVERY if state.unit.scope == RECEIVED else float(self.settings.interval) / 1000)
            if done:
                state.attempts, state.state, state.error = 0, "ok", ""
        self.shipper.watch(self, state)

    def _next(self, began: float, interval: float) -> float:
        if self.shipper.once:
            return float("inf")
        return max(self.shipper.clock.elapsed(), began + interval * random.uniform(0.95, 1.0))

    def _failed(self, state: UnitState, error: SiemtapError) -> None:
        """The cursor stays where the last delivery left it; the mark is read back from where it is safe."""
        if not self.stretch:
            state.mark = None
        state.in_doubt = True       # the events may be safe, and only their mark may have failed
        state.attempts += 1
        waiting = isinstance(error, Retry) and state.attempts < DEGRADED_AFTER
        state.state, state.error = "retrying" if waiting else "degraded", f"{type(error).__name__}: {error}"
        log.log(logging.WARNING if waiting else logging.ERROR, "%s: %s", state.unit, state.error)
        self.shipper.counts.add(retried=1)
        elapsed = self.shipper.clock.elapsed()
        longest = LONGEST_WAIT if isinstance(error, Retry) else 5 * LONGEST_WAIT
        wait = random.uniform(0, min(longest, 2.0 ** min(state.attempts, 10))) if not isinstance(error, (AuthError, ConfigError)) else max(30.0, self.settings.interval / 1000)
        wait = max(wait, getattr(error, "after", 0) / 1000)
        hopeless = isinstance(error, (AuthError, ConfigError)) or elapsed + wait - state.progressed > self.shipper.patience
        state.due = float("inf") if self.shipper.once and hopeless else elapsed + wait


class _Turn:
    """Batches, until told to stop in between two of them."""

    def __init__(self, batches: Iterator[Batch], must_stop: Callable[[], bool]) -> None:
        self.batches, self.must_stop, self.cut_short = batches, must_stop, False

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            yield batch
            if self.must_stop():
                self.cut_short = True
                closing = getattr(self.batches, "close", None)
                if closing:
                    closing()
                return


class _Watched:
    """Around the output of one cycle: what was delivered is counted, and the mark kept that goes with it."""

    def __init__(self, running: Running, state: UnitState, output: Any) -> None:
        self.running, self.state, self.output = running, state, output

    def deliver(self, unit: Unit, events: List[Event], mark: Mark) -> None:
        self.output.deliver(unit, events, mark)
        state, shipper = self.state, self.running.shipper
        state.mark, state.attempts, state.progressed = mark, 0, shipper.clock.elapsed()
        state.events += len(events)
        state.echoes += state.said - len(events)
        if events:
            state.last_event = shipper.clock.now()
            self._measure_lateness(events)
            shipper.tally.add(events)
        shipper.counts.add(accepted=len(events), echoes=state.said - len(events), batches=1)
        shipper.progress(self.running, state)

    def _measure_lateness(self, events: List[Event]) -> None:
        """An event from before what the last cycle had read came late, by at least that much."""
        state = self.state
        if not state.reached:
            return
        reached = rfc3339(state.reached)
        late = [state.reached - millis_of(event["@timestamp"]) for event in events if event["@timestamp"] < reached]
        if late:
            self.running.shipper.counts.add(late=len(late))
            before = state.late.most
            state.late.add(late)
            overlap = getattr(self.running.settings, "overlap", 0)
            if state.late.most > max(before, ENOUGH * overlap):
                log.warning("%s: an event came %.0f s late, and the overlap is %.0f s: raise `overlap`, or later ones are never seen",
                            state.unit, state.late.most / 1000, overlap / 1000)


class Shipper:
    """The process: opens what the configuration names, runs inputs until told to stop, closes it."""

    def __init__(self, config: Config, once: bool = False, patience: float = 120.0, stretch: Optional[Tuple[Millis, Millis]] = None,
                 clock: Clock = SYSTEM, progress: Optional[Hook] = None, https: Optional[Callable[[Connection], Http]] = None,
                 listen: Optional[bool] = None, pull: bool = True) -> None:
        self.pull = pull        # false: only what was received
        self.listen = not once if listen is None else listen        # a single pass drains what was received, and receives nothing
        self.config, self.once, self.patience, self.stretch, self.clock = config, once, patience, stretch, clock
        self.stopping = threading.Event()
        self.started = clock.now()
        self.counts, self.tally = Counts(), Tally()
        self.on_progress = progress
        self.also = also()
        self.https = https
        self.clients: Dict[Connection, Http] = {}
        self.skewed: Set[str] = set()
        self.unmarked: Set[str] = set()
        self.fatal: Optional[BaseException] = None
        self.database = Database(config.data / "siemtap.db")
        self.checkpoints, self.rejects = Checkpoints(self.database), Rejects(self.database)
        self.index_of: Dict[str, str] = {wish.id: wish.every.index for wish in config.inputs}
        self.sink = OUTPUTS[config.output](config.output_settings, Around(self.database, clock, self.stopping, self.index_of))
        self.ready = Checked(self.sink, self._check() if config.general.validate else None, self.rejects, lambda number: self.counts.add(rejected=number, accepted=-number))
        self.ears = Ears(clock)
        self.lock = threading.Condition()
        self.heap: List[Tuple[float, int, Running]] = []
        self.order = itertools.count()
        self.busy = 0
        self.inputs: Dict[str, Running] = {}
        self._seed_tally()
        self.health_events = Health(self, config.health.namespace, config.health.interval / 1000, self._deliver_health) if config.health.enabled else None
        self.configure(config.inputs)

    def _check(self) -> Callable[[Event], Optional[str]]:
        return compiled(contract.read("event.schema.json"), plugins.datasets().values())

    def _deliver_health(self, unit: Unit, events: List[Event]) -> None:
        self.ready.deliver(unit, events, None)
        self.counts.add(accepted=len(events))

    def _seed_tally(self) -> None:
        """The pictures begin with what the embedded store holds already."""
        if self.sink.together:
            sql = ("SELECT time / 1800000 * 1800000, dataset, severity, action, rule, source, count(*) FROM event WHERE time > ? GROUP BY 1, 2, 3, 4, 5, 6")
            rows = self.database.read(sql, [self.clock.now() - 24 * HOUR])
            self.tally.add_rows((row[0], row[1], severity_name(row[2]), *row[3:]) for row in rows)

    def output(self, beside: bool, in_doubt: bool, checkpoints: Any = None) -> Any:
        """The output as one cycle needs it. `beside`: leave the checkpoints alone. `checkpoints`: others than usual."""
        if beside:
            return InDoubt(_Unmarked(self.ready), self.unmarked)
        if self.sink.together:
            return self.ready
        return Then(InDoubt(self.ready, self.unmarked) if in_doubt else self.ready, checkpoints or self.checkpoints, self.unmarked)

    def receive(self, wish: Input) -> Reception:
        """An input's spool, and what listens into it."""
        assert wish.receiving is not None
        reception = Reception(wish.plugin, wish.receiving, self.config.data / "spool" / wish.id)
        if self.listen:
            try:
                reception.open(self.ears)
            except SiemtapError as error:
                reception.close()
                raise error.at(wish.id) from None
            log.info("%s: listening at %s", wish.id, ", ".join(reception.addresses) or "nothing; set `listen` or `syslog`")
        return reception

    def http(self, connection: Connection) -> Http:
        """One client for all inputs that reach the world alike."""
        if connection not in self.clients:
            make = self.https or (lambda connection: connect(connection, pool=self.config.general.workers + 16, clock=self.clock))
            self.clients[connection] = make(connection)
            if not connection.verify:
                log.warning("certificates are not verified (verify: false): anybody in between can read the key and forge events")
        return self.clients[connection]

    def configure(self, inputs: Iterable[Input]) -> None:
        """Start what is new, stop what is gone, leave alone what is as it was."""
        wanted = {wish.id: wish for wish in inputs if wish.every.enabled}
        self.index_of.update({id: wish.every.index for id, wish in wanted.items()})
        with self.lock:
            for id in [id for id, running in self.inputs.items() if wanted.get(id) != running.wish]:
                gone = self.inputs.pop(id)
                gone.stopped = True
                if gone.reception:
                    gone.reception.close()
            fresh = [wish for id, wish in wanted.items() if id not in self.inputs]
            for place, wish in enumerate(fresh):
                running = self.inputs[wish.id] = Running(wish, self, self.stretch)
                spread = wish.settings.interval / 1000 * place / len(fresh) if len(fresh) > 10 * self.config.general.workers and not self.once else 0.0
                running.discovery.due = self.clock.elapsed() + spread
                heapq.heappush(self.heap, (self.clock.elapsed() + spread, next(self.order), running))
            self.lock.notify_all()

    def run(self) -> bool:
        """Until stopped; with `once`, until all that is due is done. True if nothing was left undone."""
        spare_the_collector()
        workers = [threading.Thread(target=self._work, name=f"worker-{number}", daemon=True) for number in range(self.config.general.workers)]
        for worker in workers:
            worker.start()
        if self.health_events:
            self.health_events.start()
        with self.lock:
            while not self.stopping.is_set() and not (self.once and not self.heap and not self.busy):
                self.lock.wait(0.5)
        for running in self.inputs.values():        # first nothing new is promised
            if running.reception:
                running.reception.deafen()
        self.stop()
        deadline = time.monotonic() + self.config.general.shutdown_timeout / 1000
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        if self.fatal:
            raise self.fatal
        if self.health_events:
            self.health_events.close()
        drained = not any(worker.is_alive() for worker in workers)
        if drained:
            self.close()
        return all(state.state == "ok" for running in self.inputs.values() for state in running.states())

    def stop(self) -> None:
        self.stopping.set()
        with self.lock:
            self.lock.notify_all()

    def close(self) -> None:
        for running in self.inputs.values():
            if running.reception:
                running.reception.close()
        self.ready.close()
        self.database.close()

    def _work(self) -> None:
        """A worker: take the input that is due first, give it a turn, put it back."""
        while True:
            with self.lock:
                running = self._take()
                if running is None:
                    return
                self.busy += 1
            try:
                running.turn()
            except BaseException as error:      # a bug, or the end of standard output: the process ends and says so; cursors are kept
                self.fatal = error
                self.stopping.set()
            with self.lock:
                self.busy -= 1
                due = running.due()
                if due is not None and not running.stopped:
                    heapq.heappush(self.heap, (due, next(self.order), running))
                self.lock.notify_all()

    def _take(self) -> Optional[Running]:
        """Wait for the next input that is due. Called with the lock held; None: stop."""
        while not self.stopping.is_set():
            if not self.heap:
                self.lock.wait()
                continue
            wait = self.heap[0][0] - self.clock.elapsed()
            if wait <= 0:
                running = heapq.heappop(self.heap)[2]
                if running.stopped:
                    continue
                return running
            self.lock.wait(wait)
        return None

    def watch(self, running: Running, state: UnitState) -> None:
        """After each attempt: clocks that differ, inputs that fell silent, news for the SIEM."""
        silent = running.wish.every.silent_after
        if silent and state.state == "ok" and self.clock.now() - max(state.last_event, state.active_since) > silent:
            state.state, state.error = "degraded", f"no event for longer than silent_after ({silent // MINUTE} min)"
        for host, skew in list(self.http(running.wish.connection).skew.items()):
            if abs(skew) > SKEW_WARNING and host not in self.skewed:
                self.skewed.add(host)
                log.warning("the clock of %s differs from ours by %.0f s: check both, or raise `lag`", host, skew / 1000)
        if self.health_events:
            self.health_events.changed(str(state.unit), state.state, state.error)

    def progress(self, running: Running, state: UnitState) -> None:
        if self.on_progress:
            self.on_progress(running, state)

    # What the status page shows

    def health(self) -> Tuple[bool, str]:
        """Whether all is well, and the first reason why not."""
        for running in list(self.inputs.values()):
            for state in running.states():
                if state.state == "degraded":
                    return False, f"{state.unit}: {state.error}"
            if running.reception and running.reception.spool.shut:
                return False, f"{running.id}: the spool is full; senders are refused until the output takes what waits"
        return True, "ok"

    def stats(self) -> Dict[str, Any]:
        now = self.clock.now()
        inputs = [{"id": running.id, "type": running.wish.plugin.name, "units": [state.show(now, running.settings) for state in running.states()],
                   **({"received": running.reception.show(running.received_until())} if running.reception else {}), "clock_difference_s": {host: skew / 1000 for host, skew in self.http(running.wish.connection).skew.items()}}
                  for running in list(self.inputs.values())]
        healthy, why = self.health()
        return {"version": VERSION, "uptime_s": (now - self.started) // 1000, "pid": os.getpid(), "healthy": healthy, "reason": why, "inputs": inputs,
                "output": {"name": self.config.output, **self.counts.totals, **dict(getattr(self.sink, "counts", {})), "waiting_rejected": self.rejects.count(), "queue": self.database.works.qsize()}}


class _Unmarked:
    """Around an output: events without their mark, for reading beside the checkpoints."""

    def __init__(self, output: Any) -> None:
        self.output, self.holds = output, output.holds

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> None:
        if events:
            self.output.deliver(unit, events, None)
