"""What the emitter needs to know of a table."""

from __future__ import annotations

from functools import cache
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..paths import parents
from ..rows import (
    Dataset,
    RecordRow,
    constant_paths,
    is_collected,
    paths_read,
    record_rows,
    sources_of,
    targets_of,
)
from .fit import FieldSchemas
from .paths import Place, is_deep, is_list, place_of, places_inside


class Plan(NamedTuple):
    """A table as the emitter needs it. Objects are named by their path, parents first."""

    dataset: Dataset
    record: Place  # around all places that the table names
    keys: List[str]  # of the record
    variables: Dict[str, str]  # path of a place -> the variable of its value, as sent
    lists: Dict[str, str]  # path of several values -> the variable of their list
    places: Dict[str, str]  # such a path, if it is deep -> the variable of the list of their paths
    objects: Sequence[str]  # that differ from event to event
    constant: List[str]  # objects that hold constant fields
    cached_rows: Dict[int, RecordRow]  # by position in the table
    cached_objects: List[str]  # in which nothing but cached rows put a field
    begun_objects: List[str]  # into which cached rows put fields first, other rows later
    schemas: Optional[FieldSchemas]  # that each value is checked against; None: no value is
    checked: List[str]  # paths with a check; its name has their position


def plan_of(dataset: Dataset, schemas: Optional[FieldSchemas] = None) -> Plan:
    objects = varying_objects(dataset)
    constant_fields = constant_paths(dataset)
    rows = dict(cached_rows(dataset))
    cached_objects = _cached_objects(dataset, rows)
    paths = paths_read(dataset)
    record = place_of(paths)
    places = [path for path, _ in places_inside(record)]
    keys = list(record.names)
    variables = {
        path: f"raw_{number}" for number, path in enumerate(dict.fromkeys([*keys, *places]))
    }
    begun_objects = []
    if rows:
        begun_objects = [
            path
            for path in objects
            if path not in cached_objects and _is_begun(path, cached_objects, rows.values())
        ]
    return Plan(
        dataset=dataset,
        record=record,
        keys=keys,
        variables=variables,
        lists={path: variables[path].replace("raw", "all") for path in paths if is_list(path)},
        places={path: variables[path].replace("raw", "places") for path in paths if is_deep(path)},
        objects=objects,
        constant=[
            path
            for path in objects
            if path == "" or any(name.startswith(f"{path}.") for name in constant_fields)
        ],
        cached_rows=rows,
        cached_objects=cached_objects,
        begun_objects=begun_objects,
        schemas=schemas,
        checked=sorted({"@timestamp", *record_targets(dataset)}) if schemas else [],
    )


def record_targets(dataset: Dataset) -> Set[str]:
    """Return every field that a row sets from the record."""
    return {path for _, row in record_rows(dataset) for path in targets_of(row)}


@cache
def varying_objects(dataset: Dataset) -> Tuple[str, ...]:
    """Return the objects that differ from event to event, parents first."""
    objects = {""}
    for path in [*record_targets(dataset), "event.id", f"{dataset.namespace}.extra"]:
        objects.update(parents(path))
    return tuple(sorted(objects, key=lambda path: (path.count(".") if path else -1, path)))


@cache
def cached_rows(dataset: Dataset) -> Tuple[Tuple[int, RecordRow], ...]:
    """Return the rows whose fields are cached, with their position: those that read
    low-cardinality paths only.

    Cached rows run before the others. So a row is left out that must overwrite a field of another
    row, or that adds to a list together with another row.
    """
    rows = [
        (number, row)
        for number, row in record_rows(dataset)
        if set(sources_of(row)) <= set(dataset.low_cardinality)
    ]
    constant_lists = [(0, path) for path in constant_paths(dataset) if is_collected(path)]
    while True:
        others = [
            (number, path)
            for number, row in record_rows(dataset)
            if (number, row) not in rows
            for path in targets_of(row)
        ]
        fitting = [
            (number, row)
            for number, row in rows
            if not any(
                path == other and (is_collected(path) or before < number)
                for path in targets_of(row)
                for before, other in [*others, *constant_lists]
            )
        ]
        if fitting == rows:
            return tuple(rows)
        rows = fitting


def _cached_objects(dataset: Dataset, cached_rows: Mapping[int, RecordRow]) -> List[str]:
    """Return the objects in which nothing but cached rows put a field."""
    others = ["event.id", f"{dataset.namespace}.extra", *constant_paths(dataset)]
    for number, row in record_rows(dataset):
        if number not in cached_rows:
            others += targets_of(row)
    return [
        path
        for path in varying_objects(dataset)
        if path and not any(other.startswith(f"{path}.") for other in others)
    ]


def _is_begun(path: str, cached_objects: List[str], rows: Iterable[RecordRow]) -> bool:
    """Return whether cached rows put a field, or a cached object, into the object at `path`. The
    event itself always counts."""
    targets = [target for row in rows for target in targets_of(row)]
    return path == "" or any(
        inner.rpartition(".")[0] == path for inner in [*cached_objects, *targets]
    )
