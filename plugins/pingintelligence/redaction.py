"""Hide what must not be shown of ABS's words, by position: what stands where identifiers, cookies
or credentials stand is hashed, known key or not.

A value stays where its own key is one of the pages' harmless ones, and where it can be no secret:
nothing, true or false, a small number. Told once more in `elastic/mapping.painless`.
"""

from __future__ import annotations

import hashlib
from typing import Any, List

from siemtap.core.convert import ip
from siemtap.core.identity import canonical

KINDS = {
    "ip": "ip",
    "IP": "ip",
    "source_ip": "ip",
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
# A session's id in the metrics is the value of its cookie; the others are addresses under other
# names.
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
# in a line of attack.log, and nothing else
LOGGED = (
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
        *LOGGED,
        # a pointer into MongoDB
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
# Every key that is on a page: no secret can be one of these.
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
SECRET_WORDS = ("token", "cookie", "key", "session", "secret", "passw", "credential", "jwt", "auth")
# below a secret's own name: an object by names that anybody may have given
HIDDEN = "hidden"
WITHIN = "within"  # below a name that sounds like a secret's and is on no page
DEEPEST = 32  # levels; what is below is one hash
SMALL = 1_000_000_000  # a number from here on may be somebody's identifier
PREFIX = "pi-attack-info-"
# characters of a line that are read, and of what is made of it
LOOKED_AT, SHOWN = 65_536, 32_768
SIGNS, BLANKS = "{}[]:,", " \t\r\n"
KEY = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
LONGEST_KEY = 40


def hashed(value: str) -> str:
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def spelled(value: Any) -> str:
    """Return a scalar as text; a whole number is spelled alike however it was sent: Elastic's
    programs know only floats."""
    return (
        str(int(value))
        if isinstance(value, float) and abs(value) < 1e15 and value.is_integer()
        else str(value)
    )


def redacted(value: Any, name: str = "", of: str = "", level: int = 0) -> Any:
    """Return a value of the vendor's as it may be shown. `name`: the key it stands under, `of`:
    the kind of identifier that stands around it."""
    if isinstance(value, (dict, list)) and level >= DEEPEST:
        return hashed(canonical(value))
    if isinstance(value, dict):
        below = HIDDEN if of == HIDDEN or BY_NAME.get(name) in SECRET else ""
        return {
            shown_key(key, inner, name, below or of): redacted(
                inner,
                key,
                below or BY_NAME.get(key) or (WITHIN if sounds_secret(key) else of),
                level + 1,
            )
            for key, inner in value.items()
        }
    if isinstance(value, list):
        # the elements of a list of secrets have keys of their own
        return [
            redacted(inner, "" if isinstance(inner, dict) and of != HIDDEN else name, of, level + 1)
            for inner in value
        ]
    if is_shown(value, name, of):
        return (
            without_query(value)
            if isinstance(value, str) and "://" in value and "@" in value
            else value
        )
    return (
        without_query(value)
        if name in URLS and of not in (*SECRET, HIDDEN) and isinstance(value, str)
        else hashed(spelled(value))
    )


def shown_key(key: str, value: Any, name: str, of: str) -> str:
    """Return a key of an object as it may be shown: where secrets stand, one may be a key."""
    if of not in (HIDDEN, WITHIN, *SECRET) or not key:
        return without_query(key)
    # of an attack list the page has `cookies` as an object: a cookie's name, and its values
    if of == HIDDEN:
        stays = name == "cookies" and isinstance(value, list) and is_name(key)
    else:
        stays = key in PAGE
    return key if stays else hashed(key)


def is_name(key: str) -> bool:
    return KEY.issuperset(key) and len(key) <= LONGEST_KEY


def sounds_secret(name: str) -> bool:
    """Return whether a name that is on no page is one of a secret's, by its sound."""
    lower = name.lower()
    return name not in PAGE and any(word in lower for word in SECRET_WORDS)


def is_shown(value: Any, name: str, of: str) -> bool:
    """Return whether a text, a number or nothing may be shown as it is."""
    if value is None or value == "" or isinstance(value, bool):
        return True
    number, kind = isinstance(value, (int, float)), BY_NAME.get(name, "")
    if of == HIDDEN or kind in SECRET:
        # how many there are
        return of != HIDDEN and number and name in LISTS and abs(value) < SMALL
    if kind == "ip":
        return is_small(value) if number else is_address(value)
    if kind == "username":
        return not number or is_small(value)
    if of in SECRET:
        return name in WHEN or (number and name in COUNTS and abs(value) < SMALL)
    return abs(value) < SMALL if number else name in HARMLESS or is_small(value)


def is_small(value: Any) -> bool:
    """Return whether a text is a number of at most nine digits, or a number is below a thousand
    million."""
    return (
        len(value) <= 9 and value.isascii() and value.isdigit()
        if isinstance(value, str)
        else abs(value) < SMALL
    )


def is_address(value: str) -> bool:
    """Return whether a text is an IP address, perhaps with a port."""
    text = value.strip()
    host, colon, port = text.partition(":")
    return ip(text) is not None or (
        bool(colon) and "." in host and ip(host) is not None and len(port) <= 5 and is_small(port)
    )


def without_query(url: str) -> str:
    """Return a URL with hashes for user and password, and for all behind its path: queries and
    path parameters carry tokens."""
    end = min((place for place in map(url.find, "?;#") if place >= 0), default=len(url))
    begin = url.find("//", 0, end) + 2 if url.find("//", 0, end) >= 0 else 0
    path, rest = url[begin:end], url[end:]
    at = path.rfind("@")
    if at < 0 and "@" in rest and "/" not in path and (begin or ":" in path):
        return url[:begin] + hashed(url[begin:])  # a password with such a sign in it
    if at >= 0 and ((begin and "/" not in path[:at]) or ":" in path[:at]):
        path = hashed(path[:at]) + path[at:]
    return url[:begin] + path + (rest if len(rest) < 2 else rest[:1] + hashed(rest[1:]))


def redacted_line(line: str) -> str:
    """Return a line that could not be read, with the JSON in it as far as it goes: signs, keys,
    and the values that may be shown. One pass, bounded."""
    cut = f"… ({len(line)} characters)"
    text = line[:LOOKED_AT]
    at = text.find("{")
    if at < 0:
        return cut
    before = text[:at]
    made: List[str] = [
        "" if before in ("", PREFIX) else "…",
        PREFIX if before.endswith(PREFIX) else "",
    ]
    size, name, sign = 0, "", ""
    while at < len(text):
        char = text[at]
        if size > SHOWN:
            return "".join(made) + cut
        if char in SIGNS:
            piece, sign, end = char, char, at + 1
            name = name if char == ":" else ""
        elif char in BLANKS:
            piece, end = char, at + 1
        elif char == '"':
            end = end_of_string(text, at) + 1
            if not end:
                return "".join(made) + '"' + cut
            inner, after = text[at + 1 : end - 1], next_sign(text, end)
            if sign in ("{", ",") and after == ":":
                name = inner if inner in PAGE else ""
                piece = f'"{name or "…"}"'
            else:
                known = (
                    name
                    if sign == ":"
                    and after in (",", "}")
                    and (name in LOGGED or BY_NAME.get(name) == "ip")
                    else ""
                )
                piece = f'"{redacted(inner, known) if known else hashed(inner) if inner else ""}"'
                name = ""
        else:
            end = at + 1
            while (
                end < len(text)
                and text[end] not in SIGNS
                and text[end] not in BLANKS
                and text[end] != '"'
            ):
                end += 1
            word = text[at:end]
            piece = (
                word
                if word in ("true", "false", "null")
                or (is_small(word) and sign == ":" and BY_NAME.get(name) not in SECRET)
                else "…"
            )
        made.append(piece)
        size += len(piece)
        at = end
    return "".join(made) + ("" if len(line) <= LOOKED_AT else cut)


def end_of_string(text: str, start: int) -> int:
    """Return where the string that begins with this quotation mark ends; -1: it does not."""
    at = start + 1
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    return at if at < len(text) else -1


def next_sign(text: str, at: int) -> str:
    while at < len(text) and text[at] in BLANKS:
        at += 1
    return text[at : at + 1]
