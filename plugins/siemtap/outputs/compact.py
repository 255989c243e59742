"""The event as Splunk gets it: without what search-time knowledge gives back, short keys first,
long texts last.

Splunk extracts fields from the first 10,240 characters of an event only. So what is long stands at
the end, under its whole path: a key `http.request.body.content` at the top is extracted under the
same name as one inside objects. So is what is alone in its object, for it is shorter.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Mapping, Set, Tuple

from ..core.mapping import Dataset, Event, Field, Given, Join

LONG = 200  # characters of a text that goes to the end
OBJECTS = ("extra",)  # names that are the vendor's: kept as they are
# what the sourcetype and Splunk's own fields say
SPLUNKS = ("ecs", "data_stream", "related", "agent")
NOTHING: Dict[str, Any] = {}
PAIRS = {
    "source.address": "source.ip",
    "destination.address": "destination.ip",
    "message": "rule.name",
    "event.code": "rule.id",
    "event.reason": "rule.description",
    "event.start": "@timestamp",
}

SAME, ANY = object(), object()

Rules = Mapping[str, Any]  # of one dataset, in schemas/cim.json
# name -> None: never there; a list: not with these values; an Out for what is below
Out = Dict[str, Any]


def compact(dataset: Dataset, rules: Rules) -> Callable[[Event], Event]:
    """The event, without what its dataset or another of its fields says. Errors of the pipe keep
    all they have."""
    out: Out = dict.fromkeys(SPLUNKS)
    read = set(reads(rules))
    # the sourcetype says it
    for path, value in {
        **dataset.constant,
        "event.module": dataset.namespace,
        "event.dataset": dataset.name,
    }.items():
        _put(out, path, [value])
    for path, values in rules.get("usual", NOTHING).items():
        _put(out, path, [*(_at(out, path.split(".")) or []), *values])
    for path in {*left_out(dataset, rules), "event.created"}:
        _put(out, path, None)
    follows = [
        (path.split("."), other.split("."), SAME)
        for path, other in {**doubles(dataset), **rules.get("same", NOTHING)}.items()
    ]
    for path, other in rules.get("implied", NOTHING).items():
        ((place, value),) = other.items() if isinstance(other, dict) else [(other, ANY)]
        follows.append((path.split("."), place.split("."), value))

    def small(event: Event) -> Event:
        if event["event"].get("kind") == "pipeline_error":
            return {name: value for name, value in event.items() if name not in SPLUNKS}
        last: List[Tuple[str, Any]] = []
        short = _kept(event, "", out, last)
        for path, other, value in follows:
            said = _at(event, other)
            if said is not None and (
                value is ANY or said == (_at(event, path) if value is SAME else value)
            ):
                _drop(short, path, last)
        # what the CIM reads ends as early as can be
        last.sort(key=lambda pair: (pair[0] not in read, _length(pair)))
        short = _flat(short)
        short.update(last)
        return short

    return small


def _kept(tree: Event, place: str, out: Out, last: List[Tuple[str, Any]]) -> Event:
    """An object without what is left out; its long texts go to `last`."""
    kept: Event = {}
    for name, value in tree.items():
        rule = out.get(name, NOTHING)
        if rule is None or (rule.__class__ is list and value in rule):
            continue
        kind = value.__class__
        if kind is str:
            if len(value) <= LONG:
                kept[name] = value
            else:
                last.append((place + name, value))
        elif kind is dict and name not in OBJECTS:
            inner = _kept(
                value, f"{place}{name}.", rule if rule.__class__ is dict else NOTHING, last
            )
            if inner:
                kept[name] = inner
        elif (kind is dict or kind is list) and len(str(value)) > LONG:
            last.append((place + name, value))
        else:
            kept[name] = value
    return kept


def _flat(tree: Event) -> Event:
    made: Event = {}
    for name, value in tree.items():
        if value.__class__ is dict and name not in OBJECTS:
            value = _flat(value)
            if len(value) == 1:
                ((inner, value),) = value.items()
                name = f"{name}.{inner}"
        made[name] = value
    return made


def _length(pair: Tuple[str, Any]) -> int:
    return len(pair[1]) if pair[1].__class__ is str else len(str(pair[1]))


def _drop(short: Event, path: List[str], last: List[Tuple[str, Any]]) -> None:
    """Without a path, and without an object that is empty then."""
    place = _at(short, path[:-1])
    if place and path[-1] in place:
        del place[path[-1]]
        if not place and len(path) > 1:
            _drop(short, path[:-1], last)
    elif last:
        last[:] = [pair for pair in last if pair[0] != ".".join(path)]


def left_out(dataset: Dataset, rules: Rules) -> Set[str]:
    """What one of the vendor's words says a second time. Kept of each word: what the CIM reads, and
    the vendor's own names for it; where there is neither, the first. What is put together of
    several words is kept for the CIM, and as a name of the vendor's own."""
    read = set(reads(rules))
    words: Dict[Any, List[str]] = {}
    for row in dataset.rows:
        word = (
            (row.setting if isinstance(row, Given) else row.theirs)
            if not isinstance(row, Join)
            else (row.theirs, row.ours)
        )
        words.setdefault((type(row) in (Given, Join), word), []).extend(
            [row.ours] if isinstance(row.ours, str) else row.ours
        )
    kept: Set[str] = set()
    for (made, _), targets in words.items():
        wanted = [
            path for path in targets if path in read or path.startswith(f"{dataset.namespace}.")
        ]
        kept.update(wanted or ([] if made else targets[:1]))
    return {path for targets in words.values() for path in targets} - kept


def reads(rules: Rules) -> Iterator[str]:
    """The paths that a dataset's CIM fields are made of."""
    for rule in rules.get("fields", NOTHING).values():
        yield from (
            rule.get("out_of") or rule.get("first") or ([rule["from"]] if "from" in rule else [])
        )


def doubles(dataset: Dataset) -> Dict[str, str]:
    """Path -> the path that says the same, so that its absence says nothing else: names of one row
    that all get its value, and pairs of which the first is there whenever the second is."""
    found = {
        path: row.ours[0]
        for row in dataset.rows
        if isinstance(row, Field) and not isinstance(row.ours, str)
        for path in row.ours[1:]
    }
    targets = dataset.targets()
    found.update(
        {
            path: other
            for path, other in PAIRS.items()
            if path in targets and other in targets and found.get(other) != path
        }
    )
    return {path: other for path, other in found.items() if not path.startswith("related.")}


def _put(out: Out, path: str, rule: Any) -> None:
    *parents, leaf = path.split(".")
    for name in parents:
        if out.setdefault(name, {}) is None:
            return
        out = out[name]
    out[leaf] = rule


def _at(event: Any, path: List[str]) -> Any:
    for name in path:
        if event.__class__ is not dict:
            return None
        event = event.get(name)
    return event
