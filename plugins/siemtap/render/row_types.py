"""The types of a dataset's fields, from the annotations of its rows' converters."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from functools import cache, reduce
from typing import (
    Annotated,
    Any,
    Callable,
    Dict,
    Iterable,
    Literal,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from ..core.compile.paths import is_list
from ..core.convert import FLATTENED, KEYWORD, NO_VALUE, FieldType
from ..core.declared import Const, Declared, Integer, Lookup, Lower, Match, Text, declaration_of
from ..core.rows import Dataset, Given, Join, Row, Split, is_collected, targets_of

UNIONS = (Union, getattr(types, "UnionType", Union))  # Optional[X]; X | Y, of Python 3.10
SCALARS: Mapping[Any, FieldType] = {
    str: KEYWORD,
    int: FieldType("long"),
    float: FieldType("double"),
    bool: FieldType("boolean"),
    type(None): NO_VALUE,
}


class UnknownType(ValueError):
    """Annotations that contradict each other, or the row. The message names what to write."""


@cache
def field_types(dataset: Dataset) -> Mapping[str, Optional[FieldType]]:
    """Return path -> type of every field that the rows and the constants set.

    None for a field whose converter says none. UnknownType where two of them contradict each
    other.
    """
    kinds: Dict[str, Optional[FieldType]] = {
        path: _of_value(value) for path, value in dataset.constant.items()
    }
    for row in dataset.rows:
        for path, kind in types_of(row).items():
            known = kinds.get(path)
            kinds[path] = _merge_at(path, known, kind) if kind else known
    return kinds


def own_types(datasets: Iterable[Dataset]) -> Dict[str, FieldType]:
    """Return path -> type of the vendor's own fields, of datasets with the same object."""
    kinds: Dict[str, FieldType] = {}
    for dataset in datasets:
        kinds[f"{dataset.namespace}.extra"] = FLATTENED
        for path, kind in field_types(dataset).items():
            if path.startswith(f"{dataset.namespace}.") and kind is not None:
                kinds[path] = _merge_at(path, kinds.get(path), kind)
    return kinds


def _merge_at(path: str, known: Optional[FieldType], kind: FieldType) -> FieldType:
    try:
        return merge(known, kind) if known else kind
    except UnknownType as error:
        raise UnknownType(f"{path}: {error}") from None


def types_of(row: Row) -> Dict[str, Optional[FieldType]]:
    """Return path -> type of the fields that a row sets; None where the converter says none.

    UnknownType for a converter that returns another number of values than the row has fields.
    """
    targets = targets_of(row)
    result = result_of(row.convert)
    kinds: Sequence[Optional[FieldType]] = [result] * len(targets)  # type: ignore[list-item]
    if isinstance(result, Several):
        if not isinstance(row, Split):
            raise UnknownType(f"{_name(row)} returns several values: write Split, and not Field")
        kinds = result.parts * len(targets) if result.any_number else result.parts
        if len(kinds) != len(targets):
            raise UnknownType(
                f"{_name(row)} returns {len(kinds)} values, and the row has {len(targets)} fields"
            )
    elif isinstance(row, Split) and result is not None:
        raise UnknownType(f"{_name(row)} returns one value: write Field, and not Split")
    # every element's value is converted, and the field is their list
    is_many = not isinstance(row, (Join, Given)) and is_list(row.source)
    return {
        path: kind._replace(many=True) if kind and (is_many or is_collected(path)) else kind
        for path, kind in zip(targets, kinds)
    }


class Several(NamedTuple):
    """The types of what a converter of several fields returns."""

    parts: Tuple[Optional[FieldType], ...]
    any_number: bool = False  # Tuple[X, ...]: as many as the row has fields


Result = Union[FieldType, Several, None]


def result_of(convert: Callable[..., Any]) -> Result:
    """Return the type of what a converter returns; None if it does not say."""
    if isinstance(convert, type):
        return SCALARS.get(convert)
    declaration = declaration_of(convert)
    if declaration is not None:
        return _of_declaration(declaration)
    function = inspect.unwrap(convert)
    if not inspect.isfunction(function):
        return None
    try:
        hints = _hints_of(function)
    except NameError:  # of a name that is imported for the type checker only
        return None
    return _of_hint(hints["return"]) if "return" in hints else None


@cache
def _hints_of(annotated: Any) -> Dict[str, Any]:
    """Return the annotations of a function or of a TypedDict. Many rows share a converter."""
    return typing.get_type_hints(annotated, include_extras=True)


def _of_declaration(declaration: Declared) -> Result:
    if isinstance(declaration, Text):
        return declaration.kind
    if isinstance(declaration, Integer):
        return FieldType("long", least=declaration.least, most=declaration.most)
    if isinstance(declaration, Lower):
        return KEYWORD
    if isinstance(declaration, Const):
        return _of_value(declaration.value)
    if isinstance(declaration, Lookup):
        kinds = [_of_value(value) for value in declaration.values.values()]
        if declaration.otherwise is not None:
            kinds.append(_one(result_of(declaration.otherwise)))
        return _merged(kinds)
    if isinstance(declaration, Match):
        return Several(tuple(_one(result_of(convert)) for _, convert in declaration.parts))
    return Several(tuple(_one(result_of(convert)) for convert in declaration.parts))


def _of_hint(hint: Any) -> Result:
    """Return the type that an annotation says."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return next((mark for mark in arguments[1:] if isinstance(mark, FieldType)), None)
    if origin is tuple:
        any_number = len(arguments) == 2 and arguments[1] is Ellipsis
        parts = arguments[:1] if any_number else arguments
        return Several(tuple(_one(_of_hint(part)) for part in parts), any_number)
    if origin in UNIONS:
        results = [_of_hint(argument) for argument in arguments if argument is not type(None)]
        if len(results) == 1:
            return results[0]
        return _merged([_one(result) for result in results])
    if origin is Literal:
        return _merged([_of_value(value) for value in arguments])
    if origin in (list, collections.abc.Sequence):
        inner = _one(_of_hint(arguments[0]))
        return inner._replace(many=True) if inner else None
    if origin in (dict, collections.abc.Mapping) or hint is dict:
        return FLATTENED
    if _is_record(hint):
        kinds = {name: _one(_of_hint(member)) for name, member in _hints_of(hint).items()}
        known = ((name, kind) for name, kind in kinds.items() if kind is not None)
        return FieldType("object", properties=tuple(known))
    return SCALARS.get(hint)


def _is_record(hint: Any) -> bool:
    """Return whether an annotation is a TypedDict."""
    return isinstance(hint, type) and issubclass(hint, dict) and hasattr(hint, "__total__")


def _one(result: Result) -> Optional[FieldType]:
    return None if isinstance(result, Several) else result


def _of_value(value: Any) -> Optional[FieldType]:
    """Return the type of a value that is always the same."""
    if isinstance(value, (list, tuple)):
        inner = _merged([_of_value(item) for item in value])
        return inner._replace(many=True) if inner else None
    if isinstance(value, dict):
        return FLATTENED
    kind = SCALARS.get(type(value))
    return kind._replace(values=(value,)) if kind and value is not None else kind


def _merged(kinds: Iterable[Optional[FieldType]]) -> Optional[FieldType]:
    """Return the type of a field that has one of these; None if one is unknown."""
    kinds = list(kinds)
    if not kinds or None in kinds:
        return None
    return reduce(merge, kinds)  # type: ignore[arg-type]


def merge(first: FieldType, second: FieldType) -> FieldType:
    """Return the type of a field that has values of both. UnknownType if there is none."""
    if NO_VALUE in (first, second):
        return second if first == NO_VALUE else first
    kinds = {first.kind, second.kind}
    if kinds == {"long", "double"}:
        kinds = {"double"}
    if len(kinds) > 1 or first.many != second.many:
        raise UnknownType(f"{describe(first)} and {describe(second)} are two types")
    return FieldType(
        kinds.pop(),
        first.many,
        first.indexed and second.indexed,
        tuple(dict.fromkeys((*first.values, *second.values)))
        if first.values and second.values
        else (),
        _bound(min, first.least, second.least),
        _bound(max, first.most, second.most),
        tuple({**dict(first.properties), **dict(second.properties)}.items()),
    )


def _bound(
    choose: Callable[[int, int], int], first: Optional[int], second: Optional[int]
) -> Optional[int]:
    return None if first is None or second is None else choose(first, second)


def describe(kind: FieldType) -> str:
    """Return a type as a person reads it: `list of keyword`."""
    return f"list of {kind.kind}" if kind.many else kind.kind


def _name(row: Row) -> str:
    return getattr(row.convert, "__name__", type(row.convert).__name__)
