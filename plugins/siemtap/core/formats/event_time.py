"""The times that CEF and LEEF events have themselves: `rt`, `start`, `end`, `devTime`."""

from __future__ import annotations

import re
from datetime import timedelta, timezone, tzinfo
from typing import Any, Dict, Optional, Tuple

from ..convert import JAVA, MONTHS, OFFSETS, instant, java_date, rfc3339
from ..windows import Millis
from . import syslog

# Number of digits -> milliseconds per unit (10 digits) or units per millisecond.
EPOCH = {10: 1_000, 13: 1, 16: 1_000, 19: 1_000_000}
DIGITS = re.compile(r"[0-9]+")
# "MMM dd yyyy HH:mm:ss.SSS zzz": all but the zone is as in syslog
ZONE = re.compile(r"(?:GMT|UTC)?([+-])([0-9]{1,2})(?::?([0-9]{2}))?|Z|[A-Z]{2,5}")
LAST_NUMBER = 2**63 - 1
FARTHEST = 18 * 60  # minutes east or west of UTC
NUMBERS = "yMdHhmsS"  # letters of a `devTimeFormat` that mean digits
WORD = re.compile(r"[A-Za-z]+")
OFFSET = re.compile(r"[A-Za-z]{0,5}(?:[+-][0-9]{1,2}(?::?[0-9]{2})?)?")
LONGEST_FORMAT = 64


def read_epoch(digits: str) -> Optional[str]:
    """Return an epoch, whose number of digits gives its unit, as RFC 3339; None for others, and for
    a number above LAST_NUMBER.
    OverflowError after the year 9999."""
    unit = EPOCH.get(len(digits))
    if not unit or int(digits) > LAST_NUMBER:
        return None
    return rfc3339(int(digits) * unit if len(digits) == 10 else int(digits) // unit)


def read_time(value: Any, received: Millis, zone: tzinfo, form: Any = None) -> Optional[str]:
    """Return a time as RFC 3339; None where it cannot be read.

    Read are what CEF and LEEF allow without a format: an epoch and `Mar 04 2026 10:02:13.250 CET`,
    where fraction, year and zone may be missing; also ISO 8601 and Java's Date. `form`: LEEF's
    `devTimeFormat`, a pattern of Java's SimpleDateFormat. `zone`: of a time without one, or with
    one whose name is not known.
    """
    if not isinstance(value, str):
        return None
    text = value.strip()
    stamp, zone_name = text, ""
    if isinstance(form, str) and form.strip():
        stamp, zone_name = _by_format(text, form.strip()) or (text, "")
    try:
        if DIGITS.fullmatch(stamp):
            return read_epoch(stamp)
        if JAVA.fullmatch(stamp):
            return rfc3339(java_date(stamp, zone))
        before, blank, last = stamp.rpartition(" ")
        if blank and ZONE.fullmatch(last):
            stamp, zone_name = before, last
        if not syslog.BSD.fullmatch(f"{stamp} "):
            instant(stamp)
        time = syslog.parse_time(stamp, received, _zone_of(zone_name, zone))
        return None if time is None else rfc3339(time)
    except (ValueError, OverflowError, OSError):
        return None


def _zone_of(name: str, otherwise: tzinfo) -> tzinfo:
    """Return the zone of a name or an offset; `otherwise` if the name is not known. ValueError for
    what is no zone."""
    match = ZONE.fullmatch(name)
    if not match and name:
        raise ValueError("not a zone")
    if match and match[1]:
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        if minutes > FARTHEST:
            raise ValueError("not a zone")
        return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
    return timezone(timedelta(hours=OFFSETS[name])) if name in OFFSETS else otherwise


def _by_format(text: str, form: str) -> Optional[Tuple[str, str]]:
    """Return a time of a format as `MMM d [yyyy] HH:mm:ss.S`, and its zone; None if it has another
    format, or no month, day or hour."""
    if len(form) > LONGEST_FORMAT:
        return None
    parts: Dict[str, str] = {}
    at = place = 0
    while place < len(form):
        letter = form[place]
        if letter == "'":  # a quoted text
            end = form.find("'", place + 1)
            quoted = form[place + 1 : end] or "'"
            if end < 0 or not text.startswith(quoted, at):
                return None
            at, place = at + len(quoted), end + 1
        elif not (letter.isascii() and letter.isalpha()):
            if text[at : at + 1] != letter:
                return None
            at, place = at + 1, place + 1
        else:
            end = place
            while form[end : end + 1] == letter:
                end += 1
            part = _part(text[at : at + 40], letter, end - place, form[end : end + 1])
            if not part and letter not in "zZX":
                return None
            parts[letter] = part
            at, place = at + len(part), end
    return _stamp_of(parts) if at == len(text) else None


def _part(text: str, letter: str, length: int, after: str) -> str:
    """Return what a run of one letter of a format means at the beginning of a text."""
    if letter in "zZX":
        return (OFFSET.match(text) or [""])[0]
    if letter in "Ea" or (letter == "M" and length > 2):
        word = WORD.match(text)
        return word[0] if word else ""
    digits = DIGITS.match(text) if letter in NUMBERS else None
    # digits that touch the next digits end by the format's length
    return digits[0][: length if after in tuple(NUMBERS) else 9] if digits else ""


def _stamp_of(parts: Dict[str, str]) -> Optional[Tuple[str, str]]:
    month, day, year = parts.get("M", ""), parts.get("d", ""), parts.get("y", "")
    if month.isdigit():
        number = int(month)
        month = MONTHS[number - 1] if 0 < number < 13 else ""
    month = month[:3].title()
    hour = int(parts.get("H") or parts.get("h") or -1)
    if "a" in parts:
        hour = hour % 12 + (12 if parts["a"].lower() == "pm" else 0)
    if month not in MONTHS or not day or hour < 0:
        return None
    if year:
        year = f" {'20' if len(year) == 2 else ''}{year}"
    minute, second = int(parts.get("m") or 0), int(parts.get("s") or 0)
    stamp = f"{month} {int(day)}{year} {hour:02}:{minute:02}:{second:02}.{parts.get('S') or '0'}"
    return stamp, parts.get("z") or parts.get("Z") or parts.get("X") or ""
