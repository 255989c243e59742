"""How much may be made of what a stranger sent, counted in its bytes before there is any object.
Pure.

Fifteen kilobytes of gzip hold eight million lines, and two bytes of JSON are an object of a
hundred: a bound on bytes bounds no memory.
"""

from __future__ import annotations

import json
import re
from typing import Any, List, Tuple, Union

ELEMENTS = 1_000_000  # of one JSON document; each takes up to 105 bytes of memory
RECORDS = 20_000  # of one payload
# characters: a line or an element of any vendor has more, so a text holds no more records than it
# has room for
SHORTEST = 64
FEW = 100  # records that any text may hold, however short they are
TEXT = 2 * 1024 * 1024  # characters of a text that is kept whole
LINES = 2_000  # of a file or a stream that are handed on together
SEEN_AS_BLANK = re.compile(r"[\0 \t\r\n]*")
LINE_END = re.compile(r"[\r\n]|\Z")
# A JSON string, ended or not: there is no second try at any place, so it takes no longer than the
# text.
STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
STRINGS_IN_BYTES = re.compile(STRINGS.pattern.encode(), re.DOTALL)


class TooMany(ValueError):
    """More elements than may be made."""


def elements(text: Union[str, bytes]) -> int:
    """Return an upper bound of the values in a JSON text, without making any: each stands behind
    one of four signs.

    Where they are too many, those inside strings do not count: an attacker writes as many commas as
    he likes.
    """
    found = _signs(text)
    if found > ELEMENTS:
        found = _signs(
            STRINGS.sub("", text) if isinstance(text, str) else STRINGS_IN_BYTES.sub(b"", text)
        )
    return found


def _signs(text: Union[str, bytes]) -> int:
    signs: Tuple[Any, ...] = (
        ("{", "[", ",", ":") if isinstance(text, str) else (b"{", b"[", b",", b":")
    )
    return sum(text.count(sign) for sign in signs)


def parse(text: str, **hooks: Any) -> Any:
    """Return the value of a JSON text; TooMany, which is a ValueError as all that is no JSON,
    before it is made. `hooks`: of json.loads."""
    if len(text) > ELEMENTS and elements(text) > ELEMENTS:
        raise TooMany(f"more than {ELEMENTS:,} elements in one JSON document")
    return json.loads(text, **hooks)


def room(text: str) -> int:
    """Return how many records a text may hold, beside one for what is beyond them."""
    return min(RECORDS - 1, max(FEW, len(text) // SHORTEST))


def lines(text: str) -> Tuple[List[str], str]:
    """Return the lines that are not blank, as many as the text may hold, and the text of the
    others.

    Lines that a vendor may have sent are all there, whatever stands between them: only shorter ones
    are too many.
    """
    found: List[str] = []
    others: List[str] = []
    at, most, seen = 0, room(text), 0
    while True:
        start = SEEN_AS_BLANK.match(text, at).end()  # type: ignore[union-attr] # it matches nothing, too
        if start == len(text):
            return found, "\n".join(others)
        begin = max(at, text.rfind("\n", at, start) + 1, text.rfind("\r", at, start) + 1)
        if seen == RECORDS:
            return found, "\n".join([*others, text[begin:]])
        seen += 1
        at = LINE_END.search(text, start).start()  # type: ignore[union-attr] # the end of the text is one
        if at - begin >= SHORTEST or len(found) < most:
            found.append(text[begin:at])
        else:
            others.append(text[begin:at])


def kept(text: str) -> str:
    """Return a text as it may be kept in one event: whole, or its beginning and how much more
    there was."""
    return (
        text
        if len(text) <= TEXT
        else f"{text[:TEXT]} [and {len(text) - TEXT:,} more characters, which are not kept]"
    )
