"""The vendor's tokens, in storage/passwords."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Mapping, Optional

from splunklib.binding import HTTPError

from ....core.errors import SiemtapError
from ....core.identity import canonical
from ....edge.client.tokens import Token
from ..splunkd import Splunkd

log = logging.getLogger("siemtap")


class TokenPasswords:
    """A token store in storage/passwords: one token for each account.

    A token is stored with a digest of its account, so an edited account logs in again.
    """

    def __init__(self, splunkd: Splunkd, account: str, values: Mapping[str, str]) -> None:
        self.splunkd = splunkd
        self.account = account
        self.realm = f"{splunkd.app.root}_token"
        text = canonical(dict(values)).encode("utf-8", "surrogatepass")
        self.digest = hashlib.sha256(text).hexdigest()

    def load(self) -> Optional[Token]:
        """Return the stored token; None if there is none, or if it cannot be read."""
        try:
            stored = json.loads(self.splunkd.read_password(self.realm, self.account) or "{}")
            if stored.get("of") != self.digest:
                return None
            return Token(stored["token"], int(stored["until"]))
        except (ValueError, TypeError, KeyError):
            return None  # such as the parts of two tokens
        except (HTTPError, OSError, SiemtapError) as error:
            log.warning(
                "the token of account %s cannot be read from storage/passwords (%s): logging in",
                self.account,
                error,
            )
            return None

    def save(self, token: Token) -> None:
        """Store a token; where that fails, warn, and the next run logs in again."""
        document = {"token": token.text, "until": token.until, "of": self.digest}
        try:
            self.splunkd.save_password(self.realm, self.account, json.dumps(document))
        except (HTTPError, OSError, SiemtapError) as error:
            log.warning(
                "the token of account %s cannot be stored in storage/passwords (%s): the next run"
                " logs in again",
                self.account,
                error,
            )

    def delete(self) -> None:
        """Delete the stored token."""
        self.splunkd.save_password(self.realm, self.account, "")
