"""One input at work: its units, what is due, what comes of each attempt."""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ..core.errors import AuthError, ConfigError, Retry, SiemtapError
from ..core.mapping import Event, rfc3339
from ..core.model import Batch, Cursor, Mark, Payload, Unit
from ..core.windows import HOUR, Millis
from ..edge.ahead import ahead
from ..edge.arrivals import Arrivals
from ..engine import collected, frames, pump, spooled, voice
from ..outputs import ids_of
from .config import Input
from .receiving import RECEIVED, RECEIVED_EVERY, Considerate
from .stats import Lateness, time_of

log = logging.getLogger("siemtap")

TURN = 20.0  # seconds a unit may take while others of its input wait
DEGRADED_AFTER = 5  # failed attempts
LONGEST_WAIT = 60.0  # seconds between attempts, but for what the vendor asks
# seconds that a vendor may ask for, but for an interval that is longer
LONGEST_ASKED = 3_600.0
REDISCOVER = 1 * HOUR
PIECE = 5  # records
ENOUGH = 0.8  # of the overlap is what events may be late before we warn


class Fault(Retry):
    """An exception that is none of ours."""


class UnitState:
    """One unit at work, and what a person may want to know about it."""

    __slots__ = (
        "unit",
        "mark",
        "due",
        "attempts",
        "state",
        "error",
        "success",
        "started",
        "events",
        "echoes",
        "in_doubt",
        "reached",
        "until",
        "first",
        "said",
        "late",
        "last_event",
        "active_since",
        "progressed",
        "clock_differs",
    )

    def __init__(self, unit: Unit, due: float, since: float) -> None:
        self.unit, self.due = unit, due
        self.mark: Optional[Mark] = None
        self.attempts = self.events = self.echoes = self.said = 0
        self.state, self.error = "starting", ""
        self.success: Millis = 0  # end of the last complete cycle
        self.reached: Millis = 0  # how far it was read before this cycle
        self.until: Millis = 0  # how far it is read
        self.first: Millis = 0  # where this cycle began
        self.late = Lateness()
        # seconds, of the clock that only runs forward: when one was delivered last, and when it
        # began
        self.last_event = self.active_since = since
        self.started = self.progressed = 0.0
        self.in_doubt = True
        # it is degraded for that alone: all was read, as far as the vendor's clock
        self.clock_differs = False

    @property
    def done(self) -> bool:
        """Whether nothing was left undone."""
        return self.state == "ok" or self.clock_differs

    def show(self, now: Millis, settings: Any) -> Dict[str, Any]:
        """`overlap_suffices`: with a fifth to spare, and as far as late events have been seen."""
        lag, overlap = getattr(settings, "lag", 0), getattr(settings, "overlap", 0)
        return {
            "unit": str(self.unit),
            "state": self.state,
            "error": self.error,
            "events": self.events,
            "echoes": self.echoes,
            "last_success": rfc3339(self.success) if self.success else None,
            "read_until": rfc3339(self.until) if self.until else None,
            "cursor_age_s": (now - self.until) // 1000 if self.until else None,
            "attempts": self.attempts,
            "late_events": self.late.number,
            "late_p50_s": self.late.within(0.5) / 1000,
            "late_p99_s": self.late.within(0.99) / 1000,
            "late_max_s": self.late.most / 1000,
            "lag_s": lag / 1000,
            "overlap_s": overlap / 1000,
            "overlap_suffices": self.late.most <= ENOUGH * overlap,
        }


class Running:
    """One input at work: a client, and its units, of which as many are asked at a time as the
    plugin allows."""

    def __init__(
        self, wish: Input, shipper: Any, stretch: Optional[Tuple[Millis, Millis]] = None
    ) -> None:
        self.wish, self.shipper, self.stretch = wish, shipper, stretch
        self.units: Dict[Unit, UnitState] = {}
        self.discovery = UnitState(Unit(wish.id, "discovery"), 0.0, shipper.clock.elapsed())
        settings = (
            self._of_stretch() if stretch and hasattr(wish.settings, "lookback") else wish.settings
        )
        self.settings = settings
        self.http = shipper.http(wish.connection)
        self.client = wish.plugin.connect(settings, self.http)
        self.reception = shipper.receive(wish) if wish.receiving and stretch is None else None
        self.arrivals = (
            Arrivals(shipper.database, wish.receiving.remember, shipper.clock)
            if wish.receiving and self.reception
            else None
        )
        self.say = voice(
            wish.plugin, settings, wish.every, shipper.also, lambda: rfc3339(shipper.clock.now())
        )
        self.rest = Considerate(self.reception.spool if self.reception else None)
        self.stopped = False

    @property
    def id(self) -> str:
        return self.wish.id

    def _of_stretch(self) -> Any:
        """Return the settings that read the chosen stretch, and make `stretch` (its start, `now`).

        A plugin is told of a stretch by `now` and `lookback` alone: a `lag` of zero would break
        rules of its own. So `now` is the stretch's end and the lag; no later than it really is, for
        what is younger than the lag may still change.
        """
        assert self.stretch
        (start, stop), lag = self.stretch, getattr(self.wish.settings, "lag", 0)
        now = self.shipper.clock.now()
        if stop + lag > now:
            log.info(
                "%s: reads up to %s: what is younger than `lag` (%d s) may still change",
                self.id,
                rfc3339(max(start, now - lag)),
                lag // 1000,
            )
        self.stretch = start, min(stop + lag, now)
        return replace(self.wish.settings, lookback=max(0, self.stretch[1] - start))

    def _has_past(self, dataset: str) -> bool:
        """Whether a chosen stretch of it can be read: of a snapshot there is the present only."""
        return hasattr(self.settings, "lookback") and not self.wish.plugin.dataset(dataset).snapshot

    def states(self) -> List[UnitState]:
        return list(self.units.values()) or [self.discovery]

    def received_until(self) -> Cursor:
        return next(
            (
                state.mark.cursor
                for unit, state in self.units.items()
                if unit.scope == RECEIVED and state.mark
            ),
            {},
        )

    def due(self) -> Optional[float]:
        """When to look at this input next; None: never again."""
        waits = [state.due for state in self.states() if state.due is not None]
        return min((wait for wait in waits if wait != float("inf")), default=None)

    def turn(self) -> None:
        """Work through what is due, the longest waiting first."""
        if self.discovery.due <= self.shipper.clock.elapsed():
            self._attempt(self.discovery, self._discover)
        due = [
            state
            for state in sorted(self.units.values(), key=lambda state: state.due)
            if state.due <= self.shipper.clock.elapsed()
        ]
        for _ in ahead(
            min(self.wish.plugin.at_once(self.settings), len(due)),
            [partial(self._due, state) for state in due],
        ):
            pass

    def _due(self, state: UnitState) -> None:
        if not self.shipper.stopping.is_set() and not self.stopped:
            self._attempt(state, self._collect)

    def _discover(self, state: UnitState) -> bool:
        """Find the units; for most inputs that asks nobody."""
        elapsed = self.shipper.clock.elapsed
        asks = self.shipper.pull and (not self.stretch or hasattr(self.settings, "lookback"))
        found = (
            [Unit(self.id, *place) for place in self.wish.plugin.units(self.client, self.settings)]
            if asks
            else []
        )
        if self.stretch:
            found = [unit for unit in found if self._has_past(unit.dataset)]
            if not found:
                log.info(
                    "%s: left out: what it is told, or says of the moment, cannot be read again",
                    self.id,
                )
        if self.reception:
            found.append(Unit(self.id, self.wish.plugin.datasets[0].name, RECEIVED))
        for unit in found:
            self.units.setdefault(unit, UnitState(unit, elapsed(), elapsed()))
        for unit in set(self.units) - set(found):
            del self.units[unit]
        state.due = float("inf") if self.shipper.once else elapsed() + REDISCOVER / 1000
        return True

    def _collect(self, state: UnitState) -> bool:
        """One cycle of a unit: from the saved mark to now. True if it came to its end."""
        shipper, unit = self.shipper, state.unit
        if state.mark is None:
            state.mark = Mark() if self.stretch else shipper.checkpoints.load(unit)
            state.reached = (
                0
                if unit.scope == RECEIVED
                else min(max(state.mark.seen.values(), default=0), self.http.now())
            )
        state.started, state.first = shipper.clock.elapsed(), 0
        if self.reception and unit.scope == RECEIVED:
            output = _Watched(
                self,
                state,
                shipper.output(beside=False, in_doubt=state.in_doubt, checkpoints=self.arrivals),
            )
            batches = spooled(
                self.reception.spool,
                state.mark.cursor,
                partial(self._receive, self.settings),
                self.wish.plugin.datasets[0],
            )
        else:
            output = _Watched(
                self, state, shipper.output(beside=bool(self.stretch), in_doubt=state.in_doubt)
            )
            batches = collected(
                self.wish.plugin,
                self.client,
                unit,
                state.mark.cursor,
                self.http,
                getattr(self.settings, "overlap", 0),
                getattr(self.settings, "lookback", 0),
                self.stretch[1] if self.stretch else None,
            )
        turn = _Turn(batches, lambda: self._must_stop(state))
        pump(unit, state.mark, turn, self._say_of(state), output)
        if turn.cut_short:
            return False
        state.in_doubt, state.success = False, shipper.clock.now()
        state.reached = 0 if unit.scope == RECEIVED else state.until
        return True

    def _receive(self, settings: Any, payload: Payload) -> Iterator[Batch]:
        assert self.wish.plugin.receive is not None
        self.rest()
        return self.wish.plugin.receive(settings, payload)

    def _new_ones(self, unit: Unit, events: List[Event]) -> List[Event]:
        """Without what was pushed before; the output knows it, or we do."""
        if not events or not self.arrivals:
            return events
        known = (
            (self.shipper.ready.holds(unit, events) or set())
            if self.shipper.sink.together
            else self.arrivals.known(unit, ids_of(events))
        )
        return [event for event in events if event["event"]["id"] not in known] if known else events

    def _say_in_pieces(self, batch: Batch) -> List[Event]:
        """What `say` says, with a rest for the receiver now and then."""
        events = self.say(batch._replace(records=[]))
        for start in range(0, len(batch.records), PIECE):
            self.rest()
            events += self.say(
                batch._replace(records=batch.records[start : start + PIECE], lost=())
            )
        return events

    def _say_of(self, state: UnitState) -> Callable[[Batch], List[Event]]:
        saying = self._say_in_pieces if state.unit.scope == RECEIVED else self.say

        def say(batch: Batch) -> List[Event]:
            events = saying(batch)
            state.first = state.first or batch.until
            state.until = max(state.until, batch.until)
            state.said = len(events)
            return self._new_ones(state.unit, events) if state.unit.scope == RECEIVED else events

        return say

    def _must_stop(self, state: UnitState) -> bool:
        others_wait = len(self.units) > 1 and self.shipper.clock.elapsed() - state.started > TURN
        return self.shipper.stopping.is_set() or self.stopped or others_wait

    def _attempt(self, state: UnitState, work: Callable[[UnitState], bool]) -> None:
        """What comes of one try: done until the next interval, or again after a wait. Whatever goes
        wrong is this unit's alone; only where there is no memory, or the process is told to end, it
        ends."""
        elapsed = self.shipper.clock.elapsed
        began = elapsed()
        if state.state == "starting":
            state.state, state.progressed = "running", began
        try:
            done = work(state)
        except SiemtapError as error:
            self._failed(state, error)
        except MemoryError:
            raise
        # a fault of ours, that perhaps a stranger's words brought to light; its own text may be
        # such words
        except Exception as error:
            log.debug("%s: %s\n%s", state.unit, type(error).__name__, frames(error))
            self._failed(
                state,
                Fault(
                    f"{type(error).__name__}, which nobody expected here: the checkpoint is kept,"
                    " and it is tried again. If you have set the checkpoint, look at it (`siemtap"
                    " state show`); else this is a fault of siemtap, and `logging.level: debug`"
                    " says where"
                ),
            )
        else:
            if state.attempts and done:
                log.info("%s: goes on after %d failed attempts", state.unit, state.attempts)
            if state is not self.discovery:
                state.due = (
                    elapsed()
                    if not done
                    else self._next(
                        began,
                        (
                            RECEIVED_EVERY
                            if state.unit.scope == RECEIVED
                            else float(self.settings.interval) / 1000
                        ),
                    )
                )
            if done:
                state.attempts, state.state, state.error = 0, "ok", ""
        self.shipper.watch(self, state)

    def _next(self, began: float, interval: float) -> float:
        if self.shipper.once:
            return float("inf")
        return float(
            max(self.shipper.clock.elapsed(), began + interval * random.uniform(0.95, 1.0))
        )

    def _failed(self, state: UnitState, error: SiemtapError) -> None:
        """The cursor stays where the last delivery left it; the mark is read back from where it
        is safe."""
        if not self.stretch:
            state.mark = None
        state.in_doubt = True  # the events may be safe, and only their mark may have failed
        state.attempts += 1
        waiting = (
            isinstance(error, Retry)
            and not isinstance(error, Fault)
            and state.attempts < DEGRADED_AFTER
        )
        state.state, state.error = (
            ("retrying" if waiting else "degraded"),
            f"{type(error).__name__}: {error}",
        )
        log.log(logging.WARNING if waiting else logging.ERROR, "%s: %s", state.unit, state.error)
        self.shipper.counts.add(retried=1)
        elapsed = self.shipper.clock.elapsed()
        longest = LONGEST_WAIT if isinstance(error, Retry) else 5 * LONGEST_WAIT
        wait = (
            random.uniform(0, min(longest, 2.0 ** min(state.attempts, 10)))
            if not isinstance(error, (AuthError, ConfigError))
            else max(30.0, self.settings.interval / 1000)
        )
        wait = max(
            wait,
            min(
                getattr(error, "after", 0) / 1000, max(LONGEST_ASKED, self.settings.interval / 1000)
            ),
        )
        hopeless = (
            isinstance(error, (AuthError, ConfigError))
            or elapsed + wait - state.progressed > self.shipper.patience
        )
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
    """Around the output of one cycle: what was delivered is counted, and the mark kept that goes
    with it."""

    def __init__(self, running: Running, state: UnitState, output: Any) -> None:
        self.running, self.state, self.output = running, state, output

    def deliver(self, unit: Unit, events: List[Event], mark: Mark) -> None:
        refused = {id(event) for event, _ in self.output.deliver(unit, events, mark) or ()}
        state, shipper = self.state, self.running.shipper
        state.mark, state.attempts, state.progressed = mark, 0, shipper.clock.elapsed()
        state.events += len(events)
        state.echoes += state.said - len(events)
        if events:
            state.last_event = shipper.clock.elapsed()
            taken = [event for event in events if id(event) not in refused] if refused else events
            self._measure_lateness(taken)
            shipper.tally.add(taken)
        shipper.counts.add(accepted=len(events), echoes=state.said - len(events), batches=1)
        shipper.progress(self.running, state)

    def _measure_lateness(self, events: List[Event]) -> None:
        """An event from before what the last cycle had read came late, by at least that much."""
        state = self.state
        if not state.reached:
            return
        reached = rfc3339(state.reached)
        late = [
            state.reached - at
            for at in (time_of(event) for event in events if event["@timestamp"] < reached)
            if at is not None
        ]
        if late:
            self.running.shipper.counts.add(late=len(late))
            before = state.late.most
            state.late.add(late)
            overlap = getattr(self.running.settings, "overlap", 0)
            if state.late.most > max(before, ENOUGH * overlap):
                log.warning(
                    "%s: an event came %.0f s late, and the overlap is %.0f s: raise `overlap`, or"
                    " later ones are never seen",
                    state.unit,
                    state.late.most / 1000,
                    overlap / 1000,
                )
