"""The check of an event against the schema of its dataset, compiled."""

from __future__ import annotations

import copy
import json
from typing import Any, Dict, Iterable, List, Optional

import jsonschema_rs

from ..core.compile.fit import FieldSchemas
from ..core.paths import find, put
from ..core.rows import CheckedEvent, Dataset, Event
from ..edge.encode import LONE_SURROGATE
from .datasets import field_schemas, schema_of


class SchemaCheck:
    """The check of events against the schemas of their datasets, compiled at the first event that
    is no CheckedEvent.

    `check(event)` returns why an event is invalid, or None.
    """

    def __init__(self, contract: Dict[str, Any], datasets: Iterable[Dataset]) -> None:
        self.contract = contract
        self.datasets = {dataset.name: dataset for dataset in datasets}
        self.schemas: Dict[str, FieldSchemas] = {}
        self.validators: Dict[str, Any] = {}

    def __call__(self, event: Event) -> Optional[str]:
        if isinstance(event, CheckedEvent):
            return None
        name = event["event"]["dataset"]
        validator = self.validators.get(name) or self.validator(name)
        if validator is None:
            return f"no installed plugin has the dataset {name}"
        try:
            if validator.is_valid(event):
                return None
        except UnicodeEncodeError:  # a lone surrogate
            if is_valid(validator, event):
                return None
        return describe_error(validator, event)

    def fields_of(self, dataset: Dataset) -> FieldSchemas:
        """Return what the schema of a dataset says of its fields."""
        if dataset.name not in self.schemas:
            schema = schema_of(self.contract, dataset)
            self.schemas[dataset.name] = field_schemas(schema, dataset)
        return self.schemas[dataset.name]

    def validator(self, name: str) -> Any:
        """Return the validator of a dataset, compiled for its first event; None for a name that no
        installed plugin has."""
        if name not in self.validators and name in self.datasets:
            self.validators[name] = jsonschema_rs.Draft7Validator(
                schema_of(self.contract, self.datasets[name]), validate_formats=True
            )
        return self.validators.get(name)

    def without_unfit(self, event: Event) -> Optional[Event]:
        """Return an invalid event with each value that does not fit its field in
        `<namespace>.extra` instead, under the path of the field.

        None if that does not make it valid: a required field is wrong, or there is one that the
        dataset does not have.
        """
        name = event["event"]["dataset"]
        validator = self.validator(name)
        if validator is None:
            return None
        namespace = name.partition(".")[0]
        valid = copy.deepcopy(event)
        extra = find(event, [namespace, "extra"], {})
        extra = dict(extra) if isinstance(extra, dict) else {}
        for names in unfit_fields(validator, event):
            parent = find(valid, names[:-1])
            if not isinstance(parent, dict) or names[-1] not in parent:
                return None
            extra[".".join(names)] = parent.pop(names[-1])
            _drop_empty(valid, names[:-1])
        put(valid, f"{namespace}.extra", extra)
        return valid if is_valid(validator, valid) else None


def unfit_fields(validator: Any, event: Event) -> List[List[str]]:
    """Return the path of each field with a value that its schema refuses; a list as a whole."""
    text = json.dumps(event, ensure_ascii=False, default=str)
    fields = []
    for error in validator.iter_errors(_without_surrogates(text)):
        names = list(error.instance_path)
        ends = [place for place, name in enumerate(names) if not isinstance(name, str)]
        field = names[: ends[0]] if ends else names
        if field and field not in fields:
            fields.append(field)
    return fields


def _drop_empty(event: Event, names: List[str]) -> None:
    """Remove an object that has no fields left, and those around it."""
    for depth in range(len(names), 0, -1):
        parent = find(event, names[: depth - 1])
        if parent[names[depth - 1]]:
            return
        del parent[names[depth - 1]]


def is_valid(validator: Any, event: Event) -> bool:
    """Return whether an event is valid.

    The compiled validator reads UTF-8, which has no lone surrogates, so U+FFFD stands in for them.
    No rule of the contract depends on one.
    """
    try:
        return bool(validator.is_valid(event))
    except UnicodeEncodeError:
        return bool(validator.is_valid(_without_surrogates(json.dumps(event, ensure_ascii=False))))


def describe_error(validator: Any, event: Event) -> str:
    """Return the first error and its path, and the field that is missing. Values and names of the
    event's own fields are left out: they may come from an attacker."""
    text = json.dumps(event, ensure_ascii=False, default=str)
    for error in validator.iter_errors(_without_surrogates(text)):
        rule = "/".join(map(str, error.schema_path))
        path = ".".join(map(str, error.instance_path))
        missing = getattr(error.kind, "property", "")  # of `required`, by the schema
        return f"{path or 'the event'} breaks {rule}{missing and f': {missing} is missing'}"
    return "it cannot be validated"


def _without_surrogates(text: str) -> Any:
    return json.loads(LONE_SURROGATE.sub("\ufffd", text))
