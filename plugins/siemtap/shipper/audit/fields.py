"""The fields in which a stored event differs from what the vendor returns now."""

from __future__ import annotations

from typing import Dict, List, Sequence, Set

from ...core.events import EMPTY
from ...core.identity import canonical
from ...core.paths import leaves, same_path
from ...core.rows import Event

# Fields that depend on the run that delivered the event, and not on the vendor.
IGNORED_FIELDS = ("event.created", "agent.", "ecs.version")


def differing_fields(expected: Event, stored: Event, ignored: Sequence[str] = ()) -> List[str]:
    """Return the paths of the fields in which a stored event differs, sorted.

    A cluster may add fields, but not below the vendor's object. Arrays are compared as sets.
    `ignored`: starts of paths that are not compared, besides IGNORED_FIELDS.
    """
    expected_values = values_of(expected)
    stored_values = values_of(stored)
    vendor = f"{expected['event']['module']}."
    skipped = (*IGNORED_FIELDS, *ignored)
    differing = {
        path
        for path, values in expected_values.items()
        if not path.startswith(skipped) and not values <= stored_values.get(path, set())
    }
    differing.update(
        path
        for path, values in stored_values.items()
        if path.startswith(vendor)
        and not path.startswith(skipped)
        and not values <= expected_values.get(path, set())
    )
    return sorted(differing)


def values_of(event: Event) -> Dict[str, Set[str]]:
    """Return path -> its values, as canonical JSON.

    A cluster may return an array of one value as the value, an array in another order, and dotted
    names.
    """
    values: Dict[str, Set[str]] = {}
    for path, value in leaves(event, same_path):
        if value not in EMPTY:
            values.setdefault(path, set()).add(canonical(value))
    return values
