"""Converters that several vendors need. Each takes what the vendor said and raises ValueError
for what it is not."""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, Optional
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .errors import ConfigError
from .mapping import rfc3339

ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T"
    r" ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:[.,]([0-9]{1,9}))?\s*(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
OCTETS = frozenset(map(str, range(256)))
COUNTRY = re.compile(r"[A-Za-z]{2}")
JAVA = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) {1,2}([0-9]{1,2}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) (\S{1,40})"
    r" ([0-9]{4})"
)
OFFSETS = {
    "UTC": 0,
    "GMT": 0,
    "Z": 0,
    "EST": -5,
    "EDT": -4,
    "CST": -6,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# an epoch below this is in seconds (until the year 5138), above it in milliseconds
SECONDS_UNTIL = 100_000_000_000


def instant(said: Any) -> str:
    """ISO 8601 -> RFC 3339, UTC, milliseconds. Without a zone: UTC."""
    if not isinstance(said, str):
        raise ValueError("not a time")
    if said[4:20:3] == "--T::." and said[23:] == "Z":  # our own spelling already
        datetime.fromisoformat(said[:-1])  # refuses the 31st of February
        return said
    found = ISO.fullmatch(said.strip())
    if not found:
        raise ValueError("not a time")
    day, minute, second, fraction, zone = found.groups()
    offset = "+00:00" if zone in (None, "Z") else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}{second or ':00'}{offset}").astimezone(
            timezone.utc
        )
    except OverflowError:  # the first or the last hours that there are, in a zone
        raise ValueError("not a time") from None
    return f"{moment.replace(tzinfo=None).isoformat()}.{(fraction or '')[:3]:0<3}Z"


def epoch(said: Any) -> str:
    """Seconds or milliseconds since the epoch, by magnitude."""
    if isinstance(said, bool) or not re.fullmatch(r"[0-9]{9,14}(\.[0-9]+)?", str(said).strip()):
        raise ValueError("not an epoch")
    number = float(said)
    return rfc3339(int(number if number >= SECONDS_UNTIL else number * 1000))


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """An IANA name; ConfigError for what is none."""
    if name.upper() == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f'"{name}" is no time zone; write one like Europe/Berlin') from None


def java_date(said: Any, otherwise: tzinfo = timezone.utc) -> int:
    """`Thu Mar 05 03:39:12 UTC 2026`, as java.util.Date spells itself -> milliseconds.
    `otherwise`: the zone where its name is none of the usual."""
    found = JAVA.fullmatch(said.strip()) if isinstance(said, str) else None
    if not found:
        raise ValueError("not a Java date")
    offset = OFFSETS.get(found[6])
    of = timezone(timedelta(hours=offset)) if offset is not None else otherwise
    return int(
        datetime(
            int(found[7]),
            MONTHS.index(found[1]) + 1,
            int(found[2]),
            int(found[3]),
            int(found[4]),
            int(found[5]),
            tzinfo=of,
        ).timestamp()
        * 1000
    )


def millis_of(timestamp: str) -> int:
    """Our own RFC 3339 -> milliseconds."""
    return int(
        datetime.fromisoformat(timestamp[:19]).replace(tzinfo=timezone.utc).timestamp()
    ) * 1000 + int(timestamp[20:23])


def ip(said: Any) -> Optional[str]:
    """An address in its canonical spelling, or None for anything else."""
    if not isinstance(said, str):
        return None
    parts = said.split(".")
    if len(parts) == 4 and OCTETS.issuperset(parts):
        return said
    if ":" not in said or "%" in said:
        return None
    try:
        return str(ipaddress.IPv6Address(said))
    except ValueError:
        return None


def country(said: Any) -> str:
    """ISO 3166 alpha-2, upper case."""
    if not isinstance(said, str) or not COUNTRY.fullmatch(said):
        raise ValueError("not a country code")
    return said.upper()


def truth(said: Any) -> Optional[bool]:
    """Said only where it is so."""
    return True if said else None


def integer(said: Any) -> int:
    """A whole number, as a number or as text."""
    if isinstance(said, bool) or (isinstance(said, float) and not said.is_integer()):
        raise ValueError("not a whole number")
    return int(said)
