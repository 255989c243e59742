"""Events for Splunk: without what search-time knowledge restores, short fields first, long texts
last.

Splunk extracts fields from the first 5,000 bytes of an event only (`[spath] extraction_cutoff`,
limits.conf.spec 10.2.3, line 2708), and 100 of them (`[kv] limit`, line 3535). So a long text
stands at the end, under its whole path: the top-level key `http.request.body.content` is extracted
under the same name as nested objects. An object with a single field is written the same way,
because that is shorter. `lines` sees to it that what the knowledge reads is within these limits.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Set, Tuple

from ...core.paths import find, get, names, put
from ...core.rows import Dataset, Event, Field, Given, Join, Rule

LONG = 200  # characters; a longer text goes to the end
OBJECTS = ("extra",)  # objects whose keys are the vendor's: written as they are
# The sourcetype and Splunk's own fields have these.
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

MAX_OUTS = 1_000  # combinations of implications whose rules are kept

# What another field must be for a path to be left out: equal to the path's value, or just present.
SAME, ANY = object(), object()

# Name -> what is left out. None: the field, always. A list: the field, with one of these values.
# A dict: rules for the fields of the object.
Out = Dict[str, Any]
# (path, other path, what the other must be): the path is left out then.
Implication = Tuple[List[str], List[str], Any]


def compact(dataset: Dataset) -> Callable[[Event], Event]:
    """Return a function that leaves out of an event what Splunk knows without it.

    That is what the dataset or another field of the event implies. An event that reports an error
    (`pipeline_error`) keeps all its fields.
    """
    out = _left_out(dataset)
    implied = _implications(dataset)
    checks = [_check(*implication) for implication in implied]
    read_by_cim = set(cim_paths(dataset))
    # which implications hold -> what is left out then
    outs: Dict[Tuple[bool, ...], Out] = {}

    def compact_event(event: Event) -> Event:
        if event["event"].get("kind") == "pipeline_error":
            return whole(event)
        holding = tuple([holds(event) for holds in checks])
        left_out = outs.get(holding)
        if left_out is None:
            paths = [path for (path, _, _), holds in zip(implied, holding) if holds]
            left_out = _leaving_out(out, paths)
            if len(outs) < MAX_OUTS:
                outs[holding] = left_out
        last: List[Tuple[str, Any]] = []
        short = _without(event, left_out, last)
        if last:
            # Long texts that the CIM reads come first, to end as early as possible.
            last.sort(key=lambda pair: (pair[0] not in read_by_cim, _length(pair[1])))
            short.update(last)
        return short

    return compact_event


def _check(path: List[str], other_path: List[str], required: Any) -> Callable[[Event], bool]:
    """Return a function: whether an implication holds for an event."""
    read, read_other = _reader(path), _reader(other_path)

    def holds_same(event: Event) -> bool:
        other = read_other(event)
        return other is not None and bool(other == read(event))

    def holds_any(event: Event) -> bool:
        return read_other(event) is not None

    def holds_value(event: Event) -> bool:
        return bool(read_other(event) == required)

    if required is SAME:
        return _same_in_two(path, other_path) if len(path) == len(other_path) == 2 else holds_same
    return holds_any if required is ANY else holds_value


def _same_in_two(path: List[str], other_path: List[str]) -> Callable[[Event], bool]:
    """Return a function: whether two fields of an event, each within one object, are the same. Most
    implications are such, and every event is asked for each."""
    outer, name = path
    other_outer, other_name = other_path

    def holds(event: Event) -> bool:
        if outer not in event or other_outer not in event:
            return False
        inner, other_inner = event[outer], event[other_outer]
        if inner.__class__ is not dict or other_inner.__class__ is not dict:
            return False
        value = other_inner.get(other_name)
        return value is not None and bool(value == inner.get(name))

    return holds


def _reader(path: List[str]) -> Callable[[Event], Any]:
    """Return a function: the value at a path of an event, or None."""
    if len(path) != 2:
        return lambda event: find(event, path)
    outer, name = path

    def read(event: Event) -> Any:
        inner: Any = event.get(outer)
        return inner.get(name) if inner.__class__ is dict else None

    return read


def _leaving_out(out: Out, paths: Iterable[List[str]]) -> Out:
    """Return `out` with more fields that are left out always."""
    out = _copy(out)
    for path in paths:
        inner = out
        for name in path[:-1]:
            if inner.get(name, NOTHING) is None:  # left out as a whole
                break
            if inner.get(name).__class__ is not dict:
                inner[name] = {}
            inner = inner[name]
        else:
            inner[path[-1]] = None
    return out


def _copy(out: Out) -> Out:
    return {name: _copy(rule) if isinstance(rule, dict) else rule for name, rule in out.items()}


def whole(event: Event) -> Event:
    """Return an event without what the sourcetype and Splunk's own fields have."""
    return {name: value for name, value in event.items() if name not in SPLUNKS}


def _left_out(dataset: Dataset) -> Out:
    """Return what is left out of every event, whatever its other fields are."""
    out: Out = {}
    # The sourcetype implies these values.
    constants = {
        **dataset.constant,
        "event.module": dataset.namespace,
        "event.dataset": dataset.name,
    }
    for path, value in constants.items():
        put(out, path, [value])
    for path, values in dataset.cim.usual.items():
        put(out, path, [*get(out, path, []), *values])
    for path in {*redundant_paths(dataset), "event.created"}:
        put(out, path, None)
    out.update(dict.fromkeys(SPLUNKS))
    return out


def _implications(dataset: Dataset) -> List[Implication]:
    """Return what is left out because of another field."""
    same = {**duplicate_paths(dataset), **dataset.cim.same}
    implied: List[Implication] = [(names(path), names(other), SAME) for path, other in same.items()]
    for path, condition in dataset.cim.implied.items():
        if isinstance(condition, str):
            other, required = condition, ANY
        else:
            ((other, required),) = condition.items()
        implied.append((names(path), names(other), required))
    return implied


def _without(tree: Event, out: Out, last: List[Tuple[str, Any]]) -> Event:
    """Return an object without what is left out, in which an object with one field becomes a dotted
    key. Its long texts are appended to `last`, with their paths."""
    short: Event = {}
    for name, value in tree.items():
        rule = NOTHING
        if name in out:
            rule = out[name]
            if rule is None or (rule.__class__ is list and value in rule):
                continue
        kind = value.__class__
        if kind is str:
            if len(value) <= LONG:
                short[name] = value
            else:
                last.append((name, value))
        elif kind is dict and name not in OBJECTS:
            first = len(last)
            inner = _without(value, rule if rule.__class__ is dict else NOTHING, last)
            if len(last) > first:
                last[first:] = [(f"{name}.{path}", text) for path, text in last[first:]]
            if len(inner) == 1:
                for inner_name in inner:
                    short[f"{name}.{inner_name}"] = inner[inner_name]
            elif inner:
                short[name] = inner
        elif (kind is dict or kind is list) and len(str(value)) > LONG:
            last.append((name, value))
        else:
            short[name] = value
    return short


def _length(value: Any) -> int:
    return len(value) if value.__class__ is str else len(str(value))


def redundant_paths(dataset: Dataset) -> Set[str]:
    """Return the paths that repeat a vendor's value that another path has.

    Of each value these paths remain: those that the CIM reads and the vendor's own names, or else
    the first one. Of a value that is joined from several, or that comes from the settings, only the
    former remain.
    """
    read_by_cim = set(cim_paths(dataset))
    targets: Dict[Any, List[str]] = {}  # (joined or from the settings, source) -> paths
    for row in dataset.rows:
        source: Any
        if isinstance(row, Join):
            source = (row.source, row.target)
        elif isinstance(row, Given):
            source = row.setting
        else:
            source = row.source
        paths = [row.target] if isinstance(row.target, str) else row.target
        targets.setdefault((type(row) in (Given, Join), source), []).extend(paths)
    remaining: Set[str] = set()
    for (is_derived, _), paths in targets.items():
        preferred = [
            path
            for path in paths
            if path in read_by_cim or path.startswith(f"{dataset.namespace}.")
        ]
        if preferred:
            remaining.update(preferred)
        elif not is_derived:
            remaining.update(paths[:1])
    return {path for paths in targets.values() for path in paths} - remaining


def cim_paths(dataset: Dataset) -> Iterator[str]:
    """Yield the paths that a dataset's CIM fields are computed from."""
    for _, _, rule in dataset.cim.rules():
        yield from rule_paths(rule)


def rule_paths(rule: Rule) -> Iterator[str]:
    """Yield the paths of the short event that a rule reads, and then those of its `else`."""
    yield from rule.get("present", ())
    yield from value_paths(rule)
    if isinstance(rule.get("else"), dict):
        yield from rule_paths(rule["else"])


def value_paths(rule: Rule) -> List[str]:
    """Return the paths of the short event that a rule takes its value from, best first."""
    paths = rule.get("out_of") or rule.get("first") or rule.get("join")
    return list(paths) if paths else [rule["from"]] if "from" in rule else []


def duplicate_paths(dataset: Dataset) -> Dict[str, str]:
    """Return path -> the path that has the same value whenever the first is missing.

    These are the further targets of a row, and the pairs of PAIRS that the dataset sets.
    """
    same = {
        path: row.target[0]
        for row in dataset.rows
        if isinstance(row, Field) and not isinstance(row.target, str)
        for path in row.target[1:]
    }
    targets = set(dataset.targets()) - redundant_paths(dataset)
    pairs = {
        path: other
        for path, other in PAIRS.items()
        if path in targets and other in targets and same.get(other) != path
    }
    same.update(pairs)
    return {path: other for path, other in same.items() if not path.startswith("related.")}


def sources(path: str, alternatives: Mapping[str, str]) -> List[str]:
    """Return where the compact event has the value of a path: at the path itself, then at paths
    with an equal value. `alternatives`: as `duplicate_paths` returns them."""
    paths = [path]
    while path in alternatives:
        path = alternatives[path]
        paths.append(path)
    return paths
