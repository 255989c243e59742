"""An event as its line in Splunk: what the add-on's knowledge reads stands where Splunk extracts
fields from, and is shortened where it does not fit."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any, Callable, Dict, Iterable, List

from ...core.rows import Dataset, Event
from ..encode import UNSAFE, encode
from .compact import cim_paths, compact, duplicate_paths, sources, value_paths

EXTRACTED_BYTES = 5_000  # at the start of an event, from which Splunk extracts fields
EXTRACTED_FIELDS = 100
# What eventtypes, dashboards and searches read besides the CIM's fields
READ_ALWAYS = ("@timestamp", "event.id", "event.kind", "error.message")
# What an event has in which values are shortened: that it is so, the characters of those whose
# length the CIM wants, and, at the end of the event, the whole values
SHORTENED, LENGTH, WHOLE = "splunk.shortened", "splunk.length.", "splunk.whole."


def line_encoder(dataset: Dataset) -> Callable[[Event], bytes]:
    """Return a function that encodes an event as its line in Splunk.

    Each field that the add-on's knowledge reads ends within the first EXTRACTED_BYTES, whatever the
    length of any value. Where they do not fit, the longest are shortened, and their whole values
    stand at the end.
    """
    compact_event = compact(dataset)
    arrange = _arrangement(dataset)

    def encode_line(event: Event) -> bytes:
        short = compact_event(event)
        line = encode(short)
        # a colon behind a quotation mark follows each name, and may be a part of a text
        if _indexed_bytes(line) <= EXTRACTED_BYTES and line.count(b'":') <= EXTRACTED_FIELDS:
            return line
        return encode(arrange(short))

    return encode_line


def _arrangement(dataset: Dataset) -> Callable[[Event], Event]:
    """Return a function that puts what the knowledge reads first, shortened where it must be."""
    alternatives = duplicate_paths(dataset)
    read: Dict[str, None] = dict.fromkeys(READ_ALWAYS)  # ordered, each once
    read.update(dict.fromkeys(filter(None, [dataset.cim.by])))
    for path in cim_paths(dataset):
        read.update(dict.fromkeys(sources(path, alternatives)))
    measured = {
        source
        for _, _, rule in dataset.cim.rules()
        if "length" in rule
        for path in value_paths(rule)
        for source in sources(path, alternatives)
    }

    def arrange(short: Event) -> Event:
        rest = deepcopy(short)
        first = {path: value for path in read for value in _take(rest, path)}
        lengths = {
            LENGTH + path: len(value)
            for path, value in first.items()
            if path in measured and value.__class__ is str
        }
        names_size = sum(len(name) + len('"":,') for name in (*first, *lengths, SHORTENED))
        room = EXTRACTED_BYTES - len("{true") - names_size - sum(map(_size, lengths.values()))
        sizes = {path: _size(value) for path, value in first.items()}
        most = _share(sizes.values(), room)
        whole = {path: value for path, value in first.items() if sizes[path] > most}
        if not whole:
            return {**first, **rest}
        shortened = {path: _shorten(value, most) for path, value in whole.items()}
        return {
            SHORTENED: True,
            **{**first, **shortened},
            **{name: size for name, size in lengths.items() if name[len(LENGTH) :] in whole},
            **rest,
            **{WHOLE + path: value for path, value in whole.items()},
        }

    return arrange


def _take(tree: Event, path: str) -> List[Any]:
    """Remove the value at a path, whose objects may be joined to dotted keys. Return a list of it,
    or an empty list if it is missing or an object."""
    for name, value in tree.items():
        if name == path and value.__class__ is not dict:
            return [tree.pop(name)]
        if value.__class__ is dict and path.startswith(f"{name}."):
            taken = _take(value, path[len(name) + 1 :])
            if taken:
                if not value:
                    del tree[name]
                return taken
    return []


def _share(sizes: Iterable[int], room: int) -> int:
    """Return the most bytes that a value may have so that all fit into the room: the short ones
    leave the rest of their equal share to the others."""
    left = sorted(sizes)
    while left and left[0] <= room // len(left):
        room -= left.pop(0)
    return room // len(left) if left else EXTRACTED_BYTES


def _shorten(value: Any, most: int) -> Any:
    """Return the start of a text, or the first items of a list, in at most so many bytes. A value
    of another kind is returned as it is: none is long."""
    if value.__class__ not in (str, list):
        return value
    keep = min(len(value), most)
    while keep > 1 and _size(value[:keep]) > most:
        # a character has at most 6 bytes in JSON
        surplus = _size(value[:keep]) - most
        keep -= max(1, surplus // 6) if value.__class__ is str else max(1, keep // 8)
    start = value[:keep]
    if value.__class__ is list and _size(start) > most:
        return [_shorten(start[0], most - len("[]"))]
    return start


def _size(value: Any) -> int:
    """Return the bytes of a value in a line of JSON: a few too many for some characters, and the
    characters only of a text that is too long in any case."""
    if value.__class__ is str and len(value) > EXTRACTED_BYTES:
        return len(value)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    line = text.encode("utf-8", "surrogatepass")
    return _indexed_bytes(line) + 4 * len(UNSAFE.findall(line))


def _indexed_bytes(line: bytes) -> int:
    """Return the bytes of a line in the index, where a delete character is escaped."""
    return len(line) + 5 * line.count(b"\x7f")
