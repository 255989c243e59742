"""The settings of an AppTrana input, as Splunk, Kibana and `siemtap.yml` show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

from siemtap.core.manifest import (
    choice,
    duration,
    integer,
    secret,
    switch,
    table,
    text,
    text_list,
    url,
)
from siemtap.core.settings import SEVERITIES

# The scale of the rule set, 0 emergency to 5 notice; the vendor's page names none. Most rules that
# block say 2, "critical".
SEVERITY = {"0": 99, "1": 99, "2": 73, "3": 47, "4": 21, "5": 21}
SECRET_HEADERS = ("cookie", "set-cookie", "authorization", "proxy-authorization")


@dataclass(frozen=True)
class Settings:
    """The settings of one input."""

    client_id: str = text(
        "API ID",
        of="account",
        help=(
            "Shown in the AppTrana portal under Settings, SIEM Integration, API Integration, after"
            " support has registered the connector."
        ),
    )
    client_secret: str = secret(
        "API key", of="account", help="Shown in the AppTrana portal next to the API ID."
    )
    url: str = url(
        "API URL",
        "https://tas.indusface.com/wafportal/rest",
        of="account",
        help="The base URL of the SIEM API.",
    )
    account: str = text(
        "Account",
        "main",
        of="account",
        help="A name of your choice for this AppTrana account. Written to `observer.name`.",
    )

    auth: str = choice(
        "Authentication method",
        "client_credentials",
        "basic",
        "code",
        of="account",
        help=(
            "How the connector was registered: client_credentials (current connectors), basic"
            " (older scripts) or code (OAuth 2.0 authorization code grant with a redirect URL of"
            " your own)."
        ),
    )
    code: str = secret(
        "Authorization code",
        "",
        of="account",
        help="For `auth: code` only, if siemtap cannot read the code from the redirect.",
    )
    code_parameter: str = text(
        "Code parameter",
        "code",
        of="account",
        help="For `auth: code` only: the query parameter of the redirect that holds the code.",
    )
    token_margin: int = duration(
        "Token margin",
        "300s",
        of="account",
        help="How long before it expires a token is renewed.",
    )

    datasets: Tuple[str, ...] = text_list(
        "Datasets",
        ("attack",),
        options=("attack", "activity"),
        help="attack: the attack log. activity: the audit log of the portal.",
    )
    websites: Tuple[str, ...] = text_list(
        "Websites",
        help=(
            "Collect these websites, each with its own checkpoint. Empty: all websites of the"
            " account, with one checkpoint."
        ),
    )
    discover_websites: bool = switch(
        "Discover websites",
        help="Read the list of websites from the API and give each website its own checkpoint.",
    )
    event_type: str = choice(
        "Event type",
        "all",
        "Log",
        "Block",
        help="Collect logged attacks (Log), blocked attacks (Block) or all.",
    )

    interval: int = duration("Interval", "60s", least="1s", help="How often the API is queried.")
    lag: int = duration(
        "Lag",
        "10s",
        help=(
            "A fixed delay behind now, to allow for clocks that differ: newer events are read"
            " later."
        ),
    )
    overlap: int = duration(
        "Overlap",
        "225s",
        most="1d",
        help=(
            "How far back every poll reads again, to find attacks that appear late in the API."
            " Duplicates are dropped."
        ),
    )
    lookback: int = duration(
        "Lookback",
        "24h",
        most="30d",
        help="How far back the first run reads. The service retains 30 days.",
    )
    concurrency: int = integer(
        "Concurrency",
        4,
        least=1,
        most=64,
        help="Parallel requests during a backfill. A poll that is up to date needs one request.",
    )
    window: int = duration(
        "Window",
        "300s",
        least="1s",
        most="300s",
        help="The longest time range of one request. The service allows at most 300s.",
    )
    split_at: int = integer(
        "Split at",
        10_000,
        least=1,
        help=(
            "A response with this many attacks may be truncated: its time range is requested again"
            " in halves."
        ),
    )
    skip_after: int = duration(
        "Skip after",
        "24h",
        help=(
            "Skip a time range that stays unreadable for this long while others can be read. An"
            " event records the skipped range."
        ),
    )

    severity_map: Dict[str, int] = table(
        "Severity map",
        SEVERITY,
        values=tuple(SEVERITIES.values()),
        help=(
            "Maps the vendor's severity to `event.severity`: 21 low, 47 medium, 73 high, 99"
            " critical."
        ),
    )
    alerts: str = choice(
        "Alerts",
        "all",
        "blocked",
        "none",
        help="Which attacks have `event.kind: alert`. The others have `event`.",
    )
    redact_headers: Tuple[str, ...] = text_list(
        "Redact headers",
        SECRET_HEADERS,
        help=(
            "HTTP headers whose value is replaced by REDACTED, also in `attackData` if `target`"
            " names one. A parameter's name, such as password, works there too."
        ),
    )
    keep_original: bool = switch(
        "Keep original",
        help="Write the vendor's record to `event.original`, with secret headers redacted.",
    )

    activity_window: int = duration(
        "Activity window",
        "5m",
        least="2m",
        most="1d",
        help="The longest time range of one audit log request, in whole minutes.",
    )
    activity_page: int = integer(
        "Activity page",
        10_000,
        least=1,
        help="Page size: audit-log entries per request (`maxResult`).",
    )
    activity_offset_unit: str = choice(
        "Activity offset unit",
        "records",
        "pages",
        help="Whether the API's `offSet` counts records or pages.",
    )
    activity_time_key: str = text(
        "Activity time key",
        "",
        help=(
            "The key of an action that holds its time. Empty: the first key with a valid time whose"
            " name contains time or date."
        ),
    )

    time_as: str = choice(
        "Time format",
        "string",
        "number",
        help="How startTime and endTime are sent. The service accepts both.",
    )
