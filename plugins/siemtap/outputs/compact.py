"""The event as Splunk gets it: without what search-time knowledge gives back, short keys first, long texts last.

Splunk extracts fields from the first 10,240 characters of an event only. So what is long stands at the end, under its whole path: a key
`http.request.body.content` at the top is extracted under the same name as one inside objects.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Tuple

from ..core.mapping import Dataset, Event, Field

LONG = 200                  # characters of a text that goes to the end
OBJECTS = ("extra",)        # names that are the vendor's: kept as they are
SPLUNKS = ("ecs", "data_stream", "related", "agent")       # what the sourcetype and Splunk's own fields say
NOTHING: Dict[str, Any] = {}
PAIRS = {"source.address": "source.ip", "destination.address": "destination.ip", "message": "rule.name", "event.code": "rule.id", "event.reason": "rule.description"}


def compact(dataset: Dataset) -> Callable[[Event], Event]:
    """The event, without the constants of its dataset, and without what stands in it twice. Errors of the pipe keep all they have."""
    constant: Dict[str, Dict[str, Any]] = {}
    for path, value in dataset.constant.items():
        place, _, leaf = path.rpartition(".")
        constant.setdefault(f"{place}." if place else "", {})[leaf] = value
    constant.setdefault("event.", {}).update(module=dataset.namespace, dataset=dataset.name)    # the sourcetype says it
    twice = [(path.split("."), first.split(".")) for path, first in doubles(dataset).items()]

    def small(event: Event) -> Event:
        if event["event"].get("kind") == "pipeline_error":
            return {name: value for name, value in event.items() if name not in SPLUNKS}
        last: List[Tuple[str, Any]] = []
        short = _kept({name: value for name, value in event.items() if name not in SPLUNKS}, "", constant, last)
        if "event" in short:
            short["event"].pop("created", None)
        for path, first in twice:
            said = _at(event, path)
            if said is not None and said == _at(event, first):
                _drop(short, path, last)
        last.sort(key=_length)
        short.update(last)
        return short

    return small


def _kept(tree: Event, place: str, constant: Mapping[str, Dict[str, Any]], last: List[Tuple[str, Any]]) -> Event:
    """An object without what never varies; its long texts go to `last`."""
    kept: Event = {}
    fixed = constant.get(place, NOTHING)
    for name, value in tree.items():
        kind = value.__class__
        if fixed and name in fixed and fixed[name] == value:
            continue
        if kind is str:
            if len(value) <= LONG:
                kept[name] = value
            else:
                last.append((place + name, value))
        elif kind is dict and name not in OBJECTS:
            inner = _kept(value, f"{place}{name}.", constant, last)
            if inner:
                kept[name] = inner
        elif (kind is dict or kind is list) and len(str(value)) > LONG:
            last.append((place + name, value))
        else:
            kept[name] = value
    return kept


def _length(pair: Tuple[str, Any]) -> int:
    return len(pair[1]) if pair[1].__class__ is str else len(str(pair[1]))


def _drop(short: Event, path: List[str], last: List[Tuple[str, Any]]) -> None:
    place: Any = short
    for name in path[:-1]:
        place = place.get(name) or {}
    if place.pop(path[-1], None) is None and last:
        last[:] = [pair for pair in last if pair[0] != ".".join(path)]


def doubles(dataset: Dataset) -> Dict[str, str]:
    """Path -> the path that says the same, so that its absence says nothing else: names of one row that all get its value, and pairs of
    which the first is there whenever the second is."""
    found = {path: row.ours[0] for row in dataset.rows if isinstance(row, Field) and not isinstance(row.ours, str) for path in row.ours[1:]}
    targets = dataset.targets()
    found.update({path: other for path, other in PAIRS.items() if path in targets and other in targets and found.get(other) != path})
    return {path: other for path, other in found.items() if not path.startswith("related.")}


def _at(event: Any, path: List[str]) -> Any:
    for name in path:
        if event.__class__ is not dict:
            return None
        event = event.get(name)
    return event
