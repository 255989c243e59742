"""Fields of an event by their path, and checks of settings.

Mapped events share objects that are constant, so nothing is changed in place: `put` and `remove`
return a new event, and copy the objects along the path.
"""

from __future__ import annotations

from typing import Any, Callable, Collection, Dict, List, Mapping, Optional, Tuple

from ...core.errors import ConfigError
from ...core.manifest import suggest
from ...core.rows import Event

MISSING = object()
# They say which event it is, when it was and what it is: no processor changes them.
PROTECTED = ("event.id", "@timestamp", "event.dataset")
Path = Tuple[Any, ...]  # keys and list indices, from the top of the file to a setting
Describe = Callable[[Path, Path], str]
Names = Tuple[str, ...]


class Place:
    """A setting in the file: its value, and how an error names it.

    `describe` returns the place of a path that is written in the file as another one: `when.equals`
    is one key there. `written`: that one, if it differs.
    """

    def __init__(
        self, describe: Describe, path: Path, value: Any, written: Optional[Path] = None
    ) -> None:
        self.describe = describe
        self.path = path
        self.value = value
        self.written = path if written is None else written
        self.keys: Dict[str, str] = {}  # those that are written with dots, as they are written

    def inner(self, key: Any) -> Place:
        written = (*self.written, self.keys.get(key, key))
        return Place(self.describe, (*self.path, key), self.value[key], written)

    def where(self) -> str:
        """Return the place, as an error names it."""
        return self.describe(self.path, self.written)

    def error(self, problem: str) -> ConfigError:
        return ConfigError(f"{self.where()} {problem}")

    def section(self, allowed: Collection[str] = (), required: Collection[str] = ()) -> Any:
        """Return the value, a section with these keys; without `allowed`, any keys."""
        if not isinstance(self.value, dict) or not self.value:
            expected = ", ".join(allowed) or "a field and a value"
            raise self.error(f"must be a section; allowed are {expected}")
        self._nest(allowed)
        for key in self.value:
            if allowed and key not in allowed:
                hint = suggest(key, allowed)
                problem = f"is not known{hint}; allowed are {', '.join(allowed)}"
                raise self.inner(key).error(problem.replace("?; allowed", "? Allowed"))
        for key in required:
            if key not in self.value:
                raise self.error(f"needs `{key}`")
        return self.value

    def _nest(self, allowed: Collection[str]) -> None:
        """Let `when.equals: x` mean `when: {equals: x}`, for the names that are allowed here."""
        nested: Dict[str, Any] = {}
        for key, value in self.value.items():
            name, dot, rest = key.partition(".")
            if dot and name in allowed:
                value = {rest: value}
            else:
                name = key
            present = nested.get(name, {})
            self.keys.setdefault(name, key)
            both = isinstance(present, dict) and isinstance(value, dict)
            if name in nested and not (both and present.keys().isdisjoint(value)):
                raise self.error(f"sets {key} twice")
            nested[name] = {**present, **value} if both else value
        self.value = nested

    def texts(self) -> List[str]:
        """Return the value, a list of texts that is not empty."""
        value = self.value
        if isinstance(value, list) and value and all(isinstance(v, str) and v for v in value):
            return value
        raise self.error("must be a list of names, such as [first, second]")

    def flag(self, key: str, default: bool) -> bool:
        value = self.value.get(key, default)
        if not isinstance(value, bool):
            raise self.inner(key).error("must be true or false")
        return value


def names_of(path: str) -> Names:
    return tuple(path.split("."))


def require_free(place: Place, path: str) -> Names:
    """Return the names of a path that a processor may change."""
    if not all(path.split(".")):
        raise place.error(f'"{path}" is not a field such as url.query')
    for name in PROTECTED:
        if f"{name}.".startswith(f"{path}.") or f"{path}.".startswith(f"{name}."):
            raise place.error(
                f"cannot change {path}: {', '.join(PROTECTED)} say which event it is; every other"
                " field is allowed"
            )
    return names_of(path)


def find(event: Event, names: Names) -> Any:
    """Return a field's value, or MISSING."""
    value: Any = event
    for name in names:
        if not isinstance(value, dict) or name not in value:
            return MISSING
        value = value[name]
    return value


def put(event: Event, names: Names, value: Any) -> Event:
    """Return the event with a field set."""
    changed = dict(event)
    place = changed
    for name in names[:-1]:
        inner = place.get(name)
        place[name] = dict(inner) if isinstance(inner, dict) else {}
        place = place[name]
    place[names[-1]] = value
    return changed


def merge(event: Event, names: Names, fields: Mapping[str, Any]) -> Event:
    """Return the event with fields set below a path; objects are merged, level by level."""
    for name, value in fields.items():
        path = (*names, *names_of(name))
        if isinstance(value, dict) and value:
            event = merge(event, path, value)
        else:
            event = put(event, path, value)
    return event


def remove(event: Event, names: Names) -> Event:
    """Return the event without a field, and without objects that have no other."""
    changed: Dict[str, Any] = dict(event)
    if len(names) == 1:
        changed.pop(names[0], None)
        return changed
    inner = changed.get(names[0])
    if isinstance(inner, dict):
        rest = remove(inner, names[1:])
        if rest:
            changed[names[0]] = rest
        else:
            del changed[names[0]]
    return changed
