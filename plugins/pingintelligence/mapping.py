"""Record -> event: attacks, changes of the deny list, reports."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Dict, List, Optional, Tuple

from siemtap.core.convert import integer, ip, truth
from siemtap.core.mapping import Dataset, Field, Given, Join, Record, Split, shallow, text

from . import attack_types
from .redaction import redacted, redacted_line
from .times import moment

CODE = re.compile(r"var([A-Z])\((T[nx]),\s*([0-9]{1,15})\)")
DEVIATION = re.compile(r"var([A-Z])\((-?[0-9]{1,15}(?:\.[0-9]{1,15})?)%\)")
LONGEST = 8_191  # characters of an identifier's name or an attacker's address
SENTENCES = {"active": "is on the list", "expired": "has expired", "removed": "was removed"}


def when(record: Record) -> Optional[str]:
    said: Optional[str] = record["@when"]
    return said


def kind_of(record: Record) -> Any:
    return record["@who"][0]


def subject_of(record: Record) -> Any:
    """Return the identifier; nothing for a line of attack.log: how its identifier is shown is up
    to settings, and the element's hash has it already."""
    return "" if record.get("@element") else record["@who"][1]


def last_word(record: Record) -> Any:
    """Return the attack's code; of a line of attack.log the hash of all it says, for what is
    pushed has no second chance."""
    return record["@element"] or record["attack_code"]


def as_sent(record: Record) -> Record:
    """The vendor's names; of an identifier, what an event may say."""
    if not isinstance(record, dict):
        return (
            {"line": redacted_line(record)}
            if isinstance(record, str)
            else {"element": redacted(record)}
        )
    if "@when" not in record:
        ready = {
            name: redacted_line(value) if name == "line" else value
            for name, value in record.items()
            if name == "element" or (name == "line" and isinstance(value, str))
        }
        return {
            **redacted({name: value for name, value in record.items() if name not in ready}),
            **ready,
        }
    shown: Dict[str, Any] = redacted(
        {
            name: value
            for name, value in record.items()
            if not name.startswith("@") and name != "identifier"
        }
    )
    kind, value = record.get("@who") or ("ddos_info", "")
    # in `event.original` only: the record has the name, so that no event repeats it
    if kind != "ddos_info":
        shown["identifier"] = {
            kind: redacted({kind: value})[kind] if kind in ("ip", "username") else value
        }
    return shown


def words(said: Any) -> Optional[str]:
    """One line."""
    return " ".join(text(said).split()) or None


def title(name: Any, id: Any) -> str:
    return text(name) if name else attack_types.of(id).name or f"attack type {id or 'unknown'}"


def category(id: Any) -> str:
    return attack_types.of(id).category


def severity(name: Any, id: Any, *, severity_map: Dict[str, int]) -> int:
    return severity_map.get(
        str(id or ""), severity_map.get(str(name or ""), attack_types.of(id).severity)
    )


def service(api: Any) -> Optional[str]:
    return None if api in ("all", "MULTI_API", "", None) else text(api)


def query_time(said: Any, *, timezone: str) -> Optional[str]:
    found = moment(said, timezone)
    return found.text if found else None


def earliest(one: Any, other: Any, source: Any, *, timezone: str) -> Optional[str]:
    """Where an attack has no time of its own, the question's; ABS swaps its ends now and then."""
    ends = sorted(
        filter(None, (query_time(one, timezone=timezone), query_time(other, timezone=timezone)))
    )
    return ends[0] if ends and source != "access_time" else None


def latest(one: Any, other: Any, source: Any, *, timezone: str) -> Optional[str]:
    ends = sorted(
        filter(None, (query_time(one, timezone=timezone), query_time(other, timezone=timezone)))
    )
    return ends[-1] if ends and source != "access_time" else None


@lru_cache(maxsize=16_384)
def code(said: Any) -> Tuple[Optional[str], Optional[List[Dict[str, Any]]]]:
    parts = [
        {"variable": variable, "threshold": threshold, "value": int(value)}
        for variable, threshold, value in CODE.findall(text(said))
    ]
    return text(said), parts or None


@lru_cache(maxsize=16_384)
def deviation(said: Any) -> Tuple[str, Optional[float]]:
    found = [float(number) for _, number in DEVIATION.findall(text(said))]
    return text(said), max(found) if found else None


@lru_cache(maxsize=16_384)
def who(said: Tuple[str, str]) -> Tuple[Optional[str], ...]:
    """(kind, value) -> the fields of WHO. A secret is here only as its hash."""
    kind, value = said
    value = value.strip()[:LONGEST] if kind in ("ip", "username") else value
    found = ip(value) if kind == "ip" else None
    user, is_hash = (
        value or None if kind == "username" else None,
        kind
        not in (
            "ip",
            "username",
            "ddos_info",
            "",
        ),
    )
    return (
        kind or None,
        value or None if kind == "ip" else None,
        found,
        found,
        user,
        user,
        value if kind == "cookie" else None,
        value if kind == "access_token" else None,
        value if kind == "api_key" else None,
        value if is_hash else None,
    )


WHO = (
    "pingintelligence.identifier.type",
    "source.address",
    "source.ip",
    "related.ip",
    "user.name",
    "related.user",
    "pingintelligence.cookie.value_hash",
    "pingintelligence.token_hash",
    "pingintelligence.api_key_hash",
    "related.hash",
)


def pointer(said: Any) -> Tuple[Dict[str, Any], Optional[str]]:
    """Kept, with hashes where secrets may stand; an address in it is a reference."""
    said = redacted(shallow(said), "ddos_info")
    if isinstance(said, dict):
        return said, None
    if isinstance(said, list):
        return {"items": [item if isinstance(item, str) else str(item) for item in said]}, None
    told = text(said)
    return {"text": told}, told if re.match(r"https?://\S+$", told) else None


def host(url: Tuple[str, ...]) -> Optional[str]:
    return url[0].partition("//")[2].partition(":")[0] if url else None


def denied(blocks: bool) -> List[str]:
    return ["denied" if blocks else "info"]


def of_consolidated(name: Any, report: Any) -> Any:
    """The report's name, where the attack stood in one."""
    return name if report and name and isinstance(name, str) else None


def lower(said: Any) -> str:
    return text(said).lower()


OBSERVER = {
    "observer.vendor": "Ping Identity",
    "observer.product": "PingIntelligence ABS",
    "observer.type": "api-security",
}

# fmt: off
ATTACK = Dataset(
    name="pingintelligence.attack",
    clock=when,
    identity=("@name", "@api", kind_of, subject_of, "access_time", last_word),
    redact=as_sent,
    constant={**OBSERVER, "event.kind": "alert", "event.category": ["intrusion_detection", "api"]},
    few=("attack_type", "@type", "@time_source", "description", "company", "name", "earlier_date", "later_date", "@api", "@scope", "@report", "@count"),
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
        Field("@clear",            "pingintelligence.identifier.value"),
        Field("@cookie_name",      "pingintelligence.cookie.name"),
        Field("@count",            "pingintelligence.count", integer),
        Field("@protocol",         "network.protocol", lower),
        Field("@bucket",           "pingintelligence.bucket"),
    ),
    quiet=("@when", "@name", "@element", "identifier"),
)
# fmt: on


def sentence(said: Any, state: Any) -> str:
    return f"attack list: {said[0]} {SENTENCES[state]}"


# fmt: off
ATTACKLIST = Dataset(
    name="pingintelligence.attacklist",
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
        Field("@clear",            "pingintelligence.identifier.value"),
    ),
    quiet=("@when", "later_date"),
)
# fmt: on


def whole_object(said: Any) -> Optional[Dict[str, Any]]:
    said = shallow(said)
    if isinstance(said, dict):
        return said or None
    if isinstance(said, list):
        return (
            {"items": [item if not isinstance(item, list) else str(item) for item in said]}
            if said
            else None
        )
    raise ValueError("neither an object nor a list")


def truth_or_false(said: Any) -> bool:
    if isinstance(said, bool):
        return said
    raise ValueError("neither true nor false")


# fmt: off
REPORT = Dataset(
    name="pingintelligence.report",
    clock=when,
    identity=("name", "@api", "@from", "@until"),
    redact=as_sent,
    snapshot=True,
    constant={**OBSERVER, "event.kind": "metric", "event.category": ["api"], "event.type": ["info"]},
    rows=(
        Given("url",               "observer.name", host),
        Field("name",              "pingintelligence.report"),
        Field("@said",             "message"),
        Field("company",           "organization.name"),
        Field("description",       "event.reason", words),
        Field("@api",              ("pingintelligence.api_name", "service.name"), service),
        Field("@from",             "pingintelligence.query.earlier_date"),
        Field("@until",            "pingintelligence.query.later_date"),
        Field("@summary",          "pingintelligence.summary", whole_object),
        Field("@details",          "pingintelligence.details", whole_object),
        Field("@severity",         "event.severity", integer),
        Field("tier",              "pingintelligence.license.tier"),
        Field("@expiry",           "pingintelligence.license.expiry"),
        Field("@days_left",        "pingintelligence.license.days_left", integer),
        Field("expired",           "pingintelligence.license.expired", truth_or_false),
        Field("max_transactions_per_month", "pingintelligence.license.max_transactions_per_month", integer),
        Field("current_month_transactions", "pingintelligence.license.current_month_transactions", integer),
        Field("max_transactions_exceeded", "pingintelligence.license.max_transactions_exceeded", truth_or_false),
        Field("@training",         "pingintelligence.training", truth_or_false),
        Field("@apis",             "pingintelligence.apis", integer),
    ),
    quiet=("@when", "earlier_date", "later_date", "api_name"),
)
# fmt: on
