"""Limits on what is made of received data, checked on its bytes before there is any object.

A limit on bytes does not limit memory: fifteen kilobytes of gzip hold eight million lines, and two
bytes of JSON are an object of a hundred.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache, wraps
from typing import Any, Callable, List, Tuple, TypeVar, Union, cast

MAX_VALUES = 1_000_000  # of one JSON document; each takes up to 105 bytes of memory
MAX_RECORDS = 20_000  # of one payload
# characters: a line or an element of any vendor is longer, so the length of a text limits how many
# records it holds
MIN_RECORD = 64
FEW = 100  # records that any text may hold, however short they are
LONGEST_CACHED = 200  # characters: longer texts are converted each time, and kept nowhere
MAX_TEXT = 2 * 1024 * 1024  # characters of a text that is kept whole
LINES_PER_READ = 2_000  # of a file or a stream
BLANK = re.compile(r"[\0 \t\r\n]*")
LINE_END = re.compile(r"[\r\n]|\Z")
# A JSON string, terminated or not: it matches at the first attempt everywhere, in linear time.
STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
STRINGS_IN_BYTES = re.compile(STRINGS.pattern.encode(), re.DOTALL)


Function = TypeVar("Function", bound=Callable[..., Any])


class TooLong(Exception):
    """A value that is not kept in a cache."""


def kept(size: int, typed: bool = False) -> Callable[[Function], Function]:
    """Return a decorator like `lru_cache`; the function raises TooLong, without being called, for
    a text that is not kept. `__wrapped__` is the function itself.

    A cache of texts that a sender chose would hold thousands of them, however long they are. What
    is in the cache was measured when it came there, so that a hit costs no more than `lru_cache`.
    """

    def decorate(function: Function) -> Function:
        @lru_cache(size, typed)
        def call(*values: Any) -> Any:
            for value in values:
                parts = value if value.__class__ is tuple else (value,)
                if any(part.__class__ is str and len(part) > LONGEST_CACHED for part in parts):
                    raise TooLong
            return function(*values)

        call.__wrapped__ = function
        return cast(Function, call)

    return decorate


def cached(size: int, typed: bool = False) -> Callable[[Function], Function]:
    """Return a decorator like `lru_cache` that keeps results of short values only."""

    def decorate(function: Function) -> Function:
        keeping = kept(size, typed)(function)

        @wraps(function)
        def call(*values: Any) -> Any:
            try:
                return keeping(*values)
            except TooLong:
                return function(*values)

        return cast(Function, call)

    return decorate


class TooMany(ValueError):
    """A JSON document with more values than MAX_VALUES."""


def count_values(text: Union[str, bytes]) -> int:
    """Return an upper bound of the values in a JSON text, without parsing it: each value stands
    behind one of four characters. Those inside strings are not counted once they would be too
    many."""
    count = _count_delimiters(text)
    if count <= MAX_VALUES:
        return count
    if isinstance(text, str):
        return _count_delimiters(STRINGS.sub("", text))
    return _count_delimiters(STRINGS_IN_BYTES.sub(b"", text))


def _count_delimiters(text: Union[str, bytes]) -> int:
    if isinstance(text, str):
        return sum(text.count(delimiter) for delimiter in "{[,:")
    return sum(text.count(delimiter) for delimiter in (b"{", b"[", b",", b":"))


def parse_json(text: str, **hooks: Any) -> Any:
    """Return the value of a JSON text. TooMany, a ValueError like that of invalid JSON, for too
    many values. `hooks`: of json.loads."""
    if len(text) > MAX_VALUES and count_values(text) > MAX_VALUES:
        raise TooMany(f"more than {MAX_VALUES:,} elements in one JSON document")
    return json.loads(text, **hooks)


def max_records(text: str) -> int:
    """Return how many records a text may hold, besides one for the rest of it."""
    return min(MAX_RECORDS - 1, max(FEW, len(text) // MIN_RECORD))


def split_lines(text: str) -> Tuple[List[str], str]:
    """Return the lines that are not blank, as many as the text may hold, and the text of the rest.

    Lines of at least MIN_RECORD characters are all returned, whatever stands between them: only
    shorter lines can be too many.
    """
    if "\n" not in text and "\r" not in text:  # as from syslog
        return ([] if BLANK.fullmatch(text) else [text]), ""
    lines: List[str] = []
    rest: List[str] = []
    short_lines = max_records(text)
    position = 0
    count = 0
    while True:
        start = BLANK.match(text, position).end()  # type: ignore[union-attr] # it always matches
        if start == len(text):
            return lines, "\n".join(rest)
        begin = max(
            position,
            text.rfind("\n", position, start) + 1,
            text.rfind("\r", position, start) + 1,
        )
        if count == MAX_RECORDS:
            return lines, "\n".join([*rest, text[begin:]])
        count += 1
        position = LINE_END.search(text, start).start()  # type: ignore[union-attr] # it always matches
        if position - begin >= MIN_RECORD or len(lines) < short_lines:
            lines.append(text[begin:position])
        else:
            rest.append(text[begin:position])


def truncated(text: str) -> str:
    """Return a text as one event may keep it: whole, or its beginning and how much is missing."""
    if len(text) <= MAX_TEXT:
        return text
    return f"{text[:MAX_TEXT]} [and {len(text) - MAX_TEXT:,} more characters, which are not kept]"
