"""What a signal asks for, done outside of its handler.

Python runs a handler in the main thread, in between two steps of whatever that does. A lock that
the main thread holds there is not released meanwhile, so that a handler must not wait for any: two
SIGTERM in a row hung in `threading.Event.set`, the second within the first.
"""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from typing import Callable, Optional

log = logging.getLogger("siemtap")

Call = Callable[[], object]


class SignalCalls:
    """A thread that calls what handlers ask for, one after the other."""

    def __init__(self) -> None:
        # its `put` is reentrant: docs.python.org/3/library/queue.html#simplequeue-objects
        self.calls: SimpleQueue[Optional[Call]] = SimpleQueue()
        self.thread = threading.Thread(target=self._run, name="signals", daemon=True)
        self.thread.start()

    def ask(self, call: Call) -> None:
        """Have something called soon. For handlers of signals."""
        self.calls.put(call)

    def close(self) -> None:
        """Call what was asked for, and end the thread."""
        self.calls.put(None)
        self.thread.join()

    def _run(self) -> None:
        for call in iter(self.calls.get, None):
            try:
                call()
            except Exception as error:  # the next signal must be heard
                log.error("a signal could not be obeyed: %s: %s", type(error).__name__, error)
