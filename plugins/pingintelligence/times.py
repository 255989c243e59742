"""ABS timestamps: no time zone, a colon before the milliseconds, a weekday that is often wrong.

A local time may not exist (clocks put forward) or may occur twice (clocks put back).
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple, Optional, Tuple

from siemtap.core.convert import MONTHS, rfc3339, zone
from siemtap.core.windows import HOUR, Millis

STAMP = re.compile(
    r"\S{2,4} ([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-2][0-9]):([0-5][0-9]):([0-5][0-9]):([0-9]{3})"
    r" ([0-9]{4})"
)


class Moment(NamedTuple):
    """A time in RFC 3339, UTC. `ambiguous`: the local time occurs twice; `text` is the first."""

    text: str
    ambiguous: bool = False


@lru_cache(maxsize=4096)
def _iso_date(year: str, month: str, day: str) -> str:
    return date(int(year), MONTHS.index(month) + 1, int(day)).isoformat()


def parse_time(value: Any, zone_name: str) -> Optional[Moment]:
    """Return the UTC time of `Wed Mar 04 10:02:13:417 2026` in a time zone; None for any other
    value."""
    match = STAMP.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        return None
    month, day, hour, minute, second, fraction, year = match.groups()
    try:
        if zone_name == "UTC" and hour < "24":
            iso_date = _iso_date(year, month, day)
            return Moment(f"{iso_date}T{hour}:{minute}:{second}.{fraction}Z", False)
        local_time = datetime(
            year=int(year),
            month=MONTHS.index(month) + 1,
            day=int(day),
            hour=int(hour),
            minute=int(minute),
            second=int(second),
            microsecond=int(fraction) * 1000,
            tzinfo=zone(zone_name),
        )
        return _to_utc(local_time)
    except (ValueError, OverflowError):
        return None


def _to_utc(local_time: datetime) -> Moment:
    """Return a local time in UTC. A time that does not exist is read with the offset before the
    change; of a time that occurs twice the first is taken."""
    first = local_time.replace(fold=0)
    first_offset = first.utcoffset()
    second_offset = local_time.replace(fold=1).utcoffset()
    ambiguous = (
        first_offset is not None and second_offset is not None and first_offset > second_offset
    )
    return Moment(rfc3339(round(first.timestamp() * 1000)), ambiguous)


def query_dates(start: Millis, stop: Millis, zone_name: str) -> Tuple[str, str]:
    """Return (earlier_date, later_date) of a query: local time, to the minute."""
    abs_zone = zone(zone_name)
    earlier = start - (HOUR if _near_fold(start, abs_zone) else 0)
    return _local_minute(earlier, abs_zone), _local_minute(stop, abs_zone)


def _near_fold(moment: Millis, abs_zone: tzinfo) -> bool:
    """Return whether the clocks are put back within three hours of a time.

    The vendor does not document how ABS reads a local time that occurs twice. Near such a time a
    query starts an hour earlier; events that come again have the same ids and are left out.
    """
    before, after = (
        datetime.fromtimestamp(moment / 1000 + hours * 3600, timezone.utc).astimezone(abs_zone)
        for hours in (-3, 3)
    )
    return (before.utcoffset() or timedelta()) > (after.utcoffset() or timedelta())


def _local_minute(moment: Millis, abs_zone: tzinfo) -> str:
    local_time = datetime.fromtimestamp(moment / 1000, timezone.utc).astimezone(abs_zone)
    return local_time.strftime("%Y-%m-%dT%H:%M")
