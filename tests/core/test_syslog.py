"""Frames, heads, CEF and LEEF: what the RFCs and the vendor's samples show, and whatever else a
network brings."""

import time
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core import syslog
from siemtap.core.convert import instant, millis_of
from siemtap.core.errors import Malformed

BYTES = st.binary(max_size=60)
WORD = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00\r\n"), max_size=20
)


def at(said):
    return millis_of(instant(said))


# Frames


@given(
    st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=30)), max_size=8),
    st.lists(st.integers(0, 300), max_size=12),
)
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(said, cuts):
    stream, wanted = b"", []
    for counted, body in said:
        body = b"<134>" + body.replace(b"\n", b" ").replace(b"\r", b" ").replace(b"\0", b" ")
        stream += b"%d %b" % (len(body), body) if counted else body + b"\n"
        wanted.append(body)
    found, rest, begin = [], b"", 0
    for cut in [*sorted(cut for cut in cuts if cut < len(stream)), len(stream)]:
        some, rest = syslog.frames(rest + stream[begin:cut])
        found += some
        begin = cut
    assert found == wanted and rest == b""


@given(BYTES)
def test_any_bytes_are_frames_or_malformed(said):
    try:
        found, rest = syslog.frames(said)
    except Malformed:
        return
    assert sum(map(len, found)) + len(rest) <= len(said)


def test_a_count_or_a_line_that_never_ends_is_malformed():
    for said in (
        b"99999999 x",
        b"123456789 x",
        b"<1>" + b"x" * (syslog.LONGEST + 1),
        b"1x" + b"y" * (syslog.LONGEST + 1),
    ):
        with pytest.raises(Malformed, match="more than"):
            syslog.frames(said)
    assert syslog.frames(b"5 hel") == ([], b"5 hel")
    assert [
        syslog.is_worth_a_look(*pair)
        for pair in (
            (b"5 hel", b"l"),
            (b"5 hello", b"o"),
            (b"12", b"2"),
            (b"<1>x", b"x"),
            (b"<1>x\n", b"\n"),
            (b"99999999 ", b" "),
        )
    ] == [False, True, False, False, True, True]
    assert syslog.frames(b"2 ok3 yes<1>a\r\n\n<2>b") == (
        [b"ok", b"yes", b"<1>a"],
        b"<2>b",
    ) and syslog.frames(b"1st line\n")[0] == [b"1st line"]


def test_what_stands_before_a_frame_that_nobody_can_follow_is_handed_out_first():
    good = b"<134>good line\n"
    found, rest = syslog.frames(good * 5 + b"123456789 x\n" + good)
    assert found == [b"<134>good line"] * 5
    with pytest.raises(Malformed):
        syslog.frames(rest)
    assert syslog.frames(good + b"1772618533.5 relay\n17726185331\n1st\n" + good)[0] == [
        b"<134>good line",
        b"1772618533.5 relay",
        b"17726185331",
        b"1st",
        b"<134>good line",
    ]


# Heads


@pytest.mark.parametrize(
    "said, line",
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
        # ISO 8601 where RFC 3164 has its own stamp: Deep Security's "Include time zone in events",
        # rsyslog's ForwardFormat; a year; a frame's count
        (
            "<134>2026-03-04T10:02:13Z dsm01 CEF:0|a",
            ("CEF:0|a", 134, "2026-03-04T10:02:13Z", "dsm01", ""),
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
        # and
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
        # Relays before relays: the innermost head counts, and the outer ones for what it does not
        # say
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
def test_heads(said, line):
    assert tuple(syslog.line(said)) == line


def test_priority_is_facility_and_severity():
    said = syslog.line("<134>x")
    assert (
        (said.facility, said.severity) == (16, 6)
        and syslog.line("x").facility is None
        and syslog.line("x").severity is None
    )


@pytest.mark.parametrize(
    "stamp, received, wanted",
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
def test_the_year_that_is_missing(stamp, received, wanted):
    assert syslog.moment(stamp, at(received)) == at(wanted)


def test_stamps_of_another_zone_and_none():
    assert syslog.moment(
        "Mar  4 10:02:13", at("2026-03-04T09:02:14.000Z"), timezone(timedelta(hours=1))
    ) == at("2026-03-04T09:02:13.000Z")
    assert syslog.moment("2026-03-04T10:02:13", 0, timezone(timedelta(hours=1))) == at(
        "2026-03-04T09:02:13.000Z"
    )
    assert syslog.moment("Mar  4 0000 10:02:13", 0) is None
    assert (
        syslog.moment("Feb 30 12:00:00", 0) is None
        and syslog.moment("soon", 0) is None
        and syslog.moment("9999-12-31T23:59:59-12:00", 0) is None
    )


@given(WORD | st.text(max_size=200))
def test_any_text_has_a_head_or_none(said):
    found = syslog.line(said)
    assert found.message in said and syslog.moment(found.stamp, 1_772_618_400_000) is not Ellipsis


# CEF


def quoted(said):
    return said.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n").replace("\r", "\\r")


@given(
    st.lists(WORD, min_size=7, max_size=7),
    st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,10}", fullmatch=True), WORD.map(str.strip), max_size=8
    ),
)
def test_cef_comes_back_as_it_was_written(head, extension):
    bars = "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in head)
    said = syslog.cef(
        f"CEF:{bars}|" + " ".join(f"{name}={quoted(value)}" for name, value in extension.items())
    )
    assert said.head == tuple(part.strip() for part in head) and said.extension == extension


def test_cef_of_the_vendors_kind():
    said = syslog.cef(
        "CEF:0|Trend Micro|Deep Security Agent|20.0.0|1000128|A \\| B|8|cn1=311 cn1Label=Host ID"
        " cs2=0x00 ACK PSH cs2Label=TCP Flags act=IDS:Reset msg=a\\=b c\\\\d"
        " TrendMicroDsTags=web x="
    )
    assert said.head == (
        "0",
        "Trend Micro",
        "Deep Security Agent",
        "20.0.0",
        "1000128",
        "A | B",
        "8",
    )
    assert (
        said.extension
        == {
            "cn1": "311",
            "cn1Label": "Host ID",
            "cs2": "0x00 ACK PSH",
            "cs2Label": "TCP Flags",
            "act": "IDS:Reset",
            "msg": "a=b c\\d",
            "TrendMicroDsTags": "web",
            "x": "",
        }
        and not said.cut
    )
    for wrong in ("no", "CEF:0|a|b", "CEF:"):
        with pytest.raises(Malformed):
            syslog.cef(wrong)


def test_leef():
    head, said = syslog.leef(
        "LEEF:2.0|Trend Micro|Deep Security"
        " Manager|11.0.221|851|\t|cat=System\tname=Agent\tsev=6\tsrc=192.0.2.1"
    )
    assert head == ("2.0", "Trend Micro", "Deep Security Manager", "11.0.221", "851") and said == {
        "cat": "System",
        "name": "Agent",
        "sev": "6",
        "src": "192.0.2.1",
    }
    assert syslog.leef("LEEF:1.0|a|b|1|2|x=1\ty=2")[1] == {"x": "1", "y": "2"} and syslog.leef(
        "LEEF:2.0|a|b|1|2|x5e|x=1^y=2"
    )[1] == {"x": "1", "y": "2"}
    assert syslog.leef(
        "LEEF:2.0|Trend Micro|Deep Security Manager|11.0.221|851|cat=System\tname=A"
    )[1] == {"cat": "System", "name": "A"}
    for wrong in ("no", "LEEF:1|a"):
        with pytest.raises(Malformed):
            syslog.leef(wrong)


@given(st.text("CEFLE:0|\\= \tab\n<>1", max_size=200))
def test_any_text_is_cef_or_leef_or_malformed(said):
    for read in (syslog.cef, syslog.leef):
        try:
            read(said)
        except Malformed:
            continue


@pytest.mark.parametrize(
    "hostile",
    [
        "CEF:0|" * 20_000,
        "CEF:0|a|b|c|d|e|f|" + " a=" * 60_000,
        "CEF:0|a|b|c|d|e|f|" + "\\" * 200_000,
        "CEF:0|a|b|c|d|e|f|x=" + " " * 200_000,
        "<13>1 - - - - - " + '[a b="' * 40_000,
        "<13>1 - - - - - " + "[a]" * 60_000,
        "<13>Mar  4 10:02:13 " + "x" * 200_000,
        "CEF:0|a|b|c|d|e|f|" + "a" * 200_000,
        "LEEF:2.0|a|b|c|d|e|" + "=\t" * 100_000,
    ],
)
def test_no_text_takes_long(hostile):
    began = time.process_time()
    for read in (syslog.line, syslog.cef, syslog.leef):
        try:
            read(hostile)
        except Malformed:
            continue
    assert time.process_time() - began < 2.0
