"""The rows of a mapping table in Painless: statements for a row, an expression for a converter."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any, Callable, Iterable, Iterator, List, Mapping, Tuple

from ..core.compile.paths import EACH, Place, is_deep, is_each, is_list, kind_of, steps_of
from ..core.convert import text
from ..core.declared import (
    Const,
    Each,
    Integer,
    Lookup,
    Lower,
    Match,
    Text,
    declaration_of,
)
from ..core.errors import ConfigError
from ..core.rows import (
    Field,
    Given,
    Join,
    Split,
    as_sent,
    is_collected,
    settings_read,
    targets_of,
)

# Python's own converters, and what the library calls them: `int` is a word of Painless
BUILTIN: Mapping[Any, str] = {int: "python_int", float: "python_float"}


def statements(rows: Iterable[Any], there: Mapping[str, str]) -> Iterator[str]:
    """Yield the statements of all rows, in their order. Neighbours that copy a text are one
    statement: a script has a greatest length."""
    for is_copy, group in groupby(rows, _is_copy):
        if is_copy:
            copied = [[row.source, *targets_of(row)] for row in group]
            yield f"texts(e, r, kept, conf, {literal(copied)});"
        else:
            for row in group:
                try:
                    yield from row_statements(row, there)
                except ConfigError as error:
                    source = row.source if isinstance(row.source, str) else ", ".join(row.source)
                    raise error.at(f'the row "{source}"') from None


def _is_copy(row: Any) -> bool:
    """Return whether a row copies a text from a key of the record."""
    return isinstance(row, Field) and row.convert is text and len(steps_of(row.source)) == 1


def row_statements(row: Any, there: Mapping[str, str]) -> Iterator[str]:
    if isinstance(row, Join):
        arguments = list(map(raw_value, row.source))
        yield (
            f"try {{ value = {call(row.convert, arguments, there)};"
            f" {_stored(row.target, 'value')} }}"
            " catch (Exception refused) { }"
        )
        return
    assert isinstance(row, (Field, Split))
    targets = (row.target,) if isinstance(row.target, str) else row.target
    value, parts = _values(row, there)
    if is_list(row.source):
        yield from _each_statements(row.source, targets, value, parts)
        return
    stores = " ".join(map(_stored, targets, parts))
    kept = f"refused_paths.add({quoted(row.source)})"
    if len(steps_of(row.source)) == 1:
        kept = f"keep(kept, {quoted(row.source)}, raw, conf)"
    yield f"raw = trimmed_value({raw_value(row.source)});"
    yield (
        f"if (raw != null) {{ try {{ value = {value}; {stores} }}"
        f" catch (Exception wrong) {{ {kept} }} }}"
    )


def _each_statements(
    source: str, targets: Tuple[str, ...], value: str, parts: List[str]
) -> Iterator[str]:
    """Convert the values of a list one by one; each field that is not collected is a list."""
    stores = [
        _stored(target, part)
        if is_collected(target)
        else f"if ({part} != null) {{ lists.get({place}).add({part}) }}"
        for place, (target, part) in enumerate(zip(targets, parts))
    ]
    lists = ", ".join("new ArrayList()" for _ in targets)
    if is_deep(source):
        values, item, path = places_of(source), "values.get(at).get(1)", "values.get(at).get(0)"
    else:
        before, _, after = source.partition(EACH)
        values, item = raw_value(source), "values.get(at)"
        path = f"{quoted(before + '[')} + at + {quoted(']' + after)}"
    yield f"values = {values}; lists = new ArrayList([{lists}]);"
    yield "for (int at = 0; values != null && at < values.size(); at++) {"
    yield f"raw = trimmed_value({item});"
    yield (
        f"if (raw != null) {{ try {{ value = {value}; {' '.join(stores)} }} catch (Exception wrong)"
        f" {{ refused_paths.add({path}) }} }}"
    )
    yield "}"
    for place, target in enumerate(targets):
        if not is_collected(target):
            yield (
                f"if (!lists.get({place}).isEmpty())"
                f" {{ put(e, {quoted(target)}, lists.get({place})) }}"
            )


def raw_value(path: str) -> str:
    """Return the expression for a path's value, as sent; for the list of them if there may be
    several."""
    steps = steps_of(path)
    if len(steps) == 1:
        return f"r.get({quoted(path)})"
    if not is_list(path):
        return f"inside(r, {literal(steps)})"
    if is_deep(path):
        return f"second_of({places_of(path)})"
    at = steps.index(EACH)
    return f"each_inside(inside(r, {literal(steps[:at])}), {literal(steps[at + 1 :])})"


def places_of(path: str) -> str:
    """Return the expression for the list of (path, value) of all values of a deep path."""
    steps = steps_of(path)
    at = next(place for place, step in enumerate(steps) if is_each(step))
    above = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" if place else step
        for place, step in enumerate(steps[:at])
    )
    below = [_step_literal(step) for step in steps[at:]]
    return f"places_inside({raw_value(above)}, {literal(below)}, {quoted(above)})"


def _step_literal(step: Any) -> Any:
    """Return a step as the function `places_inside` reads it: a list for several elements."""
    if not is_each(step):
        return step
    return [] if step == EACH else list(kind_of(step))


def place_literal(place: Place) -> str:
    """Return a place and those inside it, as the function `unread` of the library reads them."""
    parts = {"covered": "true"} if place.covered else {}
    if place.names:
        parts["names"] = _places_literal(place.names)
    if place.items:
        parts["items"] = _places_literal(place.items)
    if place.each:
        parts["each"] = place_literal(place.each)
    if place.kinds:
        kinds = [
            f"[{', '.join(map(quoted, kind_of(step)))}, {place_literal(inner)}]"
            for step, inner in place.kinds.items()
        ]
        parts["kinds"] = f"[{', '.join(kinds)}]"
    return f"[{', '.join(f'{quoted(name)}: {part}' for name, part in parts.items())}]"


def _places_literal(places: Mapping[Any, Place]) -> str:
    inner = (f"{quoted(str(step))}: {place_literal(place)}" for step, place in places.items())
    return f"[{', '.join(inner)}]"


def _values(row: Any, there: Mapping[str, str]) -> Tuple[str, List[str]]:
    """Return the expression for `value`, and for each target an expression that uses `value`."""
    declaration = declaration_of(row.convert)
    if isinstance(declaration, Each):
        distinct = list(dict.fromkeys(declaration.parts))
        made = ", ".join(call(part, ["raw"], there) for part in distinct)
        return f"[{made}]", [f"value.get({distinct.index(part)})" for part in declaration.parts]
    if isinstance(declaration, Match):
        pattern = declaration.pattern.replace("/", "\\/")
        return f"groups(raw, /{pattern}/)", [
            call(convert, [f"value.get({group})"], there) for group, convert in declaration.parts
        ]
    several = isinstance(row, Split)
    targets = (row.target,) if isinstance(row.target, str) else row.target
    return call(row.convert, ["raw"], there), [
        f"value.get({place})" if several else "value" for place in range(len(targets))
    ]


def _declared(declaration: Any, value: str, there: Mapping[str, str]) -> str:
    """Return the expression for a declared converter of one field."""
    if isinstance(declaration, Const):
        return literal(declaration.value)
    if isinstance(declaration, Lower):
        return f"lower({value})"
    if isinstance(declaration, Integer):
        return _integer(declaration, value)
    if isinstance(declaration, Text):
        return f"text({value})"
    if isinstance(declaration, Lookup):
        key = f"strip(text({value})).toLowerCase()" if declaration.lower else f"text({value})"
        table = literal(dict(declaration.values))
        if declaration.otherwise is None:
            return f"known({table}, {key})"
        return f"{table}.getOrDefault({key}, {call(declaration.otherwise, [value], there)})"
    raise TypeError(f"{declaration} gives several fields: it must be the converter of a Split")


def _integer(declaration: Integer, value: str) -> str:
    least, most, nothing = declaration
    number = f"integer({value})"
    if least is not None or most is not None:
        ends = [-(2**63) if least is None else least, 2**63 - 1 if most is None else most]
        number = f"integer_within({value}, {', '.join(f'{end}L' for end in ends)})"
    return number if nothing is None else f"({number} == {nothing}L ? null : {number})"


def _stored(path: str, value: str) -> str:
    return f"store(e, {quoted(path)}, {value});"


def given_value(row: Given, there: Mapping[str, str]) -> str:
    raw = f"conf.get({quoted(row.setting)})"
    if row.convert is Given._field_defaults["convert"]:
        return raw
    try:
        return call(row.convert, [raw], there)
    except ConfigError as error:
        raise error.at(f'the row of the setting "{row.setting}"') from None


def call(function: Callable[..., Any], arguments: List[str], there: Mapping[str, str]) -> str:
    """Return the call of a converter. ConfigError if Painless has nothing that is the same."""
    if function is as_sent:
        return arguments[0]
    declaration = declaration_of(function)
    if declaration is not None:
        return _declared(declaration, arguments[0], there)
    name: str = getattr(function, "__name__", repr(function))
    name = BUILTIN.get(function, name)
    if name not in there:
        raise _without_twin(function, name)
    settings = [f"conf.get({quoted(setting)})" for setting in settings_read(function)]
    return f"{name}({', '.join([*arguments, *settings])})"


def _without_twin(function: Callable[..., Any], name: str) -> ConfigError:
    if function is str:
        return ConfigError(
            "the converter str is only Python's; leave it out: without a converter a value becomes"
            " text"
        )
    module = getattr(function, "__module__", "")
    plugin = module.partition(".")[0]
    written = name.isidentifier() and plugin not in ("", "builtins")
    where = f"a function {name} in {plugin}/elastic/mapping.painless" if written else "a function"
    return ConfigError(
        f"the converter {f'{module}.' if written else ''}{name} has no Painless function of the"
        f" same name, so an ingest pipeline cannot do what it does; write {where}, or use a"
        " converter of siemtap.core.declared, which needs none"
    )


def literal(value: Any) -> str:
    """A value in Painless, whose literals of maps and lists make new ones that may be changed."""
    if isinstance(value, dict):
        items = ", ".join(f"{quoted(name)}: {literal(inner)}" for name, inner in value.items())
        return f"[{items or ':'}]"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(literal, value))}]"
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
