"""Events that no record makes: a time that was lost, a record that cannot be mapped."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Set, Tuple

from .convert import rfc3339
from .identity import identify
from .paths import nest
from .rows import Dataset, Event, fixed_fields
from .windows import Millis

EMPTY: Tuple[Any, ...] = (None, "", (), [], {})  # values that the event schema does not allow


class Lost(NamedTuple):
    """A time that cannot be read any more, and the reason. A start that is not known is the same
    as `stop`."""

    start: Millis
    stop: Millis
    reason: str
    scope: str = ""
    is_start_known: bool = True


def lost_event(
    dataset: Dataset, lost: Lost, added_fields: Mapping[str, Any], created: Optional[str] = None
) -> Event:
    """Return the event that names a lost time. Its id depends on the scope and the start of the
    loss only, which are the same before and after a crash; a start that is not known counts as 0.
    """
    message = f"lost {rfc3339(lost.start)} to {rfc3339(lost.stop)}: {lost.reason}"
    start = lost.start if lost.is_start_known else 0
    event = pipeline_error(
        present({**fixed_fields(dataset), **added_fields}),
        time=lost.stop,
        id=identify(dataset.name, ["lost", lost.scope, start]),
        message=message,
        created=created,
    )
    event["message"] = message
    event["event"].update(start=rfc3339(lost.start), end=rfc3339(lost.stop))
    return event


def pipeline_error(
    fields: Mapping[str, Any], time: Millis, id: str, message: str, created: Optional[str]
) -> Event:
    """Return an event of kind `pipeline_error`. `fields`: path -> value."""
    event = nest(fields)
    event["@timestamp"] = rfc3339(time)
    event["event"].update(id=id, kind="pipeline_error")
    event["error"] = {"message": message}
    if created:
        event["event"]["created"] = created
    return event


def present(fields: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the fields that have a value."""
    return {path: value for path, value in fields.items() if value not in EMPTY}


def ids_of(events: Iterable[Event]) -> Set[str]:
    """Return the ids of events."""
    return {event["event"]["id"] for event in events}
