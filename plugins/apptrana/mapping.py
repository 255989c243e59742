"""Success Response -> event. One row per field of the vendor's sample, in the sample's order."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Dict, List, Optional, Tuple

from siemtap.core.convert import country, epoch, instant, integer, ip
from siemtap.core.identity import canonical
from siemtap.core.mapping import ABSENT, Dataset, Field, Given, Join, Record, Split, shallow, text

try:
    import orjson as reader  # the shipper has it; an add-on does without, and finds the same
except ImportError:
    import json as reader  # type: ignore[no-redef]

ATTACK_DATA_AT_MOST = 8_192  # characters; attacker-controlled, a megabyte was tried
PAIR = re.compile(r'"([^"]+)"\s*:\s*"(.*?)"\s*(?:,|$)', re.DOTALL)
TLS = re.compile(r"([A-Za-z]+)v([0-9]+(?:\.[0-9]+)?)")
PROTOCOL = re.compile(r"([A-Za-z]+)/([0-9]+(?:\.[0-9]+)?)")
OBSERVER = {"observer.vendor": "Indusface", "observer.product": "AppTrana", "observer.type": "waf"}
REDACTED = "REDACTED"
DEEPEST = 100  # objects and lists in each other that are looked through
# What the rows read; any other name is one that we do not know.
READ = frozenset(
    (
        "attackTime",
        "websiteName",
        "attackerIP",
        "attackerGeo",
        "severity",
        "eventType",
        "attackUri",
        "target",
        "attackData",
        "ipReputation",
        "category",
        "ruleId",
        "requestId",
        "ruleName",
        "tagName",
        "hostName",
        "statusCode",
        "requestHeader",
        "responseHeader",
        "tlsVersion",
        "requestProtocol",
    )
)
# of an object that spells a pair in two: {"name": "Cookie", "value": "…"}
NAMES = frozenset(("name", "header", "key"))


class Pairs(List[Any]):
    """An object as it came, a name that stands there twice included."""


JSON = json.JSONDecoder(strict=False, object_pairs_hook=Pairs)


@lru_cache(maxsize=4096, typed=True)
def attacker(said: Any) -> Tuple[Optional[str], ...]:
    address = ip(said)
    return address, text(said), address, address


@lru_cache(maxsize=1024, typed=True)
def attacker_geo(said: Any) -> Tuple[Optional[str], Optional[str]]:
    try:
        return country(said), None
    except ValueError:
        return None, text(said)


def kind_of(alerts: str) -> str:
    return "alert" if alerts == "all" else "event"


def severity(said: Any, *, severity_map: Dict[str, int]) -> Tuple[Optional[int], int]:
    level = integer(said)
    return severity_map.get(str(level)), level


def verdict(said: Any, *, alerts: str) -> Tuple[str, List[str], str, str, Optional[str]]:
    """The outcome is that of the attack: blocked, it failed. Logged is `info`, not `allowed`:
    another rule may have stopped it."""
    kind = "alert" if alerts == "blocked" and said == "Block" else None
    if said == "Block":
        return "blocked", ["denied"], "failure", said, kind
    if said == "Log":
        return "logged", ["info"], "success", said, kind
    return text(said).lower(), ["info"], "unknown", text(said), kind


def uri(said: Any) -> Tuple[str, Optional[str], Optional[str]]:
    path, _, query = text(said).partition("?")
    return said, path or None, query or None


@lru_cache(maxsize=1024, typed=True)
def origin(tls: Any, host: Any) -> Optional[str]:
    """The scheme is known only where a TLS version is named."""
    if (
        isinstance(tls, str)
        and isinstance(host, str)
        and host.strip() not in ABSENT
        and tls_version(tls.strip())[0]
    ):
        return f"https://{host.strip()}"
    return None


def full_url(tls: Any, host: Any, said: Any) -> Optional[str]:
    if said.__class__ is not str or (start := origin(tls, host)) is None:
        return None
    said = said.strip()
    return start + said if said[:1] == "/" else None


def payload(said: Any) -> Tuple[str, Optional[bool]]:
    said = text(said)
    return said[:ATTACK_DATA_AT_MOST], len(said) > ATTACK_DATA_AT_MOST or None


@lru_cache(maxsize=1024, typed=True)
def rule_id(said: Any) -> Tuple[str, ...]:
    """The name that follows in the record is the better message; this one stands where it is
    missing."""
    id = text(said)
    return id, id, f"rule {id}", f"rule {id}"


@lru_cache(maxsize=1024, typed=True)
def status_code(said: Any) -> Optional[int]:
    return integer(said) or None


def headers(said: str, secret: Tuple[str, ...]) -> Dict[str, str]:
    """A JSON object printed without its braces; "-" is the vendor's word for absent."""
    try:
        found = reader.loads("{" + said + "}")
        if said.count('"') != 4 * len(found):  # a name stands there twice, perhaps
            raise ValueError
        present = {
            name.strip().lower(): trimmed
            for name, value in found.items()
            if value != "-" and (trimmed := value.strip()) and trimmed != "-"
        }
    except (ValueError, AttributeError, RecursionError):
        present = thorough_headers(said, secret)
    for name in secret:
        if name in present:
            present[name] = REDACTED
    if not NAMES.isdisjoint(present) and (naming := named(present, secret)):
        return {name: value if name == naming else REDACTED for name, value in present.items()}
    return present


def thorough_headers(said: str, secret: Tuple[str, ...]) -> Dict[str, str]:
    """The same, for whatever the quick way stumbles over, and where there is none."""
    found = pairs(said)
    # a bare quote in a value, say: by a pattern, whose values may then hold more than one pair
    if found is None:
        found = [(name, unpaired(value, secret)) for name, value in PAIR.findall(said)]
    texts = (
        (
            name.strip().lower(),
            (value if isinstance(value, str) else canonical(walked(plain(value), secret))).strip(),
        )
        for name, value in found
    )
    return {name: value for name, value in texts if value not in ABSENT}


def pairs(said: str) -> Optional[List[Tuple[str, Any]]]:
    """As JSON, a name that stands there twice included; None where that fails."""
    text = "{" + said + "}"
    try:
        found, end = JSON.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return found if end == len(text) else None


def plain(value: Any) -> Any:
    if isinstance(value, Pairs):
        return {name: plain(one) for name, one in value}
    return list(map(plain, value)) if isinstance(value, list) else value


def unpaired(said: str, secret: Tuple[str, ...]) -> str:
    """Header text that nothing could read, with whatever follows a secret header's name cut out."""
    name = "|".join(map(re.escape, secret))
    return (
        re.sub(
            rf"""(?is)("?\b(?:{name})\b(?:\s*\\*["']?\s*[:=]|\s*\\*["']\s*,)).*""",
            rf"\1 {REDACTED}",
            said,
        )
        if secret
        else said
    )


def raw(said: str, secret: Tuple[str, ...]) -> Optional[str]:
    """Header text in which nothing was found: as it came but for its secrets, unless it merely
    said that all are absent."""
    return None if said.strip(" ,{}") == "" or PAIR.search(said) else unpaired(said, secret)


@lru_cache(maxsize=1024)
def mime_type(said: Optional[str]) -> Optional[str]:
    return said.partition(";")[0].strip().lower() or None if said else None


def request_headers(said: Any, *, redact_headers: Tuple[str, ...]) -> Tuple[Any, ...]:
    found = headers(said, redact_headers)
    if not found:
        return None, raw(said, redact_headers), None, None, None
    get = found.get
    return found, None, get("user-agent"), get("referer"), mime_type(get("content-type"))


def response_headers(said: Any, *, redact_headers: Tuple[str, ...]) -> Tuple[Any, ...]:
    found = headers(said, redact_headers)
    if not found:
        return None, raw(said, redact_headers), None, None
    get = found.get
    length = get("content-length")
    return (
        found,
        None,
        int(length) if length and length.isdecimal() and len(length) < 16 else None,
        mime_type(get("content-type")),
    )


@lru_cache(maxsize=64, typed=True)
def tls_version(said: Any) -> Tuple[Optional[str], Optional[str], Optional[str]]:
    found = TLS.fullmatch(text(said))
    return (found[2], found[1].lower(), None) if found else (None, None, said)


@lru_cache(maxsize=64, typed=True)
def request_protocol(said: Any) -> Tuple[str, str]:
    found = PROTOCOL.fullmatch(text(said))
    if not found:
        raise ValueError("not a protocol and its version")
    return found[2], found[1].lower()


def request_id(record: Record) -> Any:
    """Names the attack, with its rule. Without one, only the whole record does: two attacks must
    never share an id."""
    said = record.get("requestId")
    if said.__class__ is str:
        return said if said.strip() not in ABSENT else record
    return said if isinstance(said, int) else record


def named(pair: Dict[str, Any], secret: Tuple[str, ...]) -> str:
    """Return the key under which an object names a secret header; "": it does not."""
    return next(
        (
            key
            for key, value in pair.items()
            if key.strip().lower() in NAMES
            and isinstance(value, str)
            and value.strip().lower() in secret
        ),
        "",
    )


def walked(value: Any, secret: Tuple[str, ...], depth: int = 0) -> Any:
    """What no row reads, without what stands under or beside a secret header's name."""
    if isinstance(value, str):
        return unpaired(value, secret)
    if not isinstance(value, (dict, list)):
        return value
    if depth == DEEPEST:
        return REDACTED
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str) and value[0].strip().lower() in secret:
            return [value[0], REDACTED]
        return [walked(inner, secret, depth + 1) for inner in value]
    naming = named(value, secret)
    return {
        key: (
            inner
            if key == naming
            else (
                REDACTED
                if naming or key.strip().lower() in secret
                else walked(inner, secret, depth + 1)
            )
        )
        for key, inner in value.items()
    }


def redact(record: Record, *, redact_headers: Tuple[str, ...]) -> Record:
    """The record as it may be shown: header strings rewritten without their secrets, and what no
    row reads looked through for them."""
    if isinstance(record, (str, list)):
        return unpaired(
            record if isinstance(record, str) else canonical(walked(record, redact_headers)),
            redact_headers,
        )
    if not isinstance(record, dict):
        return record
    return {name: _shown(name, said, redact_headers) for name, said in record.items()}


def _shown(name: str, said: Any, secret: Tuple[str, ...]) -> Any:
    if name.strip().lower() in secret:
        return REDACTED
    if name in ("requestHeader", "responseHeader") and said not in ABSENT:
        found = headers(said, secret) if isinstance(said, str) else {}
        return (
            json.dumps(found, ensure_ascii=False)[1:-1]
            if found
            else unpaired(
                text(said) if isinstance(said, str) else canonical(walked(said, secret)), secret
            )
        )
    return said if name in READ and isinstance(said, str) else walked(said, secret)


def attack_time(record: Record) -> str:
    return instant(record["attackTime"])


# fmt: off
ATTACK = Dataset(
    name="apptrana.attack",
    clock=attack_time,
    # "requestId" is not unique: one request may break several rules, and one rule in several places
    identity=(request_id, "ruleId", "attackTime", "websiteName", "target", "attackData"),
    redact=redact,
    constant={**OBSERVER, "event.kind": "event", "event.category": ["web", "intrusion_detection"], "event.type": ["info"]},
    rows=(
        Given("account",          "observer.name"),
        Given("alerts",           "event.kind", kind_of),
        Field("websiteName",      ("apptrana.website", "service.name", "related.hosts")),
        Split("attackerIP",       ("source.ip", "source.address", "client.ip", "related.ip"), attacker),
        Split("attackerGeo",      ("source.geo.country_iso_code", "apptrana.attacker_geo"), attacker_geo),
        Split("severity",         ("event.severity", "apptrana.severity"), severity),
        Split("eventType",        ("event.action", "event.type", "event.outcome", "apptrana.event_type", "event.kind"), verdict),
        Split("attackUri",        ("url.original", "url.path", "url.query"), uri),
        Join(("tlsVersion", "hostName", "attackUri"), "url.full", full_url),
        Field("target",           "apptrana.target"),
        Split("attackData",       ("apptrana.attack_data", "apptrana.attack_data_truncated"), payload),
        Field("ipReputation",     "apptrana.ip_reputation"),
        Field("category",         ("rule.category", "apptrana.category")),
        Split("ruleId",           ("rule.id", "event.code", "rule.name", "message"), rule_id),
        Field("requestId",        ("http.request.id", "apptrana.request_id")),
        Field("ruleName",         ("rule.name", "message")),
        Field("tagName",          "rule.ruleset"),
        Field("hostName",         ("url.domain", "destination.domain", "destination.address", "related.hosts")),
        Field("statusCode",       "http.response.status_code", status_code),
        Split("requestHeader",    ("apptrana.request_headers", "apptrana.request_headers_raw", "user_agent.original",
                                   "http.request.referrer", "http.request.mime_type"), request_headers),
        Split("responseHeader",   ("apptrana.response_headers", "apptrana.response_headers_raw",
                                   "http.response.body.bytes", "http.response.mime_type"), response_headers),
        Split("tlsVersion",       ("tls.version", "tls.version_protocol", "apptrana.tls_version"), tls_version),
        Split("requestProtocol",  ("http.version", "network.protocol"), request_protocol),
    ),
    quiet=("attackTime",),
    few=("websiteName", "severity", "eventType", "category", "ruleId", "ruleName", "tagName", "hostName", "statusCode", "ipReputation",
         "tlsVersion", "requestProtocol"),
)
# fmt: on


def action_time(record: Record, *, activity_time_key: str) -> Optional[str]:
    """The vendor publishes no fields of an action: the first value, by the alphabet, under a
    name like time or date that is one."""
    action = record["action"]
    names = (
        [activity_time_key]
        if activity_time_key
        else [name for name in sorted(action) if "time" in name.lower() or "date" in name.lower()]
    )
    for name in names:
        for read in (instant, epoch):
            try:
                return read(action.get(name))
            except ValueError:
                continue
    return None


def action(said: Any) -> Tuple[Any, ...]:
    items = sorted(shallow(said).items())
    user = next(
        (
            value
            for name, value in items
            if "user" in name.lower() and isinstance(value, str) and value.strip() not in ABSENT
        ),
        None,
    )
    address = next(
        filter(None, (ip(value.strip()) for _, value in items if isinstance(value, str))), None
    )
    message = next(
        (
            value
            for name, value in items
            if isinstance(value, str)
            and value.strip() not in ABSENT
            and any(word in name.lower() for word in ("action", "message", "description"))
            and not _is_time(value)
        ),
        "portal activity",
    )
    return said, message, user, user, address, address, address


def _is_time(value: str) -> bool:
    """`actionTime` is no description of an action, for all that its name says "action"."""
    try:
        return bool(instant(value))
    except ValueError:
        return False


# fmt: off
ACTIVITY = Dataset(
    name="apptrana.activity",
    clock=action_time,
    identity=("websiteName", "action"),
    constant={**OBSERVER, "event.kind": "event", "event.category": ["configuration"], "event.type": ["info"]},
    rows=(
        Given("account",          "observer.name"),
        Field("websiteName",      ("apptrana.website", "service.name", "related.hosts")),
        Split("action",           ("apptrana.activity", "message", "user.name", "related.user", "source.ip", "source.address", "related.ip"), action),
    ),
)
# fmt: on
