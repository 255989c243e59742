"""A vendor's simulator as a server on loopback, or as a function; and the faults it has on request.

A simulator is any object with `answer(request, now) -> Answer`, `ledger(now)`, `settings(url)`,
`faults`, `counts`, `requests`; that of a vendor who pushes has `pushed(start, stop)`, too: things
with `time`, `body`, `headers`, `channel` (webhook, syslog), `ids`.
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
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional
from urllib.parse import parse_qsl, urlsplit

import requests

from ..core.errors import ConfigError, Retry
from ..core.manifest import guess
from ..core.windows import Millis
from ..edge.clock import SYSTEM, Clock
from ..edge.http import Reply, Request, Send

KEPT = 100_000  # requests that a simulator remembers


class Answer(NamedTuple):
    """A reply, and how it travels."""

    status: int = 200
    headers: Mapping[str, str] = {}
    body: bytes = b""
    delay: float = 0.0  # seconds before the first byte
    cut: Optional[int] = None  # the connection is reset after so many bytes of the body
    drip: float = 0.0  # seconds between one byte and the next


@dataclasses.dataclass
class Fault:
    """What a call (all, if empty) answers instead, for so many times."""

    call: str = ""
    times: int = 1
    status: int = 500
    # list, text, other, html, empty, truncated: the shape of the answer
    body: str = "list"
    retry_after: str = ""  # seconds; "date:5" says the same as a date
    delay: float = 0.0
    cut: Optional[int] = None
    drip: float = 0.0
    content_type: str = "application/json"
    location: str = ""

    def answer(self, now: Millis) -> Answer:
        bodies = {
            "list": b'{"errorMessages":["a fault on request"]}',
            "text": b'{"errorMessages":"a fault on request"}',
            "other": b'{"fault":true}',
            "html": b"<html><body>a fault on request</body></html>",
            "empty": b"",
            "truncated": b'{"successMessage":"Success","data":[{"websi',
        }
        headers = {"Content-Type": "text/html" if self.body == "html" else self.content_type}
        if self.retry_after:
            headers["Retry-After"] = (
                formatdate(now / 1000 + float(self.retry_after[5:]), usegmt=True)
                if self.retry_after.startswith("date:")
                else self.retry_after
            )
        if self.location:
            headers["Location"] = self.location
        return Answer(self.status, headers, bodies[self.body], self.delay, self.cut, self.drip)


def simulator(plugin: str, knobs: Mapping[str, Any]) -> Any:
    """The simulator of a plugin, with its knobs set; texts are read as JSON where they are."""
    module = import_module(f"{plugin}.simulator")
    known = {f.name for f in dataclasses.fields(module.Knobs)}
    for name in knobs:
        if name not in known:
            raise ConfigError(
                f'there is no knob "{name}"{guess(name, known)}; there are'
                f" {', '.join(sorted(known))}"
            )
    return module.Simulator(module.Knobs(**{name: _read(value) for name, value in knobs.items()}))


def _read(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return value
    return tuple(value) if isinstance(value, list) else value


def noted(simulated: Any, call: str, request: Request) -> Optional[Fault]:
    """A call is counted and kept for whoever looks; the fault that waits for it, if one does.
    With the simulator's lock held."""
    simulated.counts[call] = simulated.counts.get(call, 0) + 1
    if len(simulated.requests) < KEPT:
        simulated.requests.append(request)
    fault: Optional[Fault] = next(
        (fault for fault in simulated.faults if fault.call in ("", call) and fault.times > 0), None
    )
    if fault:
        fault.times -= 1
    return fault


def in_memory(simulated: Any, clock: Clock = SYSTEM) -> Send:
    """The simulator without a socket: what would go wrong on the wire goes wrong here."""

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
    """The simulator behind a real socket on loopback; stops with `close` or with its process."""

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
        """A client that goes away is no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        self.serve("GET")

    def do_POST(self) -> None:
        self.serve("POST")

    def do_DELETE(self) -> None:
        self.serve("DELETE")

    def do_PUT(self) -> None:
        self.serve("PUT")

    def serve(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/_simulator/"):
            return self.send(self.control(body))
        request = Request(method, f"{self.server.url}{self.path}", dict(self.headers.items()), body)
        self.send(self.server.simulated.answer(request, SYSTEM.now()))

    def control(self, body: bytes) -> Answer:
        """Not the vendor: the ledger, the counts, and faults on request."""
        simulated, parts = self.server.simulated, urlsplit(self.path)
        what, query = (
            parts.path.rpartition("/")[2],
            {name: int(value) for name, value in parse_qsl(parts.query)},
        )
        found: Any = None
        if what == "ledger":
            found = sorted(simulated.ledger(SYSTEM.now(), **query))
        elif what == "counts":
            found = simulated.counts
        elif what == "faults" and body:
            simulated.faults.extend(Fault(**fault) for fault in json.loads(body))
            found = len(simulated.faults)
        return Answer(
            200 if found is not None else 404,
            {"Content-Type": "application/json"},
            json.dumps(found).encode(),
        )

    def send(self, answer: Answer) -> None:
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


class Sender:
    """Brings what a simulator pushes where it is wanted: webhooks to http(s)://, syslog to
    udp:// or tcp://. Once each, as the vendor does."""

    def __init__(self, places: Iterable[str]) -> None:
        self.http = requests.Session()
        self.http.trust_env = self.http.verify = False
        self.places = {
            "webhook" if place.startswith("http") else "syslog": place for place in places
        }
        self.socket: Optional[socket.socket] = None
        # ids of what was answered with 2xx, or handed to the network
        self.taken: List[str] = []
        self.refused = 0

    def send(self, thing: Any) -> bool:
        place = self.places.get(thing.channel)
        if place is None:
            return False
        if thing.channel == "webhook":
            try:
                done = self.http.post(place, data=thing.body, headers=thing.headers, timeout=10).ok
            except requests.exceptions.RequestException:
                done = False
        else:
            done = self._syslog(place, thing.body)
        self.taken += thing.ids if done else ()
        self.refused += not done
        return done

    def _syslog(self, place: str, line: bytes) -> bool:
        parts = urlsplit(place)
        where = (parts.hostname or "127.0.0.1", parts.port or 514)
        try:
            if self.socket is None:
                family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
                self.socket = (
                    socket.socket(family, socket.SOCK_DGRAM)
                    if parts.scheme == "udp"
                    else socket.create_connection(where, 10)
                )
            if parts.scheme == "udp":
                self.socket.sendto(line, where)
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


def knobs_of(pairs: Any) -> Dict[str, str]:
    """("late=[0,83]", "edges=()") -> {"late": "[0,83]", "edges": "()"}"""
    knobs = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f'"{pair}" is no knob; write name=value')
        knobs[name] = value
    return knobs
