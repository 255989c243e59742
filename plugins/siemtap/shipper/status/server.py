"""The server of the status page and its searches, of /stats, /metrics and /health."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import threading
import time
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, Mapping

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...core.errors import ConfigError, SiemtapError
from ...edge.receive.limits import listen_on
from ...edge.receive.listener import RequestTimeout
from .answers import Answer, Fields, SlowAnswers, fields_of, html_answer, text_answer
from .events_page import answer_event, answer_events
from .metrics import render_metrics
from .page import render_page
from .rejected_page import answer_rejected, answer_rejected_event

POLICY = (
    b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none';"
    b" form-action 'self'"
)
SLOW: Dict[str, Callable[[Any, Fields], Answer]] = {
    "/events": answer_events,
    "/event": answer_event,
    "/rejected": answer_rejected,
    "/rejected/event": answer_rejected_event,
}
CONNECTIONS = 256  # beyond it the oldest is closed, so that /health answers whoever asks


class PageProtocol(RequestTimeout, H11Protocol):  # type: ignore[misc]
    """The HTTP protocol of the page: it closes connections that say nothing."""


class Page:
    """An ASGI application that shows the state of a shipper."""

    def __init__(self, shipper: Any, hosts: Iterable[str] = ()) -> None:
        self.shipper = shipper
        own = (socket.gethostname(), socket.getfqdn())
        self.hosts = {"localhost", *(host.lower() for host in (*hosts, *own))}
        self.quick: Dict[str, Callable[[], Answer]] = {
            "/": self.front,
            "/stats": self.stats,
            "/metrics": self.metrics,
            "/health": self.health,
        }
        self.slow = SlowAnswers()

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
        answer = await self.answer(scope)
        headers = [
            (b"content-type", f"{answer.kind}; charset=utf-8".encode()),
            (b"content-length", str(len(answer.body)).encode()),
            (b"cache-control", b"no-store"),
            (b"content-security-policy", POLICY),
            (b"referrer-policy", b"no-referrer"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else answer.body
        await send({"type": "http.response.body", "body": body})

    async def answer(self, scope: Any) -> Answer:
        """Return the answer to a request."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        path = scope["path"]
        if host and not self.is_own(host):
            return text_answer(
                421, "this name is not the page's: use its address, or add the name to http.names"
            )
        if is_embedded_elsewhere(headers):
            return text_answer(403, "another site's page may link to this one, and not embed it")
        if scope["method"] not in ("GET", "HEAD"):
            return text_answer(405, "use GET")
        try:
            fields = fields_of(scope["query_string"])
        except ConfigError as error:
            return text_answer(400, str(error))
        try:
            if path in self.quick:
                return self.quick[path]()
            if path in SLOW:
                return await self.slow.make(partial(SLOW[path], self.shipper, fields))
        except SiemtapError as error:
            return text_answer(503, str(error))
        return text_answer(404, f"not found; use {', '.join((*self.quick, *SLOW))}")

    def stats(self) -> Answer:
        return Answer(200, "application/json", json.dumps(self.shipper.stats(), indent=1).encode())

    def health(self) -> Answer:
        healthy, reason = self.shipper.health()
        status = 200 if healthy else 503
        body = json.dumps({"healthy": healthy, "reason": reason}).encode()
        return Answer(status, "application/json", body)

    def metrics(self) -> Answer:
        body = render_metrics(self.shipper.stats(), self.shipper.tally.delivered_by_dataset())
        return Answer(200, "text/plain; version=0.0.4", body)

    def front(self) -> Answer:
        return html_answer(
            render_page(self.shipper.stats(), self.shipper.tally, self.shipper.clock.now())
        )

    def close(self) -> None:
        self.slow.close()


def is_embedded_elsewhere(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a browser loads this for another site's page.

    That site cannot read the answer, but it could measure how long a search takes, and make many.
    """
    site = headers.get(b"sec-fetch-site", b"")
    return site == b"cross-site" and headers.get(b"sec-fetch-dest", b"document") != b"document"


class Server:
    """The status page on a port. Raise ConfigError, with the advice, if the port cannot be used."""

    def __init__(
        self,
        shipper: Any,
        host: str,
        port: int,
        names: Iterable[str] = (),
        advice: str = "change http.port, or set http.enabled: false",
    ) -> None:
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        self.page = Page(shipper, (host, *names))
        config = uvicorn.Config(
            self.page,
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
            raise _cannot_listen(host, port, error.strerror or str(error), advice) from None
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
            raise _cannot_listen(host, port, "it did not start", advice)

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
        self.page.close()
        self.thread.join(5)


def _cannot_listen(host: str, port: int, reason: str, advice: str) -> ConfigError:
    return ConfigError(f"the status page cannot listen on {host}:{port}: {reason}; {advice}")
