"""ABS attack reports -> records, one for each attack of one identifier.

A record has the vendor's keys; keys that begin with "@" are siemtap's. A cookie, token or API key
is in a record only as its hash, unless the setting `hash_identifiers` is off.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from siemtap.core.errors import Malformed, Retry
from siemtap.core.identity import canonical, sha256_hex, spell
from siemtap.core.rows import Record, escape_key

from . import attack_types
from .manifest import Settings
from .redaction import KINDS, LISTS, SECRET, WITHIN, redact
from .times import parse_time

DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
REPORT_KEYS = frozenset(
    (
        "attack_type",
        "ioc_type",
        "description",
        "company",
        "name",
        "api_name",
        "earlier_date",
        "later_date",
        "cookie",
        "api_key",
        "token",
        "ddos_info",
    )
)


class Query(NamedTuple):
    """The query that a report answers. `type`: a type number, 0 for all; `api`: empty for attacks
    across APIs."""

    type: int = 0
    api: str = ""


def flatten(response: Any, query: Query, settings: Settings) -> List[Record]:
    """Return a record for every attack in a response; exact repeats are counted.

    An element of unknown shape is returned whole, as a record that cannot be mapped. Retry for an
    error in a response with status 200; Malformed for what is neither an object nor a list.
    """
    if response is None:
        return []
    if _is_error(response):
        raise Retry(f"status 200 with an error: {canonical(redact(response))[:300]}")
    if not isinstance(response, (dict, list)):
        raise Malformed("the answer is neither an object nor a list")
    attacks: Dict[Tuple[Any, ...], Dict[str, Any]] = {}
    unmapped: List[Record] = []
    for report in response if isinstance(response, list) else [response]:
        for record in _parse_report(report, query, settings):
            if "@when" not in record:
                unmapped.append(record)
                continue
            # as the identity writes them: ABS's own keys may hold anything
            key = (
                record["@name"],
                record["@api"],
                record["@who"],
                spell(record["access_time"]),
                spell(record["attack_code"]),
            )
            known: Dict[str, Any] = attacks.setdefault(key, record)
            if known is not record:
                known["@count"] += 1
    return [*attacks.values(), *unmapped]


def _is_error(response: Any) -> bool:
    return (
        isinstance(response, dict)
        and not _has_report_keys(response)
        and any(response.get(key) for key in ("error", "errors", "message"))
    )


def _has_report_keys(report: Mapping[str, Any]) -> bool:
    return bool(REPORT_KEYS.intersection(report) or LISTS.keys() & report.keys())


def _parse_report(report: Any, query: Query, settings: Settings) -> Iterator[Record]:
    """Yield the records of one report."""
    if not isinstance(report, dict):
        yield {"element": redact(report)}
        return
    if not report:
        return
    base = base_record(report, query)
    has_elements = False
    for name, value in report.items():
        if not _is_identifier_list(name, value):
            continue
        for element in value:
            has_elements = True
            yield from _parse_element(
                element, kind=LISTS.get(name, ""), base=base, query=query, settings=settings
            )
    if not has_elements and report.get("ddos_info"):
        yield _ddos_record(base, query, settings)
    elif not has_elements and not _has_report_keys(report):
        yield {"element": redact(report)}


def _is_identifier_list(name: str, value: Any) -> bool:
    """Return whether a value is a list of identifiers, by its key or by what its elements hold."""
    if not isinstance(value, list):
        return False
    return name in LISTS or any(
        isinstance(element, dict) and ("details" in element or "access_time" in element)
        for element in value
    )


def base_record(report: Mapping[str, Any], query: Query) -> Record:
    """Return the part of a record that all attacks of a report share."""
    name = _attack_name(report)
    api = query.api or "all"
    if isinstance(report.get("api_name"), str) and report["api_name"]:
        api = report["api_name"]
    return {
        "attack_type": name,
        "description": report.get("description"),
        "company": report.get("company"),
        "name": report.get("name"),
        "earlier_date": report.get("earlier_date"),
        "later_date": report.get("later_date"),
        "ddos_info": report.get("ddos_info"),
        "access_time": "",
        "attack_code": "",
        "attack_deviation": "",
        "@name": name or str(query.type),
        "@api": api,
        "@scope": attack_types.ACROSS if api == "all" else attack_types.API,
        "@type": None,
        "@who": ("", ""),
        "@clear": None,
        "@cookie_name": report.get("cookie") if isinstance(report.get("cookie"), str) else None,
        "@when": None,
        "@time_source": "query",
        "@ambiguous": None,
        "@count": 1,
        "@report": True,
        "@protocol": None,
        "@bucket": None,
        "@identifier_name": None,
        "@element": None,
        "identifier": None,
        **foreign(
            {
                key: value
                for key, value in report.items()
                if key not in REPORT_KEYS
                and key not in LISTS
                and not (isinstance(value, list) and any(isinstance(item, dict) for item in value))
            }
        ),
    }


def _attack_name(report: Mapping[str, Any]) -> str:
    """Return the name of the attack type; empty if the report has none."""
    for key in ("attack_type", "ioc_type"):
        name = report.get(key)
        if isinstance(name, str) and name.strip():
            return name.strip()
    return ""


def foreign(values: Mapping[str, Any]) -> Record:
    """Return a copy in which vendor keys that begin with "@" have the prefix "_"."""
    return {escape_key(key): value for key, value in values.items()}


def _parse_element(
    element: Any, kind: str, base: Record, query: Query, settings: Settings
) -> Iterator[Record]:
    """Yield the records of one identifier in a report.

    `kind`: of the list it stands in. The element's own key takes precedence: ABS puts identifiers
    into wrong lists.
    """
    if isinstance(element, (str, int, float)) and kind:
        element = {kind: element}
    key = _identifier_key(element)
    details = element.get("details", element.get("access_time", [])) if key else None
    if isinstance(details, (str, dict)):
        details = [details]
    if not isinstance(details, list) or not all(isinstance(item, (dict, str)) for item in details):
        yield {
            "element": redact(element, context=WITHIN),
            "attack_type": base["@name"],
            "api_name": base["@api"],
        }
        return
    kind = KINDS[key]
    shared = {
        **base,
        **identifier_fields(kind, element[key], settings),
        "@type": type_of(base, kind, query),
        **foreign(
            {
                name: value
                for name, value in element.items()
                if name not in KINDS and name not in ("details", "access_time")
            }
        ),
    }
    if not details:
        yield {**shared, **_fallback_time(shared, settings.timezone)}
    for detail in details:
        yield _detail_record(detail, shared, settings.timezone)


def _identifier_key(element: Any) -> str:
    """Return the key that holds the identifier of an element; empty if there is none."""
    if not isinstance(element, dict):
        return ""
    for key in KINDS:
        if key in element and (element[key] is None or isinstance(element[key], (str, int, float))):
            return key
    return ""


def _detail_record(detail: Any, shared: Record, zone_name: str) -> Record:
    """Return the record of one access: an object of details, or only its time."""
    own = foreign(detail) if isinstance(detail, dict) else {"access_time": detail}
    record = {**shared, **own}
    moment = parse_time(record["access_time"], zone_name)
    if not moment:
        return {**record, **_fallback_time(record, zone_name)}
    record["@when"] = moment.text
    record["@time_source"] = "access_time"
    if moment.ambiguous:
        record["@ambiguous"] = True
    return record


def identifier_fields(kind: str, value: Any, settings: Settings) -> Record:
    """Return the fields of an identifier: `@who` (kind, value), and `@clear` if secrets are kept.

    A cookie, token or API key is given as SHA-256. What ABS shows to the restricted user as 64 hex
    digits is taken as a hash already.
    """
    text = "" if value is None else str(value)
    if kind not in SECRET:
        return {"@who": (kind, text)}
    if settings.role == "restricted" and DIGEST.fullmatch(text):
        return {"@who": (kind, text.lower())}
    return {
        "@who": (kind, sha256_hex(text)),
        "@clear": None if settings.hash_identifiers else text,
    }


def type_of(base: Record, kind: str, query: Query) -> Optional[str]:
    """Return the type number of the query, else the one that belongs to the attack's name."""
    across = base["@scope"] == attack_types.ACROSS
    number = query.type or attack_types.id_of(base["attack_type"], across, kind)
    return str(number) if number else None


def _fallback_time(record: Record, zone_name: str) -> Record:
    """Return the time fields of an attack without an access time: the end of the denial of
    service, else the `later_date` of the query as ABS repeats it."""
    candidates = (
        ("ddos_info", end_of(record["ddos_info"])),
        ("later_date", record["later_date"]),
    )
    for source, value in candidates:
        moment = parse_time(value, zone_name)
        if moment:
            return {
                "@when": moment.text,
                "@time_source": source,
                "@ambiguous": moment.ambiguous or None,
            }
    return {"@when": None, "@time_source": "query"}


def end_of(ddos_info: Any) -> str:
    """Return the first `end_time` in a `ddos_info`, at any depth; empty if there is none.

    MongoDB stores the addresses of the attack under this time.
    """
    if isinstance(ddos_info, str):
        match = re.search(r"\S{3} [A-Z][a-z]{2} +[0-9]{1,2} [0-9:]{12} [0-9]{4}", ddos_info)
        return match[0] if match else ""
    if isinstance(ddos_info, dict):
        if isinstance(ddos_info.get("end_time"), str):
            return str(ddos_info["end_time"])
        return next(filter(None, map(end_of, ddos_info.values())), "")
    if isinstance(ddos_info, list):
        return next(filter(None, map(end_of, ddos_info)), "")
    return ""


def _ddos_record(base: Record, query: Query, settings: Settings) -> Record:
    """Return the record of a report that points into MongoDB and names no identifier."""
    record = {
        **base,
        "@who": ("ddos_info", canonical(base["ddos_info"])),
        "access_time": end_of(base["ddos_info"]),
        "@type": type_of(base, "ddos_info", query),
    }
    return {**record, **_fallback_time(record, settings.timezone)}
