"""The deny list as changes: what came, what expired, what went."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from siemtap.core.errors import Malformed
from siemtap.core.mapping import Record

from .attacks import identified
from .manifest import Settings
from .redaction import KINDS, LISTS

ACTIVE, EXPIRED, REMOVED = "active", "expired", "removed"


class Entry(NamedTuple):
    """`name`: of the cookie or the API key, if it has one. `subject`: a hash, where the
    identifier is a secret."""

    kind: str
    name: str
    subject: str


def entries(said: Any, settings: Settings) -> Iterator[Tuple[Entry, str, Optional[str]]]:
    """(entry, the state that it says of itself, its clear value where that is kept) from any
    form: by kind, cookies by name, texts or objects, perhaps under `attacklist`."""
    if said in (None, [], {}):
        return
    if isinstance(said, list) and all(isinstance(one, dict) for one in said):
        for one in said:
            yield from entries(one, settings)
        return
    if not isinstance(said, dict):
        raise Malformed("the attack list is no object")
    inner = said.get("attacklist")
    if isinstance(inner, (dict, list)):
        yield from entries(inner, settings)
        return
    known = False
    for name, value in said.items():
        if name in LISTS:
            known = True
            yield from _of_kind(LISTS[name], value, settings)
    if not known:
        key = _key(said)
        if key:
            yield _entry(KINDS[key], "", said[key], said, settings)
        elif any(isinstance(value, (list, dict)) for value in said.values()):
            raise Malformed("an attack list with no kind of identifier that we know")


def _key(entry: Mapping[str, Any]) -> str:
    """The name under which an entry has its identifier."""
    return next((key for key in entry if key in KINDS and isinstance(entry[key], (str, int))), "")


def _of_kind(
    kind: str, value: Any, settings: Settings
) -> Iterator[Tuple[Entry, str, Optional[str]]]:
    if isinstance(value, dict):  # by the name of the cookie
        for name, ones in value.items():
            for one in ones if isinstance(ones, list) else [ones]:
                yield _one(kind, name, one, settings)
    for one in value if isinstance(value, list) else []:
        yield _one(kind, "", one, settings)


def _one(kind: str, name: str, one: Any, settings: Settings) -> Tuple[Entry, str, Optional[str]]:
    if isinstance(one, dict):
        key = _key(one)
        if not key:
            raise Malformed("an entry of the attack list without an identifier")
        return _entry(KINDS[key], name, one[key], one, settings)
    return _entry(kind, name, one, {}, settings)


def _entry(
    kind: str, name: str, value: Any, beside: Mapping[str, Any], settings: Settings
) -> Tuple[Entry, str, Optional[str]]:
    said = identified(kind, value, settings)
    state = str(beside.get("status") or beside.get("state") or "").lower()
    return (
        Entry(kind, name, said["@who"][1]),
        state if state in (ACTIVE, EXPIRED) else "",
        said.get("@clear"),
    )


def merged(
    active: Any, expired: Any, settings: Settings
) -> Tuple[Dict[Entry, str], Dict[Entry, Optional[str]]]:
    """The state of each entry, and its clear value. In both lists (a filter that ABS ignores):
    active, unless the entry says otherwise."""
    states: Dict[Entry, str] = {}
    clear: Dict[Entry, Optional[str]] = {}
    for answer, asked in ((expired, EXPIRED), (active, ACTIVE)):
        for entry, own, value in entries(answer, settings):
            states[entry] = own or asked
            clear[entry] = value
    return states, clear


def changes(before: Optional[Dict[Entry, str]], now: Dict[Entry, str]) -> List[Tuple[Entry, str]]:
    """The first look tells what is active; later ones what is different."""
    if before is None:
        return sorted((entry, state) for entry, state in now.items() if state == ACTIVE)
    gone = [
        (entry, REMOVED) for entry, state in before.items() if entry not in now and state != REMOVED
    ]
    return sorted(
        [*((entry, state) for entry, state in now.items() if before.get(entry) != state), *gone]
    )


def record(entry: Entry, state: str, clear: Optional[str], asked: str, when: str) -> Record:
    return {
        "@who": (entry.kind, entry.subject),
        "name": entry.name,
        "@clear": clear,
        "state": state,
        "later_date": asked,
        "@when": when,
    }
