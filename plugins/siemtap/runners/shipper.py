"""Hosts the loop outside a SIEM: inputs by due time, a bounded pool of workers, one output."""

from __future__ import annotations

import ctypes
import gc
import heapq
import itertools
import logging
import os
import socket
import sys
import threading
import time
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Set, Tuple

from .. import VERSION, contract
from ..core.errors import SiemtapError
from ..core.forms import Connection
from ..core.mapping import Event
from ..core.model import Mark, Unit
from ..core.windows import HOUR, MINUTE, Millis
from ..edge.checkpoints import Checkpoints, Database
from ..edge.clock import SYSTEM, Clock
from ..edge.http import Http, connect
from ..edge.rejects import News, Rejects
from ..engine import InDoubt, Then, frames
from ..outputs import Around
from ..outputs.checked import Checked, compiled, printable
from ..outputs.contained import Contained
from . import plugins
from .config import OUTPUTS, Config, Input
from .health import Health
from .receiving import Ears, Reception
from .running import Running, UnitState
from .stats import Counts, Tally, severity_name

log = logging.getLogger("siemtap")

SKEW_WARNING = 60_000  # milliseconds
M_MMAP_THRESHOLD = -3  # of malloc.h
LARGE_BLOCK = 256 * 1024  # bytes
Hook = Callable[..., None]


def spare_the_collector() -> None:
    """Events are trees that die by themselves; looking among them for cycles every 700 objects
    costs a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def give_back_memory() -> None:
    """Make glibc hand large blocks back to the system when they are freed (mallopt(3),
    M_MMAP_THRESHOLD). By itself it raises that bound to 32 MiB, and each of its arenas, eight a
    core, then keeps what one large answer or body once took."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def also() -> Mapping[str, Any]:
    """What every event says of who brought it."""
    return {"agent.type": "siemtap", "agent.version": VERSION, "agent.name": socket.gethostname()}


class Shipper:
    """The process: opens what the configuration names, runs inputs until told to stop, closes
    it."""

    def __init__(
        self,
        config: Config,
        once: bool = False,
        patience: float = 120.0,
        stretch: Optional[Tuple[Millis, Millis]] = None,
        clock: Clock = SYSTEM,
        progress: Optional[Hook] = None,
        https: Optional[Callable[[Connection], Http]] = None,
        listen: Optional[bool] = None,
        pull: bool = True,
    ) -> None:
        self.pull = pull  # false: only what was received
        # a single pass drains what was received, and receives nothing
        self.listen = not once if listen is None else listen
        self.config, self.once, self.patience, self.stretch, self.clock = (
            config,
            once,
            patience,
            stretch,
            clock,
        )
        self.stopping = threading.Event()
        self.started = clock.now()
        self.counts, self.tally = Counts(), Tally()
        self.on_progress = progress
        self.also = also()
        self.https = https
        self.clients: Dict[Connection, Http] = {}  # whose sockets are shared
        self.skewed: Set[str] = set()
        self.unmarked: Set[str] = set()
        self.fatal: Optional[BaseException] = None
        self.undone = False  # something failed outside of any unit
        self.inputs: Dict[str, Running] = {}
        self.database = Database(config.data / "siemtap.db")
        self.checkpoints, self.rejects = Checkpoints(self.database), Rejects(self.database)
        self.index_of: Dict[str, str] = {wish.id: wish.every.index for wish in config.inputs}
        self.sink = OUTPUTS[config.output](
            config.output_settings,
            Around(self.database, clock, self.stopping, self.index_of, self._vendors_now),
        )
        self.ready = Contained(
            Checked(
                self.sink,
                self._check() if config.general.validate else None,
                self.rejects,
                self._rejected,
            ),
            self.rejects,
            self._rejected,
        )
        self.ears = Ears(clock)
        self.lock = threading.Condition()
        self.heap: List[Tuple[float, int, Running]] = []
        self.order = itertools.count()
        self.busy = 0
        self._seed_tally()
        self.health_events = (
            Health(
                self, config.health.namespace, config.health.interval / 1000, self._deliver_health
            )
            if config.health.enabled
            else None
        )
        self.configure(config.inputs)

    def _check(self) -> Callable[[Event], Optional[str]]:
        return compiled(contract.read("event.schema.json"), plugins.datasets().values())

    def _rejected(self, number: int) -> None:
        self.counts.add(rejected=number, accepted=-number)

    def _vendors_now(self) -> Millis:
        """The time by the vendors that said it: the latest, so that one whose clock stands still
        holds back nothing that others bring."""
        heard = [running.http.now() for running in list(self.inputs.values()) if running.http.heard]
        return max(heard, default=self.clock.now())

    def _deliver_health(self, unit: Unit, events: List[Event]) -> None:
        self.ready.deliver(unit, events, None)
        self.counts.add(accepted=len(events))

    def _seed_tally(self) -> None:
        """The pictures begin with what the embedded store holds already."""
        if self.sink.together:
            sql = (
                "SELECT time / 1800000 * 1800000, dataset, severity, action, rule, source, count(*)"
                " FROM event WHERE time > ? GROUP BY 1, 2, 3, 4, 5, 6"
            )
            rows = self.database.read(sql, [self.clock.now() - 24 * HOUR])
            self.tally.add_rows((row[0], row[1], severity_name(row[2]), *row[3:]) for row in rows)

    def output(self, beside: bool, in_doubt: bool, checkpoints: Any = None) -> Any:
        """The output as one cycle needs it. `beside`: leave the checkpoints alone.
        `checkpoints`: others than usual."""
        if beside:
            return InDoubt(_Unmarked(self.ready), self.unmarked)
        if self.sink.together:
            return self.ready
        return Then(
            InDoubt(self.ready, self.unmarked) if in_doubt else self.ready,
            checkpoints or self.checkpoints,
            self.unmarked,
        )

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
            log.info(
                "%s: listening at %s",
                wish.id,
                ", ".join(reception.addresses) or "nothing; set `listen` or `syslog`",
            )
        return reception

    def http(self, connection: Connection) -> Http:
        """A client of an input's own, over the sockets of all inputs that reach the world alike."""
        if connection not in self.clients:
            make = self.https or (
                lambda connection: connect(
                    connection, pool=self.config.general.workers + 16, clock=self.clock
                )
            )
            self.clients[connection] = make(connection)
            if not connection.verify:
                log.warning(
                    "certificates are not verified (verify: false): anybody in between can read the"
                    " key and forge events"
                )
        return self.clients[connection].view()

    def configure(self, inputs: Iterable[Input]) -> None:
        """Start what is new, stop what is gone, leave alone what is as it was. An input that cannot
        start as it is wanted now (its address is taken) goes on as it was; then the others are
        started still, and its error is raised."""
        wanted = {wish.id: wish for wish in inputs if wish.every.enabled}
        refused: List[SiemtapError] = []
        with self.lock:
            before = {
                id: running.wish
                for id, running in self.inputs.items()
                if wanted.get(id) != running.wish
            }
            for id in before:
                gone = self.inputs.pop(id)
                gone.stopped = True
                if gone.reception:
                    gone.reception.close()
            fresh = [wish for id, wish in wanted.items() if id not in self.inputs]
            for place, wish in enumerate(fresh):
                spread = (
                    wish.settings.interval / 1000 * place / len(fresh)
                    if len(fresh) > 10 * self.config.general.workers and not self.once
                    else 0.0
                )
                try:
                    self._start(wish, spread)
                except SiemtapError as error:
                    refused.append(error)
                    if wish.id in before:
                        self._start(before[wish.id], spread)
            self.index_of.update(
                {id: running.wish.every.index for id, running in self.inputs.items()}
            )
            self.lock.notify_all()
        if refused:
            raise refused[0]

    def _start(self, wish: Input, wait: float) -> None:
        running = self.inputs[wish.id] = Running(wish, self, self.stretch)
        running.discovery.due = self.clock.elapsed() + wait
        heapq.heappush(self.heap, (running.discovery.due, next(self.order), running))

    def run(self) -> bool:
        """Until stopped; with `once`, until all that is due is done. True if nothing was left
        undone, and nothing refused."""
        spare_the_collector()
        give_back_memory()
        workers = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(self.config.general.workers)
        ]
        for worker in workers:
            worker.start()
        if self.health_events:
            self.health_events.start()
        with self.lock:
            while not self.stopping.is_set() and not (
                self.once and not self.heap and not self.busy
            ):
                self.lock.wait(0.5)
        for running in self.inputs.values():  # first nothing new is promised
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
        done = all(state.done for running in self.inputs.values() for state in running.states())
        return done and not self.undone and not self.counts.totals["rejected"]

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
            due: Optional[float] = None
            try:
                running.turn()
                due = running.due()
            # outside of any attempt: a fault of ours, which is no reason to stop the other inputs
            except Exception as error:
                if isinstance(error, MemoryError):
                    self._end(error)
                else:
                    due = self._faulty(running, error)
            # we are told to end, or nobody reads our standard output any more; cursors are kept
            except BaseException as error:
                self._end(error)
            with self.lock:
                self.busy -= 1
                if due is not None and not running.stopped:
                    heapq.heappush(self.heap, (due, next(self.order), running))
                self.lock.notify_all()

    def _end(self, error: BaseException) -> None:
        self.fatal = error
        self.stopping.set()

    def _faulty(self, running: Running, error: Exception) -> Optional[float]:
        """When to look at the input again."""
        log.error(
            "%s: %s outside of any unit, a fault of siemtap; its other units wait for a minute",
            running.id,
            type(error).__name__,
        )
        log.debug("%s", frames(error))
        self.undone = True
        return None if self.once else self.clock.elapsed() + MINUTE / 1000

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
        if (
            silent
            and state.state == "ok"
            and (self.clock.elapsed() - max(state.last_event, state.active_since)) * 1000 > silent
        ):
            state.state, state.error = (
                "degraded",
                f"no event for longer than silent_after ({silent // MINUTE} min)",
            )
        for host, skew in list(running.http.skew.items()):
            if abs(skew) > SKEW_WARNING and host not in self.skewed:
                self.skewed.add(host)
                log.warning(
                    "the clock of %s differs from ours by %.0f s: check both, or raise `lag`",
                    host,
                    skew / 1000,
                )
        ahead = running.http.ahead()
        state.clock_differs = (
            state.state == "ok" and ahead > getattr(running.settings, "lag", 0) and not self.stretch
        )
        if state.clock_differs:
            state.state = "degraded"
            state.error = (
                f"the clock of this machine is ahead of {', '.join(sorted(running.http.heard))} by"
                f" {ahead / 1000:.0f} s or more: set it, by NTP say, or raise `lag` if theirs is"
                " behind; nothing is read that has not happened yet for them"
            )
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
                return (
                    False,
                    (
                        f"{running.id}: the spool is full; senders are refused until the output"
                        " takes what waits"
                    ),
                )
        try:
            news = self.rejects.news()
        except SiemtapError as error:
            return False, str(error)
        return (False, refusal(news)) if news else (True, "ok")

    def stats(self) -> Dict[str, Any]:
        now = self.clock.now()
        inputs = [
            {
                "id": running.id,
                "type": running.wish.plugin.name,
                "units": [state.show(now, running.settings) for state in running.states()],
                **(
                    {"received": running.reception.show(running.received_until())}
                    if running.reception
                    else {}
                ),
                "clock_difference_s": {
                    host: skew / 1000 for host, skew in list(running.http.skew.items())
                },
            }
            for running in list(self.inputs.values())
        ]
        healthy, why = self.health()
        news = self.rejects.news()
        return {
            "version": VERSION,
            "uptime_s": (now - self.started) // 1000,
            "pid": os.getpid(),
            "healthy": healthy,
            "reason": why,
            "inputs": inputs,
            "output": {
                "name": self.config.output,
                **self.counts.totals,
                **dict(getattr(self.sink, "counts", {})),
                "waiting_rejected": self.rejects.count(),
                "news_of_rejected": refusal(news) if news else None,
                "queue": self.database.works.qsize(),
            },
        }


def refusal(news: News) -> str:
    """Say what was refused, why, and what to do."""
    return (
        f"{news.number:,} events were refused and nobody has looked at them; the latest one, of"
        f" {news.unit}: {printable(news.reason)}; see `siemtap rejected list`, then `retry` or"
        " `delete` them"
    )


class _Unmarked:
    """Around an output: events without their mark, for reading beside the checkpoints."""

    def __init__(self, output: Any) -> None:
        self.output, self.holds = output, output.holds

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> None:
        if events:
            self.output.deliver(unit, events, None)
