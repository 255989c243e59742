"""The connection to HEC: requests, their size, and hosts that stand in for each other."""

from __future__ import annotations

import json
import threading
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ...core.errors import Retry, SiemtapError
from ...core.rows import Event
from ...edge.client.http import Http
from ...edge.client.messages import Reply, Request
from ...edge.client.quoted import redact_error
from ...edge.client.sender import Sender
from ...edge.clock import Clock
from ..compression import compress
from .answers import INVALID_CHANNEL, STRANGE, Answer, error_from, object_of, parse
from .settings import Settings

EVENT_PATH = "/services/collector/event"
ACK_PATH = "/services/collector/ack"
HEALTH_PATH = "/services/collector/health"
# Splunk extracts the timestamp of an event that has no `time`, as it does for a modular input.
EXTRACT_TIME = "?auto_extract_timestamp=true"
LONGEST_REST = 60.0  # seconds that a host which failed is left alone while another one works
SMALLEST_COMPRESSED = 1024  # bytes


class Line(NamedTuple):
    """An event and its object in a request."""

    event: Event
    body: bytes
    has_time: bool = True


class Posted(NamedTuple):
    """An answer, and the host that gave it."""

    host: str
    answer: Answer


class Hosts:
    """The hosts in turn. One that fails rests, longer each time, while another one works."""

    def __init__(self, hosts: Sequence[str], elapsed: Callable[[], float]) -> None:
        self.hosts = [host.rstrip("/") for host in hosts]
        self.elapsed = elapsed
        self.lock = threading.Lock()
        self.next = 0
        self.failures: Dict[str, int] = {}
        self.rests_until: Dict[str, float] = {}

    def in_turn(self) -> List[str]:
        """Return all hosts in the order to try them: those that rest come last."""
        with self.lock:
            start, self.next = self.next, (self.next + 1) % len(self.hosts)
            now = self.elapsed()
            turn = self.hosts[start:] + self.hosts[:start]
            return sorted(turn, key=lambda host: max(0.0, self.rests_until.get(host, 0.0) - now))

    def failed(self, host: str, seconds: float = 0.0) -> None:
        """Let a host rest, for `seconds` if it asked for that."""
        with self.lock:
            number = self.failures[host] = self.failures.get(host, 0) + 1
            rest = max(seconds, min(LONGEST_REST, 2.0 ** min(number, 10)))
            self.rests_until[host] = self.elapsed() + rest

    def worked(self, host: str) -> None:
        with self.lock:
            self.failures.pop(host, None)
            self.rests_until.pop(host, None)


class Collector:
    """A client of HEC. Thread-safe. `stopping`: once it is set, no further host is tried."""

    def __init__(
        self, settings: Settings, clock: Clock, stopping: Optional[threading.Event] = None
    ) -> None:
        self.stopping = stopping or threading.Event()
        self.settings = settings
        self.clock = clock
        self.sender = Sender(
            settings.connection(),
            pool=max(10, settings.worker),
            certificate=(settings.certificate, settings.key),
        )
        self.http = Http(self.sender, settings.timeout, clock=clock)
        self.hosts = Hosts(settings.hosts, clock.elapsed)
        self.max_bytes = settings.bulk_max_bytes

    def split(self, lines: Sequence[Line]) -> Iterator[List[Line]]:
        """Split lines into requests, limited by their bytes.

        In one request an event without a `time` may get that of the event before it, so these have
        requests of their own.
        """
        part: List[Line] = []
        size = 0
        for line in lines:
            is_full = size + len(line.body) > self.max_bytes
            if part and (is_full or line.has_time != part[0].has_time):
                yield part
                part = []
                size = 0
            part.append(line)
            size += len(line.body)
        if part:
            yield part

    def post(self, lines: Sequence[Line], channel: str) -> Posted:
        """Send events to one host, or to the next one if it fails; return the answer.

        Raise Retry if none of them takes a request. One that got no answer may have been taken.
        """
        path = EVENT_PATH if lines[0].has_time else EVENT_PATH + EXTRACT_TIME
        body = b"".join(line.body for line in lines)
        return self._try_hosts(path, body, channel)

    def _try_hosts(self, path: str, body: bytes, channel: str) -> Posted:
        errors: List[Retry] = []
        for host in self.hosts.in_turn():
            if errors and self.stopping.is_set():
                break
            try:
                answer = self.ask("POST", host, path, body, channel)
            except Retry as failure:
                self.hosts.failed(host)
                errors.append(failure)
                continue
            if answer.is_accepted or answer.blames_events:
                self.hosts.worked(host)
                return Posted(host, answer)
            error = error_from(answer, f"POST {host}{path}")
            if not isinstance(error, Retry):
                raise error
            self.hosts.failed(host, error.after / 1000)
            errors.append(error)
        # the shortest wait: then one of them takes requests again
        after = min(error.after for error in errors)
        raise Retry("; ".join(str(error) for error in errors), after=after)

    def ask(
        self, method: str, host: str, path: str, body: bytes = b"", channel: str = ""
    ) -> Answer:
        """Send a request to a host; return its answer. Raise Retry if there is none."""
        return parse(self._send(method, host, path, body, channel), self.clock.now())

    def acknowledged(
        self, host: str, channel: str, ids: Sequence[int], cookies: str
    ) -> Optional[Dict[int, bool]]:
        """Return which of the requests are acknowledged; None if the host does not know the
        channel, as after its restart."""
        body = json.dumps({"acks": list(ids)}).encode()
        reply = self._send("POST", host, ACK_PATH, body, channel, cookies)
        answer = parse(reply, self.clock.now())
        acks = (object_of(reply) or {}).get("acks")
        if reply.status == 200 and isinstance(acks, dict):
            return {id: acks.get(str(id)) is True for id in ids}
        if answer.code == INVALID_CHANNEL:
            return None
        if reply.status == 200:
            raise Retry(f"POST {host}{ACK_PATH}: {STRANGE}")
        raise error_from(answer, f"POST {host}{ACK_PATH}")

    def _send(
        self, method: str, host: str, path: str, body: bytes, channel: str, cookies: str = ""
    ) -> Reply:
        headers = {"Authorization": f"Splunk {self.settings.token}"}
        if body:
            headers["Content-Type"] = "application/json"
        if channel:
            headers["X-Splunk-Request-Channel"] = channel
        if cookies:
            headers["Cookie"] = cookies
        level = self.settings.compression_level
        # Splunk documents gzip for events alone: a query of many ids is sent as it is
        if level and path != ACK_PATH and len(body) > SMALLEST_COMPRESSED:
            body = compress(body, level)
            headers["Content-Encoding"] = "gzip"
        try:
            reply = self.http.ask(Request(method, host + path, headers, body))
        except SiemtapError as error:
            for name, own in _SETTINGS:
                error.message = error.message.replace(name, own)
            raise
        if reply.status < 400:
            return reply
        return reply._replace(body=redact_error(reply.body, headers["Authorization"]))

    def shrink(self, size: int) -> None:
        """Make requests smaller than one that was too large."""
        self.max_bytes = max(1024, min(self.max_bytes, size // 2))

    def close(self) -> None:
        self.sender.session.close()


# What the HTTP client calls the settings, and what they are called here.
_SETTINGS: Tuple[Tuple[str, str], ...] = (
    ("`fingerprint`", "`ca_fingerprint`"),
    ("`url`", "`hosts`"),
    ("in the URL", "in `hosts`"),
)
