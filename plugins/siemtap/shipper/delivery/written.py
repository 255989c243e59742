"""Events that were written as JSON as soon as they were mapped.

The events of a page do not fit into the processor's cache, so each one is written while it is
there, and only its line and a few of its fields stay in memory.
"""

from __future__ import annotations

from typing import Any, Dict, ItemsView, Iterator, KeysView, NoReturn, ValuesView

import orjson

from ...core.rows import CheckedEvent
from ...edge.encode import encode

# What is asked of each event on its way.
KEPT = ("@timestamp", "event", "data_stream", "rule", "source", "service")


class WrittenEvent(CheckedEvent):
    """An event and its line. It holds the fields of KEPT; every other one is read from the line
    when it is asked for.

    `line`: the event as `encode` writes it.
    """

    __slots__ = ("line",)

    def __init__(self, event: CheckedEvent, line: bytes) -> None:
        super().__init__({name: event[name] for name in KEPT if name in event})
        self.line = line

    def whole(self) -> Dict[str, Any]:
        """Return the event with all its fields, as a reader of the line has it."""
        fields: Dict[str, Any] = orjson.loads(self.line)
        return fields

    def __missing__(self, name: str) -> Any:
        if name in KEPT:
            raise KeyError(name)
        return self.whole()[name]

    def get(self, name: str, default: Any = None) -> Any:
        return dict.get(self, name, default) if name in KEPT else self.whole().get(name, default)

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) if name in KEPT else name in self.whole()

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


def written(event: CheckedEvent) -> WrittenEvent:
    """Return an event with its line. Raise what `encode` does."""
    return WrittenEvent(event, encode(event))
