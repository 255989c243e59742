"""The attempts of one unit: what a failure means, and when the next attempt is due.

Used by the shipper, the Splunk input and the tests alike. Nothing here sleeps: the runner does.
"""

from __future__ import annotations

import logging
import os
import random
import re
import traceback
from typing import Callable, NamedTuple, Optional, Tuple

from ..core.errors import AuthError, ConfigError, Retry, SiemtapError
from ..core.model import Unit
from .mapper import traceback_text

log = logging.getLogger("siemtap")

NEVER = float("inf")
REPEAT_EVERY = 600.0  # seconds between two log lines about the same failure of a unit
DIGITS = re.compile("[0-9]+")  # times and numbers, in which the same failure differs


class Fault(Retry):
    """An exception that nobody raises on purpose: a bug of siemtap or of a plugin, an answer
    that the plugin did not expect, or a damaged checkpoint."""


class Policy(NamedTuple):
    """How long to wait after a failed attempt, and when to give up. Times are seconds."""

    first_wait: float = 1.0  # doubled for every attempt that failed
    max_wait: float = 60.0  # between two attempts, unless the vendor asks for more
    max_wait_malformed: float = 300.0  # the same after an answer that cannot be read
    max_after: float = 3_600.0  # that a vendor may ask for, unless the interval is longer
    wait_for_person: float = 30.0  # at least, after AuthError and ConfigError
    degraded_after: int = 5  # failed attempts, or a wait of so many intervals
    longest_retrying: float = 300.0  # that a vendor may ask for; beyond it somebody should know
    patience: float = NEVER  # without progress; then the unit is given up
    max_attempts: float = NEVER  # that fail in a row; then the unit is given up
    contains_memory_error: bool = False  # else it ends the process
    advice: str = ""  # added to the line about a failure that lasts and that time may mend

    @property
    def gives_up(self) -> bool:
        return self.patience < NEVER or self.max_attempts < NEVER


class Past(NamedTuple):
    """What a later process must know of a unit that fails, to report it as one process would.

    `failed`: attempts since the last one that came to its end. `failing_for`, `logged_before`:
    seconds since the first failure, and since the last line about it.
    """

    failed: int
    failing_for: float
    logged: Tuple[str, ...]
    logged_before: float
    repeats: int


class Cycle:
    """One unit between its attempts.

    `state`: starting, running, ok, retrying (time may help), degraded (a person should look).
    `due`: when the next attempt is due, by a clock that only runs forward; NEVER: none.
    `in_doubt`: events may have been delivered without their mark.
    """

    __slots__ = (
        "attempts",
        "due",
        "earlier",
        "elapsed",
        "error",
        "failed",
        "failing_since",
        "in_doubt",
        "logged",
        "logged_at",
        "policy",
        "progressed",
        "repeats",
        "running_since",
        "state",
        "unit",
    )

    def __init__(self, unit: Unit, elapsed: Callable[[], float], policy: Policy = Policy()) -> None:
        self.unit = unit
        self.elapsed = elapsed
        self.policy = policy
        self.state = "starting"
        self.error = ""
        self.attempts = 0  # that failed since the last progress
        self.earlier = 0  # the same, of earlier processes
        self.due = elapsed()
        self.progressed = 0.0
        self.running_since = 0.0  # when the attempt in hand began; 0: there is none
        self.in_doubt = True
        self.failed = 0  # attempts since the last one that came to its end
        self.failing_since = 0.0
        self.logged: Tuple[str, ...] = ()  # the state and the failure that were logged last
        self.logged_at = 0.0
        self.repeats = 0  # of that failure, not logged

    @property
    def is_given_up(self) -> bool:
        """Whether no further attempt is due after a failure."""
        return self.due == NEVER and self.state in ("retrying", "degraded")

    def recall(self, past: Past) -> None:
        """Go on where an earlier process gave the unit up: its failures count, and are not
        repeated in the log before their time."""
        now = self.elapsed()
        self.failed = self.earlier = past.failed
        self.failing_since = now - past.failing_for
        self.logged, self.logged_at, self.repeats = (
            past.logged,
            now - past.logged_before,
            past.repeats,
        )

    def past(self) -> Optional[Past]:
        """Return what a later process must know; None if the last attempt came to its end."""
        if not self.failed:
            return None
        now = self.elapsed()
        return Past(
            failed=self.failed,
            failing_for=now - self.failing_since,
            logged=self.logged,
            logged_before=now - self.logged_at,
            repeats=self.repeats,
        )

    def attempt(self, work: Callable[[], bool], interval: float = NEVER) -> Optional[SiemtapError]:
        """Make one attempt, and decide what comes next. Return the error if it failed.

        `work` returns whether it came to its end; False: it goes on at once. `interval`: seconds
        between the starts of two attempts that succeed. MemoryError, unless the policy contains it,
        and what is no Exception are raised: they end the process.
        """
        began = self.running_since = self.elapsed()
        if self.state == "starting":
            self.state = "running"
            self.progressed = began
        try:
            finished = self._run(work)
        except SiemtapError as error:
            return self._fail(error, interval)
        except Exception as error:  # its message may quote what a sender chose
            if isinstance(error, MemoryError) and not self.policy.contains_memory_error:
                raise
            log.debug("%s: %s\n%s", self.unit, type(error).__name__, traceback_text(error))
            fault = Fault(
                f"{_description(error, self.unit)}, and the debug log says more. The checkpoint is"
                " kept, and the attempt is repeated; if you edited the checkpoint, check it"
            )
            fault.__cause__ = error
            return self._fail(fault, interval)
        if not finished:
            self.due = self.elapsed()
            return None
        if self.failed:
            plural = "s" if self.failed > 1 else ""
            log.info("%s: recovered after %d failed attempt%s", self.unit, self.failed, plural)
        self.attempts = self.earlier = self.failed = self.repeats = 0
        self.logged = ()
        self.state = "ok"
        self.error = ""
        self.in_doubt = False
        # a little early, so that the inputs of a process spread
        self.due = max(self.elapsed(), began + interval * random.uniform(0.95, 1.0))
        return None

    def _run(self, work: Callable[[], bool]) -> bool:
        try:
            return work()
        finally:
            self.running_since = 0.0

    def progress(self) -> None:
        """Note that a batch was delivered: attempts that fail are counted anew."""
        self.attempts = self.earlier = 0
        self.progressed = self.elapsed()

    def _fail(self, error: SiemtapError, interval: float) -> SiemtapError:
        policy = self.policy
        self.in_doubt = True
        self.attempts += 1
        if not self.failed:
            self.failing_since = self.elapsed()
        self.failed += 1
        may_recover = isinstance(error, Retry) and not isinstance(error, Fault)
        waits_long = getattr(error, "after", 0) / 1000 > max(
            policy.longest_retrying,
            policy.degraded_after * (0.0 if interval == NEVER else interval),
        )
        attempts = self.attempts + self.earlier
        if may_recover and attempts < policy.degraded_after and not waits_long:
            self.state = "retrying"
        else:
            self.state = "degraded"
        self.error = f"{type(error).__name__}: {error}"
        self._log_failure(policy.advice if may_recover and self.state == "degraded" else "")
        wait = self._wait(error, 0.0 if interval == NEVER else interval)
        now = self.elapsed()
        gives_up = policy.gives_up and (
            needs_person(error)
            or self.attempts >= policy.max_attempts
            or now + wait - self.progressed > policy.patience
        )
        self.due = NEVER if gives_up else now + wait
        return error

    def _log_failure(self, advice: str) -> None:
        """Log a failure. The same one is logged again after `REPEAT_EVERY`, with the number of
        repeats in between; meanwhile at the level debug."""
        failure = (self.state, DIGITS.sub("", self.error))
        now = self.elapsed()
        if failure == self.logged and now - self.logged_at < REPEAT_EVERY:
            self.repeats += 1
            log.debug("%s: %s", self.unit, self.error)
            return
        level = logging.WARNING if self.state == "retrying" else logging.ERROR
        repeats = f" (repeated {self.repeats} times since)" if failure == self.logged else ""
        minutes = (now - self.failing_since) / 60
        lasts = f"; failing for {minutes:.0f} min: {advice}" if advice else ""
        log.log(level, "%s: %s%s%s", self.unit, self.error, lasts, repeats)
        self.logged, self.logged_at, self.repeats = failure, now, 0

    def _wait(self, error: SiemtapError, interval: float) -> float:
        """Return how long to wait: exponential back-off with full jitter, and at least what the
        vendor asked for."""
        policy = self.policy
        if needs_person(error):
            wait = max(policy.wait_for_person, interval)
        else:
            longest = policy.max_wait if isinstance(error, Retry) else policy.max_wait_malformed
            grown = policy.first_wait * 2.0 ** min(self.attempts, 10)
            wait = random.uniform(0, min(longest, grown))
        after = getattr(error, "after", 0) / 1000
        return max(wait, min(after, max(policy.max_after, interval)))


def _description(error: BaseException, unit: Unit) -> str:
    """Return what an unexpected exception is, where it comes from and whose fault it is: the
    plugin's, if the plugin's code was running. Of its message only a key is shown that stands in
    that code: the rest may quote a secret, or what a sender chose."""
    plugin = unit.dataset.partition(".")[0]
    code, line = None, 0
    for frame, line_number in traceback.walk_tb(error.__traceback__):
        is_plugin = frame.f_globals.get("__name__", "").partition(".")[0] == plugin
        if is_plugin:
            code, line = frame.f_code, line_number
    if code is None:
        frame_summary = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{os.path.basename(frame_summary.filename)}:{frame_summary.lineno}"
        return f"unexpected {type(error).__name__} at {place}: a fault of siemtap"
    name = type(error).__name__
    if isinstance(error, KeyError) and error.args and error.args[0] in code.co_consts:
        name = f"{name} {error.args[0]!r}"
    place = f"{os.path.basename(code.co_filename)}:{line}"
    return (
        f"unexpected {name} at {place} of the plugin {plugin}: a fault of the plugin, or an answer"
        " of the vendor that it does not expect"
    )


def needs_person(error: SiemtapError) -> bool:
    """Return whether only a person can mend the cause."""
    return isinstance(error, (AuthError, ConfigError))
