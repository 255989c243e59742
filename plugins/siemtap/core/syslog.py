"""Syslog as text: frames out of a stream (RFC 6587), and what a line's head says (RFC 3164, RFC
5424). CEF and LEEF inside it. Pure.

Nothing here refuses a line: what has no head is all message.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Dict, List, Match, NamedTuple, Optional, Tuple, Union

from .convert import MONTHS, instant, millis_of
from .errors import Malformed
from .mapping import rfc3339
from .windows import Millis

LONGEST = 256 * 1024  # bytes of one frame
COUNT = re.compile(rb"([1-9][0-9]{0,7}) ")
DIGITS = re.compile(rb"[1-9][0-9]{0,7}")
RUN = re.compile(rb"[0-9]{1,9}")
DIGITS_AT_MOST = 9  # of a count: so many are none
# a frame's count, left in a captured file
FRAMED = re.compile(r"[1-9][0-9]{0,6} (?=<[0-9]{1,3}>)")
PRI = re.compile(r"<([0-9]{1,3})>")
# A year is no part of RFC 3164; managers and relays write it all the same.
BSD = re.compile(
    r"([A-Z][a-z]{2}) {1,2}([0-9]{1,2}) (?:([0-9]{4}) )?([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:[.,]([0-9]{1,9}))? "
)
# Where RFC 3164 has its own stamp, Deep Security ("Include time zone in events") and rsyslog's
# ForwardFormat and FileFormat have one of ISO 8601.
ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(?:[.,]([0-9]{1,9}))?(?:Z|[+-][0-9]{2}:?[0-9]{2})? "
)
ZONED = re.compile(r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$")
# RFC 3164 4.1.3: a tag is alphanumeric and ends where anything else begins; real ones have more
# signs in them, but never those that JSON, CEF or a key with its value begin with.
TAG = re.compile(r"([^\s\[\]:{}\"<>=|]{1,48})(?:\[([^\]\s]{1,32})\])?: ?")
NO_HOST = re.compile(r"CEF:|LEEF:|.*(?:[{}\"<>=|]|:$)", re.DOTALL)
NESTED = 3  # heads that relays put before each other
# of RFC 5424, after the PRI
HEADER = re.compile(r"1 (\S{1,48}) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32}) ")
ELEMENT = re.compile(r'\[[^\s\]="]{1,32}(?: [^\s\]="]{1,32}="(?:[^"\\]|\\.)*")*\]', re.DOTALL)
KEY = re.compile(r"(?:^|\s)([A-Za-z0-9_.-]{1,128})=")
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
SECONDS = re.compile(r"[0-9]{2}:[0-9]{2}:([0-9]{2})(?:[.,]([0-9]{1,9}))?")
FIRST, LAST = -62_135_596_800_000, 253_402_300_799_999  # the years 1 to 9999


class Line(NamedTuple):
    """`stamp`: as it stands there. Texts are empty, numbers None, where the line does not say
    them."""

    message: str
    priority: Optional[int] = None
    stamp: str = ""
    hostname: str = ""
    appname: str = ""

    @property
    def facility(self) -> Optional[int]:
        return None if self.priority is None else self.priority >> 3

    @property
    def severity(self) -> Optional[int]:
        return None if self.priority is None else self.priority & 7


def frames(said: bytes) -> Tuple[List[bytes], bytes]:
    """Whole frames out of what a stream has given so far, and the rest. Octet counting, or a line
    each; both may be mixed. Malformed when the stream cannot be followed any more; but first what
    stands before that place."""
    found: List[bytes] = []
    at = 0
    try:
        while at < len(said):
            begin, end, after = _frame(said, at)
            if after < 0:
                break
            found.append(said[begin:end])
            at = after
    except Malformed:
        if not found:
            raise
    return [trimmed for frame in found if (trimmed := frame.strip(b"\r\n\0"))], said[at:]


def _frame(said: bytes, at: int) -> Tuple[int, int, int]:
    """Return where the frame that begins here has its text, and where the next one begins: -1
    while it is not whole."""
    # a count never begins with 0, a line begins with "<"
    count = RUN.match(said, at) if 0x31 <= said[at] <= 0x39 else None
    if count and count.end() == len(said) and len(count[0]) < DIGITS_AT_MOST:
        return at, at, -1  # more digits may come
    if count and said[count.end() : count.end() + 1] in (b" ", b""):
        if len(count[0]) >= DIGITS_AT_MOST or int(count[0]) > LONGEST:
            raise Malformed(f"a frame of more than {LONGEST} bytes")
        begin, end = count.end() + 1, count.end() + 1 + int(count[0])
        return begin, end, end if end <= len(said) else -1
    end = said.find(b"\n", at)  # a line, also one that begins with a digit
    if end < 0 and len(said) - at > LONGEST:
        raise Malformed(f"a line of more than {LONGEST} bytes")
    return at, end, end + 1 if end >= 0 else -1


def is_counted(waiting: Union[bytes, bytearray]) -> bool:
    return bool(COUNT.match(waiting[:10]))


def is_worth_a_look(waiting: Union[bytes, bytearray], fresh: bytes) -> bool:
    """Whether a frame may have become whole by what came last. Byte by byte, a long one would be
    looked through again and again."""
    head = waiting[:10]
    found = COUNT.match(head)
    if found:
        return int(found[1]) > LONGEST or len(waiting) >= found.end() + int(found[1])
    return not DIGITS.fullmatch(head) and (b"\n" in fresh or len(waiting) > LONGEST)


def line(text: str) -> Line:
    """Read the head of a line; of heads that relays put before each other, the innermost counts."""
    head = _line(text)
    for _ in range(NESTED):
        inner = _line(head.message)
        if inner.priority is None and not inner.stamp:
            break
        priority = head.priority if inner.priority is None else inner.priority
        head = Line(
            message=inner.message,
            priority=priority,
            stamp=inner.stamp or head.stamp,
            hostname=inner.hostname or head.hostname,
            appname=inner.appname or head.appname,
        )
    return head


def _line(text: str) -> Line:
    framed = FRAMED.match(text)
    text = text[framed.end() :] if framed else text
    pri = PRI.match(text)
    priority = int(pri[1]) if pri and int(pri[1]) <= 191 else None
    rest = text[pri.end() :] if pri and priority is not None else text
    modern = HEADER.match(rest)
    if modern and (priority is not None or _is_stamp(modern[1])):
        stamp, hostname, appname = (_said(word) for word in modern.groups()[:3])
        return Line(_after_elements(rest[modern.end() :]), priority, stamp, hostname, appname)
    old = BSD.match(rest) or ISO.match(rest)
    if not old or not _is_stamp(old[0].strip()):
        return Line(rest, priority)
    stamp, rest = old[0].strip(), rest[old.end() :].lstrip(" ")
    hostname, _, after = rest.partition(" ")
    if NO_HOST.match(hostname):  # no host between stamp and text
        hostname, after = "", rest
    tag = TAG.match(after)
    if tag and not after.startswith(("CEF:", "LEEF:")):
        return Line(after[tag.end() :], priority, stamp, hostname, tag[1])
    return Line(after, priority, stamp, hostname)


def _is_stamp(stamp: str) -> bool:
    """Tell whether what looks like a stamp is one: a month that exists, an instant."""
    if stamp[:1].isdigit():
        try:
            return bool(instant(stamp))
        except (ValueError, OverflowError):
            return False
    return stamp[:3] in MONTHS


def _said(text: str) -> str:
    return "" if text == "-" else text


def _after_elements(rest: str) -> str:
    """The message behind the structured data."""
    if rest[:1] == "-":
        return rest[1:].lstrip(" ").lstrip("\ufeff")
    at = 0
    while found := ELEMENT.match(rest, at):
        at = found.end()
    return rest[at:].lstrip(" ").lstrip("\ufeff")


def moment(stamp: str, received: Millis, zone: tzinfo = timezone.utc) -> Optional[Millis]:
    """Return when a stamp says that it was; None where it says nothing that can be read.

    `Mar  4 10:02:13` has no year: the one that puts it nearest to the arrival, at most a day in
    the future. `zone` is that of a stamp without one.
    """
    found = _moment(stamp, received, zone)
    return found if found is not None and FIRST <= found <= LAST else None


def _moment(stamp: str, received: Millis, zone: tzinfo = timezone.utc) -> Optional[Millis]:
    old = BSD.match(stamp + " ")
    if not old or old[1] not in MONTHS:
        try:
            spelled = instant(stamp)
            if ZONED.search(stamp):
                return millis_of(spelled)
            local = datetime.fromisoformat(spelled[:-1]).replace(tzinfo=zone)
            return round(local.timestamp() * 1000)
        except (ValueError, OverflowError):
            return None
    arrived = datetime.fromtimestamp(received / 1000, timezone.utc)
    years = [int(old[3])] if old[3] else [arrived.year - 1, arrived.year, arrived.year + 1]
    tried = []
    for year in years:
        try:
            made = datetime(
                year,
                MONTHS.index(old[1]) + 1,
                int(old[2]),
                int(old[4]),
                int(old[5]),
                min(int(old[6]), 59),
                int(f"{old[7] or '':0<3}"[:3]) * 1000,
                tzinfo=zone,
            )
            if old[3] or made - arrived <= timedelta(days=1):
                tried.append((abs(made - arrived), round(made.timestamp() * 1000)))
        except (ValueError, OverflowError):  # 29 February; the year 0
            continue
    return min(tried)[1] if tried else None


def exact(stamp: str, received: Millis, zone: tzinfo = timezone.utc) -> Optional[str]:
    """Return the instant of a stamp in UTC with every digit of its fraction, in one spelling.

    What was logged twice in one millisecond was logged twice; `.250` and `.250000` are the same.
    """
    found = moment(stamp, received, zone)
    seconds = SECONDS.search(stamp)
    if found is None or not seconds:
        return None
    fraction = (seconds[2] or "").rstrip("0")
    return f"{rfc3339(found)[:17]}{seconds[1]}{'.' if fraction else ''}{fraction}Z"


# Formats inside a line


class Cef(NamedTuple):
    """`head`: version, vendor, product, product version, signature id, name, severity. `extension`:
    key -> value, as sent but for its escapes. `cut`: the line ends inside something."""

    head: Tuple[str, ...]
    extension: Dict[str, str]
    cut: bool = False


def cef(said: str) -> Cef:
    """`CEF:0|vendor|product|version|id|name|severity|extension`. Malformed where that is not
    there."""
    start = said.find("CEF:")
    if start < 0:
        raise Malformed("no CEF")
    parts, rest = _pipes(said[start + 4 :], 7)
    if len(parts) < 7:
        raise Malformed(f"a CEF head of {len(parts)} parts, and not 7")
    return Cef(tuple(parts), *_extension(rest))


def _pipes(said: str, number: int) -> Tuple[List[str], str]:
    """So many parts, each ended by a bar that is not escaped."""
    parts: List[str] = []
    begin = at = 0
    while len(parts) < number and at < len(said):
        if said[at] == "\\":
            at += 2
            continue
        if said[at] == "|":
            parts.append(ESCAPED.sub(r"\1", said[begin:at]).strip())
            begin = at + 1
        at += 1
    return parts, said[begin:]


def _extension(said: str) -> Tuple[Dict[str, str], bool]:
    """Values run to the next key and may hold blanks; an escaped `=` begins no key."""
    keys = [found for found in KEY.finditer(said)]
    values: Dict[str, str] = {}
    for number, found in enumerate(keys):
        end = keys[number + 1].start() if number + 1 < len(keys) else len(said)
        values[found[1]] = ESCAPED.sub(_unescaped, said[found.end() : end].strip())
    last = keys[-1].end() if keys else 0
    return values, bool(said[last:].strip()) and said.rstrip().endswith("\\")


def _unescaped(found: Match[str]) -> str:
    """A backslash before anything else is one."""
    said = found[1]
    return "\n" if said == "n" else "\r" if said == "r" else said if said in "\\=|" else found[0]


def leef(said: str) -> Tuple[Tuple[str, ...], Dict[str, str]]:
    """`LEEF:2.0|vendor|product|version|id|separator|` and pairs; LEEF 1.0 has no separator, and
    tabs."""
    start = said.find("LEEF:")
    if start < 0:
        raise Malformed("no LEEF")
    body = said[start + 5 :]
    parts, rest = _pipes(body, 6 if body.startswith("2") else 5)
    if len(parts) < 5:
        raise Malformed(f"a LEEF head of {len(parts)} parts, and not 5")
    separator = _separator(parts[5]) if len(parts) > 5 else "\t"
    pairs = [pair.partition("=") for pair in rest.split(separator)]
    return tuple(parts[:5]), {
        name.strip(): value.strip() for name, equals, value in pairs if equals and name.strip()
    }


def _separator(said: str) -> str:
    """One character, or its number in hex."""
    found = re.fullmatch(r"(?:0x|x)([0-9A-Fa-f]{1,4})", said)
    return chr(int(found[1], 16)) if found else said[:1] or "\t"
