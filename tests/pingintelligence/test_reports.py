"""Attack reports as records: repetitions, times and attack types."""

from pathlib import Path

import pytest
from pingintelligence import PLUGIN, attack_types, plugin
from pingintelligence.attacks import Query, flatten
from pingintelligence.times import parse_time, query_dates

from siemtap.core.convert import instant, millis_of
from siemtap.core.errors import Malformed
from siemtap.core.manifest import fill_in
from siemtap.core.windows import HOUR, MINUTE


def test_identical_records_are_counted():
    report = {
        "attack_type": "Decoy Attack",
        "api_name": "shop",
        "ips": [
            {
                "ip": "192.0.2.1",
                "details": (
                    [{"access_time": "Wed Mar 04 10:02:13:417 2026", "attack_code": "decoy"}] * 3
                ),
            }
        ],
    }
    (record,) = flatten(report, Query(100, "shop"), fill_in(PLUGIN.settings, {}))
    assert record["@count"] == 3


@pytest.mark.parametrize("name", ["access_time", "attack_code"])
@pytest.mark.parametrize("value", [None, True, 7, 1.5, ["a", {"b": 1}], {"a": []}, [], {}], ids=str)
def test_a_detail_of_the_wrong_type_holds_up_no_other(name, value):
    """Found by `ci/campaign vendors`: a list as code raised, and the unit read nothing more."""
    time, code = "Wed Mar 04 10:02:13:417 2026", "varA(Tx, 25)"
    good = {"access_time": time, "attack_code": code}
    details = [good, {**good, name: value}, {**good, name: value}, {**good, "attack_code": "na"}]
    report = {"attack_type": "Decoy Attack", "ips": [{"ip": "192.0.2.1", "details": details}]}
    report["later_date"] = time
    records = flatten([report], Query(0, "shop"), fill_in(PLUGIN.settings, {}))
    known = [record for record in records if record.get(name) == value]
    assert {record["attack_code"] for record in records if record not in known} >= {"na"}
    assert sum(record["@count"] for record in known if "@count" in record) >= 2


def test_times_of_abs():
    assert parse_time("Wed Mar 04 10:02:13:417 2026", "UTC").text == "2026-03-04T10:02:13.417Z"
    assert (
        parse_time("Wed Mar 04 10:02:13:417 2026", "Asia/Kolkata").text
        == "2026-03-04T04:32:13.417Z"
    )
    assert parse_time("Thu Feb 29 10:00:00:000 2024", "UTC") and all(
        parse_time(value, "UTC") is None
        for value in (
            "Wed Feb 30 10:00:00:000 2026",
            "Wed Mar 04 24:00:00:000 2026",
            "2026-03-04",
            "",
            None,
            7,
        )
    )
    noon = millis_of(instant("2026-07-01T12:00:30Z"))
    assert query_dates(noon - HOUR, noon, "Europe/Berlin") == (
        "2026-07-01T13:00",
        "2026-07-01T14:00",
    )
    # Near a time that occurs twice a query never starts too late and never runs backwards.
    for hours in range(-30, 30):
        at = millis_of(instant("2026-10-25T01:00:00Z")) + hours * 10 * MINUTE
        earlier, later = query_dates(at - 35 * MINUTE, at, "Europe/Berlin")
        assert earlier < later


def test_types_from_names():
    for id, row in attack_types.TYPES.items():
        if id < 50:
            kind = row.kinds[0] if row.kinds else "access_token"
            assert attack_types.id_of(row.name, row.scope == attack_types.ACROSS, kind) == id, row
    assert (
        attack_types.id_of("Stolen Cookie Attack Type 1", False, "cookie") == 4
        and attack_types.id_of("stolen  COOKIE type 2 ATTACK", True, "cookie") == 17
    )
    assert (
        attack_types.id_of("Stolen API Key Attack- Per API Key", True, "api_key") == 31
        and attack_types.id_of("Decoy", False, "ip") == 100
        and attack_types.id_of("Never Heard Of", False, "ip") is None
    )


@pytest.mark.parametrize("id", ["\u00b2", "\u0664", "9" * 5000, "x", "", None])
def test_unknown_attack_type_number(id):
    assert attack_types.lookup(id) is attack_types.OTHER
    assert attack_types.lookup("8") is attack_types.lookup(8)


def test_the_readme_lists_every_type():
    readme = (Path(plugin.__file__).parent / "README.md").read_text()
    severities = {99: "critical", 73: "high", 47: "medium", 21: "low"}
    for id, row in attack_types.TYPES.items():
        kind = f" ({row.kinds[0]})" if row.kinds else ""
        scope = "one API" if row.scope == "api" else "across"
        assert (
            f"| {id} | {row.name}{kind} | {scope} | {row.category} | {severities[row.severity]} |"
            in readme
        )


@pytest.mark.parametrize("response", ["text", 7, True])
def test_response_that_is_neither_an_object_nor_a_list(response):
    with pytest.raises(Malformed):
        flatten(response, Query(), fill_in(PLUGIN.settings, {}))
