"""What went wrong, named after what must happen next.

SiemtapError
├── ConfigError   a person changes a setting; the same question would fail again
├── AuthError     a fresh token was tried once; now a person, while we back off
├── Retry         time: the same question again, not before `after` milliseconds
└── Malformed     the vendor sent what its document does not describe; the cursor stays

Anything else is a fault of ours: a runner contains it in the unit or the record that it befell.
Each says what happened, where, what is allowed, what to do; never a secret.
"""

from __future__ import annotations


class SiemtapError(Exception):
    """A sentence for the person who must act; `where` grows from the inside out as it is handed up.
    `status`: what the other side answered, 0 for nothing at all."""

    def __init__(self, what: str, where: str = "", status: int = 0) -> None:
        super().__init__(what)
        self.what, self.where, self.status = what, where, status

    def at(self, where: str) -> SiemtapError:
        """The same error, one place further out: `input: unit: window: request`."""
        self.where = f"{where}: {self.where}" if self.where else where
        return self

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class ConfigError(SiemtapError):
    pass


class AuthError(SiemtapError):
    pass


class Retry(SiemtapError):
    """`after`: milliseconds the other side asked for. `narrower`: a smaller question may succeed
    where this one did not (time-out, 413, 500)."""

    def __init__(
        self, what: str, where: str = "", after: int = 0, status: int = 0, narrower: bool = False
    ) -> None:
        super().__init__(what, where, status)
        self.after, self.narrower = after, narrower


class Malformed(SiemtapError):
    pass
