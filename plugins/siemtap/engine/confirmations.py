"""What senders ask to be confirmed before they send events, off the receiving path."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import Callable, Dict, Optional, Tuple

from ..core.errors import Retry, SiemtapError
from ..core.identity import canonical, sha256_hex
from ..core.model import Confirmation, Mark, Unit
from ..core.windows import DAY
from ..edge.clock import Clock
from .cycle import NEVER, Cycle, Policy
from .protocols import CheckpointStore

log = logging.getLogger("siemtap")

CONFIRMATIONS = "confirmations"  # the scope of what waits to be confirmed
MAX_WAITING = 100  # of one input; more are logged only
MAX_DONE = 1_000  # that are recognized if they come again
POLICY = Policy(max_wait=600.0, patience=3 * DAY / 1000, contains_memory_error=True)


class Confirmations:
    """Confirms what the senders of one input ask for, in a thread of its own: a host that hangs
    holds up no event.

    `unit`: in whose checkpoint they wait, so that a restart goes on with them. `confirm`: makes the
    calls and returns what the log says of them. Retry is tried again, for up to three days; after
    any other error the log says what a person can do.
    """

    def __init__(
        self,
        unit: Unit,
        confirm: Callable[[Confirmation], str],
        checkpoints: CheckpointStore,
        clock: Clock,
    ) -> None:
        self.unit = unit
        self.confirm = confirm
        self.checkpoints = checkpoints
        self.clock = clock
        self.changed = threading.Condition()
        self.waiting: Dict[str, Tuple[Confirmation, Cycle]] = {}
        self.done: Dict[str, None] = {}
        self.thread: Optional[threading.Thread] = None
        self.closed = False
        for values, notice in checkpoints.load(unit).cursor.get("waiting", ()):
            self._wait(Confirmation(values, notice))

    def add(self, confirmation: Confirmation) -> None:
        """Take what a sender asks for; it is safe on return. The same twice is one."""
        key = _key(confirmation)
        with self.changed:
            if key in self.waiting or key in self.done:
                return
            if self.closed:
                raise Retry("siemtap stops; the payload is read again")
            if len(self.waiting) >= MAX_WAITING:
                log.warning(
                    "%s: %d confirmations wait already: %s",
                    self.unit.input,
                    MAX_WAITING,
                    confirmation.notice,
                )
                return
            self._wait(confirmation)
            try:
                self._save()
            except SiemtapError:  # the payload is read again
                del self.waiting[key]
                raise
            self._start()
            self.changed.notify()

    def start(self) -> None:
        """Go on with what waited before the last stop."""
        with self.changed:
            self._start()

    def close(self) -> None:
        """Begin no further call, and change the checkpoint no more. What waits goes on after the
        next start."""
        with self.changed:
            self.closed = True
            self.changed.notify()

    def _wait(self, confirmation: Confirmation) -> None:
        cycle = Cycle(self.unit, self.clock.elapsed, POLICY)
        self.waiting[_key(confirmation)] = (confirmation, cycle)

    def _start(self) -> None:
        """Start the thread if there is something to do. It ends by itself."""
        if self.waiting and self.thread is None and not self.closed:
            self.thread = threading.Thread(target=self._run, name="confirmations", daemon=True)
            self.thread.start()

    def _run(self) -> None:
        while True:
            with self.changed:
                key = self._next()
                if key is None:
                    self.thread = None
                    return
                confirmation, cycle = self.waiting[key]
            cycle.attempt(partial(self._attempt, confirmation))
            if cycle.due < NEVER:
                continue
            if cycle.is_given_up:
                log.warning("%s: not confirmed: %s", self.unit.input, confirmation.notice)
            self._finish(key)

    def _next(self) -> Optional[str]:
        """Wait for what is due first and return its key; None if nothing waits, or at the end.

        Called with the lock held.
        """
        while self.waiting and not self.closed:
            key, (_, cycle) = min(self.waiting.items(), key=lambda item: item[1][1].due)
            wait = cycle.due - self.clock.elapsed()
            if wait <= 0:
                return key
            self.changed.wait(wait)
        return None

    def _attempt(self, confirmation: Confirmation) -> bool:
        log.info("%s: %s", self.unit.input, self.confirm(confirmation))
        return True

    def _finish(self, key: str) -> None:
        with self.changed:
            del self.waiting[key]
            self.done[key] = None
            if len(self.done) > MAX_DONE:
                del self.done[next(iter(self.done))]
            if self.closed:  # another owner of the unit may have loaded it
                return
            try:
                self._save()
            except SiemtapError as error:  # then it is confirmed again, which does no harm
                log.warning("%s: %s", self.unit, error)

    def _save(self) -> None:
        waiting = [
            [dict(confirmation.values), confirmation.notice]
            for confirmation, _ in self.waiting.values()
        ]
        self.checkpoints.save(self.unit, Mark({"waiting": waiting}))


def _key(confirmation: Confirmation) -> str:
    return sha256_hex(canonical(confirmation.values))
