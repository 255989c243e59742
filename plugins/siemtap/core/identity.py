"""The id of an event, from the vendor's values only: never from our clock or settings.

The same recipe is written in Painless and CEL; `schemas/identity-vectors.json` holds all of them to
one result.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Iterable

BLANKS = " \t\n\r\f\v"  # ASCII only: what every runtime can trim in the same way
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def identify(dataset: str, values: Iterable[Any], record: Any = None) -> str:
    """Return the first 32 hex digits of SHA-256 over the dataset's name and the values, each as
    text, joined by newlines. If no value is there, the whole record identifies itself: two records
    are never the same event because they lack the same values."""
    texts = [spell(value) for value in values]
    if record is not None and not any(texts):
        texts = [spell(record)]
    return digest("\n".join([dataset, *texts]))


def digest(text: str) -> str:
    """Return the first 32 hex digits of SHA-256 over a text in UTF-8.

    Half a surrogate pair counts as U+FFFD: JSON that was read into UTF-8 holds that in its place.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        encoded = LONE_SURROGATE.sub("\ufffd", text).encode()
    return hashlib.sha256(encoded).hexdigest()[:32]


def sha256_hex(text: str) -> str:
    """Return SHA-256 of a text, in 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def spell(value: Any) -> str:
    """Return an identity value as text: a trimmed string, "" for None, a whole number in decimal,
    else canonical JSON."""
    if isinstance(value, str):
        return value.strip(BLANKS)
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return canonical(value)


def canonical(value: Any) -> str:
    """Return JSON with sorted keys, no blanks and no ASCII escaping, the same in every runtime.

    Always the standard library's, never a faster one's: an id must not depend on what is installed.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def digest_of(value: Any) -> str:
    """Return a SHA-256 of a value of any depth, for values that `canonical` cannot write. It is the
    same for the same value within this runtime only."""
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
