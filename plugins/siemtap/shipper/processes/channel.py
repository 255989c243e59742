"""Messages between the supervisor and one of its processes: lines of JSON in two pipes.

Either side asks the other or tells it something. A line that is no message is what something else
has written, such as the interpreter as it crashes.
"""

from __future__ import annotations

import itertools
import json
import logging
import threading
from concurrent.futures import Future
from typing import IO, Any, Callable, Dict, Optional

from ...core.errors import ConfigError, Retry, SiemtapError
from ...engine.mapper import traceback_text

log = logging.getLogger("siemtap")

ASK, ANSWER, ERROR, TELL = "ask", "answer", "error", "tell"
TEXT = "text"  # the name of a line that is no message
Handle = Callable[[str, Any], Any]  # of a name and a value; for a question, returns the answer


class Ended(Retry):
    """The other side has ended, and does not answer."""


class Channel:
    """One side of two pipes. Any thread may `ask` and `tell`.

    handle: called for what the other side says, in the thread that reads; for a question in a
    thread of its own if `blocks`, so that it may itself ask. ended: called once, when the other
    side has closed its pipe.
    """

    def __init__(
        self,
        read: IO[bytes],
        write: IO[bytes],
        handle: Handle,
        ended: Callable[[], None],
        blocks: bool = False,
    ) -> None:
        self.read, self.write = read, write
        self.handle, self.ended, self.blocks = handle, ended, blocks
        self.writing = threading.Lock()
        self.waiting_lock = threading.Lock()
        self.waiting: Dict[int, Future[Any]] = {}
        self.numbers = itertools.count(1)
        self.is_open = True
        self.thread = threading.Thread(target=self._read, name="channel", daemon=True)
        self.thread.start()

    def ask(self, name: str, value: Any = None) -> Future[Any]:
        """Ask the other side. The future raises Ended if it ends, and ConfigError or Retry if it
        answers with such an error."""
        future: Future[Any] = Future()
        number = next(self.numbers)
        with self.waiting_lock:
            self.waiting[number] = future
            is_open = self.is_open
        if not is_open or not self._send([ASK, number, name, value]):
            self._settle(number, Ended("the process has ended"))
        return future

    def tell(self, name: str, value: Any = None) -> None:
        """Say something that needs no answer. If the other side has ended, nobody hears it."""
        self._send([TELL, 0, name, value])

    def _send(self, message: Any) -> bool:
        line = json.dumps(message, default=str).encode() + b"\n"
        try:
            with self.writing:
                self.write.write(line)
                self.write.flush()
        except (OSError, ValueError):  # the pipe is closed
            return False
        return True

    def _settle(self, number: int, error: Optional[SiemtapError], value: Any = None) -> None:
        with self.waiting_lock:
            future = self.waiting.pop(number, None)
        if future is None:
            return
        if error:
            future.set_exception(error)
        else:
            future.set_result(value)

    def _read(self) -> None:
        try:
            for line in self.read:
                self._take(line)
        except (OSError, ValueError):  # closed meanwhile
            pass
        with self.waiting_lock:
            self.is_open = False
            left = list(self.waiting)
        for number in left:
            self._settle(number, Ended("the process has ended"))
        self.ended()

    def _take(self, line: bytes) -> None:
        try:
            kind, number, name, value = json.loads(line)
        except (ValueError, TypeError):
            self.handle(TEXT, line.decode("utf-8", "replace").rstrip())
            return
        if kind == ANSWER:
            self._settle(number, None, value)
        elif kind == ERROR:
            error = ConfigError if name == ConfigError.__name__ else Retry
            self._settle(number, error(value))
        elif kind == ASK and self.blocks:
            threading.Thread(
                target=self._answer, args=[number, name, value], name=f"answer-{name}", daemon=True
            ).start()
        elif kind == ASK:
            self._answer(number, name, value)
        else:
            self.handle(name, value)

    def _answer(self, number: int, name: str, value: Any) -> None:
        try:
            self._send([ANSWER, number, name, self.handle(name, value)])
        except SiemtapError as error:
            kind = ConfigError if isinstance(error, ConfigError) else Retry
            self._send([ERROR, number, kind.__name__, str(error)])
        except Exception as error:  # a defect: whoever asks must not wait forever
            log.error("%s in the answer to %s, a defect in siemtap", type(error).__name__, name)
            log.debug("%s", traceback_text(error))
            self._send([ERROR, number, Retry.__name__, f"{type(error).__name__} in {name}"])
