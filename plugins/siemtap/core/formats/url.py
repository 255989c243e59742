"""Absolute URLs as a record has them: their parts, without the password in them."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional, Tuple

from ..convert import MAX_PORT

REDACTED = "REDACTED"
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
AUTHORITY_END = re.compile(r"[/?#]")
NOT_IN_A_HOST = re.compile(r"[\s/?#@\\\[\]:]")


class Url(NamedTuple):
    """The parts of an absolute URL. `domain` is empty if host and port cannot be read."""

    scheme: str
    domain: str
    port: Optional[int]
    rest: str  # path and query


def split_url(url: str) -> Optional[Url]:
    """Return the parts of an absolute URL without its user and password; None for a path."""
    place = url.find("://")
    if place < 0 or not SCHEME.fullmatch(url, 0, place):
        return None
    end = _authority_end(url, place + 3)
    domain, port = split_host(url[place + 3 : end].rpartition("@")[2])
    return Url(url[:place].lower(), domain, port, url[end:])


def without_userinfo(url: str) -> str:
    """Return a text in which user and password of an absolute URL are redacted."""
    place = url.find("://")
    if "@" not in url or place < 0 or not SCHEME.fullmatch(url, 0, place):
        return url
    begin = place + 3
    end = _authority_end(url, begin)
    at = url.rfind("@", begin, end)
    if at < 0 and not split_host(url[begin:end])[0]:
        at = url.rfind("@", begin)  # a password with a slash in it, not escaped
    return url if at < 0 else f"{url[:begin]}{REDACTED}@{url[at + 1 :]}"


def split_host(authority: str) -> Tuple[str, Optional[int]]:
    """Return host and port of `host`, `host:port`, `[v6]` or `[v6]:port`; no host for another
    authority. The brackets belong to the host, as in `url.domain`."""
    host, colon, digits = authority.partition(":")
    if authority[:1] == "[":
        inner, bracket, port = authority[1:].partition("]")
        if not bracket or port[:1] not in ("", ":"):
            return "", None
        host, colon, digits = f"[{inner}]", port[:1], port[1:]
        if NOT_IN_A_HOST.search(inner.replace(":", "")):
            return "", None
    elif not host or NOT_IN_A_HOST.search(host):
        return "", None
    if not colon:
        return host, None
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 5 or int(digits) > MAX_PORT:
        return "", None
    return host, int(digits)


def _authority_end(url: str, begin: int) -> int:
    match = AUTHORITY_END.search(url, begin)
    return match.start() if match else len(url)
