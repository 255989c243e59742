"""Record -> event, by a table. The table is compiled once to straight-line Python. Nothing the
vendor said is dropped."""

from __future__ import annotations

import inspect
import linecache
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, lru_cache, partial
from operator import itemgetter
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

from .identity import BLANKS, canonical, digest, digest_of, identify, spell
from .windows import Millis

# what the vendor said; an object, when the vendor keeps to the page
Record = Any
Event = Dict[str, Any]  # what we say
Names = Union[str, Tuple[str, ...]]
Word = Union[str, Callable[[Any], Any]]  # a name in the record, or a function of the record
Say = Callable[[Record, Millis, Optional[str]], Event]

ECS_VERSION = "9.4.0"
EPOCH = datetime(1970, 1, 1)
LATEST: Millis = 253_402_300_799_999  # the end of the year 9999
ABSENT = (None, "", "-")
REMEMBERED = 1_024  # combinations of what `few` names said, a dataset and its settings
DEEPEST = 128  # levels of what the vendor's objects hold
REFUSED = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
)


def text(said: Any) -> str:
    """Text as it came; a number or a truth value spelled out. Anything with parts is refused."""
    if isinstance(said, str):
        return said
    if isinstance(said, (int, float)):
        return canonical(said)
    raise ValueError("not a text")


class Field(NamedTuple):
    """One row: the vendor's name, our name or names (each gets the value), how to convert.

    A converter takes the value (text already trimmed, never absent), returns ours or None for
    nothing, and raises ValueError for what it does not understand: that is then kept, as sent, in
    `<namespace>.extra`. Keyword-only parameters of a converter are settings, by name.
    """

    theirs: str
    ours: Names
    convert: Callable[..., Any] = text


class Split(NamedTuple):
    """One row whose value gives several of ours: the converter returns a tuple in the order of
    `ours`."""

    theirs: str
    ours: Tuple[str, ...]
    convert: Callable[..., Tuple[Any, ...]]


class Join(NamedTuple):
    """One row made of several of theirs; the converter gets them in order, as sent, None where
    one is absent. What it refuses is nothing."""

    theirs: Tuple[str, ...]
    ours: str
    convert: Callable[..., Any]


class Given(NamedTuple):
    """One row that the person who configured the input says: a setting's value, perhaps
    converted."""

    setting: str
    ours: str
    convert: Callable[[Any], Any] = lambda value: value


Row = Union[Field, Split, Join, Given]


class Lost(NamedTuple):
    """A stretch of time that cannot be read any more, and why."""

    start: Millis
    stop: Millis
    why: str
    scope: str = ""


def as_sent(record: Record) -> Record:
    return record


def rfc3339(moment: Millis) -> str:
    """UTC, milliseconds, `Z`: the one spelling of time in an event. OverflowError outside the years
    0001 to 9999, which no other spelling of four digits can name."""
    return (EPOCH + timedelta(milliseconds=moment)).isoformat(timespec="milliseconds") + "Z"


@dataclass(frozen=True, eq=False)
class Dataset:
    """One kind of event: its name, its clock, its identity, its table."""

    name: str
    # the record -> `@timestamp`; None: the end of the window
    clock: Callable[..., Optional[str]]
    # The vendor's words that name an event, in order; or a function of the record that gives them.
    identity: Union[Tuple[Word, ...], Callable[[Any], Iterable[Any]]]
    rows: Tuple[Row, ...]
    constant: Mapping[str, Any] = field(default_factory=dict)
    redact: Callable[..., Record] = as_sent  # the record as it may be shown whole
    # says how it was when asked: nobody can ask again how it was
    snapshot: bool = False
    # their names that no row reads and `extra` need not repeat
    quiet: Tuple[str, ...] = ()
    # their names that take few values in a day: what their rows make is remembered, and shared by
    # events
    few: Tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        return self.name.partition(".")[0]

    @property
    def source(self) -> str:
        """The compiled mapping as Python, for a person to read."""
        return _compile(self)[0]

    def targets(self) -> List[str]:
        """Every field of ours that this dataset can set, sorted."""
        paths = {path for row in self.rows for path in _ours(row)}
        return sorted(paths | set(self.constant) | set(fixed(self)) | set(ALWAYS))

    def redact_for(self, settings: Any) -> Callable[[Record], Record]:
        """`redact`, as one input's settings want it."""
        return _with_settings(self.redact, settings)

    def bind(self, settings: Any, also: Optional[Mapping[str, Any]] = None) -> Say:
        """The mapping for one input: (record, end of its window, when it was read) -> event.

        `also`: constants of the input that stand beside the vendor's: tags, namespace, agent. Path
        -> value.
        """
        say: Say = _compile(self)[1](self._bound(settings, also))
        return say

    def bind_error(self, settings: Any, also: Optional[Mapping[str, Any]] = None) -> Say:
        """What becomes of a record that the mapping itself fails on: the same event as of one that
        does not fit the page, and where not even that can be made, one that shows nothing of it.
        Never an exception but MemoryError."""
        bound = self._bound(settings, also)

        def error(record: Record, until: Millis, created: Optional[str] = None) -> Event:
            until = min(max(until, 0), LATEST)
            try:
                return bound.unreadable(record, until, created)
            except MemoryError:
                raise
            # too deep, or a fault of the redaction's: then the text must not be shown
            except Exception:
                return bound.hidden(record, until, created)

        return error

    def _bound(self, settings: Any, also: Optional[Mapping[str, Any]]) -> _Bound:
        given = {
            row.ours: row.convert(getattr(settings, row.setting))
            for row in self.rows
            if isinstance(row, Given)
        }
        return _Bound(self, settings, {**fixed(self), **self.constant, **given, **(also or {})})


ALWAYS = (
    "@timestamp",
    "message",
    "event.id",
    "event.kind",
    "event.created",
    "event.original",
    "event.start",
    "event.end",
    "error.message",
)


def _constants(dataset: Dataset) -> List[str]:
    """Every path that may be the same in all events of an input."""
    return [
        *fixed(dataset),
        *dataset.constant,
        *(row.ours for row in dataset.rows if isinstance(row, Given)),
    ]


def fixed(dataset: Dataset) -> Dict[str, Any]:
    """What every event of the dataset says, here and in Elastic's package."""
    return {
        "ecs.version": ECS_VERSION,
        "data_stream.type": "logs",
        "data_stream.dataset": dataset.name,
        "event.dataset": dataset.name,
        "event.module": dataset.namespace,
    }


def lost_event(
    dataset: Dataset, lost: Lost, also: Mapping[str, Any], created: Optional[str] = None
) -> Event:
    """Says which time was lost. Its id is of where the loss begins: that is known before and
    after a crash alike."""
    event = nest(_present({**fixed(dataset), **also}))
    event["@timestamp"] = rfc3339(lost.stop)
    event["message"] = f"lost {rfc3339(lost.start)} to {rfc3339(lost.stop)}: {lost.why}"
    event["event"].update(
        id=identify(dataset.name, ["lost", lost.scope, lost.start]),
        kind="pipeline_error",
        start=rfc3339(lost.start),
        end=rfc3339(lost.stop),
    )
    event["error"] = {"message": event["message"]}
    if created:
        event["event"]["created"] = created
    return event


def _present(flat: Mapping[str, Any]) -> Dict[str, Any]:
    """Leave out what is empty: the contract knows no empty text, list or object."""
    return {path: value for path, value in flat.items() if value not in (None, "", (), [], {})}


def nest(flat: Mapping[str, Any]) -> Event:
    """{"a.b": 1} -> {"a": {"b": 1}}"""
    event: Event = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        place = event
        for name in parents:
            place = place.setdefault(name, {})
        place[leaf] = value
    return event


class _Bound:
    """What a compiled mapping needs of one input: settings, and the constants of each object it
    builds."""

    def __init__(self, dataset: Dataset, settings: Any, constant: Mapping[str, Any]) -> None:
        self.dataset, self.settings = dataset, settings
        self.flat = _present(constant)
        self.tree = nest(self.flat)
        self.keep_original = bool(getattr(settings, "keep_original", False))
        self.redact = _with_settings(dataset.redact, settings)
        self.clock = _with_settings(dataset.clock, settings)

    def remembered(self, frequent: Callable[..., Any]) -> Callable[..., Any]:
        """`frequent` with a memory, the same one for every input whose settings make the same of
        a record."""
        wanted = {
            name
            for convert in (self.dataset.redact, *(row.convert for _, row in _few(self.dataset)))
            for name in _wanted(convert)
        }
        return _memory(
            self.dataset,
            canonical({name: getattr(self.settings, name) for name in wanted}),
            frequent,
        )

    def constants(self, path: str) -> Event:
        """The constants that stand directly in the object at `path`, and whole objects below it
        that never vary."""
        place: Any = self.tree
        for name in filter(None, path.split(".")):
            place = place.get(name, {})
        varying = _objects(self.dataset)
        return {
            name: value
            for name, value in place.items()
            if f"{path}.{name}".lstrip(".") not in varying
        }

    def unreadable(self, record: Record, until: Millis, created: Optional[str]) -> Event:
        """A record that does not fit the page: kept whole, redacted; its id is of the words
        alone."""
        event = self._error(
            canonical(record),
            f"a record of {self.dataset.name} does not have the shape of the vendor's page",
            until,
            created,
        )
        event["event"]["original"] = canonical(self.redact(record))
        return event

    def hidden(self, record: Record, until: Millis, created: Optional[str]) -> Event:
        """A record that can neither be read nor redacted: nothing of it is shown; its id is that
        of `unreadable`, if it is not too deep for one."""
        try:
            name = canonical(record)
        except (RecursionError, ValueError):
            name = f"hidden {digest_of(record)}"
        return self._error(
            name,
            f"a record of {self.dataset.name} can neither be read nor redacted, and is not shown",
            until,
            created,
        )

    def _error(self, name: str, message: str, until: Millis, created: Optional[str]) -> Event:
        event = nest(
            {
                path: value
                for path, value in self.flat.items()
                if path not in ("event.kind", "event.type")
            }
        )
        event["@timestamp"] = rfc3339(until)
        event["event"].update(id=identify(self.dataset.name, [name]), kind="pipeline_error")
        event["error"] = {"message": message}
        if created:
            event["event"]["created"] = created
        return event


def _read(dataset: Dataset) -> List[Tuple[int, Union[Field, Split, Join]]]:
    """The rows that read the record, with their numbers."""
    return [(number, row) for number, row in enumerate(dataset.rows) if not isinstance(row, Given)]


def _with_settings(convert: Callable[..., Any], settings: Any) -> Callable[..., Any]:
    wanted = _wanted(convert)
    return (
        partial(convert, **{name: getattr(settings, name) for name in wanted})
        if wanted
        else convert
    )


@cache
def _wanted(convert: Callable[..., Any]) -> Tuple[str, ...]:
    return tuple(
        name
        for name, of in inspect.signature(convert).parameters.items()
        if of.kind is of.KEYWORD_ONLY
    )


def _ours(row: Row) -> Tuple[str, ...]:
    return (row.ours,) if isinstance(row.ours, str) else row.ours


def _theirs(row: Row) -> Tuple[str, ...]:
    if isinstance(row, Given):
        return ()
    return (row.theirs,) if isinstance(row.theirs, str) else row.theirs


def collects(path: str) -> bool:
    """`related.*` gathers values from all over the event, without repeats."""
    return path.startswith("related.")


MEMORIES: Dict[Tuple[Dataset, str], Callable[..., Any]] = {}


def _memory(dataset: Dataset, settings: str, frequent: Callable[..., Any]) -> Callable[..., Any]:
    return MEMORIES.setdefault(
        (dataset, settings), lru_cache(maxsize=REMEMBERED, typed=True)(frequent)
    )


@cache
def _objects(dataset: Dataset) -> Tuple[str, ...]:
    """The objects that vary from event to event, parents first."""
    found = {""}
    varying = [path for _, row in _read(dataset) for path in _ours(row)]
    for path in [*varying, "event.id", f"{dataset.namespace}.extra"]:
        parents = path.split(".")[:-1]
        found.update(".".join(parents[:depth]) for depth in range(1, len(parents) + 1))
    return tuple(sorted(found, key=lambda path: (path.count(".") if path else -1, path)))


def _variable(path: str) -> str:
    return path.replace(".", "_").replace("@", "") + "_" if path else "root_"


@cache
def _compile(dataset: Dataset) -> Tuple[str, Callable[[_Bound], Say]]:
    """The source and the factory of a dataset's mapping: compiled once, bound to many inputs."""
    source = "\n".join(_lines(dataset)) + "\n"
    name = f"<mapping of {dataset.name}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope: Dict[str, Any] = {
        "REFUSED": REFUSED,
        "digest": digest,
        "spell": spell,
        "BLANKS": BLANKS,
        "canonical": canonical,
        "rfc3339": rfc3339,
        "text": text,
        "shallow": shallow,
    }
    scope.update({_converter(number, row): row.convert for number, row in _read(dataset)})
    scope.update(identify=identify, identity=dataset.identity)
    scope.update(
        {f"word_{number}": word for number, word in enumerate(named_by(dataset)) if callable(word)}
    )
    names = _names(dataset)
    scope.update(
        NAMES=names,
        KNOWN=frozenset(names),
        fetch=itemgetter(*names) if len(names) > 1 else lambda record: (record[names[0]],),
    )
    exec(compile(source, name, "exec"), scope)
    return source, scope["bind"]


def _lines(dataset: Dataset) -> Iterator[str]:
    objects, extra, few = _objects(dataset), _variable(dataset.namespace), dict(_few(dataset))
    settled = _settled(dataset)
    shared = (
        [path for path in objects if path not in settled and _begun(path, settled, few.values())]
        if few
        else []
    )
    constant = [
        path
        for path in objects
        if path == "" or any(name.startswith(f"{path}.") for name in _constants(dataset))
    ]
    said = ", ".join(map(_said, range(len(_names(dataset)))))
    yield "def bind(bound):"
    yield (
        "    clock, redact, unreadable, keep_original = bound.clock, bound.redact,"
        " bound.unreadable, bound.keep_original"
    )
    for path in constant:
        yield f"    {_variable(path)}constants = bound.constants({path!r})"
    for name in dict.fromkeys(name for _, row in _read(dataset) for name in _wanted(row.convert)):
        yield f"    setting_{name} = bound.settings.{name}"
    asked = ", ".join(
        _said(_names(dataset).index(name))
        for name in dict.fromkeys(name for row in few.values() for name in _theirs(row))
    )
    if few:
        yield ""
        yield f"    def frequent({asked}):"
        for path in [*shared, *settled]:
            yield f"        {_variable(path)} = {{}}"
        yield "        kept = {}"
        for number, row in few.items():
            yield from _commented(dataset, number, row)
        yield ""
        yield from _nested(reversed(settled))
        yield f"        return {', '.join(map(_variable, shared))}, kept"
        yield ""
        yield "    frequent = bound.remembered(frequent)"
    yield ""
    yield "    def event(record, until, created=None):"
    yield "        try:"
    yield "            get, timestamp = record.get, clock(record)"
    yield "        except REFUSED:"
    yield "            return unreadable(record, until, created)"
    yield "        try:"
    yield f"            {said}, = fetch(record)"
    yield "            foreign = len(record) != len(NAMES)"
    yield "        except KeyError:"
    yield f"            {said}, = map(get, NAMES)"
    yield "            foreign = True"
    if few:
        begun = ", ".join(f"{_variable(path)}frequent" for path in shared)
        yield "        try:"
        yield f"            {begun}, kept = frequent({asked})"
        yield (
            "        except TypeError:       # a list or an object, which nothing can be"
            " remembered of"
        )
        yield f"            {begun}, kept = frequent.__wrapped__({asked})"
    for path in objects:
        if path not in settled:
            parts = [
                f"{_variable(path)}{part}"
                for part, of in (("constants", constant), ("frequent", shared))
                if path in of
            ]
            yield f"        {_variable(path)} = {_merged(parts) if parts else '{}'}"
    yield "        root_['@timestamp'] = timestamp or rfc3339(until)"
    yield f"        kept = {'kept.copy()' if few else '{}'}"
    for number, row in _read(dataset):
        if number not in few:
            yield from _commented(dataset, number, row)
    yield ""
    yield "        if foreign and not KNOWN.issuperset(record):"
    yield (
        "            kept.update((name, value) for name, value in redact(record).items() if name"
        " not in KNOWN)"
    )
    yield "        if kept:"
    yield f"            {extra}['extra'] = shallow(kept)"
    if callable(dataset.identity):
        yield f"        event_['id'] = identify({dataset.name!r}, identity(record))"
    else:
        for number, word in enumerate(dataset.identity):
            yield f"        said = {_word(dataset, number, word)}"
            yield (
                f"        name_{number} = said.strip(BLANKS) if said.__class__ is str else"
                " spell(said)"
            )
        names = "".join(f"\\n{{name_{number}}}" for number in range(len(dataset.identity)))
        yield f"        event_['id'] = digest(f'{dataset.name}{names}')"
    yield "        if created:"
    yield "            event_['created'] = created"
    yield "        if keep_original:"
    yield "            event_['original'] = canonical(redact(record))"
    yield from _nested(path for path in reversed(objects[1:]) if path not in settled)
    yield "        return root_"
    yield ""
    yield "    return event"


def _commented(dataset: Dataset, number: int, row: Union[Field, Split, Join]) -> Iterator[str]:
    yield ""
    yield f"        # {', '.join(_theirs(row))} -> {', '.join(_ours(row))}"
    yield from (
        " " * 8 + line
        for line in _row(number, row, [_said(_names(dataset).index(name)) for name in _theirs(row)])
    )


def _nested(objects: Iterable[str]) -> Iterator[str]:
    """Children first."""
    for path in objects:
        parent, _, leaf = path.rpartition(".")
        yield f"        if {_variable(path)}:"
        yield f"            {_variable(parent)}[{leaf!r}] = {_variable(path)}"


def _merged(parts: List[str]) -> str:
    """A new object of these; the later win."""
    return (
        f"{parts[0]}.copy()"
        if len(parts) == 1
        else f"{{{', '.join(f'**{part}' for part in parts)}}}"
    )


def _few(dataset: Dataset) -> List[Tuple[int, Union[Field, Split, Join]]]:
    """The rows that read nothing but `few` names. One that must have the last word over another row
    of the event, or gathers into the same list as another, is not among them: these rows come
    first, and what they gather is never added to."""
    found = [
        (number, row) for number, row in _read(dataset) if set(_theirs(row)) <= set(dataset.few)
    ]
    while True:
        rest = [
            (number, path)
            for number, row in _read(dataset)
            if (number, row) not in found
            for path in _ours(row)
        ]
        fit = [
            (number, row)
            for number, row in found
            if not any(
                path == other and (collects(path) or before < number)
                for path in _ours(row)
                for before, other in rest
            )
        ]
        if fit == found:
            return found
        found = fit


def _settled(dataset: Dataset) -> List[str]:
    """The objects in which nothing stands but what `few` rows say; parents first."""
    few = [number for number, _ in _few(dataset)]
    others = [
        "event.id",
        f"{dataset.namespace}.extra",
        *_constants(dataset),
        *(path for number, row in _read(dataset) if number not in few for path in _ours(row)),
    ]
    return [
        path
        for path in _objects(dataset)
        if path and not any(other.startswith(f"{path}.") for other in others)
    ]


def _begun(path: str, settled: List[str], few: Iterable[Union[Field, Split, Join]]) -> bool:
    """Whether `few` rows put something into the object at `path`, themselves or in an object
    that is theirs alone. The event always."""
    return path == "" or any(
        of.rpartition(".")[0] == path
        for of in [*settled, *(of for row in few for of in _ours(row))]
    )


def _converter(number: int, row: Union[Field, Split, Join]) -> str:
    if row.convert is text:
        return "text"
    return f"{getattr(row.convert, '__name__', 'convert').strip('<>')}_{number}"


def _call(number: int, row: Union[Field, Split, Join], said: Iterable[str]) -> str:
    settings = (f"{name}=setting_{name}" for name in _wanted(row.convert))
    return f"{_converter(number, row)}({', '.join([*said, *settings])})"


def _names(dataset: Dataset) -> List[str]:
    """Every name of theirs that the table or the identity reads, or that is left out of `extra`
    on purpose."""
    return list(
        dict.fromkeys(
            [
                *(name for row in dataset.rows for name in _theirs(row)),
                *dataset.quiet,
                *(word for word in named_by(dataset) if isinstance(word, str)),
            ]
        )
    )


def shallow(value: Any) -> Any:
    """Return a value as it is. ValueError for one that is nested so deep that what writes it, or
    a cluster, may give up."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return value
    raise ValueError("nested too deep")


def named_by(dataset: Dataset) -> Tuple[Word, ...]:
    """Return the words of the identity that are listed: none where a function gives them."""
    return () if callable(dataset.identity) else dataset.identity


def _said(number: int) -> str:
    return f"said_{number}"


def _word(dataset: Dataset, number: int, word: Word) -> str:
    return _said(_names(dataset).index(word)) if isinstance(word, str) else f"word_{number}(record)"


def _row(number: int, row: Union[Field, Split, Join], said: List[str]) -> Iterator[str]:
    if isinstance(row, Join):
        yield "try:"  # its parts are kept by rows of their own
        yield f"    value = {_call(number, row, said)}"
        yield "except REFUSED:"
        yield "    value = None"
        yield from _store(row.ours, "value")
    elif row.convert is text:
        yield f"said = {said[0]}"
        yield "if said.__class__ is str:"
        yield "    said = said.strip()"
        yield "    if said and said != '-':"
        yield from (
            " " * 8 + line for path in _ours(row) for line in _store(path, "said", certain=True)
        )
        yield "elif said is not None:"
        yield from _tried(
            row.theirs,
            "value = text(said)",
            [line for path in _ours(row) for line in _store(path, "value", certain=True)],
        )
    else:
        yield f"said = {said[0]}"
        yield "if said.__class__ is str:"
        yield "    said = said.strip()"
        yield "    if not said or said == '-':"
        yield "        said = None"
        yield "if said is not None:"
        values = (
            [f"value_{position}" for position in range(len(row.ours))]
            if isinstance(row, Split)
            else ["value"] * len(_ours(row))
        )
        attempt = (
            f"{', '.join(values)}, = {_call(number, row, ['said'])}"
            if isinstance(row, Split)
            else f"value = {_call(number, row, ['said'])}"
        )
        yield from _tried(
            row.theirs,
            attempt,
            [line for path, value in zip(_ours(row), values) for line in _store(path, value)],
        )


def _tried(theirs: Any, attempt: str, then: List[str]) -> Iterator[str]:
    yield "    try:"
    yield f"        {attempt}"
    yield "    except REFUSED:"
    yield f"        kept[{theirs!r}] = redact({{{theirs!r}: said}})[{theirs!r}]"
    yield "    else:"
    yield from (" " * 8 + line for line in then)


def _store(path: str, value: str, certain: bool = False) -> Iterator[str]:
    parent, _, leaf = path.rpartition(".")
    place, indent = _variable(parent), "" if certain else "    "
    if not certain:
        yield f"if {value} is not None:"
    if collects(path):
        yield f"{indent}if {leaf!r} not in {place}:"
        yield f"{indent}    {place}[{leaf!r}] = [{value}]"
        yield f"{indent}elif {value} not in {place}[{leaf!r}]:"
        yield f"{indent}    {place}[{leaf!r}].append({value})"
    else:
        yield f"{indent}{place}[{leaf!r}] = {value}"
