"""The other reports of ABS: the record that each becomes."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

from siemtap.core.convert import java_date, rfc3339, zone
from siemtap.core.errors import Malformed, Retry
from siemtap.core.identity import canonical
from siemtap.core.rows import Record
from siemtap.core.settings import SEVERITIES
from siemtap.core.windows import DAY, Millis

from .manifest import Settings
from .redaction import redact
from .report_types import Report

SOON = 30  # days left of the licence below which the severity is high
DEEPEST = 16  # levels of a report's details; an index takes 20
CRITICAL, HIGH, LOW = (SEVERITIES[name] for name in ("critical", "high", "low"))
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
LICENCE_KEYS = (
    "tier",
    "expired",
    "max_transactions_per_month",
    "current_month_transactions",
    "max_transactions_exceeded",
)


def record(
    report: Report,
    response: Any,
    api: str,
    earlier: str,
    later: str,
    until: Millis,
    settings: Settings,
) -> List[Record]:
    """Return the record of a response; nothing for an empty one.

    `earlier`, `later`: the time range as queried; `until`: its end. Retry for an error in a
    response with status 200; Malformed for what is neither an object nor a list.
    """
    if response in (None, {}, []):
        return []
    if _is_error(response):
        raise Retry(f"status 200 with an error: {canonical(redact(response))[:300]}")
    if isinstance(response, list):
        response = {"items": response}
    if not isinstance(response, dict):
        raise Malformed("the report is neither an object nor a list")
    summary, details = _split_body(response)
    name = _name(response, report.name)
    return [
        {
            "name": name,
            "company": response.get("company"),
            "description": response.get("description"),
            "@api": api,
            "@from": earlier,
            "@until": later,
            "@when": rfc3339(until),
            "@summary": limited(summary),
            "@details": limited(details) if settings.report_details else None,
            "@message": f"{name} of {api}" if api else name,
        }
    ]


def _is_error(response: Any) -> bool:
    return (
        isinstance(response, dict)
        and "name" not in response
        and any(response.get(key) for key in ("error", "errors"))
    )


def _name(response: Mapping[str, Any], default: str) -> str:
    """Return the name that a report gives itself, else the default."""
    name = response.get("name")
    return name if name and isinstance(name, str) else default


def _split_body(response: Mapping[str, Any]) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Return (summary, details) of a report, redacted. A single summary object stands for the
    whole summary."""
    body = redact(
        {
            name: value
            for name, value in response.items()
            if name not in META
            or (isinstance(value, (dict, list)) and name not in ("company", "description"))
        }
    )
    summary: Dict[str, Any] = {}
    details: Dict[str, Any] = {}
    for name, value in body.items():
        is_summary = "summary" in name or not isinstance(value, (dict, list))
        (summary if is_summary else details)[name] = value
    if len(summary) == 1:
        (value,) = summary.values()
        if isinstance(value, dict):
            return value, details
    return summary, details


def limited(value: Any, levels: int = DEEPEST) -> Any:
    """Return a value with at most so many levels; deeper objects and lists become JSON text."""
    if isinstance(value, (dict, list)) and not levels:
        return canonical(value)
    if isinstance(value, dict):
        return {name: limited(item, levels - 1) for name, item in value.items()}
    if isinstance(value, list):
        return [limited(item, levels - 1) for item in value]
    return value


def licence(report: Mapping[str, Any], now: Millis, settings: Settings) -> List[Record]:
    """Return the licence record of the admin report: days left, transactions, severity."""
    info = report.get("license_info")
    if not isinstance(info, dict):
        return []
    days_left: Optional[int] = None
    expiry: Optional[str] = None
    try:
        end = java_date(info.get("expiry"), zone(settings.timezone))
        expiry = rfc3339(end)
        days_left = (end - now) // DAY
    except ValueError:
        pass
    expired = info.get("expired") is True or (days_left is not None and days_left < 0)
    exceeded = info.get("max_transactions_exceeded") is True
    apis = [api for api in report.get("apis") or [] if isinstance(api, dict)]
    training = bool(apis) and not any(api.get("prediction_mode") is True for api in apis)
    return [
        {
            "name": _name(report, "api_admin"),
            "company": report.get("company"),
            **{name: info[name] for name in LICENCE_KEYS if name in info},
            "@api": "",
            "@from": "",
            "@until": rfc3339(now)[:16],
            "@when": rfc3339(now),
            "@expiry": expiry,
            "@days_left": days_left,
            "@severity": _licence_severity(expired, exceeded, days_left),
            "@message": _licence_message(expired, exceeded, days_left, training),
            "@training": training,
            "@apis": len(apis),
        }
    ]


def _licence_severity(expired: bool, exceeded: bool, days_left: Optional[int]) -> int:
    if expired:
        return CRITICAL
    ends_soon = days_left is not None and days_left < SOON
    return HIGH if exceeded or ends_soon else LOW


def _licence_message(
    expired: bool, exceeded: bool, days_left: Optional[int], training: bool
) -> str:
    if expired:
        message = "the licence has expired"
    elif days_left is not None:
        message = f"the licence ends in {days_left} days"
    else:
        message = "the licence's end is not known"
    if exceeded:
        message += "; more transactions than it allows this month"
    if training:
        message += "; still training"
    return message
