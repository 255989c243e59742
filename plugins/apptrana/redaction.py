"""Headers of requests and responses, and the redaction of secret ones, wherever a record has
them."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterator, List, Optional, Tuple

from siemtap.core.bounds import cached
from siemtap.core.identity import canonical
from siemtap.core.rows import ABSENT

try:
    import orjson as fast_json  # part of the shipper; a Splunk add-on uses json, with equal results
except ImportError:
    import json as fast_json  # type: ignore[no-redef]

BLANKS = re.compile(r"\s*")
WORD = re.compile(r"[A-Za-z0-9_]")
NAME_BEGINS = re.compile(r"[\s\"'\\{\[,]*")
HEADER_NAME = re.compile(r"[A-Za-z-]{0,64}")
REDACTED = "REDACTED"
MAX_DEPTH = 100  # levels of nested objects and lists that are searched for secrets
# Keys that hold the header's name in an object such as {"name": "Cookie", "value": "…"}.
NAME_KEYS = frozenset(("name", "header", "key"))
# A rule set's words for where the data was that a rule matched
FOUND_WITHIN = "found within "


class Pairs(List[Any]):
    """The (key, value) pairs of a JSON object, in order, duplicate keys included."""


JSON = json.JSONDecoder(strict=False, object_pairs_hook=Pairs)


def headers(value: str, secret: Tuple[str, ...]) -> Dict[str, str]:
    """Return headers by lower-case name, secret ones redacted.

    `value` is the content of a JSON object without its braces. The vendor writes "-" for a header
    that is absent. The values of a header that is there twice are joined by a comma, as by a proxy
    (RFC 9110, 5.3): which of two X-Forwarded-For was believed may be the attack.
    """
    try:
        fields = fast_json.loads("{" + value + "}")
        if value.count('"') != 4 * len(fields):  # perhaps a duplicate key
            raise ValueError
        pairs = [
            (name.strip().lower(), trimmed)
            for name, content in fields.items()
            if content != "-" and (trimmed := content.strip()) and trimmed != "-"
        ]
        present = dict(pairs)
        if len(present) != len(pairs):
            raise ValueError
    except (ValueError, AttributeError, RecursionError):
        present = parse_lenient_headers(value, secret)
    for name in secret:
        if name in present:
            present[name] = REDACTED
    if not NAME_KEYS.isdisjoint(present) and (name_key := named(present, secret)):
        return {
            name: content if name == name_key else REDACTED for name, content in present.items()
        }
    return present


def parse_lenient_headers(value: str, secret: Tuple[str, ...]) -> Dict[str, str]:
    """Return the same headers for any text: duplicate keys, values of any type, broken JSON."""
    pairs = parse_pairs(value)
    if pairs is None:  # no JSON, because of a bare quote in a value for example
        pairs = [
            (name, until_doubt(name, content, secret)) for name, content in quoted_pairs(value)
        ]
    values: Dict[str, List[str]] = {}
    for name, content in pairs:
        if not isinstance(content, str):
            content = canonical(walked(to_plain(content), secret))
        content = content.strip()
        if content not in ABSENT:
            values.setdefault(name.strip().lower(), []).append(content)
    return {name: ", ".join(contents) for name, contents in values.items()}


def quoted_pairs(text: str) -> Iterator[Tuple[str, str]]:
    """Yield name and content of each `"name": "content"` of a text that is no JSON.

    A content ends at the first quote before a comma or the end, so it may hold quotes. Each
    character is looked at a few times, however many quotes there are.
    """
    quotes = [place for place, sign in enumerate(text) if sign == '"']
    after = [_skip_blanks(text, place + 1) for place in quotes]
    number = 0
    while number + 3 < len(quotes):
        opens = number + 2
        if (
            quotes[number + 1] == quotes[number] + 1
            or text[after[number + 1] : after[number + 1] + 1] != ":"
            or _skip_blanks(text, after[number + 1] + 1) != quotes[opens]
        ):
            number += 1
            continue
        end = opens + 1
        while end < len(quotes) and text[after[end] : after[end] + 1] not in ("", ","):
            end += 1
        if end == len(quotes):
            return
        yield text[quotes[number] + 1 : quotes[number + 1]], text[quotes[opens] + 1 : quotes[end]]
        number = end + 1


def until_doubt(name: str, content: str, secret: Tuple[str, ...]) -> str:
    """Return a content of a text that is no JSON. The quotes around the name may be others than the
    sender's, so a name with that of a secret header in it is one. What follows a bare quote in the
    content may be another header: it is shown up to where a value may begin, whatever the name."""
    if secret_end(name, secret, loose=True) >= 0:
        return REDACTED
    quote = content.find('"')
    if secret and quote >= 0:
        ends = [place + 1 for sign in ":=" if (place := content.find(sign, quote)) >= 0]
        ends += [end for end in [secret_end(content, secret, quote, loose=True)] if end >= 0]
        if ends:
            content = f"{content[: min(ends)]} {REDACTED}"
    return unpaired(content, secret)


def parse_pairs(value: str) -> Optional[List[Tuple[str, Any]]]:
    """Return the (key, value) pairs of a JSON object without braces; None if it is no JSON."""
    document = "{" + value + "}"
    try:
        pairs, end = JSON.raw_decode(document)
    except (ValueError, RecursionError):
        return None
    return pairs if end == len(document) else None


def to_plain(value: Any) -> Any:
    """Return a decoded value with every Pairs as a dict."""
    if isinstance(value, Pairs):
        return {name: to_plain(inner) for name, inner in value}
    return list(map(to_plain, value)) if isinstance(value, list) else value


def unpaired(value: str, secret: Tuple[str, ...]) -> str:
    """Return a text with everything after the name of a secret header redacted."""
    end = secret_end(value, secret)
    return value if end < 0 else f"{value[:end]} {REDACTED}"


def secret_end(text: str, secret: Tuple[str, ...], start: int = 0, loose: bool = False) -> int:
    """Return where the value of the first secret header of a text begins; -1 if there is none.

    `loose`: the name alone is enough, without a colon, an equals sign or a quote and a comma.
    """
    lower = text.replace("\u0130", "I").lower()  # whose small letter is two characters
    first = -1
    for name in filter(None, secret):
        place = lower.find(name, start)
        while place >= 0 and (first < 0 or place < first):
            end = place + len(name)
            if not (place and WORD.match(lower, place - 1)) and not WORD.match(lower, end):
                begins = _value_begins(text, end)
                begins = end if begins < 0 and loose else begins
                if begins >= 0 and (first < 0 or begins < first):
                    first = begins
            place = lower.find(name, place + 1)
    return first


def _value_begins(text: str, place: int) -> int:
    """Return the place behind what separates a name from its value; -1 if nothing does."""
    place = _skip_blanks(text, place)
    while text[place : place + 1] == "\\":
        place += 1
    is_quoted = text[place : place + 1] in ('"', "'") and place < len(text)
    place = _skip_blanks(text, place + is_quoted)
    signs = (":", "=", ",") if is_quoted else (":", "=")
    return place + 1 if text[place : place + 1] in signs else -1


def _skip_blanks(text: str, place: int) -> int:
    match = BLANKS.match(text, place)
    return match.end() if match else place


def raw_headers(value: str, secret: Tuple[str, ...]) -> Optional[str]:
    """Return header text without any readable header, redacted; None if the text only lists absent
    headers."""
    if value.strip(" ,{}") == "" or next(quoted_pairs(value), None):
        return None
    return first_name(value, secret)


def first_name(text: str, secret: Tuple[str, ...]) -> str:
    """Return what stands where a name does in a text of which no header can be read, the rest
    redacted: a value may stand anywhere there, under any name."""
    if not secret:
        return text
    begin = NAME_BEGINS.match(text)
    name = HEADER_NAME.match(text, begin.end() if begin else 0)
    end = name.end() if name else 0
    if WORD.match(text, end):  # longer than a name, or with digits in it
        return REDACTED
    return f"{text[:end]} {REDACTED}".strip() if text[end:].strip() else text


@cached(1_024)
def is_secret_text(text: str, secret: Tuple[str, ...]) -> bool:
    """Return whether a rule's target, as text, is a cookie or a secret header."""
    if secret_end(text, secret, loose=True) >= 0:
        return True
    is_cookie = "cookie" in text.lower().replace("cookies_names", "")
    return is_cookie and ("cookie" in secret or "set-cookie" in secret)


def is_secret_target(target: Any, secret: Tuple[str, ...]) -> bool:
    """Return whether a rule's target is a cookie or a secret header: `REQUEST_COOKIES:sid`,
    `REQUEST_HEADERS:Authorization`. Any other part of a request, such as `ARGS:password`, is secret
    if the setting lists its name. The names of cookies are no secrets."""
    if target is None:
        return False
    return is_secret_text(target if isinstance(target, str) else canonical(target), secret)


def is_secret_data(target: Any, data: Any, secret: Tuple[str, ...]) -> bool:
    """Return whether the data that a rule matched is that of a secret header: by its target, or by
    where it says that it was found."""
    if is_secret_target(target, secret):
        return True
    text = data if isinstance(data, str) else ""
    place = text.find(FOUND_WITHIN)
    return place >= 0 and is_secret_target(
        text[place + len(FOUND_WITHIN) :].partition(" ")[0], secret
    )


def named(fields: Dict[str, Any], secret: Tuple[str, ...]) -> str:
    """Return the key whose value is the name of a secret header, or several names with one in them;
    "" if there is none."""
    for key, value in fields.items():
        if (
            key.strip().lower() in NAME_KEYS
            and isinstance(value, str)
            and any(name.strip().lower() in secret for name in value.split(","))
        ):
            return key
    return ""


def walked(value: Any, secret: Tuple[str, ...], depth: int = 0) -> Any:
    """Return a copy of a value of any shape in which the values of secret headers are redacted:
    under the header's name, beside it, and after it in a text."""
    if isinstance(value, str):
        return unpaired(value, secret)
    if not isinstance(value, (dict, list)):
        return value
    if depth == MAX_DEPTH:
        return REDACTED
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str) and value[0].strip().lower() in secret:
            return [value[0], REDACTED]
        return [walked(inner, secret, depth + 1) for inner in value]
    name_key = named(value, secret)
    redacted: Dict[str, Any] = {}
    for key, inner in value.items():
        if key == name_key:
            redacted[key] = inner
        elif name_key or key.strip().lower() in secret:
            redacted[key] = REDACTED
        else:
            redacted[key] = walked(inner, secret, depth + 1)
    return redacted


def redact_header_text(value: Any, secret: Tuple[str, ...]) -> str:
    """Return header text in the vendor's form, without braces."""
    if not isinstance(value, str):
        return unpaired(canonical(walked(value, secret)), secret)
    fields = headers(value, secret)
    if not fields:  # none is there, or none can be read
        return first_name(value, secret) if parse_pairs(value) is None else value
    return json.dumps(fields, ensure_ascii=False)[1:-1]
