"""Runs vendors' simulators, as a server on loopback or as a function, with faults on request.

A simulator is a `vendor.SimulatedVendor`. That of a vendor that pushes also has
`pushed(start, stop)`, which yields what a Sender sends.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import struct
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import parse_qsl, urlsplit

import requests

from ..core.errors import ConfigError, Retry
from ..core.manifest import suggest
from ..core.windows import Millis
from ..edge.client.messages import Reply, Request, Send
from ..edge.clock import SYSTEM, Clock


class Answer(NamedTuple):
    """An HTTP response, and how it is sent."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    delay: float = 0.0  # seconds before the first byte
    cut: Optional[int] = None  # bytes of the body after which the connection is reset
    drip: float = 0.0  # seconds between two bytes of the body


@dataclasses.dataclass
class Fault:
    """A wrong answer to the next `times` requests of a call; of any call if it is empty."""

    call: str = ""
    times: int = 1
    status: int = 500
    body: str = "list"  # list, text, other, html, empty or truncated
    retry_after: str = ""  # seconds; "date:5" sends a date in 5 seconds
    delay: float = 0.0
    cut: Optional[int] = None
    drip: float = 0.0
    content_type: str = "application/json"
    location: str = ""

    def answer(self, now: Millis) -> Answer:
        """Return the wrong answer."""
        bodies = {
            "list": b'{"errorMessages":["a fault on request"]}',
            "text": b'{"errorMessages":"a fault on request"}',
            "other": b'{"fault":true}',
            "html": b"<html><body>a fault on request</body></html>",
            "empty": b"",
            "truncated": b'{"successMessage":"Success","data":[{"websi',
        }
        headers = {"Content-Type": "text/html" if self.body == "html" else self.content_type}
        if self.retry_after.startswith("date:"):
            seconds = float(self.retry_after[5:])
            headers["Retry-After"] = formatdate(now / 1000 + seconds, usegmt=True)
        elif self.retry_after:
            headers["Retry-After"] = self.retry_after
        if self.location:
            headers["Location"] = self.location
        return Answer(
            status=self.status,
            headers=headers,
            body=bodies[self.body],
            delay=self.delay,
            cut=self.cut,
            drip=self.drip,
        )


def simulator(plugin: str, knobs: Mapping[str, Any]) -> Any:
    """Return the simulator of a plugin with these knobs; a text that is JSON is parsed. Raise
    ConfigError if the plugin has none."""
    try:
        module = import_module(f"{plugin}.simulator")
    except ModuleNotFoundError as error:
        if error.name not in (plugin, f"{plugin}.simulator"):
            raise
        raise ConfigError(f"the plugin {plugin} has no module {plugin}.simulator") from None
    known = {field.name for field in dataclasses.fields(module.Knobs)}
    for name in knobs:
        if name not in known:
            raise ConfigError(
                f'there is no knob "{name}"{suggest(name, known)}; there are'
                f" {', '.join(sorted(known))}"
            )
    return module.Simulator(
        module.Knobs(**{name: _parse_knob(value) for name, value in knobs.items()})
    )


def _parse_knob(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return tuple(value) if isinstance(value, list) else value


def in_memory(simulated: Any, clock: Clock = SYSTEM) -> Send:
    """Return a function that sends requests to the simulator without a socket; it raises what a
    broken connection or a timeout would raise."""

    def send(request: Request, seconds: float) -> Reply:
        answer = simulated.answer(request, clock.now())
        if answer.cut is not None:
            raise Retry("the answer broke off", request.line)
        if answer.delay > seconds or answer.drip * len(answer.body) > seconds:
            raise Retry(f"no answer within {seconds:g} s", request.line, narrower=True)
        return Reply(
            answer.status,
            {name.lower(): value for name, value in answer.headers.items()},
            answer.body,
        )

    return send


class Server(ThreadingHTTPServer):
    """An HTTP server on loopback that answers with a simulator; `close` stops it."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, simulated: Any, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.simulated = simulated
        threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.1}, name="simulator", daemon=True
        ).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/_simulator/"):
            return self._send(self._control(body))
        request = Request(method, f"{self.server.url}{self.path}", dict(self.headers.items()), body)
        self._send(self.server.simulated.answer(request, SYSTEM.now()))

    def _control(self, body: bytes) -> Answer:
        """Answer /_simulator/ledger, /_simulator/counts and /_simulator/faults, which are not
        part of the vendor's API."""
        simulated = self.server.simulated
        parts = urlsplit(self.path)
        name = parts.path.rpartition("/")[2]
        query = {key: int(value) for key, value in parse_qsl(parts.query)}
        result: Any = None
        if name == "ledger":
            result = sorted(simulated.ledger(SYSTEM.now(), **query))
        elif name == "counts":
            result = simulated.counts
        elif name == "faults" and body:
            simulated.faults.extend(Fault(**fault) for fault in json.loads(body))
            result = len(simulated.faults)
        return Answer(
            200 if result is not None else 404,
            {"Content-Type": "application/json"},
            json.dumps(result).encode(),
        )

    def _send(self, answer: Answer) -> None:
        time.sleep(answer.delay)
        lines = [
            f"HTTP/1.1 {answer.status} Simulated",
            f"Content-Length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
        ]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if answer.cut is not None:
            self.wfile.write(head + answer.body[: answer.cut])
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif answer.drip:
            self.wfile.write(head)
            for byte in answer.body:
                self.wfile.write(bytes([byte]))
                time.sleep(answer.drip)
        else:
            self.wfile.write(head + answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Sent(NamedTuple):
    """A request or datagram that a vendor sends by itself, and the ids of its events."""

    time: Millis
    body: bytes
    ids: Tuple[str, ...]
    channel: str = "syslog"  # or webhook
    content_type: str = ""

    @property
    def headers(self) -> Dict[str, str]:
        return {"Content-Type": self.content_type} if self.content_type else {}


class Sender:
    """Sends what a simulator pushes: webhooks to http(s)://, syslog to udp:// or tcp://. Each
    message is sent once, as vendors do."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self.http = requests.Session()
        self.http.trust_env = self.http.verify = False
        self.addresses = {
            "webhook" if address.startswith("http") else "syslog": address for address in addresses
        }
        self.socket: Optional[socket.socket] = None
        self.taken: List[str] = []  # ids of what was answered with 2xx, or sent by syslog
        self.refused = 0

    def send(self, message: Sent) -> bool:
        """Send a message; return whether it was accepted."""
        address = self.addresses.get(message.channel)
        if address is None:
            return False
        if message.channel == "webhook":
            sent = self._post(address, message)
        else:
            sent = self._send_syslog(address, message.body)
        self.taken += message.ids if sent else ()
        self.refused += not sent
        return sent

    def _post(self, url: str, message: Sent) -> bool:
        try:
            return self.http.post(url, data=message.body, headers=message.headers, timeout=10).ok
        except requests.exceptions.RequestException:
            return False

    def _send_syslog(self, address: str, line: bytes) -> bool:
        parts = urlsplit(address)
        host, port = parts.hostname or "127.0.0.1", parts.port or 514
        try:
            if self.socket is None:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                if parts.scheme == "udp":
                    self.socket = socket.socket(family, socket.SOCK_DGRAM)
                else:
                    self.socket = socket.create_connection((host, port), 10)
            if parts.scheme == "udp":
                self.socket.sendto(line, (host, port))
            else:
                self.socket.sendall(b"%d %b" % (len(line), line))
            return True
        except OSError:
            if self.socket:
                self.socket.close()
            self.socket = None
            return False

    def close(self) -> None:
        self.http.close()
        if self.socket:
            self.socket.close()


def parse_knobs(pairs: Iterable[str]) -> Dict[str, str]:
    """Return name=value pairs as a dict: ("late=[0,83]", "edges=()") -> {"late": "[0,83]", "edges":
    "()"}."""
    knobs = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f'"{pair}" is not a knob; write name=value')
        knobs[name] = value
    return knobs
