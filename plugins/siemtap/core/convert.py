"""Converters that several vendors need, and the time formats of an event.

A converter takes one value of a record and raises ValueError for what it does not understand. Its
annotation says the type of the field:

    def severity(value: Any) -> Tuple[Optional[int], str]: ...     # long, keyword
    def payload(value: Any) -> LongText: ...                       # wildcard: searched inside

`int`, `float`, `bool` and `str` are long, double, boolean and keyword; `Optional` says that the
field may be absent; `List[...]` is several values; `Literal[...]` lists the only values; `Dict`
keeps the vendor's names and values (flattened); a list of a TypedDict is a list of objects. `Ip`,
`Timestamp`, `LongText` and `StoredText` are texts with a meaning. A converter of `core.declared`
needs no annotation.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Annotated, Any, List, NamedTuple, Optional, Tuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from .bounds import cached
from .errors import ConfigError
from .identity import canonical
from .windows import Millis


class FieldType(NamedTuple):
    """The type of a field. `kind`: a type of Elasticsearch's; "object" for a list of objects."""

    kind: str
    many: bool = False  # whether it is a list
    indexed: bool = True  # False: stored, but not searchable
    values: Tuple[Any, ...] = ()  # the only ones that are allowed, if any
    least: Optional[int] = None
    most: Optional[int] = None
    properties: Tuple[Tuple[str, FieldType], ...] = ()  # of the objects of a list


KEYWORD = FieldType("keyword")
FLATTENED = FieldType("flattened")
NO_VALUE = FieldType("")  # of a converter that never gives a value

Ip = Annotated[str, FieldType("ip")]
Port = Annotated[int, FieldType("long", least=0, most=65_535)]
Timestamp = Annotated[str, FieldType("date")]  # RFC 3339, UTC, milliseconds, Z
LongText = Annotated[str, FieldType("wildcard")]  # people search for a part of it
StoredText = Annotated[str, FieldType("keyword", indexed=False)]  # shown, never searched

# what a converter may raise for a value it does not understand
CONVERSION_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    OverflowError,
    RecursionError,
)
EPOCH = datetime(1970, 1, 1)
LATEST: Millis = 253_402_300_799_999  # the end of the year 9999
ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T"
    r" ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:[.,]([0-9]{1,9}))?\s*(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
# The log format of Apache and NGINX: 04/Mar/2026:10:02:13 +0000, in brackets in a log
COMMON_LOG = re.compile(
    r"\[?([0-9]{2})/([A-Z][a-z]{2})/([0-9]{4}):([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,9}))?"
    r"(?: (Z|[+-][0-9]{2}:?[0-9]{2}))?\]?"
)
EPOCH_NUMBER = re.compile(r"([0-9]{9,14})(?:\.([0-9]+))?")
OCTETS = frozenset(map(str, range(256)))
ZONE = re.compile(r"[0-9A-Za-z._-]{1,15}")  # the name of an interface has at most 15 characters
MAX_PORT = 65_535
MAC = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5,7}")
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
}  # hours east of UTC
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# an epoch below this is in seconds (until the year 5138), above it in milliseconds
SECONDS_UNTIL = 100_000_000_000


def text(value: Any) -> str:
    """Return a text as it is, and a number or a boolean as text. ValueError for objects and
    lists."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return canonical(value)
    raise ValueError("not a text")


def rfc3339(moment: Millis) -> Timestamp:
    """Return a time as an event has it: RFC 3339, UTC, milliseconds, `Z`.

    OverflowError outside the years 0001 to 9999.
    """
    return (EPOCH + timedelta(milliseconds=moment)).isoformat(timespec="milliseconds") + "Z"


def millis_of(timestamp: str) -> Millis:
    """Return the milliseconds since the epoch of a time that `rfc3339` or `instant` wrote."""
    seconds = datetime.fromisoformat(timestamp[:19]).replace(tzinfo=timezone.utc).timestamp()
    return int(seconds) * 1000 + int(timestamp[20:23])


def instant(value: Any) -> Timestamp:
    """Return an ISO 8601 time as RFC 3339 in UTC with milliseconds. No zone means UTC."""
    if not isinstance(value, str):
        raise ValueError("not a time")
    if value[4:20:3] == "--T::." and value[23:] == "Z":  # the event's own format already
        datetime.fromisoformat(value[:-1])  # refuses the 31st of February
        return value
    match = ISO.fullmatch(value.strip())
    if not match:
        raise ValueError("not a time")
    day, minute, second, fraction, zone = match.groups()
    if zone in (None, "Z"):
        offset = "+00:00"
    elif ":" in zone:
        offset = zone
    else:
        offset = f"{zone[:3]}:{zone[3:]}"
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}{second or ':00'}{offset}").astimezone(
            timezone.utc
        )
    except OverflowError:  # within hours of the year 1 or 9999
        raise ValueError("not a time") from None
    return f"{moment.replace(tzinfo=None).isoformat()}.{(fraction or '')[:3]:0<3}Z"


def epoch(value: Any) -> Timestamp:
    """Return seconds or milliseconds since the epoch, told apart by their size, as RFC 3339."""
    match = EPOCH_NUMBER.fullmatch(str(value).strip())
    if isinstance(value, bool) or not match:
        raise ValueError("not an epoch")
    number = int(match[1])
    if number >= SECONDS_UNTIL:
        return rfc3339(number)
    # by its digits: .091 of a second as a float is 90.99 milliseconds
    return rfc3339(number * 1000 + int(f"{match[2] or '':0<3}"[:3]))


def common_log_time(value: Any) -> Timestamp:
    """Return a time of Apache's log format as RFC 3339. No zone means UTC."""
    match = COMMON_LOG.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match or match[2] not in MONTHS:
        raise ValueError("not a time of a log")
    day, month, year, time, fraction, zone = match.groups()
    number = MONTHS.index(month) + 1
    return instant(f"{year}-{number:02}-{day}T{time}.{fraction or 0}{zone or 'Z'}")


def any_time(value: Any) -> Timestamp:
    """Return a time in ISO 8601, in Apache's log format or since the epoch as RFC 3339."""
    for parse in (instant, epoch):
        try:
            return parse(value)
        except ValueError:
            continue
    return common_log_time(value)


@lru_cache(maxsize=64)
def zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name. ConfigError for an unknown name."""
    if name.upper() == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f'"{name}" is not a time zone; write one such as Europe/Berlin') from None


def java_date(value: Any, default_zone: tzinfo = timezone.utc) -> Millis:
    """Return the milliseconds of a time in the format of java.util.Date: `Thu Mar 05 03:39:12 UTC
    2026`. `default_zone` is used for a zone name that OFFSETS does not list."""
    match = JAVA.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError("not a Java date")
    month, day, hour, minute, second, zone_name, year = match.groups()
    offset = OFFSETS.get(zone_name)
    moment = datetime(
        int(year),
        MONTHS.index(month) + 1,
        int(day),
        int(hour),
        int(minute),
        int(second),
        tzinfo=default_zone if offset is None else timezone(timedelta(hours=offset)),
    )
    return int(moment.timestamp() * 1000)


def ip(value: Any) -> Optional[Ip]:
    """Return an IP address in its canonical form, None for anything else.

    ::ffff:192.0.2.1 is the IPv4 address 192.0.2.1: the same peer, seen through a socket of both
    versions. The zone of fe80::1%eth0 is left out: it means something on one host only, and an
    index refuses it.
    """
    if not isinstance(value, str):
        return None
    parts = value.split(".")
    if len(parts) == 4 and OCTETS.issuperset(parts):
        return value
    text_value, percent, zone_name = value.partition("%")
    if ":" not in text_value or (percent and not ZONE.fullmatch(zone_name)):
        return None
    if "." in text_value and not OCTETS.issuperset(text_value.rpartition(":")[2].split(".")):
        return None  # older versions of Python take 01 for an octet
    try:
        address = ipaddress.IPv6Address(text_value)
    except ValueError:
        return None
    # str() of an address with an IPv4 one inside differs between versions of Python
    mapped = address.ipv4_mapped
    return str(address) if mapped is None else str(mapped)


def required_ip(value: Any) -> Ip:
    """Return the address of an IP address with or without a port. ValueError if there is none: for
    a field that no `address` stands beside, so that the value is kept in `extra`."""
    address, _ = _peer(text(value))
    if address is None:
        raise ValueError("not an IP address")
    return address


def endpoint(value: Any) -> Tuple[Optional[Ip], Optional[Port], str, Optional[List[Ip]]]:
    """Return the IP address and the port of a peer, the text as sent, and every address in it.

    The forms are 192.0.2.1, 192.0.2.1:443, [2001:db8::1]:443, and several of them, as a list or
    separated by commas, of which the first is the peer. If the first is not readable, no other
    takes its place. ValueError for a list without an address.
    """
    if not isinstance(value, list):
        sent = text(value)
        address, port, addresses = _peers(sent)
    else:
        sent = ", ".join(map(text, value))
        address, port, addresses = _peers(sent)
        if not addresses:
            raise ValueError("a list without an IP address")
    return address, port, sent, list(addresses) or None


@cached(1024)
def _peers(sent: str) -> Tuple[Optional[Ip], Optional[Port], Tuple[Ip, ...]]:
    peers = [_peer(part) for part in sent.split(",")]
    addresses = tuple(address for address, _ in peers if address is not None)
    return (*peers[0], addresses)


def _peer(sent: str) -> Tuple[Optional[Ip], Optional[Port]]:
    """Return the IP address and the port of one peer; no address if the port is not one."""
    host, port = sent.strip(), ""
    if host[:1] == "[":
        host, bracket, port = host[1:].partition("]")
        if not bracket or ":" not in host or port[:1] not in ("", ":"):
            return None, None
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
        port = f":{port}"
    address = ip(host)
    if address is None or not port:
        return address, None
    digits = port[1:]
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 5 or int(digits) > MAX_PORT:
        return None, None
    return address, int(digits)


@lru_cache(maxsize=4096, typed=True)
def mac(value: Any) -> Optional[str]:
    """Return a MAC address as ECS spells it, such as 00-00-5E-00-53-01; None if it is all zero."""
    if not MAC.fullmatch(text(value)):
        raise ValueError("not a MAC")
    address = text(value).upper().replace(":", "-")
    return None if set(address) <= set("0-") else address


def only(values: Any) -> Optional[str]:
    """Return the only value of a list, as text; None if there are none or several. For a `Join` of
    a path with [], and a field that holds one value."""
    if not isinstance(values, list) or len(values) != 1:
        return None
    value = values[0].strip() if isinstance(values[0], str) else values[0]
    return None if value in (None, "", "-") else text(value)


def country(value: Any) -> str:
    """Return an ISO 3166 alpha-2 country code in upper case."""
    if not isinstance(value, str) or not COUNTRY.fullmatch(value):
        raise ValueError("not a country code")
    return value.upper()


def truth(value: Any) -> Optional[bool]:
    """Return True for a value that is true, None otherwise: the field is set only if it holds."""
    return True if value else None
