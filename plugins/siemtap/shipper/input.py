"""One running input: its units, and one cycle of each."""

from __future__ import annotations

import logging
from functools import partial
from typing import Container, Dict, Iterator, List, Optional, Set, Tuple

from ..core.events import ids_of
from ..core.model import Batch, Cursor, Mark, Payload, Records, Unit
from ..core.rows import Event
from ..core.settings import Receiving
from ..core.windows import HOUR, Millis
from ..edge.client.ahead import ahead
from ..edge.receive.delivered import DeliveredIds
from ..edge.receive.receiver import RECEIVED, RECEIVED_EVERY, Receiver, YieldToReceiver
from ..edge.receive.spool import Spool
from ..edge.store.first_reads import noting_first_read
from ..engine.confirmations import CONFIRMATIONS, Confirmations
from ..engine.cycle import NEVER, Policy
from ..engine.feeds import pulled_batches, spooled_batches
from ..engine.protocols import (
    CheckpointStore,
    Delivery,
    EventSource,
    Feed,
    MarkStore,
    Sink,
)
from ..engine.pump import pump
from ..engine.sinks import AskWhenDoubtful
from ..engine.time_range import settings_of
from .config.sections import Input
from .host import Host
from .logs import LogDeliveries, debugging, log_batch
from .processes.share import Lease
from .processors.mapping import mapping_of
from .scheduler import LONGEST_TURN
from .unit import UnitState

log = logging.getLogger("siemtap")

REDISCOVER = 1 * HOUR  # between two searches for units
RECORDS_PER_PAUSE = 5


class RunningInput:
    """One running input: a client and its units. As many units run in parallel as the plugin
    allows."""

    def __init__(
        self,
        input_config: Input,
        host: Host,
        time_range: Optional[Tuple[Millis, Millis]] = None,
    ) -> None:
        self.input_config = input_config
        self.host = host
        self.time_range = time_range
        self.stopped = False
        self.policy = Policy(patience=host.patience) if host.once else Policy()
        self.route = host.route(input_config)
        self.units: Dict[Unit, UnitState] = {}
        self.is_elsewhere = False  # others run all its units
        self.lease: Optional[Lease] = host.share.lease(self.id)  # of the pulled units
        self.discovery = self._state(Unit(input_config.id, "discovery"))
        self.settings = input_config.settings
        if time_range and hasattr(input_config.settings, "lookback"):
            self.settings, self.time_range = settings_of(
                self.id, input_config.settings, time_range, host.clock.now()
            )
        self.http = host.http(input_config.connection)
        self.client = input_config.plugin.connect(self.settings, self.http)
        # what keeps the marks itself, if this input reads events
        self.source: Optional[EventSource] = None
        if input_config.plugin.reads_events:
            self.source = self.client
            unit = Unit(self.id, input_config.plugin.datasets[0].name)
            host.rejected_events.origins[unit] = self.client.origin
        self.receiver: Optional[Receiver] = None
        self.delivered_ids: Optional[DeliveredIds] = None
        receiving = input_config.receiving
        if receiving and time_range is None:
            self.receiver = self._receiver(receiving)
        self.confirmations: Optional[Confirmations] = None
        if receiving and self.receiver:
            self.delivered_ids = DeliveredIds(host.database, receiving.remember, host.clock)
            self.confirmations = self._confirmations()
        self.map_batch = mapping_of(input_config, self.settings, host, self.route)
        spool = self.receiver.spool if self.receiver else None
        # a reader alone has the receiver in another process, and its interpreter to itself
        self.yield_to_receiver = YieldToReceiver(spool if isinstance(spool, Spool) else None)

    @property
    def id(self) -> str:
        return self.input_config.id

    def _receiver(self, receiving: Receiving) -> Optional[Receiver]:
        """Return the receiver of an input that listens, replays, or has payloads left in its spool
        from when it did; else None: an input that only pulls has no unit for received events."""
        receives = receiving.receives or not self.host.pull
        if not (receives or self.host.has_spool(self.id)):
            return None
        if not self.host.share.owned([self._received_unit()]):
            return None
        receiver = self.host.receive(self.input_config)
        cursor = self.host.checkpoints.load(self._received_unit()).cursor
        if receives or receiver.spool.pending(cursor):
            return receiver
        receiver.close()
        return None

    def _confirmations(self) -> Optional[Confirmations]:
        """Return what confirms for this input; None if its plugin confirms nothing, or nothing may
        be called."""
        confirm = self.input_config.plugin.confirm
        if confirm is None or not self.host.pull:
            return None
        unit = self._received_unit()._replace(scope=CONFIRMATIONS)
        # not the clock readings of the vendor's API
        call = partial(confirm, self.settings, self.http.view())
        confirmations = Confirmations(unit, call, self.host.checkpoints, self.host.clock)
        confirmations.start()
        return confirmations

    def close_receiver(self) -> None:
        """Receive and confirm nothing more."""
        if self.confirmations:
            self.confirmations.close()
        if self.receiver:
            self.receiver.close()

    def close_source(self) -> None:
        """Read no events more. Called without a turn: the marks of a batch in hand are saved by
        the source."""
        if self.source:
            self.source.close()

    def close(self) -> None:
        """Close what the input has open."""
        self.close_source()
        self.close_receiver()

    def _received_unit(self) -> Unit:
        return Unit(self.id, self.input_config.plugin.datasets[0].name, RECEIVED)

    def _state(self, unit: Unit) -> UnitState:
        return UnitState(unit, self.host.clock.elapsed, self.policy)

    def _has_past(self, dataset: str) -> bool:
        """Return whether a time range of the dataset can be read: a snapshot has no past."""
        return (
            hasattr(self.settings, "lookback")
            and not self.input_config.plugin.dataset(dataset).snapshot
        )

    # Units

    def states(self) -> List[UnitState]:
        """Return the state of every unit; before units are known, that of the discovery."""
        if self.is_elsewhere and self.discovery.state == "ok":
            return []
        return list(self.units.values()) or [self.discovery]

    def received_until(self) -> Cursor:
        """Return the cursor of the unit that reads the spool."""
        for unit, state in self.units.items():
            if unit.scope == RECEIVED and state.mark:
                return state.mark.cursor
        return {}

    def due(self) -> Optional[float]:
        """Return when the next unit is due, in seconds of the monotonic clock; None for never."""
        if self.host.share.lease(self.id) is not self.lease:
            return self.host.clock.elapsed()
        states = self.states() or [self.discovery]
        return min((state.due for state in states if state.due < NEVER), default=None)

    def run_due(self) -> None:
        """Run every unit that is due, the longest waiting first."""
        self._take_lease()
        if self.discovery.due <= self.host.clock.elapsed():
            interval = NEVER if self.host.once else REDISCOVER / 1000
            if self.discovery.attempt(self._discover, interval):
                self.host.counts.add(retried=1)
            self.host.after_attempt(self, self.discovery)
        due = [
            state
            for state in sorted(self.units.values(), key=lambda state: state.due)
            if state.due <= self.host.clock.elapsed()
        ]
        parallel = min(self.input_config.plugin.parallel_units(self.settings), len(due))
        for _ in ahead(parallel, [partial(self._attempt, state) for state in due]):
            pass

    def _take_lease(self) -> None:
        """Begin anew, from the marks of the new lease, if the lease of the pulled units is another
        one; without a lease, leave them alone."""
        lease = self.host.share.lease(self.id)
        if lease is not self.lease:
            self.lease = lease
            for unit in [unit for unit in self.units if unit.scope != RECEIVED]:
                del self.units[unit]
            self.discovery = self._state(self.discovery.unit)

    def _discover(self) -> bool:
        """Find the input's units; most plugins need no request for that."""
        units: List[Unit] = []
        if (
            self.host.pull
            and self.lease
            and (not self.time_range or hasattr(self.settings, "lookback"))
        ):
            units = [
                Unit(self.id, dataset, scope)
                for dataset, scope in self.input_config.plugin.units(self.client, self.settings)
            ]
        if self.time_range:
            units = [unit for unit in units if self._has_past(unit.dataset)]
            if not units:
                log.info(
                    "%s: skipped: it receives its events, or reads the present state, and cannot"
                    " read a time range",
                    self.id,
                )
        if self.lease:
            self.host.share.know(self.id, self.input_config.plugin.name, units)
        units = self.host.share.owned(units)
        if self.receiver:
            units.append(self._received_unit())
        self.is_elsewhere = not units and not (self.host.share.alone and self.lease)
        for unit in units:
            if unit not in self.units:
                self.units[unit] = self._state(unit)
        for unit in set(self.units) - set(units):
            del self.units[unit]
        return True

    # One attempt

    def _attempt(self, state: UnitState) -> None:
        if self.host.stopping.is_set() or self.stopped or self._is_handed_over(state.unit):
            return
        error = state.attempt(partial(self._collect, state), self._interval(state))
        if error:
            self.host.counts.add(retried=1)
            state.had_events = {}
            if not self.time_range:
                state.mark = None  # it is loaded again from where it was saved
        self.host.after_attempt(self, state)

    def _interval(self, state: UnitState) -> float:
        if self.host.once:
            return NEVER
        if state.unit.scope == RECEIVED:
            return RECEIVED_EVERY
        return float(self.settings.interval) / 1000

    def _collect(self, state: UnitState) -> bool:
        """Run one cycle of a unit, from its mark to now. Return False if it was cut short."""
        mark = state.mark or self._load_mark(state)
        state.mark = mark
        state.started = self.host.clock.elapsed()
        state.first = 0
        received = state.unit.scope == RECEIVED
        checkpoints: MarkStore = self._marks(state.unit)
        if received and self.delivered_ids:
            checkpoints = self.delivered_ids
        sink: Sink
        source = self.source
        if source:
            sink = AskWhenDoubtful(
                source.is_doubtful,
                lambda: self.route.sink_before(source, {}),
                self.route.sink_before(source, None),
            )
        else:
            sink = self.route.sink(
                save_checkpoints=not self.time_range,
                doubt=state.doubt,
                checkpoints=checkpoints,
            )
        finished = pump(
            unit=state.unit,
            mark=mark,
            feed=self._feed(state, mark),
            map_batch=self._map_with_pauses if received else self.map_batch,
            sink=LogDeliveries(sink) if debugging() else sink,
            on_delivery=partial(self._count, state),
            must_stop=partial(self._must_stop, state),
        )
        if finished:
            state.success = self.host.clock.now()
            state.reached = 0 if received or self.source else state.until
        return finished

    def _marks(self, unit: Unit) -> CheckpointStore:
        """Return where a unit's mark is kept."""
        if unit.scope == RECEIVED or not self.lease:
            return self.host.checkpoints
        return self.lease.marks or self.host.checkpoints

    def _is_handed_over(self, unit: Unit) -> bool:
        """Return whether another worker may run a unit."""
        return unit.scope != RECEIVED and (self.lease is None or self.lease.ended)

    def _load_mark(self, state: UnitState) -> Mark:
        mark = Mark() if self.time_range else self._marks(state.unit).load(state.unit)
        if state.unit.scope == RECEIVED:
            state.reached = 0
        else:
            state.reached = min(max(mark.seen.values(), default=0), self.http.now())
        return mark

    def _feed(self, state: UnitState, mark: Mark) -> Feed:
        unit = state.unit
        if unit.scope == RECEIVED:
            return self._received(unit, mark)
        if self.source:
            now = self.host.clock.now()
            batches = self.input_config.plugin.collect(self.client, unit, mark.cursor, now)
            return Feed(batches, known=lambda events: set())  # its offsets tell what was read
        return self._pulled(state, mark)

    def _pulled(self, state: UnitState, mark: Mark) -> Feed:
        unit = state.unit
        is_first = not mark.cursor and not self.time_range and hasattr(self.settings, "lookback")
        cursor = mark.cursor
        if is_first and state.first_read and self._has_past(unit.dataset):
            cursor = {"until": state.first_read}
        batches = pulled_batches(
            plugin=self.input_config.plugin,
            client=self.client,
            unit=unit,
            cursor=cursor,
            http=self.http,
            overlap=getattr(self.settings, "overlap", 0),
            lookback=getattr(self.settings, "lookback", 0),
            stop=self.time_range[1] if self.time_range else None,
        )
        if is_first:
            start = cursor.get("until", self.http.now() - self.settings.lookback)
            batches = noting_first_read(self.host.database, unit, start, batches)
            batches = state.beginning(start, self.settings.lookback, self.http, batches)
        return Feed(batches)

    def _received(self, unit: Unit, mark: Mark) -> Feed:
        assert self.receiver is not None
        batches = spooled_batches(
            spool=self.receiver.spool,
            cursor=mark.cursor,
            receive=self._records_of,
            fallback=self.input_config.plugin.datasets[0],
            confirm=self.confirmations.add if self.confirmations else None,
        )
        return Feed(batches, known=partial(self._known_ids, unit))

    def _records_of(self, payload: Payload) -> Iterator[Records]:
        assert self.input_config.plugin.receive is not None
        self.yield_to_receiver()
        return self.input_config.plugin.receive(self.settings, payload)

    def _known_ids(self, unit: Unit, events: List[Event]) -> Set[str]:
        """Return the ids of events that were received and delivered before.

        An output that stores marks with its events knows their ids; else the shipper does.
        """
        if not events or self.delivered_ids is None:
            return set()
        if self.route.together:
            return self.route.holds(unit, events) or set()
        return self.delivered_ids.known(unit, ids_of(events))

    def _map_with_pauses(self, batch: Batch, seen: Container[str] = ()) -> List[Event]:
        """Map a batch a few records at a time, and let the receiver work in between."""
        events = self.map_batch(batch._replace(records=[]), seen)
        for start in range(0, len(batch.records), RECORDS_PER_PAUSE):
            self.yield_to_receiver()
            part = batch.records[start : start + RECORDS_PER_PAUSE]
            events += self.map_batch(batch._replace(records=part, lost=()), seen)
        return events

    def _count(self, state: UnitState, delivery: Delivery) -> None:
        if debugging():
            log_batch(state.unit, delivery)
        late = state.count(delivery, getattr(self.settings, "overlap", 0))
        self.host.tally.add(delivery.accepted)
        self.host.counts.add(
            accepted=len(delivery.events),
            echoes=delivery.mapped - len(delivery.events),
            batches=1,
            late=late,
        )
        self.host.progress(self, state)

    def _must_stop(self, state: UnitState) -> bool:
        elapsed = self.host.clock.elapsed() - state.started
        others_wait = len(self.units) > 1 and elapsed > LONGEST_TURN
        handed_over = self._is_handed_over(state.unit)
        return self.host.stopping.is_set() or self.stopped or others_wait or handed_over
