"""Payload -> records with the names of the vendor's page, whatever form they came in: webhook JSON,
Slack's text, Deep Security's JSON, CEF, LEEF.

Names that begin with "@" are ours: how and when it came.
"""

from __future__ import annotations

import base64
import re
import zlib
from contextlib import suppress
from datetime import datetime
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from urllib.parse import parse_qs, unquote

from siemtap.core import bounds, syslog
from siemtap.core.convert import JAVA, instant, java_date, zone
from siemtap.core.errors import Malformed
from siemtap.core.identity import canonical, spell
from siemtap.core.mapping import Record, rfc3339
from siemtap.core.model import Payload

from .manifest import Settings

# bytes of a body, unpacked; as text it may take four times as much
LARGEST = 8 * 1024 * 1024
ESCAPES = 500_000  # of a form; each takes some 90 bytes while it is unescaped
NAMES = frozenset(
    (
        "packetSize",
        "rank",
        "driverTime",
        "startTime",
        "endTime",
        "action",
        "data",
        "destinationIP",
        "destinationMAC",
        "destinationPort",
        "direction",
        "eventOrigin",
        "flags",
        "flow",
        "hostName",
        "iface",
        "protocol",
        "reason",
        "sourceIP",
        "sourceMAC",
        "sourcePort",
        "tags",
        "severity",
    )
)
NO_UTF_8 = re.compile(r"\\(x[89a-f][0-9a-f])")
MICROSECONDS = re.compile(r"[0-9]{16}|[0-9]{19}")  # or finer: two events hardly share one
# digits -> milliseconds a unit, or units a millisecond
EPOCH = {10: 1_000, 13: 1, 16: 1_000, 19: 1_000_000}
WITH_ZONE = re.compile(r"(?:Z|[+-][0-9]{2}:?[0-9]{2})$")
CAUGHT = re.compile(r"An IPS Event has been caught by our (\S+) on (.+)")
LABELS = {
    "Rule Name": "reason",
    "Action Taken": "action",
    "Direction": "direction",
    "Flow": "flow",
    "Interface": "iface",
    "Flags": "flags",
    "Packet Size": "packetSize",
}
PARTS = {"MAC": "MAC", "IP": "IP", "Port": "Port"}
CAPITALS = {
    "Hostname": "hostName",
    "Interface": "iface",
    "OriginString": "eventOrigin",
    "ActionString": "action",
    "DirectionString": "direction",
    "FlowString": "flow",
    "ProtocolString": "protocol",
    "LogDate": "startTime",
    "TenantName": "tenant",
    "TenantID": "tenant_id",
    "EventID": "DPIEventID",
    "FrameString": "frame_type",
}
# numbers, where the text is missing
SPELLED = {
    "Origin": "eventOrigin",
    "Action": "action",
    "Direction": "direction",
    "Flow": "flow",
    "Protocol": "protocol",
    "Frame": "frame_type",
}
WORDS: Dict[str, Dict[int, str]] = {
    "action": {
        0: "Unknown",
        1: "Deny",
        2: "Reset",
        3: "Insert",
        4: "Delete",
        5: "Replace",
        6: "Log Only",
        **{
            0x80 + number: f"Detect Only: {word}"
            for number, word in (
                (1, "Deny"),
                (2, "Reset"),
                (3, "Insert"),
                (4, "Delete"),
                (5, "Replace"),
            )
        },
    },
    "direction": {0: "Incoming", 1: "Outgoing"},
    "flow": {0: "Connection Flow", 1: "Reverse Flow"},
    "protocol": {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"},
    "eventOrigin": {0: "Agent"},
}
KINDS = (
    (10, 10, "intrusion_prevention"),
    (200, 399, "intrusion_prevention"),
    (500, 849, "intrusion_prevention"),
    (1_000_000, 1_999_999, "intrusion_prevention"),
    (20, 21, "firewall"),
    (100, 199, "firewall"),
    (30, 30, "integrity"),
    (2_000_000, 2_999_999, "integrity"),
    (40, 40, "log_inspection"),
    (3_000_000, 3_999_999, "log_inspection"),
    (4_000_000, 4_999_999, "anti_malware"),
    (5_000_000, 5_999_999, "web_reputation"),
    (6_000_000, 6_999_999, "application_control"),
)
CEF = {
    "cn1": "hostID",
    "src": "sourceIP",
    "dst": "destinationIP",
    "spt": "sourcePort",
    "dpt": "destinationPort",
    "smac": "sourceMAC",
    "dmac": "destinationMAC",
    "proto": "protocol",
    "cnt": "repeatCount",
    "act": "action",
    "cn3": "packet_position",
    "cs5": "stream_position",
    "cs6": "ips_flags",
    "TrendMicroDsPacketData": "data",
    "TrendMicroDsFrameType": "frame_type",
    "TrendMicroDsTags": "tags",
    "TrendMicroDsTenant": "tenant",
    "TrendMicroDsTenantId": "tenant_id",
}
LABELLED = {
    "Host ID": "hostID",
    "TCP Flags": "flags",
    "Fragmentation Bits": "fragments",
    "Intrusion Prevention Packet Position": "packet_position",
    "Intrusion Prevention Stream Position": "stream_position",
    "Intrusion Prevention Flags": "ips_flags",
}
LEEF = {
    "src": "sourceIP",
    "dst": "destinationIP",
    "srcPort": "sourcePort",
    "dstPort": "destinationPort",
    "srcMAC": "sourceMAC",
    "dstMAC": "destinationMAC",
    "proto": "protocol",
    "act": "action",
    "name": "reason",
    "sev": "severity",
}


def records(settings: Settings, payload: Payload) -> List[Record]:
    """Everything in it. What is no event is a text, as it came: it becomes a `pipeline_error`
    event."""
    said = unpacked(payload)
    found = list(
        _of_lines(settings, payload, said)
        if payload.channel in ("udp", "tcp", "tls")
        else _of_body(settings, payload, said)
    )
    found = [
        _placed(settings, payload, record) if isinstance(record, dict) else record
        for record in found
    ]
    return [
        record
        for record in found
        if settings.other_events == "keep"
        or not isinstance(record, dict)
        or record.get("@kind") in (None, "intrusion_prevention")
    ]


def _placed(settings: Settings, payload: Payload, record: Dict[str, Any]) -> Record:
    """A record with whose it is and when it was; as text where nobody can tell."""
    account, _, server = payload.path.partition("/")
    record["@account"] = unquote(account) or settings.account or record.get("tenant")
    if server:
        record["@server"] = unquote(server)
    try:
        record["@when"], record["@time_source"] = when(settings, payload, record)
        if record["@time_source"] == "syslog":
            record["@instant"] = syslog.exact(
                record["@stamp"], payload.received, zone(settings.syslog_timezone)
            )
        elif record["@time_source"] == "arrival" and record.get("@stamp"):
            # Nobody can read it, and it is the only time there is.
            record["@instant"] = record["stamp"] = record["@stamp"]
    except (ValueError, OverflowError, OSError):
        element = record.get("@element", record)
        return element if isinstance(element, str) else canonical(element)
    return record


def _alone(read: Callable[[Any], Record], value: Any) -> Record:
    """What one line or element is; its text where reading it fails, for it must not take the
    others along."""
    try:
        return read(value)
    except MemoryError:
        raise
    except Exception:
        return bounds.kept(value if isinstance(value, str) else canonical(value))


def unpacked(payload: Payload) -> str:
    """The text of a payload. Bytes that are no UTF-8 are spelled `\\x82`, so that what differs
    in them still does."""
    body, encoding = payload.body, payload.headers.get("content-encoding", "").strip().lower()
    if "gzip" in encoding:
        body = b"".join(_members(body))
    elif encoding not in ("", "identity"):
        raise Malformed(f"an encoding that is not known: {encoding[:40]}")
    return body.decode("utf-8-sig", "backslashreplace")


def _members(body: bytes) -> Iterator[bytes]:
    """The parts of a gzip file: there may be several behind each other (RFC 1952 2.2)."""
    left = LARGEST
    while body:
        unpacker = zlib.decompressobj(31)
        try:
            part = unpacker.decompress(body, left + 1)
        except zlib.error:
            raise Malformed("no gzip, though it says so") from None
        left -= len(part)
        if not unpacker.eof or left < 0:
            raise Malformed(f"gzip that is cut, or more than {LARGEST} bytes")
        yield part
        body = unpacker.unused_data.lstrip(b"\0")


# Webhook


def _of_body(settings: Settings, payload: Payload, said: str) -> Iterator[Record]:
    is_form = "x-www-form-urlencoded" in payload.headers.get(
        "content-type", ""
    ).lower() or said.startswith("payload=")
    if is_form and said.count("%") <= ESCAPES:
        with suppress(ValueError):  # too many fields: no form, whatever it says
            fields = parse_qs(said, max_num_fields=50).get("payload") or [said]
            for text in fields[1:]:
                yield from _of_text(settings, payload, text)
            said = fields[0]
    yield from _of_text(settings, payload, said)


def _of_text(settings: Settings, payload: Payload, said: str) -> Iterator[Record]:
    try:
        found = _parsed(said)
    except (ValueError, RecursionError):
        yield from _of_lines(settings, payload, said)  # replayed syslog, text without its JSON
        return
    if isinstance(found, dict) and len(found) == 1:  # a wrapper
        inner = next(iter(found.values()))
        if isinstance(inner, list) and any(isinstance(one, dict) for one in inner):
            found = inner
    values, most = found if isinstance(found, list) else [found], bounds.room(said)
    for value in values[:most]:
        yield _alone(_of_object, value)
    if len(values) > most:
        yield bounds.kept(canonical(values[most:]))


def _parsed(text: str) -> Any:
    """The value of a JSON text, also of one that had bytes which are no UTF-8."""
    try:
        return bounds.parse(text)
    except ValueError:
        if "\\x" not in text:
            raise
        return bounds.parse(NO_UTF_8.sub(r"\\\\\1", text))


def _of_object(said: Any) -> Record:
    if not isinstance(said, dict):
        return canonical(said)
    if isinstance(said.get("text"), str) and not NAMES & set(said):
        slacks = slack(said["text"])
        return {**slacks, "@element": said} if slacks else canonical(said)
    if "Hostname" in said or "DriverTime" in said or "LogDate" in said:
        return {**deep_security(said), "@element": said}
    if not NAMES & set(said):
        return canonical(said)
    record: Dict[str, Any] = {_theirs(name): value for name, value in said.items()}
    record["@channel"] = "webhook"
    if not MICROSECONDS.fullmatch(spell(said.get("driverTime"))):
        record["@element"] = said
    return record


def _theirs(name: str) -> str:
    """A name as sent; one that looks like ours is set apart, for it comes from a stranger."""
    return f"_{name}" if name.startswith("@") else name


def slack(said: str) -> Optional[Dict[str, Any]]:
    """None for a text that is no event. Only the first `Data:` ends the head: what follows is an
    attacker's."""
    head, mark, data = _before_data(said)
    if head.count("\n") > bounds.LINES:
        return None
    lines = head.split("\n")
    caught = CAUGHT.fullmatch(lines[0].strip())
    if not caught:
        return None
    record: Dict[str, Any] = {
        "eventOrigin": caught[1],
        "hostName": caught[2].strip(),
        "@channel": "slack",
    }
    for line in lines[1:]:
        label, colon, value = line.partition(":")
        if line.startswith("On ") and "@date" not in record:
            record["@date"] = line[3:].strip()
        elif "\t" in line and line.split("\t")[0].strip() in ("Source", "Destination"):
            side, *parts = line.split("\t")
            for part in parts:
                name, _, said_ = part.partition(":")
                if name.strip() in PARTS:
                    record[f"{side.strip().lower()}{PARTS[name.strip()]}"] = said_.strip()
        elif colon and label in LABELS:
            record[LABELS[label]] = value.strip()
    if mark and data:
        record["data"] = base64.b64encode(data.encode("utf-8", "surrogatepass")).decode()
    return record


def _before_data(said: str) -> Tuple[str, str, str]:
    found = re.search(r"^Data: ?", said, re.MULTILINE)
    return (said[: found.start()], found[0], said[found.end() :]) if found else (said, "", "")


def deep_security(said: Dict[str, Any]) -> Record:
    """The manager's own JSON: names in capitals, words beside numbers."""
    record: Dict[str, Any] = {"@channel": "deep_security"}
    for name, value in said.items():
        if name in SPELLED:
            ours = SPELLED[name]
            if said.get(f"{name}String") in (None, ""):
                record[ours] = (
                    WORDS.get(ours, {}).get(value, value)
                    if isinstance(value, int) and not isinstance(value, bool)
                    else value
                )
        elif value not in (None, "") or name not in CAPITALS:
            record[CAPITALS.get(name) or _theirs(name[:1].lower() + name[1:])] = value
    type = said.get("EventType")
    if isinstance(type, str):
        record.pop("eventType", None)
        record["@kind"] = {"PacketLog": "firewall", "PayloadLog": "intrusion_prevention"}.get(
            type
        ) or re.sub(r"(?<!^)([A-Z])", r"_\1", type).lower()
    return record


# Syslog


def _of_lines(settings: Settings, payload: Payload, said: str) -> Iterator[Record]:
    """One message, or several lines in one datagram; a text of several lines that is no syslog
    is one."""
    if CAUGHT.match(said.lstrip()):
        record = slack(said.lstrip())
        yield {**record, "@element": said} if record else said
        return
    lines, beyond = bounds.lines(said)
    if len(lines) > 1 and not any(
        "CEF:" in line or "LEEF:" in line or line.startswith("<") for line in lines
    ):
        lines, beyond = [said], ""
    for line in lines:
        yield _alone(_of_line, line.rstrip("\0"))
    if beyond:
        yield bounds.kept(beyond)


def _of_line(said: str) -> Record:
    """Return a record of the format that begins first in a line; the line itself where none
    does."""
    if len(said) > syslog.LONGEST:
        return bounds.kept(said)
    head = syslog.line(said)
    begins = {head.message.find(name, 0, BEGINS_WITHIN): name for name in FORMATS}
    at = min((at for at in begins if at >= 0), default=-1)
    if at < 0:
        return said
    name = begins[at]
    try:
        record = FORMATS[name](head.message[at:])
    except Malformed:
        return said
    # Rsyslog takes `CEF:` for a tag and puts a blank behind it. What stands before it may be a head
    # of a form that we do not know, and hold the only time there is.
    record["@element"] = head.message[:at] + name + head.message[at + len(name) :].lstrip(" ")
    transport = {
        "@priority": head.priority,
        "@facility": head.facility,
        "@severity": head.severity,
        "@stamp": head.stamp,
        "@relay": head.hostname,
        "@appname": head.appname,
    }
    record.update((name, value) for name, value in transport.items() if value not in (None, ""))
    return record


def cef(said: str) -> Dict[str, Any]:
    found = syslog.cef(said)
    _, _, product, _, id, name, severity = found.head
    extension = dict(found.extension)
    record: Dict[str, Any] = {
        "@channel": "cef",
        "@kind": "system" if product == "Deep Security Manager" else kind(id),
        "DPIRuleID": id,
        "reason": name,
        "severity": severity,
    }
    labels = {key[:-5]: extension.pop(key) for key in list(extension) if key.endswith("Label")}
    for key, value in extension.items():
        ours = LABELLED.get(labels.get(key, "")) or (
            CEF.get(key) if key not in labels or not key.startswith(("cs", "cn")) else None
        )
        if key in ("dvc", "dvchost"):
            record["hostName"] = (
                value if key == "dvchost" or "hostName" not in record else record["hostName"]
            )
        elif key in ("in", "out") and _is_number(value):
            record["packetSize"] = value
            record["direction"] = "Incoming" if key == "in" else "Outgoing"
        else:
            record[ours or _theirs(labels.get(key) or key)] = value
    bits = record.pop("fragments", None)
    if bits:
        record["flags"] = f"{record['flags']} {bits}" if record.get("flags") else bits
    if found.cut or (record.get("data") and not _is_base64(str(record["data"]))):
        record["@truncated"] = True
    return record


def leef(said: str) -> Dict[str, Any]:
    (_, _, product, _, id), pairs = syslog.leef(said)
    record: Dict[str, Any] = {
        LEEF.get(name) or _theirs(name): value for name, value in pairs.items()
    }
    return {
        **record,
        "@channel": "leef",
        "@kind": "system" if product == "Deep Security Manager" else kind(id),
        "DPIRuleID": id,
    }


FORMATS: Dict[str, Callable[[str], Dict[str, Any]]] = {"CEF:": cef, "LEEF:": leef}
BEGINS_WITHIN = 300  # characters of a message


def kind(id: str) -> str:
    number = int(id) if _is_number(id) and len(id) < 10 else -1
    return next((name for first, last, name in KINDS if first <= number <= last), "other")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_base64(said: str) -> bool:
    return len(said) % 4 == 0 and re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", said) is not None


# Time


def when(settings: Settings, payload: Payload, record: Dict[str, Any]) -> Tuple[str, str]:
    """`@timestamp`, and what said it."""
    for name in ("startTime", "driverTime", "@date"):
        said = moment(record.get(name), settings.json_timezone)
        if said:
            return said, {"@date": "text"}.get(name, name)
    stamped = (
        syslog.moment(str(record["@stamp"]), payload.received, zone(settings.syslog_timezone))
        if record.get("@stamp")
        else None
    )
    return (
        (rfc3339(stamped), "syslog")
        if stamped is not None
        else (rfc3339(payload.received), "arrival")
    )


def moment(said: Any, without_zone: str = "UTC") -> Optional[str]:
    """ISO text, with or without a zone; an epoch, whose number of digits tells its unit; Java's
    spelling. None for anything else."""
    if isinstance(said, bool) or said in (None, ""):
        return None
    text = str(said).strip()
    try:
        if re.fullmatch(r"[0-9]+", text):
            unit = EPOCH.get(len(text))
            return (
                rfc3339(int(text) * unit if len(text) == 10 else int(text) // unit)
                if unit
                else None
            )
        if JAVA.fullmatch(text):
            return rfc3339(java_date(text, zone(without_zone)))
        spelled = instant(text)
        if WITH_ZONE.search(text) or without_zone.upper() == "UTC":
            return spelled
        local = datetime.fromisoformat(spelled[:-1]).replace(tzinfo=zone(without_zone))
        return rfc3339(int(local.timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        return None
