"""HTTP requests and replies, as values."""

from __future__ import annotations

import json
import re
import threading
from typing import Any, Callable, Mapping, NamedTuple, Optional
from urllib.parse import urljoin

from ...core import bounds
from ...core.errors import Malformed

orjson: Any
try:
    import orjson
except ImportError:  # a Splunk add-on carries no compiled code
    orjson = None

# Decoded text takes up to four times the bytes of an answer, so one answer is parsed at a time. The
# interpreter runs one thread at a time anyway.
PARSING = threading.Lock()
# A number of JSON begins with its digits or a minus, behind one of these. bytes.translate and `in`
# read a megabyte in a fraction of the time that a regular expression needs.
BEFORE_NUMBER = b"[,: \t\r\n-"
DIGITS = b"0123456789"
KINDS = bytes.maketrans(DIGITS + BEFORE_NUMBER, b"0" * len(DIGITS) + b"," * len(BEFORE_NUMBER))
LARGE_NUMBER = b"0" * 19
JSON = {"Content-Type": "application/json", "Accept": "application/json"}
# The authority ends before a backslash for some libraries and not for others, so none may be there.
ORIGIN = re.compile(r"(https?)://([^/?#\\@\s]+)(?=[/?#]|$)", re.IGNORECASE)
DEFAULT_PORTS = {"http": ":80", "https": ":443"}
EXPECTS_TLS = "the server expects TLS at this port: write https:// in the URL"
USER = re.compile(r"(?<=//)[^/@]{0,999}@")  # of a URL, with its password
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}


class Request(NamedTuple):
    """An HTTP request."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""

    @property
    def line(self) -> str:
        """Return the method and the URL for logs, without a user and without the query, which may
        contain a secret."""
        return f"{self.method} {USER.sub('', self.url.partition('?')[0])}"


class Reply(NamedTuple):
    """An HTTP answer of any status. `body` is decompressed."""

    status: int
    headers: Mapping[str, str] = {}  # names in lower case
    body: bytes = b""

    @property
    def is_html(self) -> bool:
        """Return whether the body is a web page, by its content type or its first bytes."""
        return "text/html" in self.headers.get("content-type", "").lower() or bool(
            re.match(rb"\s*<(!doctype|html)", self.body[:200], re.I)
        )

    def json(self) -> Any:
        """Return the body's JSON value.

        Raises:
            ValueError: The body is not JSON in UTF-8, with or without a byte order mark.
            Malformed: The body holds more values than are parsed at once. A narrower request may
                have an answer that can be parsed.
        """
        if (
            len(self.body) > bounds.MAX_VALUES
            and bounds.count_values(self.body) > bounds.MAX_VALUES
        ):
            raise Malformed(f"more than {bounds.MAX_VALUES:,} values in one answer")
        with PARSING:
            return parsed(self.body)


def parsed(body: bytes) -> Any:
    """Return the value of JSON in UTF-8, the one that the standard library reads: a large number, a
    lone surrogate, NaN and a byte order mark are left to it (decision 0006). Only what is nested
    deeper than it reads, some 900 levels, may be read nevertheless."""
    if orjson and not may_have_large_number(body):
        try:
            return orjson.loads(body)
        except ValueError:
            pass
    return json.loads(body.decode("utf-8-sig"))


def may_have_large_number(body: bytes) -> bool:
    """Return whether JSON may have a number that begins with 19 digits: orjson reads an integer
    beyond 64 bits as a float. Digits of a text count only behind one of BEFORE_NUMBER."""
    kinds = body.translate(KINDS)
    return b"," + LARGE_NUMBER in kinds or kinds.startswith(LARGE_NUMBER)


# (request, deadline in seconds) -> reply; raises Retry if there is no answer
Send = Callable[[Request, float], Reply]


def origin_of(url: str) -> str:
    """Return the scheme and the host of a URL, with its port unless that is the scheme's; empty if
    the URL has another form, or names a user."""
    match = ORIGIN.match(url)
    if not match:
        return ""
    scheme, host = match[1].lower(), match[2].lower()
    port = DEFAULT_PORTS[scheme]
    return f"{scheme}://{host[: -len(port)] if host.endswith(port) else host}"


def next_url(request: Request, link: Any) -> Optional[str]:
    """Return the URL of a link to the next page, which may be relative to the request's URL; None
    for no link (null or an empty text).

    Malformed if it is no text, or leads to another host: the request's credentials go there, too.
    """
    if link is None or link == "":
        return None
    if not isinstance(link, str):
        raise Malformed(f"the link to the next page is no text, but {type(link).__name__}")
    try:
        url = urljoin(request.url, link)
    except ValueError:
        url = ""
    if not origin_of(url) or origin_of(url) != origin_of(request.url):
        raise Malformed(
            f"the link to the next page leads to {origin_of(url) or 'no valid URL'}, and not to"
            f" {origin_of(request.url)}, where the request went: it is not followed",
            request.line,
        )
    return url
