"""Converters of times and addresses."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core import convert
from siemtap.core.convert import CONVERSION_ERRORS, LATEST, rfc3339


@pytest.mark.parametrize(
    "text,meant",
    [
        ("2026-03-04T10:00:00.123Z", "2026-03-04T10:00:00.123Z"),
        ("2026-03-04T10:00:00Z", "2026-03-04T10:00:00.000Z"),
        ("2026-03-04T10:00Z", "2026-03-04T10:00:00.000Z"),
        ("2026-03-04 10:00:00,5", "2026-03-04T10:00:00.500Z"),
        ("2026-03-04T10:00:00.123456789+05:30", "2026-03-04T04:30:00.123Z"),
        ("2026-03-04T23:30:00-0100", "2026-03-05T00:30:00.000Z"),
    ],
)
def test_valid_times(text, meant):
    assert convert.instant(text) == meant


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "2026-02-31T10:00:00.000Z",
        "2026-13-01T10:00:00.000Z",
        "2026-03-04T25:00:00.000Z",
        "2026-W10-3T10:02:13.417Z",
        "",
        None,
        5,
        "2026-03-04",
    ],
)
def test_invalid_times(value):
    with pytest.raises(ValueError):
        convert.instant(value)


@given(st.integers(-62_135_596_800_000, LATEST))
def test_rfc3339_round_trip(moment):
    spelled = rfc3339(moment)
    assert re.fullmatch(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", spelled
    ), spelled
    assert convert.millis_of(spelled) == moment


@pytest.mark.parametrize("moment", [-62_135_596_800_001, LATEST + 1, 10**18, -(10**18), 10**400])
def test_year_without_four_digits_is_rejected(moment):
    with pytest.raises(CONVERSION_ERRORS):
        rfc3339(moment)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "0000-01-01T00:00:00Z"]
)
def test_time_outside_the_years_1_to_9999_in_utc_is_rejected(text):
    with pytest.raises(ValueError):
        convert.instant(text)


@pytest.mark.parametrize(
    "value,meant",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("256.1.1.1", None),
        ("01.2.3.4", None),
        ("1.2.3", None),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1%", None),
        ("fe80::1%a b", None),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:01.2.3.4", None),
        ("::192.0.2.1", "::c000:201"),
        ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
        ("", None),
        (None, None),
        (7, None),
        ("a:b", None),
    ],
)
def test_addresses(value, meant):
    assert convert.ip(value) == meant


@pytest.mark.parametrize(
    "value,meant",
    [
        ("192.0.2.1", ("192.0.2.1", None, "192.0.2.1", ["192.0.2.1"])),
        ("192.0.2.1:443", ("192.0.2.1", 443, "192.0.2.1:443", ["192.0.2.1"])),
        ("[2001:DB8::1]:443", ("2001:db8::1", 443, "[2001:DB8::1]:443", ["2001:db8::1"])),
        ("[2001:db8::1]", ("2001:db8::1", None, "[2001:db8::1]", ["2001:db8::1"])),
        ("2001:db8::1:443", ("2001:db8::1:443", None, "2001:db8::1:443", ["2001:db8::1:443"])),
        ("[::ffff:192.0.2.1]:0", ("192.0.2.1", 0, "[::ffff:192.0.2.1]:0", ["192.0.2.1"])),
        (
            "192.0.2.1:5, 2001:db8::1, x",
            ("192.0.2.1", 5, "192.0.2.1:5, 2001:db8::1, x", ["192.0.2.1", "2001:db8::1"]),
        ),
        ("x, 192.0.2.1", (None, None, "x, 192.0.2.1", ["192.0.2.1"])),
        (
            ["192.0.2.1", "192.0.2.2"],
            ("192.0.2.1", None, "192.0.2.1, 192.0.2.2", ["192.0.2.1", "192.0.2.2"]),
        ),
        ("192.0.2.1:65536", (None, None, "192.0.2.1:65536", None)),
        ("192.0.2.1:", (None, None, "192.0.2.1:", None)),
        ("[192.0.2.1]:5", (None, None, "[192.0.2.1]:5", None)),
        ("[2001:db8::1", (None, None, "[2001:db8::1", None)),
        ("[2001:db8::1]5", (None, None, "[2001:db8::1]5", None)),
        ("host.example.com", (None, None, "host.example.com", None)),
        (7, (None, None, "7", None)),
    ],
    ids=str,
)
def test_endpoints(value, meant):
    assert convert.endpoint(value) == meant


@pytest.mark.parametrize("value", [[], ["x"], [["192.0.2.1"]], {}, None])
def test_what_is_no_endpoint_is_refused(value):
    with pytest.raises(ValueError):
        convert.endpoint(value)


def test_an_address_without_a_field_for_its_text_is_kept_if_it_cannot_be_read():
    assert convert.required_ip("192.0.2.1:443") == "192.0.2.1"
    with pytest.raises(ValueError):
        convert.required_ip("host.example.com")


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-04T10:02:13.091Z",
        1772618533091,
        "1772618533091",
        1772618533.091,
        " 1772618533.0919 ",
        "04/Mar/2026:10:02:13.091 +0000",
        "[04/Mar/2026:15:32:13,0912 +0530]",
        "04/Mar/2026:10:02:13.091",
    ],
)
def test_times_of_every_form(value):
    assert convert.any_time(value) == "2026-03-04T10:02:13.091Z"


@pytest.mark.parametrize(
    "value",
    ["04/mar/2026:10:02:13 +0000", "31/Feb/2026:10:02:13 +0000", "4/Mar/2026:10:02:13", True, []],
)
def test_times_of_no_form(value):
    with pytest.raises(ValueError):
        convert.any_time(value)


def test_unit_of_an_epoch_is_told_by_its_magnitude():
    assert convert.epoch(1772618400) == convert.epoch("1772618400000") == "2026-03-04T10:00:00.000Z"
    for value in ("", None, True, "12", "soon"):
        with pytest.raises(ValueError):
            convert.epoch(value)


def test_mac_addresses():
    assert convert.mac("00:00:5e:00:53:01") == "00-00-5E-00-53-01"
    assert convert.mac("00-00-00-00-00-00") is None
    with pytest.raises(ValueError):
        convert.mac("00:00:5e:00:53")


@pytest.mark.parametrize(
    "values, value",
    [([" a "], "a"), ([5], "5"), ([], None), (["a", "b"], None), (["-"], None), (None, None)],
)
def test_the_only_value_of_a_list(values, value):
    assert convert.only(values) == value
