"""Every other report of ABS, as one event: who asks for it, what of it is kept."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple

from siemtap.core.convert import java_date, zone
from siemtap.core.errors import Malformed, Retry
from siemtap.core.identity import canonical
from siemtap.core.mapping import Record, rfc3339
from siemtap.core.windows import DAY, Millis

from .manifest import Settings
from .redaction import redacted

SOON = 30  # days before a licence's end are told with severity
DEEPEST = 16  # levels of a report's details; an index takes 20
META = (
    "company",
    "name",
    "description",
    "earlier_date",
    "later_date",
    "ealier_date",
    "api_name",
    "api_type",
)


class Report(NamedTuple):
    """`ranged`: it is asked for a stretch of time. `each`: for every API. `admin`: only the
    admin user may."""

    path: str
    name: str
    ranged: bool = True
    each: bool = False
    admin: bool = False


REPORTS: Mapping[str, Report] = {
    "metrics": Report("metrics", "api_metrics", each=True),
    "anomalies": Report("anomalies", "api_anomalies", each=True),
    "apikeys": Report("apikeys", "api_key_metrics"),
    "oauthtokens": Report("oauthtokens", "oauth_token_metrics"),
    "username": Report("username", "username_metrics"),
    "bc": Report("bc", "api_blockedconnections"),
    "flowcontrol": Report("flowcontrol", "api_flowcontrol", each=True),
    "be": Report("be", "api_backend_errors", each=True),
    "decoy": Report("decoy", "decoy_api_metrics"),
    "discovery": Report("discovery", "api_discovery_summary", ranged=False),
    "threshold": Report("attack/threshold", "api_threshold", ranged=False, each=True, admin=True),
    "validurl": Report("validurl", "api_valid_urls", ranged=False, each=True),
    "hackersurl": Report("hackersurl", "api_hackers_urls", each=True),
}


def record(
    report: Report, said: Any, api: str, earlier: str, later: str, until: Millis, settings: Settings
) -> List[Record]:
    """None of an empty answer."""
    if said in (None, {}, []):
        return []
    if (
        isinstance(said, dict)
        and "name" not in said
        and any(said.get(word) for word in ("error", "errors"))
    ):
        raise Retry(f"a success that says it failed: {canonical(redacted(said))[:300]}")
    if isinstance(said, list):
        said = {"items": said}
    if not isinstance(said, dict):
        raise Malformed("the report is neither an object nor a list")
    body = redacted(
        {
            name: value
            for name, value in said.items()
            if name not in META
            or (isinstance(value, (dict, list)) and name not in ("company", "description"))
        }
    )
    summary = {
        name: value
        for name, value in body.items()
        if "summary" in name or not isinstance(value, (dict, list))
    }
    details = {name: value for name, value in body.items() if name not in summary}
    name = said["name"] if said.get("name") and isinstance(said["name"], str) else report.name
    return [
        {
            "name": name,
            "company": said.get("company"),
            "description": said.get("description"),
            "@api": api,
            "@from": earlier,
            "@until": later,
            "@when": rfc3339(until),
            "@summary": limited(
                next(iter(summary.values()))
                if len(summary) == 1 and isinstance(next(iter(summary.values())), dict)
                else summary
            ),
            "@details": limited(details) if settings.report_details else None,
            "@said": f"{name}{f' of {api}' if api else ''}",
        }
    ]


def limited(value: Any, deep: int = DEEPEST) -> Any:
    """Texts where it is too deep for an index."""
    if isinstance(value, (dict, list)) and not deep:
        return canonical(value)
    if isinstance(value, dict):
        return {name: limited(inner, deep - 1) for name, inner in value.items()}
    return [limited(inner, deep - 1) for inner in value] if isinstance(value, list) else value


def licence(said: Mapping[str, Any], now: Millis, settings: Settings) -> List[Record]:
    """What the admin report says of the licence; days left, and how bad that is."""
    info = said.get("license_info")
    if not isinstance(info, dict):
        return []
    left, expiry = None, None
    try:
        end = java_date(info.get("expiry"), zone(settings.timezone))
        left, expiry = (end - now) // DAY, rfc3339(end)
    except ValueError:
        pass
    over = info.get("expired") is True or (left is not None and left < 0)
    bad = over or info.get("max_transactions_exceeded") is True
    words = (
        "the licence has expired"
        if over
        else (
            f"the licence ends in {left} days"
            if left is not None
            else "the licence's end is not known"
        )
    )
    if info.get("max_transactions_exceeded") is True:
        words += "; more transactions than it allows this month"
    apis = [api for api in said.get("apis") or [] if isinstance(api, dict)]
    training = bool(apis) and not any(api.get("prediction_mode") is True for api in apis)
    kept: Dict[str, Any] = {
        name: info[name]
        for name in (
            "tier",
            "expired",
            "max_transactions_per_month",
            "current_month_transactions",
            "max_transactions_exceeded",
        )
        if name in info
    }
    return [
        {
            "name": (
                said["name"] if said.get("name") and isinstance(said["name"], str) else "api_admin"
            ),
            "company": said.get("company"),
            **kept,
            "@api": "",
            "@from": "",
            "@until": rfc3339(now)[:16],
            "@when": rfc3339(now),
            "@expiry": expiry,
            "@days_left": left,
            "@severity": 99 if over else 73 if bad or (left is not None and left < SOON) else 21,
            "@said": words + ("; still training" if training else ""),
            "@training": training,
            "@apis": len(apis),
        }
    ]
