"""Syslog frames and headers: the samples of RFCs and of the vendor, and any other input."""

from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core.convert import instant, millis_of
from siemtap.core.errors import Malformed
from siemtap.core.formats import syslog

BYTES = st.binary(max_size=60)
WORD = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00\r\n"), max_size=20
)


def millis_at(text):
    return millis_of(instant(text))


# Frames


@given(
    st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=30)), max_size=8),
    st.lists(st.integers(0, 300), max_size=12),
)
def test_frames_are_read_however_the_stream_is_split(bodies, cuts):
    stream, expected = b"", []
    for counted, body in bodies:
        body = b"<134>" + body.replace(b"\n", b" ").replace(b"\r", b" ").replace(b"\0", b" ")
        stream += b"%d %b" % (len(body), body) if counted else body + b"\n"
        expected.append(body)
    frames, rest, begin = [], b"", 0
    for cut in [*sorted(cut for cut in cuts if cut < len(stream)), len(stream)]:
        some, rest = syslog.split_frames(rest + stream[begin:cut])
        frames += some
        begin = cut
    assert frames == expected and rest == b""


@given(BYTES)
def test_any_bytes_become_frames_or_malformed(data):
    try:
        frames, rest = syslog.split_frames(data)
    except Malformed:
        return
    assert sum(map(len, frames)) + len(rest) <= len(data)


def test_endless_octet_count_or_line_is_malformed():
    for data in (
        b"99999999 x",
        b"123456789 x",
        b"<1>" + b"x" * (syslog.MAX_FRAME + 1),
        b"1x" + b"y" * (syslog.MAX_FRAME + 1),
    ):
        with pytest.raises(Malformed, match="more than"):
            syslog.split_frames(data)
    assert syslog.split_frames(b"5 hel") == ([], b"5 hel")
    assert [
        syslog.may_be_complete(*pair)
        for pair in (
            (b"5 hel", b"l"),
            (b"5 hello", b"o"),
            (b"12", b"2"),
            (b"<1>x", b"x"),
            (b"<1>x\n", b"\n"),
            (b"99999999 ", b" "),
        )
    ] == [False, True, False, False, True, True]
    assert syslog.split_frames(b"2 ok3 yes<1>a\r\n\n<2>b") == (
        [b"ok", b"yes", b"<1>a"],
        b"<2>b",
    ) and syslog.split_frames(b"1st line\n")[0] == [b"1st line"]


def test_frames_before_a_malformed_frame_are_returned_first():
    good = b"<134>good line\n"
    frames, rest = syslog.split_frames(good * 5 + b"123456789 x\n" + good)
    assert frames == [b"<134>good line"] * 5
    with pytest.raises(Malformed):
        syslog.split_frames(rest)
    assert syslog.split_frames(good + b"1772618533.5 relay\n17726185331\n1st\n" + good)[0] == [
        b"<134>good line",
        b"1772618533.5 relay",
        b"17726185331",
        b"1st",
        b"<134>good line",
    ]


# Headers


@pytest.mark.parametrize(
    "text, line",
    [
        (
            "<134>Mar  4 10:02:13 dsm01 CEF:0|a|b|",
            ("CEF:0|a|b|", 134, "Mar  4 10:02:13", "dsm01", ""),
        ),
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
            ("'su root' failed", 34, "Oct 11 22:14:15", "mymachine", "su"),
        ),
        (
            "<13>Feb  5 17:32:18 10.0.0.99 app[42]: Use the BFG!",
            ("Use the BFG!", 13, "Feb  5 17:32:18", "10.0.0.99", "app"),
        ),
        (
            (
                '<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [x@1 a="b]"'
                ' c="\\""][y@1] \ufeffAn event'
            ),
            ("An event", 165, "2003-10-11T22:14:15.003Z", "mymachine.example.com", "evntslog"),
        ),
        ("<165>1 - - - - - - said", ("said", 165, "", "", "")),
        ("<134>CEF:0|a", ("CEF:0|a", 134, "", "", "")),
        ("CEF:0|a", ("CEF:0|a", None, "", "", "")),
        ("<999>what", ("<999>what", None, "", "", "")),
        ("<13>Mar  4 10:02:13 CEF:0|a", ("CEF:0|a", 13, "Mar  4 10:02:13", "", "")),
        ("<13>Foo  4 10:02:13 host x", ("Foo  4 10:02:13 host x", 13, "", "", "")),
        ("", ("", None, "", "", "")),
        # ISO 8601 instead of the timestamp of RFC 3164: Deep Security's "Include time zone in events",
        # rsyslog's ForwardFormat; a year; a frame's count
        (
            "<134>2026-03-04T10:02:13Z dsm01 CEF:0|a",
            ("CEF:0|a", 134, "2026-03-04T10:02:13Z", "dsm01", ""),
        ),
        (
            "<134>Mar  4 10:02:13 2026 dsm01 CEF:0|a",
            ("CEF:0|a", 134, "Mar  4 10:02:13 2026", "dsm01", ""),
        ),
        (
            "<134>2026-03-04 10:02:13 +0100 dsm01 CEF:0|a",
            ("CEF:0|a", 134, "2026-03-04 10:02:13 +0100", "dsm01", ""),
        ),
        # a host of several words; a colon in them is that of a tag or of another header
        (
            "<86>2026-03-04T16:32:13+06:30 DeepSec Logs CEF:0|a",
            ("CEF:0|a", 86, "2026-03-04T16:32:13+06:30", "DeepSec Logs", ""),
        ),
        (
            "<13>Mar  4 10:02:13 Deep Security Manager [a] ds[7]: LEEF:2.0|a",
            ("LEEF:2.0|a", 13, "Mar  4 10:02:13", "Deep Security Manager [a]", "ds"),
        ),
        (
            "<13>Mar  4 10:02:13 dsm01 ds: a text CEF:0|a",
            ("a text CEF:0|a", 13, "Mar  4 10:02:13", "dsm01", "ds"),
        ),
        # relays: without PRI, without host; `CEF:` as APP-NAME
        (
            "2026-03-04T10:02:15Z r2 Mar  4 10:02:14 r1 Mar  4 10:02:13 dsm01 CEF:0|a",
            ("CEF:0|a", None, "Mar  4 10:02:13", "dsm01", ""),
        ),
        (
            "<13>Mar  4 10:02:14 2026-03-04T10:02:13Z dsm01 CEF:0|a",
            ("CEF:0|a", 13, "2026-03-04T10:02:13Z", "dsm01", ""),
        ),
        (
            "<13>Mar  4 10:02:14 r1 1 2026-03-04T10:02:13Z dsm01 CEF - - - 0|a",
            ("CEF:0|a", 13, "2026-03-04T10:02:13Z", "dsm01", ""),
        ),
        (
            "<134>1 2026-03-04T10:02:13Z dsm01 LEEF: - - -  2.0|a",
            ("LEEF:2.0|a", 134, "2026-03-04T10:02:13Z", "dsm01", ""),
        ),
        (
            "<134>1 2026-03-04T10:02:13Z dsm01 CEF - - - no version",
            ("no version", 134, "2026-03-04T10:02:13Z", "dsm01", "CEF"),
        ),
        (
            "\ufeff<134>\ufeffMar  4 10:02:13 dsm01 \ufeffCEF:0|a",
            ("CEF:0|a", 134, "Mar  4 10:02:13", "dsm01", ""),
        ),
        (
            "<134>2026-03-04T10:02:13.292916+06:30 dsm01 CEF: 0|a",
            ("CEF: 0|a", 134, "2026-03-04T10:02:13.292916+06:30", "dsm01", ""),
        ),
        (
            "<134>2026-03-04 10:02:13,5 dsm01 su[7]: x",
            ("x", 134, "2026-03-04 10:02:13,5", "dsm01", "su"),
        ),
        (
            "<134>Mar 04 2026 10:02:13.5 dsm01 CEF:0|a",
            ("CEF:0|a", 134, "Mar 04 2026 10:02:13.5", "dsm01", ""),
        ),
        (
            "194 <86>2026-03-04T16:32:13+06:30 dsm01 CEF:0|a",
            ("CEF:0|a", 86, "2026-03-04T16:32:13+06:30", "dsm01", ""),
        ),
        ("<134>2026-13-04T10:02:13Z dsm01 x", ("2026-13-04T10:02:13Z dsm01 x", 134, "", "", "")),
        # A tag is alphanumeric (RFC 3164 4.1.3): Log4j2's BSD layout writes a host and the message,
        # no tag
        (
            '<134>Mar  4 10:02:13 abs01 {"timestamp":"1"}',
            ('{"timestamp":"1"}', 134, "Mar  4 10:02:13", "abs01", ""),
        ),
        (
            '<134>Mar  4 10:02:13 {"timestamp": "1"}',
            ('{"timestamp": "1"}', 134, "Mar  4 10:02:13", "", ""),
        ),
        (
            '<134>Mar  4 10:02:13 abs01 pi-attack-info-{"timestamp": "1"}',
            ('pi-attack-info-{"timestamp": "1"}', 134, "Mar  4 10:02:13", "abs01", ""),
        ),
        (
            '<134>Mar  4 10:02:13 pi-attack-info-{"timestamp": "1"}',
            ('pi-attack-info-{"timestamp": "1"}', 134, "Mar  4 10:02:13", "", ""),
        ),
        (
            '<134>Mar  4 10:02:13 abs01 "quoted": x',
            ('"quoted": x', 134, "Mar  4 10:02:13", "abs01", ""),
        ),
        ("<134>Mar  4 10:02:13 abs01 key=a:b", ("key=a:b", 134, "Mar  4 10:02:13", "abs01", "")),
        # Several relays: the innermost header counts, and the outer ones for what it does not
        # contain
        (
            "<13>Mar  4 10:02:14 relay <134>2026-03-04T10:02:13Z dsm01 ds: x",
            ("x", 134, "2026-03-04T10:02:13Z", "dsm01", "ds"),
        ),
        (
            "<13>1 2026-03-04T10:02:14Z relay - - - - <134>Mar  4 10:02:13 dsm01 x",
            ("x", 134, "Mar  4 10:02:13", "dsm01", ""),
        ),
        (
            "<13>Mar  4 10:02:14 relay <134>CEF:0|a",
            ("CEF:0|a", 134, "Mar  4 10:02:14", "relay", ""),
        ),
        (
            "<13>Mar  4 10:02:14 relay Mar  4 10:02:13 dsm01 x",
            ("x", 13, "Mar  4 10:02:13", "dsm01", ""),
        ),
        (
            "<13>Mar  4 10:02:14 relay 1 2 3 4 5 6 7",
            ("1 2 3 4 5 6 7", 13, "Mar  4 10:02:14", "relay", ""),
        ),
    ],
)
def test_headers(text, line):
    assert tuple(syslog.parse_line(text)) == line


def test_priority_holds_facility_and_severity():
    line = syslog.parse_line("<134>x")
    assert (
        (line.facility, line.severity) == (16, 6)
        and syslog.parse_line("x").facility is None
        and syslog.parse_line("x").severity is None
    )


@pytest.mark.parametrize(
    "stamp,received,expected",
    [
        ("Mar  4 10:02:13", "2026-03-04T10:02:14.000Z", "2026-03-04T10:02:13.000Z"),
        ("Dec 31 23:59:59", "2027-01-01T00:00:01.000Z", "2026-12-31T23:59:59.000Z"),
        ("Jan  1 00:00:01", "2026-12-31T23:59:59.000Z", "2027-01-01T00:00:01.000Z"),
        ("Jan  3 00:00:01", "2026-12-31T23:59:59.000Z", "2026-01-03T00:00:01.000Z"),
        ("Feb 29 12:00:00", "2028-02-29T12:00:05.000Z", "2028-02-29T12:00:00.000Z"),
        ("Mar  4 10:02:60", "2026-03-04T10:03:00.000Z", "2026-03-04T10:02:59.000Z"),
        (
            "2026-03-04T10:02:13.417123+01:00",
            "2026-03-04T10:02:14.000Z",
            "2026-03-04T09:02:13.417Z",
        ),
        ("2026-03-04 10:02:13,5", "2026-03-04T10:02:14.000Z", "2026-03-04T10:02:13.500Z"),
        ("Mar  4 2024 10:02:13", "2026-03-04T10:02:14.000Z", "2024-03-04T10:02:13.000Z"),
        ("Mar  4 10:02:13.4171", "2026-03-04T10:02:14.000Z", "2026-03-04T10:02:13.417Z"),
    ],
)
def test_missing_year_is_taken_from_the_arrival(stamp, received, expected):
    assert syslog.parse_time(stamp, millis_at(received)) == millis_at(expected)


def test_timestamps_with_another_zone_and_invalid_ones():
    assert syslog.parse_time(
        "Mar  4 10:02:13", millis_at("2026-03-04T09:02:14.000Z"), timezone(timedelta(hours=1))
    ) == millis_at("2026-03-04T09:02:13.000Z")
    assert syslog.parse_time("2026-03-04T10:02:13", 0, timezone(timedelta(hours=1))) == millis_at(
        "2026-03-04T09:02:13.000Z"
    )
    assert syslog.parse_time("Mar  4 0000 10:02:13", 0) is None
    assert (
        syslog.parse_time("Feb 30 12:00:00", 0) is None
        and syslog.parse_time("soon", 0) is None
        and syslog.parse_time("9999-12-31T23:59:59-12:00", 0) is None
    )


@given(WORD | st.text(max_size=200))
def test_any_text_can_be_parsed_as_a_line(text):
    line = syslog.parse_line(text)
    assert (
        line.message in text
        and syslog.parse_time(line.timestamp, 1_772_618_400_000) is not Ellipsis
    )
