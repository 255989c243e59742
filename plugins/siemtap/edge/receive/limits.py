"""Limits of a listening socket: how many connections it holds, of all peers and of one address.

A connection needs a descriptor, and memory before its first byte. Without a limit, peers that say
nothing take the descriptors of the database and of the status page.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import weakref
from typing import Any, Dict, List, Optional, Tuple

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None  # type: ignore[assignment]

log = logging.getLogger("siemtap")

CONNECTIONS = 4_096  # of one listener, at most; half of them of one address, as a proxy is
SHARE = 8  # a listener may take this part of the process's descriptors
RECENTLY = 60.0  # seconds for which a refused connection shows in the status


def max_connections() -> int:
    """Return how many connections a listener may hold."""
    if resource is None:
        return CONNECTIONS
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return CONNECTIONS if soft < 0 else max(16, min(CONNECTIONS, soft // SHARE))


def raise_file_limit() -> None:
    """Raise the limit of open files to what the system allows without privileges."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS reports a limit that it does not grant
            log.debug("the limit of open files stays at %d", soft)


class LimitedSocket(socket.socket):
    """A listening socket that closes connections beyond its limits as it accepts them.

    One address gets half of the connections, so that it cannot keep out all others. drop_oldest:
    close the oldest connection instead of the new one, where a new one matters more.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limit = max_connections()
        self.drop_oldest = False
        self.refused = 0
        self.refused_at: Optional[float] = None
        self.peers: Dict[int, Tuple[weakref.ref[socket.socket], str]] = {}

    def accept(self) -> Tuple[socket.socket, Any]:
        """Accept a connection. Raise ConnectionAbortedError for one beyond the limits, which
        asyncio takes as one that the peer has given up."""
        connection, peer = super().accept()
        address = str(peer[0])
        held = self._held()
        of_address = [other for other, name in held if name == address]
        is_full = len(held) >= self.limit or len(of_address) >= self.limit // 2
        if is_full and self.drop_oldest:
            oldest = (of_address or [held[0][0]])[0]
            del self.peers[id(oldest)]
            _shut_down(oldest)
        elif is_full:
            connection.close()
            self._count_refused(address, len(of_address), len(held))
            raise ConnectionAbortedError("too many connections")
        self.peers[id(connection)] = weakref.ref(connection), address
        return connection, peer

    def _held(self) -> List[Tuple[socket.socket, str]]:
        """Return the open connections with their addresses, oldest first."""
        held = []
        for key, (reference, address) in list(self.peers.items()):
            connection = reference()
            if connection is None or connection.fileno() < 0:
                del self.peers[key]
            else:
                held.append((connection, address))
        return held

    def _count_refused(self, address: str, number: int, total: int) -> None:
        now = time.monotonic()
        if self.refused_at is None or now - self.refused_at > RECENTLY:
            log.error(
                "%s: a connection of %s is refused: it has %d of %d connections, and the limit is"
                " %d, half of it for one address",
                self.getsockname()[:2],
                address,
                number,
                total,
                self.limit,
            )
        self.refused += 1
        self.refused_at = now

    def problem(self) -> str:
        """Return that connections were refused in the last minute; "" otherwise."""
        if self.refused_at is None or time.monotonic() - self.refused_at > RECENTLY:
            return ""
        return (
            f"connections to port {self.getsockname()[1]} are refused: there are too many"
            f" ({self.limit}, half of them for one address); is a sender broken, or an attack on?"
        )


def _shut_down(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)  # its protocol then sees the end, and closes it
    except OSError:
        pass


class AsyncioLog(logging.Filter):
    """Turns the tracebacks of asyncio, one for each connection that fails, into a line a minute."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.logged_at: Optional[float] = None

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        with self.lock:
            if self.logged_at is not None and now - self.logged_at < RECENTLY:
                return False
            self.logged_at = now
        error = record.exc_info[1] if record.exc_info else None
        reason = getattr(error, "strerror", None) or type(error).__name__
        log.error("a listener failed: %s; further failures are not logged for a minute", reason)
        return False


def listen_on(host: str, port: int, reuse: bool) -> LimitedSocket:
    """Return a bound TCP socket with limits. OSError if it cannot be bound.

    reuse: take a port whose last connections are still closing.
    """
    logger = logging.getLogger("asyncio")
    if not any(isinstance(item, AsyncioLog) for item in logger.filters):
        logger.addFilter(AsyncioLog())
    bound = LimitedSocket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if reuse:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
