"""Dotted paths into nested objects: `source.geo.name` in {"source": {"geo": {"name": "x"}}}."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple


def names(path: str) -> List[str]:
    """Return the names of a path, from the outermost object to the value."""
    return path.split(".")


def parents(path: str) -> List[str]:
    """Return the paths of the objects around a value, the outermost first."""
    parts = names(path)
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def get(tree: Any, path: str, default: Any = None) -> Any:
    """Return the value at a path, or `default` if it or an object around it is missing."""
    return find(tree, names(path), default)


def find(tree: Any, names: Iterable[str], default: Any = None) -> Any:
    """Return the value at a path that is split already, or `default`."""
    for name in names:
        if not isinstance(tree, dict):
            return default
        tree = tree.get(name, default)
    return tree


def put(tree: Dict[str, Any], path: str, value: Any, between: str = "") -> None:
    """Set the value at a path, and make the objects around it that are missing.

    `between`: the key under which each of these objects holds its fields, such as the `properties`
    of a schema.
    """
    *objects, leaf = names(path)
    for name in objects:
        tree = tree.setdefault(name, {})
        if between:
            tree = tree.setdefault(between, {})
    tree[leaf] = value


def nest(fields: Mapping[str, Any], between: str = "") -> Dict[str, Any]:
    """Return nested objects: {"a.b": 1} -> {"a": {"b": 1}}. `between` is as for `put`."""
    tree: Dict[str, Any] = {}
    for path, value in fields.items():
        put(tree, path, value, between)
    return tree


def leaves(
    tree: Any, item: Optional[Callable[[int], str]] = None, path: str = ""
) -> Iterator[Tuple[str, Any]]:
    """Yield (path, value) of every value in nested objects that has no fields of its own.

    `item`: index -> what is appended to the path of a list for its item with this index; without
    it, a list is a value.
    """
    if isinstance(tree, dict) and tree:
        for name, inner in tree.items():
            yield from leaves(inner, item, f"{path}.{name}" if path else name)
    elif isinstance(tree, list) and tree and item:
        for index, inner in enumerate(tree):
            yield from leaves(inner, item, path + item(index))
    else:
        yield path, tree


def same_path(index: int) -> str:
    """Append nothing: the items of a list have the path of the list."""
    return ""
