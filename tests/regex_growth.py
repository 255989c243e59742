"""Whether the time of a regular expression grows with its input, or faster: read from its parse
tree, not measured."""

from __future__ import annotations

import re
import warnings
from typing import Any, FrozenSet, Iterator, List, NamedTuple, Tuple

try:
    from re import _constants as constants
    from re import _parser as parser
except ImportError:  # before Python 3.11
    import sre_constants as constants
    import sre_parse as parser

# Characters by number; the last stands for all others.
ALL = frozenset(range(257))
CATEGORIES = {
    constants.CATEGORY_DIGIT: r"\d",
    constants.CATEGORY_NOT_DIGIT: r"\D",
    constants.CATEGORY_SPACE: r"\s",
    constants.CATEGORY_NOT_SPACE: r"\S",
    constants.CATEGORY_WORD: r"\w",
    constants.CATEGORY_NOT_WORD: r"\W",
}
REPEATS = {
    constants.MAX_REPEAT,
    constants.MIN_REPEAT,
    getattr(constants, "POSSESSIVE_REPEAT", constants.MAX_REPEAT),
}
ENDLESS = 1_000  # repetitions: fewer are a constant factor
Chars = FrozenSet[int]


class Part(NamedTuple):
    """A part of a sequence. `chars`: what it may hold anywhere; `first`: what it may begin with."""

    least: int
    most: int
    chars: Chars
    first: Chars
    body: Tuple[Tuple[Part, ...], ...] = ()  # alternatives, of a repeat

    @property
    def is_endless(self) -> bool:
        return self.most >= ENDLESS


def reasons(pattern: str, flags: int = 0, scans: bool = False) -> List[str]:
    """Return why the time of a pattern may grow faster than its input; nothing if it does not.

    `scans`: it is tried at every place of the input, as by `re.search`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = parser.parse(pattern, flags)
    flags |= tree.state.flags
    results = []
    for sequence in _sequences(tree, flags):
        results += list(_of_sequence(sequence))
        is_anchored = bool(tree) and tree[0] == (constants.AT, constants.AT_BEGINNING)
        if scans and not (is_anchored and not flags & re.MULTILINE):
            results += list(_of_scan(sequence))
    return results


def _of_sequence(parts: Tuple[Part, ...]) -> Iterator[str]:
    for number, part in enumerate(parts):
        if part.is_endless:
            yield from _of_body(part)
            for later in parts[number + 1 :]:
                if later.is_endless and later.first & part.chars:
                    yield "two endless repeats of the same characters follow each other"
                    break
                if later.most and later.least and not later.chars & part.chars:
                    break
        for sequence in part.body:
            yield from _of_sequence(sequence)


def _of_body(repeat: Part) -> Iterator[str]:
    """Each turn of an endless repeat must begin with what no other way through it can take."""
    for choice in [repeat, *(part for sequence in repeat.body for part in sequence)]:
        for number, sequence in enumerate(choice.body):
            for other in choice.body[number + 1 :]:
                if _first(sequence) & _first(other) or not (_least(sequence) or _least(other)):
                    yield "alternatives of an endless repeat begin alike"
    for sequence in repeat.body:
        for inner in sequence:
            if inner.is_endless and (inner is sequence[0] or inner.chars & _first(sequence)):
                yield "an endless repeat inside another"


def _least(parts: Tuple[Part, ...]) -> int:
    return sum(part.least for part in parts if part.most)


def _of_scan(parts: Tuple[Part, ...]) -> Iterator[str]:
    """Where a match can begin inside an endless repeat of another that fails, both are tried."""
    for number, part in enumerate(parts):
        fails_later = any(later.least for later in parts[number + 1 :])
        fits_inside = all(
            before.chars & part.chars for before in parts[:number] if before.least and before.most
        )
        if part.is_endless and fails_later and fits_inside:
            yield "a match can begin inside an endless repeat of another match"


def _first(parts: Tuple[Part, ...]) -> Chars:
    chars: Chars = frozenset()
    for part in parts:
        chars |= part.first
        if part.least and part.most:
            break
    return chars


def _sequences(tree: Any, flags: int) -> List[Tuple[Part, ...]]:
    """Return the alternatives of a tree. Those inside a sequence are one part of it."""
    if len(tree) == 1 and tree[0][0] is constants.BRANCH:
        return [part for item in tree[0][1][1] for part in _sequences(item, flags)]
    if len(tree) == 1 and tree[0][0] is constants.SUBPATTERN:
        return _sequences(tree[0][1][-1], flags)
    return [tuple(_parts(tree, flags))]


def _parts(tree: Any, flags: int) -> Iterator[Part]:
    for kind, value in tree:
        if kind in REPEATS:
            least, most, inner = value
            body = _sequences(inner, flags)
            least = least if all(map(_least, body)) else 0
            yield Part(least, most, _chars(body), _union(map(_first, body)), tuple(body))
        elif kind is constants.SUBPATTERN or kind is getattr(constants, "ATOMIC_GROUP", None):
            yield from _parts(value[-1] if isinstance(value, tuple) else value, flags)
        elif kind is constants.BRANCH:
            body = [way for item in value[1] for way in _sequences(item, flags)]
            least = min(map(_least, body))
            yield Part(least, 1, _chars(body), _union(map(_first, body)), tuple(body))
        elif kind in (constants.AT, constants.ASSERT, constants.ASSERT_NOT):
            yield Part(1, 0, frozenset(), frozenset())  # it may fail, and holds nothing
        elif kind is constants.GROUPREF:
            yield Part(0, ENDLESS, ALL, ALL)
        else:
            chars = _set(kind, value, flags)
            yield Part(1, 1, chars, chars)


def _chars(body: List[Tuple[Part, ...]]) -> Chars:
    return _union(part.chars for sequence in body for part in sequence)


def _union(sets: Any) -> Chars:
    return frozenset().union(*sets)


def _set(kind: Any, value: Any, flags: int) -> Chars:
    """Return the characters of one place."""
    if kind is constants.ANY:
        return ALL if flags & re.DOTALL else ALL - {10}
    if kind is constants.LITERAL:
        chars = frozenset([min(value, 256)])
    elif kind is constants.NOT_LITERAL:
        chars = ALL - {value}
    elif kind is constants.CATEGORY:
        is_one = re.compile(CATEGORIES[value]).match
        return frozenset(number for number in ALL if is_one(chr(number) if number < 256 else "Ω"))
    elif kind is constants.RANGE:
        chars = frozenset(min(number, 256) for number in range(value[0], min(value[1], 256) + 1))
    elif kind is constants.IN:
        negated = value[0][0] is constants.NEGATE
        chars = _union(_set(*item, flags) for item in value[negated:])
        return ALL - chars if negated else chars
    else:
        raise AssertionError(f"{kind} is not known here")
    if flags & re.IGNORECASE:
        chars |= frozenset(ord(chr(number).swapcase()) for number in chars if number < 128)
    return chars
