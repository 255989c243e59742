"""What Elastic's package needs beside the manifest and the mapping: how events come to an agent,
and the converters once more, in Painless."""

from __future__ import annotations

from pathlib import Path

from siemtap.render.package import Package, Stream, Way

HERE = Path(__file__).parent / "elastic"
READS = (
    "account",
    "observer_vendor",
    "json_timezone",
    "syslog_timezone",
    "other_events",
    "decode_data",
)
COMMUNITY_ID = {
    "community_id": {
        "tag": "community-id",
        "target_field": "network.community_id",
        "ignore_missing": True,
        "ignore_failure": True,
        "if": "['tcp', 'udp', 'sctp'].contains(ctx.network?.transport)",
    }
}

PACKAGE = Package(
    {
        "centurylink_ips.event": Stream(
            (
                Way("http_endpoint", (), READS, port=8_181),
                Way("udp", (), READS, port=9_514),
                Way("tcp", (), READS, port=9_514),
            ),
            "a_webhook_event",
            "read",
            READS,
            {"network.community_id": COMMUNITY_ID},
        ),
        "centurylink_ips.destination": Stream(
            (
                Way(
                    "cel",
                    (
                        "login_url",
                        "ips_url",
                        "username",
                        "password",
                        "account",
                        "observer_vendor",
                        "token_days",
                    ),
                    ("interval", "servers", "our_url", "our_syslog"),
                    (HERE / "destination.cel").read_text(encoding="utf-8"),
                    ("username", "password", "account", "servers"),
                    base="ips_url",
                ),
            ),
            "destinations_first_seen",
            wanted=False,
        ),
    },
    (HERE / "mapping.painless").read_text(encoding="utf-8"),
)
