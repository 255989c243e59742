"""The modular input: one stanza, one cycle, from the checkpoints to splunkd's pipe.

Splunk starts the input again after its interval.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, Optional, Set, Tuple

from splunklib.modularinput import InputDefinition

from ...core.convert import rfc3339
from ...core.errors import ConfigError
from ...core.manifest import describe, fill_in
from ...core.model import Plugin, Unit
from ...core.settings import CommonSettings, Connection
from ...core.windows import Millis
from ...edge.client.ahead import ahead
from ...edge.client.http import Http, connect
from ...edge.clock import SYSTEM, Clock
from ...edge.signal_calls import SignalCalls
from ...edge.splunk.serializer import sourcetype
from ...edge.store.checkpoints import Checkpoints, Database
from ...engine.clocks import ahead_warning, skew_warnings
from ...engine.cycle import Cycle, Policy
from ...engine.feeds import pulled_batches
from ...engine.mapper import batch_mapper
from ...engine.protocols import CheckpointStore, Feed, MapBatch, Sink
from ...engine.pump import pump
from ...engine.sinks import CheckpointAfter, SkipDelivered
from .logs import configure_logging, log_name, set_level
from .names import App, account_settings, file_name, input_settings
from .parameters import parse_start
from .pipe import Pipe, PipeClosed, SignalGuard
from .splunkd import SessionEnded, Splunkd, error_summary, parse_values, stanza_name
from .stored.checkpoints import KvCheckpoints
from .stored.failures import Failures
from .stored.tokens import TokenPasswords

log = logging.getLogger("siemtap")

LONGEST_WAIT = 60.0  # seconds without progress; then the unit waits for the next interval
POLICY = Policy(
    max_attempts=3,
    patience=LONGEST_WAIT,
    contains_memory_error=True,
    advice=(
        "check the vendor's status page, and this machine's network, DNS and proxy; the checkpoint"
        " is kept, and each run tries again"
    ),
)
PARENT_CHECK_EVERY = 2.0  # seconds between two checks that splunkd still runs


class Input:
    """A stanza of inputs.conf: its account, its units, one cycle of each."""

    # (name, title, description) of each parameter that is no setting of the plugin
    extra_parameters: Tuple[Tuple[str, str, str], ...] = (
        ("account", "Account", "The account to log in with, from the configuration page."),
        (
            "start",
            "Start",
            (
                "A date or a time in UTC. The first run collects from there; so does the next run"
                " after a change."
            ),
        ),
        ("reset", "Reset", "Set by the page to collect from the start again; never stored."),
        ("generation", "Generation", "Set by the page at each reset: older checkpoints are void."),
        (
            "checkpoint",
            "Checkpoint",
            "kvstore (the default), or file where the KV store is disabled.",
        ),
    )

    @staticmethod
    def settings_of(plugin: Plugin) -> List[Dict[str, Any]]:
        """Return the settings of a stanza, described."""
        return input_settings(plugin)

    @staticmethod
    def check(parameters: Dict[str, Any]) -> None:
        """Raise ConfigError for a wrong `start` or `checkpoint`."""
        parse_start(parameters.get("start", ""))
        if parameters.get("checkpoint", "") not in ("", "kvstore", "file"):
            raise ConfigError(f'checkpoint is "{parameters["checkpoint"]}"; write kvstore or file')

    def __init__(
        self,
        plugin: Plugin,
        app: App,
        definition: InputDefinition,
        out: BinaryIO,
        clock: Clock = SYSTEM,
    ) -> None:
        self.plugin = plugin
        self.app = app
        self.clock = clock
        ((self.stanza, self.parameters),) = definition.inputs.items()
        metadata = definition.metadata
        self.splunkd = Splunkd(app, metadata["server_uri"], metadata["session_key"])
        self.pipe = Pipe(plugin, self.stanza, out)
        self.folder = Path(metadata.get("checkpoint_dir", ""))
        self.file = file_name(stanza_name(self.stanza))
        self.checkpoints = self._open_checkpoints()
        self.stopping = threading.Event()
        self.in_main_thread = threading.current_thread() is threading.main_thread()
        self.unsaved_ids: Set[str] = set()
        self.account: Dict[str, str] = {}
        self.read_until: Dict[Unit, Millis] = {}
        self.connected: Optional[Tuple[Http, Any]] = None  # and the plugin's settings

    def _open_checkpoints(self) -> Optional[CheckpointStore]:
        """Return the input's checkpoints: in the KV store, or in a file if the stanza says so.

        A file stays on this instance; a cluster does not replicate it.
        """
        parts = (self.parameters.get("start", ""), self.parameters.get("generation", ""))
        generation = " ".join(filter(None, parts))
        if self.parameters.get("checkpoint") != "file":
            aside = self.folder / f"{self.file}.checkpoints.json"
            return KvCheckpoints(self.splunkd, self.stanza, generation, aside)
        name = self.file
        if generation:
            name += re.sub("[^0-9A-Za-z]+", "-", f" {generation}")
        return Checkpoints(Database(self.folder / f"{name}.db", upgrade=True))

    def run(self) -> int:
        """Run one cycle, end the stream, and return the exit status."""
        self._handle_signals()
        configure_logging(self.app, self.stanza)
        try:
            set_level(self.splunkd.read_settings("logging").get("loglevel", "INFO"))
            is_complete = self.cycle()
            self.pipe.close()
            self.report_events()
            end = ""
            if self.stopping.is_set():
                end = "; stopped, the next run continues"
            elif not is_complete:
                end = "; incomplete: see the last errors and warnings; the next run continues"
            log.info("%s: %d events%s%s", self.stanza, self.pipe.written, self._progress(), end)
            return 0 if is_complete or self.stopping.is_set() else 1
        except PipeClosed:
            log.warning(
                "%s: splunkd closed the pipe; the last events may be indexed twice", self.stanza
            )
            return 1
        except SystemExit:
            log.info("%s: stopped, the next run continues", self.stanza)
            self._end_stream()
            return 0
        # no account, no KV store, an address in use, a bug
        except Exception as error:
            log.error("%s: %s", self.stanza, error_summary(error))
            self._end_stream()
            return 1

    def _progress(self) -> str:
        """Return how far the input has read, for the log: its unit that is furthest behind."""
        if not self.read_until:
            return ""
        for unit, until in sorted(self.read_until.items()):
            log.debug("%s: %s: read until %s", self.stanza, unit, rfc3339(until))
        behind = f"read until {rfc3339(min(self.read_until.values()))}"
        count = len(self.read_until)
        return f", {behind}" if count == 1 else f", {count} units, each {behind} or later"

    def _end_stream(self) -> None:
        try:
            self.pipe.close()
        except PipeClosed:
            pass
        self.report_events()

    def report_events(self) -> None:
        """Log how many events splunkd got, as `events_ingested` of solnlib.log does: the searches
        of UCC's monitoring dashboard read such lines."""
        index = log_name(self.parameters.get("index", "default"))
        account = self.parameters.get("account")
        for dataset, count in sorted(self.pipe.take_counts().items()):
            log.info(
                "action=events_ingested modular_input_name=%s sourcetype_ingested=%s n_events=%d"
                " event_input=%s event_index=%s%s",
                log_name(self.stanza),
                sourcetype(dataset),
                count,
                log_name(stanza_name(self.stanza)),
                index,
                f" event_account={log_name(account)}" if account else "",
            )

    def read_settings(self) -> Tuple[Any, Any, Connection]:
        """Return the plugin's settings, the common settings, and the connection to the vendor."""
        name = self.parameters.get("account", "")
        self.account = self.splunkd.read_stanza("account", name) if name else {}
        of_input = input_settings(self.plugin)
        values = {
            **parse_values(self.account, [*account_settings(self.plugin), *of_input]),
            **parse_values(self.parameters, of_input),
        }
        own_names = {s["name"] for s in describe(self.plugin.settings)}
        common_names = {s["name"] for s in describe(CommonSettings)} - own_names
        own = {key: value for key, value in values.items() if key in own_names}
        interval = str(self.parameters.get("interval", ""))
        if interval.replace(".", "", 1).isdigit():  # and no cron expression
            own["interval"] = f"{max(1, int(float(interval)))}s"
        settings = fill_in(self.plugin.settings, own)
        start = parse_start(self.parameters.get("start", ""))
        if start is not None and hasattr(settings, "lookback"):
            settings = replace(settings, lookback=max(0, self.clock.now() - start))
        common = {key: value for key, value in values.items() if key in common_names}
        return settings, fill_in(CommonSettings, common), self.splunkd.read_connection(self.account)

    def cycle(self) -> bool:
        """Collect every unit once, and return whether all of them were read to their end."""
        failures = Failures(self.folder / f"{self.file}.failures.json", self.clock.now)
        calls: List[Callable[[], bool]] = []
        parallel: List[int] = []

        def prepare() -> bool:
            parallel[:], calls[:] = self._prepare(failures)
            return True

        try:
            unit = Unit(stanza_name(self.stanza), self.plugin.name)
            if not self._attempt(failures, unit, prepare):
                return False
            in_flight = min(parallel[0], max(1, len(calls)))
            return all(list(ahead(in_flight, calls)))
        finally:
            self._warn_of_clocks(failures)
            failures.save()

    def _prepare(self, failures: Failures) -> Tuple[List[int], List[Callable[[], bool]]]:
        """Return how many units may be collected at the same time, and a call for each unit."""
        settings, common, connection = self.read_settings()
        http = connect(connection, clock=self.clock)
        self.connected = (http, settings)
        account = self.parameters.get("account")
        if account:
            http.token_store = TokenPasswords(self.splunkd, account, self.account)
        client = self.plugin.connect(settings, http)
        map_batch = batch_mapper(
            self.plugin, settings, common, {}, lambda: rfc3339(self.clock.now())
        )
        name = stanza_name(self.stanza)
        calls: List[Callable[[], bool]] = []
        for dataset, scope in self.plugin.units(client, settings):
            unit = Unit(name, dataset, scope)
            collect = partial(self._collect, client, http, settings, unit, map_batch)
            calls.append(partial(self._attempt, failures, unit, collect))
        return [self.plugin.parallel_units(settings)], calls

    def _attempt(self, failures: Failures, unit: Unit, work: Callable[[], bool]) -> bool:
        """Work until an attempt succeeds or POLICY gives up; return whether one did."""
        cycle = Cycle(unit, self.clock.elapsed, POLICY)
        failures.recall(unit, cycle)
        try:
            while not self.stopping.is_set():
                error = cycle.attempt(work)
                if error is None:
                    return not self.stopping.is_set()
                if isinstance(error, SessionEnded):
                    self.stopping.set()
                if cycle.is_given_up:
                    return False
                self.stopping.wait(cycle.due - self.clock.elapsed())
            return False
        finally:
            failures.note(unit, cycle)

    def _warn_of_clocks(self, failures: Failures) -> None:
        """Warn of clocks that differ; of each again after a while, whichever run it is."""
        if self.connected is None:
            return
        http, settings = self.connected
        for host, warning in skew_warnings(http):
            if failures.is_due(f"skew {host}"):
                log.warning("%s: %s", self.stanza, warning)
        warning = ahead_warning(http, settings)
        if warning and failures.is_due("ahead"):
            log.warning("%s: %s", self.stanza, warning)

    def _collect(
        self, client: Any, http: Http, settings: Any, unit: Unit, map_batch: MapBatch
    ) -> bool:
        """Collect a unit from its checkpoint, and deliver each batch with its mark."""
        assert self.checkpoints is not None
        mark = self.checkpoints.load(unit)
        self._note_progress(unit, mark.cursor.get("until"))
        sink: Sink = SkipDelivered(self.pipe, self.pipe.holds, self.unsaved_ids)
        sink = CheckpointAfter(sink, self.checkpoints, self.unsaved_ids)
        batches = pulled_batches(
            plugin=self.plugin,
            client=client,
            unit=unit,
            cursor=mark.cursor,
            http=http,
            overlap=getattr(settings, "overlap", 0),
            lookback=getattr(settings, "lookback", 0),
        )
        pump(
            unit=unit,
            mark=mark,
            feed=Feed(batches),
            map_batch=map_batch,
            sink=SignalGuard(sink),
            on_delivery=lambda delivery: self._note_progress(unit, delivery.batch.until),
            must_stop=self.stopping.is_set,
        )
        return True

    def _note_progress(self, unit: Unit, until: Any) -> None:
        """Note how far a unit has read: a time, or what the cursor of another unit has there."""
        if type(until) is int:
            self.read_until[unit] = max(until, self.read_until.get(unit, 0))

    def _handle_signals(self) -> None:
        """Stop at SIGTERM (Ctrl-Break on Windows), and when splunkd dies.

        A signal ends a wait for the vendor at once. It never separates events from their mark.
        """

        if self.in_main_thread:
            calls = SignalCalls()

            def stop(number: int, frame: Any) -> None:
                calls.ask(self.stopping.set)
                if not SignalGuard.busy:
                    raise SystemExit(0)

            for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), stop)
        if hasattr(os, "getppid"):
            watcher = threading.Thread(
                target=self._watch_parent, args=(os.getppid(),), name="parent", daemon=True
            )
            watcher.start()

    def _watch_parent(self, parent: int) -> None:
        """End the process once splunkd is gone: a splunkd that was killed sends no signal."""
        while not self.stopping.wait(PARENT_CHECK_EVERY):
            if os.getppid() != parent:
                log.warning("%s: splunkd has ended", self.stanza)
                self.stopping.set()
                time.sleep(PARENT_CHECK_EVERY)
                os._exit(1)
