"""Converters that declare what they are.

Python runs them as any other; what writes the mapping in another language (elastic/painless.py)
writes them from the declaration, so that nobody has to write them twice. A converter that no
declaration fits is a function, with a twin of its own in the other language.

    port = integer_within(0, 65_535)
    transport = each(lower, lookup({"tcp": "6", "udp": "17"}, const(None), lower=True))
"""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping, NamedTuple, Optional, Tuple, TypeVar, Union

from .bounds import cached
from .convert import FieldType, LongText, StoredText, text

Convert = Callable[..., Any]
Function = TypeVar("Function", bound=Callable[..., Any])
CACHE_SIZE = 1_024  # values of a converter that makes several fields


class Integer(NamedTuple):
    """A whole number, as a number or as text. `least`, `most`: outside, it is refused.
    `nothing`: the number that means that there is none."""

    least: Optional[int] = None
    most: Optional[int] = None
    nothing: Optional[int] = None


class Text(NamedTuple):
    """A text as it is, in a field of this type."""

    kind: FieldType


class Lower(NamedTuple):
    """The text in lower case."""


class Const(NamedTuple):
    """The same for every value."""

    value: Any


class Lookup(NamedTuple):
    """What a table has for the text. `otherwise`: the converter of any other value; without one,
    it is refused. `lower`: the text is trimmed and read in lower case."""

    values: Mapping[str, Any]
    otherwise: Optional[Convert]
    lower: bool


class Match(NamedTuple):
    """Groups of a regular expression that fits the whole text; any other text is refused.
    `parts`: (number of the group, its converter). The expression has the same meaning in Python
    and Java: classes such as [0-9], not \\d."""

    pattern: str
    parts: Tuple[Tuple[int, Convert], ...]


class Each(NamedTuple):
    """Several converters of one value."""

    parts: Tuple[Convert, ...]


Declared = Union[Text, Integer, Lower, Const, Lookup, Match, Each]


def declared(declaration: Declared) -> Callable[[Function], Function]:
    """Mark a converter with its declaration."""

    def mark(convert: Function) -> Function:
        convert.declared = declaration  # type: ignore[attr-defined]
        return convert

    return mark


def declaration_of(convert: Convert) -> Optional[Declared]:
    """Return what a converter declares; None for a function that has a twin."""
    declaration: Optional[Declared] = getattr(convert, "declared", None)
    return declaration


@declared(Integer())
def integer(value: Any) -> int:
    """A whole number, as a number or as text."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("not a whole number")
    return int(value)


@declared(Text(FieldType("wildcard")))
def long_text(value: Any) -> LongText:
    """A text that people search for a part of: a payload, a command line."""
    return text(value)


@declared(Text(FieldType("keyword", indexed=False)))
def stored_text(value: Any) -> StoredText:
    """A text that is shown and never searched, of any length."""
    return text(value)


@declared(Lower())
def lower(value: Any) -> str:
    """The text in lower case."""
    return text(value).lower()


def integer_within(
    least: Optional[int] = None, most: Optional[int] = None, nothing: Optional[int] = None
) -> Convert:
    """Return a converter of whole numbers within bounds, as `Integer` says."""

    @declared(Integer(least, most, nothing))
    def integer_within(value: Any) -> Optional[int]:
        number = integer(value)
        if (least is not None and number < least) or (most is not None and number > most):
            raise ValueError(f"not a whole number from {least} to {most}")
        return None if number == nothing else number

    return integer_within


def const(value: Any) -> Convert:
    """Return a converter whose result is always the same, as `Const` says."""

    @declared(Const(value))
    def const(_: Any) -> Any:
        return value

    return const


def lookup(
    values: Mapping[str, Any], otherwise: Optional[Convert] = None, lower: bool = False
) -> Convert:
    """Return a converter that has a table of values, as `Lookup` says."""

    @declared(Lookup(values, otherwise, lower))
    def lookup(value: Any) -> Any:
        key = text(value).strip().lower() if lower else text(value)
        if key in values:
            return values[key]
        if otherwise is None:
            raise ValueError("not a known value")
        return otherwise(value)

    return lookup


def match(pattern: str, *parts: Tuple[int, Convert]) -> Convert:
    """Return a converter of the groups of a regular expression, as `Match` says."""
    compiled = re.compile(pattern)

    @declared(Match(pattern, parts))
    @cached(CACHE_SIZE, typed=True)
    def match(value: Any) -> Tuple[Any, ...]:
        groups = compiled.fullmatch(text(value))
        if not groups:
            raise ValueError("does not match the pattern")
        return tuple(convert(groups[group]) for group, convert in parts)

    return match


def each(*parts: Convert) -> Convert:
    """Return a converter that gives one value to several converters, as `Each` says."""
    distinct = tuple(dict.fromkeys(parts))
    places = tuple(map(distinct.index, parts))

    @declared(Each(parts))
    @cached(CACHE_SIZE, typed=True)
    def each(value: Any) -> Tuple[Any, ...]:
        results = [convert(value) for convert in distinct]
        return tuple(results[place] for place in places)

    return each
