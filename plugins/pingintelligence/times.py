"""ABS's times: no zone, a colon before the milliseconds, and a weekday that is often wrong. Here
and there a zone has no such hour, or two."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple, Optional, Tuple

from siemtap.core.convert import MONTHS, zone
from siemtap.core.mapping import rfc3339
from siemtap.core.windows import HOUR, Millis

STAMP = re.compile(
    r"\S{2,4} ([A-Z][a-z]{2}) +([0-9]{1,2}) ([0-2][0-9]):([0-5][0-9]):([0-5][0-9]):([0-9]{3})"
    r" ([0-9]{4})"
)


class Moment(NamedTuple):
    """`ambiguous`: the zone had this hour twice; the first of them is told."""

    text: str
    ambiguous: bool = False


@lru_cache(maxsize=4096)
def _day(year: str, month: str, day: str) -> str:
    return date(int(year), MONTHS.index(month) + 1, int(day)).isoformat()


def moment(said: Any, of: str) -> Optional[Moment]:
    """`Wed Mar 04 10:02:13:417 2026`, in that zone -> RFC 3339 in UTC. None for anything else."""
    found = STAMP.fullmatch(said.strip()) if isinstance(said, str) else None
    if not found:
        return None
    month, day, hour, minute, second, fraction, year = found.groups()
    try:
        if of == "UTC" and hour < "24":
            return Moment(f"{_day(year, month, day)}T{hour}:{minute}:{second}.{fraction}Z", False)
        return _local(
            datetime(
                int(year),
                MONTHS.index(month) + 1,
                int(day),
                int(hour),
                int(minute),
                int(second),
                int(fraction) * 1000,
                zone(of),
            )
        )
    except (ValueError, OverflowError):
        return None


def _local(wall: datetime) -> Moment:
    """In the gap of spring, the hour after it; of the two hours in autumn, the first."""
    first, second = wall.replace(fold=0).utcoffset(), wall.replace(fold=1).utcoffset()
    told = rfc3339(round(wall.replace(fold=0).timestamp() * 1000))
    return Moment(told, first is not None and second is not None and first > second)


def asked(start: Millis, stop: Millis, of: str) -> Tuple[str, str]:
    """(earlier_date, later_date) as a query says them, to the minute."""
    where = zone(of)
    return _wall(start - (HOUR if _near_fold(start, where) else 0), where), _wall(stop, where)


def _near_fold(moment: Millis, where: tzinfo) -> bool:
    """Whether the clocks were put back within some hours of this. How ABS reads an hour that comes
    twice is not known: we ask from an hour earlier until both are past, and the ids swallow what
    comes again."""
    before, after = (
        datetime.fromtimestamp(moment / 1000 + hours * 3600, timezone.utc).astimezone(where)
        for hours in (-3, 3)
    )
    return (before.utcoffset() or timedelta()) > (after.utcoffset() or timedelta())


def _wall(moment: Millis, where: tzinfo) -> str:
    return (
        datetime.fromtimestamp(moment / 1000, timezone.utc)
        .astimezone(where)
        .strftime("%Y-%m-%dT%H:%M")
    )
