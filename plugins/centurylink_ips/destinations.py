"""Notification destinations as values: which are alike, which is ours, what changed. Pure."""

from __future__ import annotations

import hashlib
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional
from urllib.parse import urlsplit

from siemtap.core.mapping import Record

from .manifest import Settings

Destination = Dict[str, Any]  # as the API has it


class Seen(NamedTuple):
    """A destination as it is remembered: never with a secret in it."""

    type_code: str
    target: str
    digest: str


def compared(before: Optional[List[Seen]], after: List[Seen]) -> Iterator[Record]:
    if before is None:
        yield from (_change("set", one) for one in after)
        return
    gone, new = (
        [one for one in some if one not in others]
        for some, others in ((before, after), (after, before))
    )
    for one in list(gone):
        same = [other for other in new if other.type_code == one.type_code]
        if len(same) == 1 and sum(other.type_code == one.type_code for other in gone) == 1:
            gone.remove(one)
            new.remove(same[0])
            yield _change("changed", same[0])
    yield from (_change("removed", one) for one in gone)
    yield from (_change("created", one) for one in new)


def _change(state: str, one: Seen) -> Record:
    return {"state": state, "type_code": one.type_code, "target": one.target}


def presence(before: Optional[bool], here: Optional[bool]) -> Iterator[Record]:
    """Only when there is a blind spot, or no longer."""
    if here is False and before is not False:
        yield {"state": "not_here"}
    if here is True and before is False:
        yield {"state": "here"}


def target_of(one: Mapping[str, Any]) -> str:
    said = one.get("sysLogSettings") or {}
    if one.get("typeCode") == "SYSLOG":
        return f"{said.get('ipAddress')}:{said.get('udpPort')}/{said.get('facility')}"
    return (
        str(one.get("emailAddress") or "")
        if one.get("typeCode") == "EMAIL"
        else str(one.get("url") or "")
    )


def shown(target: str) -> str:
    """A URL with all that may be secret in it cut: the host and the first word of the path are
    left."""
    if "://" not in target:
        return target
    parts = urlsplit(target)
    first, _, rest = parts.path.lstrip("/").partition("/")
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}/{first}" + ("/…" if rest or parts.query else "")


def remembered(one: Mapping[str, Any]) -> Seen:
    target = target_of(one)
    return Seen(
        str(one.get("typeCode")), shown(target), hashlib.sha256(target.encode()).hexdigest()[:16]
    )


def is_ours(there: List[Dict[str, Any]], settings: Settings) -> Optional[bool]:
    """None: nobody said what ours is."""
    if not settings.our_url and not settings.our_syslog:
        return None
    return any(
        (settings.our_url and str(one.get("url") or "").startswith(settings.our_url))
        or (
            settings.our_syslog
            and one.get("typeCode") == "SYSLOG"
            and target_of(one).rpartition("/")[0] == settings.our_syslog
        )
        for one in there
    )


def same(one: Destination, other: Destination) -> bool:
    """As far as it says where to; an empty key is none."""
    return (one.get("typeCode"), target_of(one)) == (other.get("typeCode"), target_of(other))


def spelled(one: Destination) -> str:
    return f"{one.get('typeCode')} {shown(target_of(one))}"
