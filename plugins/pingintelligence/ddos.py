"""Behind a DDoS report stands a pointer into ABS's MongoDB: collection `login_dos` of
`abs_data`, found by its end time, holds the addresses."""

from __future__ import annotations

from typing import Any, Dict, List

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.mapping import Record

from .manifest import Settings

DATABASE, COLLECTION = "abs_data", "login_dos"
PATIENCE = 10_000  # milliseconds


def check() -> None:
    try:
        import pymongo  # noqa: F401
    except ImportError:
        raise ConfigError(
            "`mongodb` needs the package pymongo: pip install 'siemtap[mongodb]'"
        ) from None


def resolved(records: List[Record], settings: Settings) -> List[Record]:
    """The records, and behind each pointer one for every address, up to `ddos_limit`."""
    pointers = [
        record
        for record in records
        if record.get("@who", ("",))[0] == "ddos_info" and record["access_time"]
    ]
    if not pointers:
        return records
    found = addresses([record["access_time"] for record in pointers], settings)
    more = [
        {**record, "@who": ("ip", ip)}
        for record in pointers
        for ip in found.get(record["access_time"], [])
    ]
    return [*records, *more]


def addresses(ends: List[str], settings: Settings) -> Dict[str, List[str]]:
    import pymongo
    import pymongo.errors

    try:
        with pymongo.MongoClient(
            settings.mongodb,
            serverSelectionTimeoutMS=PATIENCE,
            connectTimeoutMS=PATIENCE,
            socketTimeoutMS=PATIENCE,
            appname="siemtap",
        ) as client:
            cursor: Any = client[DATABASE][COLLECTION].find(
                {"end_time": {"$in": sorted(set(ends))}}, {"end_time": 1, "ips": 1}
            )
            found: Dict[str, List[str]] = {}
            for document in cursor:
                ips = [ip for ip in document.get("ips") or [] if isinstance(ip, str)]
                found.setdefault(document["end_time"], []).extend(ips)
            return {end: sorted(set(ips))[: settings.ddos_limit] for end, ips in found.items()}
    except (pymongo.errors.ConfigurationError, ValueError) as error:
        raise ConfigError(
            f"`mongodb` is no URI that pymongo takes ({type(error).__name__})"
        ) from None
    except pymongo.errors.PyMongoError as error:
        raise Retry(f"MongoDB does not answer ({type(error).__name__})") from None
