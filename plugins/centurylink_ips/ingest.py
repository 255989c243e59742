"""What Elastic's package needs beside the manifest and the mapping: how events come to an agent,
the parsers of mapping.py in Painless, and which settings the form does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

from siemtap.elastic.cel import program
from siemtap.elastic.package.model import Package, Stream, Way
from siemtap.elastic.painless import tables

from . import classes, keys
from .deep_security import NOTHING
from .mapping import DESTINATION

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

# the tables of the readers, which the parsers in Painless call by their name: `LABELS()`
TABLES: Dict[str, Any] = {
    name: table
    for module in (classes, keys)
    for name, table in vars(module).items()
    if name.isupper() and isinstance(table, (dict, tuple))
}
# in their order, which a map there has not
for name in ("JSON_KEYS", "CODE_KEYS", "MALWARE_KEYS"):
    TABLES[name] = list(TABLES[name].items())
TABLES["PATHS"] = sorted(keys.PATHS)
TABLES["NOTHING"] = NOTHING

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
            reads_apart=True,
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
                    program(HERE, "destination", DESTINATION),
                    ("username", "password", "account", "servers"),
                    base="ips_url",
                ),
            ),
            "destinations_first_seen",
            wanted=False,
        ),
    },
    tables(TABLES) + (HERE / "mapping.painless").read_text(encoding="utf-8"),
    absent={
        "sns_topics": (
            "an agent confirms nothing; the confirmation's event has the address to open in"
            " event.original"
        ),
    },
)
