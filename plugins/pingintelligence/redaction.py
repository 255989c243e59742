"""Redact secrets in ABS responses and attack.log lines.

Redaction goes by position: a value in a place for identifiers, cookies or credentials is hashed,
whatever its key. A value stays if its key is documented as harmless, or if it cannot be a secret:
null, a boolean, a small number. `elastic/mapping.painless` implements the same rules.
"""

from __future__ import annotations

from typing import Any, List, Tuple

from siemtap.core.convert import ip
from siemtap.core.identity import canonical, sha256_hex

KINDS = {
    **dict.fromkeys(("ip", "IP", "source_ip"), "ip"),
    "cookie": "cookie",
    "access_token": "access_token",
    "oauth_token": "access_token",
    "token": "access_token",
    "api_key": "api_key",
    "apikey": "api_key",
    "username": "username",
    "user_name": "username",
    "user": "username",
}
LISTS = {
    "ips": "ip",
    "cookies": "cookie",
    "access_tokens": "access_token",
    "oauth_tokens": "access_token",
    "tokens": "access_token",
    "api_keys": "api_key",
    "apikeys": "api_key",
    "usernames": "username",
    "users": "username",
}
SECRET = ("cookie", "access_token", "api_key")
# `session_id` in the metrics is the value of a cookie; the others are addresses.
BY_NAME = {
    **KINDS,
    **LISTS,
    "session_id": "cookie",
    "source": "ip",
    "request_ip": "ip",
    "most_popular_ips": "ip",
    "most_suspicious_ips": "ip",
}
WHEN = ("access_time", "attack_code", "attack_deviation")
# only in a line of attack.log
CLEAR_LOG_KEYS = (
    "timestamp",
    "protocol",
    "attack_id",
    "description",
    "attack_bucket",
    "attack_scope",
    "attacked_api",
    "attack_identifier_type",
)
HARMLESS = frozenset(
    (
        *WHEN,
        "attack_type",
        "ioc_type",
        "company",
        "name",
        "api_name",
        "earlier_date",
        "later_date",
        "ealier_date",
        "state",
        "status",
        "error",
        "errors",
        "message",
        *CLEAR_LOG_KEYS,
        # `ddos_info` refers to MongoDB
        "ddos_info",
        "database",
        "collection",
        "start_time",
        "end_time",
        # other reports
        "api_type",
        "attack_types",
        "anomaly_type",
        "anomaly_types",
        "ioc_types",
        "most_popular_method",
        "most_popular_device",
        "method",
        "methods",
        "device",
        "devices",
        "user_agent",
        "server",
        "servers",
        "host",
        "category",
        "type",
        "date",
        "created",
        "updated",
        "request_time",
        "error_code",
        "apiproxy_node",
        "tier",
        "expiry",
    )
)
COUNTS = frozenset(("count", "total_requests"))
URLS = frozenset(
    (
        "api_url",
        "url",
        "urls",
        "path",
        "basePath",
        "request_url",
        "destination_api",
        "decoy_url",
        "most_suspicious_anomalies_urls",
    )
)
# Every key that the vendor documents. None of these can be a secret.
PAGE = frozenset(
    (
        *BY_NAME,
        *HARMLESS,
        *COUNTS,
        *URLS,
        "attack_key",
        "attack_value",
        "details",
        "summary",
        "metrics",
        "session_details",
        "no_session",
        "no_sessions",
        "sessions",
        "suspicious_sessions",
        "suspicious_requests",
        "request_details",
        "path_info",
        "ip_list",
        "apis",
        "attacklist",
        "apikey_header",
        "apikey_qs",
        "clientid",
        "location",
        "success",
    )
)
# In the place of these lists and numbers a key may be a session.
SESSIONS = ("sessions", "session_details", "suspicious_sessions")
SECRET_WORDS = ("token", "cookie", "key", "session", "secret", "passw", "credential", "jwt", "auth")
# Contexts of a value, beside the kinds of identifier:
HIDDEN = "hidden"  # below the key of a secret; keys may be secrets, too
WITHIN = "within"  # below an undocumented key that looks like a secret's
SESSION = "session"  # below an object in the place of SESSIONS, except in documented places
DEEPEST = 32  # levels; deeper objects and lists become one hash
SMALL = 1_000_000_000  # larger numbers may be identifiers
PREFIX = "pi-attack-info-"
MAX_INPUT = 65_536  # characters of a line that are read
MAX_OUTPUT = 32_768  # characters of the redacted line
SIGNS, BLANKS = "{}[]:,", " \t\r\n"
NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
LONGEST_NAME = 40


def scalar_text(value: Any) -> str:
    """Return a scalar as text. A whole float has no fraction: Elastic's programs know only floats,
    and the hash must be the same."""
    if isinstance(value, float) and abs(value) < 1e15 and value.is_integer():
        return str(int(value))
    return str(value)


def redact(value: Any, name: str = "", context: str = "", level: int = 0) -> Any:
    """Return a vendor value without its secrets.

    `name`: the key of the value; `context`: the kind of identifier around it, HIDDEN or WITHIN;
    `level`: the depth reached.
    """
    if isinstance(value, (dict, list)) and level >= DEEPEST:
        return sha256_hex(canonical(value))
    if isinstance(value, dict):
        return _redact_object(value, name, context, level)
    if isinstance(value, list):
        # Objects in a list of secrets have keys of their own.
        return [
            redact(
                item,
                name="" if isinstance(item, dict) and context != HIDDEN else name,
                context="" if context == SESSION else context,
                level=level + 1,
            )
            for item in value
        ]
    if is_clear(value, name, context):
        has_url = isinstance(value, str) and "://" in value and "@" in value
        return redact_url(value) if has_url else value
    if name in URLS and context not in (*SECRET, HIDDEN) and isinstance(value, str):
        return redact_url(value)
    return sha256_hex(scalar_text(value))


def _redact_object(value: Any, name: str, context: str, level: int) -> Any:
    below = HIDDEN if context == HIDDEN or BY_NAME.get(name) in SECRET else ""
    redacted = {}
    for key, item in value.items():
        redacted_key = redact_key(key, item, name, below or context)
        redacted[redacted_key] = redact(
            item,
            name=key,
            context=below or BY_NAME.get(key) or _context_below(key, context),
            level=level + 1,
        )
    return redacted


def _context_below(key: str, context: str) -> str:
    """Return the context of a value whose key is that of no identifier."""
    if key in SESSIONS:
        return SESSION
    if looks_secret(key):
        return WITHIN
    return "" if context == SESSION and key in PAGE else context


def redact_key(key: str, value: Any, name: str, context: str) -> str:
    """Return the key of an object without its secrets: in a place for secrets a key may be one.
    `name`: the key of the object itself."""
    if context not in (HIDDEN, WITHIN, SESSION, *SECRET) or not key:
        return redact_url(key)
    # `cookies` of an attack list is documented as an object: cookie name -> values
    if context == HIDDEN:
        stays = name == "cookies" and isinstance(value, list) and is_cookie_name(key)
    else:
        stays = key in PAGE
    return key if stays else sha256_hex(key)


def is_cookie_name(key: str) -> bool:
    return NAME_CHARACTERS.issuperset(key) and len(key) <= LONGEST_NAME


def looks_secret(name: str) -> bool:
    """Return whether an undocumented key contains a word such as "token"."""
    lower = name.lower()
    return name not in PAGE and any(word in lower for word in SECRET_WORDS)


def is_clear(value: Any, name: str, context: str) -> bool:
    """Return whether a scalar may stay in clear."""
    if value is None or value == "" or isinstance(value, bool):
        return True
    is_number = isinstance(value, (int, float))
    kind = BY_NAME.get(name, "")
    if context == HIDDEN or kind in SECRET:
        # in place of a list: the number of its elements
        return context != HIDDEN and is_number and name in LISTS and is_small(value)
    if kind == "ip":
        return is_small(value) if is_number else is_address(value)
    if kind == "username":
        return not is_number or is_small(value)
    if context in SECRET:
        return name in WHEN or (is_number and name in COUNTS and is_small(value))
    if is_number:
        return is_small(value)
    return name in HARMLESS or is_small(value)


def is_small(value: Any) -> bool:
    """Return whether a text is a number of at most nine digits, or a number is below 10^9."""
    if isinstance(value, str):
        return len(value) <= 9 and value.isascii() and value.isdigit()
    return bool(abs(value) < SMALL)


def is_address(value: str) -> bool:
    """Return whether a text is an IP address, with or without a port."""
    text = value.strip()
    if "%" in text:  # a zone is any word
        return False
    if ip(text) is not None:
        return True
    host, colon, port = text.partition(":")
    return (
        bool(colon) and "." in host and ip(host) is not None and len(port) <= 5 and is_small(port)
    )


def redact_url(url: str) -> str:
    """Return a URL with hashes in place of user and password and of all that follows the path:
    queries and path parameters carry tokens."""
    end = min((place for place in map(url.find, "?;#") if place >= 0), default=len(url))
    slashes = url.find("//", 0, end)
    begin = slashes + 2 if slashes >= 0 else 0
    path = url[begin:end]
    rest = url[end:]
    at = path.rfind("@")
    if at < 0 and "@" in rest and "/" not in path and (begin or ":" in path):
        return url[:begin] + sha256_hex(url[begin:])  # the password contains one of ? ; #
    if at >= 0 and ((begin and "/" not in path[:at]) or ":" in path[:at]):
        path = sha256_hex(path[:at]) + path[at:]
    if len(rest) >= 2:
        rest = rest[:1] + sha256_hex(rest[1:])
    return url[:begin] + path + rest


def redact_line(line: str) -> str:
    """Return a line that cannot be parsed, as far as its JSON can be read.

    Signs, documented keys and values that may stay in clear are kept. The rest is hashed or
    replaced by "…". Takes one pass, reads at most MAX_INPUT characters and writes about MAX_OUTPUT.
    """
    cut = f"… ({len(line)} characters)"
    text = line[:MAX_INPUT]
    at = text.find("{")
    if at < 0:
        return cut
    before = text[:at]
    pieces: List[str] = [
        "" if before in ("", PREFIX) else "…",
        PREFIX if before.endswith(PREFIX) else "",
    ]
    size = 0
    name = ""  # the key of the value that follows
    sign = ""  # the last sign
    while at < len(text):
        char = text[at]
        if size > MAX_OUTPUT:
            return "".join(pieces) + cut
        if char in SIGNS:
            piece = sign = char
            end = at + 1
            name = name if char == ":" else ""
        elif char in BLANKS:
            piece = char
            end = at + 1
        elif char == '"':
            end = end_of_string(text, at) + 1
            if not end:
                return "".join(pieces) + '"' + cut
            piece, name = _redact_string(
                text[at + 1 : end - 1], name=name, before=sign, after=next_sign(text, end)
            )
        else:
            end = _end_of_word(text, at + 1)
            piece = _redact_word(text[at:end], name, sign)
        pieces.append(piece)
        size += len(piece)
        at = end
    return "".join(pieces) + ("" if len(line) <= MAX_INPUT else cut)


def _redact_string(inner: str, name: str, before: str, after: str) -> Tuple[str, str]:
    """Return (redacted JSON string, the key that applies after it). `before`, `after`: the signs
    around the string."""
    if before in ("{", ",") and after == ":":
        key = inner if inner in PAGE else ""
        return f'"{key or "…"}"', key
    is_value = before == ":" and after in (",", "}")
    if is_value and name and (name in CLEAR_LOG_KEYS or BY_NAME.get(name) == "ip"):
        return f'"{redact(inner, name)}"', ""
    return f'"{sha256_hex(inner)}"' if inner else '""', ""


def _redact_word(word: str, name: str, before: str) -> str:
    """Return a number or a literal that may stay in clear, else "…"."""
    if word in ("true", "false", "null"):
        return word
    stays = is_small(word) and before == ":" and BY_NAME.get(name) not in SECRET
    return word if stays else "…"


def _end_of_word(text: str, at: int) -> int:
    """Return the index of the next sign, blank or quotation mark."""
    while at < len(text) and text[at] not in SIGNS and text[at] not in BLANKS and text[at] != '"':
        at += 1
    return at


def end_of_string(text: str, start: int) -> int:
    """Return the index of the closing quotation mark of the string that begins at `start`; -1 if it
    is not closed."""
    at = start + 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at if at < len(text) else -1


def next_sign(text: str, at: int) -> str:
    """Return the next character that is no blank; empty at the end of the text."""
    while at < len(text) and text[at] in BLANKS:
        at += 1
    return text[at : at + 1]
