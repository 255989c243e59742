"""Syslog as text: frames of a stream (RFC 6587) and the header of a line (RFC 3164, RFC 5424).

No line is refused: one without a header is all message.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from typing import List, NamedTuple, Optional, Tuple, Union

from ..bounds import cached
from ..convert import MONTHS, instant, millis_of, rfc3339
from ..errors import Malformed
from ..windows import Millis

MAX_FRAME = 256 * 1024  # bytes
COUNT = re.compile(rb"([1-9][0-9]{0,7}) ")
DIGITS = re.compile(rb"[1-9][0-9]{0,7}")
RUN = re.compile(rb"[0-9]{1,9}")
TOO_MANY_DIGITS = 9  # for the octet count of a frame
# an octet count that a captured file still has
FRAMED = re.compile(r"[1-9][0-9]{0,6} (?=<[0-9]{1,3}>)")
PRI = re.compile(r"<([0-9]{1,3})>")
# RFC 3164 has no year; some managers and relays write one, before or after the time.
BSD = re.compile(
    r"([A-Z][a-z]{2}) {1,2}([0-9]{1,2}) (?:([0-9]{4}) )?([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:[.,]([0-9]{1,9}))?(?: ([12][0-9]{3}))? "
)
# In place of RFC 3164's timestamp, Deep Security ("Include time zone in events") and rsyslog's
# ForwardFormat and FileFormat write ISO 8601.
ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(?:[.,]([0-9]{1,9}))?(?:Z| ?[+-][0-9]{2}:?[0-9]{2})? "
)
ZONED = re.compile(r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$")
# RFC 3164 4.1.3: a tag is alphanumeric and ends at the first other character. Real tags hold more
# characters, but none with which JSON, CEF or a key-value pair begins.
TAG = re.compile(r"([^\s\[\]:{}\"<>=|]{1,48})(?:\[([^\]\s]{1,32})\])?: ?")
NO_HOST = re.compile(r"CEF:|LEEF:|.*(?:[{}\"<>=|]|:$)", re.DOTALL)
# A manager's name may have several words: `DeepSec Logs CEF:0|`, `Deep Security [a] ds[7]: CEF:0|`.
NAME = re.compile(
    r"([^:{}\"<>=|]{1,255}) (?:[^\s\[\]:{}\"<>=|]{1,48}(?:\[[^\]\s:]{1,32}\])?: *)?"
    r"(?=(?:CEF|LEEF):)"
)
# RFC 5424 relays read `CEF:` as APP-NAME; this is what follows it.
VERSION = re.compile(r" *[0-9]{1,2}(?:\.[0-9]{1,2})?\|")
BYTE_ORDER_MARK = "\ufeff"
MAX_HEADERS = 8  # that relays put before each other
# of RFC 5424, after the PRI
HEADER = re.compile(r"1 (\S{1,48}) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) ")
ELEMENT = re.compile(r'\[[^\s\]="]{1,32}(?: [^\s\]="]{1,32}="(?:[^"\\]|\\.)*")*\]', re.DOTALL)
SECONDS = re.compile(r"[0-9]{2}:[0-9]{2}:([0-9]{2})(?:[.,]([0-9]{1,9}))?")
FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999


class Line(NamedTuple):
    """One line. `timestamp`: as written. A text is empty, a number None, where the line has
    none."""

    message: str
    priority: Optional[int] = None
    timestamp: str = ""
    hostname: str = ""
    appname: str = ""

    @property
    def facility(self) -> Optional[int]:
        """The facility's number, RFC 5424 6.2.1."""
        return None if self.priority is None else self.priority >> 3

    @property
    def severity(self) -> Optional[int]:
        """The severity's number: 0 is an emergency, 7 is debug."""
        return None if self.priority is None else self.priority & 7


def split_frames(data: bytes) -> Tuple[List[bytes], bytes]:
    """Return the whole frames of a stream's data so far, and the rest.

    Frames are octet-counted or end with a newline; both may be mixed. Malformed when the stream
    cannot be followed any more, but first the frames before that place are returned.
    """
    frames: List[bytes] = []
    position = 0
    try:
        while position < len(data):
            begin, end, after = _next_frame(data, position)
            if after < 0:
                break
            frames.append(data[begin:end])
            position = after
    except Malformed:
        if not frames:
            raise
    return [trimmed for frame in frames if (trimmed := frame.strip(b"\r\n\0"))], data[position:]


def _next_frame(data: bytes, position: int) -> Tuple[int, int, int]:
    """Return where the text of the frame at `position` begins and ends, and where the next frame
    begins: -1 while this one is incomplete."""
    # a count never begins with 0, a line begins with "<"
    count = RUN.match(data, position) if 0x31 <= data[position] <= 0x39 else None
    if count and count.end() == len(data) and len(count[0]) < TOO_MANY_DIGITS:
        return position, position, -1  # more digits may come
    if count and data[count.end() : count.end() + 1] in (b" ", b""):
        if len(count[0]) >= TOO_MANY_DIGITS or int(count[0]) > MAX_FRAME:
            raise Malformed(f"a frame of more than {MAX_FRAME} bytes")
        begin = count.end() + 1
        end = begin + int(count[0])
        return begin, end, end if end <= len(data) else -1
    end = data.find(b"\n", position)  # a line, which may begin with a digit too
    if end < 0 and len(data) - position > MAX_FRAME:
        raise Malformed(f"a line of more than {MAX_FRAME} bytes")
    return position, end, end + 1 if end >= 0 else -1


def is_octet_counted(waiting: Union[bytes, bytearray]) -> bool:
    """Return whether a stream's data begins with an octet count."""
    return bool(COUNT.match(waiting[:10]))


def may_be_complete(waiting: Union[bytes, bytearray], received: bytes) -> bool:
    """Return whether the bytes received last may have completed a frame.

    A long frame that arrives byte by byte would otherwise be searched again for every byte.
    """
    head = waiting[:10]
    count = COUNT.match(head)
    if count:
        length = int(count[1])
        return length > MAX_FRAME or len(waiting) >= count.end() + length
    return not DIGITS.fullmatch(head) and (b"\n" in received or len(waiting) > MAX_FRAME)


def parse_line(text: str) -> Line:
    """Read the header of a line. Relays put headers before each other: the innermost counts."""
    line = _parse_header(text)
    for _ in range(MAX_HEADERS):
        inner = _parse_header(line.message)
        if inner.priority is None and not inner.timestamp:
            break
        line = Line(
            message=inner.message,
            priority=line.priority if inner.priority is None else inner.priority,
            timestamp=inner.timestamp or line.timestamp,
            hostname=inner.hostname or line.hostname,
            appname=inner.appname or line.appname,
        )
    return line


def _parse_header(text: str) -> Line:
    text = text.lstrip(BYTE_ORDER_MARK)
    count = FRAMED.match(text)
    text = text[count.end() :] if count else text
    pri = PRI.match(text)
    priority = int(pri[1]) if pri and int(pri[1]) <= 191 else None
    rest = text[pri.end() :].lstrip(BYTE_ORDER_MARK) if pri and priority is not None else text
    header = HEADER.match(rest)
    if header and (priority is not None or _is_timestamp(header[1])):
        timestamp, hostname, appname = (_or_empty(part) for part in header.groups()[:3])
        message = _after_structured_data(rest[header.end() :])
        if appname in ("CEF", "CEF:", "LEEF", "LEEF:") and VERSION.match(message):
            message = f"{appname.rstrip(':')}:{message.lstrip(' ')}"
            appname = ""
        return Line(message, priority, timestamp, hostname, appname)
    timestamp, rest = _split_timestamp(rest)
    if not timestamp:
        return Line(rest, priority)
    hostname, appname, message = _split_host(rest.lstrip(" "))
    return Line(message, priority, timestamp, hostname, appname)


def _split_timestamp(text: str) -> Tuple[str, str]:
    """Return the timestamp at the beginning of a text, and the rest; "" if there is none."""
    match = BSD.match(text) or ISO.match(text)
    if not match or not _is_timestamp(match[0].strip()):
        return "", text
    return match[0].strip(), text[match.end() :]


def _split_host(rest: str) -> Tuple[str, str, str]:
    """Return host, tag and message of what follows a timestamp."""
    name = NAME.match(rest)
    hostname, _, after = rest.partition(" ")
    if name and " " in name[1].strip(" "):
        hostname, after = name[1].strip(" "), rest[name.end(1) + 1 :]
    elif NO_HOST.match(hostname) or _begins_header(rest):  # no host between timestamp and text
        hostname, after = "", rest
    after = after.lstrip(BYTE_ORDER_MARK)
    tag = TAG.match(after)
    if tag and not after.startswith(("CEF:", "LEEF:")) and not _begins_header(after):
        return hostname, tag[1], after[tag.end() :]
    return hostname, "", after


def _begins_header(text: str) -> bool:
    """Return whether a text begins with the header of another relay, without a PRI."""
    header = HEADER.match(text)
    return bool(_split_timestamp(text)[0] or (header and _is_timestamp(header[1])))


def _is_timestamp(text: str) -> bool:
    """Return whether a text in the form of a timestamp is one: its month and its time exist."""
    if text[:1].isdigit():
        try:
            return bool(instant(text))
        except (ValueError, OverflowError):
            return False
    return text[:3] in MONTHS


def _or_empty(text: str) -> str:
    """Return a field of an RFC 5424 header: "-" means none."""
    return "" if text == "-" else text


def _after_structured_data(rest: str) -> str:
    """Return the message behind the structured data."""
    if rest[:1] == "-":
        return rest[1:].lstrip(" ").lstrip("\ufeff")
    position = 0
    while element := ELEMENT.match(rest, position):
        position = element.end()
    return rest[position:].lstrip(" ").lstrip("\ufeff")


def parse_time(timestamp: str, received: Millis, zone: tzinfo = timezone.utc) -> Optional[Millis]:
    """Return the time of a timestamp; None where it cannot be read.

    `Mar  4 10:02:13` has no year: the year is the one nearest to `received`, at most a day in the
    future. `zone` is the time zone of a timestamp without one.
    """
    time = _parse_time(timestamp, received, zone)
    return time if time is not None and FIRST <= time <= LAST else None


@cached(64)  # a line is asked for its time, and then for the digits of it
def _parse_time(timestamp: str, received: Millis, zone: tzinfo) -> Optional[Millis]:
    match = BSD.match(timestamp + " ")
    if not match or match[1] not in MONTHS:
        return _parse_iso_time(timestamp, zone)
    month, day, year_before, hour, minute, second, fraction, year_after = match.groups()
    year = year_before or year_after
    arrival = datetime.fromtimestamp(received / 1000, timezone.utc)
    years = [int(year)] if year else [arrival.year - 1, arrival.year, arrival.year + 1]
    candidates = []
    for candidate_year in years:
        try:
            candidate = datetime(
                candidate_year,
                MONTHS.index(month) + 1,
                int(day),
                int(hour),
                int(minute),
                min(int(second), 59),
                int(f"{fraction or '':0<3}"[:3]) * 1000,
                tzinfo=zone,
            )
            if year or candidate - arrival <= timedelta(days=1):
                distance = abs(candidate - arrival)
                candidates.append((distance, round(candidate.timestamp() * 1000)))
        except (ValueError, OverflowError):  # 29 February; the year 0
            continue
    return min(candidates)[1] if candidates else None


def _parse_iso_time(timestamp: str, zone: tzinfo) -> Optional[Millis]:
    try:
        utc = instant(timestamp)
        if ZONED.search(timestamp):
            return millis_of(utc)
        local = datetime.fromisoformat(utc[:-1]).replace(tzinfo=zone)
        return round(local.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def exact_time(timestamp: str, received: Millis, zone: tzinfo = timezone.utc) -> Optional[str]:
    """Return the time of a timestamp in UTC with every digit of its fraction, trailing zeros
    removed: two lines of one millisecond differ, `.250` and `.250000` do not."""
    time = parse_time(timestamp, received, zone)
    seconds = SECONDS.search(timestamp)
    if time is None or not seconds:
        return None
    fraction = (seconds[2] or "").rstrip("0")
    return f"{rfc3339(time)[:17]}{seconds[1]}{'.' if fraction else ''}{fraction}Z"
