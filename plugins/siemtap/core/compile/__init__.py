"""A dataset's table, compiled once to straight-line Python and bound to many inputs.

`source_code(dataset)` shows the result; `siemtap export mapping` prints it. Nothing that the vendor
sent is dropped: what no row reads, or a converter refuses, is in `<namespace>.extra`.
"""

from __future__ import annotations

import linecache
from functools import cache
from operator import itemgetter
from typing import (
    Any,
    Callable,
    Dict,
    Mapping,
    Optional,
    Tuple,
)

from ..bounds import TooLong, kept
from ..convert import CONVERSION_ERRORS, LATEST, rfc3339, text
from ..events import pipeline_error, present
from ..identity import BLANKS, canonical, digest, digest_of, identify, spell
from ..model import PeerText
from ..paths import get, nest
from ..rows import (
    CheckedEvent,
    Dataset,
    Event,
    Given,
    Record,
    fixed_fields,
    identity_parts,
    record_rows,
    settings_read,
    shallow,
    with_settings,
)
from ..windows import Millis
from .emit import check_name, converter_name, emit, item_check_name
from .fit import FieldSchemas
from .paths import collect, unread
from .plan import Plan, cached_rows, plan_of, record_targets, varying_objects
from .reading import known_names

# (record, end of its window, time it was read) -> event
MapRecord = Callable[[Record, Millis, Optional[str]], Event]

CACHE_SIZE = 1_024  # combinations of low-cardinality values, for each dataset and its settings
CACHES: Dict[Tuple[Dataset, Optional[FieldSchemas], str], Callable[..., Any]] = {}
SET_IN_EACH = ("@timestamp", "event.id")  # fields that each event gets in the compiled mapping


def bind(
    dataset: Dataset,
    settings: Any,
    added_fields: Optional[Mapping[str, Any]] = None,
    report: Optional[Callable[[str], None]] = None,
    schemas: Optional[FieldSchemas] = None,
) -> MapRecord:
    """Return the mapping for one input.

    `added_fields`: path -> value of what the input adds to every event: tags, namespace, agent.
    `report`: is told why a record cannot be read. `schemas`: each value is checked against them,
    and an event of values that fit is a CheckedEvent.
    """
    binding = Binding(dataset, settings, added_fields or {}, report, schemas)
    map_record: MapRecord = _compiled(dataset, schemas)[1](binding)
    return map_record


def bind_error(
    dataset: Dataset, settings: Any, added_fields: Optional[Mapping[str, Any]] = None
) -> MapRecord:
    """Return the mapping for records on which the compiled mapping itself fails.

    It gives the same event as for a record with an unexpected shape, or one that shows nothing of
    the record where even that fails. It raises MemoryError only.
    """
    binding = Binding(dataset, settings, added_fields or {})

    def map_record(record: Record, until: Millis, created: Optional[str] = None) -> Event:
        until = min(max(until, 0), LATEST)
        try:
            return binding.unreadable(record, until, created)
        except MemoryError:
            raise
        except Exception:  # too deep, or the redaction failed: the text must not be shown
            return binding.hidden(record, until, created)

    return map_record


def source_code(dataset: Dataset, schemas: Optional[FieldSchemas] = None) -> str:
    """Return the compiled mapping as Python, for a person to read."""
    return _compiled(dataset, schemas)[0]


class Binding:
    """What a compiled mapping needs of one input: its settings, and the constant fields of each
    object it builds."""

    def __init__(
        self,
        dataset: Dataset,
        settings: Any,
        added_fields: Mapping[str, Any],
        report: Optional[Callable[[str], None]] = None,
        schemas: Optional[FieldSchemas] = None,
    ) -> None:
        self.dataset = dataset
        self.schemas = schemas
        self.report = report
        self.settings = settings
        given = {
            row.target: row.convert(getattr(settings, row.setting))
            for row in dataset.rows
            if isinstance(row, Given)
        }
        self.fields = present(
            {**fixed_fields(dataset), **dataset.constant, **given, **added_fields}
        )
        self.tree = nest(self.fields)
        self.keep_original = bool(getattr(settings, "keep_original", False))
        self.redact = with_settings(dataset.redact, settings)
        self.clock = with_settings(dataset.clock, settings)

    def cached(self, map_cached: Callable[..., Any]) -> Callable[..., Any]:
        """Return `map_cached` with a cache that inputs share whose settings make no difference to
        it. It raises TooLong for a text that no cache keeps."""
        rows = [row for _, row in cached_rows(self.dataset)]
        converters = [self.dataset.redact, *(row.convert for row in rows)]
        names = {name for convert in converters for name in settings_read(convert)}
        settings = canonical({name: getattr(self.settings, name) for name in names})
        key = (self.dataset, self.schemas, settings)
        return CACHES.setdefault(key, kept(CACHE_SIZE, typed=True)(map_cached))

    @property
    def constants_fit(self) -> bool:
        """Whether the constant fields fit their schemas, and an event has all that is required."""
        if self.schemas is None:
            return False
        return all(
            self.schemas.fits(path)(value) for path, value in self.fields.items()
        ) and self.schemas.is_complete(
            [*self.fields, *SET_IN_EACH], record_targets(self.dataset) | set(self.fields)
        )

    def constants(self, path: str) -> Event:
        """Return the constant fields directly in the object at `path`, and the objects below it
        that are constant as a whole."""
        place = get(self.tree, path, {}) if path else self.tree
        varying = varying_objects(self.dataset)
        return {
            name: value
            for name, value in place.items()
            if f"{path}.{name}".lstrip(".") not in varying
        }

    def unreadable(
        self,
        record: Record,
        until: Millis,
        created: Optional[str],
        error: Optional[Exception] = None,
    ) -> Event:
        """Return the event of a record with an unexpected shape: kept whole, redacted. Its id
        depends on the record only. `error`: why its time could not be read."""
        if self.report and error:
            self.report(_reason(self.dataset, record, error))
        event = self._error(
            canonical(record),
            f"a record of {self.dataset.name} does not have the shape of the vendor's page",
            until,
            created,
        )
        shown = self.redact(record)
        is_text = isinstance(record, PeerText) and isinstance(shown, str)
        event["event"]["original"] = str(shown) if is_text else canonical(shown)
        if isinstance(record, PeerText):  # no field of the schema is the sender of a message
            event["error"]["message"] += f"; {record.peer} sent it"
        return event

    def hidden(self, record: Record, until: Millis, created: Optional[str]) -> Event:
        """Return the event of a record that can neither be read nor redacted: it shows nothing of
        it. Its id is that of `unreadable`, unless the record is too deep for one."""
        try:
            identity = canonical(record)
        except (RecursionError, ValueError):
            identity = f"hidden {digest_of(record)}"
        return self._error(
            identity,
            f"a record of {self.dataset.name} can neither be read nor redacted, and is not shown",
            until,
            created,
        )

    def _error(self, identity: str, message: str, until: Millis, created: Optional[str]) -> Event:
        fields = dict(self.fields)
        for path in ("event.kind", "event.type"):
            fields.pop(path, None)
        return pipeline_error(
            fields,
            time=until,
            id=identify(self.dataset.name, [identity]),
            message=message,
            created=created,
        )


def _reason(dataset: Dataset, record: Record, error: Exception) -> str:
    """Return why a record cannot be read. Nothing of the record is shown: a key only if it stands
    in the code of the dataset's `clock`."""
    if not isinstance(record, dict):
        kind = str if isinstance(record, str) else type(record)
        return f"it is no object, but {kind.__name__}"
    code = getattr(dataset.clock, "__code__", None)
    if isinstance(error, KeyError) and code and error.args[0] in code.co_consts:
        return f"it has no `{error.args[0]}`"
    return f"its time cannot be read ({type(error).__name__})"


@cache
def _compiled(
    dataset: Dataset, schemas: Optional[FieldSchemas] = None
) -> Tuple[str, Callable[[Binding], MapRecord]]:
    """Return the source of a dataset's mapping, and the function in it that binds an input."""
    plan = plan_of(dataset, schemas)
    source = "\n".join(emit(plan)) + "\n"
    file = f"<{'checked ' if schemas else ''}mapping of {dataset.name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope = _names_of_source(plan)
    exec(compile(source, file, "exec"), scope)
    return source, scope["bind"]


def _names_of_source(plan: Plan) -> Dict[str, Any]:
    """Return the values that the compiled source refers to by name."""
    dataset, keys = plan.dataset, plan.keys
    scope: Dict[str, Any] = {
        "CONVERSION_ERRORS": CONVERSION_ERRORS,
        "BLANKS": BLANKS,
        "TooLong": TooLong,
        "canonical": canonical,
        "collect": collect,
        "digest": digest,
        "identify": identify,
        "identity": dataset.identity,
        "rfc3339": rfc3339,
        "shallow": shallow,
        "spell": spell,
        "text": text,
        "unread": unread,
        "RECORD": plan.record,
        **known_names(plan),
    }
    for number, row in record_rows(dataset):
        scope[converter_name(number, row)] = row.convert
    for number, part in enumerate(identity_parts(dataset)):
        if callable(part):
            scope[f"id_part_{number}"] = part
    if plan.schemas:
        scope["CheckedEvent"] = CheckedEvent
        for path in plan.checked:
            scope[check_name(plan, path)] = plan.schemas.fits(path)
            scope[item_check_name(plan, path)] = plan.schemas.item_fits(path)
    scope["KEYS"] = keys
    scope["KNOWN"] = frozenset(keys)
    if len(keys) > 1:
        scope["fetch"] = itemgetter(*keys)
    else:
        scope["fetch"] = lambda record: (record[keys[0]],)
    return scope
