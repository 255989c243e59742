"""The supervisor of `processes: N`: it starts the workers and the receivers, says which unit is
whose, and shows them as one. It reads, maps and delivers nothing itself."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import wait
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ...core.errors import ConfigError, SiemtapError
from ...core.model import Unit
from ...core.windows import HOUR, Millis
from ...edge.clock import SYSTEM
from ...edge.store.checkpoints import Database
from ...edge.store.event_queue import EventQueue
from ...edge.store.rejected import RejectedEvents
from ..config.sections import Config, Input
from ..logs import name_process
from ..stats import Counts, Tally
from ..status.numbers import process_stats, rejected_stats
from . import worker
from .channel import Ended
from .child import Child
from .locks import KILL_AFTER, lock_file
from .merged import merge_inputs, merge_outputs
from .receivers import receives
from .share import Ownership

log = logging.getLogger("siemtap")

STATS_TIMEOUT = 2.0  # seconds: for the status page
SILENT = 30.0  # seconds without an answer after which a process counts as hanging


class Configured(NamedTuple):
    """An input as the status page needs it."""

    input_config: Input


class Supervisor:
    """What runs instead of a `Shipper` where several processes share the work; the status page,
    the metrics and systemd see it as one. Arguments as those of `Shipper`; ids: of the only inputs
    to run.
    """

    def __init__(
        self,
        config: Config,
        once: bool,
        patience: float,
        time_range: Optional[Tuple[Millis, Millis]],
        ids: Tuple[str, ...] = (),
    ) -> None:
        self.config = self.latest = config
        self.once, self.patience, self.time_range, self.ids = once, patience, time_range, ids
        self.clock = SYSTEM
        self.started = self.clock.now()
        self.stopping = threading.Event()
        self.changed = threading.Condition()
        self.reloading = threading.Lock()
        self.reloads = 0
        self.asking = threading.Lock()
        self.database = Database(config.data / "siemtap.db", upgrade=True)
        self.queue = EventQueue(self.database, config.queue.max_bytes)
        self.rejected_events = RejectedEvents(self.database)
        self.health_events = config.health.enabled
        self.stored = Tally()  # before the start, from the embedded store
        if config.has_store:
            self.stored.add_stored(self.database, self.clock.now() - 24 * HOUR)
        number = config.general.process_count
        self.ownership = Ownership(number)
        self.workers = [self._child(f"worker {index + 1}", index) for index in range(number)]
        self.receivers = self._child(worker.RECEIVERS, -1)
        self.fatal: Optional[SiemtapError] = None
        name_process("supervisor")

    def _child(self, name: str, index: int) -> Child:
        def hello() -> Any:
            if index >= 0:
                self._wait_for_receivers()
            return {
                "name": name,
                "role": worker.RECEIVERS if index < 0 else "worker",
                # a mistake of a reload must not end what worked before
                "again": child.has_started or self.reloads > 0,
                "first": self.config.texts,
                **self._latest(),
                "once": self.once,
                "patience": self.patience,
                "time_range": self.time_range,
                "ids": self.ids,
            }

        def handle(question: str, value: Any) -> Any:
            if question == "claim":
                return self.ownership.claim(index, [Unit(*unit) for unit in value])
            if question == "latest":
                return self._latest()
            return None

        lock = lock_file(self.config.data, name)
        child = Child(name, lock, hello, handle, self._notify, self.once and index >= 0)
        return child

    def _latest(self) -> Any:
        """Return the configuration as the other processes get it."""
        reloads = self.reloads  # first: it may be too low, never too high
        return {
            "reloads": reloads,
            "latest": self.latest.texts,
            "overrides": self.config.overrides,
        }

    def _notify(self) -> None:
        with self.changed:
            self.changed.notify_all()

    @property
    def children(self) -> List[Child]:
        """Return the processes that are started."""
        return [child for child in (self.receivers, *self.workers) if child.thread.ident]

    @property
    def inputs(self) -> Mapping[str, Configured]:
        """Return the inputs by id."""
        return {each.id: Configured(each) for each in self.latest.inputs if each.common.enabled}

    # Running

    def run(self, started: Callable[[], None] = lambda: None) -> bool:
        """Run until stopped; with `once`, until everything that is due is done. Return true if
        everything was done."""
        try:
            self._start_receivers()
            for child in self.workers:
                child.start()
            self._wait(lambda: all(child.is_started or child.deaths for child in self.workers))
            if not self.stopping.is_set():
                started()
            self._wait(lambda: self.once and all(child.has_ended for child in self.workers))
        finally:
            self._stop_all()
        if self.fatal:
            raise self.fatal
        done = all(child.result for child in self.workers) and not self._left_waiting()
        self.close()
        return done

    def _start_receivers(self) -> None:
        """Start the process of receivers if there is anything to receive."""
        if self.once or self.receivers.thread.ident:
            return
        if any(map(receives, self.latest.inputs)):
            self.receivers.start()

    def _wait_for_receivers(self) -> None:
        """Wait until the receivers, if there are any, have started, or failed to: what reads a
        spool needs its writer."""
        with self.changed:
            self.changed.wait_for(
                lambda: (
                    self.stopping.is_set()
                    or not self.receivers.thread.ident
                    or self.receivers.is_started
                    or self.receivers.deaths
                ),
                timeout=SILENT,
            )

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition or the end. Workers that have collected everything are told when
        nobody queues events any more."""
        with self.changed:
            while not self.stopping.is_set() and not condition():
                for child in self.children:
                    # The configuration is wrong. What time may mend, such as a full disk, it may
                    # mend while the others work.
                    if isinstance(child.error, ConfigError) and not child.has_started:
                        self.fatal = self.fatal or child.error
                        return self.stopping.set()
                if (
                    self.once
                    and self.workers
                    and all(child.is_collected or child.has_ended for child in self.workers)
                ):
                    for child in self.workers:
                        if child.channel:
                            child.channel.tell("drain")
                self.changed.wait(0.5)

    def _left_waiting(self) -> bool:
        """Return whether events wait for an output although everything has ended; log which."""
        configured = {output.name for output in self.config.outputs}
        names = [name for name in self.queue.outputs() if self.once and name in configured]
        for name in names:
            number = self.queue.waiting(name).events
            log.error("not finished: %s events wait for the output %s", f"{number:,}", name)
        return bool(names)

    def stop(self) -> None:
        """Ask all processes to end after the batch in hand. A signal handler calls this."""
        self.stopping.set()

    def _stop_all(self) -> None:
        self.stopping.set()
        self._notify()
        children = self.children
        for child in children:  # first accept nothing new
            child.stop()
        deadline = time.monotonic() + self.config.general.shutdown_timeout / 1000 + KILL_AFTER
        for child in children:
            child.join(deadline - time.monotonic())

    def close(self) -> None:
        self.database.close()

    def reconfigure(self, config: Config) -> None:
        """Let all processes take over what a reload can change. Raise the first error."""
        with self.reloading:
            self.latest = config
            self.reloads += 1
            message = self._latest()
            # the receivers first: a worker reads a spool that they have made
            errors = self._configure([self.receivers], message)
            self._start_receivers()
            self._wait_for_receivers()
            errors += self._configure(self.workers, message)
        if errors:
            raise errors[0]

    def _configure(self, children: List[Child], message: Any) -> List[SiemtapError]:
        asked = [future for child in children if (future := child.ask("configure", message))]
        errors = []
        for future in asked:
            try:
                future.result()
            except Ended:  # its successor starts with the new configuration
                continue
            except SiemtapError as error:
                errors.append(error)
        return errors

    # What the status page shows

    def _look(self) -> None:
        """Bring the numbers of all processes up to date, if they answer in time."""
        with self.asking:
            wait([future for child in self.children if (future := child.look())], STATS_TIMEOUT)

    def health(self) -> Tuple[bool, str]:
        """Return whether everything works, and the first reason if not."""
        self._look()
        return self._verdict()

    def _verdict(self) -> Tuple[bool, str]:
        reason = next(self._reasons(), "")
        return (False, reason) if reason else (True, "ok")

    def _reasons(self) -> Iterator[str]:
        children = self.children
        for child in children:
            if problem := child.problem():
                yield problem
        for child in children:
            if child.silence > SILENT:
                yield f"{child.name} has not answered for {child.silence:.0f} s"
            if not child.last.get("healthy", True):
                yield child.last["reason"]
        try:
            self.database.check()
        except ConfigError as error:
            yield str(error)

    def hang(self) -> str:
        """Return which process hangs, or does not live; "" if none."""
        asked = {child: child.ask("hang") for child in self.children}
        wait([future for future in asked.values() if future], SILENT)
        now = time.monotonic()
        for child, future in asked.items():
            if future and not future.done():
                return f"{child.name} does not answer"
            if future and not future.exception() and future.result():
                return f"{child.name}: {future.result()}"
            if not child.is_started and not child.has_ended and now - child.began > 2 * SILENT:
                return f"{child.name} has not run for {now - child.began:.0f} s"
        return ""

    def stats(self) -> Dict[str, Any]:
        """Return what /stats serves, as JSON values: the sums of all processes."""
        self._look()
        uptime = self.clock.now() - self.started
        children = self.children
        parts = [child.last for child in children]
        outputs = merge_outputs(parts)
        return {
            **process_stats(uptime, *self._verdict()),
            "processes": [
                {
                    "name": child.name,
                    "pid": child.process.pid if child.process else None,
                    "state": "ok" if child.is_started else "starting",
                    "error": child.problem(),
                    "restarts": child.restarts,
                }
                for child in children
            ],
            "inputs": merge_inputs(parts),
            "outputs": outputs,
            "output": {
                "name": ", ".join(row["type"] for row in outputs),
                **self.totals,
                **rejected_stats(self.rejected_events),
                "queue": sum(part.get("output", {}).get("queue", 0) for part in parts),
            },
        }

    @property
    def totals(self) -> Mapping[str, int]:
        """Return the sums of what all processes have counted, as they said last."""
        totals = dict.fromkeys(Counts.NAMES, 0)
        for child in self.children:
            for name, number in child.counts().items():
                totals[name] = totals.get(name, 0) + number
        return totals

    @property
    def tally(self) -> Tally:
        """Return the numbers of the charts, of all processes."""
        tally = Tally()
        tally.add_json(self.stored.to_json(0))
        for child in self.children:
            child.add_tally(tally)
        return tally
