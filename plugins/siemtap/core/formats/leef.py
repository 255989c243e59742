"""IBM's Log Event Extended Format (LEEF), 1.0 and 2.0."""

from __future__ import annotations

import re
from typing import AbstractSet, Dict, List, Tuple

from ..errors import Malformed
from .cef import KEY, NO_PATHS, split_header, split_pairs, unescape_path

HEX = re.compile(r"(?:0x|x)([0-9A-Fa-f]{1,4})")
# Relays write a tab so: rsyslog escapes control characters, in octal.
RELAYED_TABS = ("#011", "<009>")
FEWEST_PAIRS = 3  # of a line whose tabs became blanks


def parse(text: str, paths: AbstractSet[str] = NO_PATHS) -> Tuple[Tuple[str, ...], Dict[str, str]]:
    """Read `LEEF:2.0|vendor|product|version|id|separator|` and the pairs behind it.

    LEEF 1.0 has no separator field and separates by tabs; in LEEF 2.0 the field is optional.
    Malformed if the text has no such header. paths: the keys whose values are paths of files.
    """
    start = text.find("LEEF:")
    if start < 0:
        raise Malformed("no LEEF")
    body = text[start + 5 :].lstrip(" ")
    header, rest = split_header(body, 5)
    if len(header) < 5:
        raise Malformed(f"a LEEF header of {len(header)} fields instead of 5")
    separator = "\t"
    field, bar, _ = rest[:7].partition("|")
    if body.startswith("2") and bar and _is_separator(field):
        separator = _separator(field)
        rest = rest[len(field) + 1 :]
    values = _split_pairs(rest, separator)
    escaped = {name: unescape_path(values[name]) for name in paths if name in values}
    return tuple(header), {**values, **escaped}


def _split_pairs(text: str, separator: str) -> Dict[str, str]:
    """Return the pairs of a text."""
    if separator == "\t" and "\t" not in text:
        separator = next((tab for tab in RELAYED_TABS if tab in text), separator)
        if separator == "\t" and len(KEY.findall(text)) >= FEWEST_PAIRS:
            return split_pairs(text)
    pairs: Dict[str, List[str]] = {}
    parts: List[str] = []
    for part in text.split(separator):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            parts = pairs[name.strip()] = [value]
        else:
            parts.append(part)  # of a value that holds the separator
    return {name: separator.join(value).strip() for name, value in pairs.items()}


def _is_separator(field: str) -> bool:
    """Return whether a text before a bar is the separator field, and not the first pair."""
    return len(field) < 2 or HEX.fullmatch(field.strip()) is not None


def _separator(field: str) -> str:
    """Return the separator: one character, or its number in hex."""
    match = HEX.fullmatch(field.strip())
    return chr(int(match[1], 16)) if match else field or "\t"
