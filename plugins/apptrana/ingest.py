"""What Elastic's package needs beside the manifest and the mapping: how an agent asks,
the parsers of mapping.py in Painless, and which settings the form does not have."""

from __future__ import annotations

from pathlib import Path

from siemtap.elastic.cel import program
from siemtap.elastic.package.model import Package, Stream, Way

from .mapping import ACTIVITY, ATTACK

HERE = Path(__file__).parent / "elastic"

ACCOUNT = ("url", "client_id", "client_secret", "auth", "account")
# beats' HTTP client reports a redirect that it must not follow as an error, without its location.
WITHOUT = {"auth": {"code": "an agent cannot read the code of a redirect"}}
WALK = ("interval", "lookback", "lag", "overlap")

PACKAGE = Package(
    {
        "apptrana.attack": Stream(
            (
                Way(
                    "cel",
                    ACCOUNT,
                    (*WALK, "skip_after", "websites", "window", "split_at", "event_type", "alerts"),
                    program(HERE, "attack", ATTACK),
                    without=WITHOUT,
                ),
            ),
            "a_blocked_attack",
        ),
        "apptrana.activity": Stream(
            (
                Way(
                    "cel",
                    ACCOUNT,
                    (
                        *WALK,
                        "activity_window",
                        "activity_page",
                        "activity_offset_unit",
                        "activity_time_key",
                    ),
                    program(HERE, "activity", ACTIVITY),
                    without=WITHOUT,
                ),
            ),
            "the_audit_log_on_two_pages",
            wanted=False,
        ),
    },
    (HERE / "mapping.painless").read_text(encoding="utf-8"),
    absent={
        "code": WITHOUT["auth"]["code"],
        "code_parameter": WITHOUT["auth"]["code"],
        "token_margin": "a new token is requested five minutes before the old one expires",
        "discover_websites": "the websites are listed, or the account is read as a whole",
        "redact_headers": "it would be sent with each event; the default headers are redacted",
        "time_as": "times are sent as strings, which the service accepts",
    },
)
