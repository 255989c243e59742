"""The other reports of ABS."""

from __future__ import annotations

from typing import Mapping, NamedTuple


class Report(NamedTuple):
    """A report of the REST API. `name`: as the report names itself. `has_time_range`: the query has
    one. `each`: one query for each API. `admin`: only the admin user may read it.

    elastic/report.cel reads these fields by their names.
    """

    path: str
    name: str
    has_time_range: bool = True
    each: bool = False
    admin: bool = False


REPORTS: Mapping[str, Report] = {
    "metrics": Report("metrics", "api_metrics", each=True),
    "anomalies": Report("anomalies", "api_anomalies", each=True),
    "apikeys": Report("apikeys", "api_key_metrics"),
    "oauthtokens": Report("oauthtokens", "oauth_token_metrics"),
    "username": Report("username", "username_metrics"),
    "bc": Report("bc", "api_blockedconnections"),
    "flowcontrol": Report("flowcontrol", "api_flowcontrol", each=True),
    "be": Report("be", "api_backend_errors", each=True),
    "decoy": Report("decoy", "decoy_api_metrics"),
    "discovery": Report("discovery", "api_discovery_summary", has_time_range=False),
    "threshold": Report(
        "attack/threshold", "api_threshold", has_time_range=False, each=True, admin=True
    ),
    "validurl": Report("validurl", "api_valid_urls", has_time_range=False, each=True),
    "hackersurl": Report("hackersurl", "api_hackers_urls", each=True),
}
