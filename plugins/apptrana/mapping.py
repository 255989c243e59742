"""Mapping of AppTrana's records to events: one row per field of the vendor's "Success Response", in
the sample's order."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from siemtap.core.bounds import cached
from siemtap.core.convert import (
    Ip,
    LongText,
    Port,
    any_time,
    country,
    endpoint,
    instant,
    text,
)
from siemtap.core.declared import const, integer, integer_within, lookup, lower, match
from siemtap.core.formats.url import split_host, split_url, without_userinfo
from siemtap.core.identity import canonical
from siemtap.core.rows import (
    ABSENT,
    Dataset,
    Field,
    Given,
    Join,
    Record,
    Split,
    shallow,
    sources_of,
)

from . import cim
from .redaction import (
    REDACTED,
    headers,
    is_secret_data,
    raw_headers,
    redact_header_text,
    unpaired,
    walked,
)
from .urls import host, uri, url_domain, url_port

# Characters. The attacker controls the value; one of a megabyte was tried.
MAX_ATTACK_DATA = 8_192
TLS = re.compile(r"([A-Za-z]+)v([0-9]+(?:\.[0-9]+)?)")
PROTOCOL = r"([A-Za-z]+)/([0-9]+(?:\.[0-9]+)?)"
Headers = Optional[Dict[str, Any]]  # name in lower case -> value
OBSERVER = {"observer.vendor": "Indusface", "observer.product": "AppTrana", "observer.type": "waf"}


def attacker(
    value: Any,
) -> Tuple[Optional[Ip], Optional[Port], str, Optional[Ip], Optional[Port], Optional[List[Ip]]]:
    """Return `source.ip`, its port and address, `client.ip` and its port, and `related.ip`."""
    address, port, sent, addresses = endpoint(value)
    return address, port, sent, address, port, addresses


@cached(1024, typed=True)
def attacker_geo(value: Any) -> Tuple[Optional[str], Optional[str]]:
    """Return the ISO country code; for any other value None and the value as text."""
    try:
        return country(value), None
    except ValueError:
        return None, text(value)


kind_of = lookup({"all": "alert"}, const("event"))


def severity(value: Any, *, severity_map: Dict[str, int]) -> Tuple[Optional[int], int]:
    """Return `event.severity` by the severity map, and the vendor's number."""
    level = integer(value)
    return severity_map.get(str(level)), level


def verdict(value: Any, *, alerts: str) -> Tuple[str, List[str], Optional[str], str, Optional[str]]:
    """Return action, type, outcome, the vendor's event type, and `event.kind`.

    The outcome is the attack's, as ECS takes the side of who acts: a blocked attack failed. A
    logged one has none, because nobody knows whether it worked, and the type `info` instead of
    `allowed`, because another rule may have blocked it.
    """
    sent = text(value)
    word = sent.lower()
    if word in ("block", "blocked"):
        return "blocked", ["denied"], "failure", sent, "alert" if alerts == "blocked" else None
    if word in ("log", "logged"):
        return "logged", ["info"], None, sent, None
    return word, ["info"], "unknown", sent, None


@cached(1024, typed=True)
def https_origin(tls: Any, host: Any) -> Optional[str]:
    """Return "https://" and the host; None without a TLS version, which alone proves the scheme."""
    if (
        isinstance(tls, str)
        and isinstance(host, str)
        and host.strip() not in ABSENT
        and split_host(host.strip())[0]
        and tls_version(tls.strip())[0]
    ):
        return f"https://{host.strip()}"
    return None


def full_url(tls: Any, host: Any, uri: Any) -> Optional[LongText]:
    """Return an absolute URL, without a password; else the full URL of a request over TLS. None
    where scheme, host or path is unknown."""
    if uri.__class__ is not str:
        return None
    shown = uri.strip()
    if "://" in shown:
        shown = without_userinfo(shown)
        url = split_url(shown)
        if url:
            return shown if url.domain else None
    origin = https_origin(tls, host)
    return origin + shown if origin and shown[:1] == "/" else None


def payload(value: Any, *, redact_headers: Tuple[str, ...]) -> Tuple[LongText, Optional[bool]]:
    """Return at most MAX_ATTACK_DATA characters, and True where the value was truncated. An object
    becomes its JSON: left to `extra`, it would be shown whatever its target is."""
    data = value if isinstance(value, str) else canonical(walked(value, redact_headers))
    return data[:MAX_ATTACK_DATA], len(data) > MAX_ATTACK_DATA or None


def secret_payload(
    target: Any, data: Any, *, redact_headers: Tuple[str, ...]
) -> Optional[LongText]:
    """Return REDACTED for data that a rule matched in a cookie or a secret header, else None."""
    if data in ABSENT or not is_secret_data(target, data, redact_headers):
        return None
    return REDACTED


@cached(1024, typed=True)
def rule_id(value: Any) -> Tuple[str, ...]:
    """Return `rule.id`, `event.code`, and a default for `rule.name` and `message`.

    The row of `ruleName` follows and replaces both defaults where the record has that key.
    """
    id = text(value)
    return id, id, f"rule {id}", f"rule {id}"


status_code = integer_within(nothing=0)


@cached(1024)
def mime_type(content_type: Optional[str]) -> Optional[str]:
    """Return the MIME type of a Content-Type header, in lower case and without parameters."""
    return content_type.partition(";")[0].strip().lower() or None if content_type else None


def request_headers(
    value: Any, *, redact_headers: Tuple[str, ...]
) -> Tuple[Headers, Optional[LongText], Optional[str], Optional[str], Optional[str]]:
    """Return the headers or else their raw text, then user agent, referrer and MIME type."""
    fields = headers(value, redact_headers)
    if not fields:
        return None, raw_headers(value, redact_headers), None, None, None
    get = fields.get
    return fields, None, get("user-agent"), get("referer"), mime_type(get("content-type"))


def response_headers(
    value: Any, *, redact_headers: Tuple[str, ...]
) -> Tuple[Headers, Optional[LongText], Optional[int], Optional[str]]:
    """Return the headers or else their raw text, then the body's length in bytes and MIME type."""
    fields = headers(value, redact_headers)
    if not fields:
        return None, raw_headers(value, redact_headers), None, None
    get = fields.get
    length = get("content-length", "")
    size = int(length) if length.isdecimal() and len(length) < 16 else None
    return fields, None, size, mime_type(get("content-type"))


@cached(64, typed=True)
def tls_version(value: Any) -> Tuple[Optional[str], Optional[str], Optional[str]]:
    """Return version and protocol of a value such as TLSv1.2; the value itself, third, where it
    has another form."""
    match = TLS.fullmatch(text(value))
    return (match[2], match[1].lower(), None) if match else (None, None, value)


request_protocol = match(PROTOCOL, (2, text), (1, lower))


def request_id(record: Record) -> Any:
    """Return the request id, which with the rule identifies the attack; the whole record where
    there is none, so that two attacks never share an id."""
    id = record.get("requestId")
    if id.__class__ is str:
        return id if id.strip() not in ABSENT else record
    return id if isinstance(id, int) else record


def attack_time(record: Record) -> str:
    """Return `@timestamp`."""
    return any_time(record["attackTime"])


def redact(record: Record, *, redact_headers: Tuple[str, ...]) -> Record:
    """Return the record with the values of secret headers redacted: in the header texts, in what a
    rule matched in them, and in every value that no row reads."""
    if isinstance(record, str):
        return unpaired(record, redact_headers)
    if isinstance(record, list):
        return unpaired(canonical(walked(record, redact_headers)), redact_headers)
    if not isinstance(record, dict):
        return record
    redacted = {name: _redact_field(name, value, redact_headers) for name, value in record.items()}
    data = record.get("attackData")
    if data not in ABSENT and is_secret_data(record.get("target"), data, redact_headers):
        redacted["attackData"] = REDACTED
    return redacted


def _redact_field(name: str, value: Any, secret: Tuple[str, ...]) -> Any:
    if name.strip().lower() in secret:
        return REDACTED
    if name in ("requestHeader", "responseHeader") and value not in ABSENT:
        return redact_header_text(value, secret)
    if name == "attackUri" and isinstance(value, str):
        return without_userinfo(value.strip())
    return value if name in MAPPED_KEYS and isinstance(value, str) else walked(value, secret)


# fmt: off
ATTACK = Dataset(
    name="apptrana.attack",
    cim=cim.ATTACK,
    clock=attack_time,
    # requestId is not unique: one request may match several rules, and one rule in several places
    identity=(request_id, "ruleId", "attackTime", "websiteName", "target", "attackData"),
    redact=redact,
    constant={**OBSERVER, "event.kind": "event", "event.category": ["web", "intrusion_detection"], "event.type": ["info"]},
    rows=(
        Given("account",          "observer.name"),
        Given("alerts",           "event.kind", kind_of),
        Field("websiteName",      ("apptrana.website", "service.name", "related.hosts")),
        Split("attackerIP",       ("source.ip", "source.port", "source.address", "client.ip", "client.port", "related.ip"), attacker),
        Split("attackerGeo",      ("source.geo.country_iso_code", "apptrana.attacker_geo"), attacker_geo),
        Split("severity",         ("event.severity", "apptrana.severity"), severity),
        Split("eventType",        ("event.action", "event.type", "event.outcome", "apptrana.event_type", "event.kind"), verdict),
        Split("attackUri",        ("url.original", "url.path", "url.query", "url.scheme"), uri),
        Join(("attackUri", "hostName"), "url.port", url_port),
        Join(("tlsVersion", "hostName", "attackUri"), "url.full", full_url),
        Field("target",           "apptrana.target"),
        Split("attackData",       ("apptrana.attack_data", "apptrana.attack_data_truncated"), payload),
        Join(("target", "attackData"), "apptrana.attack_data", secret_payload),
        Field("ipReputation",     "apptrana.ip_reputation"),
        Field("category",         ("rule.category", "apptrana.category")),
        Split("ruleId",           ("rule.id", "event.code", "rule.name", "message"), rule_id),
        Field("requestId",        ("http.request.id", "apptrana.request_id")),
        Field("ruleName",         ("rule.name", "message")),
        Field("tagName",          "rule.ruleset"),
        Split("hostName",         ("url.domain", "destination.domain", "destination.address", "destination.port", "related.hosts"), host),
        Join(("attackUri",), "url.domain", url_domain),
        Field("statusCode",       "http.response.status_code", status_code),
        Split("requestHeader",    ("apptrana.request_headers", "apptrana.request_headers_raw", "user_agent.original",
                                   "http.request.referrer", "http.request.mime_type"), request_headers),
        Split("responseHeader",   ("apptrana.response_headers", "apptrana.response_headers_raw",
                                   "http.response.body.bytes", "http.response.mime_type"), response_headers),
        Split("tlsVersion",       ("tls.version", "tls.version_protocol", "apptrana.tls_version"), tls_version),
        Split("requestProtocol",  ("http.version", "network.protocol"), request_protocol),
    ),
    expected_keys=("attackTime",),
    low_cardinality=("websiteName", "severity", "eventType", "category", "ruleId", "ruleName", "tagName", "hostName", "statusCode", "ipReputation",
         "tlsVersion", "requestProtocol"),
)
# fmt: on
# the record's keys that a row or the clock reads; every other key is unknown
MAPPED_KEYS = frozenset(("attackTime", *(key for row in ATTACK.rows for key in sources_of(row))))


def action_time(record: Record, *, activity_time_key: str) -> Optional[str]:
    """Return `@timestamp` of an action; None if no key holds a time.

    The vendor publishes no fields of an action. Without `activity_time_key`, the keys whose name
    contains time or date are tried in alphabetical order.
    """
    action = record["action"]
    if activity_time_key:
        names = [activity_time_key]
    else:
        names = [
            name for name in sorted(action) if "time" in name.lower() or "date" in name.lower()
        ]
    for name in names:
        try:
            return any_time(action.get(name))
        except ValueError:
            continue
    return None


def action(
    value: Any,
) -> Tuple[
    Dict[str, Any],
    str,
    Optional[str],
    Optional[str],
    Optional[Ip],
    Optional[Port],
    Optional[str],
    Optional[List[Ip]],
]:
    """Return the action, its message, `user.name`, `related.user`, `source.ip`, its port and
    address, and `related.ip`.

    User, address and message are each the first text, by key, that fits.
    """
    texts = [(key, item) for key, item in sorted(shallow(value).items()) if isinstance(item, str)]
    present = [(key.lower(), item) for key, item in texts if item.strip() not in ABSENT]
    user = next((item for key, item in present if "user" in key), None)
    peers = (endpoint(item.strip()) for _, item in texts)
    address = next((peer for peer in peers if peer[0]), (None, None, None, None))
    message = next(
        (item for key, item in present if _describes_action(key) and not _is_time(item)),
        "portal activity",
    )
    return value, message, user, user, *address


def _describes_action(key: str) -> bool:
    return "action" in key or "message" in key or "description" in key


def _is_time(value: str) -> bool:
    """Tell whether a value is a time, such as that of `actionTime`, which describes no action."""
    try:
        return bool(instant(value))
    except ValueError:
        return False


# fmt: off
ACTIVITY = Dataset(
    name="apptrana.activity",
    cim=cim.ACTIVITY,
    clock=action_time,
    identity=("websiteName", "action"),
    constant={**OBSERVER, "event.kind": "event", "event.category": ["configuration"], "event.type": ["info"]},
    rows=(
        Given("account",          "observer.name"),
        Field("websiteName",      ("apptrana.website", "service.name", "related.hosts")),
        Split("action",           ("apptrana.activity", "message", "user.name", "related.user", "source.ip", "source.port", "source.address", "related.ip"), action),
    ),
)
# fmt: on
