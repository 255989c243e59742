"""The event as Splunk gets it: without what search-time knowledge gives back, short keys first, long texts last.

Splunk extracts fields from the first 10,240 characters of an event only. So what is long stands at the end, under its whole path: a key
`http.request.body.content` at the top is extracted under the same name as one inside objects.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Tuple

from ..core.mapping import Dataset, Event, Field

LONG = 200                  # characters of a text that goes to the end
OBJECTS = ("extra",)        # names that are the vendor's: kept as they are
PAIRS = {"source.address": "source.ip", "destination.address": "destination.ip", "message": "rule.name", "event.code": "rule.id", "event.reason": "rule.description"}
Place = Tuple[str, ...]


def compact(dataset: Dataset) -> Callable[[Event], Event]:
    """The event, without the constants of its dataset, and without what stands in it twice. Errors of the pipe keep all they have."""
    constant = {tuple(path.split(".")): value for path, value in dataset.constant.items()}
    instead = {tuple(path.split(".")): tuple(first.split(".")) for path, first in doubles(dataset).items()}

    def small(event: Event) -> Event:
        if event["event"].get("kind") == "pipeline_error":
            return {"@timestamp": event["@timestamp"], **_error(event)}
        short: Event = {}
        last: List[Tuple[str, Any]] = []
        for place, value in _leaves(event, ()):
            if place[0] in ("ecs", "data_stream", "related", "agent") or place in (("event", "module"), ("event", "dataset"), ("event", "created")):
                continue        # the sourcetype says the dataset; Splunk's own fields say who brought it and when
            if place in constant and constant[place] == value:
                continue
            if place in instead and _at(event, instead[place]) == value:
                continue
            if _size(value) > LONG:
                last.append((".".join(place), value))
            else:
                _put(short, place, value)
        short.update(sorted(last, key=lambda pair: _size(pair[1])))
        return short

    return small


def doubles(dataset: Dataset) -> Dict[str, str]:
    """Path -> the path that says the same, so that its absence says nothing else: names of one row that all get its value, and pairs of
    which the first is there whenever the second is."""
    found = {path: row.ours[0] for row in dataset.rows if isinstance(row, Field) and not isinstance(row.ours, str) for path in row.ours[1:]}
    targets = dataset.targets()
    found.update({path: other for path, other in PAIRS.items() if path in targets and other in targets and found.get(other) != path})
    return {path: other for path, other in found.items() if not path.startswith("related.")}


def _error(event: Event) -> Event:
    return {name: value for name, value in event.items() if name not in ("ecs", "data_stream", "agent", "@timestamp")}


def _leaves(tree: Event, place: Place) -> Iterator[Tuple[Place, Any]]:
    for name, value in tree.items():
        if value.__class__ is dict and name not in OBJECTS:
            yield from _leaves(value, (*place, name))
        else:
            yield (*place, name), value


def _size(value: Any) -> int:
    if value.__class__ is str:
        return len(value)
    return len(str(value)) if value.__class__ in (dict, list) else 8


def _at(event: Event, place: Place) -> Any:
    for name in place:
        event = event.get(name) if isinstance(event, dict) else None     # type: ignore[assignment]
    return event


def _put(tree: Event, place: Place, value: Any) -> None:
    for name in place[:-1]:
        tree = tree.setdefault(name, {})
    tree[place[-1]] = value
