"""Readers of every form in which events arrive: webhook JSON, Slack text, Deep Security JSON, CEF,
LEEF. Each returns records with the keys of the vendor's page.

Keys that begin with "@" are added here: how and when the record arrived.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Callable, Dict, Iterator, List, Tuple, Union
from urllib.parse import parse_qs, unquote

from siemtap.core import bounds
from siemtap.core.convert import zone
from siemtap.core.errors import Malformed
from siemtap.core.formats import syslog
from siemtap.core.formats.payload import text_of
from siemtap.core.identity import canonical, spell
from siemtap.core.model import Confirmation, Payload
from siemtap.core.rows import Record, escape_key

from . import sns
from .classes import IPS
from .deep_security import deep_security, read_cef, read_leef
from .manifest import Settings
from .mapping import WEBHOOK_KEYS
from .slack import SLACK_HEADLINE, slack
from .times import when

MAX_ESCAPES = 500_000  # of a form; each takes about 90 bytes of memory to decode
ESCAPED_BYTE = re.compile(r"\\(x[89a-f][0-9a-f])")
Read = Union[Record, sns.Notice, Confirmation]
MICROSECONDS = re.compile(r"[0-9]{16}|[0-9]{19}")  # or finer: two events rarely share one


def records(settings: Settings, payload: Payload) -> List[Record]:
    """Return the records of a payload. What is not an event is a text, as received; the mapping
    reports it as a `pipeline_error` event."""
    return read(settings, payload)[0]


def read(
    settings: Settings, payload: Payload
) -> Tuple[List[Record], Tuple[str, ...], Tuple[Confirmation, ...]]:
    """Return the records of a payload, what the log has to say about it, and what its sender asks
    to be confirmed."""
    body = text_of(payload)
    if payload.channel in ("udp", "tcp", "tls"):
        parsed = _read_lines(settings, payload, body)
    else:
        parsed = _read_body(settings, payload, body)
    placed: List[Record] = []
    notices: List[str] = []
    confirmations: List[Confirmation] = []
    for record in parsed:
        if isinstance(record, sns.Notice):
            notices.append(record.text)
            continue
        if isinstance(record, Confirmation):
            confirmations.append(record)
            continue
        if isinstance(record, dict):
            record = _add_origin(settings, payload, record)
        if _is_wanted(settings, record):
            placed.append(record)
    return placed, tuple(notices), tuple(confirmations)


def _is_wanted(settings: Settings, record: Record) -> bool:
    return settings.other_events == "keep" or not isinstance(record, dict) or record["@kind"] == IPS


def _add_origin(settings: Settings, payload: Payload, record: Dict[str, Any]) -> Record:
    """Return the record with account, server and time; its text if the time is out of range."""
    account, _, server = payload.path.partition("/")
    record["@account"] = unquote(account) or settings.account or record.get("tenant")
    if server:
        record["@server"] = unquote(server)
    if settings.observer_vendor:
        record["@vendor"] = settings.observer_vendor
    try:
        record["@when"], record["@time_source"] = when(settings, payload, record)
        if record["@time_source"] == "syslog":
            record["@instant"] = syslog.exact_time(
                record["@stamp"], payload.received, zone(settings.syslog_timezone)
            )
        elif record["@time_source"] == "arrival" and record.get("@stamp"):
            # The timestamp is not valid, but it is the only time of the event.
            record["@instant"] = record["@stamp"]
            record["stamp"] = record["@stamp"]
    except (ValueError, OverflowError, OSError):
        element = record.get("@element", record)
        return element if isinstance(element, str) else canonical(element)
    return record


def _isolate(read: Callable[[Any], Record], value: Any) -> Record:
    """Return what `read` makes of one line or element; its text if reading fails, so that the
    others of the payload are not lost."""
    try:
        return read(value)
    except MemoryError:
        raise
    except Exception:
        return bounds.truncated(value if isinstance(value, str) else canonical(value))


# Webhook


def _read_body(settings: Settings, payload: Payload, body: str) -> Iterator[Read]:
    content_type = payload.headers.get("content-type", "").lower()
    is_form = "x-www-form-urlencoded" in content_type or body.startswith("payload=")
    if is_form and body.count("%") <= MAX_ESCAPES:
        with suppress(ValueError):  # too many fields: not a form, whatever the header says
            fields = parse_qs(body, max_num_fields=50).get("payload") or [body]
            for text in fields[1:]:
                yield from _read_text(settings, payload, text)
            body = fields[0]
    yield from _read_text(settings, payload, body)


def _read_text(
    settings: Settings, payload: Payload, text: str, envelopes: int = 0
) -> Iterator[Read]:
    """Yield the records of a text. `envelopes`: of Amazon SNS around it."""
    try:
        document = _parse_json(text)
    except (ValueError, RecursionError):
        yield from _read_lines(settings, payload, text)  # replayed syslog, or Slack's plain text
        return
    if isinstance(document, dict) and len(document) == 1:  # a wrapper around a list
        inner = next(iter(document.values()))
        if isinstance(inner, list) and any(isinstance(element, dict) for element in inner):
            document = inner
    elements = document if isinstance(document, list) else [document]
    limit = bounds.max_records(text)
    for element in elements[:limit]:
        envelope = sns.envelope_of(element)
        if envelope is None or envelopes >= sns.MAX_ENVELOPES:
            yield _isolate(_read_element, element)
        elif envelope["Type"] != sns.NOTIFICATION:
            yield sns.read_confirmation(envelope, settings.sns_topics)
        else:
            message = envelope["Message"]
            inner = message if isinstance(message, str) else canonical(message)
            yield from _read_text(settings, payload, inner, envelopes + 1)
    if len(elements) > limit:
        yield bounds.truncated(canonical(elements[limit:]))


def _parse_json(text: str) -> Any:
    """Return the value of a JSON text, also of one with escapes for bytes that are not UTF-8."""
    try:
        return bounds.parse_json(text)
    except ValueError:
        if "\\x" not in text:
            raise
        return bounds.parse_json(ESCAPED_BYTE.sub(r"\\\\\1", text))


def _read_element(element: Any) -> Record:
    """Return the record of one JSON element; its text if it is in no known form."""
    if not isinstance(element, dict):
        return canonical(element)
    is_webhook = not WEBHOOK_KEYS.isdisjoint(element)
    if isinstance(element.get("text"), str) and not is_webhook:
        message = slack(element["text"])
        return {**message, "@kind": IPS, "@element": element} if message else canonical(element)
    if "Hostname" in element or "DriverTime" in element or "LogDate" in element:
        return {**deep_security(element), "@element": element}
    if not is_webhook:
        return canonical(element)
    record: Dict[str, Any] = {escape_key(name): value for name, value in element.items()}
    record["@channel"] = "webhook"
    record["@kind"] = IPS
    if not MICROSECONDS.fullmatch(spell(element.get("driverTime"))):
        record["@element"] = element
    return record


# Syslog


def _read_lines(settings: Settings, payload: Payload, text: str) -> Iterator[Read]:
    """Yield a record per line; one record for Slack's text, and for several lines without any
    syslog message."""
    if SLACK_HEADLINE.match(text.lstrip()):
        record = slack(text.lstrip())
        yield {**record, "@kind": IPS, "@element": text} if record else text
        return
    lines, beyond = bounds.split_lines(text)
    if len(lines) > 1 and not any(
        "CEF:" in line or "LEEF:" in line or line.startswith("<") for line in lines
    ):
        lines = [text]
        beyond = ""
    for line in lines:
        yield _isolate(_read_line, line.rstrip("\0"))
    if beyond:
        yield bounds.truncated(beyond)


def _read_line(line: str) -> Record:
    """Return the record of the format that begins first in a line; the line itself if none
    does."""
    if len(line) > syslog.MAX_FRAME:
        return bounds.truncated(line)
    head = syslog.parse_line(line)
    begins = {head.message.find(name, 0, MAX_PREFIX): name for name in FORMATS}
    begin = min((position for position in begins if position >= 0), default=-1)
    if begin < 0:
        return line
    name = begins[begin]
    try:
        record = FORMATS[name](head.message[begin:])
    except Malformed:
        return line
    # Rsyslog reads `CEF:` as a tag and adds a blank behind it. The text before it may be a header
    # of an unknown form with the only time of the event.
    record["@element"] = head.message[:begin] + name + head.message[begin + len(name) :].lstrip(" ")
    header = {
        "@priority": head.priority,
        "@facility": head.facility,
        "@severity": head.severity,
        "@stamp": head.timestamp,
        "@relay": head.hostname,
        "@appname": head.appname,
    }
    record.update((name, value) for name, value in header.items() if value not in (None, ""))
    return record


FORMATS: Dict[str, Callable[[str], Dict[str, Any]]] = {"CEF:": read_cef, "LEEF:": read_leef}
MAX_PREFIX = 300  # characters of a message before the format begins
