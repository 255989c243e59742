"""One process of the supervisor: started, asked, and started again when it dies."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Callable, Deque, Dict, List, Optional

from ...core.errors import ConfigError, Retry, SiemtapError
from ..logs import log_of
from ..stats import Tally
from .channel import TEXT, Channel

log = logging.getLogger("siemtap")

FIRST_WAIT = 0.5  # seconds before a process that died is started again; doubled each time
LONGEST_WAIT = 30.0
SETTLED = 60.0  # seconds after which a process counts as one that works
RECENT = 600.0  # seconds: deaths in this time count
LOOP = 3  # deaths in RECENT that are no accident any more
SLOW_START = 60.0  # seconds
MODULE = "siemtap.shipper.cli.main"


def own_command() -> List[str]:
    """Return the command that starts this program."""
    program = Path(sys.argv[0])
    if program.stem.startswith("siemtap"):  # the console script
        return [sys.executable, str(program)]
    return [sys.executable, "-m", MODULE]


class Child:
    """A process that runs until `stop`, or with `once` until it is done.

    hello: returns what it must know at its start. handle: answers its questions, other than those
    about itself. changed: called when it is started, collected or done.
    """

    def __init__(
        self,
        name: str,
        lock: Path,
        hello: Callable[[], Any],
        handle: Callable[[str, Any], Any],
        changed: Callable[[], None],
        once: bool,
    ) -> None:
        self.name, self.lock, self.once = name, lock, once
        self.hello, self.handle, self.changed = hello, handle, changed
        self.process: Optional[subprocess.Popen[bytes]] = None
        self.channel: Optional[Channel] = None
        self.stopping = threading.Event()
        self.error: Optional[SiemtapError] = None  # why it cannot start
        self.is_started = False
        self.is_collected = False
        self.result: Optional[bool] = None  # with `once`: whether everything was done
        self.began = time.monotonic()
        self.deaths: Deque[float] = deque()
        self.reason = ""  # of the last death
        self.wait = FIRST_WAIT
        self.has_started = False  # once at least
        self.restarts = 0
        self.asked: Optional[float] = None  # when the question was asked that is not answered yet
        self.last: Dict[str, Any] = {}  # its part of /stats
        self.totals: Any = None  # what it has counted, as it said last
        self.counts_before: Counter[str] = Counter()  # what earlier ones of its name have counted
        self.tally_before = Tally()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self.thread.start()

    def _run(self) -> None:
        while not self.stopping.is_set() and self.result is None:
            code = self._run_once()
            if self.stopping.is_set() or self.result is not None:
                break
            self._note_death(code)
            if self.once and len(self.deaths) > LOOP:
                self.result = False
                break
            self.stopping.wait(self.wait)
            self.wait = min(LONGEST_WAIT, 2 * self.wait)
        self.changed()

    def _run_once(self) -> int:
        self.is_started = self.is_collected = False
        self.began = time.monotonic()
        self.asked = None
        gone = threading.Event()
        try:
            self.process = subprocess.Popen(
                [*own_command(), "worker", str(self.lock)],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            log.error("%s cannot be started: %s", self.name, error.strerror)
            return 1
        assert self.process.stdin and self.process.stderr
        self.channel = Channel(self.process.stderr, self.process.stdin, self._handle, gone.set)
        if self.stopping.is_set():
            self.channel.tell("stop")
        gone.wait()
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stderr):
            try:
                pipe.close()
            except OSError:  # what it did not read is lost with it
                pass
        self._keep_totals()
        return code

    def _keep_totals(self) -> None:
        """Add what the process counted to what its successor counts: sums never fall."""
        if self.totals:
            counts, tally = self.totals
            self.counts_before.update(counts)
            self.tally_before.add_json(tally)
            self.totals = None

    def _note_death(self, code: int) -> None:
        now = time.monotonic()
        if self.is_started and now - self.began > SETTLED:
            self.wait = FIRST_WAIT
        self.deaths.append(now)
        self.restarts += 1
        self.reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        if self.error and not self.is_started:
            self.reason = str(self.error)
        self.is_started = False
        log.error(
            "%s has ended (%s); it is started again in %.1f s, and goes on from its checkpoints",
            self.name,
            self.reason,
            self.wait,
        )
        self.changed()

    def _handle(self, name: str, value: Any) -> Any:
        if name == "log":
            log_of(self.name, value)
        elif name == TEXT:
            log.error("%s wrote: %s", self.name, value)
        elif name == "hello":
            return self.hello()
        elif name == "started":
            self.error = None
            self.is_started = self.has_started = True
            self.changed()
        elif name == "failed":
            kind, text = value
            self.error = ConfigError(text) if kind else Retry(text)
        elif name == "collected":
            self.is_collected = True
            self.changed()
        elif name == "ended":
            done, self.totals = value
            if self.once:
                self.result = bool(done)
        else:
            return self.handle(name, value)
        return None

    # What the supervisor asks

    @property
    def has_ended(self) -> bool:
        return not self.thread.is_alive()

    def ask(self, name: str, value: Any = None) -> Optional[Future[Any]]:
        """Ask the process; None while there is none that has started."""
        return self.channel.ask(name, value) if self.channel and self.is_started else None

    def look(self) -> Optional[Future[Any]]:
        """Ask for its part of /stats, unless it owes an answer; the answer is kept whenever it
        comes."""
        if self.asked is not None:
            return None
        future = self.ask("stats")
        if future:
            self.asked = time.monotonic()
            future.add_done_callback(self._note_answer)
        return future

    def _note_answer(self, future: Future[Any]) -> None:
        self.asked = None
        if not future.exception() and future.result() is not None:
            stats = dict(future.result())
            self.totals = stats.pop("totals", None)
            self.last = stats

    @property
    def silence(self) -> float:
        """Return for how many seconds it has owed an answer."""
        asked = self.asked
        return time.monotonic() - asked if asked is not None and self.is_started else 0.0

    def counts(self) -> Counter[str]:
        """Return the sums over all processes of this name."""
        total = Counter(self.counts_before)
        if self.totals:
            total.update(self.totals[0])
        return total

    def add_tally(self, tally: Tally) -> None:
        """Add the charts' numbers of all processes of this name."""
        parts = [self.tally_before.to_json(0)]
        if self.totals:
            parts.append(self.totals[1])
        for part in parts:
            tally.add_json(part)

    def problem(self) -> str:
        """Return why it does not work; "" if it does."""
        if self.result is not None or self.stopping.is_set():
            return ""
        now = time.monotonic()
        while self.deaths and now - self.deaths[0] > RECENT:
            self.deaths.popleft()
        settled = self.is_started and now - self.began > SETTLED
        if len(self.deaths) >= LOOP and not settled:
            return (
                f"{self.name} has ended {len(self.deaths)} times within {RECENT / 60:.0f} minutes"
                f" ({self.reason}) and is started again each time; what it would read waits; the"
                " log says more"
            )
        if self.is_started:
            return ""
        if self.deaths:
            return f"{self.name} has ended ({self.reason}) and is being started again"
        if now - self.began > SLOW_START:
            return f"{self.name} has not started for {now - self.began:.0f} s"
        return ""

    def stop(self) -> None:
        """Ask it to end after the batch in hand."""
        self.stopping.set()
        if self.channel:
            self.channel.tell("stop")

    def join(self, seconds: float) -> None:
        """Wait until it has ended, and kill it if it has not."""
        if not self.thread.is_alive() and not self.process:
            return
        self.thread.join(max(0.0, seconds))
        if self.thread.is_alive() and self.process:
            log.warning("%s did not end in time, and is killed", self.name)
            self.process.kill()
            self.thread.join()
