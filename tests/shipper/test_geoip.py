"""The processor `geoip`: files of every kind, addresses that are unknown, files that are replaced or
broken."""

import os
import sys

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from stepped_shipper import SteppedShipper

from apptrana import simulator
from siemtap.core.errors import ConfigError
from siemtap.shipper.config.load import parse
from siemtap.shipper.processors import geoip
from siemtap.shipper.processors.steps import compile_processors

CITY = {
    "continent": {"code": "EU", "names": {"en": "Europe", "de": "Europa"}},
    "country": {"iso_code": "GB", "names": {"en": "United Kingdom"}},
    "subdivisions": [
        {"iso_code": "ENG", "names": {"en": "England"}},
        {"iso_code": "WBK", "names": {"en": "West Berkshire"}},
    ],
    "city": {"names": {"en": "Boxford"}},
    "location": {"latitude": 51.75, "longitude": -1.25, "time_zone": "Europe/London"},
}
ASN = {"autonomous_system_number": 64496, "autonomous_system_organization": "Example Networks"}


def database(path, records, kind="GeoLite2-City"):
    """Write a MaxMind DB file: network -> record."""
    writer = MMDBWriter(6, kind, ipv4_compatible=True)
    for network, record in records.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return str(path)


def look_up(path, address="192.0.2.7", **source):
    (step,) = compile_processors([{"geoip": {"database_file": path}}])
    event = {"event": {"id": "1"}, "source": {"ip": address, **source}}
    before = repr(event)
    result = step(event)
    assert repr(event) == before  # events share objects
    return result["source"]


def test_a_city(tmp_path):
    path = database(tmp_path / "city.mmdb", {"192.0.2.0/24": CITY, "2001:db8::/32": CITY})
    expected = {
        "continent_name": "Europe",
        "country_iso_code": "GB",
        "country_name": "United Kingdom",
        "region_iso_code": "GB-WBK",
        "region_name": "West Berkshire",
        "city_name": "Boxford",
        "location": {"lat": 51.75, "lon": -1.25},
    }
    assert look_up(path)["geo"] == expected == look_up(path, "2001:db8::1")["geo"]
    assert look_up(path, "198.51.100.1") == {"ip": "198.51.100.1"}


def test_the_vendor_wins(tmp_path):
    path = database(tmp_path / "city.mmdb", {"192.0.2.0/24": CITY})
    source = look_up(path, geo={"country_iso_code": "FR"})
    assert source["geo"]["country_iso_code"] == "FR" and source["geo"]["city_name"] == "Boxford"


def test_a_country_and_an_asn(tmp_path):
    country = {"country": {"iso_code": "NL", "names": {"en": "Netherlands"}}}
    path = database(tmp_path / "c.mmdb", {"192.0.2.0/24": country}, "DBIP-Country-Lite")
    assert look_up(path)["geo"] == {"country_iso_code": "NL", "country_name": "Netherlands"}
    path = database(tmp_path / "a.mmdb", {"192.0.2.0/24": ASN}, "GeoLite2-ASN")
    assert look_up(path)["as"] == {"number": 64496, "organization": {"name": "Example Networks"}}
    path = database(tmp_path / "b.mmdb", {"192.0.2.0/24": {"autonomous_system_number": 5}}, "ASN")
    assert look_up(path)["as"] == {"number": 5}


def test_records_that_lack_something_add_nothing_empty(tmp_path):
    odd = {"192.0.2.0/24": {"country": {}, "location": {"latitude": 1.0}, "subdivisions": []}}
    assert look_up(database(tmp_path / "x.mmdb", odd)) == {"ip": "192.0.2.7"}
    assert look_up(database(tmp_path / "x.mmdb", odd), "no address") == {"ip": "no address"}


MISTAKES = {
    "geoip: {}": "database_file",
    "geoip: {database_file: 5}": "name of a file",
    "geoip: {database_file: missing.mmdb}": "missing.mmdb cannot be read: No such file",
    "geoip: {database_file: torn.mmdb}": "no MaxMind DB file, or it is cut",
    "geoip: {database_file: other.mmdb}": "of the type GeoLite2-Connection-Type; use one for",
    "geoip: {database_file: city.mmdb, field: client.ip}": "can only be source.ip",
    "geoip: {databse_file: city.mmdb}": "database_file",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_found_before_anything_runs(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    database(tmp_path / "city.mmdb", {"192.0.2.0/24": CITY})
    (tmp_path / "torn.mmdb").write_bytes((tmp_path / "city.mmdb").read_bytes()[:-200])
    database(tmp_path / "other.mmdb", {"192.0.2.0/24": {"a": 1}}, "GeoLite2-Connection-Type")
    file = "inputs: [{type: apptrana, client_id: a, client_secret: b}]\nprocessors:\n  - "
    with pytest.raises(ConfigError, match=r"line [23]: processors\[0\]") as caught:
        parse(file + text)
    assert MISTAKES[text] in str(caught.value)


def test_without_the_package(tmp_path, monkeypatch):
    path = database(tmp_path / "city.mmdb", {"192.0.2.0/24": CITY})
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    with pytest.raises(ConfigError, match=r"extra `geoip`"):
        look_up(path)


def test_a_replaced_file_is_read_again_and_a_broken_one_is_not(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(geoip, "CHECK_EVERY", -1.0)
    path = database(tmp_path / "asn.mmdb", {"192.0.2.0/24": ASN}, "ASN")
    opened = geoip.GeoDatabase(path)
    assert opened.fields("192.0.2.7")[0][1] == 64496
    newer = {"192.0.2.0/24": {**ASN, "autonomous_system_number": 64497}}
    os.replace(database(tmp_path / "new", newer, "ASN"), path)
    assert opened.fields("192.0.2.7")[0][1] == 64497
    (tmp_path / "broken").write_text("an error page")
    os.replace(tmp_path / "broken", path)
    assert opened.fields("192.0.2.7")[0][1] == 64497
    os.remove(path)
    assert opened.fields("192.0.2.7")[0][1] == 64497
    assert "goes on with the old database" in caplog.text


def test_the_cache_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(geoip, "MAX_CACHED", 10)
    opened = geoip.GeoDatabase(database(tmp_path / "a.mmdb", {"192.0.2.0/24": ASN}, "ASN"))
    for number in range(256):
        assert opened.fields(f"192.0.2.{number}")[0][1] == 64496
    assert len(opened.cache) <= 10


def test_the_events_are_valid(tmp_path):
    specs = [
        {
            "geoip": {
                "database_file": database(
                    tmp_path / "city.mmdb", {"128.0.0.0/1": CITY, "2000::/3": CITY}
                )
            }
        },
        {
            "geoip": {
                "database_file": database(
                    tmp_path / "asn.mmdb", {"128.0.0.0/1": ASN, "2000::/3": ASN}, "ASN"
                )
            }
        },
    ]
    simulated = simulator.Simulator(simulator.Knobs(rate=3.0))
    stepped = SteppedShipper(tmp_path, simulated, "apptrana", lookback="20m", processors=specs)
    stepped.start().run_turns(2)
    events = [event for event in stepped.events() if "ip" in event.get("source", {})]
    assert not stepped.shipper.rejected_events.count()
    stepped.stop()
    assert len(events) > 10
    assert all("location" in event["source"]["geo"] and "as" in event["source"] for event in events)
