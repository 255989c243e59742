"""The HTTP client of the plugins. Requests and replies are values, and sending is a function.

An error answer becomes an exception that says what happens next. The environment's proxies and
credentials are ignored, redirects are not followed, and one deadline covers a whole call.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any, Dict, Mapping, NamedTuple, Optional
from urllib.parse import urlencode, urlsplit

from ... import VERSION
from ...core.errors import ConfigError, SiemtapError
from ...core.settings import Connection
from ...core.windows import SECOND, Millis
from ..clock import SYSTEM, TOLERANCE, Clock
from .messages import EXPECTS_TLS, FORM, JSON, Reply, Request, Send
from .replies import json_of, parse_date, raise_for_status
from .sender import Sender
from .tokens import TokenStore

log = logging.getLogger("siemtap")

# 2026-01-01. An earlier `Date` comes from a clock that was never set.
EARLIEST: Millis = 1_767_225_600_000
# header values that http.client can send
SENDABLE = re.compile(r"(?:[!-~\xa1-\xff][\t -~\xa0-\xff]*)?")

# what nginx, Apache and Go answer to plain HTTP at a TLS port
TLS_PORT = re.compile(
    rb"plain HTTP request was sent to HTTPS port|speaking plain HTTP to an SSL-enabled"
    rb"|HTTP request to an HTTPS server",
    re.IGNORECASE,
)


class ClockReading(NamedTuple):
    """A host's clock, from the `Date` header of an answer.

    `date` counts whole seconds. It was written between `sent_at` and `received_at`, which are
    seconds of this machine's monotonic clock.
    """

    date: Millis
    sent_at: float
    received_at: float


class Http:
    """The HTTP client of one input. Thread-safe.

    `timeout`: milliseconds for a whole call. `skew`: each host's clock minus this machine's.
    """

    def __init__(
        self, send: Send, timeout: Millis = 60_000, user_agent: str = "", clock: Clock = SYSTEM
    ) -> None:
        self.send = send
        self.timeout = timeout
        self.clock = clock
        self.user_agent = user_agent or f"siemtap/{VERSION} (python-requests)"
        self.skew: Dict[str, Millis] = {}
        self.clock_readings: Dict[str, ClockReading] = {}  # host -> its last `Date`
        self.has_answer = False  # any host has answered, with a `Date` or without
        self.token_store: Optional[TokenStore] = None

    def view(self) -> Http:
        """Return a client for another input that shares the sockets, but not the clock readings."""
        return Http(self.send, self.timeout, self.user_agent, self.clock)

    def now(self) -> Millis:
        """Return the current time, or the vendor's if this machine's clock is certainly ahead.

        Events of the vendor's future cannot be read. Of several hosts the latest time counts, so
        that one broken clock does not hold back the others.
        """
        if not self.ahead():
            return self.clock.now()
        elapsed = self.clock.elapsed()
        return max(
            reading.date + int((elapsed - reading.received_at) * 1000)
            for reading in list(self.clock_readings.values())
        )

    def ahead(self) -> Millis:
        """Return by how much this machine's clock is certainly ahead of the vendor's latest one; 0
        within `TOLERANCE`, or if no answer had a `Date`."""
        ahead = self.clock.now() - self._latest() if self.clock_readings else 0
        return ahead if ahead > TOLERANCE else 0

    def latest(self) -> Optional[Millis]:
        """Return the latest time that the vendor's clock can show now.

        This machine's time if no answer had a `Date`; None if there was no answer yet.
        """
        if self.clock_readings:
            return self._latest()
        return self.clock.now() if self.has_answer else None

    def _latest(self) -> Millis:
        elapsed = self.clock.elapsed()
        return max(
            reading.date + SECOND + int((elapsed - reading.sent_at) * 1000)
            for reading in list(self.clock_readings.values())
        )

    def ask(self, request: Request) -> Reply:
        """Send a request and return the reply, whatever its status. Raise Retry if there is none,
        and ConfigError if the request cannot be written."""
        headers = {"User-Agent": self.user_agent, **request.headers}
        for name, value in headers.items():
            if not SENDABLE.fullmatch(value):
                raise ConfigError(
                    f"the header {name} cannot be sent: a header cannot contain a line break or a"
                    " character outside Latin-1; check the key, the token or the `user_agent` that"
                    " goes into it",
                    request.line,
                )
        sent_at = self.clock.now()
        elapsed = self.clock.elapsed()
        try:
            reply = self.send(request._replace(headers=headers), self.timeout / 1000)
        except UnicodeError:
            raise ConfigError(
                "the request cannot be written: the URL, or the proxy's user or password, contains"
                " a character that HTTP does not allow",
                request.line,
            ) from None
        except SiemtapError as error:
            self._log_request(request, type(error).__name__, elapsed)
            raise
        self._log_request(request, f"{reply.status}, {len(reply.body):,} bytes", elapsed)
        is_plain = request.url[:7].lower() == "http://"
        if reply.status == 400 and is_plain and TLS_PORT.search(reply.body):
            raise ConfigError(EXPECTS_TLS, request.line, reply.status)
        self._compare_clocks(request, reply, sent_at, elapsed)
        return reply

    def _log_request(self, request: Request, outcome: str, began: float) -> None:
        """Log a request at the level debug: without its query, headers and bodies, which may hold
        secrets."""
        if log.isEnabledFor(logging.DEBUG):
            spent = (self.clock.elapsed() - began) * 1000
            log.debug("%s: %s, %.0f ms", request.line, outcome, spent)

    def _compare_clocks(
        self, request: Request, reply: Reply, sent_at: Millis, elapsed: float
    ) -> None:
        self.has_answer = True
        date = parse_date(reply.headers.get("date", ""))
        # With an `Age`, the `Date` is the time at which a cache stored the answer.
        if date is None or date < EARLIEST or reply.headers.get("age", "0").strip() != "0":
            return
        host = urlsplit(request.url).netloc
        self.skew[host] = date + 500 - (sent_at + self.clock.now()) // 2
        self.clock_readings[host] = ClockReading(date, elapsed, self.clock.elapsed())

    def json(self, request: Request) -> Any:
        """Send a request and return the JSON of its answer. Raise an error for anything but a
        success, as `raise_for_status` does, and Malformed for an answer that is not JSON."""
        reply = self.ask(request)
        raise_for_status(request, reply, self.now())
        return json_of(request, reply)

    def request(
        self,
        method: str,
        url: str,
        body: Any = None,
        query: Optional[Mapping[str, str]] = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> Request:
        """Return a request that accepts JSON. `body`: sent as JSON; None: no body."""
        if query:
            url = f"{url}?{urlencode(query)}"
        content = b"" if body is None else json.dumps(body).encode()
        return Request(method, url, {**JSON, **(headers or {})}, content)

    def get(
        self,
        url: str,
        query: Optional[Mapping[str, str]] = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> Request:
        """Return a GET request that accepts JSON."""
        return self.request("GET", url, query=query, headers=headers)

    def post(self, url: str, body: Any, headers: Optional[Mapping[str, str]] = None) -> Request:
        """Return a POST request whose body is JSON."""
        return self.request("POST", url, body, headers=headers)

    def form(
        self, url: str, fields: Mapping[str, str], headers: Optional[Mapping[str, str]] = None
    ) -> Request:
        """Return a POST request whose body is a form."""
        return Request("POST", url, {**FORM, **(headers or {})}, urlencode(fields).encode())


def connect(connection: Connection, pool: int = 10, clock: Clock = SYSTEM) -> Http:
    """Return a client that sends over the network. `pool`: connections kept open to a host."""
    return Http(Sender(connection, pool), connection.timeout, connection.user_agent, clock)
