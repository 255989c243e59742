"""Mappings of the three datasets: attacks, changes of the deny list, reports."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple, TypedDict

from siemtap.core.bounds import cached
from siemtap.core.convert import Ip, Port, Timestamp, endpoint, instant, text, truth
from siemtap.core.declared import const, integer, lookup, lower, stored_text
from siemtap.core.rows import Dataset, Field, Given, Join, Record, Split, shallow

from . import attack_types, cim
from .redaction import redact, redact_line
from .times import parse_time

CODE = re.compile(r"var([A-Z])\((T[nx]),\s*([0-9]{1,15})\)")
DEVIATION = re.compile(r"var([A-Z])\((-?[0-9]{1,15}(?:\.[0-9]{1,15})?)%\)")
LONGEST = 8_191  # characters of a user name or an attacker's address
SENTENCES = {"active": "is on the list", "expired": "has expired", "removed": "was removed"}


def when(record: Record) -> Optional[str]:
    """Return the time of the event, RFC 3339."""
    timestamp: Optional[str] = record["@when"]
    return timestamp


def kind_of(record: Record) -> Any:
    """Return the kind of identifier."""
    return record["@who"][0]


def subject_of(record: Record) -> Any:
    """Return the value of the identifier; empty for a line of attack.log.

    How that value is represented depends on settings, and the hash of the line covers it already.
    """
    return "" if record.get("@element") else record["@who"][1]


def last_word(record: Record) -> Any:
    """Return the attack code; for a line of attack.log the hash of the whole line, because a pushed
    line cannot be read again."""
    return record["@element"] or record["attack_code"]


def as_sent(record: Record) -> Record:
    """Return a record as `event.original` may contain it: vendor keys, no secrets."""
    if isinstance(record, str):
        return {"line": redact_line(record)}
    if not isinstance(record, dict):
        return {"element": redact(record)}
    if "@when" not in record:
        return _redact_unmapped(record)
    original: Dict[str, Any] = redact(
        {
            name: value
            for name, value in record.items()
            if not name.startswith("@") and name != "identifier"
        }
    )
    kind, value = record.get("@who") or ("ddos_info", "")
    # `ddos_info` is in the record under its own key already.
    if kind != "ddos_info":
        is_clear = kind in ("ip", "username")
        original["identifier"] = {kind: redact({kind: value})[kind] if is_clear else value}
    return original


def _redact_unmapped(record: Dict[str, Any]) -> Record:
    """Return a record that cannot be mapped, redacted. Its `element` is redacted already."""
    ready = {}
    rest = {}
    for name, value in record.items():
        if name == "element":
            ready[name] = value
        elif name == "line" and isinstance(value, str):
            ready[name] = redact_line(value)
        else:
            rest[name] = value
    return {**redact(rest), **ready}


def words(value: Any) -> Optional[str]:
    """Return a text on one line."""
    return " ".join(text(value).split()) or None


def title(name: Any, id: Any) -> str:
    """Return the name of the attack type as sent, else that of its number."""
    if name:
        return text(name)
    return attack_types.lookup(id).name or f"attack type {id or 'unknown'}"


def category(id: Any) -> str:
    return attack_types.lookup(id).category


def severity(name: Any, id: Any, *, severity_map: Dict[str, int]) -> int:
    """Return the severity that `severity_map` sets by number or name, else that of the type."""
    default = severity_map.get(str(name or ""), attack_types.lookup(id).severity)
    return severity_map.get(str(id or ""), default)


service = lookup({"all": None, "MULTI_API": None}, text)


def query_time(value: Any, *, timezone: str) -> Optional[Timestamp]:
    """Return a date of the query in UTC; None if it cannot be read."""
    moment = parse_time(value, timezone)
    return moment.text if moment else None


def _query_times(earlier: Any, later: Any, timezone: str) -> List[str]:
    """Return the dates of the query in order of time: ABS sometimes swaps the two."""
    times = (query_time(earlier, timezone=timezone), query_time(later, timezone=timezone))
    return sorted(filter(None, times))


def earliest(earlier: Any, later: Any, source: Any, *, timezone: str) -> Optional[Timestamp]:
    """Return the start of the query, for an attack without an access time."""
    times = _query_times(earlier, later, timezone)
    return times[0] if times and source != "access_time" else None


def latest(earlier: Any, later: Any, source: Any, *, timezone: str) -> Optional[Timestamp]:
    """Return the end of the query, for an attack without an access time."""
    times = _query_times(earlier, later, timezone)
    return times[-1] if times and source != "access_time" else None


class CodePart(TypedDict):
    """One part of an attack code, such as `varA(Tx, 26)`."""

    variable: str
    threshold: str
    value: int


@cached(16_384)
def code(value: Any) -> Tuple[str, Optional[List[CodePart]]]:
    """Return (attack code, its parts): `varA(Tx, 26)` has one part."""
    parts: List[CodePart] = [
        {"variable": variable, "threshold": threshold, "value": int(number)}
        for variable, threshold, number in CODE.findall(text(value))
    ]
    return text(value), parts or None


@cached(16_384)
def deviation(value: Any) -> Tuple[str, Optional[float]]:
    """Return (deviation as sent, its largest percentage)."""
    percentages = [float(number) for _, number in DEVIATION.findall(text(value))]
    return text(value), max(percentages) if percentages else None


@cached(16_384)
def who(
    identifier: Tuple[str, str],
) -> Tuple[
    Optional[str],
    Optional[str],
    Optional[Ip],
    Optional[Port],
    Optional[List[Ip]],
    Optional[str],
    Optional[str],
    Optional[str],
    Optional[str],
    Optional[str],
    Optional[str],
]:
    """Return the fields of WHO for (kind, value). The value of a secret is its hash."""
    kind, value = identifier
    address: Optional[str] = None
    source_ip: Optional[str] = None
    port: Optional[int] = None
    addresses: Optional[List[str]] = None
    user: Optional[str] = None
    secret_hash: Optional[str] = None
    if kind == "ip":
        address = value.strip()[:LONGEST] or None
        source_ip, port, _, addresses = endpoint(address or "")
    elif kind == "username":
        user = value.strip()[:LONGEST] or None
    elif kind not in ("ddos_info", ""):
        secret_hash = value
    return (
        kind or None,
        address,
        source_ip,
        port,
        addresses,
        user,
        user,
        secret_hash if kind == "cookie" else None,
        secret_hash if kind == "access_token" else None,
        secret_hash if kind == "api_key" else None,
        secret_hash,
    )


WHO = (
    "pingintelligence.identifier.type",
    "source.address",
    "source.ip",
    "source.port",
    "related.ip",
    "user.name",
    "related.user",
    "pingintelligence.cookie.value_hash",
    "pingintelligence.token_hash",
    "pingintelligence.api_key_hash",
    "related.hash",
)


def pointer(value: Any) -> Tuple[Dict[str, Any], Optional[str]]:
    """Return (`ddos_info` as an object, its URL if it is one). Possible secrets are hashed."""
    value = redact(shallow(value), "ddos_info")
    if isinstance(value, dict):
        return value, None
    if isinstance(value, list):
        return {"items": [item if isinstance(item, str) else str(item) for item in value]}, None
    reference = text(value)
    is_url = re.match(r"https?://\S+$", reference)
    return {"text": reference}, reference if is_url else None


def host(url: Tuple[str, ...]) -> Optional[str]:
    """Return the host of the first ABS node."""
    return url[0].partition("//")[2].partition(":")[0] if url else None


denied = lookup({"true": ["denied"]}, const(["info"]))


def of_consolidated(name: Any, report: Any) -> Optional[str]:
    """Return the name of the attack report; None for a line of attack.log, which has none."""
    return name if report and name and isinstance(name, str) else None


OBSERVER = {
    "observer.vendor": "Ping Identity",
    "observer.product": "PingIntelligence ABS",
    "observer.type": "api-security",
}

# fmt: off
ATTACK = Dataset(
    name="pingintelligence.attack",
    cim=cim.ATTACK,
    # ABS groups attacks into reports anew for each query, and a report may give times alone.
    of_query=(
        "pingintelligence.query.",
        "event.start",
        "event.end",
        "pingintelligence.cookie.name",
        "pingintelligence.attack_deviation",
        "pingintelligence.deviation_pct",
    ),
    clock=when,
    identity=("@name", "@api", kind_of, subject_of, "access_time", last_word),
    redact=as_sent,
    constant={**OBSERVER, "event.kind": "alert", "event.category": ["intrusion_detection", "api"]},
    low_cardinality=("attack_type", "@type", "@time_source", "description", "company", "name", "earlier_date", "later_date", "@api", "@scope", "@report", "@count"),
    rows=(
        Given("url",               "observer.name", host),
        Given("ase_blocking",      "event.type", denied),
        Join(("attack_type", "@type"), "message", title),
        Join(("attack_type", "@type"), "rule.name", title),
        Field("attack_type",       "pingintelligence.attack_type"),
        Field("@type",             ("rule.id", "event.code")),
        Join(("@type",), "rule.category", category),
        Join(("attack_type", "@type"), "event.severity", severity),
        Field("description",       ("rule.description", "event.reason"), words),
        Field("company",           "organization.name"),
        Join(("name", "@report"),  "pingintelligence.report", of_consolidated),
        Field("earlier_date",      "pingintelligence.query.start", query_time),
        Field("later_date",        "pingintelligence.query.end", query_time),
        Join(("earlier_date", "later_date", "@time_source"), "event.start", earliest),
        Join(("earlier_date", "later_date", "@time_source"), "event.end", latest),
        Field("@api",              "pingintelligence.api_name"),
        Field("@api",              "service.name", service),
        Field("@scope",            "pingintelligence.scope"),
        Field("access_time",       "pingintelligence.access_time"),
        Field("@time_source",      "pingintelligence.time_source"),
        Field("@ambiguous",        "pingintelligence.time_ambiguous", truth),
        Split("attack_code",       ("pingintelligence.attack_code", "pingintelligence.attack_code_parts"), code),
        Split("attack_deviation",  ("pingintelligence.attack_deviation", "pingintelligence.deviation_pct"), deviation),
        Split("ddos_info",         ("pingintelligence.ddos_info", "event.reference"), pointer),
        Split("@who",              WHO, who),
        Field("@identifier_name",  "pingintelligence.identifier.name"),
        Field("@clear",            "pingintelligence.identifier.value", stored_text),
        Field("@cookie_name",      "pingintelligence.cookie.name"),
        Field("@count",            "pingintelligence.count", integer),
        Field("@protocol",         "network.protocol", lower),
        Field("@bucket",           "pingintelligence.bucket"),
    ),
    expected_keys=("@when", "@name", "@element", "identifier"),
)
# fmt: on


def sentence(identifier: Any, state: Any) -> str:
    """Return the message of a change of the deny list."""
    return f"attack list: {identifier[0]} {SENTENCES[state]}"


# fmt: off
ATTACKLIST = Dataset(
    name="pingintelligence.attacklist",
    cim=cim.ATTACKLIST,
    clock=when,
    identity=(kind_of, "name", subject_of, "state", "later_date"),
    redact=as_sent,
    snapshot=True,
    constant={**OBSERVER, "event.kind": "state", "event.category": ["intrusion_detection"], "event.type": ["info"]},
    rows=(
        Given("url",               "observer.name", host),
        Join(("@who", "state"),    "message", sentence),
        Field("state",             "pingintelligence.state"),
        Split("@who",              WHO, who),
        Field("name",              "pingintelligence.identifier.name"),
        Field("@clear",            "pingintelligence.identifier.value", stored_text),
    ),
    expected_keys=("@when", "later_date"),
)
# fmt: on


def whole_object(value: Any) -> Optional[Dict[str, Any]]:
    """Return an object as it is, a list under `items`; None if empty. ValueError for others."""
    value = shallow(value)
    if isinstance(value, dict):
        return value or None
    if not isinstance(value, list):
        raise ValueError("neither an object nor a list")
    if not value:
        return None
    return {"items": [str(item) if isinstance(item, list) else item for item in value]}


def truth_or_false(value: Any) -> bool:
    """Return a boolean; ValueError for anything else, also for "true" and 1."""
    if isinstance(value, bool):
        return value
    raise ValueError("neither true nor false")


# fmt: off
REPORT = Dataset(
    name="pingintelligence.report",
    cim=cim.REPORT,
    clock=when,
    identity=("name", "@api", "@from", "@until"),
    redact=as_sent,
    snapshot=True,
    constant={**OBSERVER, "event.kind": "metric", "event.category": ["api"], "event.type": ["info"]},
    rows=(
        Given("url",               "observer.name", host),
        Field("name",              "pingintelligence.report"),
        Field("@message",          "message"),
        Field("company",           "organization.name"),
        Field("description",       "event.reason", words),
        Field("@api",              ("pingintelligence.api_name", "service.name"), service),
        Field("@from",             "pingintelligence.query.earlier_date"),
        Field("@until",            "pingintelligence.query.later_date"),
        Field("@summary",          "pingintelligence.summary", whole_object),
        Field("@details",          "pingintelligence.details", whole_object),
        Field("@severity",         "event.severity", integer),
        Field("tier",              "pingintelligence.license.tier"),
        Field("@expiry",           "pingintelligence.license.expiry", instant),
        Field("@days_left",        "pingintelligence.license.days_left", integer),
        Field("expired",           "pingintelligence.license.expired", truth_or_false),
        Field("max_transactions_per_month", "pingintelligence.license.max_transactions_per_month", integer),
        Field("current_month_transactions", "pingintelligence.license.current_month_transactions", integer),
        Field("max_transactions_exceeded", "pingintelligence.license.max_transactions_exceeded", truth_or_false),
        Field("@training",         "pingintelligence.training", truth_or_false),
        Field("@apis",             "pingintelligence.apis", integer),
    ),
    expected_keys=("@when", "earlier_date", "later_date", "api_name"),
)
# fmt: on
