"""Changes of the deny list ("attack list"): entries added, expired or removed since the last
poll."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from siemtap.core.errors import Malformed
from siemtap.core.rows import Record

from .attacks import identifier_fields
from .manifest import Settings
from .redaction import KINDS, LISTS

ACTIVE, EXPIRED, REMOVED = "active", "expired", "removed"


class Entry(NamedTuple):
    """One identifier on the list.

    `kind`: ip, cookie, access_token, api_key or username. `name`: the name of the cookie or API
    key; may be empty. `subject`: the value; of a cookie, token or API key its SHA-256.
    """

    kind: str
    name: str
    subject: str


# (entry, its own `status` or empty, its clear value if `hash_identifiers` is off)
ParsedEntry = Tuple[Entry, str, Optional[str]]


def entries(response: Any, settings: Settings) -> Iterator[ParsedEntry]:
    """Yield the entries of an attack list.

    Accepts every published shape: lists by kind, cookies by name, texts or objects, at the top
    level or under `attacklist`. Malformed for any other shape.
    """
    if response in (None, [], {}):
        return
    if isinstance(response, list) and all(isinstance(item, dict) for item in response):
        for item in response:
            yield from entries(item, settings)
        return
    if not isinstance(response, dict):
        raise Malformed("the attack list is not an object")
    inner = response.get("attacklist")
    if isinstance(inner, (dict, list)):
        yield from entries(inner, settings)
        return
    has_lists = False
    for name, value in response.items():
        if name in LISTS:
            has_lists = True
            yield from _parse_list(LISTS[name], value, settings)
    if has_lists:
        return
    key = _identifier_key(response)
    if key:
        yield _build_entry(
            kind=KINDS[key], name="", value=response[key], attributes=response, settings=settings
        )
    elif any(isinstance(value, (list, dict)) for value in response.values()):
        raise Malformed("an attack list without a known kind of identifier")


def _identifier_key(item: Mapping[str, Any]) -> str:
    """Return the key that holds the identifier of an item; empty if there is none."""
    return next((key for key in item if key in KINDS and isinstance(item[key], (str, int))), "")


def _parse_list(kind: str, value: Any, settings: Settings) -> Iterator[ParsedEntry]:
    if isinstance(value, dict):  # cookies: {name: value or list of values}
        for name, items in value.items():
            for item in items if isinstance(items, list) else [items]:
                yield _parse_item(kind, name, item, settings)
    if isinstance(value, list):
        for item in value:
            yield _parse_item(kind, "", item, settings)


def _parse_item(kind: str, name: str, item: Any, settings: Settings) -> ParsedEntry:
    if not isinstance(item, dict):
        return _build_entry(kind=kind, name=name, value=item, attributes={}, settings=settings)
    key = _identifier_key(item)
    if not key:
        raise Malformed("an entry of the attack list without an identifier")
    return _build_entry(
        kind=KINDS[key], name=name, value=item[key], attributes=item, settings=settings
    )


def _build_entry(
    kind: str, name: str, value: Any, attributes: Mapping[str, Any], settings: Settings
) -> ParsedEntry:
    identifier = identifier_fields(kind, value, settings)
    state = str(attributes.get("status") or attributes.get("state") or "").lower()
    return (
        Entry(kind, name, identifier["@who"][1]),
        state if state in (ACTIVE, EXPIRED) else "",
        identifier.get("@clear"),
    )


def merge_responses(
    active: Any, expired: Any, settings: Settings
) -> Tuple[Dict[Entry, str], Dict[Entry, Optional[str]]]:
    """Return (state by entry, clear value by entry) of the two responses.

    An entry in both responses is active, unless it has a `status` of its own: ABS may ignore the
    filter `status` of the query.
    """
    states: Dict[Entry, str] = {}
    clear: Dict[Entry, Optional[str]] = {}
    for response, requested_state in ((expired, EXPIRED), (active, ACTIVE)):
        for entry, own_state, value in entries(response, settings):
            states[entry] = own_state or requested_state
            clear[entry] = value
    return states, clear


def changes(before: Optional[Dict[Entry, str]], now: Dict[Entry, str]) -> List[Tuple[Entry, str]]:
    """Return (entry, new state) of every change, sorted. The first poll (`before` is None) returns
    the active entries."""
    if before is None:
        return sorted((entry, state) for entry, state in now.items() if state == ACTIVE)
    changed = [(entry, state) for entry, state in now.items() if before.get(entry) != state]
    removed = [
        (entry, REMOVED) for entry, state in before.items() if entry not in now and state != REMOVED
    ]
    return sorted([*changed, *removed])


def record(
    entry: Entry, state: str, clear: Optional[str], later_date: str, timestamp: str
) -> Record:
    """Return the record of one change. `later_date`: of the query; `timestamp`: RFC 3339."""
    return {
        "@who": (entry.kind, entry.subject),
        "name": entry.name,
        "@clear": clear,
        "state": state,
        "later_date": later_date,
        "@when": timestamp,
    }
