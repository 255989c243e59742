"""Addresses of a DDoS report, read from ABS's MongoDB.

The report has only a reference; the documents are in collection `login_dos` of database `abs_data`,
under the `end_time` of the attack.
"""

from __future__ import annotations

from typing import Any, Dict, List

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.rows import Record

from .manifest import Settings

DATABASE, COLLECTION = "abs_data", "login_dos"
TIMEOUT = 10_000  # milliseconds


def check() -> None:
    """Raise ConfigError if pymongo is not installed."""
    try:
        import pymongo  # noqa: F401
    except ImportError:
        raise ConfigError(
            "`mongodb` needs the package pymongo: pip install 'siemtap[mongodb]'"
        ) from None


def add_addresses(records: List[Record], settings: Settings) -> List[Record]:
    """Return the records, and one more for every address of a DDoS report, up to `ddos_limit`."""
    references = [
        record
        for record in records
        if record.get("@who", ("",))[0] == "ddos_info" and record["access_time"]
    ]
    if not references:
        return records
    by_end_time = addresses([record["access_time"] for record in references], settings)
    resolved_records = [
        {**record, "@who": ("ip", ip)}
        for record in references
        for ip in by_end_time.get(record["access_time"], [])
    ]
    return [*records, *resolved_records]


def addresses(end_times: List[str], settings: Settings) -> Dict[str, List[str]]:
    """Return end time -> sorted addresses, at most `ddos_limit` of each.

    ConfigError for a URI that pymongo refuses; Retry if MongoDB does not answer.
    """
    import pymongo
    import pymongo.errors

    try:
        with pymongo.MongoClient(
            settings.mongodb,
            serverSelectionTimeoutMS=TIMEOUT,
            connectTimeoutMS=TIMEOUT,
            socketTimeoutMS=TIMEOUT,
            appname="siemtap",
        ) as client:
            cursor: Any = client[DATABASE][COLLECTION].find(
                {"end_time": {"$in": sorted(set(end_times))}}, {"end_time": 1, "ips": 1}
            )
            by_end_time: Dict[str, List[str]] = {}
            for document in cursor:
                ips = [ip for ip in document.get("ips") or [] if isinstance(ip, str)]
                by_end_time.setdefault(document["end_time"], []).extend(ips)
    except (pymongo.errors.ConfigurationError, ValueError) as error:
        raise ConfigError(
            f"pymongo does not accept the URI in `mongodb` ({type(error).__name__}); write"
            " mongodb://host:27017"
        ) from None
    except pymongo.errors.PyMongoError as error:
        raise Retry(f"MongoDB does not answer ({type(error).__name__})") from None
    return {end: sorted(set(ips))[: settings.ddos_limit] for end, ips in by_end_time.items()}
