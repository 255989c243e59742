"""Settings of a PingIntelligence ABS input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

from siemtap.core.manifest import choice, duration, integer, secret, switch, table, text, text_list
from siemtap.core.settings import SEVERITIES

from .report_types import REPORTS

NO_COLON = r"^[^:\s]*$"


@dataclass(frozen=True)
class Settings:
    """Settings of one input. Times are in milliseconds."""

    url: Tuple[str, ...] = text_list(
        "ABS addresses",
        pattern=r"^https?://[^\s/?#@]+$",
        allowed="write https://abs.example.com:8080",
        of="account",
        help=(
            "URL of the ABS REST API, such as https://abs.example.com:8080. For a cluster: several"
            " nodes, used in order when one fails. Without a URL the API is not queried."
        ),
    )
    role: str = choice(
        "Role",
        "restricted",
        "admin",
        of="account",
        help=(
            "The ABS user that the keys belong to. The restricted user sees cookies, tokens and API"
            " keys only obfuscated."
        ),
    )
    access_key: str = secret(
        "Access key",
        "",
        pattern=NO_COLON,
        allowed="a key has no colon and no blanks",
        of="account",
        help="Sent in the header x-abs-ak-ru (restricted) or x-abs-ak (admin).",
    )
    secret_key: str = secret(
        "Secret key",
        "",
        pattern=NO_COLON,
        allowed="a key has no colon and no blanks",
        of="account",
        help="Sent in the header x-abs-sk-ru (restricted) or x-abs-sk (admin).",
    )
    authorization: str = secret(
        "Authorization",
        "",
        of="account",
        help="Full value of the Authorization header, for a hosted ABS that requires one.",
    )

    apis: Tuple[str, ...] = text_list(
        "APIs",
        ("all",),
        help="APIs to read, each with its own checkpoint. all: every API in ABS's admin report.",
    )
    exclude_apis: Tuple[str, ...] = text_list(
        "Excluded APIs", help="APIs to leave out of `apis: all`."
    )
    types: Tuple[str, ...] = text_list(
        "Attack types",
        ("all",),
        pattern=r"^(all|[0-9]{1,6})$",
        allowed="all, or numbers of attack types",
        help="Numbers of the attack types to read. all: every type.",
    )
    attack_list: bool = switch(
        "Attack list", True, help="Read the deny list of ABS and emit an event for every change."
    )
    reports: Tuple[str, ...] = text_list(
        "Reports",
        options=tuple(REPORTS),
        help=(
            "Other reports to read, once an hour; some of them for each API. bc: blocked"
            " connections, be: backend errors, flowcontrol: spikes and connection quotas."
        ),
    )
    report_details: bool = switch(
        "Report details", help="Keep the details of a report as well as its summary."
    )

    timezone: str = text(
        "Time zone",
        "UTC",
        of="account",
        help=(
            "Time zone of ABS, such as Europe/Berlin. ABS times have no zone: they are UTC unless"
            " abs.properties has timezone=local."
        ),
    )
    interval: int = duration(
        "Interval",
        "10m",
        least="1m",
        help="How often to query ABS. ABS receives its own logs every ten minutes.",
    )
    lag: int = duration(
        "Lag",
        "30m",
        help=(
            "A fixed delay behind now: newer attacks are read later. ABS reports attacks up to 30"
            " minutes late."
        ),
    )
    allow_early: bool = switch(
        "Allow early", help="Accept a `lag` below 30m. Attacks that ABS reports later are lost."
    )
    overlap: int = duration(
        "Overlap",
        "30m",
        least="1m",
        most="7d",
        help="How far before the checkpoint every poll reads again. Duplicates are dropped.",
    )
    lookback: int = duration("Lookback", "24h", help="How far back the first run reads.")
    max_query_range: int = duration(
        "Maximum query range",
        "24h",
        least="10m",
        most="7d",
        help="The longest time range of one query.",
    )
    skip_after: int = duration(
        "Skip after",
        "24h",
        help=(
            "Skip a time range that stays unreadable for this long while later ones can be read. An"
            " event records the skipped range."
        ),
    )
    concurrency: int = integer(
        "Concurrency",
        4,
        least=1,
        most=64,
        help=(
            "Maximum number of calls at the same time. ABS computes a report while the call waits,"
            " so a high number loads ABS."
        ),
    )
    attack_version: str = choice(
        "Version of the attack call",
        "v4",
        "v5",
        help="Version in the path of the attack report. Choose v5 only if ABS refuses v4.",
    )
    admin_version: str = choice(
        "Version of the admin call",
        "auto",
        "v5",
        "v4",
        help="Version in the path of the admin report. auto: v5, or v4 if ABS has no v5.",
    )

    severity_map: Dict[str, int] = table(
        "Severity map",
        values=tuple(SEVERITIES.values()),
        help=(
            "Severity by attack type, as number or name: 21 low, 47 medium, 73 high, 99 critical."
            " Other types keep their default."
        ),
    )
    ase_blocking: bool = switch(
        "ASE blocks",
        help=(
            "Set this if ASE (API Security Enforcer, the gateway in front of the APIs) blocks what"
            " ABS detects: `event.type` is then denied. The report does not contain it."
        ),
    )
    hash_identifiers: bool = switch(
        "Hash identifiers",
        True,
        help="Keep only the SHA-256 of cookies, tokens and API keys. false: keep the value too.",
    )
    keep_original: bool = switch(
        "Keep original", help="Put the record into `event.original`, with identifiers hashed."
    )

    mongodb: str = secret(
        "MongoDB",
        "",
        of="account",
        help=(
            "mongodb:// URI of the ABS database. Each address of a DDoS report then becomes an"
            " event. Shipper only; needs the optional dependency `mongodb`."
        ),
    )
    ddos_limit: int = integer(
        "DDoS addresses",
        1_000,
        least=1,
        most=100_000,
        help="Maximum number of address events for one DDoS report.",
    )
    attack_log: str = text(
        "attack.log",
        "",
        help=(
            "Path of the attack.log that ABS writes for Splunk, read instead of the REST API."
            " Rotated files are read as well."
        ),
    )
