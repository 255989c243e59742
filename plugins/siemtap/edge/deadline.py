"""One deadline for a whole HTTP call: connection, head, every `100 Continue`, body, trailers.

The time-outs of a socket are per read: a server that sends a byte now and then passes each of them.
So a thread shuts down the sockets of calls whose deadline has passed.
"""

from __future__ import annotations

import heapq
import itertools
import socket
import threading
import time
from contextlib import contextmanager
from typing import Any, Iterator, List, Optional, Tuple, Type

_CURRENT = threading.local()  # .call: the call that this thread makes


class Call:
    """One HTTP call. `is_late`: its deadline has passed, and whatever it returned may be cut."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.connections: List[Any] = []
        self.is_over = False
        self.is_late = False

    def add(self, connection: Any) -> None:
        """Bind a connection to this call's deadline."""
        with self.lock:
            if not any(other is connection for other in self.connections):
                self.connections.append(connection)
        if self.is_late:
            self.expire()

    def expire(self) -> None:
        """Shut down the sockets, so that a thread that reads one goes on."""
        with self.lock:
            if self.is_over:
                return
            self.is_late = True
            for connection in self.connections:
                _shut_down(getattr(connection, "sock", None))

    def end(self) -> None:
        """Release the connections: another call may use them."""
        with self.lock:
            self.is_over = True
            self.connections.clear()


def _shut_down(sock: Any) -> None:
    """Shut down a socket that another thread uses. A TLS socket keeps its session meanwhile."""
    while isinstance(getattr(sock, "socket", None), socket.socket):  # TLS within a proxy's TLS
        sock = sock.socket
    if isinstance(sock, socket.socket):
        try:
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:  # closed, or not connected yet: then the connect time-out ends it
            pass


class _Watchdog:
    """The thread that waits for the earliest deadline. It starts with the first call."""

    def __init__(self) -> None:
        self.wake = threading.Condition()
        self.calls: List[Tuple[float, int, Call]] = []
        self.order = itertools.count()
        self.thread: Optional[threading.Thread] = None

    def add(self, call: Call) -> None:
        with self.wake:
            heapq.heappush(self.calls, (call.at, next(self.order), call))
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self.thread.start()
            elif self.calls[0][2] is call:
                self.wake.notify()

    def _run(self) -> None:
        while True:
            with self.wake:
                while self.calls and self.calls[0][2].is_over:
                    heapq.heappop(self.calls)
                if not self.calls:
                    self.wake.wait()
                    continue
                wait = self.calls[0][0] - time.monotonic()
                if wait > 0:
                    self.wake.wait(wait)
                    continue
                call = heapq.heappop(self.calls)[2]
            call.expire()


_WATCHDOG = _Watchdog()


@contextmanager
def deadline(seconds: float) -> Iterator[Call]:
    """Bound what this thread does with connections of `bounded` classes. Ask the call whether it
    `is_late`, also after a success: the end of a connection may look like the end of an answer."""
    call = Call(seconds)
    before = getattr(_CURRENT, "call", None)
    _CURRENT.call = call
    _WATCHDOG.add(call)
    try:
        yield call
    finally:
        _CURRENT.call = before
        call.end()


def bounded(connection_class: Type[Any]) -> Type[Any]:
    """Return a connection class of urllib3 whose connections obey `deadline`."""

    class Bounded(connection_class):  # type: ignore[misc]
        def connect(self) -> None:
            _join_call(self)
            super().connect()

        def request(self, *args: Any, **kwargs: Any) -> Any:
            _join_call(self)
            return super().request(*args, **kwargs)

        def getresponse(self, *args: Any, **kwargs: Any) -> Any:
            _join_call(self)
            return super().getresponse(*args, **kwargs)

    Bounded.__name__ = connection_class.__name__  # which urllib3 shows in its errors
    return Bounded


def _join_call(connection: Any) -> None:
    call = getattr(_CURRENT, "call", None)
    if call is not None:
        call.add(connection)
