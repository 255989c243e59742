"""Times of a pushed event: which of them counts, and the forms that they have."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Dict, Optional, Tuple

from siemtap.core.convert import JAVA, instant, java_date, rfc3339, zone
from siemtap.core.formats import syslog
from siemtap.core.formats.event_time import read_epoch, read_time
from siemtap.core.model import Payload

from .manifest import Settings

# Keys of CEF and LEEF -> the keys of the vendor's page
PERIOD = {"start": "startTime", "end": "endTime"}
WITH_ZONE = re.compile(r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$")


def when(settings: Settings, payload: Payload, record: Dict[str, Any]) -> Tuple[str, str]:
    """Return `@timestamp` and its source: rt, devTime, startTime, driverTime, endTime, text, syslog
    or arrival."""
    if record.get("@channel") in ("cef", "leef"):
        own = _own_time(settings, payload, record)
        if own:
            return own
    for name in ("startTime", "driverTime", "endTime", "@date"):
        timestamp = moment(record.get(name), settings.json_timezone)
        if timestamp:
            return timestamp, "text" if name == "@date" else name
    if record.get("@stamp"):
        sent = syslog.parse_time(
            str(record["@stamp"]), payload.received, zone(settings.syslog_timezone)
        )
        if sent is not None:
            return rfc3339(sent), "syslog"
    return rfc3339(payload.received), "arrival"


def _own_time(
    settings: Settings, payload: Payload, record: Dict[str, Any]
) -> Optional[Tuple[str, str]]:
    """Return the time of a CEF or LEEF event, if it has one, and its key. `start` and `end` get the
    names of the vendor's page."""
    without_zone = zone(settings.syslog_timezone)
    for name, key in PERIOD.items():
        timestamp = read_time(record.get(name), payload.received, without_zone)
        if timestamp and key not in record:
            record[key] = timestamp
            del record[name]
    for name, form in (("rt", None), ("devTime", record.get("devTimeFormat"))):
        timestamp = read_time(record.get(name), payload.received, without_zone, form)
        if timestamp:
            return timestamp, name
    return None


def moment(value: Any, without_zone: str = "UTC") -> Optional[str]:
    """Return a time as RFC 3339; None for anything else.

    Read are ISO 8601, with or without a zone; an epoch, whose number of digits gives its unit; and
    the form of Java's Date. `without_zone` is the zone of a time that has none.
    """
    if isinstance(value, bool) or value in (None, ""):
        return None
    text = str(value).strip()
    try:
        if re.fullmatch(r"[0-9]+", text):
            return read_epoch(text)
        if JAVA.fullmatch(text):
            return rfc3339(java_date(text, zone(without_zone)))
        timestamp = instant(text)
        if WITH_ZONE.search(text) or without_zone.upper() == "UTC":
            return timestamp
        local = datetime.fromisoformat(timestamp[:-1]).replace(tzinfo=zone(without_zone))
        return rfc3339(int(local.timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        return None
