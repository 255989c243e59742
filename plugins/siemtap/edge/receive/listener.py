"""The HTTP or HTTPS server of webhooks: a socket, uvicorn, and limits for slow senders."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from typing import Any, Iterator, Optional, Sequence, Type

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...core.errors import ConfigError
from ..certificates import ServerCertificate
from ..clock import SYSTEM, Clock
from .limits import listen_on
from .webhook import Endpoint, Webhook

FastestProtocol: Any
try:
    # needs httptools, which the shipper has and an add-on does not
    from .upgrade import PlainHttp as FastestProtocol
except ImportError:
    FastestProtocol = H11Protocol

# seconds for a whole request, head and body, and for the next one on an open connection
REQUEST_TIMEOUT = 20.0
LARGEST_HEAD = 64 * 1024  # bytes
ProtocolBase: Any = object  # the mixin stands before one of uvicorn's protocols


class RequestTimeout(ProtocolBase):  # type: ignore[misc]
    """Mixin for uvicorn's protocols, which wait for a request and its body without a limit: it
    closes connections of silent or slow senders."""

    timer: Optional[asyncio.TimerHandle] = None
    head = 0  # bytes since the last complete request head

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        self.head += len(data)
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self.head = 0
        elif self.head > LARGEST_HEAD:  # httptools has no limit of its own
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._start_timer()

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        if self.timer:
            self.timer.cancel()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        if self.timer:
            self.timer.cancel()
        self.timer = self.loop.call_later(REQUEST_TIMEOUT, self._close_if_slow)

    def _close_if_slow(self) -> None:
        # no complete request is being answered
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            self.transport.close()


class WebhookProtocol(RequestTimeout, FastestProtocol):  # type: ignore[misc]
    """The HTTP protocol of a webhook."""


class WebhookProtocolH11(RequestTimeout, H11Protocol):  # type: ignore[misc]
    """The HTTP protocol of a webhook inside Splunk."""


class Listener:
    """A listening socket and the thread that serves it. ConfigError if it cannot listen.

    `certificate`, `key`: PEM files; without a certificate it serves plain HTTP.
    """

    def __init__(
        self,
        host: str,
        port: int,
        certificate: str = "",
        key: str = "",
        clock: Clock = SYSTEM,
        endpoints: Sequence[Endpoint] = (),
        protocol: Type[Any] = WebhookProtocol,
    ) -> None:
        self.app = Webhook(clock, endpoints)
        self.certificate = ServerCertificate(certificate, key) if certificate else None
        self.scheme = "https" if certificate else "http"
        # Invalid requests are counted, not logged one by one.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        try:
            # on Windows SO_REUSEADDR lets another process take the port
            self.socket = listen_on(host, port, reuse=os.name == "posix")
            config = uvicorn.Config(
                self.app,
                http=protocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=int(REQUEST_TIMEOUT),
                timeout_graceful_shutdown=5,
                backlog=2048,
            )
            config.load()
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; check `listen`"
            ) from None
        if self.certificate:
            config.ssl = self.certificate.context
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self._serve, name="webhook", daemon=True)
        self.thread.start()
        deadline = time.monotonic() + 10
        while not self.server.started and self.thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        if not self.server.started:
            raise ConfigError(f"cannot listen on {host}:{port}")

    def _serve(self) -> None:
        self.server.run(sockets=[self.socket])

    @property
    def address(self) -> str:
        """Return the URL without a path, with the port that the system chose for port 0."""
        host, port = self.socket.getsockname()[:2]
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def problems(self) -> Iterator[str]:
        """Yield why senders are refused, or soon will be, for the status."""
        if self.socket.problem():
            yield self.socket.problem()
        if self.certificate and self.certificate.files.problem():
            yield self.certificate.files.problem()
        if not self.thread.is_alive():
            yield f"the listener at {self.address} has ended: restart siemtap"

    def close(self) -> None:
        """Stop listening. Requests whose payloads are being stored are answered."""
        self.server.should_exit = True
        self.thread.join(10)
