"""Tokens, and where they outlive a process."""

from __future__ import annotations

from typing import NamedTuple, Optional, Protocol

from ...core.windows import Millis


class Token(NamedTuple):
    """A token, and the time (wall clock) after which it is no longer used."""

    text: str
    until: Millis


class TokenStore(Protocol):
    """Storage for a token that outlives the process.

    A token that cannot be loaded or stored costs one more login; neither method raises for it.
    """

    def load(self) -> Optional[Token]: ...

    def save(self, token: Token) -> None: ...
