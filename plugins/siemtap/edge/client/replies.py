"""What a reply means: the error of its status, its message, its times."""

from __future__ import annotations

import email.utils
import re
from typing import Any, Dict, Optional, Tuple

from ...core.errors import AuthError, ConfigError, Malformed, Retry
from ...core.windows import HOUR, Millis
from .messages import Reply, Request
from .quoted import redact, request_secrets

LONGEST_WAIT: Millis = 1 * HOUR  # the longest Retry-After that is obeyed

JSON_TYPES: Dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def json_of(request: Request, reply: Reply) -> Any:
    """Return the JSON of a reply. Malformed if its body is not JSON, or holds too many values."""
    try:
        return reply.json()
    except Malformed as error:
        raise error.at(request.line) from None
    except (ValueError, RecursionError) as error:
        raise Malformed(
            f"the answer is not JSON ({type(error).__name__}, {len(reply.body)} bytes)",
            request.line,
        ) from None


def member_of(request: Request, body: Any, name: str, kind: type) -> Any:
    """Return what a JSON answer has under a name. Malformed, with the name, if the answer is no
    object, or if that is missing or of another type than `kind`: list, dict, str, int."""
    if not isinstance(body, dict):
        raise Malformed(f"the answer is no JSON object, but {json_type(body)}", request.line)
    if name not in body:
        raise Malformed(f"the answer has no `{name}`", request.line)
    value = body[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Malformed(
            f"the answer's `{name}` is {json_type(value)}, and not {JSON_TYPES[kind]}",
            request.line,
        )
    return value


def json_type(value: Any) -> str:
    """Return what a JSON value is, as a person says it."""
    return JSON_TYPES.get(type(value), "null")


def raise_for_status(
    request: Request,
    reply: Reply,
    now: Millis,
    success: Tuple[int, ...] = (200,),
    reason: Optional[str] = None,
) -> None:
    """Raise an error unless the reply is a success and is not HTML.

    `reason`: the message of the error, for a vendor whose answers `error_text` cannot read.

    Raises:
        AuthError: 401, 403.
        Retry: 408, 413, 425, 429, 5xx, with the wait of `Retry-After`; HTML; a redirect.
        ConfigError: Every other status.
    """
    if reply.status in success and not reply.is_html:
        return
    status = reply.status
    where = f"{request.line}: {status}"
    if reason is None:
        reason = error_text(request, reply)
    if status == 401:
        raise AuthError(reason or "not authorised", where, status)
    if status in (408, 413, 425, 429) or status >= 500:
        raise Retry(
            reason or "not now",
            where,
            after=parse_retry_after(reply.headers.get("retry-after"), now),
            status=status,
            narrower=status in (408, 413, 500, 504),
        )
    if reply.is_html:
        raise Retry(
            "HTML where JSON was expected: a firewall or a proxy in between answered",
            where,
            status=status,
        )
    if status == 403:
        raise AuthError(reason or "forbidden", where, status)
    if 300 <= status < 400:
        raise Retry(
            "a redirect, which is not followed: check `url`; a login page of the network may be in"
            " between",
            where,
            status=status,
        )
    raise ConfigError(reason or "refused", where, status)


def error_text(request: Request, reply: Reply) -> str:
    """Return the message of an error answer: its `errorMessages`, `message` or `error`; of an
    `error` that is an object its `code` and `message`.

    At most 300 characters, without the request's secrets; empty if there is no message.
    """
    try:
        body = reply.json()
    except (ValueError, RecursionError, Malformed):
        return ""
    if not isinstance(body, dict):
        return ""
    for name in ("errorMessages", "message", "error"):
        value = body.get(name)
        if value:
            if isinstance(value, dict) and ("code" in value or "message" in value):
                value = [value[part] for part in ("code", "message") if value.get(part)]
            messages = value if isinstance(value, list) else [value]
            return redact("; ".join(map(str, messages)), request_secrets(request))
    return ""


def parse_retry_after(retry_after: Optional[str], now: Millis) -> Millis:
    """Return the wait, in milliseconds, of a `Retry-After` header in seconds or as a date.

    At most an hour; 0 if there is no header or it cannot be parsed.
    """
    if not retry_after:
        return 0
    if re.fullmatch(r"\s*[0-9]{1,20}\s*", retry_after):
        return min(int(retry_after) * 1000, LONGEST_WAIT)
    date = parse_date(retry_after)
    if date is None:
        return 0
    return min(max(0, date - now), LONGEST_WAIT)


def parse_date(text: str) -> Optional[Millis]:
    """Return the time of an HTTP date, or None if it is not one or out of range."""
    try:
        parts = email.utils.parsedate_tz(text)
        return email.utils.mktime_tz(parts) * 1000 if parts else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
