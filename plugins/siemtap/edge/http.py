"""A polite HTTP client. A request and a reply are values, sending is a function; refusals become
errors that say what to do next.

No proxy or credential is taken from the environment; redirects are never followed; a call has one
deadline in all.
"""

from __future__ import annotations

import email.utils
import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, NamedTuple, Optional
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import requests
import requests.adapters
import urllib3

from .. import VERSION
from ..core import bounds
from ..core.errors import AuthError, ConfigError, Malformed, Retry
from ..core.forms import Connection
from ..core.windows import HOUR, SECOND, Millis
from .clock import SYSTEM, TOLERANCE, Clock
from .pins import Mismatch, Pin, pinned, proxy_context
from .quoted import secrets, without_secrets

if TYPE_CHECKING:
    from .bearer import Vault

CONNECT_TIMEOUT = 10.0  # seconds
LARGEST_REPLY = 32 * 1024 * 1024  # bytes, decompressed; more is asked for in smaller pieces
SMALL_REPLY = 4 * 1024 * 1024  # bytes; what is beyond them counts towards LARGE_REPLIES
LARGE_REPLIES = 64 * 1024 * 1024  # bytes that are being read by all calls of the process
# an answer as text takes up to four times its bytes; the interpreter reads one at a time anyway
PARSING = threading.Lock()
LONGEST_WAIT: Millis = 1 * HOUR  # that a vendor can ask for; then it is asked again
# 2026: a `Date` before this was written is a clock that nobody ever set
EARLIEST: Millis = 1_767_225_600_000
# what http.client can write of a header's value
SENDABLE = re.compile(r"(?:[!-~\xa1-\xff][\t -~\xa0-\xff]*)?")
JSON = {"Content-Type": "application/json", "Accept": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


class Request(NamedTuple):
    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def line(self) -> str:
        """What may be logged: never the query, which may carry an identifier or a secret."""
        return f"{self.method} {self.url.partition('?')[0]}"


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str] = {}  # names in lower case
    body: bytes = b""

    @property
    def is_html(self) -> bool:
        return "text/html" in self.headers.get("content-type", "").lower() or bool(
            re.match(rb"\s*<(!doctype|html)", self.body[:200], re.I)
        )

    def json(self) -> Any:
        """ValueError for what is not JSON in UTF-8, with or without a byte order mark. Malformed
        for more than may be made of one answer: a smaller question may have one that can be read.
        """
        if len(self.body) > bounds.ELEMENTS and bounds.elements(self.body) > bounds.ELEMENTS:
            raise Malformed(f"more than {bounds.ELEMENTS:,} values in one answer")
        with PARSING:
            return json.loads(self.body.decode("utf-8-sig"))


# (request, seconds in all) -> reply; Retry when there is none
Send = Callable[[Request, float], Reply]


class Heard(NamedTuple):
    """What an answer's `Date` told of a host's clock: it counts whole seconds, and was written
    between the question and the answer."""

    date: Millis
    asked: float  # seconds, of our clock that only runs forward
    answered: float


class Http:
    """What a plugin's client asks through. One per input, thread-safe."""

    def __init__(
        self, send: Send, timeout: Millis = 60_000, user_agent: str = "", clock: Clock = SYSTEM
    ) -> None:
        self.send, self.timeout, self.clock = send, timeout, clock
        self.user_agent = user_agent or f"siemtap/{VERSION} (python-requests)"
        # host -> its clock less ours, as well as that can be known
        self.skew: Dict[str, Millis] = {}
        self.heard: Dict[str, Heard] = {}  # host -> its last `Date`
        self.answered = False  # somebody did, with a `Date` or without
        self.vault: Optional[Vault] = None  # where tokens outlive the process

    def view(self) -> Http:
        """The same sockets for another input: what one input's hosts say of the time bends no
        other's."""
        return Http(self.send, self.timeout, self.user_agent, self.clock)

    def now(self) -> Millis:
        """The time; the vendor's where ours is certainly ahead of it, for what has not happened yet
        there cannot be read. Of several hosts the latest counts: one that is broken does not hold
        back the others."""
        if not self.ahead():
            return self.clock.now()
        elapsed = self.clock.elapsed()
        return max(
            heard.date + int((elapsed - heard.answered) * 1000)
            for heard in list(self.heard.values())
        )

    def ahead(self) -> Millis:
        """By how much our clock is certainly ahead of the latest of the vendor's; 0 within
        TOLERANCE, and where nobody said."""
        ahead = self.clock.now() - self._latest() if self.heard else 0
        return ahead if ahead > TOLERANCE else 0

    def latest(self) -> Optional[Millis]:
        """The latest that it can be for the vendor. Ours where its answers have no `Date`; None
        where nobody has answered yet."""
        if self.heard:
            return self._latest()
        return self.clock.now() if self.answered else None

    def _latest(self) -> Millis:
        elapsed = self.clock.elapsed()
        return max(
            heard.date + SECOND + int((elapsed - heard.asked) * 1000)
            for heard in list(self.heard.values())
        )

    def ask(self, request: Request) -> Reply:
        """The reply, whatever its status; Retry if there was none."""
        headers = {"User-Agent": self.user_agent, **request.headers}
        for name, value in headers.items():
            if not SENDABLE.fullmatch(value):
                raise ConfigError(
                    f"the header {name} cannot be sent: no header can carry a line break or a"
                    " character outside Latin-1; check the key, the token or the `user_agent` that"
                    " goes into it",
                    request.line,
                )
        asked, elapsed = self.clock.now(), self.clock.elapsed()
        try:
            reply = self.send(request._replace(headers=headers), self.timeout / 1000)
        except UnicodeError:
            raise ConfigError(
                "the request cannot be written: the URL, or the proxy's user or password, holds a"
                " character that HTTP cannot carry",
                request.line,
            ) from None
        self._compare_clocks(request, reply, asked, elapsed)
        return reply

    def _compare_clocks(
        self, request: Request, reply: Reply, asked: Millis, elapsed: float
    ) -> None:
        self.answered = True
        date = moment_of(reply.headers.get("date", ""))
        # a cache tells when the answer was made
        if date is None or date < EARLIEST or reply.headers.get("age", "0").strip() != "0":
            return
        host = urlsplit(request.url).netloc
        self.skew[host] = date + 500 - (asked + self.clock.now()) // 2
        self.heard[host] = Heard(date, elapsed, self.clock.elapsed())

    def json(self, request: Request) -> Any:
        """The JSON of a success; every other answer as the error that says what happens next."""
        reply = self.ask(request)
        refuse(request, reply, self.now())
        try:
            return reply.json()
        except Malformed as error:
            raise error.at(request.line) from None
        except (ValueError, RecursionError) as error:
            raise Malformed(
                f"the answer is no JSON ({type(error).__name__}, {len(reply.body)} bytes)",
                request.line,
            ) from None

    def get(
        self,
        url: str,
        query: Optional[Mapping[str, str]] = None,
        headers: Optional[Mapping[str, str]] = None,
    ) -> Request:
        return Request(
            "GET", f"{url}?{urlencode(query)}" if query else url, {**JSON, **(headers or {})}
        )

    def post(self, url: str, body: Any, headers: Optional[Mapping[str, str]] = None) -> Request:
        return Request("POST", url, {**JSON, **(headers or {})}, json.dumps(body).encode())

    def form(
        self, url: str, fields: Mapping[str, str], headers: Optional[Mapping[str, str]] = None
    ) -> Request:
        return Request("POST", url, {**FORM, **(headers or {})}, urlencode(fields).encode())


def refuse(request: Request, reply: Reply, now: Millis) -> None:
    """Raise for anything but a success in JSON."""
    if reply.status == 200 and not reply.is_html:
        return
    status, where = reply.status, f"{request.line}: {reply.status}"
    said = complaint(request, reply)
    if status == 401:
        raise AuthError(said or "not authorised", where, status)
    if status in (408, 413, 425, 429) or status >= 500:
        raise Retry(
            said or "not now",
            where,
            after=wait(reply.headers.get("retry-after"), now),
            status=status,
            narrower=status in (408, 413, 500, 504),
        )
    if reply.is_html:
        raise Retry(
            "HTML where JSON was asked for: a firewall or a proxy in between answered",
            where,
            status=status,
        )
    if status == 403:
        raise AuthError(said or "forbidden", where, status)
    if 300 <= status < 400:
        raise Retry(
            "a redirect, which is not followed: check `url`, or a login page of the network is in"
            " between",
            where,
            status=status,
        )
    raise ConfigError(said or "refused", where, status)


def complaint(request: Request, reply: Reply) -> str:
    """What an error answer says, if it can be read: `errorMessages`, `message`, `error`; at most
    300 characters, without the request's secrets."""
    try:
        said = reply.json()
    except (ValueError, RecursionError, Malformed):
        return ""
    for name in ("errorMessages", "message", "error"):
        found = said.get(name) if isinstance(said, dict) else None
        if found:
            return without_secrets(
                "; ".join(map(str, found) if isinstance(found, list) else [str(found)]),
                secrets(request),
            )
    return ""


def wait(retry_after: Optional[str], now: Millis) -> Millis:
    """Retry-After, in seconds or as a date -> milliseconds from now, an hour at most; 0 where it
    says nothing."""
    if not retry_after:
        return 0
    if re.fullmatch(r"\s*[0-9]{1,20}\s*", retry_after):
        return min(int(retry_after) * 1000, LONGEST_WAIT)
    date = moment_of(retry_after)
    return min(max(0, date - now), LONGEST_WAIT) if date is not None else 0


def moment_of(date: str) -> Optional[Millis]:
    """A date of HTTP; None for anything else, and for one that no clock can show."""
    try:
        parts = email.utils.parsedate_tz(date)
        return email.utils.mktime_tz(parts) * 1000 if parts else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def connect(connection: Connection, pool: int = 10, clock: Clock = SYSTEM) -> Http:
    """A client over real sockets."""
    return Http(_Sender(connection, pool), connection.timeout, connection.user_agent, clock)


class _Sender:
    """Sends with requests: proxies passed explicitly, no cookies, streamed under one deadline."""

    def __init__(self, connection: Connection, pool: int) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.cookies.set_policy(_NoCookies())
        pin = Pin(connection.fingerprint) if connection.fingerprint else None
        for scheme in ("http://", "https://"):
            self.session.mount(
                scheme, _Adapter(pin, connection, pool_connections=pool, pool_maxsize=pool)
            )
        self.session.headers.clear()
        self.proxies = _proxies(connection)
        self.verify: Any = (connection.ca_file or True) if connection.verify else bool(pin)

    def __call__(self, request: Request, seconds: float) -> Reply:
        deadline = time.monotonic() + seconds
        headers = {"Accept-Encoding": "gzip, deflate", **request.headers}
        try:
            with self.session.request(
                request.method,
                request.url,
                data=request.body or None,
                headers=headers,
                stream=True,
                allow_redirects=False,
                timeout=(min(CONNECT_TIMEOUT, seconds), seconds),
                proxies=self.proxies,
                verify=self.verify,
            ) as answer:
                return Reply(
                    answer.status_code,
                    {name.lower(): value for name, value in answer.headers.items()},
                    _read(answer, deadline, seconds, request),
                )
        except requests.exceptions.SSLError as error:
            cause = _innermost(error)
            if isinstance(cause, Mismatch):
                raise ConfigError(
                    f"the server shows another certificate than the one of `fingerprint` ({cause}):"
                    " was it renewed, or is somebody in between?",
                    request.line,
                ) from None
            raise Retry(
                f"TLS failed: {_reason(error)}; a private authority belongs into `ca_file`, or the"
                " certificate's SHA-256 into `fingerprint`",
                request.line,
            ) from None
        except requests.exceptions.ProxyError as error:
            raise Retry(f"the proxy failed: {_reason(error)}", request.line) from None
        except requests.exceptions.ConnectTimeout:
            raise Retry(
                f"no connection within {min(CONNECT_TIMEOUT, seconds):g} s", request.line
            ) from None
        except requests.exceptions.Timeout:
            raise Retry(f"no answer within {seconds:g} s", request.line, narrower=True) from None
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.InvalidSchema,
            requests.exceptions.InvalidProxyURL,
            requests.exceptions.InvalidHeader,
        ) as error:
            raise ConfigError(
                f"{type(error).__name__}: check `url` and `proxy`", request.line
            ) from None
        # requests' own errors are OSErrors; so is a CA file that is not there
        except OSError as error:
            if self.verify not in (True, False) and "CA certificate" in str(error):
                raise ConfigError(
                    f"`ca_file` cannot be read: {self.verify}", request.line
                ) from None
            raise Retry(f"the connection failed: {_reason(error)}", request.line) from None


class _Adapter(requests.adapters.HTTPAdapter):
    """With a pin, nothing is sent before the server has shown what is pinned, straight or
    through a proxy's tunnel."""

    def __init__(self, pin: Optional[Pin], connection: Connection, **kwargs: Any) -> None:
        self.pin, self.connection = pin, connection
        super().__init__(**kwargs)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **kwargs: Any
    ) -> None:
        super().init_poolmanager(connections, maxsize, block, **kwargs)
        self._use_pin(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy in self.proxy_manager or not self.pin:
            return super().proxy_manager_for(proxy, **kwargs)
        # the proxy is verified by authorities: the pin is the server's
        if proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = proxy_context(
                self.connection.ca_file or requests.utils.DEFAULT_CA_BUNDLE_PATH,
                self.connection.verify,
            )
        return self._use_pin(super().proxy_manager_for(proxy, **kwargs))

    def _use_pin(self, manager: Any) -> Any:
        if self.pin:
            pool = manager.pool_classes_by_scheme["https"]
            made = type(
                f"Pinned{pool.__name__}",
                (pool,),
                {"ConnectionCls": pinned(pool.ConnectionCls, self.pin)},
            )
            manager.pool_classes_by_scheme = {**manager.pool_classes_by_scheme, "https": made}
        return manager


def _read(answer: requests.Response, deadline: float, seconds: float, request: Request) -> bytes:
    """The whole body, as it arrives: a peer that drips byte by byte beats every read time-out, but
    not the deadline. urllib3 unpacks no more than it was asked for at once (from 2.6 on), so that
    what is packed is bounded like the rest."""
    parts: List[bytes] = []
    size = large = 0
    try:
        while True:
            try:
                part = answer.raw.read1(256 * 1024, decode_content=True)
            except urllib3.exceptions.TimeoutError:
                raise Retry(
                    f"no end of the answer within {seconds:g} s", request.line, narrower=True
                ) from None
            except urllib3.exceptions.HTTPError as error:
                raise Retry(f"the answer broke off: {_reason(error)}", request.line) from None
            if not part:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
            # as what cannot be read: a smaller question may have an answer that can
            if size > LARGEST_REPLY:
                raise Malformed(f"more than {LARGEST_REPLY >> 20} MiB in one answer", request.line)
            if size > SMALL_REPLY:
                more, large = size - SMALL_REPLY - large, size - SMALL_REPLY
                if LARGE.add(more) > LARGE_REPLIES:
                    raise Retry(
                        f"more than {LARGE_REPLIES >> 20} MiB in all answers that are being read",
                        request.line,
                        narrower=True,
                    )
            if time.monotonic() > deadline:
                raise Retry(
                    f"no end of the answer within {seconds:g} s", request.line, narrower=True
                )
    finally:
        # an error's traceback would hold them, while a smaller question is asked and longer
        parts.clear()
        part = b""
        LARGE.add(-large)


class _Large:
    """Bytes of large answers that are being read."""

    def __init__(self) -> None:
        self.bytes, self.lock = 0, threading.Lock()

    def add(self, more: int) -> int:
        with self.lock:
            self.bytes += more
            return self.bytes


LARGE = _Large()


def _proxies(connection: Connection) -> Dict[str, str]:
    if not connection.proxy:
        return {}
    parts = urlsplit(connection.proxy)
    netloc = parts.netloc
    if connection.proxy_user:
        user = quote(connection.proxy_user, safe="")
        password = quote(connection.proxy_password, safe="")
        netloc = f"{user}:{password}@{parts.netloc.rpartition('@')[2]}"
    address = urlunsplit((parts.scheme, netloc, parts.path, "", ""))
    return {"http": address, "https": address}


def _reason(error: BaseException) -> str:
    """The innermost reason, without the address, which may carry a secret."""
    error = _innermost(error)
    found = re.search(
        r"\[Errno [^\]]*\] [^')]*|certificate verify failed: [^(]*|Connection reset by peer|Remote"
        r" end closed[^')]*",
        str(error),
    )
    return (found[0] if found else type(error).__name__).strip()


def _innermost(error: BaseException) -> BaseException:
    while True:
        inner = [
            cause
            for cause in (getattr(error, "reason", None), *error.args[:1])
            if isinstance(cause, BaseException)
        ]
        if not inner:
            return error
        error = inner[0]


class _NoCookies(requests.cookies.cookielib.DefaultCookiePolicy):  # type: ignore[name-defined,misc]
    def set_ok(self, cookie: Any, request: Any) -> bool:
        return False
