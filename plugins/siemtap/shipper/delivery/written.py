"""Events that were written as JSON as soon as they were mapped.

The events of a page do not fit into the processor's cache, so each one is written while it is
there, and only its line and a few of its fields stay in memory.
"""

from __future__ import annotations

import json
from typing import (
    AbstractSet,
    Any,
    Dict,
    ItemsView,
    Iterator,
    KeysView,
    NoReturn,
    Optional,
    Tuple,
    ValuesView,
)

from ...core.rows import CheckedEvent
from ...edge.encode import encode
from ...engine.mapper import Write
from ...outputs.index_names import fields_in
from ..config.sections import Input
from .routes import Route

# What is asked of each event on its way, whatever its output.
KEPT = ("@timestamp", "event", "data_stream", "rule", "source", "service")


class WrittenEvent(CheckedEvent):
    """An event and its line. It holds a few fields, as they were mapped; every other one is read
    from the line when it is asked for.

    `line`: the event as `encode` writes it. `kept`: the first names of the fields it holds, if it
    has them.
    """

    __slots__ = ("kept", "line")

    def __init__(self, event: CheckedEvent, line: bytes, kept: Tuple[str, ...]) -> None:
        super().__init__({name: event[name] for name in kept if name in event})
        self.line = line
        self.kept = kept

    def whole(self) -> Dict[str, Any]:
        """Return the event with all its fields, as a reader of the line has it."""
        fields: Dict[str, Any] = json.loads(self.line)  # orjson changes numbers beyond 64 bits
        return fields

    def __missing__(self, name: str) -> Any:
        if name in self.kept:
            raise KeyError(name)
        return self.whole()[name]

    def get(self, name: str, default: Any = None) -> Any:
        return (
            dict.get(self, name, default) if name in self.kept else self.whole().get(name, default)
        )

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) if name in self.kept else name in self.whole()

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.whole())

    def __len__(self) -> int:
        return len(self.whole())

    def keys(self) -> KeysView[str]:  # type: ignore[override] # views of another object
        return self.whole().keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        return self.whole().values()

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        return self.whole().items()

    def __eq__(self, other: object) -> bool:
        return self.whole() == (other.whole() if isinstance(other, WrittenEvent) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __or__(self, other: Any) -> Any:
        return self.whole() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.whole()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self.whole())

    def copy(self) -> Dict[str, Any]:
        return self.whole()

    def __reduce__(self) -> Any:
        return dict, (self.whole(),)

    def _refuse(self, *args: Any, **more: Any) -> NoReturn:
        raise TypeError("an event that was written is not changed: change a copy")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse


def writer_of(config: Input, route: Route) -> Optional[Write]:
    """Return what writes the events of an input while they are mapped; None if its output sends
    other lines, or its processors may change them."""
    if route.kept is None or config.processors:
        return None
    times = {dataset.selected_by.partition(".")[0] for dataset in config.plugin.datasets}
    return writer(route.kept | fields_in(config.common.index) | times)


def writer(fields: AbstractSet[str]) -> Write:
    """Return what writes an event, and raises what `encode` does.

    `fields`: first names of those that will be asked of each event, besides KEPT.
    """
    kept = (*KEPT, *sorted(fields - set(KEPT)))

    def write(event: CheckedEvent) -> WrittenEvent:
        return WrittenEvent(event, encode(event), kept)

    return write
