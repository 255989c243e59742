"""What ABS says of attacks, in all its shapes -> records, one for each thing that an attacker did.

A record has the vendor's names; those that begin with "@" are ours. A cookie, token or API key is in no record, but for its hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from siemtap.core.convert import epoch
from siemtap.core.errors import Malformed, Retry
from siemtap.core.identity import canonical
from siemtap.core.mapping import Record

from . import attack_types
from .manifest import Settings
from .times import moment

KINDS = {"ip": "ip", "IP": "ip", "source_ip": "ip", "cookie": "cookie", "access_token": "access_token", "oauth_token": "access_token", "token": "access_token",
         "api_key": "api_key", "apikey": "api_key", "username": "username", "user_name": "username", "user": "username"}
LISTS = {"ips": "ip", "cookies": "cookie", "access_tokens": "access_token", "oauth_tokens": "access_token", "tokens": "access_token", "api_keys": "api_key", "apikeys": "api_key",
         "usernames": "username", "users": "username"}
SECRET = ("cookie", "access_token", "api_key")
IN_LOG = {"token": "access_token", "oauth token": "access_token", "oauth_token": "access_token", "access_token": "access_token", "cookie": "cookie", "ip": "ip", "api key": "api_key",
          "api_key": "api_key", "apikey": "api_key", "user name": "username", "username": "username", "user_name": "username"}
DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
WHEN = ("access_time", "attack_code", "attack_deviation")
READ = frozenset(("attack_type", "ioc_type", "description", "company", "name", "api_name", "earlier_date", "later_date", "cookie", "api_key", "token", "ddos_info"))


class Asked(NamedTuple):
    """The question that a report answers: the number of a type (0: all), the API (empty: across them)."""

    type: int = 0
    api: str = ""


def flatten(said: Any, asked: Asked, settings: Settings) -> List[Record]:
    """Every attack of an answer, exact repeats counted. What has no known shape comes whole, and cannot be mapped."""
    if said is None:
        return []
    if isinstance(said, dict) and not READ.intersection(said) and not LISTS.keys() & said.keys() and any(said.get(word) for word in ("error", "errors", "message")):
        raise Retry(f"a success that says it failed: {canonical(said)[:300]}")
    if not isinstance(said, (dict, list)):
        raise Malformed("the answer is neither an object nor a list")
    found: Dict[Tuple[Any, ...], Dict[str, Any]] = {}
    odd: List[Record] = []
    for report in said if isinstance(said, list) else [said]:
        for record in _report(report, asked, settings):
            if "@when" not in record:
                odd.append(record)
                continue
            key = (record["@name"], record["@api"], record["@who"], record["access_time"], record["attack_code"])
            known: Dict[str, Any] = found.setdefault(key, record)
            if known is not record:
                known["@count"] += 1
    return [*found.values(), *odd]


def _report(report: Any, asked: Asked, settings: Settings) -> Iterator[Record]:
    if not isinstance(report, dict):
        yield {"element": redacted(report)}
        return
    if not report:
        return
    base = _base(report, asked)
    items = False
    for name, value in report.items():
        if isinstance(value, list) and (name in LISTS or any(isinstance(one, dict) and ("details" in one or "access_time" in one) for one in value)):
            for element in value:
                items = True
                yield from _element(element, LISTS.get(name, ""), base, asked, settings)
    if not items and report.get("ddos_info"):
        yield from _ddos(base, asked, settings)
    elif not items and not READ.intersection(report) and not LISTS.keys() & report.keys():
        yield {"element": redacted(report)}


def _base(report: Mapping[str, Any], asked: Asked) -> Record:
    """What all attacks of a report share."""
    name = next((report[key].strip() for key in ("attack_type", "ioc_type") if isinstance(report.get(key), str) and report[key].strip()), "")
    api = report.get("api_name") if isinstance(report.get("api_name"), str) and report["api_name"] else asked.api or "all"
    return {"attack_type": name, "description": report.get("description"), "company": report.get("company"), "name": report.get("name"), "earlier_date": report.get("earlier_date"),
            "later_date": report.get("later_date"), "ddos_info": report.get("ddos_info"), "access_time": "", "attack_code": "", "attack_deviation": "",
            "@name": name or str(asked.type), "@api": api, "@scope": attack_types.ACROSS if api == "all" else attack_types.API, "@type": None, "@who": ("", ""), "@clear": None,
            "@cookie_name": report.get("cookie") if isinstance(report.get("cookie"), str) else None, "@when": None, "@time_source": "query", "@ambiguous": None, "@count": 1, "@report": True,
            "@protocol": None, "@bucket": None, "@identifier_name": None, "identifier": None,
            **{key: value for key, value in report.items() if key not in READ and key not in LISTS and not (isinstance(value, list) and any(isinstance(one, dict) for one in value))}}


def _element(element: Any, of: str, base: Record, asked: Asked, settings: Settings) -> Iterator[Record]:
    """One identifier. Its own key says what it is, and not the list it stands in."""
    if isinstance(element, (str, int, float)) and of:
        element = {of: element}
    key = next((key for key in KINDS if key in element and (element[key] is None or isinstance(element[key], (str, int, float)))), "") if isinstance(element, dict) else ""
    details = element.get("details", element.get("access_time", [])) if key else None
    if isinstance(details, (str, dict)):
        details = [details]
    if not isinstance(details, list) or not all(isinstance(one, (dict, str)) for one in details):
        yield {"element": redacted(element), "attack_type": base["@name"], "api_name": base["@api"]}
        return
    kind, value = KINDS[key], element[key]
    own = {**base, **identified(kind, value, settings), "@type": type_of(base, kind, asked),
           **{name: said for name, said in element.items() if name not in KINDS and name not in ("details", "access_time")}}
    zone = settings.timezone
    if not details:
        yield {**own, **_when(own, zone)}
    for detail in details:
        record = {**own, **detail} if isinstance(detail, dict) else {**own, "access_time": detail}
        found = moment(record["access_time"], zone)
        if found:
            record["@when"], record["@time_source"] = found.text, "access_time"
            if found.ambiguous:
                record["@ambiguous"] = True
        else:
            record.update(_when(record, zone))
        yield record


def identified(kind: str, value: Any, settings: Settings) -> Record:
    """Whose doing it was; a secret only as its hash. To the restricted user ABS shows some as a hash already."""
    said = "" if value is None else str(value)
    if kind not in SECRET:
        return {"@who": (kind, said)}
    if settings.role == "restricted" and DIGEST.fullmatch(said):
        return {"@who": (kind, said.lower())}
    return {"@who": (kind, hashed(said)), "@clear": None if settings.hash_identifiers else said}


def hashed(said: str) -> str:
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def type_of(base: Record, kind: str, asked: Asked) -> Optional[str]:
    """The question's number, else the one of the name."""
    found = asked.type or attack_types.id_of(base["attack_type"], base["@scope"] == attack_types.ACROSS, kind)
    return str(found) if found else None


def _when(record: Record, zone: str) -> Record:
    """The time of what has no time of its own: the end of the denial of service, else that of the question, as ABS repeats it."""
    for source, said in (("ddos_info", end_of(record["ddos_info"])), ("later_date", record["later_date"])):
        found = moment(said, zone)
        if found:
            return {"@when": found.text, "@time_source": source, "@ambiguous": found.ambiguous or None}
    return {"@when": None, "@time_source": "query"}


def end_of(ddos_info: Any) -> str:
    """The `end_time` that a pointer holds, wherever; it is how MongoDB finds the addresses."""
    if isinstance(ddos_info, str):
        found = re.search(r"\S{3} [A-Z][a-z]{2} +[0-9]{1,2} [0-9:]{12} [0-9]{4}", ddos_info)
        return found[0] if found else ""
    if isinstance(ddos_info, dict):
        return ddos_info["end_time"] if isinstance(ddos_info.get("end_time"), str) else next(filter(None, map(end_of, ddos_info.values())), "")
    return next(filter(None, map(end_of, ddos_info)), "") if isinstance(ddos_info, list) else ""


def _ddos(base: Record, asked: Asked, settings: Settings) -> Iterator[Record]:
    end = end_of(base["ddos_info"])
    record = {**base, "@who": ("ddos_info", canonical(base["ddos_info"])), "access_time": end, "@type": type_of(base, "ddos_info", asked)}
    yield {**record, **_when(record, settings.timezone)}


def redacted(value: Any, of: str = "") -> Any:
    """With hashes for whatever stands under the name of a secret, at any depth. A number under the name of a list counts it."""
    if isinstance(value, dict):
        return {name: inner if name in WHEN or (name in LISTS and isinstance(inner, (int, float))) else redacted(inner, KINDS.get(name) or LISTS.get(name) or of) for name, inner in value.items()}
    if isinstance(value, list):
        return [redacted(inner, of) for inner in value]
    return hashed(str(value)) if of in SECRET and value not in (None, "") else value


def of_log(line: str, settings: Settings) -> List[Record]:
    """A line of attack.log, or the message of its syslog form: the prefix, then JSON in which all values are text."""
    start = line.find("{")
    try:
        said = json.loads(line[start:]) if start >= 0 else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or "attack_identifier_type" not in said:
        return [{"line": line}] if line.strip() else []
    kind = IN_LOG.get(str(said.get("attack_identifier_type", "")).strip().lower(), "")
    across = said.get("attacked_api") == "MULTI_API" or str(said.get("attack_scope", "")).upper().startswith("MULTI")
    name = str(said.get("description") or "").strip()
    id = str(said.get("attack_id") or "").strip()
    subject = identified(kind, said.get("attack_value"), settings) if kind else {"@who": (str(said.get("attack_identifier_type")).strip().lower() or "unknown", hashed(str(said.get("attack_value"))))}
    try:
        when: Optional[str] = epoch(said.get("timestamp"))
    except ValueError:
        when = None
    read = {"timestamp", "protocol", "attack_id", "description", "attack_bucket", "attack_scope", "attacked_api", "attack_identifier_type", "attack_key", "attack_value"}
    return [{**_base({}, Asked()), "attack_type": name, "@name": name or id, "@api": said.get("attacked_api") or "", "@scope": attack_types.ACROSS if across else attack_types.API,
             "@type": id or None, **subject, "access_time": str(said.get("timestamp") or ""), "@when": when, "@time_source": "access_time" if when else "arrival", "@protocol": said.get("protocol"),
             "@bucket": said.get("attack_bucket"), "@identifier_name": said.get("attack_key"), "@report": None, **{key: value for key, value in said.items() if key not in read}}]
