"""A token for all the threads of a client: one question for it in flight, renewed before it
ends, and kept where it has a home."""

from __future__ import annotations

import threading
from typing import Callable, NamedTuple, Optional, Protocol, Tuple

from ..core.errors import AuthError
from ..core.windows import SECOND, Millis
from .http import SENDABLE, Http

# between two questions for a token, lest an ageing one is asked for in a loop, or a wrong key is
# presented by every thread
REST = 30 * SECOND


class Kept(NamedTuple):
    text: str
    until: Millis  # by the wall clock: used no longer


class Vault(Protocol):
    """Where a token outlives its process. What cannot be recalled or kept costs a login, and is
    nobody's error."""

    def recall(self) -> Optional[Kept]: ...

    def keep(self, token: Kept) -> None: ...


class Bearer:
    """`fetch` logs in: (token, how long it lives). It is asked for again so long before its end
    as `margin` says, and when it was refused."""

    def __init__(
        self, http: Http, fetch: Callable[[], Tuple[str, Millis]], margin: Millis = 0
    ) -> None:
        self.http, self.fetch, self.margin = http, fetch, margin
        self.lock = threading.Lock()
        # of the clock that only runs forward, seconds
        self.text, self.refresh_at = "", 0.0
        self.asked_at, self.wrong = float("-inf"), None  # type: float, Optional[AuthError]
        self.recalled = False

    def __call__(self, refused: str = "") -> str:
        """The token, fetched if there is none, if it is about to end, or if it is the one just
        refused."""
        with self.lock:
            self._recall()
            now = self.http.clock.elapsed()
            rested = now - self.asked_at >= REST / 1000
            if self.wrong and not rested:
                raise AuthError(self.wrong.what, self.wrong.where, self.wrong.status)
            if (
                not self.text
                or (now >= self.refresh_at and rested)
                or (refused and refused == self.text)
            ):
                self.asked_at, self.wrong = now, None
                try:
                    text, life = self.fetch()
                    if not SENDABLE.fullmatch(text):
                        raise AuthError(
                            "the service gave a token that no header can carry: it holds a line"
                            " break or a character outside Latin-1"
                        )
                except AuthError as error:
                    self.wrong = error
                    raise
                use = life - self.margin if life > self.margin else life // 2
                self.text, self.refresh_at = text, now + use / 1000
                if self.http.vault:
                    self.http.vault.keep(Kept(text, self.http.now() + use))
            return self.text

    def _recall(self) -> None:
        if self.recalled:
            return
        self.recalled = True
        kept = self.http.vault.recall() if self.http.vault else None
        left = kept.until - self.http.now() if kept else 0
        if kept and left > 0:
            self.text, self.refresh_at = kept.text, self.http.clock.elapsed() + left / 1000
