"""The emitter's first part: bind the values that a table names, note whether there are others."""

from __future__ import annotations

from typing import Dict, FrozenSet, Iterable, Iterator, List, Tuple

from .paths import EACH, Place, Step, is_each, is_list, kind_of, places_inside, steps_of
from .plan import Plan


def is_nested(plan: Plan) -> bool:
    """Return whether the table reads paths into nested objects or lists."""
    return len(plan.variables) > len(plan.keys)


def raw_value(plan: Plan, path: str) -> str:
    """Return the variable of a path's value, as sent; of the list of its values if there may be
    several."""
    return plan.lists.get(path) or plan.variables[path]


def known_names(plan: Plan) -> Dict[str, FrozenSet[str]]:
    """Return the names that a table knows inside each object, by variable."""
    return {
        _known(plan, path): frozenset(place.names)
        for path, place in places_inside(plan.record)
        if place.names
    }


def emit_reading(plan: Plan) -> Iterator[str]:
    """Read the time and every known key; note whether the record has others."""
    values = ", ".join(plan.variables[key] for key in plan.keys)
    yield "        try:"
    yield "            get, timestamp = record.get, clock(record)"
    yield "        except CONVERSION_ERRORS as error:"
    yield "            return unreadable(record, until, created, error)"
    yield "        try:"
    yield f"            {values}, = fetch(record)"
    yield "            has_other_keys = len(record) != len(KEYS)"
    yield "        except KeyError:"
    yield f"            {values}, = map(get, KEYS)"
    yield "            has_other_keys = True"
    if is_nested(plan):
        yield "        has_rest = has_other_keys and not KNOWN.issuperset(record)"
        for key, place in plan.record.names.items():
            for line in _lines_inside(plan, key, place, covered=False):
                yield " " * 8 + line if line else ""


def _lines_inside(plan: Plan, path: str, place: Place, covered: bool) -> Iterator[str]:
    """Bind what is named inside one value, if it is the object or the list that the table
    expects."""
    if not (place.names or place.items or place.each_places()):
        return
    value = plan.variables[path]
    covered = covered or place.covered
    direct = _direct(path, place)
    lists = _lists_begun(plan, path, place)
    yield ""
    yield f"# inside {path}"
    bound = [plan.variables[inner] for inner in direct] + lists
    if bound:
        yield f"{' = '.join(bound)} = None"
    word = "if"
    if place.names:
        yield f"if {value}.__class__ is dict:"
        yield from indented(_lines_of_object(plan, path, place, covered))
        word = "elif"
    if place.items or place.each_places():
        yield f"{word} {value}.__class__ is list:"
        lines = list(_lines_of_list(plan, path, place, covered, lists))
        yield from indented(lines or ["pass"])
        word = "elif"
    if not covered:
        yield f"{word} {value} is not None:"
        yield "    has_rest = True"
    for inner_path, inner in direct.items():
        yield from _lines_inside(plan, inner_path, inner, covered)


def _lists_begun(plan: Plan, path: str, place: Place) -> List[str]:
    """Return the variables of the lists of values whose outermost list is the value at a path."""
    if is_list(path):
        return []
    prefixes = tuple(path + step for step in place.each_places())
    named = {**plan.lists, **{f"{path} ": name for path, name in plan.places.items()}}
    return [variable for inner, variable in named.items() if inner.startswith(prefixes)]


def _direct(path: str, place: Place) -> Dict[str, Place]:
    """Return the places of names and of single elements inside a place, by path."""
    direct = {f"{path}.{name}": inner for name, inner in place.names.items()}
    direct.update((f"{path}[{index}]", inner) for index, inner in place.items.items())
    return direct


def _lines_of_object(plan: Plan, path: str, place: Place, covered: bool) -> Iterator[str]:
    value = plan.variables[path]
    variables = ", ".join(plan.variables[f"{path}.{name}"] for name in place.names)
    yield f"get = {value}.get"
    yield f"{variables} = {', '.join(f'get({name!r})' for name in place.names)}"
    if not covered:
        # not by length: a name may be missing and another be there
        yield f"if not {_known(plan, path)}.issuperset({value}):"
        yield "    has_rest = True"


def _lines_of_list(
    plan: Plan, path: str, place: Place, covered: bool, lists: List[str]
) -> Iterator[str]:
    """Bind single elements, and add the values in every element to their lists. `lists`: those that
    begin here."""
    value = plan.variables[path]
    for index in place.items:
        variable = plan.variables[f"{path}[{index}]"]
        yield f"{variable} = {value}[{index}] if len({value}) > {index} else None"
    if place.each is None and not covered:
        first = next(index for index in range(len(place.items) + 1) if index not in place.items)
        yield f"if len({value}) > {first}:"
        yield "    has_rest = True"
    if lists:
        yield f"{', '.join(lists)} = {', '.join('[]' for _ in lists)}"
    for step, inner in place.each_places().items():
        # of a kind of elements, `extra` has the rest: that a list has elements was noted above
        lines = list(_lines_of_each(plan, path + step, inner, covered or step != EACH))
        if not lines:
            continue
        item = plan.variables[path + step]
        if any(deep.startswith(path + step) for deep in plan.places):
            yield f"for {_index(plan, path + step)}, {item} in enumerate({value}):"
        else:
            yield f"for {item} in {value}:"
        if step == EACH:
            yield from indented(lines)
        else:
            name, wanted = kind_of(step)
            yield f"    if {item}.__class__ is dict and {item}.get({name!r}) == {wanted!r}:"
            yield from indented(indented(lines))


def _lines_of_each(plan: Plan, path: str, place: Place, covered: bool) -> Iterator[str]:
    """Bind what is named inside one element, and add it to the lists that end here."""
    yield from _lines_inside(plan, path, place, covered)
    for inner, variable in plan.lists.items():
        if inner.startswith(path) and not any(map(is_each, _steps_below(inner, path))):
            yield f"{variable}.append({plan.variables[inner]})"
            if inner in plan.places:
                yield f"{plan.places[inner]}.append(f{_place(plan, inner)!r})"


def _steps_below(path: str, above: str) -> Tuple[Step, ...]:
    return steps_of(path)[len(steps_of(above)) :]


def _place(plan: Plan, path: str) -> str:
    """Return the path of one value of several, its indexes as variables in braces."""
    above, place = "", ""
    for step in steps_of(path):
        if is_each(step):
            above += str(step)
            place += f"[{{{_index(plan, above)}}}]"
            continue
        part = f"[{step}]" if isinstance(step, int) else f".{step}" if above else step
        above += part
        place += part.replace("{", "{{").replace("}", "}}")
    return place


def _index(plan: Plan, path: str) -> str:
    return plan.variables[path].replace("raw", "at")


def indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"    {line}" if line else ""


def _known(plan: Plan, path: str) -> str:
    return plan.variables[path].replace("raw", "KNOWN")
