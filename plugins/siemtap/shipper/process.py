"""The process `siemtap run`: opens what the configuration names, runs the inputs, closes all."""

from __future__ import annotations

import logging
import socket
import threading
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Set, Tuple

from .. import VERSION
from ..core.errors import SiemtapError
from ..core.model import Unit
from ..core.rows import Event
from ..core.settings import Connection
from ..core.windows import HOUR, Millis
from ..edge.client.http import Http, connect
from ..edge.clock import SYSTEM, Clock
from ..edge.receive.receiver import ListenerPool, Receiver
from ..edge.receive.spool import Spool
from ..edge.receive.spool_reader import SpoolReader
from ..edge.store.checkpoints import Checkpoints, Database
from ..edge.store.identity import identity
from ..edge.store.rejected import RejectedEvents
from ..engine.protocols import EventCheck
from ..outputs import OutputContext
from ..outputs.kafka.output import limits_of
from ..render import registry
from .config.reload import start_or_go_on
from .config.sections import Config, Input, OutputConfig
from .delivery.outputs import Outputs
from .delivery.routes import Checking, Route
from .fleet.fleet import Fleet
from .health import Health
from .input import RunningInput
from .memory import run_gc_less_often, tune_malloc
from .processes.receivers import receive
from .processes.share import ALONE, Share
from .processors.mapping import check_of_installed
from .scheduler import Scheduler
from .stats import Counts, Tally
from .status import numbers, verdict
from .status.unit_checks import check_unit, warn_of_skew
from .systemd import hang_of
from .unit import UnitState

log = logging.getLogger("siemtap")

SPREAD_FACTOR = 10  # inputs per worker above which first requests are spread over the interval
SPARE_CONNECTIONS = 16  # of the connection pool, beyond one per worker
Hook = Callable[..., None]


def added_fields() -> Mapping[str, Any]:
    """Return the `agent.*` fields that every event gets."""
    return {"agent.type": "siemtap", "agent.version": VERSION, "agent.name": socket.gethostname()}


class Shipper:
    """The process: opens what the configuration names, runs its inputs until it is stopped, and
    closes everything.

    once: collect everything that is due, then end. patience: with `once`, seconds to retry an
    input that fails. time_range: read this range only, and leave checkpoints alone. https: builds
    the HTTP client, for tests. listen: open the listeners of inputs; by default unless `once`.
    pull: call the vendors' APIs; false processes only what was received. share: the units that
    this process runs.
    """

    def __init__(
        self,
        config: Config,
        once: bool = False,
        patience: float = 120.0,
        time_range: Optional[Tuple[Millis, Millis]] = None,
        clock: Clock = SYSTEM,
        progress: Optional[Hook] = None,
        https: Optional[Callable[[Connection], Http]] = None,
        listen: Optional[bool] = None,
        pull: bool = True,
        share: Share = ALONE,
    ) -> None:
        self.config = config
        self.once = once
        self.patience = patience
        self.time_range = time_range
        self.clock = clock
        self.pull = pull
        self.share = share
        # a single pass drains what was received, and receives nothing
        self.listen = not once if listen is None else listen
        self.on_progress = progress
        self.https = https

        self.stopping = threading.Event()
        self.reloading = threading.Lock()  # one reload at a time
        self.started = clock.now()
        self.counts = Counts()
        self.tally = Tally()
        self.added_fields = added_fields()
        self.clients: Dict[Connection, Http] = {}  # inputs with equal settings share connections
        self.skew_reported: Set[str] = set()  # hosts
        self.inputs: Dict[str, RunningInput] = {}
        self.refused: Dict[str, str] = {}  # inputs that do not run as configured, and why

        self.database = Database(config.data / "siemtap.db", upgrade=True)
        self.checkpoints = Checkpoints(self.database)
        self.scheduler = Scheduler(clock, self.stopping, config.general.workers, once)
        self.fleet: Optional[Fleet] = None
        # single passes, such as those of commands, are no worker's
        if config.cluster.enabled and share.alone and not once:
            self.fleet = self._fleet()
            self.share = self.fleet
        self.rejected_events = RejectedEvents(self.database)
        self.index_by_input: Dict[str, str] = {
            input_config.id: input_config.common.index for input_config in config.inputs
        }
        self.listeners = ListenerPool(clock)
        self.check: Optional[EventCheck] = check_of_installed() if config.general.validate else None
        self.delivery = Outputs(
            config,
            self,
            Checking(
                self.check,
                self.rejected_events,
                self.counts.reject,
                self.counts.unfit,
            ),
            OutputContext(
                database=self.database,
                clock=clock,
                stopping=self.stopping,
                index_by_input=self.index_by_input,
                datasets=registry.datasets(),
                vendor_now=self._vendor_time,
                process=share.name,
            ),
        )
        # the supervisor of several processes does it for all of them
        if share.alone and any(output.together for output in self.delivery.outputs.values()):
            self.tally.add_stored(self.database, clock.now() - 24 * HOUR)
        self.health_events: Optional[Health] = None
        if config.health.enabled:
            self.health_events = Health(
                self, config.health.namespace, config.health.interval / 1000, self._deliver_health
            )
        self.configure(config.inputs)

    def _fleet(self) -> Fleet:
        return Fleet(
            self.config.cluster,
            identity(self.database),
            limits_of(self.config.output.settings),
            stop=self.scheduler.abort,
            changed=self.scheduler.reconsider,
        )

    def _vendor_time(self) -> Millis:
        """Return the latest time that a vendor's `Date` header gave; else this machine's time.

        The latest, so that one vendor whose clock stands still does not hold back the others.
        """
        times = [
            running.http.now()
            for running in list(self.inputs.values())
            if running.http.clock_readings
        ]
        return max(times, default=self.clock.now())

    def _deliver_health(self, unit: Unit, events: List[Event]) -> None:
        self.delivery.deliver_health(self.config.health.output, unit, events)
        self.counts.add(accepted=len(events))

    def route(self, input_config: Input) -> Route:
        """Return the way of an input's events to its outputs."""
        return self.delivery.route(input_config.outputs)

    def has_spool(self, input: str) -> bool:
        """Return whether an input has received payloads before."""
        return (self.config.data / "spool" / input).exists()

    def receive(self, input_config: Input) -> Receiver:
        """Open an input's spool and its listeners."""
        receiving = input_config.receiving
        assert receiving is not None
        folder = self.config.data / "spool" / input_config.id
        if self.share.alone or self.once or not receiving.receives:  # no other process writes it
            spool: SpoolReader = Spool(folder, receiving.spool_max_bytes)
            return receive(input_config, spool, self.listeners if self.listen else None)
        return receive(input_config, SpoolReader(folder), None)

    def http(self, connection: Connection) -> Http:
        """Return a client for one input; inputs with equal connection settings share sockets."""
        if connection not in self.clients:
            if self.https:
                client = self.https(connection)
            else:
                client = connect(
                    connection,
                    pool=self.config.general.workers + SPARE_CONNECTIONS,
                    clock=self.clock,
                )
            self.clients[connection] = client
            if not connection.verify:
                log.warning(
                    "certificates are not verified (verify: false): anybody on the network path can"
                    " read the key and forge events"
                )
        return self.clients[connection].view()

    # Configuration

    def reconfigure(self, config: Config) -> None:
        """Take over what a reload can change."""
        self.configure(config.inputs, config.outputs)

    def configure(self, inputs: Iterable[Input], outputs: Iterable[OutputConfig] = ()) -> None:
        """Start new inputs, stop removed ones, restart changed ones, leave the others alone.

        outputs: open those that are new, and those that are changed and can be replaced; their
        inputs restart.

        A changed input that cannot start (its address is in use) runs on with its old settings.
        The others are started all the same; then the first error is raised.
        """
        configured = {
            input_config.id: input_config for input_config in inputs if input_config.common.enabled
        }
        errors: Dict[str, SiemtapError] = {}
        with self.reloading, self.scheduler.lock:
            replaced = self.delivery.reload(outputs)
            self.index_by_input.update({id: each.common.index for id, each in configured.items()})
            removed = [each for id, each in self.inputs.items() if id not in configured]
            before = self._stop_changed(configured, {output.name for output in replaced})
            to_start = [
                input_config
                for id, input_config in configured.items()
                if id not in self.inputs or id in before
            ]
            to_start.sort(key=lambda input_config: self.scheduler.is_busy(input_config.id))
            for position, input_config in enumerate(to_start):
                delay = self._first_delay(input_config, position, len(to_start))
                # Two owners of a unit would deliver the same events: the old one ends first. The
                # lock is free meanwhile.
                self.scheduler.wait_while_busy(input_config.id)
                if self.stopping.is_set():
                    return
                if input_config.id in before:
                    self.inputs.pop(input_config.id).close()
                start = partial(self._start, delay=delay)
                error = start_or_go_on(start, input_config, before.get(input_config.id))
                if error:
                    errors[input_config.id] = error
            self.refused = {id: str(error) for id, error in errors.items()}
            self.index_by_input.update(
                {id: running.input_config.common.index for id, running in self.inputs.items()}
            )
            for running in removed:
                if replaced or running.source:
                    self.scheduler.wait_while_busy(running.id)
                running.close_source()
        if self.fleet:
            self.fleet.configured(configured)
        self.delivery.close_replaced(replaced)
        if errors:
            raise next(iter(errors.values()))

    def _stop_changed(
        self, configured: Mapping[str, Input], replaced: Set[str]
    ) -> Dict[str, Input]:
        """Stop the inputs that are removed or changed, or that deliver to an output that was
        replaced; return their old configurations by id.

        A changed one goes on receiving until its successor starts; a removed one goes on reading
        events until the batch in hand is delivered.
        """
        before = {
            id: running.input_config
            for id, running in self.inputs.items()
            if configured.get(id) != running.input_config
            or replaced.intersection(running.input_config.outputs)
        }
        for id in before:
            self.inputs[id].stopped = True
            if id not in configured:
                self.inputs.pop(id).close_receiver()
        return before

    def _first_delay(self, input_config: Input, position: int, number: int) -> float:
        """Return the seconds until an input's first request: many inputs spread over the
        interval."""
        if self.once or number <= SPREAD_FACTOR * self.config.general.workers:
            return 0.0
        return float(input_config.settings.interval / 1000 * position / number)

    def _start(self, input_config: Input, delay: float) -> None:
        running = RunningInput(input_config, self, self.time_range)
        self.inputs[input_config.id] = running
        running.discovery.due = self.clock.elapsed() + delay
        self.scheduler.add(running, running.discovery.due)

    # Running

    def run(self, started: Callable[[], None] = lambda: None) -> bool:
        """Run until stopped; with `once`, until everything that is due is done.

        started: is called once, when all inputs and listeners are started.

        Return true if every unit was read to its end and no event was rejected.
        """
        run_gc_less_often()
        tune_malloc(self.scheduler.stopping)
        self.delivery.start()
        self.scheduler.start()
        if self.fleet:
            self.fleet.start()
        if self.health_events:
            self.health_events.start()
        started()
        self.scheduler.wait_for_end()
        for running in self.inputs.values():  # first accept nothing new
            if running.receiver:
                running.receiver.pause()
        self.stop()
        ended = self.scheduler.join(self.config.general.shutdown_timeout / 1000)
        if self.scheduler.fatal:
            if self.fleet:
                self.fleet.close()  # its threads would hold up the exit
            raise self.scheduler.fatal
        if self.health_events:
            self.health_events.close()
        done = all(state.done for running in self.inputs.values() for state in running.states())
        done = done and all(reader.done for reader in self.delivery.readers.values())
        sources = [running.source for running in self.inputs.values() if running.source]
        done = done and not any(source.unread() for source in sources)
        if ended:
            self.close()
        return done and not self.scheduler.internal_error and not self.counts.totals["rejected"]

    def stop(self) -> None:
        """Ask the workers to end after the batch in hand."""
        self.scheduler.stop()

    def close(self) -> None:
        """Close receivers, output and database."""
        for running in self.inputs.values():
            running.close()
        if self.fleet:
            self.fleet.close()
        self.delivery.close()
        self.database.close()

    # After each attempt

    def after_attempt(self, running: RunningInput, state: UnitState) -> None:
        """Check a unit after an attempt: silence, clock differences; report its health."""
        warn_of_skew(running, self.skew_reported)
        check_unit(running, state, self.clock.elapsed())
        if self.health_events:
            self.health_events.changed(str(state.unit), state.state, state.error)

    def progress(self, running: RunningInput, state: UnitState) -> None:
        """Call the progress hook after a delivery."""
        if self.on_progress:
            self.on_progress(running, state)

    # What the status page shows

    def health(self) -> Tuple[bool, str]:
        """Return whether everything works, and the first reason if not."""
        return verdict.health(self)

    @property
    def totals(self) -> Mapping[str, int]:
        """Return what was counted since the start."""
        return self.counts.totals

    def hang(self) -> str:
        """Return what hangs; "" if nothing does."""
        return hang_of(self)

    def stats(self) -> Dict[str, Any]:
        """Return what /stats serves, as JSON values."""
        return numbers.stats(self)
