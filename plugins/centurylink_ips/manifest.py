"""What a person fills in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

from siemtap.core.forms import SEVERITIES
from siemtap.core.manifest import choice, duration, integer, many, secret, switch, table, text, url

LOGIN_URL = "https://api.ctl.io"
IPS_URL = "https://api.client-security.ctl.io"
CRITICAL, HIGH, MEDIUM, LOW = (SEVERITIES[name] for name in ("critical", "high", "medium", "low"))
SEVERITY = {
    "critical": CRITICAL,
    "high": HIGH,
    "medium": MEDIUM,
    "low": LOW,
    "error": MEDIUM,
    "10": CRITICAL,
    "9": CRITICAL,
    "8": HIGH,
    "7": HIGH,
    "6": MEDIUM,
    "5": MEDIUM,
    "4": MEDIUM,
    "3": LOW,
    "2": LOW,
    "1": LOW,
    "0": LOW,
}


@dataclass(frozen=True)
class Settings:
    account: str = text(
        "Account",
        "",
        of="account",
        help="The account's alias, where the webhook's path does not say it, and for the API.",
    )
    observer_vendor: str = text(
        "Vendor",
        "CenturyLink",
        help=(
            "Put into `observer.vendor`; Trend Micro, say, for a Deep Security manager of your own."
        ),
    )
    severity_map: Dict[str, int] = table(
        "Severity map",
        SEVERITY,
        values=tuple(SEVERITIES.values()),
        help=(
            "The vendor's word or number, in lower case -> 21 low, 47 medium, 73 high, 99 critical."
        ),
    )
    other_events: str = choice(
        "Other events",
        "keep",
        "drop",
        help=(
            "What is no intrusion: firewall, integrity, log inspection, malware, the manager's own."
        ),
    )
    json_timezone: str = text(
        "Time zone of JSON", "UTC", help="Of times without a zone, such as Europe/Berlin."
    )
    syslog_timezone: str = text(
        "Time zone of syslog",
        "UTC",
        help=(
            "Of syslog's stamps without one. Deep Security adds it by its option Include time zone"
            " in events."
        ),
    )
    decode_data: bool = switch(
        "Decode data",
        help="Put a printable form of the captured packet into `centurylink_ips.data_text`.",
    )
    keep_original: bool = switch("Keep original", help="Put the record into `event.original`.")

    login_url: str = url(
        "Login URL", LOGIN_URL, of="account", help="Where the vendor's API gives tokens."
    )
    ips_url: str = url(
        "IPS URL", IPS_URL, of="account", help="Where the agent and its notifications are managed."
    )
    username: str = text(
        "User name", "", of="account", help="For the API: the commands, and `servers`."
    )
    password: str = secret("Password", "", of="account", help="With `username`.")
    token_days: int = integer(
        "Token days",
        10,
        least=1,
        most=14,
        of="account",
        help="A token is renewed after so many days; the vendor's live two weeks.",
    )
    servers: Tuple[str, ...] = many(
        "Servers",
        of="asked",
        help=(
            "Servers whose notification destinations are watched: a change becomes an event of"
            " centurylink_ips.destination."
        ),
    )
    our_url: str = text(
        "Our URL",
        "",
        of="asked",
        help=(
            "The webhook's address as the vendor is to call it: a server that does not send there"
            " is reported."
        ),
    )
    our_syslog: str = text(
        "Our syslog",
        "",
        of="asked",
        help="The syslog address as the vendor is to send to it, such as 192.0.2.10:514.",
    )
    interval: int = duration(
        "Interval", "15m", least="1m", help="How often the destinations are asked for."
    )
