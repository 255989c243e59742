"""What a person must know to switch AppTrana on. Nothing here runs; everything here is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

from siemtap.core.forms import SEVERITIES
from siemtap.core.manifest import choice, duration, integer, many, secret, switch, table, text, url

# The rule set's own scale, 0 emergency to 5 notice; the vendor does not say. 2 is its everyday
# "critical".
SEVERITY = {"0": 99, "1": 99, "2": 73, "3": 47, "4": 21, "5": 21}
SECRET_HEADERS = ("cookie", "set-cookie", "authorization", "proxy-authorization")


@dataclass(frozen=True)
class Settings:
    client_id: str = text(
        "API ID",
        of="account",
        help=(
            "In the AppTrana portal under Settings, SIEM Integration, API Integration, once support"
            " has registered the connector."
        ),
    )
    client_secret: str = secret("API key", of="account", help="Shown next to the API ID.")
    url: str = url(
        "API address",
        "https://tas.indusface.com/wafportal/rest",
        of="account",
        help="Where the API answers.",
    )
    account: str = text(
        "Account",
        "main",
        of="account",
        help="Your own name for this AppTrana account; becomes `observer.name`.",
    )

    auth: str = choice(
        "Token by",
        "client_credentials",
        "basic",
        "code",
        of="account",
        help=(
            "How the connector was registered: client_credentials (now), basic (older scripts),"
            " code (a redirect URL of yours)."
        ),
    )
    code: str = secret(
        "Authorization code",
        "",
        of="account",
        help="Only for `auth: code`, and only if the redirect does not show it to siemtap.",
    )
    code_parameter: str = text(
        "Code parameter",
        "code",
        of="account",
        help="Only for `auth: code`: the redirect's query parameter that carries the code.",
    )
    token_margin: int = duration(
        "Token margin",
        "300s",
        of="account",
        help="Ask for a new token so long before the old one expires.",
    )

    datasets: Tuple[str, ...] = many(
        "Datasets",
        ("attack",),
        options=("attack", "activity"),
        help="attack: the attack log. activity: the portal's audit log.",
    )
    websites: Tuple[str, ...] = many(
        "Websites",
        help="Read these sites, each with a cursor of its own. None: all of the account, in one.",
    )
    discover_websites: bool = switch(
        "Discover websites",
        help="Ask the API for the list of sites, and give each a cursor of its own.",
    )
    event_type: str = choice(
        "Event type",
        "all",
        "Log",
        "Block",
        help="Only what was logged, only what was blocked, or all.",
    )

    interval: int = duration("Interval", "60s", least="1s", help="How often to ask.")
    lag: int = duration(
        "Lag",
        "10s",
        help="How old a moment must be before it is read: the allowance for clocks that differ.",
    )
    overlap: int = duration(
        "Overlap",
        "225s",
        most="1d",
        help=(
            "How far back every cycle reads again, for attacks that are filed late. Repeats are"
            " left out."
        ),
    )
    lookback: int = duration(
        "First look back",
        "24h",
        most="30d",
        help="How far back the first run reads. The service keeps 30 days.",
    )
    concurrency: int = integer(
        "Concurrency",
        4,
        least=1,
        most=64,
        help="Calls in flight while catching up. A live cycle is one call.",
    )
    window: int = duration(
        "Window",
        "300s",
        least="1s",
        most="300s",
        help="The widest stretch of time to ask for at once. The service allows 300s.",
    )
    split_at: int = integer(
        "Split at",
        10_000,
        least=1,
        help="An answer with so many attacks may be cut short: it is asked again in halves.",
    )
    skip_after: int = duration(
        "Skip after",
        "24h",
        help=(
            "Give up a stretch that stays unreadable for so long while others work. An event"
            " names it."
        ),
    )

    severity_map: Dict[str, int] = table(
        "Severity map",
        SEVERITY,
        values=tuple(SEVERITIES.values()),
        help="The vendor's number -> 21 low, 47 medium, 73 high, 99 critical.",
    )
    alerts: str = choice(
        "Alerts",
        "all",
        "blocked",
        "none",
        help="Which attacks have `event.kind: alert`; the others are `event`.",
    )
    redact_headers: Tuple[str, ...] = many(
        "Redact headers", SECRET_HEADERS, help="HTTP headers whose value becomes REDACTED."
    )
    keep_original: bool = switch(
        "Keep original", help="Put the vendor's record, redacted, into `event.original`."
    )

    activity_window: int = duration(
        "Activity window",
        "5m",
        least="2m",
        most="1d",
        help="The widest stretch of the audit log to ask for at once; whole minutes.",
    )
    activity_page: int = integer(
        "Activity page", 10_000, least=1, help="How many actions to ask for at once (`maxResult`)."
    )
    activity_offset_unit: str = choice(
        "Activity offset counts", "records", "pages", help="What the API's `offSet` counts."
    )
    activity_time_key: str = text(
        "Activity time key",
        "",
        help="The key of an action that holds its time; the first that looks like one by default.",
    )

    time_as: str = choice(
        "Times as",
        "string",
        "number",
        help="How to send startTime and endTime. The service has been seen to take both.",
    )
