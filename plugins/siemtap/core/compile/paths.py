"""Paths into a nested record: the places that a table names, and what is left of a record.

`actor.ip` is a name inside an object, `indicators[0].value` one in the first element of a list,
`indicators[].value` one in every element, `indicators[type=ip].value` one in every element that is
an object whose `type` is the text `ip`. A path into lists of lists reads all values, in order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Collection, Dict, Iterable, Iterator, List, Optional, Tuple, TypeVar, Union

EACH = "[]"
Step = Union[str, int]  # a name, the index of an element, EACH, or a kind of elements: [type=ip]
NAME = r"[^.\[\]]+(?:\[(?:0|[1-9][0-9]*|[^.\[\]=]+=[^\[\]]+)?\])*"
PATH = re.compile(rf"{NAME}(?:\.{NAME})*")
STEP = re.compile(r"\[[^\]]*\]|[^.\[\]]+")
Key = TypeVar("Key", str, int)


@dataclass
class Place:
    """A place in a record: one that a table names, or one on the way there."""

    covered: bool = False  # the table names it: nothing of it is left
    names: Dict[str, Place] = field(default_factory=dict)  # inside an object
    items: Dict[int, Place] = field(default_factory=dict)  # in a list, by index
    each: Optional[Place] = None  # every element of a list
    kinds: Dict[str, Place] = field(default_factory=dict)  # elements of a list, by step

    def inner(self, step: Step) -> Place:
        """Return the place one step further, a new one if need be."""
        if isinstance(step, int):
            return self.items.setdefault(step, Place())
        if step == EACH:
            self.each = self.each or Place()
            return self.each
        if is_each(step):
            return self.kinds.setdefault(step, Place())
        return self.names.setdefault(step, Place())

    def each_places(self) -> Dict[str, Place]:
        """Return the places of several elements of a list, by step."""
        return {EACH: self.each, **self.kinds} if self.each else self.kinds

    def element(self, index: int, item: Any) -> Optional[Place]:
        """Return the place of one element of a list."""
        place = _union(self.items.get(index), self.each)
        for step, kind in self.kinds.items():
            name, value = kind_of(step)
            if item.__class__ is dict and item.get(name) == value:
                place = _union(place, kind)
        return place


@cache
def steps_of(path: str) -> Tuple[Step, ...]:
    """Return the steps of a path. ValueError if it has not the form of one."""
    if not PATH.fullmatch(path):
        raise ValueError(
            f"{path!r} is not a path such as actor.ip, items[0].id, items[].id or items[type=ip].id"
        )
    return tuple(
        int(step[1:-1]) if step[0] == "[" and step[1:-1].isdigit() else step
        for step in STEP.findall(path)
    )


def is_each(step: Step) -> bool:
    """Return whether a step leads to several elements of a list."""
    return isinstance(step, str) and step[0] == "["


def kind_of(step: str) -> Tuple[str, str]:
    """Return name and value of a kind of elements: [type=ip] -> (type, ip)."""
    name, _, value = step[1:-1].partition("=")
    return name, value


def is_list(path: str) -> bool:
    """Return whether a path reads a list of values."""
    return any(map(is_each, steps_of(path)))


def is_deep(path: str) -> bool:
    """Return whether the index of a value that a path reads does not tell its place: the path leads
    through several lists, or to some elements of one."""
    several = [step for step in steps_of(path) if is_each(step)]
    return len(several) > 1 or several not in ([], [EACH])


def place_of(paths: Iterable[str]) -> Place:
    """Return the record as the place around all places of these paths."""
    record = Place()
    for path in paths:
        place = record
        for step in steps_of(path):
            place = place.inner(step)
        place.covered = True
    _share_each(record)
    return record


def _share_each(place: Place) -> None:
    """Let the place of one element have what is named in every element, too."""
    for index, item in place.items.items():
        place.items[index] = _union(item, place.each) or item
    several = place.each_places().values()
    for inner in [*place.names.values(), *place.items.values(), *several]:
        _share_each(inner)


def _union(first: Optional[Place], second: Optional[Place]) -> Optional[Place]:
    if first is None or second is None:
        return first or second
    return Place(
        first.covered or second.covered,
        _union_of(first.names, second.names),
        _union_of(first.items, second.items),
        _union(first.each, second.each),
        _union_of(first.kinds, second.kinds),
    )


def _union_of(first: Dict[Key, Place], second: Dict[Key, Place]) -> Dict[Key, Place]:
    return {key: _union(first.get(key), second.get(key)) or Place() for key in {**first, **second}}


def places_inside(place: Place, path: str = "") -> Iterator[Tuple[str, Place]]:
    """Yield the path of every place inside another, and the place; outer ones first."""
    prefix = f"{path}." if path else ""
    inside = [(f"{prefix}{name}", inner) for name, inner in place.names.items()]
    inside += [(f"{path}[{index}]", inner) for index, inner in place.items.items()]
    inside += [(f"{path}{step}", inner) for step, inner in place.each_places().items()]
    for inner_path, inner in inside:
        yield inner_path, inner
        yield from places_inside(inner, inner_path)


def unread(
    value: Any,
    place: Place,
    refused: Collection[str],
    path: str = "",
    covered: bool = False,
) -> Any:
    """Return what the table does not name of a value, nested as it is; None for nothing.

    refused: paths of values that are kept although the table names them. A list keeps its length,
    with None for what is not kept. A value that is not the object or the list that the table
    expects there is kept as it is. covered: the table names an object or a list around the value.
    """
    if path in refused:
        return value.strip() if value.__class__ is str else value
    covered = covered or place.covered
    if value.__class__ is dict and place.names:
        kept = {}
        for name, inner in value.items():
            if name in place.names:
                inner_path = f"{path}.{name}" if path else name
                inner = unread(inner, place.names[name], refused, inner_path, covered)
                if inner is not None:
                    kept[name] = inner
            elif not covered:
                kept[name] = inner
        return kept or None
    if value.__class__ is list and (place.items or place.each or place.kinds):
        items = []
        for index, item in enumerate(value):
            inner_place = place.element(index, item)
            if inner_place:
                item = unread(item, inner_place, refused, f"{path}[{index}]", covered)
            elif covered:
                item = None
            items.append(item)
        return items if any(item is not None for item in items) else None
    return None if covered else value


def collect(parent: Dict[str, Any], name: str, values: List[Any]) -> None:
    """Add several values to a list of different ones: `related.ip` of a row."""
    there = parent.setdefault(name, [])
    try:
        parent[name] = list(dict.fromkeys([*there, *values]))
    except TypeError:  # an object, of a converter that returns the vendor's values
        there += [value for value in values if value not in there]
