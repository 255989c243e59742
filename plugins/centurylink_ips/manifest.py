"""The settings of a CenturyLink IPS input, as Splunk, Kibana and `siemtap.yml` show them."""

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

LOGIN_URL = "https://api.ctl.io"
IPS_URL = "https://api.client-security.ctl.io"
# The partitions whose hosts are below amazonaws.com and amazonaws.com.cn. A FIFO topic (.fifo)
# delivers to no webhook.
TOPIC_ARN = r"^arn:aws(-cn|-us-gov)?:sns:[a-z0-9-]{1,32}:[0-9]{12}:[A-Za-z0-9_-]{1,256}$"
CRITICAL, HIGH, MEDIUM, LOW = (SEVERITIES[name] for name in ("critical", "high", "medium", "low"))
SEVERITY = {
    "critical": CRITICAL,
    "high": HIGH,
    "medium": MEDIUM,
    "low": LOW,
    "error": MEDIUM,
    "warning": MEDIUM,
    "info": LOW,
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
    """The settings of one input."""

    account: str = text(
        "Account",
        "",
        of="account",
        help=(
            "The account alias. Needed for the API, and for events if the path of the webhook's URL"
            " does not contain it."
        ),
    )
    observer_vendor: str = text(
        "Vendor",
        "",
        help=(
            "Written to `observer.vendor`. Empty: what the event's header says, such as Trend"
            " Micro; CenturyLink where it has none."
        ),
    )
    severity_map: Dict[str, int] = table(
        "Severity map",
        SEVERITY,
        values=tuple(SEVERITIES.values()),
        help=(
            "Maps the vendor's severity, a number or a word in lower case, to `event.severity`: 21"
            " low, 47 medium, 73 high, 99 critical."
        ),
    )
    other_events: str = choice(
        "Other events",
        "keep",
        "drop",
        help=(
            "Keep or drop events that are not intrusion prevention: firewall, integrity monitoring,"
            " log inspection, anti-malware, web reputation, application and device control, and the"
            " manager's system events."
        ),
    )
    json_timezone: str = text(
        "Time zone of JSON",
        "UTC",
        help="Time zone of JSON times that have none, such as Europe/Berlin.",
    )
    syslog_timezone: str = text(
        "Time zone of syslog",
        "UTC",
        help=(
            "Time zone of syslog timestamps that have none. Deep Security adds one with its option"
            " Include time zone in events."
        ),
    )
    decode_data: bool = switch(
        "Decode data",
        help=(
            "Write a printable form of the captured packet to `centurylink_ips.data_text`, without"
            " the values of cookies and of headers and parameters with credentials."
        ),
    )
    keep_original: bool = switch("Keep original", help="Write the record to `event.original`.")
    sns_topics: Tuple[str, ...] = text_list(
        "SNS topics",
        of="shipper",
        pattern=TOPIC_ARN,
        allowed=(
            "write the ARN of a standard topic of Amazon SNS, such as"
            " arn:aws:sns:eu-west-1:123456789012:ips-events"
        ),
        help=(
            "The ARNs of the topics of Amazon SNS whose subscription siemtap confirms, after it has"
            " checked Amazon's signature. By default none: the log names the address to open."
            " Shipper only."
        ),
    )

    login_url: str = url(
        "Login URL", LOGIN_URL, of="account", help="The base URL of the API that issues tokens."
    )
    ips_url: str = url(
        "IPS URL",
        IPS_URL,
        of="account",
        help="The base URL of the API that manages agents and their notifications.",
    )
    username: str = text(
        "User name",
        "",
        of="account",
        help="User name for the API. Needed for commands and for `servers`.",
    )
    password: str = secret("Password", "", of="account", help="Password for the API.")
    token_days: int = integer(
        "Token days",
        10,
        least=1,
        most=14,
        of="account",
        help="Renew the API token after this many days. The vendor's tokens expire after 14 days.",
    )
    servers: Tuple[str, ...] = text_list(
        "Servers",
        of="asked",
        help=(
            "Monitor the notification destinations of these servers. Each change becomes an event"
            " of the dataset centurylink_ips.destination."
        ),
    )
    our_url: str = text(
        "Our URL",
        "",
        of="asked",
        help=(
            "The URL of this webhook as the vendor calls it. An event reports each server without a"
            " destination that begins with it."
        ),
    )
    our_syslog: str = text(
        "Our syslog",
        "",
        of="asked",
        help="The address of this syslog listener as the vendor sends to it: 192.0.2.10:5514.",
    )
    interval: int = duration(
        "Interval", "15m", least="1m", help="How often the notification destinations are read."
    )
