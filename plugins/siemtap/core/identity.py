"""An event's name for ever, from the vendor's words only: never from our clock, never from our
settings.

The recipe is written again in Painless and CEL; `schemas/identity-vectors.json` holds them all to
one answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Iterable

BLANKS = " \t\n\r\f\v"  # ASCII only: what every runtime can trim alike
LONE = re.compile("[\ud800-\udfff]")


def identify(dataset: str, words: Iterable[Any]) -> str:
    """The first 32 hex digits of SHA-256 over the dataset's name and the words, each as text,
    joined by newlines."""
    return digest("\n".join([dataset, *map(spell, words)]))


def digest(text: str) -> str:
    """Return the first 32 hex digits of SHA-256 over a text in UTF-8.

    Half a surrogate pair is U+FFFD: that is what it has become wherever JSON is read into UTF-8.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        encoded = LONE.sub("\ufffd", text).encode()
    return hashlib.sha256(encoded).hexdigest()[:32]


def spell(word: Any) -> str:
    """A word as text: a string trimmed, a whole number in decimal, nothing as nothing, all else
    as canonical JSON."""
    if isinstance(word, str):
        return word.strip(BLANKS)
    if word is None:
        return ""
    if isinstance(word, float) and word.is_integer():
        word = int(word)
    return canonical(word)


def canonical(value: Any) -> str:
    """JSON in one spelling for every runtime: sorted keys, no blanks, no ASCII escaping. The
    standard library's, never a faster one's, so that an id does not depend on what is installed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def digest_of(value: Any) -> str:
    """SHA-256 of a value of any depth, where `canonical` gives up; alike for the same value in
    this runtime only."""
    total = hashlib.sha256()
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            text = f"object {len(value)}"
            waiting += [part for name in sorted(value, key=str) for part in (value[name], name)]
        elif isinstance(value, (list, tuple)):
            text = f"list {len(value)}"
            waiting += value
        elif isinstance(value, int):
            text = f"{type(value).__name__} {value:x}"  # of any length
        else:
            text = f"{type(value).__name__} {value}"
        total.update(f"{len(text)}:{text}".encode("utf-8", "surrogatepass"))
    return total.hexdigest()
