"""ArcSight's Common Event Format (CEF)."""

from __future__ import annotations

import re
from typing import AbstractSet, Dict, FrozenSet, List, Match, NamedTuple, Tuple

from ..errors import Malformed

KEY = re.compile(r"(?:^|\s)([A-Za-z0-9_.-]{1,128})=")
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
NO_PATHS: FrozenSet[str] = frozenset()


class Cef(NamedTuple):
    """`header`: version, vendor, product, product version, signature id, name, severity.
    `extension`: key -> value, without escapes. `is_cut`: the line ends inside an escape."""

    header: Tuple[str, ...]
    extension: Dict[str, str]
    is_cut: bool = False


def parse(text: str, paths: AbstractSet[str] = NO_PATHS) -> Cef:
    """Read `CEF:0|vendor|product|version|id|name|severity|extension`. Malformed if the text has no
    such header.

    paths: the keys, and the labels of custom keys, whose values are paths of files.
    """
    start = text.find("CEF:")
    if start < 0:
        raise Malformed("no CEF")
    header, rest = split_header(text[start + 4 :], 7)
    if len(header) < 7:
        raise Malformed(f"a CEF header of {len(header)} fields instead of 7")
    return Cef(tuple(header), *_parse_extension(rest, paths))


def split_header(text: str, number: int) -> Tuple[List[str], str]:
    """Return up to `number` fields, each ended by a bar that is not escaped, and the rest."""
    parts = text.split("|", number)
    if len(parts) > number and not any("\\" in part for part in parts[:number]):
        return [part.strip() for part in parts[:number]], parts[number]
    fields: List[str] = []
    begin = position = 0
    while len(fields) < number and position < len(text):
        if text[position] == "\\":
            position += 2
            continue
        if text[position] == "|":
            fields.append(ESCAPED.sub(r"\1", text[begin:position]).strip())
            begin = position + 1
        position += 1
    return fields, text[begin:]


def _parse_extension(text: str, paths: AbstractSet[str]) -> Tuple[Dict[str, str], bool]:
    """Return the pairs, and whether the text ends inside an escape."""
    pairs = split_pairs(text)
    values: Dict[str, str] = {}
    is_path = False
    for key, value in pairs.items():
        is_path = key in paths or pairs.get(f"{key}Label") in paths
        if "\\" in value:
            value = unescape_path(value) if is_path else ESCAPED.sub(_unescape, value)
        values[key] = value
    last = next(reversed(pairs.values()), text)
    return values, not is_path and _ends_inside_escape(last)


def split_pairs(text: str) -> Dict[str, str]:
    """Return the pairs of `key=value key=value`, as they are written. A value ends at the next key
    and may hold blanks; an escaped `=` begins no key."""
    _, *parts = KEY.split(text)
    keys = parts[::2]
    values = [value.strip() for value in parts[1::2]]
    pairs = dict(zip(keys, values))
    if len(pairs) < len(keys):
        for key, value in zip(keys, values):
            pairs.pop(key, None)  # of a key twice, the last counts, in its place
            pairs[key] = value
    return pairs


def unescape_path(text: str) -> str:
    """Return a path without escapes. No line break and no tab can stand in a path: where a single
    backslash separates, the sender did not escape, and `\\\\` at the beginning is a server's."""
    is_plain = _ends_inside_escape(text) or any(
        match[1] not in "\\=|" for match in ESCAPED.finditer(text)
    )
    start = 2 if is_plain and text.startswith("\\\\") else 0
    return text[:start] + ESCAPED.sub(_unescape_separator, text[start:])


def _ends_inside_escape(text: str) -> bool:
    return ESCAPED.sub("", text.rstrip()).endswith("\\")


def _unescape_separator(match: Match[str]) -> str:
    return match[1] if match[1] in "\\=|" else match[0]


def _unescape(match: Match[str]) -> str:
    """Return the character of an escape; a backslash before any other character stays."""
    character = match[1]
    if character == "n":
        return "\n"
    if character == "r":
        return "\r"
    return character if character in "\\=|" else match[0]
