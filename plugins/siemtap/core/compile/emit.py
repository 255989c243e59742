"""The emitter: each step yields lines of Python.

`extra` has what converters refused of the record's own keys, `refused` the paths of what they
refused inside nested objects and lists. `fits` says whether every value surely fits its field.
"""

from __future__ import annotations

from typing import Iterable, Iterator, List, Union

from ..convert import text
from ..rows import (
    Field,
    Join,
    RecordRow,
    Split,
    constant_paths,
    is_collected,
    record_rows,
    settings_read,
    sources_of,
    targets_of,
)
from .fit import condition
from .paths import EACH, is_deep, is_list, steps_of
from .plan import Plan
from .reading import emit_reading, indented, is_nested, raw_value

ValueRow = Union[Field, Split]  # a row that reads one path


def emit(plan: Plan) -> Iterator[str]:
    yield "def bind(binding):"
    yield from _emit_binding(plan)
    if plan.cached_rows:
        yield from _emit_cached_part(plan)
    yield ""
    yield "    def event(record, until, created=None):"
    yield from emit_reading(plan)
    yield from _emit_objects(plan)
    for number, row in record_rows(plan.dataset):
        if number not in plan.cached_rows:
            yield from _emit_row(plan, number, row)
    yield ""
    yield from _emit_extra(plan)
    yield from _emit_identity(plan)
    yield from _emit_end(plan)
    yield ""
    yield "    return event"


def _emit_binding(plan: Plan) -> Iterator[str]:
    names = ["clock", "redact", "unreadable", "keep_original"]
    for name in [*names, "constants_fit"] if plan.schemas else names:
        yield f"    {name} = binding.{name}"
    for path in plan.constant:
        yield f"    {_variable(path)}constants = binding.constants({path!r})"
    converters = [row.convert for _, row in record_rows(plan.dataset)]
    settings = [name for convert in converters for name in settings_read(convert)]
    for name in dict.fromkeys(settings):
        yield f"    setting_{name} = binding.settings.{name}"


def _emit_cached_part(plan: Plan) -> Iterator[str]:
    yield ""
    yield f"    def map_cached({_cached_arguments(plan)}):"
    for path in [*plan.begun_objects, *plan.cached_objects]:
        yield f"        {_variable(path)} = {{}}"
    yield "        extra = {}"
    if is_nested(plan):
        yield "        refused = set()"
    if plan.schemas:
        yield "        fits = True"
    for number, row in plan.cached_rows.items():
        yield from _emit_row(plan, number, row)
    yield ""
    yield from _emit_nesting(reversed(plan.cached_objects))
    yield f"        return {', '.join([*map(_variable, plan.begun_objects), *_kept(plan)])}"
    yield ""
    yield "    map_cached = binding.cached(map_cached)"


def _cached_arguments(plan: Plan) -> str:
    paths = dict.fromkeys(path for row in plan.cached_rows.values() for path in sources_of(row))
    values = [raw_value(plan, path) for path in paths]
    return ", ".join([*values, *(plan.places[path] for path in paths if path in plan.places)])


def _kept(plan: Plan) -> List[str]:
    """Return the variables of what converters refuse, and of whether all values fit."""
    names = ["extra", "refused"] if is_nested(plan) else ["extra"]
    return [*names, "fits"] if plan.schemas else names


def _emit_objects(plan: Plan) -> Iterator[str]:
    """Start each object of the event: empty, or with its constant and its cached fields."""
    if plan.cached_rows:
        begun = [f"{_variable(path)}cached" for path in plan.begun_objects]
        results = ", ".join([*begun, *_kept(plan)])
        arguments = _cached_arguments(plan)
        yield "        try:"
        yield f"            {results} = map_cached({arguments})"
        yield "        except (TypeError, TooLong):  # a list or an object, or a long text"
        yield f"            {results} = map_cached.__wrapped__({arguments})"
    for path in plan.objects:
        if path in plan.cached_objects:
            continue
        parts = []
        if path in plan.constant:
            parts.append(f"{_variable(path)}constants")
        if path in plan.begun_objects:
            parts.append(f"{_variable(path)}cached")
        yield f"        {_variable(path)} = {_merged(parts)}"
    for path in filter(is_collected, constant_paths(plan.dataset)):  # rows may add to the list
        parent, _, leaf = path.rpartition(".")
        if parent in plan.objects:
            yield f"        if {leaf!r} in {_variable(parent)}:"
            yield f"            {_variable(parent)}[{leaf!r}] = [*{_variable(parent)}[{leaf!r}]]"
    yield "        root_['@timestamp'] = timestamp or rfc3339(until)"
    if plan.schemas:
        fits = "constants_fit and fits" if plan.cached_rows else "constants_fit"
        check = check_name(plan, "@timestamp")
        yield f"        fits = {fits} and (not timestamp or {check}(timestamp))"
    yield f"        extra = {'extra.copy()' if plan.cached_rows else '{}'}"
    if is_nested(plan):
        yield f"        refused = {'refused.copy()' if plan.cached_rows else 'set()'}"


def _emit_extra(plan: Plan) -> Iterator[str]:
    if is_nested(plan):
        yield "        if has_rest or refused:"
        yield "            extra = {**(unread(redact(record), RECORD, refused) or {}), **extra}"
    else:
        yield "        if has_other_keys and not KNOWN.issuperset(record):"
        yield (
            "            extra.update((name, value) for name, value in redact(record).items() if"
            " name not in KNOWN)"
        )
    yield "        if extra:"
    yield f"            {_variable(plan.dataset.namespace)}['extra'] = shallow(extra)"


def _emit_identity(plan: Plan) -> Iterator[str]:
    name = plan.dataset.name
    if callable(plan.dataset.identity):
        yield f"        event_['id'] = identify({name!r}, identity(record), record)"
        return
    for number, part in enumerate(plan.dataset.identity):
        value = raw_value(plan, part) if isinstance(part, str) else f"id_part_{number}(record)"
        yield f"        raw = {value}"
        yield (f"        id_{number} = raw.strip(BLANKS) if raw.__class__ is str else spell(raw)")
    parts = "".join(f"\\n{{id_{number}}}" for number in range(len(plan.dataset.identity)))
    is_named = " or ".join(f"id_{number}" for number in range(len(plan.dataset.identity)))
    whole = f"identify({name!r}, (), record)"  # no value is there
    yield f"        event_['id'] = digest(f'{name}{parts}') if {is_named} else {whole}"


def _emit_end(plan: Plan) -> Iterator[str]:
    yield "        if created:"
    yield "            event_['created'] = created"
    yield "        if keep_original:"
    yield "            event_['original'] = canonical(redact(record))"
    objects = [path for path in plan.objects[1:] if path not in plan.cached_objects]
    yield from _emit_nesting(reversed(objects))
    # event.id and event.created need no check: they are written here in one form
    yield f"        return {'CheckedEvent(root_) if fits else root_' if plan.schemas else 'root_'}"


def _emit_nesting(objects: Iterable[str]) -> Iterator[str]:
    """Put each object that is not empty into its parent. `objects`: children first."""
    for path in objects:
        parent, _, leaf = path.rpartition(".")
        yield f"        if {_variable(path)}:"
        yield f"            {_variable(parent)}[{leaf!r}] = {_variable(path)}"


def _emit_row(plan: Plan, number: int, row: RecordRow) -> Iterator[str]:
    yield ""
    yield f"        # {', '.join(sources_of(row))} -> {', '.join(targets_of(row))}"
    raw = [raw_value(plan, path) for path in sources_of(row)]
    if isinstance(row, Join):
        lines = _lines_of_join(plan, number, row, raw)
    elif is_list(row.source):
        lines = _lines_of_each(plan, number, row, raw[0])
    else:
        lines = _lines_of_value(plan, number, row, raw[0])
    for line in lines:
        yield " " * 8 + line


def _lines_of_join(plan: Plan, number: int, row: Join, raw: List[str]) -> Iterator[str]:
    yield "try:"  # a value that is refused is in `extra` if a row of its own reads it
    yield f"    value = {_call(number, row, raw)}"
    yield "except CONVERSION_ERRORS:"
    yield "    value = None"
    yield from _store_if_present(plan, number, row, row.target, "value")


def _lines_of_each(plan: Plan, number: int, row: ValueRow, values: str) -> Iterator[str]:
    """Convert the values one by one, each field a list; `related.*` collects them as always."""
    places = plan.places.get(row.source, "")
    lists = [path for path in targets_of(row) if not is_collected(path)]
    for path in lists:
        yield f"{_list(path)} = []"
    if places:
        yield f"for place, item in zip({places} or (), {values} or ()):"
    else:
        yield f"for index, item in enumerate({values} or ()):"
    for line in _lines_of_value(plan, number, row, "item"):
        yield f"    {line}"
    for path in lists:
        parent, _, leaf = path.rpartition(".")
        yield f"if {_list(path)}:"
        yield f"    {_variable(parent)}[{leaf!r}] = {_list(path)}"
        if plan.schemas:
            yield from indented(_check(plan, path, _list(path)))


def _lines_of_value(plan: Plan, number: int, row: ValueRow, raw: str) -> Iterator[str]:
    if row.convert is text:
        yield from _lines_of_text(plan, number, row, raw)
    else:
        yield from _lines_of_converter(plan, number, row, raw)


def _lines_of_text(plan: Plan, number: int, row: ValueRow, raw: str) -> Iterator[str]:
    yield f"raw = {raw}"
    yield "if raw.__class__ is str:"
    yield "    raw = raw.strip()"
    yield "    if raw and raw != '-':"
    for path in targets_of(row):
        for line in _store(plan, number, row, path, "raw"):
            yield " " * 8 + line
    yield "elif raw is not None:"
    stores = [line for path in targets_of(row) for line in _store(plan, number, row, path, "value")]
    yield from _try_or_keep(row.source, "value = text(raw)", stores)


def _lines_of_converter(plan: Plan, number: int, row: ValueRow, raw: str) -> Iterator[str]:
    yield f"raw = {raw}"
    yield "if raw.__class__ is str:"
    yield "    raw = raw.strip()"
    yield "    if not raw or raw == '-':"
    yield "        raw = None"
    yield "if raw is not None:"
    call = _call(number, row, ["raw"])
    if isinstance(row, Split):
        values = [f"value_{position}" for position in range(len(row.target))]
        attempt = f"{', '.join(values)}, = {call}"
    else:
        values = ["value"] * len(targets_of(row))
        attempt = f"value = {call}"
    stores = [
        line
        for path, value in zip(targets_of(row), values)
        for line in _store_if_present(plan, number, row, path, value)
    ]
    yield from _try_or_keep(row.source, attempt, stores)


def _try_or_keep(source: str, attempt: str, stores: List[str]) -> Iterator[str]:
    """Convert; what the converter refuses is kept in `extra`, redacted."""
    yield "    try:"
    yield f"        {attempt}"
    yield "    except CONVERSION_ERRORS:"
    if len(steps_of(source)) == 1:
        yield f"        extra[{source!r}] = redact({{{source!r}: raw}})[{source!r}]"
    elif is_deep(source):
        yield "        refused.add(place)"
    elif EACH in source:
        before, _, after = source.partition(EACH)
        yield f"        refused.add({before + '['!r} + str(index) + {']' + after!r})"
    else:
        yield f"        refused.add({source!r})"
    yield "    else:"
    for line in stores:
        yield " " * 8 + line


def _store_if_present(
    plan: Plan, number: int, row: RecordRow, path: str, value: str
) -> Iterator[str]:
    yield f"if {value} is not None:"
    for line in _store(plan, number, row, path, value):
        yield " " * 4 + line


def _store(plan: Plan, number: int, row: RecordRow, path: str, value: str) -> Iterator[str]:
    parent, _, leaf = path.rpartition(".")
    place = _variable(parent)
    is_checked = plan.schemas and (number, path) not in plan.schemas.sure
    if is_collected(path):
        if row.convert is not text:  # a text is one value
            yield f"if {value}.__class__ is list:"
            yield f"    collect({place}, {leaf!r}, {value})"
            yield f"elif {leaf!r} not in {place}:"
        else:
            yield f"if {leaf!r} not in {place}:"
        yield f"    {place}[{leaf!r}] = [{value}]"
        yield f"elif {value} not in {place}[{leaf!r}]:"
        yield f"    {place}[{leaf!r}].append({value})"
        if is_checked:
            yield from _check_collected(plan, row, path, value)
    elif not isinstance(row, Join) and is_list(row.source):
        yield f"{_list(path)}.append({value})"  # checked as a whole
    else:
        yield f"{place}[{leaf!r}] = {value}"
        if is_checked:
            yield from _check(plan, path, value)


def _check(plan: Plan, path: str, value: str) -> Iterator[str]:
    """Note that a value may not fit its field."""
    schema = plan.schemas.fields.get(path) if plan.schemas else None
    if schema is None:
        yield "fits = False"
    else:
        yield f"if not ({condition(schema, value, check_name(plan, path))}):"
        yield "    fits = False"


def _check_collected(plan: Plan, row: RecordRow, path: str, value: str) -> Iterator[str]:
    """Note that a value, or one of several, may not fit a list that has each value once."""
    items = plan.schemas.fields.get(path, {}).get("items") if plan.schemas else None
    if not items:
        yield "fits = False"
    else:
        item = f"not ({condition(items, value, item_check_name(plan, path))})"
        if row.convert is not text:
            whole = f"not {check_name(plan, path)}({value})"
            yield f"if {whole} if {value}.__class__ is list else {item}:"
        else:
            yield f"if {item}:"
        yield "    fits = False"


def check_name(plan: Plan, path: str) -> str:
    """Return the name of the check of a field."""
    return f"fits_{plan.checked.index(path)}"


def item_check_name(plan: Plan, path: str) -> str:
    """Return the name of the check of an item of a field that is a list."""
    return f"item_{check_name(plan, path)}"


def _list(path: str) -> str:
    """Return the variable of the list at `path` while it is made."""
    return f"{_variable(path)}list"


def _variable(path: str) -> str:
    """Return the variable of the object at `path`: "source.geo" -> "source_geo_"."""
    return path.replace(".", "_").replace("@", "") + "_" if path else "root_"


def converter_name(number: int, row: RecordRow) -> str:
    if row.convert is text:
        return "text"
    return f"{getattr(row.convert, '__name__', 'convert').strip('<>')}_{number}"


def _call(number: int, row: RecordRow, values: Iterable[str]) -> str:
    settings = (f"{name}=setting_{name}" for name in settings_read(row.convert))
    return f"{converter_name(number, row)}({', '.join([*values, *settings])})"


def _merged(parts: List[str]) -> str:
    """Return an expression for a new object of these; later ones win."""
    if not parts:
        return "{}"
    if len(parts) == 1:
        return f"{parts[0]}.copy()"
    return f"{{{', '.join(f'**{part}' for part in parts)}}}"
