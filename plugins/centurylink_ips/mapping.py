"""The pushed event -> ours. One row per field of the vendor's table, in its order; then what
Deep Security adds."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from functools import lru_cache
from typing import Any, Dict, List, Optional, Tuple

import communityid

from siemtap.core.convert import integer, ip, millis_of, truth
from siemtap.core.mapping import ABSENT, Dataset, Field, Given, Join, Record, Split, rfc3339, text

from .formats import moment

DATA_AT_MOST = 16_384  # characters of Base64
LONG = 2**63
DENIED = ("reset", "block", "deny", "drop")
MAC = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5,7}")
TRANSPORTS = {
    "icmp": "1",
    "igmp": "2",
    "tcp": "6",
    "udp": "17",
    "gre": "47",
    "esp": "50",
    "ah": "51",
    "icmpv6": "58",
    "sctp": "132",
}
PORTLESS = ("icmp", "icmpv6")
RULE = re.compile(r"([0-9]{1,12})(?: - |\s)")
TEXTS = re.compile(r"[^\x20-\x7e\s]+")


OWN_WORDS = (
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
    """Return the words that name what was pushed: all it says, for nobody sends it again.

    Behind the transport's header, that is; the instant of that header is one of them where it is
    the only time there is. The webhook's own object has a time in microseconds, and is named by
    the listed words.
    """
    if "@element" in record:
        return [record["@element"], record.get("@instant")]
    return [*map(record.get, OWN_WORDS), data_of(record)]


def data_of(record: Record) -> Any:
    """Always the whole, without blanks."""
    said = record.get("data")
    return re.sub(r"\s+", "", said) if isinstance(said, str) else said


def as_sent(record: Record) -> Record:
    """Without what is ours."""
    return (
        {name: value for name, value in record.items() if not name.startswith("@")} or record
        if isinstance(record, dict)
        else record
    )


def stamp(record: Record) -> Optional[str]:
    said: Optional[str] = record["@when"]
    return said


@lru_cache(maxsize=1024)
def action(said: Any) -> Tuple[str, List[str], str]:
    word = text(said).strip()
    lower = word.lower()
    if lower.startswith(("detect only", "ids:")) or lower == "log only":
        return lower, ["allowed"], word
    return lower, ["denied" if lower in DENIED else "info"], word


@lru_cache(maxsize=4096)
def reason(said: Any) -> Tuple[Optional[str], ...]:
    """A leading number is Deep Security's rule id."""
    name = text(said)
    found = RULE.match(name)
    id = found[1] if found else None
    return name, name, name, id, id


def rank(said: Any) -> Tuple[float, int]:
    found = integer(said)
    if abs(found) >= LONG:
        raise ValueError("not a number that an index can hold")
    return float(max(0, min(found, 100))), found


def severity(said: Any, *, severity_map: Dict[str, int]) -> Tuple[Optional[int], str]:
    word = text(said).strip()
    return severity_map.get(word.lower()), word


def time(said: Any, *, json_timezone: str) -> str:
    found = moment(said, json_timezone)
    if found is None:
        raise ValueError("not a time")
    return found


def duration(start: Any, stop: Any, *, json_timezone: str) -> Optional[int]:
    """Return nanoseconds; None where an index cannot hold them: after 292 years."""
    first, last = moment(start, json_timezone), moment(stop, json_timezone)
    lasted = (millis_of(last) - millis_of(first)) * 1_000_000 if first and last else -1
    return lasted if 0 <= lasted < LONG else None


@lru_cache(maxsize=4096, typed=True)
def address(said: Any) -> Tuple[Optional[str], ...]:
    found = ip(text(said))
    return found, text(said), found


@lru_cache(maxsize=4096, typed=True)
def mac(said: Any) -> Optional[str]:
    if not MAC.fullmatch(text(said)):
        raise ValueError("not a MAC")
    spelled = text(said).upper().replace(":", "-")
    return None if set(spelled) <= set("0-") else spelled


def macs(said: Any) -> Optional[List[str]]:
    found = mac(said) if MAC.fullmatch(text(said)) else None
    return [found] if found else None


def number(said: Any) -> int:
    found = integer(said)
    if not 0 <= found < LONG:
        raise ValueError("not a number that an index can hold")
    return found


def port(said: Any) -> int:
    found = integer(said)
    if not 0 <= found <= 65_535:
        raise ValueError("no port")
    return found


@lru_cache(maxsize=64, typed=True)
def transport(said: Any) -> Tuple[str, Optional[str]]:
    name = text(said).strip().lower()
    return name, TRANSPORTS.get(name)


def community(
    protocol: Any, source: Any, source_port: Any, destination: Any, destination_port: Any
) -> Optional[str]:
    """Community ID 1, of whole TCP, UDP and SCTP flows; None where something is missing."""
    name = protocol.strip().lower() if isinstance(protocol, str) else ""
    one, other = (
        ip(said.strip()) if isinstance(said, str) else None for said in (source, destination)
    )
    if not one or not other or name not in ("tcp", "udp", "sctp") or (":" in one) != (":" in other):
        return None
    try:
        made = {
            "tcp": communityid.FlowTuple.make_tcp,
            "udp": communityid.FlowTuple.make_udp,
            "sctp": communityid.FlowTuple.make_sctp,
        }[name]
        return str(
            communityid.CommunityID().calc(
                made(one, other, port(source_port), port(destination_port))
            )
        )
    except (ValueError, TypeError, communityid.FlowTupleError):
        return None


@lru_cache(maxsize=64, typed=True)
def direction(said: Any) -> Tuple[Optional[str], str]:
    word = text(said).strip()
    return {"incoming": "ingress", "outgoing": "egress"}.get(word.lower()), word


def ingress(iface: Any, way: Any) -> Optional[str]:
    return _side(iface, way, "incoming")


def egress(iface: Any, way: Any) -> Optional[str]:
    return _side(iface, way, "outgoing")


def _side(iface: Any, way: Any, wanted: str) -> Optional[str]:
    if (
        not isinstance(iface, str)
        or not isinstance(way, str)
        or iface.strip() in ABSENT
        or way.strip().lower() != wanted
    ):
        return None
    return iface.strip()


def words(said: Any) -> Optional[List[str]]:
    return text(said).split() or None


def tags(said: Any) -> Optional[List[str]]:
    items = said if isinstance(said, list) else re.split("[,;]", text(said))
    return [trimmed for item in items if (trimmed := text(item).strip())] or None


def packet(said: Any, *, decode_data: bool) -> Tuple[Any, ...]:
    """The captured bytes: capped, never decoded into the message; a hash over all of them."""
    packed = re.sub(r"\s+", "", text(said))
    try:
        plain: Optional[bytes] = base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        plain = None
    digest = hashlib.sha256(plain).hexdigest() if plain is not None else None
    shown = (
        TEXTS.sub(".", plain.decode("latin-1"))[:DATA_AT_MOST].strip() or None
        if plain and decode_data
        else None
    )
    return (
        packed[:DATA_AT_MOST],
        len(packed) > DATA_AT_MOST or None,
        plain is None or None,
        digest,
        digest,
        shown,
    )


def other(said: Any) -> Tuple[Any, ...]:
    """What is no intrusion: an event of the host's, whatever its action."""
    return (
        (None, None, None, None)
        if said == "intrusion_prevention"
        else (said, "event", ["host"], ["info"])
    )


# fmt: off
EVENT = Dataset(
    name="centurylink_ips.event",
    clock=stamp,
    identity=named,
    redact=as_sent,
    constant={"observer.product": "Client Security IPS", "observer.type": "ips", "event.kind": "alert", "event.category": ["intrusion_detection", "network"], "event.type": ["info"]},
    rows=(
        Given("observer_vendor",   "observer.vendor"),
        Field("packetSize",        "network.bytes", number),
        Split("rank",              ("event.risk_score", "centurylink_ips.rank"), rank),
        Field("driverTime",        "centurylink_ips.driver_time", number),
        Field("startTime",         "event.start", time),
        Field("endTime",           "event.end", time),
        Join(("startTime", "endTime"), "event.duration", duration),
        Split("action",            ("event.action", "event.type", "centurylink_ips.action"), action),
        Split("data",              ("centurylink_ips.data", "centurylink_ips.data_truncated", "centurylink_ips.data_invalid", "centurylink_ips.data_sha256", "related.hash",
                                    "centurylink_ips.data_text"), packet),
        Split("sourceIP",          ("source.ip", "source.address", "related.ip"), address),
        Field("sourceMAC",         "source.mac", mac),
        Field("sourcePort",        "source.port", port),
        Split("destinationIP",     ("destination.ip", "destination.address", "related.ip"), address),
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
        Field("tags",              "centurylink_ips.tags", tags),
        Split("severity",          ("event.severity", "centurylink_ips.severity"), severity),
        # Deep Security
        Field("DPIRuleID",         ("rule.id", "event.code")),
        Field("DPIEventID",        "centurylink_ips.dpi_event_id"),
        Field("hostID",            "centurylink_ips.host_id"),
        Field("repeatCount",       "centurylink_ips.repeat_count", number),
        Field("note",              "centurylink_ips.note"),
        Field("status",            "centurylink_ips.status"),
        Field("dataFlags",         "centurylink_ips.data_flags"),
        Field("dataIndex",         "centurylink_ips.data_index"),
        Field("tenant",            "centurylink_ips.tenant"),
        Field("tenant_id",         "centurylink_ips.tenant_id"),
        Field("frame_type",        "centurylink_ips.frame_type"),
        Field("packet_position",   "centurylink_ips.packet_position"),
        Field("stream_position",   "centurylink_ips.stream_position"),
        Field("ips_flags",         "centurylink_ips.ips_flags"),
        # How and when it came
        Split("@kind",             ("centurylink_ips.kind", "event.kind", "event.category", "event.type"), other),
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
    quiet=("@when", "@stamp", "@date", "@element", "@instant"),
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
    return rfc3339(int(record["asked"]))


def state(said: Any) -> Tuple[List[str], str]:
    return [STATES[said][0]], said


def sentence(server: Any, word: Any, code: Any) -> str:
    return f"{server}: {f'{code} destination ' if code else ''}{STATES[word][1]}"


def target(said: Any, code: Any, wanted: str) -> Any:
    if not isinstance(said, str) or not isinstance(code, str):
        return None
    address, _, facility = said.rpartition("/")
    host, _, port_ = address.rpartition(":")
    found: Dict[str, Any] = (
        {"url": said}
        if code in ("WEBHOOK", "SLACK")
        else (
            {"email": said}
            if code == "EMAIL"
            else (
                {"ip": host, "port": _number(port_), "facility": _number(facility)}
                if code == "SYSLOG"
                else {"url": said}
            )
        )
    )
    return found.get(wanted) or None


def _number(said: str) -> Optional[int]:
    return int(said) if said.isascii() and said.isdigit() and len(said) < 16 else None


def url_of(said: Any, code: Any) -> Any:
    return target(said, code, "url")


def email_of(said: Any, code: Any) -> Any:
    return target(said, code, "email")


def ip_of(said: Any, code: Any) -> Any:
    return target(said, code, "ip")


def port_of(said: Any, code: Any) -> Any:
    return target(said, code, "port")


def facility_of(said: Any, code: Any) -> Any:
    return target(said, code, "facility")


# fmt: off
DESTINATION = Dataset(
    name="centurylink_ips.destination",
    clock=asked,
    identity=("account", "server", "type_code", "target", "state", "asked"),
    snapshot=True,
    constant={"observer.product": "Client Security IPS", "observer.type": "ips", "event.kind": "state", "event.category": ["configuration"], "event.type": ["info"]},
    rows=(
        Given("observer_vendor",   "observer.vendor"),
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
