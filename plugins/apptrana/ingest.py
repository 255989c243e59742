"""What Elastic's package needs beside the manifest and the mapping: how an agent asks, and the
converters of mapping.py once more, in Painless."""

from __future__ import annotations

from pathlib import Path

from siemtap.render.package import Package, Stream, Way

HERE = Path(__file__).parent / "elastic"

ACCOUNT = ("url", "client_id", "client_secret", "auth", "account")
WALK = ("interval", "lookback", "lag", "overlap")

PACKAGE = Package(
    {
        "apptrana.attack": Stream(
            (
                Way(
                    "cel",
                    ACCOUNT,
                    (*WALK, "window", "event_type", "alerts"),
                    (HERE / "attack.cel").read_text(encoding="utf-8"),
                    without={"auth": ("code",)},
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
                    (HERE / "activity.cel").read_text(encoding="utf-8"),
                    without={"auth": ("code",)},
                ),
            ),
            "the_audit_log_on_two_pages",
            wanted=False,
        ),
    },
    (HERE / "mapping.painless").read_text(encoding="utf-8"),
)
