"""The times that CEF and LEEF events have themselves."""

import time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core.formats.event_time import read_time

RECEIVED = 1_772_618_700_000  # 2026-03-04T10:05:00Z
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "value, expected",
    [
        ("1772618533417", "2026-03-04T10:02:13.417Z"),
        ("1772618533", "2026-03-04T10:02:13.000Z"),
        ("1772618533417250", "2026-03-04T10:02:13.417Z"),
        ("Mar 04 2026 10:02:13", "2026-03-04T09:02:13.000Z"),
        ("Mar 04 2026 10:02:13.250", "2026-03-04T09:02:13.250Z"),
        ("Mar 04 2026 10:02:13.250 UTC", "2026-03-04T10:02:13.250Z"),
        ("Mar 04 2026 10:02:13 EST", "2026-03-04T15:02:13.000Z"),
        ("Mar 04 2026 10:02:13 CET", "2026-03-04T09:02:13.000Z"),
        ("Mar 04 2026 10:02:13 GMT+03:30", "2026-03-04T06:32:13.000Z"),
        ("Mar 04 2026 10:02:13 -0500", "2026-03-04T15:02:13.000Z"),
        ("Mar  4 10:02:13", "2026-03-04T09:02:13.000Z"),
        ("Dec 31 23:59:59", "2025-12-31T22:59:59.000Z"),
        ("2026-03-04T10:02:13.5Z", "2026-03-04T10:02:13.500Z"),
        ("2026-03-04 10:02:13", "2026-03-04T09:02:13.000Z"),
        ("2026-03-04 10:02:13 +0000", "2026-03-04T10:02:13.000Z"),
        ("Wed Mar 04 10:02:13 UTC 2026", "2026-03-04T10:02:13.000Z"),
        ("177261853341", None),
        ("9223372036854775807", "2262-04-11T23:47:16.854Z"),
        ("9223372036854775808", None),
        ("Mar 04 2026 10:02:13 and more", None),
        ("Foo 04 2026 10:02:13", None),
        ("Feb 30 2026 10:02:13", None),
        ("Mar 04 2026 10:02:13 +19:00", None),
        ("soon", None),
        ("", None),
        (None, None),
        (1772618533417, None),
    ],
)
def test_time_without_a_format(value, expected):
    assert read_time(value, RECEIVED, BERLIN) == expected


@pytest.mark.parametrize(
    "value, form, expected",
    [
        ("2026-03-04 10:02:13", "yyyy-MM-dd HH:mm:ss", "2026-03-04T09:02:13.000Z"),
        ("04/03/2026 10:02:13 +0000", "dd/MM/yyyy HH:mm:ss Z", "2026-03-04T10:02:13.000Z"),
        ("20260304100213", "yyyyMMddHHmmss", "2026-03-04T09:02:13.000Z"),
        ("2026-03-04T10:02:13.123+00", "yyyy-MM-dd'T'HH:mm:ss.SSSX", "2026-03-04T10:02:13.123Z"),
        ("Wed, 4 March 26 10:02:13 PM", "EEE, d MMMM yy hh:mm:ss a", "2026-03-04T21:02:13.000Z"),
        ("4 Mar 12 o'clock AM", "d MMM h 'o''clock' a", None),
        ("4 Mar 12'00 AM", "d MMM h''mm a", "2026-03-03T23:00:00.000Z"),
        ("13/13/2026 10:02", "dd/MM/yyyy HH:mm", None),
        ("1772618533417", "dd/MM/yyyy", "2026-03-04T10:02:13.417Z"),  # the format is wrong
        ("Mar 04 2026 10:02:13", "QQQ", "2026-03-04T09:02:13.000Z"),
        ("10:02 4 Mar nowhere", "HH:mm d MMM z", None),
        ("2026", "yyyy", None),
    ],
)
def test_time_with_a_format(value, form, expected):
    assert read_time(value, RECEIVED, BERLIN, form) == expected


@given(st.text("yMdHhmsSEazZX' -:/0123456789Mar", max_size=70), st.text(max_size=30), st.booleans())
def test_any_format_and_any_time(form, text, same):
    result = read_time(form if same else text, RECEIVED, BERLIN, form)
    assert result is None or result.endswith("Z")


def test_malicious_times_are_read_quickly():
    began = time.process_time()
    for text in ("1" * 100_000, "Mar " * 30_000, " " * 100_000, "x" * 100_000):
        assert read_time(text, RECEIVED, BERLIN) is None
        assert read_time(text, RECEIVED, BERLIN, "yyyy-MM-dd") is None
        assert read_time(text, RECEIVED, BERLIN, text) is None
    assert time.process_time() - began < 1.0
