"""What ABS says of attacks, in all its shapes -> records, one for each thing that an attacker did.

A record has the vendor's names; those that begin with "@" are ours. A cookie, token or API key is
in no record, but for its hash.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from siemtap.core import bounds
from siemtap.core.convert import epoch
from siemtap.core.errors import Malformed, Retry
from siemtap.core.identity import canonical
from siemtap.core.mapping import Record

from . import attack_types
from .manifest import Settings
from .redaction import KINDS, LISTS, SECRET, WITHIN, hashed, next_sign, redacted
from .times import moment

IN_LOG = {
    "token": "access_token",
    "oauth token": "access_token",
    "oauth_token": "access_token",
    "access_token": "access_token",
    "cookie": "cookie",
    "ip": "ip",
    "api key": "api_key",
    "api_key": "api_key",
    "apikey": "api_key",
    "user name": "username",
    "username": "username",
    "user_name": "username",
}
DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
# a kind of identifier that is on no page
WORD = re.compile(r"[a-z]{1,16}(?:[ _-][a-z]{1,16})?")
BEFORE = 16  # braces in the words before the JSON
IN_LINE = (
    "timestamp",
    "protocol",
    "attack_id",
    "description",
    "attack_bucket",
    "attack_scope",
    "attacked_api",
    "attack_identifier_type",
    "attack_key",
    "attack_value",
)
# What a record of ours has under a name of its own; where an attack.log says one of them, it means
# something else.
OURS = frozenset(
    (
        "attack_type",
        "company",
        "name",
        "earlier_date",
        "later_date",
        "ddos_info",
        "access_time",
        "attack_code",
        "attack_deviation",
        "identifier",
    )
)
READ = frozenset(
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


class Asked(NamedTuple):
    """The question that a report answers: the number of a type (0: all), the API (empty: across
    them)."""

    type: int = 0
    api: str = ""


def flatten(said: Any, asked: Asked, settings: Settings) -> List[Record]:
    """Every attack of an answer, exact repeats counted. What has no known shape comes whole, and
    cannot be mapped."""
    if said is None:
        return []
    if (
        isinstance(said, dict)
        and not READ.intersection(said)
        and not LISTS.keys() & said.keys()
        and any(said.get(word) for word in ("error", "errors", "message"))
    ):
        raise Retry(f"a success that says it failed: {canonical(redacted(said))[:300]}")
    if not isinstance(said, (dict, list)):
        raise Malformed("the answer is neither an object nor a list")
    found: Dict[Tuple[Any, ...], Dict[str, Any]] = {}
    odd: List[Record] = []
    for report in said if isinstance(said, list) else [said]:
        for record in _report(report, asked, settings):
            if "@when" not in record:
                odd.append(record)
                continue
            key = (
                record["@name"],
                record["@api"],
                record["@who"],
                record["access_time"],
                record["attack_code"],
            )
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
        if isinstance(value, list) and (
            name in LISTS
            or any(
                isinstance(one, dict) and ("details" in one or "access_time" in one)
                for one in value
            )
        ):
            for element in value:
                items = True
                yield from _element(element, LISTS.get(name, ""), base, asked, settings)
    if not items and report.get("ddos_info"):
        yield from _ddos(base, asked, settings)
    elif not items and not READ.intersection(report) and not LISTS.keys() & report.keys():
        yield {"element": redacted(report)}


def _base(report: Mapping[str, Any], asked: Asked) -> Record:
    """What all attacks of a report share."""
    name = next(
        (
            report[key].strip()
            for key in ("attack_type", "ioc_type")
            if isinstance(report.get(key), str) and report[key].strip()
        ),
        "",
    )
    api = (
        report.get("api_name")
        if isinstance(report.get("api_name"), str) and report["api_name"]
        else asked.api or "all"
    )
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
        "@name": name or str(asked.type),
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
                if key not in READ
                and key not in LISTS
                and not (isinstance(value, list) and any(isinstance(one, dict) for one in value))
            }
        ),
    }


def foreign(values: Mapping[str, Any]) -> Record:
    """Return keys of the vendor's with a "_" before those that look like ours."""
    return {f"_{key}" if key.startswith("@") else key: value for key, value in values.items()}


def _element(
    element: Any, of: str, base: Record, asked: Asked, settings: Settings
) -> Iterator[Record]:
    """One identifier. Its own key says what it is, and not the list it stands in."""
    if isinstance(element, (str, int, float)) and of:
        element = {of: element}
    key = (
        next(
            (
                key
                for key in KINDS
                if key in element
                and (element[key] is None or isinstance(element[key], (str, int, float)))
            ),
            "",
        )
        if isinstance(element, dict)
        else ""
    )
    details = element.get("details", element.get("access_time", [])) if key else None
    if isinstance(details, (str, dict)):
        details = [details]
    if not isinstance(details, list) or not all(isinstance(one, (dict, str)) for one in details):
        yield {
            "element": redacted(element, of=WITHIN),
            "attack_type": base["@name"],
            "api_name": base["@api"],
        }
        return
    kind, value = KINDS[key], element[key]
    own = {
        **base,
        **identified(kind, value, settings),
        "@type": type_of(base, kind, asked),
        **foreign(
            {
                name: said
                for name, said in element.items()
                if name not in KINDS and name not in ("details", "access_time")
            }
        ),
    }
    zone = settings.timezone
    if not details:
        yield {**own, **_when(own, zone)}
    for detail in details:
        record = (
            {**own, **foreign(detail)}
            if isinstance(detail, dict)
            else {**own, "access_time": detail}
        )
        found = moment(record["access_time"], zone)
        if found:
            record["@when"], record["@time_source"] = found.text, "access_time"
            if found.ambiguous:
                record["@ambiguous"] = True
        else:
            record.update(_when(record, zone))
        yield record


def identified(kind: str, value: Any, settings: Settings) -> Record:
    """Whose doing it was; a secret only as its hash. To the restricted user ABS shows some as a
    hash already."""
    said = "" if value is None else str(value)
    if kind not in SECRET:
        return {"@who": (kind, said)}
    if settings.role == "restricted" and DIGEST.fullmatch(said):
        return {"@who": (kind, said.lower())}
    return {"@who": (kind, hashed(said)), "@clear": None if settings.hash_identifiers else said}


def type_of(base: Record, kind: str, asked: Asked) -> Optional[str]:
    """The question's number, else the one of the name."""
    found = asked.type or attack_types.id_of(
        base["attack_type"], base["@scope"] == attack_types.ACROSS, kind
    )
    return str(found) if found else None


def _when(record: Record, zone: str) -> Record:
    """The time of what has no time of its own: the end of the denial of service, else that of
    the question, as ABS repeats it."""
    for source, said in (
        ("ddos_info", end_of(record["ddos_info"])),
        ("later_date", record["later_date"]),
    ):
        found = moment(said, zone)
        if found:
            return {
                "@when": found.text,
                "@time_source": source,
                "@ambiguous": found.ambiguous or None,
            }
    return {"@when": None, "@time_source": "query"}


def end_of(ddos_info: Any) -> str:
    """The `end_time` that a pointer holds, wherever; it is how MongoDB finds the addresses."""
    if isinstance(ddos_info, str):
        found = re.search(r"\S{3} [A-Z][a-z]{2} +[0-9]{1,2} [0-9:]{12} [0-9]{4}", ddos_info)
        return found[0] if found else ""
    if isinstance(ddos_info, dict):
        return (
            ddos_info["end_time"]
            if isinstance(ddos_info.get("end_time"), str)
            else next(filter(None, map(end_of, ddos_info.values())), "")
        )
    return next(filter(None, map(end_of, ddos_info)), "") if isinstance(ddos_info, list) else ""


def _ddos(base: Record, asked: Asked, settings: Settings) -> Iterator[Record]:
    end = end_of(base["ddos_info"])
    record = {
        **base,
        "@who": ("ddos_info", canonical(base["ddos_info"])),
        "access_time": end,
        "@type": type_of(base, "ddos_info", asked),
    }
    yield {**record, **_when(record, settings.timezone)}


def of_log(line: str, settings: Settings) -> List[Record]:
    """Return the record of a line of attack.log, or of the message of its syslog form: perhaps
    some words, then JSON in which all values are text."""
    element = element_of(line)
    if element is None:
        return [{"line": line}] if line.strip() else []
    said = dict.fromkeys(IN_LINE)
    said.update(element)
    word = _text(said["attack_identifier_type"]).lower()
    kind, value = IN_LOG.get(word, ""), said["attack_value"]
    across = said["attacked_api"] == "MULTI_API" or _text(said["attack_scope"]).upper().startswith(
        "MULTI"
    )
    name, id = _text(said["description"]), _text(said["attack_id"])
    subject = (
        identified(kind, value, settings)
        if kind
        else {"@who": (word if WORD.fullmatch(word) else "unknown", hashed(str(value)))}
    )
    try:
        when: Optional[str] = epoch(said["timestamp"])
    except ValueError:
        when = None
    return [
        {
            **_base({}, Asked()),
            "attack_type": name,
            "@name": name or id,
            "@api": said["attacked_api"] or "",
            "@scope": attack_types.ACROSS if across else attack_types.API,
            "@type": id or None,
            **subject,
            "access_time": str(said["timestamp"] or ""),
            "@when": when,
            "@time_source": "access_time" if when else "arrival",
            "@protocol": said["protocol"],
            "@bucket": said["attack_bucket"],
            "@identifier_name": said["attack_key"],
            "@report": None,
            "@element": hashed(canonical(element)),
            **{
                f"_{key}" if key.startswith("@") or key in OURS else key: inner
                for key, inner in element.items()
                if key not in IN_LINE
            },
        }
    ]


def element_of(line: str) -> Optional[Dict[str, Any]]:
    """Return the JSON object that ends a line; None where there is none, or none of the page's
    shape. What says a key twice is none: nobody knows which of them counts."""
    start = line.find("{")
    for _ in range(BEFORE):
        if start >= 0 and next_sign(line, start + 1) not in ('"', "}"):
            start = line.find("{", start + 1)
    try:
        element = (
            bounds.parse(line[start:], object_pairs_hook=_once, parse_constant=_refused)
            if start >= 0
            else None
        )
    except (ValueError, RecursionError):
        return None
    fits = (
        isinstance(element, dict)
        and "attack_identifier_type" in element
        and not any(isinstance(element.get(key), (dict, list)) for key in IN_LINE)
    )
    return element if fits else None


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    element = dict(pairs)
    if len(element) != len(pairs):
        raise ValueError("a key twice")
    return element


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _text(value: Any) -> str:
    return str(value or "").strip()
