"""Sends requests over the network: explicit proxies, no cookies, one deadline, bounded replies."""

from __future__ import annotations

import base64
import re
import ssl
import threading
from typing import Any, Dict, Iterator, List, Optional, Tuple
from urllib.parse import quote, urlsplit, urlunsplit

import requests
import requests.adapters
import urllib3

from ...core.errors import ConfigError, Malformed, Retry, SiemtapError
from ...core.settings import Connection
from ..certificates import Followed, client_context, following
from ..deadline import bounded, deadline
from .messages import EXPECTS_TLS, Reply, Request
from .pins import Mismatch, Pin, pinned
from .quoted import redact_error

CONNECT_TIMEOUT = 10.0  # seconds
LARGEST_REPLY = 32 * 1024 * 1024  # bytes, decompressed; a larger one is requested in smaller parts
SMALL_REPLY = 4 * 1024 * 1024  # bytes; those beyond count towards LARGE_REPLIES
LARGE_REPLIES = 64 * 1024 * 1024  # bytes of large replies that all calls of the process may hold


class Sender:
    """A `Send` function on a session of requests: explicit proxies, no cookies, one deadline.

    `certificate`: PEM files of the client's own certificate and of its key; "" for none.
    """

    def __init__(
        self, connection: Connection, pool: int, certificate: Tuple[str, str] = ("", "")
    ) -> None:
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.cookies.set_policy(_NoCookies())
        tls = _Tls(connection, certificate)
        self.files = tls.files
        for scheme in ("http://", "https://"):
            self.session.mount(scheme, _Adapter(tls, pool_connections=pool, pool_maxsize=pool))
        self.session.headers.clear()
        self.proxies = _proxies(connection)
        self.verify = connection.verify or bool(connection.fingerprint)

    def __call__(self, request: Request, seconds: float) -> Reply:
        with deadline(seconds) as call:
            try:
                reply = self._send(request, seconds)
            except (OSError, SiemtapError) as error:  # all errors of requests are OSErrors
                if call.is_late and not isinstance(error, Malformed):
                    raise _too_late(seconds, request) from None
                if isinstance(error, SiemtapError):
                    if not error.where:  # of the files, which know no request
                        error.at(request.line)
                    raise
                raise self._error_from(error, request, seconds) from None
            if call.is_late:  # the end of the connection looked like the end of the answer
                raise _too_late(seconds, request)
            return reply

    def problems(self) -> Iterator[str]:
        """Yield which files of certificates cannot be used, for the status."""
        yield from filter(None, (followed.problem() for followed in self.files))

    def _send(self, request: Request, seconds: float) -> Reply:
        headers = {"Accept-Encoding": "gzip, deflate", **request.headers}
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
        ) as response:
            body = _read(response, seconds, request)
            if response.status_code >= 400 and self.proxies:  # the proxy may quote its login
                body = redact_error(body, _proxy_login(self.proxies["http"]))
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Reply(response.status_code, headers, body)

    def _error_from(self, error: OSError, request: Request, seconds: float) -> SiemtapError:
        if isinstance(error, requests.exceptions.SSLError):
            return _tls_error(error, request)
        if isinstance(error, requests.exceptions.ProxyError):
            return Retry(f"the proxy failed: {_reason(error)}", request.line)
        if isinstance(error, requests.exceptions.ConnectTimeout):
            return Retry(f"no connection within {min(CONNECT_TIMEOUT, seconds):g} s", request.line)
        if isinstance(error, requests.exceptions.Timeout):
            return Retry(f"no answer within {seconds:g} s", request.line, narrower=True)
        if isinstance(error, INVALID_REQUEST):
            return ConfigError(f"{type(error).__name__}: check `url` and `proxy`", request.line)
        reason = f"the connection failed: {_reason(error)}"
        if request.url.lower().startswith("http://"):
            if TLS_ALERT.search(str(error)):
                return ConfigError(EXPECTS_TLS, request.line)
            if CLOSED.search(reason):
                reason += "; if the server expects TLS, write https:// in the URL"
        return Retry(reason, request.line)


# What a TLS server answers to plain HTTP: an alert, or it closes the connection.
TLS_ALERT = re.compile(r"\\x15\\x03|\x15\x03")
CLOSED = re.compile("reset by peer|Remote end closed|Connection aborted")
INVALID_REQUEST = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidProxyURL,
    requests.exceptions.InvalidHeader,
)


def _tls_error(error: OSError, request: Request) -> SiemtapError:
    cause = _innermost(error)
    if "WRONG_VERSION_NUMBER" in str(error):
        return ConfigError(
            "the server does not speak TLS at this port: write http:// in the URL, or its TLS port",
            request.line,
        )
    if isinstance(cause, Mismatch):
        return ConfigError(
            f"the server shows another certificate than the one of `fingerprint` ({cause}): was it"
            " renewed, or is somebody in between?",
            request.line,
        )
    return Retry(
        f"TLS failed: {_reason(error)}; name a private authority in `ca_file`, or the"
        " certificate's SHA-256 in `fingerprint`",
        request.line,
    )


class _Tls:
    """How connections verify the server, or an HTTPS proxy in front of it: by the pin, or by
    authorities, whose files are followed."""

    def __init__(self, connection: Connection, certificate: Tuple[str, str]) -> None:
        self.pin: Optional[Pin] = None
        self.server: Optional[Followed[ssl.SSLContext]] = None
        self.proxy: Optional[Followed[ssl.SSLContext]] = None
        self.files: List[Followed[Any]] = []
        if connection.fingerprint:
            self.pin = Pin(connection.fingerprint, *certificate)
            self.files.append(self.pin.contexts)
        elif connection.ca_file or certificate[0]:
            self.server = client_context(connection.ca_file, *certificate, verify=connection.verify)
            self.files.append(self.server)
        # Authorities verify the proxy: the pin and the client's certificate are for the server. By
        # themselves, requests and urllib3 do not verify it for an http:// URL.
        if connection.proxy.lower().startswith("https:"):
            self.proxy = client_context(connection.ca_file, verify=connection.verify)
            self.files.append(self.proxy)

    def connection_class(self, connection: Any) -> Any:
        """Return a subclass of urllib3's HTTPS connection class that verifies like this."""
        if self.server or self.proxy:
            connection = following(connection, self.server, self.proxy)
        return pinned(connection, self.pin) if self.pin else connection


class _Adapter(requests.adapters.HTTPAdapter):
    """A transport adapter whose connections verify the server, directly or through a proxy's
    tunnel."""

    def __init__(self, tls: _Tls, **kwargs: Any) -> None:
        self.tls = tls
        super().__init__(**kwargs)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **kwargs: Any
    ) -> None:
        super().init_poolmanager(connections, maxsize, block, **kwargs)
        self._use_own_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy in self.proxy_manager:
            return super().proxy_manager_for(proxy, **kwargs)
        return self._use_own_connections(super().proxy_manager_for(proxy, **kwargs))

    def proxy_headers(self, proxy: str) -> Dict[str, str]:
        login = _proxy_login(proxy)
        return {"Proxy-Authorization": login} if login else {}

    def _use_own_connections(self, manager: Any) -> Any:
        """Give a manager pools whose connections obey the deadline, and verify the server."""
        pools = {}
        for scheme, pool in manager.pool_classes_by_scheme.items():
            connection = pool.ConnectionCls
            if scheme == "https":
                connection = self.tls.connection_class(connection)
            pools[scheme] = type(
                f"Bounded{pool.__name__}", (pool,), {"ConnectionCls": bounded(connection)}
            )
        manager.pool_classes_by_scheme = pools
        return manager


def _read(response: requests.Response, seconds: float, request: Request) -> bytes:
    """Return the decompressed body, read as it arrives.

    urllib3 (from 2.6 on) decompresses no more than is requested at once, so that compressed bodies
    are bounded like others.
    """
    parts: List[bytes] = []
    size = large = 0
    try:
        while True:
            try:
                part = response.raw.read1(256 * 1024, decode_content=True)
            except urllib3.exceptions.TimeoutError:
                raise _too_late(seconds, request) from None
            except urllib3.exceptions.HTTPError as error:
                raise Retry(f"the answer was interrupted: {_reason(error)}", request.line) from None
            if not part:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
            # Malformed, because a narrower request may have an answer that fits
            if size > LARGEST_REPLY:
                raise Malformed(f"more than {LARGEST_REPLY >> 20} MiB in one answer", request.line)
            if size > SMALL_REPLY:
                added = size - SMALL_REPLY - large
                large = size - SMALL_REPLY
                if LARGE.add(added) > LARGE_REPLIES:
                    raise Retry(
                        f"more than {LARGE_REPLIES >> 20} MiB in all answers that are being read",
                        request.line,
                        narrower=True,
                    )
    finally:
        # An error's traceback would keep these bytes alive while narrower requests are sent.
        parts.clear()
        part = b""
        LARGE.add(-large)


def _too_late(seconds: float, request: Request) -> Retry:
    return Retry(f"the answer did not end within {seconds:g} s", request.line, narrower=True)


class _Large:
    """Counter of the bytes of large replies that are being read."""

    def __init__(self) -> None:
        self.bytes = 0
        self.lock = threading.Lock()

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


def _proxy_login(address: str) -> str:
    """Return the header `Proxy-Authorization` for a proxy, in UTF-8 as curl sends it and RFC 7617
    advises; "" without a login.

    requests encodes it in Latin-1, which has neither the euro sign nor Chinese.
    """
    user, password = requests.utils.get_auth_from_url(address)
    if not user:
        return ""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _reason(error: BaseException) -> str:
    """Return the reason of the innermost error, without the URL, which may contain a secret."""
    error = _innermost(error)
    match = re.search(
        r"\[Errno [^\[\]]*\] [^')]*|certificate verify failed: [^(]*|Connection reset by peer|"
        r"Remote end closed[^')]*",
        str(error),
    )
    return (match[0] if match else type(error).__name__).strip()


def _innermost(error: BaseException) -> BaseException:
    """Return the error at the end of a chain of `reason` attributes and first arguments."""
    while True:
        causes = [
            cause
            for cause in (getattr(error, "reason", None), *error.args[:1])
            if isinstance(cause, BaseException)
        ]
        if not causes:
            return error
        error = causes[0]


class _NoCookies(requests.cookies.cookielib.DefaultCookiePolicy):  # type: ignore[name-defined,misc]
    def set_ok(self, cookie: Any, request: Any) -> bool:
        return False
