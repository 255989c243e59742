"""Notification destinations as values: compare, render and track them. Pure functions."""

from __future__ import annotations

import hashlib
from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional
from urllib.parse import urlsplit

from siemtap.core.rows import Record

from .manifest import Settings

Destination = Dict[str, Any]  # an element of the API's list, as received


class SavedDestination(NamedTuple):
    """A destination as the cursor stores it, without any secret.

    `target` is redacted; `digest` tells two targets apart that look alike when redacted.
    """

    type_code: str
    target: str
    digest: str


def save(destination: Mapping[str, Any]) -> SavedDestination:
    """Return the form of a destination that the cursor stores."""
    target = target_of(destination)
    return SavedDestination(
        str(destination.get("typeCode")),
        redact_target(target),
        hashlib.sha256(target.encode()).hexdigest()[:16],
    )


def diff(
    before: Optional[List[SavedDestination]], after: List[SavedDestination]
) -> Iterator[Record]:
    """Yield the changes from one list to the next; without a first list, the state of each.

    A removed and a new destination of the same type are one change if they are the only ones.
    """
    if before is None:
        yield from (_change("set", destination) for destination in after)
        return
    removed = [destination for destination in before if destination not in after]
    created = [destination for destination in after if destination not in before]
    for destination in list(removed):
        same_type = [other for other in created if other.type_code == destination.type_code]
        rivals = [other for other in removed if other.type_code == destination.type_code]
        if len(same_type) == 1 and len(rivals) == 1:
            removed.remove(destination)
            created.remove(same_type[0])
            yield _change("changed", same_type[0])
    yield from (_change("removed", destination) for destination in removed)
    yield from (_change("created", destination) for destination in created)


def _change(state: str, destination: SavedDestination) -> Record:
    return {
        "state": state,
        "type_code": destination.type_code,
        "target": destination.target,
    }


def diff_delivery(before: Optional[bool], after: Optional[bool]) -> Iterator[Record]:
    """Yield a record when a server stops to send events to this input, and when it does so again.

    None means that nobody knows: no destination is configured as ours.
    """
    if after is False and before is not False:
        yield {"state": "not_here"}
    if after is True and before is False:
        yield {"state": "here"}


def target_of(destination: Mapping[str, Any]) -> str:
    """Return where a destination sends: a URL, a mail address, or IP:PORT/FACILITY."""
    code = destination.get("typeCode")
    if code == "SYSLOG":
        syslog = destination.get("sysLogSettings") or {}
        return f"{syslog.get('ipAddress')}:{syslog.get('udpPort')}/{syslog.get('facility')}"
    return str(destination.get("emailAddress" if code == "EMAIL" else "url") or "")


def redact_target(target: str) -> str:
    """Return a URL up to the first segment of its path: the rest may contain a secret. Other
    targets are returned as they are."""
    if "://" not in target:
        return target
    parts = urlsplit(target)
    first, _, rest = parts.path.lstrip("/").partition("/")
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}/{first}" + ("/…" if rest or parts.query else "")


def sends_here(destinations: List[Destination], settings: Settings) -> Optional[bool]:
    """Tell whether a destination is `our_url` or `our_syslog`; None if neither is set."""
    if not settings.our_url and not settings.our_syslog:
        return None
    return any(_is_ours(destination, settings) for destination in destinations)


def _is_ours(destination: Destination, settings: Settings) -> bool:
    if settings.our_url and str(destination.get("url") or "").startswith(settings.our_url):
        return True
    return bool(
        settings.our_syslog
        and destination.get("typeCode") == "SYSLOG"
        and target_of(destination).rpartition("/")[0] == settings.our_syslog
    )


def is_same(first: Destination, second: Destination) -> bool:
    """Tell whether two destinations have the same type and target. An empty key equals a missing
    one."""
    return (first.get("typeCode"), target_of(first)) == (second.get("typeCode"), target_of(second))


def is_in(destination: Destination, destinations: Iterable[Destination]) -> bool:
    """Tell whether a list holds the same destination."""
    return any(is_same(destination, other) for other in destinations)


def without(destinations: Iterable[Destination], others: List[Destination]) -> List[Destination]:
    """Return the destinations that are not among the others."""
    return [destination for destination in destinations if not is_in(destination, others)]


def render(destination: Destination) -> str:
    """Return type and redacted target, to show to a person."""
    return f"{destination.get('typeCode')} {redact_target(target_of(destination))}"


def render_list(destinations: Iterable[Destination]) -> str:
    """Return several destinations, to show to a person."""
    return ", ".join(map(render, destinations))
