"""Lines of attack.log -> records, in the shape of those of attacks.py."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from siemtap.core import bounds
from siemtap.core.convert import epoch
from siemtap.core.identity import canonical, sha256_hex
from siemtap.core.rows import Record

from . import attack_types
from .attacks import Query, base_record, identifier_fields
from .manifest import Settings
from .redaction import CLEAR_LOG_KEYS, next_sign

# `attack_identifier_type` of attack.log, lower case -> kind
LOG_KINDS = {
    "token": "access_token",
    "oauth token": "access_token",
    "oauth_token": "access_token",
    "access_token": "access_token",
    "cookie": "cookie",
    "ip": "ip",
    "api key": "api_key",
    "api_key": "api_key",
    "apikey": "api_key",
    "user name": "username",
    "username": "username",
    "user_name": "username",
}
# an identifier type that the vendor does not document
UNKNOWN_KIND = re.compile(r"[a-z]{1,16}(?:[ _-][a-z]{1,16})?")
MAX_LINES = 64  # of one object
MAX_BRACES = 16  # in the text before the JSON of a line
LOG_KEYS = (*CLEAR_LOG_KEYS, "attack_key", "attack_value")
# Keys of a record that have a meaning here; a key of attack.log with such a name has another one.
RECORD_KEYS = frozenset(
    (
        "attack_type",
        "company",
        "name",
        "earlier_date",
        "later_date",
        "ddos_info",
        "access_time",
        "attack_code",
        "attack_deviation",
        "identifier",
    )
)


def join_lines(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines; an object that stands on several, as on the vendor's page, as one. A break
    inside a text is none of these: the line was cut there."""
    waiting: List[str] = []
    for line in lines:
        if waiting and not (len(waiting) < MAX_LINES and _goes_on(waiting[-1], line)):
            yield " ".join(waiting)
            waiting = []
        if waiting or "{" in line:
            waiting.append(line)
        else:
            yield line
    if waiting:
        yield " ".join(waiting)


def _goes_on(line: str, following: str) -> bool:
    """Return whether an object, which has no other inside, goes on in the following line."""
    text, start = line.rstrip(), following.lstrip()
    if text.endswith("}") or "{" in following:
        return False
    return text.endswith(("{", ",", ":")) or start.startswith(("}", ",", ":"))


def parse_log_line(line: str, settings: Settings) -> List[Record]:
    """Return the record of a line of attack.log, or of the message of its syslog form.

    A line is optional text, then a JSON object with text values. A blank line has no record; a
    line that cannot be read is returned whole, as a record that cannot be mapped.
    """
    element = element_of(line)
    if element is None:
        return [{"line": line}] if line.strip() else []
    fields = dict.fromkeys(LOG_KEYS)
    fields.update(element)
    name = _text(fields["description"])
    id = _text(fields["attack_id"])
    across = fields["attacked_api"] == "MULTI_API" or _text(
        fields["attack_scope"]
    ).upper().startswith("MULTI")
    try:
        timestamp: Optional[str] = epoch(fields["timestamp"])
    except ValueError:
        timestamp = None
    return [
        {
            **base_record({}, Query()),
            "attack_type": name,
            "@name": name or id,
            "@api": fields["attacked_api"] or "",
            "@scope": attack_types.ACROSS if across else attack_types.API,
            "@type": id or None,
            **_log_identifier(fields, settings),
            "access_time": str(fields["timestamp"] or ""),
            "@when": timestamp,
            "@time_source": "access_time" if timestamp else "arrival",
            "@protocol": fields["protocol"],
            "@bucket": fields["attack_bucket"],
            "@identifier_name": fields["attack_key"],
            "@report": None,
            "@element": sha256_hex(canonical(element)),
            **{
                f"_{key}" if key.startswith("@") or key in RECORD_KEYS else key: value
                for key, value in element.items()
                if key not in LOG_KEYS
            },
        }
    ]


def _log_identifier(fields: Mapping[str, Any], settings: Settings) -> Record:
    """Return the identifier fields of an attack.log line. The value of an unknown type is
    hashed."""
    type_name = _text(fields["attack_identifier_type"]).lower()
    value = fields["attack_value"]
    if type_name in LOG_KINDS:
        return identifier_fields(LOG_KINDS[type_name], value, settings)
    kind = type_name if UNKNOWN_KIND.fullmatch(type_name) else "unknown"
    return {"@who": (kind, sha256_hex(str(value)))}


def element_of(line: str) -> Optional[Dict[str, Any]]:
    """Return the JSON object at the end of a line.

    None if there is none, if it does not have the documented shape, or if a key occurs twice: which
    of the two values counts is not defined.
    """
    start = line.find("{")
    for _ in range(MAX_BRACES):
        if start >= 0 and next_sign(line, start + 1) not in ('"', "}"):
            start = line.find("{", start + 1)
    if start < 0:
        return None
    try:
        element = bounds.parse_json(
            line[start:], object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):
        return None
    has_shape = (
        isinstance(element, dict)
        and "attack_identifier_type" in element
        and not any(isinstance(element.get(key), (dict, list)) for key in LOG_KEYS)
    )
    return element if has_shape else None


def _unique_keys(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    element = dict(pairs)
    if len(element) != len(pairs):
        raise ValueError("a key twice")
    return element


def _refuse_constant(constant: str) -> Any:
    """Refuse NaN and Infinity, which Python's parser accepts."""
    raise ValueError(f"{constant} is no JSON")


def _text(value: Any) -> str:
    return str(value or "").strip()
