"""The settings of a Trend Vision One input, as Splunk, Kibana and `siemtap.yml` show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from siemtap.core.manifest import choice, duration, secret, switch, text, text_list, url

# The vendor's regional domains
HOSTS = {
    "us": "https://api.xdr.trendmicro.com",
    "usgov": "https://api.usgov.xdr.trendmicro.com",
    "au": "https://api.au.xdr.trendmicro.com",
    "ca": "https://api.ca.xdr.trendmicro.com",
    "eu": "https://api.eu.xdr.trendmicro.com",
    "in": "https://api.in.xdr.trendmicro.com",
    "jp": "https://api.xdr.trendmicro.co.jp",
    "mea": "https://api.mea.xdr.trendmicro.com",
    "sg": "https://api.sg.xdr.trendmicro.com",
    "uk": "https://api.uk.xdr.trendmicro.com",
    "za": "https://api.za.xdr.trendmicro.com",
}
FILTER = r"^[ -~]{0,4000}$"
FILTER_ALLOWED = "at most 4,000 characters of ASCII, without line breaks"


@dataclass(frozen=True)
class Settings:
    """The settings of one input."""

    api_key: str = secret(
        "API key",
        of="account",
        help=(
            "The authentication token, from Administration, API Keys in the Trend Vision One"
            " console. It needs a role that may view Workbench and Observed Attack Techniques."
        ),
    )
    region: str = choice(
        "Region", *HOSTS, of="account", help="Where your Trend Vision One console is hosted."
    )
    url: str = url(
        "API URL",
        "",
        of="account",
        help="The base URL of the API, if it is not that of `region`.",
    )

    datasets: Tuple[str, ...] = text_list(
        "Datasets",
        ("alert", "detection"),
        options=("alert", "detection"),
        help="alert: Workbench alerts. detection: Observed Attack Techniques.",
    )
    alert_filter: str = text(
        "Alert filter",
        "",
        pattern=FILTER,
        allowed=FILTER_ALLOWED,
        help=(
            "Collect these alerts only. In the syntax of the API's header TMV1-Filter, such as:"
            " severity eq 'critical' or severity eq 'high'."
        ),
    )
    detection_filter: str = text(
        "Detection filter",
        "",
        pattern=FILTER,
        allowed=FILTER_ALLOWED,
        help=(
            "Collect these detections only. In the syntax of the API's header TMV1-Filter, such as:"
            " not (riskLevel eq 'info')."
        ),
    )

    interval: int = duration("Interval", "60s", least="1s", help="How often the API is queried.")
    lag: int = duration(
        "Lag",
        "30s",
        help=(
            "A fixed delay behind now, to allow for clocks that differ: newer events are read"
            " later."
        ),
    )
    overlap: int = duration(
        "Overlap",
        "5m",
        most="1d",
        help=(
            "How far back every poll reads again, to find alerts and detections that appear late"
            " in the API. Duplicates are dropped."
        ),
    )
    lookback: int = duration(
        "Lookback", "24h", most="300d", help="How far back the first run reads."
    )
    keep_original: bool = switch(
        "Keep original", help="Write the vendor's record to `event.original`."
    )
