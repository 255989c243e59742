"""Where an address is and whose it is, by a MaxMind DB file on this machine.

The fields are those of the `geoip` processor of Elasticsearch: of a city or country database
`source.geo`, of an ASN database `source.as`. Format: maxmind.github.io/MaxMind-DB, version 2.0.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any, Callable, Dict, List, Mapping, Tuple

from ...core.errors import ConfigError
from .fields import Names

log = logging.getLogger("siemtap")

Fields = List[Tuple[Names, Any]]
CHECK_EVERY = 60.0  # seconds between two looks whether the file was replaced
MAX_CACHED = 10_000  # addresses


def _geo(record: Mapping[str, Any]) -> Fields:
    """Return the fields of a record of a city or country database."""
    country = record.get("country") or {}
    region = (record.get("subdivisions") or [{}])[-1]  # the most specific one
    iso, part = country.get("iso_code"), region.get("iso_code")
    location = record.get("location") or {}
    point = {"lat": location.get("latitude"), "lon": location.get("longitude")}
    values = {
        "continent_name": _name(record.get("continent")),
        "country_iso_code": iso,
        "country_name": _name(country),
        "region_iso_code": f"{iso}-{part}" if iso and part else None,
        "region_name": _name(region),
        "city_name": _name(record.get("city")),
        "location": point if None not in point.values() else None,
    }
    return [(("source", "geo", name), value) for name, value in values.items() if value]


def _name(place: Any) -> Any:
    return ((place or {}).get("names") or {}).get("en")


def _as(record: Mapping[str, Any]) -> Fields:
    """Return the fields of a record of an ASN database."""
    number = record.get("autonomous_system_number")
    name = record.get("autonomous_system_organization")
    fields: Fields = [(("source", "as", "number"), number)] if number else []
    if name:
        fields.append((("source", "as", "organization", "name"), name))
    return fields


# The end of a database's type, such as GeoLite2-City or DBIP-ASN-Lite (compat=GeoLite2-ASN).
READERS: Dict[str, Callable[[Mapping[str, Any]], Fields]] = {
    "City": _geo,
    "Country": _geo,
    "Enterprise": _geo,
    "ASN": _as,
    "ISP": _as,
}


class GeoDatabase:
    """A MaxMind DB file. A file that is replaced, as its updater does, is opened again."""

    def __init__(self, path: str) -> None:
        """Raise ConfigError if the file cannot be used."""
        self.path = path
        self.cache: Dict[str, Fields] = {}
        self.checked = time.monotonic()
        self._open()

    def _open(self) -> None:
        try:
            import maxminddb
        except ImportError:
            raise ConfigError(
                "needs the package maxminddb:"
                " install siemtap with the extra `geoip`, such as pip install '.[geoip]'"
            ) from None
        try:
            status = os.stat(self.path)
            reader = maxminddb.open_database(self.path)
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read: {error.strerror}") from None
        except (maxminddb.InvalidDatabaseError, ValueError):  # ValueError: an empty file
            raise ConfigError(f"{self.path} is no MaxMind DB file, or it is cut") from None
        kind = reader.metadata().database_type
        parse = next((READERS[name] for name in READERS if name in kind), None)
        if parse is None:
            raise ConfigError(
                f"{self.path} is a database of the type {kind[:60]}; use one for cities, countries"
                " or ASN, such as GeoLite2-City or GeoLite2-ASN"
            )
        self.reader, self.parse = reader, parse
        self.file = (status.st_ino, status.st_mtime_ns, status.st_size)
        self.cache = {}

    def fields(self, address: str) -> Fields:
        """Return the names and values of what is known of an address; empty for an unknown one."""
        if time.monotonic() - self.checked > CHECK_EVERY:
            self._reopen()
        cache = self.cache
        known = cache.get(address)
        if known is None:
            try:
                record = self.reader.get(address)
            except Exception as error:  # a damaged part of the file, or no address
                log.debug("%s: %s", self.path, type(error).__name__)
                record = None
            known = self.parse(record) if isinstance(record, dict) else []
            if len(cache) >= MAX_CACHED:
                cache.clear()
            cache[address] = known
        return known

    def _reopen(self) -> None:
        """Open the file again if it was replaced; go on with the old one if that fails."""
        self.checked = time.monotonic()
        try:
            status = os.stat(self.path)
            if (status.st_ino, status.st_mtime_ns, status.st_size) == self.file:
                return
            self._open()
            log.info("%s was replaced, and is read again", self.path)
        except (OSError, ConfigError) as error:
            log.warning("geoip goes on with the old database: %s", error)
