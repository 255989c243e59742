"""What an error answer quotes of our own request: shown without its secrets."""

from __future__ import annotations

import base64
import html
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Iterable, List
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

if TYPE_CHECKING:
    from .http import Request

PUBLIC_HEADERS = ("accept", "accept-encoding", "content-type", "user-agent")
# the name of a form's field; a webhook's URL is one
SECRET_FIELD = re.compile(
    r"secret|passw|passphrase|token|key|code|credential|authorization|^url$", re.I
)
MOST_OF_A_COMPLAINT = 20_000  # characters that are looked through
# characters of a secret by which it is known where it was cut short
BEGINNING = 8
WORD = r"[^\s\"'<>,;&]*"


def secrets(request: Request) -> List[str]:
    """Return what nobody may read of a request: its headers but for those that anybody sends, and
    what its form, its JSON or its query holds under a name like `client_secret` or `password`."""
    values: List[str] = []
    for name, value in request.headers.items():
        if name.lower() in PUBLIC_HEADERS:
            continue
        scheme, _, credentials = value.strip().partition(" ")
        values += [value, credentials] if credentials else [value]
        if scheme.lower() == "basic":
            with suppress(ValueError):  # what is no Base64 is a secret as it stands
                text = base64.b64decode(credentials).decode()
                values += [text, text.partition(":")[2]]
    body = request.body.decode("utf-8", "replace")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    objects = document if isinstance(document, list) else [document]
    fields = [
        pair for one in objects if isinstance(one, dict) for pair in one.items()
    ] or parse_qsl(body)
    return values + [
        str(value)
        for name, value in [*fields, *parse_qsl(urlsplit(request.url).query)]
        if SECRET_FIELD.search(name)
    ]


def without_secrets(text: str, values: Iterable[str], most: int = 300) -> str:
    """Return the beginning of a text without the values, in any case of letters, as they are or as
    JSON, a URL or a page spells them; and without words that begin like one, for the other side may
    have cut it short."""
    text = text[:MOST_OF_A_COMPLAINT]
    shapes = {
        shape
        for value in values
        if value.strip()
        for plain in (value, value.strip())
        for shape in (
            plain,
            json.dumps(plain)[1:-1],
            json.dumps(plain, ensure_ascii=False)[1:-1],
            repr(plain)[1:-1],
            quote(plain, safe=""),
            quote_plus(plain),
            html.escape(plain),
        )
    }
    patterns = [re.escape(shape) for shape in sorted(shapes, key=len, reverse=True)]
    patterns += [
        re.escape(shape[:BEGINNING]) + WORD
        for shape in sorted(shapes)
        if len(shape) > BEGINNING and " " not in shape
    ]
    return (re.sub("|".join(patterns), "REDACTED", text, flags=re.I) if patterns else text)[:most]
