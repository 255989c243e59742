"""The server of the status page, /stats, /metrics and /health."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import threading
import time
from typing import Any, Callable, Dict, Iterable, List, Tuple

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...core.errors import ConfigError, SiemtapError
from ...edge.receive.limits import listen_on
from ...edge.receive.listener import RequestTimeout
from .metrics import render_metrics
from .page import render_page

POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none';"
    b" form-action 'none'"
)
CONNECTIONS = 256  # beyond it the oldest is closed, so that /health answers whoever asks


class PageProtocol(RequestTimeout, H11Protocol):  # type: ignore[misc]
    """The HTTP protocol of the page: it closes connections that say nothing."""


class Page:
    """An ASGI application that shows the state of a shipper."""

    def __init__(self, shipper: Any, hosts: Iterable[str] = ()) -> None:
        self.shipper = shipper
        own = (socket.gethostname(), socket.getfqdn())
        self.hosts = {"localhost", *(host.lower() for host in (*hosts, *own))}

    def is_own(self, host: str) -> bool:
        """Return whether a `Host` header names this page.

        An address does; of names those that are configured. Otherwise a web site could point its
        own name at this page and read it with a visitor's browser.
        """
        name, colon, port = host.strip().rpartition(":")
        if not colon or (port and not port.isdecimal()):
            name = host.strip()
        name = name.strip("[]").lower().rstrip(".")
        try:
            ipaddress.ip_address(name.partition("%")[0])
        except ValueError:
            return name in self.hosts
        return True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        routes: Dict[str, Callable[[], Tuple[int, str, bytes]]] = {
            "/": self.front,
            "/stats": self.stats,
            "/metrics": self.metrics,
            "/health": self.health,
        }
        answer = routes.get(scope["path"])
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if host and not self.is_own(host):
            status, kind = 421, "text/plain"
            body = b"this name is not the page's: use its address, or add the name to http.names\n"
        elif scope["method"] not in ("GET", "HEAD"):
            status, kind, body = 405, "text/plain", b"use GET\n"
        elif answer is None:
            status, kind, body = (
                404,
                "text/plain",
                b"not found; use /, /stats, /metrics or /health\n",
            )
        else:
            try:
                status, kind, body = answer()
            except SiemtapError as error:
                status, kind, body = 503, "text/plain", f"{error}\n".encode("utf-8", "replace")
        headers = [
            (b"content-type", f"{kind}; charset=utf-8".encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"content-security-policy", POLICY),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body}
        )

    # Each returns (status, content type, body).

    def stats(self) -> Tuple[int, str, bytes]:
        return 200, "application/json", json.dumps(self.shipper.stats(), indent=1).encode()

    def health(self) -> Tuple[int, str, bytes]:
        healthy, reason = self.shipper.health()
        status = 200 if healthy else 503
        body = json.dumps({"healthy": healthy, "reason": reason}).encode()
        return status, "application/json", body

    def metrics(self) -> Tuple[int, str, bytes]:
        body = render_metrics(self.shipper.stats(), self.shipper.tally.top("dataset", 100))
        return 200, "text/plain; version=0.0.4", body

    def front(self) -> Tuple[int, str, bytes]:
        parts = render_page(self.shipper.stats(), self.shipper.tally, self.shipper.clock.now())
        return 200, "text/html", "".join(parts).encode("utf-8", "replace")


class Server:
    """The status page on a port. Raise ConfigError if the port cannot be used."""

    def __init__(self, shipper: Any, host: str, port: int, names: Iterable[str] = ()) -> None:
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        config = uvicorn.Config(
            Page(shipper, (host, *names)),
            http=PageProtocol,
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=5,
        )
        try:
            self.socket = listen_on(host, port, reuse=os.name == "posix")
        except OSError as error:
            raise _cannot_listen(host, port, error.strerror or str(error)) from None
        self.socket.limit = min(self.socket.limit, CONNECTIONS)
        self.socket.drop_oldest = True
        self.server = uvicorn.Server(config)
        self.host = host
        self.port = port
        self.failed: List[BaseException] = []
        self.thread = threading.Thread(target=self._serve, name="status-page", daemon=True)
        self.thread.start()
        while not self.server.started and not self.failed and self.thread.is_alive():
            time.sleep(0.01)
        if not self.server.started:
            self.socket.close()
            raise _cannot_listen(host, port, "it did not start")

    def _serve(self) -> None:
        try:
            self.server.run(sockets=[self.socket])
        except BaseException as error:  # uvicorn may exit; here only the thread ends
            self.failed.append(error)

    @property
    def address(self) -> str:
        """Return the URL of the page, with the port that was bound."""
        return f"http://{self.host}:{self.socket.getsockname()[1]}/"

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join(5)


def _cannot_listen(host: str, port: int, reason: str) -> ConfigError:
    return ConfigError(
        f"the status page cannot listen on {host}:{port}: {reason}; change http.port, or set"
        " http.enabled: false"
    )
