"""Receivers: an input's spool and the listeners that write to it. Inputs with the same address
share its socket."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional, Protocol, Tuple

from ...core.model import Cursor, Plugin
from ...core.settings import Receiving
from ..clock import Clock
from .addresses import networks, parse_listen
from .spool import Spool
from .spool_reader import SpoolReader
from .webhook import CLOSING, Endpoint

if TYPE_CHECKING:
    from .listener import Listener

RECEIVED = "received"  # the scope of pushed events
RECEIVED_EVERY = 0.2  # seconds between two reads of a spool
PIECE = 0.001  # seconds of work without a pause while the receiver is busy
PAUSE = 0.003  # seconds
# Seconds after which a thread gives up the interpreter lock. Each answer of a webhook needs the
# lock several times; Python's default is 5 ms.
SWITCH_INTERVAL = 0.000_3

Address = Tuple[str, int, str, str]  # host, port, certificate, key


class SyslogListener(Protocol):
    """A started listener that writes to a spool."""

    counts: Counter[str]

    @property
    def address(self) -> str: ...

    def dropped(self) -> Optional[int]: ...

    def problems(self) -> Iterator[str]: ...

    def close(self) -> None: ...


# Opens one address of the setting `syslog`. Add-ons do not include these listeners, because
# AppInspect rejects UDP sockets: so whoever builds a receiver passes what opens them.
OpenSyslog = Callable[[str, Receiving, Spool, Clock], SyslogListener]


class YieldToReceiver:
    """Pauses for the thread that delivers, so that a busy receiver gets the interpreter lock.

    A sender's answer waits while another thread holds the lock. Called between two steps of the
    work, this limits the wait to one piece of work instead of a batch (100 ms and more for 1,000
    payloads).
    """

    def __init__(self, spool: Optional[Spool]) -> None:
        self.spool = spool
        self.spool_size = 0
        self.began = time.perf_counter()

    def __call__(self) -> None:
        """Pause if a piece of work has passed and payloads have arrived meanwhile."""
        if self.spool and time.perf_counter() - self.began > PIECE:
            if self.spool.size != self.spool_size:
                time.sleep(PAUSE)
                self.spool_size = self.spool.size
            self.began = time.perf_counter()


class ListenerPool:
    """The webhook listeners of all inputs, by address."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.listeners: Dict[Address, Listener] = {}

    def webhook(self, settings: Receiving, endpoint: Endpoint) -> Listener:
        """Add an endpoint to the listener of its address and return the listener. A new listener
        has the endpoint before it listens."""
        from .listener import Listener  # the HTTP server is slow to import

        host, port = parse_listen(settings.listen)
        key = (host, port, settings.certificate, settings.key)
        if key in self.listeners:
            self.listeners[key].app.endpoints.append(endpoint)
        else:
            self.listeners[key] = Listener(
                host=host,
                port=port,
                certificate=settings.certificate,
                key=settings.key,
                clock=self.clock,
                endpoints=[endpoint],
            )
        return self.listeners[key]

    def refused(self, endpoint: Endpoint) -> int:
        """Return the requests without a valid secret at the socket of an endpoint, which other
        endpoints may share."""
        return sum(
            listener.app.refused
            for listener in self.listeners.values()
            if endpoint in listener.app.endpoints
        )

    def problems(self, endpoint: Endpoint) -> Iterator[str]:
        """Yield why senders are refused at the socket of an endpoint."""
        for listener in list(self.listeners.values()):
            if endpoint in listener.app.endpoints:
                yield from listener.problems()

    def drop(self, endpoint: Endpoint) -> None:
        """Close an endpoint: its senders get 503 for a while. A socket without open endpoints is
        closed."""
        endpoint.closed = time.monotonic()
        for key, listener in list(self.listeners.items()):
            if endpoint in listener.app.endpoints:
                listener.app.endpoints[:] = [
                    other
                    for other in listener.app.endpoints
                    if other.closed is None or endpoint.closed - other.closed < CLOSING
                ]
                if all(other.closed is not None for other in listener.app.endpoints):
                    self.listeners.pop(key).close()


class Receiver:
    """The receiver of one input. It listens from `open` to `pause`; its spool can be read until
    `close`.

    open_syslog: opens a listener of `syslog`; None where the form has no such setting.
    """

    def __init__(
        self,
        plugin: Plugin,
        settings: Receiving,
        spool: SpoolReader,
        open_syslog: Optional[OpenSyslog] = None,
    ) -> None:
        self.plugin = plugin
        self.settings = settings
        self.spool = spool
        self.open_syslog = open_syslog
        self.listeners: Optional[ListenerPool] = None
        self.endpoint: Optional[Endpoint] = None
        self.addresses: List[str] = []
        self.syslog_listeners: List[SyslogListener] = []

    def open(self, listeners: ListenerPool) -> None:
        """Start the listeners of the settings."""
        assert isinstance(self.spool, Spool)  # a reader alone has no room for payloads
        self.listeners = listeners
        sys.setswitchinterval(SWITCH_INTERVAL)
        if self.settings.listen:
            endpoint = Endpoint(
                plugin=self.plugin.name,
                secret=self.settings.secret,
                spool=self.spool,
                networks=networks(self.settings),
                max_body_bytes=self.settings.max_body_bytes,
            )
            listener = listeners.webhook(self.settings, endpoint)
            self.endpoint = endpoint
            self.addresses.append(f"{listener.address}/{self.plugin.name}/<secret>")
        for value in self.settings.syslog:
            assert self.open_syslog is not None
            syslog_listener = self.open_syslog(value, self.settings, self.spool, listeners.clock)
            self.syslog_listeners.append(syslog_listener)
            self.addresses.append(syslog_listener.address)

    def pause(self) -> None:
        """Stop listening. The spool can still be read."""
        if self.endpoint and self.listeners:
            self.listeners.drop(self.endpoint)
            self.endpoint = None
        for listener in self.syslog_listeners:
            listener.close()
        self.syslog_listeners.clear()

    def close(self) -> None:
        """Stop listening and close the spool."""
        self.pause()
        self.spool.close()

    def problems(self) -> Iterator[str]:
        """Yield why senders are refused, for the status."""
        yield from self.spool.problems()
        for listener in self.syslog_listeners:
            yield from listener.problems()
        if self.endpoint and self.listeners:
            yield from self.listeners.problems(self.endpoint)

    def show(self, cursor: Cursor) -> Dict[str, Any]:
        """Return the receiver's part of the status.

        `waiting_bytes`: received and not delivered yet, that is behind the cursor. `refused`: from
        networks that are not allowed, or without a valid secret.
        """
        return {
            "at": self.addresses,
            "waiting_bytes": self.spool.pending(cursor),
            "spool_bytes": self.spool.size,
            "spool_full": self.spool.full,
            "spool_damaged": self.spool.damaged,
            **self._counts(),
        }

    def _counts(self) -> Dict[str, int]:
        """Return the counts of all listeners."""
        counts: Dict[str, int] = dict(self.endpoint.counts) if self.endpoint else {}
        for listener in self.syslog_listeners:
            for name, number in listener.counts.items():
                counts[name] = counts.get(name, 0) + number
        dropped = [listener.dropped() for listener in self.syslog_listeners]
        if any(number is not None for number in dropped):
            counts["dropped_by_kernel"] = sum(number or 0 for number in dropped)
        if self.endpoint and self.listeners:
            counts["refused"] = counts.get("refused", 0) + self.listeners.refused(self.endpoint)
        return counts
