"""The table of a dataset: which value of a vendor's record becomes which field of an event.

A plugin writes rows. `core.compile` turns them into Python; the renderers turn them into templates,
pipelines and documentation.

A row reads a key of the record, or a path into nested objects: `actor.ip`. `indicators[0].value`
reads one element of a list, `indicators[].value` all of them, `indicators[type=ip].value` those
whose `type` is `ip`. Where a part of the path is missing
or is not the object or list it should be, there is no value. What no row reads is kept in
`<namespace>.extra`, nested as it was. A key that itself holds a dot or a bracket cannot be read by
a path: it is kept there, too.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from functools import cache, partial
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
    Union,
)

from .convert import text
from .paths import get

Record = Any  # one record as the vendor sent it; an object, if the vendor keeps to its page
Event = Dict[str, Any]  # one event in the shared schema


class CheckedEvent(Dict[str, Any]):
    """An event that fits its schema: each value was checked when the mapping put it there, or the
    whole when it was read. Whoever changes an event makes a new one, which is none of these."""

    __slots__ = ()


Targets = Union[str, Tuple[str, ...]]
IdentityPart = Union[str, Callable[[Any], Any]]  # a path in the record, or a function of the record

ECS_VERSION = "9.4.0"
ABSENT = (None, "", "-")  # values that mean "no value"
MAX_DEPTH = 128  # levels of nesting that an event may have
SET_BY_CODE = (
    "@timestamp",
    "message",
    "event.id",
    "event.kind",
    "event.created",
    "event.original",
    "event.start",
    "event.end",
    "error.message",
)  # fields that an event may have although no row names them


class Field(NamedTuple):
    """One value of the record that becomes one field of the event, or several with the same value.

    `convert` gets the value (text is trimmed; absent values never arrive) and returns the field's
    value, or None for no field. It raises ValueError for what it does not understand: the value is
    then kept as sent in `<namespace>.extra`. Keyword-only parameters of a converter are settings of
    the input, by name.

    A path with `[]` reads a list: `convert` gets each value, and the field is the list of what it
    returns. It also is for a list of one.
    """

    source: str
    target: Targets
    convert: Callable[..., Any] = text


class Split(NamedTuple):
    """One value of the record that becomes several fields: `convert` returns a tuple in the order
    of `target`. Of a list, each field is a list."""

    source: str
    target: Tuple[str, ...]
    convert: Callable[..., Tuple[Any, ...]]


class Join(NamedTuple):
    """Several values of the record that become one field. `convert` gets the values in order, as
    sent, None for an absent one; for a path with `[]` a list of them. A value it refuses gives no
    field."""

    source: Tuple[str, ...]
    target: str
    convert: Callable[..., Any]


class Given(NamedTuple):
    """A setting of the input that becomes a field of all its events."""

    setting: str
    target: str
    convert: Callable[[Any], Any] = lambda value: value


Row = Union[Field, Split, Join, Given]
RecordRow = Union[Field, Split, Join]  # a row that reads the record


def as_sent(record: Record) -> Record:
    """Return the record: for a dataset whose records hold no secret."""
    return record


Rule = Mapping[str, Any]  # where a field of the CIM comes from


class CimClass(NamedTuple):
    """The events of a dataset that are in the same data models of the CIM."""

    models: Tuple[str, ...]  # data models, as schemas/cim.json names them
    tags: Tuple[str, ...]  # that put the events into these models
    values: Tuple[str, ...] = ()  # of the field `Cim.by`; none: all events
    fields: Mapping[str, Rule] = {}  # name -> rule; they go before those of `Cim.fields`


class Cim(NamedTuple):
    """How a dataset appears in Splunk's Common Information Model (CIM).

    The events of a dataset are in the same `models`; or `by` is the path of the field that tells
    its `classes` apart, each with its own models. An event of no class is in no model.

    A rule of `fields` says where a CIM field comes from: `from` a field of the event, `is` a
    constant, `map` a value of ours (in lower case with `lower`) to one of theirs, `first` the first
    of several that is there, `join` several with a blank between them, `unless` a value that says
    nothing, `length` its characters, `part` the first group of an expression, `per` the number that
    it is divided by. `else` is what it is otherwise: a constant, or another rule.
    Splunk's copy of an event is short: `out_of` says what it makes the field of instead (the first
    that is there), `match` the expression whose first group is it, `present` what it is where a
    path is there.
    """

    models: Tuple[str, ...] = ()  # data models, as schemas/cim.json names them
    tags: Tuple[str, ...] = ()  # that put the events into these models
    custom: Tuple[str, ...] = ()  # fields of no model
    fields: Mapping[str, Rule] = {}  # name -> rule
    # path -> values that Splunk's copy leaves out; a rule that reads the path gets the only one
    usual: Mapping[str, List[Any]] = {}
    # path -> the path, or {path: its value}, that gives the first one back
    implied: Mapping[str, Union[str, Mapping[str, Any]]] = {}
    same: Mapping[str, str] = {}  # path -> the path that it repeats
    by: str = ""  # path whose value tells the classes apart
    classes: Mapping[str, CimClass] = {}  # name -> class

    def groups(self) -> Mapping[str, CimClass]:
        """Return the classes by name: "" for the only one of a dataset that names none."""
        if self.classes or not (self.models or self.tags):
            return self.classes
        return {"": CimClass(self.models, self.tags)}

    def class_of(self, event: Event) -> Optional[CimClass]:
        """Return the class of an event; None if it is in no data model, as one that reports an
        error."""
        if get(event, "event.kind") == "pipeline_error":
            return None
        value = get(event, self.by) if self.by else None
        groups = self.groups().values()
        return next((each for each in groups if not each.values or value in each.values), None)

    def rules_of(self, of: Optional[CimClass]) -> Dict[str, Rule]:
        """Return name -> rule of the events of a class; of None, those of no class."""
        return {**self.fields, **(of.fields if of else {})}

    def rules(self) -> Iterator[Tuple[str, Tuple[str, ...], Rule]]:
        """Yield (name, values of `by`, rule) of every field, sorted by name. The rules of classes
        go first; no values: all other events."""
        groups = [*self.groups().values(), CimClass((), (), (), self.fields)]
        for name in sorted({name for each in groups for name in each.fields}):
            for each in groups:
                if name in each.fields:
                    yield name, each.values, each.fields[name]


@dataclass(frozen=True, eq=False)
class Dataset:
    """One kind of event: its name, time, identity and table."""

    name: str
    # (record) -> `@timestamp`; None: the end of the window that was read
    clock: Callable[..., Optional[str]]
    # the paths whose values identify an event, in order; or (record) -> those values
    identity: Union[Tuple[IdentityPart, ...], Callable[[Any], Iterable[Any]]]
    rows: Tuple[Row, ...]
    # field -> value, the same in every event
    constant: Mapping[str, Any] = field(default_factory=dict)
    # (record) -> the record without its secrets, for `event.original` and `extra`
    redact: Callable[..., Record] = as_sent
    # the record is a state at the time of the request; an earlier state cannot be read again
    snapshot: bool = False
    # the vendor returns a record only as it is now; an earlier version is an event of its own
    latest_only: bool = False
    # the field by whose time the vendor selects records: how late one came is measured by it
    selected_by: str = "@timestamp"
    # starts of paths that tell of the query: they differ each time the record is read
    of_query: Tuple[str, ...] = ()
    # paths that no row reads and that `extra` leaves out, with all that is nested in them
    expected_keys: Tuple[str, ...] = ()
    # paths with few different values a day: the fields made of them alone are cached
    low_cardinality: Tuple[str, ...] = ()
    cim: Cim = Cim()

    @property
    def namespace(self) -> str:
        """The vendor's own object in the event: the part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def short_name(self) -> str:
        """The name without the plugin's: the part after the dot."""
        return self.name.partition(".")[2]

    def targets(self) -> List[str]:
        """Return every field that an event of this dataset can have, sorted."""
        paths = {path for row in self.rows for path in targets_of(row)}
        return sorted(paths | set(self.constant) | set(fixed_fields(self)) | set(SET_BY_CODE))

    def redact_for(self, settings: Any) -> Callable[[Record], Record]:
        """Return `redact` with the settings of one input."""
        return with_settings(self.redact, settings)


def fixed_fields(dataset: Dataset) -> Dict[str, Any]:
    """Return the fields that the dataset's name and the ECS version decide."""
    return {
        "ecs.version": ECS_VERSION,
        "data_stream.type": "logs",
        "data_stream.dataset": dataset.name,
        "event.dataset": dataset.name,
        "event.module": dataset.namespace,
    }


def constant_paths(dataset: Dataset) -> List[str]:
    """Return every field that may be the same in all events of an input."""
    given = [row.target for row in dataset.rows if isinstance(row, Given)]
    return [*fixed_fields(dataset), *dataset.constant, *given]


def record_rows(dataset: Dataset) -> List[Tuple[int, RecordRow]]:
    """Return the rows that read the record, with their position in the table."""
    return [(number, row) for number, row in enumerate(dataset.rows) if not isinstance(row, Given)]


def targets_of(row: Row) -> Tuple[str, ...]:
    """Return the fields that a row sets."""
    return (row.target,) if isinstance(row.target, str) else row.target


def sources_of(row: Row) -> Tuple[str, ...]:
    """Return the paths that a row reads."""
    if isinstance(row, Given):
        return ()
    return (row.source,) if isinstance(row.source, str) else row.source


def identity_parts(dataset: Dataset) -> Tuple[IdentityPart, ...]:
    """Return the listed parts of the identity; none if a function gives them."""
    return () if callable(dataset.identity) else dataset.identity


def paths_read(dataset: Dataset) -> List[str]:
    """Return every path that a row or the identity reads, or that `extra` leaves out."""
    paths = [path for row in dataset.rows for path in sources_of(row)]
    paths += dataset.expected_keys
    paths += [part for part in identity_parts(dataset) if isinstance(part, str)]
    return list(dict.fromkeys(paths))


def is_collected(path: str) -> bool:
    """Return whether a field is a list of values from several rows: `related.*`."""
    return path.startswith("related.")


def escape_key(name: str) -> str:
    """Return a vendor's key; with "_" in front if it begins with "@", like the keys that a plugin
    adds to a record."""
    return f"_{name}" if name.startswith("@") else name


def with_settings(convert: Callable[..., Any], settings: Any) -> Callable[..., Any]:
    """Return a converter with its settings filled in."""
    names = settings_read(convert)
    if not names:
        return convert
    return partial(convert, **{name: getattr(settings, name) for name in names})


@cache
def settings_read(convert: Callable[..., Any]) -> Tuple[str, ...]:
    """Return the settings that a converter reads: its keyword-only parameters."""
    if isinstance(convert, type):  # int, float: some have no signature
        return ()
    parameters = inspect.signature(convert).parameters.items()
    return tuple(name for name, parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY)


class TooDeep(ValueError):
    """A record is nested too deep. The log names errors by their class only."""


def shallow(value: Any) -> Any:
    """Return a value as it is. TooDeep if it is nested deeper than MAX_DEPTH: an encoder or a
    cluster may refuse it."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return value
    raise TooDeep("nested too deep")
