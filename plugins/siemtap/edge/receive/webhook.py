"""The webhook: an ASGI application that answers only after the payload is on disk.

POST /<plugin>/<secret>[/<account>[/<host>]], or the secret in the header X-Siemtap-Secret and the
path without it. Answers:

- 204: the payload is stored. Only a receipt of the spool makes this answer.
- 400: no body, or another length than announced.
- 404: a wrong secret, a wrong plugin or a network that is not allowed, without a difference.
- 405: another method than POST.
- 408: the body did not arrive.
- 413: the body is too large.
- 503 with Retry-After: the spool is full, or the input stops.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import quote

from ...core.errors import SiemtapError
from ...core.model import Payload
from ..clock import SYSTEM, Clock
from .addresses import Network, allows
from .spool import Receipt, Spool

log = logging.getLogger("siemtap")

# Seconds for which the senders of a stopped input get 503. A reload takes less.
CLOSING = 30.0
IN_FLIGHT = 64 * 1024 * 1024  # bytes of request bodies in memory, of all senders
RETRY_AFTER = b"30"
SECRET = b"x-siemtap-secret"
STORED_HEADERS = (b"content-type", b"content-encoding")


class Response(NamedTuple):
    """An HTTP response. Created by `success` or by `refusal`."""

    status: int
    text: bytes = b""
    headers: Tuple[Tuple[bytes, bytes], ...] = ()


def success(receipt: Receipt) -> Response:
    """Return the response for a stored payload. The receipt proves that it is on disk."""
    return Response(204)


def refusal(status: int, reason: str = "", *headers: Tuple[bytes, bytes]) -> Response:
    """Return the response for a payload that is not stored. ValueError for a status below 400."""
    if status < 400:
        raise ValueError(f"{status} is not an error status")
    return Response(status, reason.encode(), headers)


@dataclass
class Endpoint:
    """The webhook of one input: its path, its secret, and the spool that stores its payloads."""

    plugin: str
    secret: str
    spool: Spool
    networks: Tuple[Network, ...] = ()
    max_body_bytes: int = 1024 * 1024
    # kept, empty, too_large, full, closing, broken_off
    counts: Counter[str] = field(default_factory=Counter)
    closed: Optional[float] = None  # the time of closing, by the monotonic clock

    def __post_init__(self) -> None:
        self.digest = _digest(self.secret.encode())

    def allows(self, peer: str) -> bool:
        """Return whether the peer's address is in the allowed networks."""
        return allows(self.networks, peer)


class Webhook:
    """The ASGI application of a listener. Its endpoints are distinguished by their secrets."""

    def __init__(self, clock: Clock = SYSTEM, endpoints: Sequence[Endpoint] = ()) -> None:
        self.endpoints: List[Endpoint] = [*endpoints]
        self.clock = clock
        self.refused = 0  # requests without a valid secret
        self.reading = 0  # bytes of request bodies in memory

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        status, text, headers = await self._respond(scope, receive)
        all_headers: List[Tuple[bytes, bytes]] = []
        if status != 204:
            all_headers.append((b"content-length", str(len(text)).encode()))
        all_headers += headers
        if status in (400, 404, 408, 413):
            all_headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": all_headers})
        await send({"type": "http.response.body", "body": text})

    async def _respond(self, scope: Any, receive: Any) -> Response:
        headers = dict(scope["headers"])
        peer = str(scope["client"][0]) if scope.get("client") else ""
        endpoint, path = self._endpoint(scope["path"], headers.get(SECRET), peer)
        if endpoint is None:
            self.refused += 1
            return refusal(404)
        if scope["method"] != "POST":
            return refusal(405, "", (b"allow", b"POST"))
        if endpoint.closed is not None or endpoint.spool.is_full() or self.reading > IN_FLIGHT:
            endpoint.counts["full" if endpoint.closed is None else "closing"] += 1
            await self._discard_body(endpoint, receive)
            return refusal(503, "", (b"retry-after", RETRY_AFTER))
        try:
            body = await self._body(endpoint, headers, receive)
        except ConnectionError:
            endpoint.counts["broken_off"] += 1
            return refusal(408)  # the sender is gone
        if body is None:
            endpoint.counts["too_large"] += 1
            log.warning(
                "%s: a body of more than %d bytes was refused; raise `max_body_bytes` to accept it",
                endpoint.plugin,
                endpoint.max_body_bytes,
            )
            return refusal(413)
        declared = headers.get(b"content-length", b"")
        if (
            b"transfer-encoding" not in headers
            and declared.isdigit()
            and int(declared) != len(body)
        ):
            self.reading -= len(body)
            endpoint.counts["broken_off"] += 1
            return refusal(
                400,
                f"Content-Length is {int(declared)}, the body has {len(body)} bytes:"
                " nothing was stored",
            )
        if not body:
            endpoint.counts["empty"] += 1
            return refusal(400, "empty body: nothing was stored")
        stored_headers = {
            name.decode(): headers[name].decode("latin-1")
            for name in STORED_HEADERS
            if name in headers
        }
        payload = Payload(
            body=body,
            channel="webhook",
            path=path,
            peer=peer,
            received=self.clock.now(),
            headers=stored_headers,
        )
        return await self._store(endpoint, payload)

    async def _store(self, endpoint: Endpoint, payload: Payload) -> Response:
        try:
            receipt = await asyncio.wrap_future(endpoint.spool.append([payload]))
        except SiemtapError:  # the spool logs and shows what its disk says
            endpoint.counts["full"] += 1
            return refusal(503, "", (b"retry-after", RETRY_AFTER))
        finally:
            self.reading -= len(payload.body)
        endpoint.counts["kept"] += 1
        return success(receipt)

    def _endpoint(
        self, path: str, header: Optional[bytes], peer: str
    ) -> Tuple[Optional[Endpoint], str]:
        """Return the endpoint of a request and the rest of its path; (None, "") if there is none.

        All endpoints' secrets are compared, in constant time, whichever matches. Of two endpoints
        with the same secret the newer one counts.
        """
        # http://host/path, which a server must accept (RFC 9112 3.2.2)
        if not path.startswith("/"):
            path = path.partition("://")[2].partition("/")[2]
        plugin, *rest = path.lstrip("/").split("/")
        secret = b""
        if header is not None:
            secret = header
        elif rest:
            secret = rest.pop(0).encode()
        digest = _digest(secret)
        match = None
        for endpoint in self.endpoints:
            if (
                hmac.compare_digest(digest, endpoint.digest)
                and endpoint.plugin == plugin
                and (endpoint.closed is None or time.monotonic() - endpoint.closed < CLOSING)
            ):
                match = endpoint
        if match is None or not match.allows(peer) or len(rest) > 2:
            return None, ""
        return match, "/".join(quote(part, safe="") for part in rest if part)

    async def _body(
        self, endpoint: Endpoint, headers: Dict[bytes, bytes], receive: Any
    ) -> Optional[bytes]:
        """Return the body, or None if it is too large. Its bytes count in `reading` as they arrive,
        until it is stored.

        Raise ConnectionResetError if the sender disconnects.
        """
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > endpoint.max_body_bytes:
            # with `Expect: 100-continue` the sender has not sent the body yet
            if headers.get(b"expect", b"").lower() != b"100-continue":
                await self._discard_body(endpoint, receive)
            return None
        parts: List[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                # too slow, or gone: a partial body is not stored
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                self.reading += len(part)
                if size > endpoint.max_body_bytes:
                    self.reading -= size
                    size = 0
                    if message.get("more_body"):
                        await self._discard_body(endpoint, receive)
                    return None
                if not message.get("more_body"):
                    return b"".join(parts)
        except BaseException:
            self.reading -= size
            raise

    async def _discard_body(self, endpoint: Endpoint, receive: Any) -> None:
        """Read and drop a body. A sender that is disconnected while it writes never reads the
        response."""
        size = 0
        more_body = True
        while more_body and size <= endpoint.max_body_bytes:
            message = await receive()
            size += len(message.get("body", b""))
            more_body = message["type"] != "http.disconnect" and bool(message.get("more_body"))


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
