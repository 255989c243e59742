"""Errors, named after what must happen next.

SiemtapError
├── ConfigError   a person must change a setting; the same request would fail again
├── AuthError     a fresh token was tried once; a person must act, meanwhile we back off
├── Retry         the same request again later, not before `after` milliseconds
└── Malformed     the vendor sent what its documentation does not describe; the cursor stays

Any other exception is a fault of siemtap or of a plugin: the runner contains it in its unit or
record.
Each error says what happened, where, what is allowed and what to do; never a secret.
"""

from __future__ import annotations


class SiemtapError(Exception):
    """A sentence for the person who must act.

    `where`: the place, from the outside in: `input: unit: window: request`. `status`: the HTTP
    status of the answer, 0 without one. `of_login`: a login failed, so the window that was about to
    be queried has nothing to do with it.
    """

    of_login = False

    def __init__(self, message: str, where: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.status = status

    def at(self, where: str) -> SiemtapError:
        """Add a place further out, and return the same error."""
        self.where = f"{where}: {self.where}" if self.where else where
        return self

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class ConfigError(SiemtapError):
    """A person must change a setting."""


class AuthError(SiemtapError):
    """The vendor refused the login."""


class Retry(SiemtapError):
    """The same request may succeed later.

    `after`: milliseconds that the vendor asked to wait. `narrower`: a smaller time window may
    succeed (after a timeout, 413 or 500).
    """

    def __init__(
        self,
        message: str,
        where: str = "",
        after: int = 0,
        status: int = 0,
        narrower: bool = False,
    ) -> None:
        super().__init__(message, where, status)
        self.after = after
        self.narrower = narrower


class Malformed(SiemtapError):
    """The vendor sent what its documentation does not describe."""
