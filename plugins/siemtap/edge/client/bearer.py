"""A bearer token shared by all threads of a client.

One login is in flight at a time. The token is renewed before it expires, and stored in a
`TokenStore` if there is one.
"""

from __future__ import annotations

import threading
from typing import Any, Callable, Optional, Tuple

from ...core.errors import AuthError, Malformed, Retry, SiemtapError
from ...core.windows import SECOND, Millis
from .http import SENDABLE, Http
from .messages import Request
from .tokens import Token

# between two logins: an expiring token is not renewed in a loop, and a wrong key is not presented
# by every thread
REST = 30 * SECOND


def token_of(request: Request, body: Any, name: str) -> str:
    """Return the token in the response to a login. Retry if there is none."""
    token = body.get(name) if isinstance(body, dict) else None
    if not isinstance(token, str) or not token:
        raise Retry(f"the login response has no {name}", request.line)
    return token


def lifetime_of(request: Request, body: Any, name: str = "expires_in") -> Millis:
    """Return the lifetime of a token in milliseconds, from the seconds in the response to a login,
    a number or its text. Malformed, with the name, if there is none."""
    seconds = body.get(name) if isinstance(body, dict) else None
    try:
        return max(0, int(float(seconds) * SECOND))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise Malformed(
            f"the login response's `{name}` is no number of seconds", request.line
        ) from None


class Bearer:
    """A callable that returns the current token.

    `fetch` logs in and returns (token, its lifetime in milliseconds). The token is renewed `margin`
    before its lifetime ends, and when the service has refused it.
    """

    def __init__(
        self, http: Http, fetch: Callable[[], Tuple[str, Millis]], margin: Millis = 0
    ) -> None:
        self.http = http
        self.fetch = fetch
        self.margin = margin
        self.lock = threading.Lock()
        self.text = ""
        # seconds of the monotonic clock
        self.refresh_at = 0.0
        self.last_login_at = float("-inf")
        self.login_error: Optional[AuthError] = None
        self.loaded = False

    def __call__(self, refused: str = "") -> str:
        """Return the token. Log in if there is none, if it is about to expire, or if it equals
        `refused`, the token that the service has just refused."""
        with self.lock:
            self._load()
            now = self.http.clock.elapsed()
            rested = now - self.last_login_at >= REST / 1000
            if self.login_error and not rested:
                error = self.login_error
                raise AuthError(error.message, error.where, error.status)
            if (
                not self.text
                or (now >= self.refresh_at and rested)
                or (refused and refused == self.text)
            ):
                try:
                    self._login(now)
                except SiemtapError as error:
                    error.of_login = True
                    if isinstance(error, Retry):
                        error.narrower = False
                    raise
            return self.text

    def _login(self, now: float) -> None:
        self.last_login_at = now
        self.login_error = None
        try:
            text, lifetime = self.fetch()
            if not isinstance(text, str) or not isinstance(lifetime, int):
                raise Malformed(
                    "the login gave no token and lifetime; bearer.token_of and bearer.lifetime_of"
                    " read them from a response"
                )
            if not SENDABLE.fullmatch(text):
                raise AuthError(
                    "the service returned a token that cannot be sent in a header: it contains a"
                    " line break or a character outside Latin-1"
                )
        except AuthError as error:
            self.login_error = error
            raise
        except KeyError as error:  # the plugin read what the response does not have
            raise Retry(f"the login failed: the response has no `{error.args[0]}`") from None
        except Malformed as error:  # no narrower window helps: only time may
            raise Retry(
                f"the login failed: {error.message}", error.where, status=error.status
            ) from None
        usable = lifetime - self.margin if lifetime > self.margin else lifetime // 2
        self.text = text
        self.refresh_at = now + usable / 1000
        if self.http.token_store:
            self.http.token_store.save(Token(text, self.http.now() + usable))

    def _load(self) -> None:
        """Take the stored token, once, if it is still usable."""
        if self.loaded:
            return
        self.loaded = True
        token = self.http.token_store.load() if self.http.token_store else None
        if token is None:
            return
        remaining = token.until - self.http.now()
        if remaining > 0:
            self.text = token.text
            self.refresh_at = self.http.clock.elapsed() + remaining / 1000
