"""The processors, and a chain of them."""

from __future__ import annotations

import logging
from typing import Any, Callable, Container, Dict, List, Optional, Sequence, Set

from ...core.errors import ConfigError
from ...core.rows import Event
from ...engine.protocols import MapBatch
from .conditions import Condition, compile_condition
from .fields import (
    MISSING,
    Describe,
    Names,
    Path,
    Place,
    find,
    merge,
    names_of,
    put,
    remove,
    require_free,
)
from .geoip import GeoDatabase

log = logging.getLogger("siemtap")

Step = Callable[[Event], Optional[Event]]  # returns the event, changed or not; None: it is dropped
IsField = Callable[[str], bool]  # whether the schema has a field


def process(map_batch: MapBatch, specs: Sequence[Any]) -> MapBatch:
    """Return a mapping whose events go through an input's processors; the same mapping if there are
    none. `specs`: the setting, which was checked when the file was read."""
    if not specs:
        return map_batch
    steps = compile_processors(list(specs))

    def map_and_process(batch: Any, seen: Container[str] = ()) -> List[Event]:
        processed = []
        for event in map_batch(batch, seen):
            result: Optional[Event] = event
            for step in steps:
                result = step(result)  # type: ignore[arg-type] # None ends the loop
                if result is None:
                    break
            else:
                processed.append(result)
        return processed  # type: ignore[return-value] # without None

    return map_and_process


def compile_processors(
    specs: List[Any],
    describe: Describe = lambda path, written: "processors",
    path: Path = ("processors",),
    is_field: IsField = lambda name: True,
) -> List[Step]:
    """Return the steps of a `processors` setting. Raise ConfigError for the first mistake."""
    whole = Place(describe, path, specs)
    return [_compile(whole.inner(number), is_field) for number in range(len(specs))]


def _compile(place: Place, is_field: IsField) -> Step:
    section = place.section(tuple(PROCESSORS))
    if len(section) > 1:
        raise place.error("has several processors; begin each with `-`, as a list item of its own")
    (name,) = section
    inner = place.inner(name)
    if inner.value is None:
        inner.value = {}
    step = PROCESSORS[name](inner, is_field)
    if name == "drop_event" or "when" not in inner.value:
        return step
    condition = compile_condition(inner.inner("when"))
    return lambda event: step(event) if condition(event) else event


def _require_field(place: Place, path: str, is_field: IsField) -> None:
    if not is_field(path):
        raise place.error(
            f"sets {path}, which is no field of these events: your own fields are allowed below"
            " `fields`, such as fields.team"
        )


def _add_fields(place: Place, is_field: IsField) -> Step:
    section = place.section(("target", "fields", "when"), ("fields",))
    target = section.get("target", "fields")
    if not isinstance(target, str):
        raise place.inner("target").error("must be a text; '' is the top of the event")
    names = names_of(target) if target else ()
    inner = place.inner("fields")

    def check(part: Place, above: Names) -> None:
        for key, value in part.section().items():
            path = (*above, *names_of(key))
            if isinstance(value, dict):
                check(part.inner(key), path)
                continue
            require_free(part.inner(key), ".".join(path))
            if value in (None, "", []):
                raise part.inner(key).error("is empty; events have no empty fields")
            _require_field(part.inner(key), ".".join(path), is_field)

    check(inner, names)
    fields = inner.value
    return lambda event: merge(event, names, fields)


def _add_tags(place: Place, is_field: IsField) -> Step:
    section = place.section(("tags", "target", "when"), ("tags",))
    if section.get("target", "tags") != "tags":
        raise place.inner("target").error("can only be tags")
    tags = place.inner("tags").texts()

    def step(event: Event) -> Event:
        present = event.get("tags", [])
        return {**event, "tags": [*present, *(tag for tag in tags if tag not in present)]}

    return step


def _drop_event(place: Place, is_field: IsField) -> Step:
    if not place.value:
        raise place.error("needs `when`: without a condition it drops every event")
    place.section(("when",), ("when",))
    condition: Condition = compile_condition(place.inner("when"))

    def step(event: Event) -> Optional[Event]:
        # an error is never dropped: it says what was lost or cannot be read
        if condition(event) and event["event"].get("kind") != "pipeline_error":
            return None
        return event

    return step


def _drop_fields(place: Place, is_field: IsField) -> Step:
    place.section(("fields", "ignore_missing", "when"), ("fields",))
    place.flag("ignore_missing", False)
    inner = place.inner("fields")
    paths = [require_free(inner, path) for path in inner.texts()]

    def step(event: Event) -> Event:
        for names in paths:
            if find(event, names) is not MISSING:
                event = remove(event, names)
        return event

    return step


def _rename(place: Place, is_field: IsField) -> Step:
    place.section(("fields", "ignore_missing", "fail_on_error", "when"), ("fields",))
    place.flag("ignore_missing", False)
    undo = place.flag("fail_on_error", True)
    inner = place.inner("fields")
    if not isinstance(inner.value, list) or not inner.value:
        raise inner.error("must be a list of {from: …, to: …}")
    pairs = []
    for number in range(len(inner.value)):
        pair = inner.inner(number)
        section = pair.section(("from", "to"), ("from", "to"))
        for key in section:
            if not isinstance(section[key], str):
                raise pair.inner(key).error("must be a field such as url.query")
        source = require_free(pair.inner("from"), section["from"])
        target = require_free(pair.inner("to"), section["to"])
        _require_field(pair.inner("to"), section["to"], is_field)
        pairs.append((source, target))
    logged: Set[Names] = set()

    def step(event: Event) -> Event:
        renamed = event
        for source, target in pairs:
            value = find(renamed, source)
            if value is MISSING:
                continue
            without = remove(renamed, source)
            if find(without, target) is MISSING:
                renamed = put(without, target, value)
                continue
            if target not in logged:
                logged.add(target)
                log.warning(
                    "%s: %s is there already in some events, and is not replaced",
                    place.where(),
                    ".".join(target),
                )
            if undo:
                return event
        return renamed

    return step


def _truncate_fields(place: Place, is_field: IsField) -> Step:
    keys = ("fields", "max_characters", "max_bytes", "ignore_missing", "fail_on_error", "when")
    section = place.section(keys, ("fields",))
    place.flag("ignore_missing", False)
    place.flag("fail_on_error", True)
    limits = [key for key in ("max_characters", "max_bytes") if key in section]
    if len(limits) != 1:
        raise place.error("needs `max_characters` or `max_bytes`, and not both")
    most = section[limits[0]]
    if type(most) is not int or most < 1:
        raise place.inner(limits[0]).error("must be a whole number of at least 1")
    inner = place.inner("fields")
    paths = [require_free(inner, path) for path in inner.texts()]
    in_bytes = limits[0] == "max_bytes"

    def cut(text: str) -> str:
        if in_bytes:  # never in the middle of a character
            return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")
        return text[:most]

    def step(event: Event) -> Event:
        for names in paths:
            value = find(event, names)
            if isinstance(value, str) and cut(value) != value:
                event = put(event, names, cut(value))
        return event

    return step


def _geoip(place: Place, is_field: IsField) -> Step:
    section = place.section(("database_file", "field", "when"), ("database_file",))
    if section.get("field", "source.ip") != "source.ip":
        raise place.inner("field").error("can only be source.ip")
    inner = place.inner("database_file")
    if not isinstance(inner.value, str) or not inner.value:
        raise inner.error("must be the name of a file, such as GeoLite2-City.mmdb")
    try:
        database = GeoDatabase(inner.value)
    except ConfigError as error:
        raise inner.error(error.message) from None

    def step(event: Event) -> Event:
        address = find(event, ("source", "ip"))
        if address is MISSING:
            return event
        for names, value in database.fields(address):
            # what the vendor says wins over the database
            if find(event, names) is MISSING:
                event = put(event, names, value)
        return event

    return step


PROCESSORS: Dict[str, Callable[[Place, IsField], Step]] = {
    "add_fields": _add_fields,
    "add_tags": _add_tags,
    "drop_event": _drop_event,
    "drop_fields": _drop_fields,
    "geoip": _geoip,
    "rename": _rename,
    "truncate_fields": _truncate_fields,
}
