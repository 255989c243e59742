"""What a process that the supervisor has started does: a worker, or the receivers."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import filelock

from ...core.errors import ConfigError, SiemtapError
from ...core.model import Unit
from ...core.windows import DAY
from ...edge.receive.limits import raise_file_limit
from ...edge.store import private
from .. import logs
from ..config.load import load_texts
from ..config.sections import Config, Input
from ..input import RunningInput
from ..process import Shipper
from ..progress import Backfill
from ..status.verdict import log_failures
from .channel import Channel, Ended
from .receivers import Receivers
from .share import Share

log = logging.getLogger("siemtap")

RECEIVERS = "receivers"
LOCK_TIMEOUT = 30.0  # seconds; the supervisor starts nobody before the last owner has ended
CHECK_EVERY = 0.1  # seconds between two looks whether all is collected, with --once


class Claims(Share):
    """The share of a worker: its supervisor says which units are its own."""

    alone = False

    def __init__(self, name: str, channel: Channel) -> None:
        self.name = name
        self.channel = channel
        self.known: Dict[Unit, bool] = {}  # an answer holds until the supervisor ends
        self.drained = threading.Event()  # nobody queues events any more, with --once

    def owned(self, units: List[Unit]) -> List[Unit]:
        new = [unit for unit in units if unit not in self.known]
        if new:
            owned = {Unit(*unit) for unit in self.channel.ask("claim", new).result()}
            self.known.update((unit, unit in owned) for unit in new)
        return [unit for unit in units if self.known[unit]]

    def others_queue(self) -> bool:
        return not self.drained.is_set()


class Process:
    """A process of the supervisor, until that says that it stops, or ends itself."""

    def __init__(self, channel_in: Any, channel_out: Any, lock: Path) -> None:
        self.lock = lock
        self.shipper: Optional[Shipper] = None
        self.receivers: Optional[Receivers] = None
        self.claims: Optional[Claims] = None
        self.ids: List[str] = []
        self.stopping = threading.Event()
        self.configuring = threading.Lock()  # one after another, the latest last
        self.channel = Channel(channel_in, channel_out, self._handle, self.stop, blocks=True)

    def stop(self) -> None:
        """End after the batch in hand. Called also when the supervisor has ended: its successor
        waits for the lock of this process."""
        self.stopping.set()
        if self.shipper:
            self.shipper.stop()

    def run(self) -> int:
        """Run to the end; return the exit code."""
        held = filelock.FileLock(self.lock, timeout=LOCK_TIMEOUT, mode=private.FILE)
        try:
            held.acquire()
            # the answer proves that the supervisor lives: nobody else starts units meanwhile
            start = self.channel.ask("hello").result()
        except Ended:
            return 1
        except filelock.Timeout:
            print(f"another process holds {self.lock}", file=sys.stderr)
            return 1
        first, latest = (load_texts_of(start, name) for name in ("first", "latest"))
        _log_to(self.channel, latest)
        raise_file_limit()
        self.ids = start["ids"]
        try:
            if start["role"] == RECEIVERS:
                return self._receive(first, latest, start)
            return self._work(first, latest, start)
        except SiemtapError as error:
            kind = ConfigError.__name__ if isinstance(error, ConfigError) else ""
            self.channel.tell("failed", [kind, str(error)])
            return 2

    def _receive(self, first: Config, latest: Config, start: Mapping[str, Any]) -> int:
        receivers = self.receivers = Receivers(first)
        try:
            try:
                receivers.configure(latest.inputs)
            except SiemtapError as error:
                self._refuse(error, start)
            self._tell_started(start)
            self.stopping.wait()
        finally:
            receivers.close()
        return 0

    def _work(self, first: Config, latest: Config, start: Mapping[str, Any]) -> int:
        claims = self.claims = Claims(start["name"], self.channel)
        shipper = Shipper(
            replace(first, inputs=()),
            once=start["once"],
            patience=start["patience"],
            time_range=start["time_range"] and tuple(start["time_range"]),
            share=claims,
            progress=Backfill(is_terminal=False),
        )
        self.shipper = shipper
        try:
            shipper.configure(self._chosen(latest), latest.outputs)
        except SiemtapError as error:
            self._refuse(error, start)
            if not shipper.inputs:  # an output was refused: those of the start are open
                self._start_inputs(shipper, latest)
        if self.stopping.is_set():
            shipper.stop()
        if start["once"]:
            threading.Thread(target=self._report_collected, name="collected", daemon=True).start()
        done = shipper.run(lambda: self._tell_started(start))
        if start["once"]:
            log_failures(shipper)
        self.channel.tell("ended", [done, totals_of(shipper)])
        return 0 if done or not start["once"] else 1

    def _start_inputs(self, shipper: Shipper, config: Config) -> None:
        """Start the inputs that can run with the outputs that are open; log why another cannot."""
        try:
            shipper.configure(self._chosen(config))
        except SiemtapError as error:
            log.error("%s", error)

    def _refuse(self, error: SiemtapError, start: Mapping[str, Any]) -> None:
        """Raise an error of the first start, which ends all processes. Later it is a mistake of a
        reload, which the reload has told: the other inputs run on."""
        if not start["again"]:
            raise error
        log.error("%s; the other inputs run", error)

    def _tell_started(self, start: Mapping[str, Any]) -> None:
        """Say that this process has started, and take over what was reloaded meanwhile: nobody
        sends a reload to a process that has not started."""
        self.channel.tell("started")
        try:
            with self.configuring:
                latest = self.channel.ask("latest").result()
                if latest["reloads"] != start["reloads"]:
                    self._configure(latest)
        except Ended:  # and this process ends, too
            pass
        except SiemtapError as error:
            log.error("%s", error)

    def _chosen(self, config: Config) -> Tuple[Input, ...]:
        """Return the inputs of a configuration that `--input` names; all without it."""
        return tuple(each for each in config.inputs if not self.ids or each.id in self.ids)

    def _report_collected(self) -> None:
        """Tell the supervisor once that no input has anything to do any more."""
        assert self.shipper
        while any(isinstance(each, RunningInput) for each in self.shipper.scheduler.scheduled()):
            time.sleep(CHECK_EVERY)
        self.channel.tell("collected")

    # What the supervisor says

    def _handle(self, name: str, value: Any) -> Any:
        if name == "stop":
            # this thread takes the answers that a reload waits for, with the lock that `stop` needs
            return threading.Thread(target=self.stop, name="stop", daemon=True).start()
        if name == "drain" and self.claims:
            return self.claims.drained.set()
        return self._answer(name, value)

    def _answer(self, name: str, value: Any) -> Any:
        shipper, receivers = self.shipper, self.receivers
        if name == "configure":
            with self.configuring:
                self._configure(value)
        elif name == "stats":
            if shipper:
                return {**shipper.stats(), "totals": totals_of(shipper)}
            return receivers.stats() if receivers else None
        elif name == "hang":
            return shipper.hang() if shipper else ""
        return None

    def _configure(self, message: Mapping[str, Any]) -> None:
        config = load_texts_of(message, "latest")
        _log_to(self.channel, config)
        if self.receivers:
            self.receivers.configure(config.inputs)
        elif self.shipper:
            self.shipper.configure(self._chosen(config), config.outputs)


def totals_of(shipper: Shipper) -> Any:
    """Return what a process has counted, as JSON values: numbers by name, and the charts'."""
    counts = {**shipper.counts.totals, **shipper.delivery.counts()}
    return counts, shipper.tally.to_json(shipper.clock.now() - DAY)


def load_texts_of(message: Mapping[str, Any], name: str) -> Config:
    """Return a configuration that the supervisor has read and checked: as it was then, whatever
    the file holds by now."""
    texts = [(file, text) for file, text in message[name]]
    return load_texts(texts, os.environ, message["overrides"])


def _log_to(channel: Channel, config: Config) -> None:
    """Log to the supervisor, at the level of the configuration."""
    log.handlers[:] = [logs.ToSupervisor(lambda line: channel.tell("log", line))]
    log.setLevel(config.logging.level.upper())
    log.propagate = False


def run_worker(lock: Path) -> int:
    """Run as a process of a supervisor, which speaks by standard input and listens by standard
    error. Return the exit code."""
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        # a terminal and a service manager send them to all: the supervisor passes on what it wants
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    # files of their own: an interpreter that ends aborts, if a thread still reads from sys.stdin
    listens = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    speaks = os.fdopen(os.dup(sys.stderr.fileno()), "wb")
    return Process(listens, speaks, lock).run()
