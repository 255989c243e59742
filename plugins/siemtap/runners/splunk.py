"""The modular input: one stanza, one cycle, from the marks in the KV store to splunkd's pipe.
Splunk starts it again after its interval.

    from siemtap.runners.splunk import main, App
    sys.exit(main(PLUGIN, App("TA-acme", "ta_acme", "acme"), VERSION))
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import signal
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, List, Optional, Set, Tuple, Type
from xml.sax.saxutils import escape

from splunklib.modularinput import Argument, InputDefinition, Scheme, ValidationDefinition

from ..core.convert import instant, millis_of
from ..core.errors import ConfigError, Retry, SiemtapError
from ..core.forms import Connection, Every
from ..core.manifest import describe, fill_in
from ..core.mapping import rfc3339
from ..core.model import Plugin, Unit
from ..core.windows import Millis
from ..edge.ahead import ahead
from ..edge.checkpoints import Checkpoints, Database
from ..edge.clock import SYSTEM, Clock
from ..edge.http import connect
from ..engine import InDoubt, Then, collected, pump, voice
from .names import App, of_account, of_input
from .splunk_pipe import Gone, Pipe, Undisturbed
from .splunkd import KvCheckpoints, Splunkd, Tokens, answers, stanza_name, summary

log = logging.getLogger("siemtap")

ATTEMPTS = 3  # of a unit in a cycle; then the next interval
LONGEST_WAIT = 60.0  # seconds that a cycle waits for a vendor who says "later"
WATCHED_EVERY = 2.0  # seconds between two looks for a splunkd that is gone
LEVELS = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
}
STANDARD = (
    "name",
    "interval",
    "index",
    "host",
    "source",
    "sourcetype",
    "disabled",
    "python.version",
    "python.required",
    "start_by_shell",
)


# The three ways in which splunkd starts us


def main(
    plugin: Plugin,
    app: App,
    words: Optional[List[str]] = None,
    stdin: Any = None,
    out: Optional[BinaryIO] = None,
    clock: Clock = SYSTEM,
    kind: Optional[Type[Input]] = None,
) -> int:
    """The exit status."""
    words, kind = sys.argv[1:] if words is None else words, kind or Input
    stdin, out = stdin or sys.stdin.buffer, out or sys.stdout.buffer
    try:
        if words == ["--scheme"]:
            return shown(scheme(plugin, kind), out)
        if words == ["--validate-arguments"]:
            return validated(plugin, ValidationDefinition.parse(stdin), out, kind)
        if not words:
            return kind(plugin, app, InputDefinition.parse(stdin), out, clock).run()
    except Exception as error:  # ours, and what splunkd's XML may be
        print(f"ERROR {summary(error)}", file=sys.stderr)
        return 1
    print(
        f"ERROR unknown words: {' '.join(words)}; splunkd says --scheme, --validate-arguments, or"
        " nothing",
        file=sys.stderr,
    )
    return 1


def scheme(plugin: Plugin, kind: Type[Input]) -> Scheme:
    made = Scheme(plugin.title)
    made.description = f"Events of {plugin.title}"
    made.use_external_validation, made.use_single_instance, made.streaming_mode = (
        True,
        False,
        Scheme.streaming_mode_xml,
    )
    for name, title, about in kind.arguments:
        made.add_argument(
            Argument(
                name,
                title=title,
                description=about,
                required_on_create=name == "account" and bool(of_account(plugin)),
            )
        )
    for s in kind.fields(plugin):
        made.add_argument(
            Argument(s["name"], title=s["label"], description=s["help"], required_on_create=False)
        )
    return made


def shown(said: Scheme, out: BinaryIO) -> int:
    from xml.etree import ElementTree

    out.write(ElementTree.tostring(said.to_xml()) + b"\n")
    out.flush()
    return 0


def validated(plugin: Plugin, asked: Any, out: BinaryIO, kind: Type[Input]) -> int:
    """Only what needs nobody else: a page must not wait for a vendor."""
    try:
        found = {name: value for name, value in asked.parameters.items() if isinstance(value, str)}
        kinds = {s["name"]: s["kind"] for s in kind.fields(plugin)}
        _interval(found.get("interval", ""))
        unknown = set(found) - set(kinds) - {name for name, _, _ in kind.arguments} - set(STANDARD)
        if unknown:
            raise ConfigError(
                f"there is no setting {sorted(unknown)[0]}; there are {', '.join(sorted(kinds))}"
            )
        said = answers(found, kinds)
        without_account(plugin, said)
        kind.check({**found, **said})
    except SiemtapError as error:
        out.write(f"<error><message>{escape(str(error))}</message></error>\n".encode())
        out.flush()
        return 1
    return 0


def without_account(plugin: Plugin, said: Dict[str, Any]) -> Any:
    """The plugin's settings as far as an input says them; something stands in for what only an
    account has."""
    described = describe(plugin.settings)
    needed = {
        s["name"]: "https://example.com" if s["kind"] in ("url", "many") else "x"
        for s in described
        if s["required"]
    }
    return fill_in(
        plugin.settings,
        {**needed, **{s["name"]: said[s["name"]] for s in described if s["name"] in said}},
    )


def started(said: str) -> Optional[Millis]:
    """A day or a moment of the page -> when to begin; None: as the settings say."""
    if not said:
        return None
    try:
        return millis_of(instant(said if "T" in said else f"{said}T00:00Z"))
    except ValueError:
        raise ConfigError(
            f'start is "{said}"; it is a day or a moment in UTC, such as 2026-11-01 or'
            " 2026-11-01T06:00Z"
        ) from None


def _interval(said: str) -> None:
    seconds = re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]+)?", said)
    if said and not ((seconds and float(said) >= 1) or len(said.split()) == 5):
        raise ConfigError(
            f'interval is "{said}"; it is a number of seconds from 1 on, or a cron expression of'
            " five fields"
        )


class Input:
    """One stanza: its account, its units, one cycle of each."""

    # (name, title, what it is) of what no form of ours has
    arguments: Tuple[Tuple[str, str, str], ...] = (
        ("account", "Account", "The account of the configuration page to log in with."),
        (
            "start",
            "Start",
            (
                "A day, or a moment in UTC: read from there at the first run, and again when it is"
                " changed."
            ),
        ),
        ("reset", "Reset", "Begin afresh; a page's word, never kept."),
        ("generation", "Generation", "Which beginning of the input this is; the page's own."),
        (
            "checkpoint",
            "Checkpoint",
            "kvstore (the default) or file, where the KV store is switched off.",
        ),
    )
    fields: Callable[[Plugin], List[Dict[str, Any]]] = staticmethod(of_input)

    @staticmethod
    def check(found: Dict[str, Any]) -> None:
        """ConfigError for what the forms do not know."""
        started(found.get("start", ""))
        if found.get("checkpoint", "") not in ("", "kvstore", "file"):
            raise ConfigError(f'checkpoint is "{found["checkpoint"]}"; it is kvstore or file')

    def __init__(
        self, plugin: Plugin, app: App, said: Any, out: BinaryIO, clock: Clock = SYSTEM
    ) -> None:
        self.plugin, self.app, self.clock = plugin, app, clock
        ((self.stanza, self.found),) = said.inputs.items()
        self.splunkd = Splunkd(app, said.metadata["server_uri"], said.metadata["session_key"])
        self.pipe = Pipe(plugin, self.stanza, out)
        self.checkpoints: Any = self._checkpoints(said.metadata.get("checkpoint_dir", ""))
        self.stopping, self.in_main = (
            threading.Event(),
            threading.current_thread() is threading.main_thread(),
        )
        self.unmarked: Set[str] = set()
        self.account: Dict[str, str] = {}

    def _checkpoints(self, folder: str) -> Any:
        """In the KV store, but where an admin chose a file: it stays on this instance, and a
        cluster knows nothing of it."""
        began = " ".join(
            filter(None, (self.found.get("start", ""), self.found.get("generation", "")))
        )
        if self.found.get("checkpoint") != "file":
            return KvCheckpoints(self.splunkd, self.stanza, began)
        name = stanza_name(self.stanza)
        if began:
            name += re.sub("[^0-9A-Za-z]+", "-", f" {began}")
        return Checkpoints(Database(Path(folder) / f"{name}.db"))

    def run(self) -> int:
        self._listen_to_splunkd()
        try:
            logs(
                self.app,
                self.stanza,
                LEVELS.get(self.splunkd.settings("logging").get("loglevel", "INFO"), logging.INFO),
            )
            done = self.cycle()
            self.pipe.close()
            log.info(
                "%s: %d events%s",
                self.stanza,
                self.pipe.written,
                "; told to stop, the next start goes on here" if self.stopping.is_set() else "",
            )
            return 0 if done or self.stopping.is_set() else 1
        except Gone:
            log.warning("%s: splunkd reads no more; what it read last may come again", self.stanza)
            return 1
        except SystemExit:
            log.info("%s: told to stop; the next start goes on here", self.stanza)
            self._end_stream()
            return 0
        # no account, no KV store, an address in use; a fault of ours
        except Exception as error:
            log.error("%s: %s", self.stanza, summary(error))
            self._end_stream()
            return 1

    def _end_stream(self) -> None:
        try:
            self.pipe.close()
        except Gone:
            pass

    def configured(self) -> Tuple[Any, Any, Connection]:
        """(the plugin's settings, what every input has, how to reach the vendor)"""
        name = self.found.get("account", "")
        self.account = account = self.splunkd.stanza("account", name) if name else {}
        kinds = {s["name"]: s["kind"] for s in [*of_account(self.plugin), *of_input(self.plugin)]}
        said = {
            **answers(account, kinds),
            **answers(self.found, {s["name"]: s["kind"] for s in of_input(self.plugin)}),
        }
        own, every = (
            {s["name"] for s in describe(self.plugin.settings)},
            {s["name"] for s in describe(Every)},
        )
        interval = str(self.found.get("interval", ""))
        settings = fill_in(
            self.plugin.settings,
            {
                **{key: value for key, value in said.items() if key in own},
                **(
                    {"interval": f"{max(1, int(float(interval)))}s"}
                    if interval.replace(".", "", 1).isdigit()
                    else {}
                ),
            },
        )
        start = started(self.found.get("start", ""))
        if start is not None and hasattr(settings, "lookback"):
            settings = replace(settings, lookback=max(0, self.clock.now() - start))
        return (
            settings,
            fill_in(Every, {key: value for key, value in said.items() if key in every - own}),
            self.splunkd.connection(),
        )

    def cycle(self) -> bool:
        """True if every unit came to its end."""
        settings, every, connection = self.configured()
        http = connect(connection, clock=self.clock)
        if self.found.get("account"):
            http.vault = Tokens(self.splunkd, self.found["account"], self.account)
        client = self.plugin.connect(settings, http)
        say = voice(self.plugin, settings, every, {}, lambda: rfc3339(self.clock.now()))
        units = [
            Unit(stanza_name(self.stanza), *place) for place in self.plugin.units(client, settings)
        ]
        works = [partial(self._unit, client, http, settings, unit, say) for unit in units]
        return all(list(ahead(min(self.plugin.at_once(settings), max(1, len(works))), works)))

    def _unit(self, client: Any, http: Any, settings: Any, unit: Unit, say: Any) -> bool:
        overlap, lookback = (getattr(settings, name, 0) for name in ("overlap", "lookback"))
        for attempt in range(1, ATTEMPTS + 1):
            if self.stopping.is_set():
                return False
            try:
                mark = self.checkpoints.load(unit)
                output = Undisturbed(
                    Then(InDoubt(self.pipe, self.unmarked), self.checkpoints, self.unmarked)
                )
                batches = collected(self.plugin, client, unit, mark.cursor, http, overlap, lookback)
                pump(unit, mark, self._until_stopped(batches), say, output)
                return not self.stopping.is_set()
            except Gone:
                raise
            except Retry as error:
                wait = max(error.after / 1000, 2.0**attempt)
                log.warning("%s: %s", unit, error)
            except SiemtapError as error:
                log.error("%s: %s: %s", unit, type(error).__name__, error)
                return False
            except Exception as error:
                # splunkd's, the disk's, or of what a stranger says: the other units go on
                wait = 2.0**attempt
                log.error("%s: %s; its mark is kept, and it is tried again", unit, summary(error))
            if attempt == ATTEMPTS or wait > LONGEST_WAIT:
                return False
            self.stopping.wait(wait)
        return False

    def _until_stopped(self, batches: Any) -> Any:
        for batch in batches:
            yield batch
            if self.stopping.is_set():
                return

    def _listen_to_splunkd(self) -> None:
        """SIGTERM (Ctrl-Break on Windows) ends a wait for the vendor at once, and never comes
        between events and their mark."""

        def stop(number: int, frame: Any) -> None:
            self.stopping.set()
            if not Undisturbed.busy:
                raise SystemExit(0)

        if self.in_main:
            for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), stop)
        if hasattr(os, "getppid"):
            threading.Thread(
                target=self._watch, args=(os.getppid(),), name="parent", daemon=True
            ).start()

    def _watch(self, parent: int) -> None:
        """A splunkd that died does not say so."""
        while not self.stopping.wait(WATCHED_EVERY):
            if os.getppid() != parent:
                log.warning("%s: splunkd is gone", self.stanza)
                self.stopping.set()
                time.sleep(WATCHED_EVERY)
                os._exit(1)


def logs(app: App, stanza: str, level: int) -> None:
    """A file of the add-on's own where Splunk keeps its logs; lines of its own sourcetype."""
    home = os.environ.get("SPLUNK_HOME", "")
    folder = Path(home) / "var/log/splunk"
    handler: logging.Handler
    if home and folder.is_dir():
        handler = logging.handlers.RotatingFileHandler(
            folder / f"{app.root}_{app.kind}.log",
            maxBytes=25_000_000,
            backupCount=5,
            encoding="utf-8",
            delay=True,
            errors="backslashreplace",
        )
    else:
        handler = logging.StreamHandler(sys.stderr)
    form = "%(asctime)s %(levelname)s pid=%(process)d input={} %(message)s"
    handler.setFormatter(
        logging.Formatter(form.format(stanza.replace("%", "%%")), "%Y-%m-%dT%H:%M:%S%z")
    )
    log.handlers[:] = [handler]
    log.setLevel(level)
    log.propagate = False
