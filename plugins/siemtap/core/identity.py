"""An event's name for ever, from the vendor's words only: never from our clock, never from our settings.

The recipe is written again in Painless and CEL; `schemas/identity-vectors.json` holds them all to one answer.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Iterable

BLANKS = " \t\n\r\f\v"      # ASCII only: what every runtime can trim alike


def identify(dataset: str, words: Iterable[Any]) -> str:
    """The first 32 hex digits of SHA-256 over the dataset's name and the words, each as text, joined by newlines."""
    return digest("\n".join([dataset, *map(spell, words)]))


def digest(said: str) -> str:
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def spell(word: Any) -> str:
    """A word as text: a string trimmed, a whole number in decimal, nothing as nothing, all else as canonical JSON."""
    if isinstance(word, str):
        return word.strip(BLANKS)
    if word is None:
        return ""
    if isinstance(word, float) and word.is_integer():
        word = int(word)
    return canonical(word)


def canonical(value: Any) -> str:
    """JSON in one spelling for every runtime: sorted keys, no blanks, no ASCII escaping. The standard library's,
    never a faster one's, so that an id does not depend on what is installed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
