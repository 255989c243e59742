"""What a person fills in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple

from siemtap.core.forms import SEVERITIES
from siemtap.core.manifest import choice, duration, integer, many, secret, switch, table, text

NO_COLON = r"^[^:\s]*$"
REPORTS = (
    "metrics",
    "anomalies",
    "apikeys",
    "oauthtokens",
    "username",
    "bc",
    "flowcontrol",
    "be",
    "decoy",
    "discovery",
    "threshold",
    "validurl",
    "hackersurl",
)


@dataclass(frozen=True)
class Settings:
    url: Tuple[str, ...] = many(
        "ABS addresses",
        pattern=r"^https?://[^\s/?#@]+$",
        allowed="write https://abs.example.com:8080",
        of="account",
        help=(
            "Where ABS answers, such as https://abs.example.com:8080; several nodes of one cluster,"
            " tried in order. Nothing is asked without it."
        ),
    )
    role: str = choice(
        "Role",
        "restricted",
        "admin",
        of="account",
        help=(
            "Whose keys these are. To the restricted user ABS shows cookies, tokens and API keys"
            " only obfuscated."
        ),
    )
    access_key: str = secret(
        "Access key",
        "",
        pattern=NO_COLON,
        allowed="it has no colon and no blanks",
        of="account",
        help="Sent as x-abs-ak-ru (restricted) or x-abs-ak (admin).",
    )
    secret_key: str = secret(
        "Secret key",
        "",
        pattern=NO_COLON,
        allowed="it has no colon and no blanks",
        of="account",
        help="Sent as x-abs-sk-ru (restricted) or x-abs-sk (admin).",
    )
    authorization: str = secret(
        "Authorization",
        "",
        of="account",
        help="For a hosted ABS that asks for it: the whole value of the Authorization header.",
    )

    apis: Tuple[str, ...] = many(
        "APIs",
        ("all",),
        help=(
            "The APIs to read, each with a cursor of its own. all: those that ABS's admin report"
            " names."
        ),
    )
    exclude_apis: Tuple[str, ...] = many("Not these APIs", help="Left out of `apis: all`.")
    types: Tuple[str, ...] = many(
        "Attack types",
        ("all",),
        pattern=r"^(all|[0-9]{1,6})$",
        allowed="all, or numbers of attack types",
        help="Only these types of attack, by number; all by default.",
    )
    attack_list: bool = switch(
        "Attack list", True, help="Read ABS's deny list, and tell what changes in it."
    )
    reports: Tuple[str, ...] = many(
        "Reports", options=REPORTS, help="Other reports, each asked for once an hour (and API)."
    )
    report_details: bool = switch(
        "Report details", help="Keep a report's details, and not only its summary."
    )

    timezone: str = text(
        "Time zone",
        "UTC",
        of="account",
        help=(
            "Of ABS's times, which never say it: UTC unless abs.properties has timezone=local. A"
            " name such as Europe/Berlin."
        ),
    )
    interval: int = duration(
        "Interval",
        "10m",
        least="1m",
        help="How often to ask. ABS itself gets its logs every ten minutes.",
    )
    lag: int = duration(
        "Lag",
        "30m",
        help="How old a moment must be before it is read. ABS goes on detecting for half an hour.",
    )
    allow_early: bool = switch(
        "Allow early", help="Accept a `lag` below 30m, and the late detections that are then lost."
    )
    overlap: int = duration(
        "Overlap",
        "30m",
        least="1m",
        most="7d",
        help="How far back every cycle reads again. Repeats are left out.",
    )
    lookback: int = duration("First look back", "24h", help="How far back the first run reads.")
    max_query_range: int = duration(
        "Widest question",
        "24h",
        least="10m",
        most="7d",
        help="The widest stretch of time to ask for at once.",
    )
    skip_after: int = duration(
        "Skip after",
        "24h",
        help=(
            "Give up a stretch that stays unreadable for so long while others work. An event"
            " names it."
        ),
    )
    concurrency: int = integer(
        "Concurrency",
        4,
        least=1,
        most=64,
        help=(
            "Calls in flight. ABS computes reports while we wait: more of them are not faster for"
            " long."
        ),
    )
    attack_version: str = choice(
        "Version of the attack call", "v4", "v5", help="The segment of its path."
    )
    admin_version: str = choice(
        "Version of the admin call",
        "auto",
        "v5",
        "v4",
        help="The segment of its path; auto: v5, and v4 where there is none.",
    )

    severity_map: Dict[str, int] = table(
        "Severity map",
        values=tuple(SEVERITIES.values()),
        help=(
            "Your own severity for a type, by number or name -> 21 low, 47 medium, 73 high, 99"
            " critical."
        ),
    )
    ase_blocking: bool = switch(
        "ASE blocks",
        help=(
            "ASE is set to block what ABS detects: events then say denied, because the report does"
            " not."
        ),
    )
    hash_identifiers: bool = switch(
        "Hash identifiers",
        True,
        help="Keep cookies, tokens and API keys as SHA-256 only. false keeps the value, too.",
    )
    keep_original: bool = switch(
        "Keep original", help="Put the record, identifiers hashed, into `event.original`."
    )

    mongodb: str = secret(
        "MongoDB",
        "",
        of="account",
        help=(
            "mongodb:// URI of ABS's database: the addresses behind a DDoS report's pointer become"
            " events. Needs pymongo."
        ),
    )
    ddos_limit: int = integer(
        "DDoS addresses",
        1_000,
        least=1,
        most=100_000,
        help="At most so many of them for one report.",
    )
    attack_log: str = text(
        "attack.log",
        "",
        help=(
            "Path of the attack.log that ABS writes for Splunk: read it instead of asking. Rolled"
            " files are followed."
        ),
    )
