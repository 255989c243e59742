"""Mapping of pushed events and of destination changes to events: the fields of the vendor's table,
in its order, then those that Deep Security adds."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any, Dict, List, Optional, Tuple

from siemtap.core.bounds import cached
from siemtap.core.convert import (
    LongText,
    StoredText,
    Timestamp,
    endpoint,
    mac,
    millis_of,
    rfc3339,
    text,
    truth,
)
from siemtap.core.declared import each, integer, lookup
from siemtap.core.rows import Dataset, Field, Given, Join, Record, Row, Split, sources_of

from . import cim, packets
from .classes import categories, event_kind, outcome, types
from .deep_security_rows import MAX_LONG, ROWS, number, parts
from .network import community, direction, egress, ingress, macs, port, transport
from .times import moment

MAX_DATA = 16_384  # characters of Base64
RULE = re.compile(r"([0-9]{1,12})(?: - |\s)")
FOLD = re.compile(r"\s+|\\[nrt]")  # between the lines of folded Base64; LEEF has no escapes


OBSERVER = {"observer.product": "Client Security IPS", "observer.type": "ips"}
IDENTITY_KEYS = (
    "hostName",
    "driverTime",
    "reason",
    "action",
    "protocol",
    "sourceIP",
    "sourcePort",
    "destinationIP",
    "destinationPort",
    "packetSize",
)


def named(record: Record) -> List[Any]:
    """Return the identity values of a pushed event.

    The sender never repeats an event on request, so everything in it counts: the whole element
    behind the transport's header, and the header's time where it is the only time of the event. The
    webhook's own object has a time in microseconds; the documented fields identify it.
    """
    if "@element" in record:
        return [record["@element"], record.get("@instant")]
    return [*map(record.get, IDENTITY_KEYS), data_of(record)]


def data_of(record: Record) -> Any:
    """Return the captured packet, complete and without blanks."""
    data = record.get("data")
    return re.sub(r"\s+", "", data) if isinstance(data, str) else data


def as_sent(record: Record) -> Record:
    """Return the record without the keys that siemtap added."""
    if not isinstance(record, dict):
        return record
    return {name: value for name, value in record.items() if not name.startswith("@")} or record


def vendor(setting: Any) -> str:
    """Return `observer.vendor`: the setting, or whose service this was."""
    return text(setting) or "CenturyLink"


def stamp(record: Record) -> Optional[str]:
    """Return `@timestamp`."""
    timestamp: Optional[str] = record["@when"]
    return timestamp


def action(name: Any, value: Any, result: Any) -> Optional[str]:
    """Return `event.action`: what was done; of anti-malware what came of it, which may be something
    else."""
    done = result if name == "anti_malware" and isinstance(result, str) and result else value
    return text(done).strip().lower() or None if isinstance(done, (str, int)) else None


@cached(4096)
def reason(value: Any) -> Tuple[Optional[str], ...]:
    """Return the reason, the rule's name, the reason again, and twice the rule's id: a number in
    front of the name. CEF and LEEF give the number apart, so it is no part of the name."""
    words = text(value)
    match = RULE.match(words)
    if not match:
        return words, words, words, None, None
    return words, words[match.end() :].strip() or words, words, match[1], match[1]


def rank(value: Any) -> Tuple[float, int]:
    """Return `event.risk_score`, 0 to 100, and the vendor's number."""
    level = integer(value)
    if abs(level) >= MAX_LONG:
        raise ValueError("a number that an index cannot hold")
    return float(max(0, min(level, 100))), level


def severity(value: Any, *, severity_map: Dict[str, int]) -> Tuple[Optional[int], str]:
    """Return `event.severity` by the severity map, and the vendor's severity."""
    name = text(value).strip()
    return severity_map.get(name.lower()), name


def time(value: Any, *, json_timezone: str) -> Timestamp:
    """Return a time as RFC 3339."""
    timestamp = moment(value, json_timezone)
    if timestamp is None:
        raise ValueError("not a time")
    return timestamp


def duration(start: Any, stop: Any, *, json_timezone: str) -> Optional[int]:
    """Return nanoseconds; None if a time is missing or an index cannot hold the number, which is
    292 years."""
    first = moment(start, json_timezone)
    last = moment(stop, json_timezone)
    if not first or not last:
        return None
    nanoseconds = (millis_of(last) - millis_of(first)) * 1_000_000
    return nanoseconds if 0 <= nanoseconds < MAX_LONG else None


def words(value: Any) -> Optional[List[str]]:
    """Return the parts of a text between blanks."""
    return text(value).split() or None


def packet(
    value: Any, *, decode_data: bool
) -> Tuple[
    StoredText,
    Optional[bool],
    Optional[bool],
    Optional[str],
    Optional[str],
    Optional[LongText],
]:
    """Return the captured packet: Base64 of at most MAX_DATA characters, whether it is truncated,
    whether it is invalid, the SHA-256 of the whole twice, and a printable form if `decode_data` is
    set."""
    encoded = FOLD.sub("", text(value))
    if not encoded:
        raise ValueError("no packet")
    try:
        content: Optional[bytes] = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        content = None
    digest = hashlib.sha256(content).hexdigest() if content is not None else None
    printable = None
    if content and decode_data:
        printable = packets.printable(content, MAX_DATA) or None
    return (
        encoded[:MAX_DATA],
        len(encoded) > MAX_DATA or None,
        content is None or None,
        digest,
        digest,
        printable,
    )


def message(
    name: Any, channel: Any, description: Any, rule: Any, scan: Any, log: Any
) -> Optional[str]:
    """Return what an event says of itself; None where the rule's name says it, as the title of a
    system event does."""
    if name in ("system", "authentication"):
        return None
    if name == "anti_malware" and channel in ("cef", "leef"):
        description = scan
    for candidate in (rule, description, log):
        if isinstance(candidate, str) and candidate.strip():
            return candidate.strip()
    return None


# fmt: off
PAGE_ROWS: Tuple[Row, ...] = (
    Field("packetSize",        "network.bytes", number),
    Split("rank",              ("event.risk_score", "centurylink_ips.rank"), rank),
    Field("driverTime",        "centurylink_ips.driver_time", number),
    Field("startTime",         "event.start", time),
    Field("endTime",           "event.end", time),
    Join(("startTime", "endTime"), "event.duration", duration),
    Field("action",            "centurylink_ips.action"),
    Split("data",              ("centurylink_ips.data", "centurylink_ips.data_truncated", "centurylink_ips.data_invalid", "centurylink_ips.data_sha256", "related.hash",
                                "centurylink_ips.data_text"), packet),
    Split("sourceIP",          ("source.ip", "source.port", "source.address", "related.ip"), endpoint),
    Field("sourceMAC",         "source.mac", mac),
    Field("sourcePort",        "source.port", port),
    Split("destinationIP",     ("destination.ip", "destination.port", "destination.address", "related.ip"), endpoint),
    Field("destinationMAC",    "destination.mac", mac),
    Field("destinationPort",   "destination.port", port),
    Split("direction",         ("network.direction", "centurylink_ips.direction"), direction),
    Field("eventOrigin",       "centurylink_ips.origin"),
    Field("flags",             "centurylink_ips.flags", words),
    Field("flow",              "centurylink_ips.flow"),
    Field("hostName",          ("host.name", "host.hostname", "related.hosts")),
    Field("iface",             "centurylink_ips.iface"),
    Field("iface",             "host.mac", macs),
    Join(("iface", "direction"), "observer.ingress.interface.name", ingress),
    Join(("iface", "direction"), "observer.egress.interface.name", egress),
    Split("protocol",          ("network.transport", "network.iana_number"), transport),
    Join(("protocol", "sourceIP", "sourcePort", "destinationIP", "destinationPort"), "network.community_id", community),
    Split("reason",            ("message", "rule.name", "event.reason", "rule.id", "event.code"), reason),
    Field("tags",              "centurylink_ips.tags", parts),
    Split("severity",          ("event.severity", "centurylink_ips.severity"), severity),
)
WEBHOOK_KEYS = frozenset(key for row in PAGE_ROWS for key in sources_of(row))

EVENT = Dataset(
    name="centurylink_ips.event",
    cim=cim.EVENT,
    clock=stamp,
    identity=named,
    redact=as_sent,
    constant={**OBSERVER, "event.kind": "alert", "event.category": ["intrusion_detection", "network"], "event.type": ["info"]},
    rows=(
        Given("observer_vendor",   "observer.vendor", vendor),
        *PAGE_ROWS,
        *ROWS,
        # Class of the event, transport and time of arrival
        Field("@kind",             "centurylink_ips.kind"),
        Field("@kind",             "event.kind", event_kind),
        Join(("@kind", "DPIRuleID", "registryPath", "entity"), "event.category", categories),
        Join(("@kind", "DPIRuleID", "action", "result", "reason", "description"), "event.type", types),
        Join(("@kind", "DPIRuleID", "action", "result", "reason", "description"), "event.outcome", outcome),
        Join(("@kind", "action", "result"), "event.action", action),
        Join(("@kind", "@channel", "description", "ruleDescription", "scanType", "log"), "message", message),
        Field("@vendor",           "observer.vendor"),
        Field("@product",          "observer.product"),
        Field("@version",          "observer.version"),
        Field("@account",          ("organization.id", "cloud.account.id", "centurylink_ips.account")),
        Field("@server",           "centurylink_ips.server"),
        Field("@channel",          "centurylink_ips.channel"),
        Field("@time_source",      "centurylink_ips.time_source"),
        Field("@truncated",        "centurylink_ips.truncated", truth),
        Field("@priority",         "log.syslog.priority", number),
        Field("@facility",         "log.syslog.facility.code", number),
        Field("@severity",         "log.syslog.severity.code", number),
        Field("@relay",            "log.syslog.hostname"),
        Field("@appname",          "log.syslog.appname"),
    ),
    expected_keys=("@when", "@stamp", "@date", "@element", "@instant"),
)
# fmt: on


STATES = {
    "set": ("info", "is set"),
    "created": ("creation", "was created"),
    "changed": ("change", "was changed"),
    "removed": ("deletion", "was removed"),
    "here": ("change", "notifications come here again"),
    "not_here": ("change", "no notification destination is ours: its events do not come here"),
}


def asked(record: Record) -> str:
    """Return `@timestamp`: when the destinations were read."""
    return rfc3339(int(record["asked"]))


state = each(lookup({word: [kind] for word, (kind, _) in STATES.items()}), text)


def sentence(server: Any, state: Any, code: Any) -> str:
    """Return the event's message."""
    subject = f"{code} destination " if code else ""
    return f"{server}: {subject}{STATES[state][1]}"


def target(value: Any, code: Any, part: str) -> Any:
    """Return one part of a destination's target: url, email, ip, port or facility."""
    if not isinstance(value, str) or not isinstance(code, str):
        return None
    if code == "EMAIL":
        return (value or None) if part == "email" else None
    if code != "SYSLOG":
        return (value or None) if part == "url" else None
    address, _, facility = value.rpartition("/")
    host, _, port_text = address.rpartition(":")
    parts = {"ip": host, "port": _number(port_text), "facility": _number(facility)}
    return parts.get(part) or None


def _number(value: str) -> Optional[int]:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None


def url_of(value: Any, code: Any) -> Optional[str]:
    """Return the URL of a webhook."""
    url: Optional[str] = target(value, code, "url")
    return url


def email_of(value: Any, code: Any) -> Optional[str]:
    """Return the mail address."""
    email: Optional[str] = target(value, code, "email")
    return email


def ip_of(value: Any, code: Any) -> Optional[str]:
    """Return the syslog server's address."""
    ip: Optional[str] = target(value, code, "ip")
    return ip


def port_of(value: Any, code: Any) -> Optional[int]:
    """Return the syslog server's port."""
    port: Optional[int] = target(value, code, "port")
    return port


def facility_of(value: Any, code: Any) -> Optional[int]:
    """Return the syslog facility."""
    facility: Optional[int] = target(value, code, "facility")
    return facility


# fmt: off
DESTINATION = Dataset(
    name="centurylink_ips.destination",
    cim=cim.DESTINATION,
    clock=asked,
    identity=("account", "server", "type_code", "target", "state", "asked"),
    snapshot=True,
    constant={**OBSERVER, "event.kind": "state", "event.category": ["configuration"], "event.type": ["info"]},
    rows=(
        Given("observer_vendor",   "observer.vendor", vendor),
        Field("account",           ("organization.id", "cloud.account.id", "centurylink_ips.account")),
        Field("server",            ("host.name", "related.hosts")),
        Split("state",             ("event.type", "centurylink_ips.state"), state),
        Join(("server", "state", "type_code"), "message", sentence),
        Field("type_code",         "centurylink_ips.destination.type_code"),
        Join(("target", "type_code"), "centurylink_ips.destination.url", url_of),
        Join(("target", "type_code"), "centurylink_ips.destination.email", email_of),
        Join(("target", "type_code"), "centurylink_ips.destination.syslog.ip", ip_of),
        Join(("target", "type_code"), "centurylink_ips.destination.syslog.port", port_of),
        Join(("target", "type_code"), "centurylink_ips.destination.syslog.facility", facility_of),
    ),
)
# fmt: on
