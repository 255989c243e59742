"""Redact the secrets of a request from the text of an error answer that may quote them."""

from __future__ import annotations

import base64
import html
import json
import re
from contextlib import suppress
from typing import Any, Iterable, List, Set, Tuple
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

from .messages import Request

PUBLIC_HEADERS = ("accept", "accept-encoding", "content-type", "user-agent")
# the name of a field of a form, a JSON object or a query; a webhook's `url` is a secret
SECRET_FIELD = re.compile(
    r"secret|passw|passphrase|token|key|code|credential|authorization|^url$", re.I
)
LONGEST_TEXT = 20_000  # characters of an answer that are searched
# characters by which a secret is recognized that the answer has cut short
PREFIX = 8
REST_OF_WORD = r"[^\s\"'<>,;&]*"


def request_secrets(request: Request) -> List[str]:
    """Return the secret values of a request: all headers except `PUBLIC_HEADERS`, and the fields of
    its form, JSON or query whose names look like `client_secret` or `password`."""
    values: List[str] = []
    for name, value in request.headers.items():
        if name.lower() not in PUBLIC_HEADERS:
            values += header_secrets(value)
    fields = [*_body_fields(request), *parse_qsl(urlsplit(request.url).query)]
    return values + [str(value) for name, value in fields if SECRET_FIELD.search(name)]


def header_secrets(value: str) -> List[str]:
    """Return the secrets in the value of a header such as `Authorization`."""
    scheme, _, credentials = value.strip().partition(" ")
    values = [value]
    if credentials:
        values.append(credentials)
    if scheme.lower() == "basic":
        with suppress(ValueError):  # not Base64: the credentials are the secret as they are
            text = base64.b64decode(credentials).decode()
            values += [text, text.partition(":")[2]]
    return values


def _body_fields(request: Request) -> List[Tuple[str, Any]]:
    """Return the (name, value) pairs of a body: of a JSON object, of a list of them, or of a
    form."""
    body = request.body.decode("utf-8", "replace")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    objects = document if isinstance(document, list) else [document]
    fields: List[Tuple[str, Any]] = []
    for item in objects:
        if isinstance(item, dict):
            fields += item.items()
    return fields or list(parse_qsl(body))


def redact(text: str, values: Iterable[str], most: int = 300) -> str:
    """Return the first `most` characters of a text, with `REDACTED` in place of each value.

    A value is found in any case, as it is or as JSON, Python, a URL or HTML encodes it. So is a
    word that begins like a value, because the answer may have cut the value short.
    """
    text = text[:LONGEST_TEXT]
    encoded: Set[str] = set()
    for value in values:
        if value.strip():
            encoded |= _encodings(value) | _encodings(value.strip())
    patterns = [re.escape(secret) for secret in sorted(encoded, key=len, reverse=True)]
    patterns += [
        re.escape(secret[:PREFIX]) + REST_OF_WORD
        for secret in sorted(encoded)
        if len(secret) > PREFIX and " " not in secret
    ]
    if patterns:
        text = re.sub("|".join(patterns), "REDACTED", text, flags=re.I)
    return text[:most]


def redact_error(body: bytes, authorization: str) -> bytes:
    """Return the body of an error answer without the secrets of the request's `Authorization`.

    A body that holds none is returned as it is; else the first LONGEST_TEXT characters.
    """
    text, values = body.decode("utf-8", "replace"), header_secrets(authorization)
    redacted = redact(text, values, LONGEST_TEXT)
    if redacted == text[:LONGEST_TEXT] and not any(value and value in text for value in values):
        return body
    return redacted.encode()


def _encodings(value: str) -> Set[str]:
    return {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        quote(value, safe=""),
        quote_plus(value),
        html.escape(value),
    }
