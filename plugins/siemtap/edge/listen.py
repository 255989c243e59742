"""The webhook: HTTP or HTTPS, an answer only after the payload is on disk. Served by uvicorn on
h11.

POST /<plugin>/<secret>[/<account>[/<host>]], or the secret as the header X-Siemtap-Secret and the
path without it. 204 kept; 400 for no body or another one than announced; 404 for a wrong secret, a
wrong plugin or a network that is not allowed, all alike; 405; 408; 413; 503 with Retry-After when
there is no room, or while the input stops. A success is made of the spool's receipt, and of nothing
else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import os
import socket
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type, Union
from urllib.parse import quote

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..core.errors import ConfigError, SiemtapError
from ..core.model import Payload
from .clock import SYSTEM, Clock
from .spool import Full, Receipt, Spool

Quick: Any
try:
    # on httptools: the shipper has it, a bundle does without
    from .upgrade import PlainHttp as Quick
except ImportError:
    Quick = H11Protocol

log = logging.getLogger("siemtap")

# seconds for a whole request, head and body, and for the next one on a kept connection
PATIENCE = 20.0
LARGEST_HEAD = 64 * 1024  # bytes
# seconds for which the senders of an input that stops are told to try again; a reload is over by
# then
CLOSING = 30.0
# bytes of bodies that are being read, of all senders together
IN_FLIGHT = 64 * 1024 * 1024
RETRY_AFTER = b"30"
SECRET = b"x-siemtap-secret"
KEPT_HEADERS = (b"content-type", b"content-encoding")
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


class Answer(NamedTuple):
    """What a sender is told: made by `kept` or by `refused`."""

    status: int
    text: bytes = b""
    headers: Tuple[Tuple[bytes, bytes], ...] = ()


def kept(receipt: Receipt) -> Answer:
    """Tell that it is on disk, for the one reason there is."""
    return Answer(204)


def refused(status: int, why: str = "", *headers: Tuple[bytes, bytes]) -> Answer:
    """Tell that nothing was kept."""
    if status < 400:
        raise ValueError(f"{status} is no refusal")
    return Answer(status, why.encode(), headers)


@dataclass
class Door:
    """One input's way in."""

    plugin: str
    secret: str
    spool: Spool
    networks: Tuple[Network, ...] = ()
    largest: int = 1024 * 1024  # bytes of a body
    # kept, empty, too_large, full, closing, broken_off
    counts: Counter[str] = field(default_factory=Counter)
    closed: Optional[float] = None  # when, by the monotonic clock

    def __post_init__(self) -> None:
        self.digest = _digest(self.secret.encode())

    def lets_in(self, peer: str) -> bool:
        return allows(self.networks, peer)


class Webhook:
    """The application: any number of doors, told apart by their secrets."""

    def __init__(self, clock: Clock = SYSTEM, doors: Sequence[Door] = ()) -> None:
        self.doors: List[Door] = [*doors]
        self.clock = clock
        self.refused = 0  # calls without a right secret
        self.reading = 0  # bytes of bodies in memory

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        status, text, headers = await self._answer(scope, receive)
        closing = [(b"connection", b"close")] if status in (400, 404, 408, 413) else []
        length = [] if status == 204 else [(b"content-length", str(len(text)).encode())]
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*length, *headers, *closing],
            }
        )
        await send({"type": "http.response.body", "body": text})

    async def _answer(self, scope: Any, receive: Any) -> Answer:
        headers = dict(scope["headers"])
        peer = str(scope["client"][0]) if scope.get("client") else ""
        door, rest = self._door(scope["path"], headers.get(SECRET), peer)
        if door is None:
            self.refused += 1
            return refused(404)
        if scope["method"] != "POST":
            return refused(405, "", (b"allow", b"POST"))
        if door.closed is not None or door.spool.is_full() or self.reading > IN_FLIGHT:
            door.counts["full" if door.closed is None else "closing"] += 1
            await self._overhear(door, receive)
            return refused(503, "", (b"retry-after", RETRY_AFTER))
        try:
            body = await self._body(door, headers, receive)
        except ConnectionError:
            door.counts["broken_off"] += 1
            return refused(408)  # to nobody
        if body is None:
            door.counts["too_large"] += 1
            log.warning(
                "%s: a body of more than %d bytes was refused; raise `max_body_bytes` if it was"
                " meant",
                door.plugin,
                door.largest,
            )
            return refused(413)
        declared = headers.get(b"content-length", b"")
        if (
            b"transfer-encoding" not in headers
            and declared.isdigit()
            and int(declared) != len(body)
        ):
            self.reading -= len(body)
            door.counts["broken_off"] += 1
            return refused(
                400, f"{int(declared)} bytes were announced and {len(body)} came: nothing was kept"
            )
        if not body:
            door.counts["empty"] += 1
            return refused(400, "no body: nothing was kept")
        said = {
            name.decode(): headers[name].decode("latin-1")
            for name in KEPT_HEADERS
            if name in headers
        }
        try:
            receipt = await asyncio.wrap_future(
                door.spool.append([Payload(body, "webhook", rest, peer, self.clock.now(), said)])
            )
        except SiemtapError as error:
            door.counts["full"] += 1
            if not isinstance(error, Full):
                log.error("%s: %s", door.plugin, error)
            return refused(503, "", (b"retry-after", RETRY_AFTER))
        finally:
            self.reading -= len(body)
        door.counts["kept"] += 1
        return kept(receipt)

    def _door(self, path: str, header: Optional[bytes], peer: str) -> Tuple[Optional[Door], str]:
        """Every door's secret is compared, in constant time, whatever the first ones say. Of two
        that are alike it is the newer one."""
        # http://host/path, which RFC 9112 3.2.2 wants understood
        if not path.startswith("/"):
            path = path.partition("://")[2].partition("/")[2]
        plugin, *rest = path.lstrip("/").split("/")
        given = header if header is not None else rest.pop(0).encode() if rest else b""
        digest, found = _digest(given), None
        for door in self.doors:
            if (
                hmac.compare_digest(digest, door.digest)
                and door.plugin == plugin
                and (door.closed is None or time.monotonic() - door.closed < CLOSING)
            ):
                found = door
        if found is None or not found.lets_in(peer) or len(rest) > 2:
            return None, ""
        return found, "/".join(quote(part, safe="") for part in rest if part)

    async def _body(self, door: Door, headers: Dict[bytes, bytes], receive: Any) -> Optional[bytes]:
        """None: too large. Its bytes are counted from the moment they are here."""
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > door.largest:
            # then it waits for our word, and sends nothing
            if headers.get(b"expect", b"").lower() != b"100-continue":
                await self._overhear(door, receive)
            return None
        parts: List[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                # too slow, or gone: nothing was promised, and half a body is none
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                self.reading += len(part)
                if size > door.largest:
                    self.reading -= size
                    size = 0
                    if message.get("more_body"):
                        await self._overhear(door, receive)
                    return None
                if not message.get("more_body"):
                    return b"".join(parts)
        except BaseException:
            self.reading -= size
            raise

    async def _overhear(self, door: Door, receive: Any) -> None:
        """Read a body and keep none of it: a sender that is cut off while it writes never reads
        the answer."""
        size, more = 0, True
        while more and size <= door.largest:
            message = await receive()
            size += len(message.get("body", b""))
            more = message["type"] != "http.disconnect" and bool(message.get("more_body"))


Before: Any = object  # one of uvicorn's protocols comes behind it


class _Patience(Before):  # type: ignore[misc]
    """In front of one of uvicorn's protocols. uvicorn waits for ever for a request and its body;
    a thousand silent peers would stay a thousand."""

    alarm: Optional[asyncio.TimerHandle] = None
    head = 0  # bytes since the last request was understood

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        self.head += len(data)
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self.head = 0
        elif self.head > LARGEST_HEAD:  # the quicker parser has no bound of its own
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        if self.alarm:
            self.alarm.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self.alarm:
            self.alarm.cancel()
        self.alarm = self.loop.call_later(PATIENCE, self._too_slow)

    def _too_slow(self) -> None:
        # nothing whole is being answered
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            self.transport.close()


class Patient(_Patience, Quick):  # type: ignore[misc]
    """What a webhook speaks."""


class PatientH11(_Patience, H11Protocol):  # type: ignore[misc]
    """What it speaks inside Splunk."""


class Listener:
    """A socket and the thread behind it. `address` once it listens."""

    def __init__(
        self,
        host: str,
        port: int,
        certificate: str = "",
        key: str = "",
        clock: Clock = SYSTEM,
        doors: Sequence[Door] = (),
        protocol: Type[Any] = Patient,
    ) -> None:
        self.app = Webhook(clock, doors)
        self.scheme = "https" if certificate else "http"
        # who sends nonsense is counted, and not a log line each
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        try:
            self.socket = _bound(host, port)
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
                timeout_keep_alive=int(PATIENCE),
                timeout_graceful_shutdown=5,
                backlog=2048,
                ssl_certfile=certificate or None,
                ssl_keyfile=key or None,
            )
            config.load()
        except OSError as error:  # ssl's errors are such, too
            if hasattr(self, "socket"):
                self.socket.close()
            raise ConfigError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; check `listen`,"
                " `certificate` and `key`"
            ) from None
        if config.ssl:
            config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
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
        host, port = self.socket.getsockname()[:2]
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def close(self) -> None:
        """No new payloads; those that are being kept are answered."""
        self.server.should_exit = True
        self.thread.join(10)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it means that anybody may take the port away
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def allows(networks: Tuple[Network, ...], peer: str) -> bool:
    """All, where none are named."""
    address = _address(peer) if networks else None
    return not networks or (address is not None and any(address in network for network in networks))


def _address(peer: str) -> Any:
    """IPv4 in IPv6's clothes is IPv4."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
