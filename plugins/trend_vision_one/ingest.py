"""What Elastic's package needs beside the manifest and the mapping: how an agent asks,
the converters of mapping.py in Painless, and which settings the form does not have."""

from __future__ import annotations

from pathlib import Path

from siemtap.elastic.cel import program
from siemtap.elastic.package.model import Package, Stream, Way

from .mapping import ALERT, DETECTION

HERE = Path(__file__).parent / "elastic"

ACCOUNT = ("url", "api_key")
WALK = ("interval", "lookback", "lag", "overlap")
NEEDED = ("url",)

PACKAGE = Package(
    {
        "trend_vision_one.alert": Stream(
            (Way("cel", ACCOUNT, (*WALK, "alert_filter"), program(HERE, "alert", ALERT), NEEDED),),
            "alerts_on_two_pages",
        ),
        "trend_vision_one.detection": Stream(
            (
                Way(
                    "cel",
                    ACCOUNT,
                    (*WALK, "detection_filter"),
                    program(HERE, "detection", DETECTION),
                    NEEDED,
                ),
            ),
            "detections_on_two_pages",
        ),
    },
    (HERE / "mapping.painless").read_text(encoding="utf-8"),
    absent={"region": "the URL is that of the region"},
)
