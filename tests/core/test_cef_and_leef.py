"""CEF and LEEF: the samples of the vendor, and any other input."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core.errors import Malformed
from siemtap.core.formats import cef, leef, syslog

WORD = st.text(
    st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00\r\n"), max_size=20
)


def quoted(text):
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\n", "\\n").replace("\r", "\\r")


@given(
    st.lists(WORD, min_size=7, max_size=7),
    st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,10}", fullmatch=True), WORD.map(str.strip), max_size=8
    ),
)
def test_cef_round_trip(head, extension):
    bars = "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in head)
    message = cef.parse(
        f"CEF:{bars}|" + " ".join(f"{name}={quoted(value)}" for name, value in extension.items())
    )
    assert message.header == tuple(part.strip() for part in head) and message.extension == extension


def test_cef_sample_of_the_vendor():
    message = cef.parse(
        "CEF:0|Trend Micro|Deep Security Agent|20.0.0|1000128|A \\| B|8|cn1=311 cn1Label=Host ID"
        " cs2=0x00 ACK PSH cs2Label=TCP Flags act=IDS:Reset msg=a\\=b c\\\\d"
        " TrendMicroDsTags=web x="
    )
    assert message.header == (
        "0",
        "Trend Micro",
        "Deep Security Agent",
        "20.0.0",
        "1000128",
        "A | B",
        "8",
    )
    assert (
        message.extension
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
        and not message.is_cut
    )
    for wrong in ("no", "CEF:0|a|b", "CEF:"):
        with pytest.raises(Malformed):
            cef.parse(wrong)


def test_leef_samples():
    head, extension = leef.parse(
        "LEEF:2.0|Trend Micro|Deep Security"
        " Manager|11.0.221|851|\t|cat=System\tname=Agent\tsev=6\tsrc=192.0.2.1"
    )
    assert head == (
        "2.0",
        "Trend Micro",
        "Deep Security Manager",
        "11.0.221",
        "851",
    ) and extension == {
        "cat": "System",
        "name": "Agent",
        "sev": "6",
        "src": "192.0.2.1",
    }
    assert leef.parse("LEEF:1.0|a|b|1|2|x=1\ty=2")[1] == {"x": "1", "y": "2"} and leef.parse(
        "LEEF:2.0|a|b|1|2|x5e|x=1^y=2"
    )[1] == {"x": "1", "y": "2"}
    assert leef.parse("LEEF:2.0|Trend Micro|Deep Security Manager|11.0.221|851|cat=System\tname=A")[
        1
    ] == {"cat": "System", "name": "A"}
    for wrong in ("no", "LEEF:1|a"):
        with pytest.raises(Malformed):
            leef.parse(wrong)


@pytest.mark.parametrize(
    "attributes, pairs",
    [
        ("a=b|c\td=e=f", {"a": "b|c", "d": "e=f"}),
        ("^|a=b\tc^d=e", {"a": "b\tc", "d": "e"}),
        ("x\ta=b\tc:\t\t d\te=f\t", {"a": "b\tc:\t\t d", "e": "f"}),
        ("^|a=b^c^=d^e=f", {"a": "b^c^=d", "e": "f"}),
        ("x5E|a=b^d=e", {"a": "b", "d": "e"}),
        ("0x7c|a=b|d=e", {"a": "b", "d": "e"}),
        ("|a=b\td=e", {"a": "b", "d": "e"}),
        ("x12345|a=b\td=e", {"x12345|a": "b", "d": "e"}),
        ("a=b#011d=e", {"a": "b", "d": "e"}),
        ("a=b d=e f=g h", {"a": "b", "d": "e", "f": "g h"}),
        ("a=b d=e", {"a": "b d=e"}),
        ("p=C:\\\\new\tq=C:\\\\new", {"p": "C:\\new", "q": "C:\\\\new"}),
    ],
)
def test_leef_2_pairs_and_the_optional_separator(attributes, pairs):
    assert leef.parse(f"LEEF:2.0|a|b|c|d|{attributes}", {"p"})[1] == pairs
    assert leef.parse(f"LEEF: 2.0|a|b|c|d|{attributes}", {"p"})[1] == pairs


@pytest.mark.parametrize(
    "written, path",
    [
        (r"C:\new\report", r"C:\new\report".replace("\\\\", "\\")),
        (r"C:\\new\\report", r"C:\new\report".replace("\\\\", "\\")),
        ("c:\\windows\\tmp\\", "c:\\windows\\tmp\\"),
        (r"\\server\new".replace("\\\\", "\\"), r"\\server\new".replace("\\\\", "\\")),
        ("a\\=b", "a=b"),
        ("/srv/a b", "/srv/a b"),
    ],
)
def test_paths_have_no_line_breaks(written, path):
    for key in ("p=", "cs1Label=Path cs1="):
        parsed = cef.parse(f"CEF:0|a|b|c|d|e|f|{key}{written}", {"p", "Path"})
        assert parsed.extension[key.split()[-1][:-1]] == path and not parsed.is_cut
    assert cef.parse("CEF:0|a|b|c|d|e|f|m=a\\nb", {"p"}).extension == {"m": "a\nb"}


@given(st.text("CEFLE:0|\\= \tab\n<>1", max_size=200))
def test_any_text_is_cef_leef_or_malformed(text):
    for read in (cef.parse, leef.parse):
        try:
            read(text)
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
        "LEEF:2.0|a|b|c|d|" + " a=b" * 50_000,
        "LEEF:2.0|a|b|c|d|p=" + "\\" * 100_001,
        "CEF:0|a|b|c|d|e|f|p=" + "\\" * 100_001,
        "CEF:0|a|b|c|d|e|f|p=" + "\\n" * 50_000,
        *(character * 100_000 for character in '<1[\\: "\ufeff'),
        "<13>" * 25_000,
        "<13>Mar  4 10:02:13 " * 5_000,
        "2026-03-04T10:02:13Z " * 5_000,
        "1 2026-03-04T10:02:13Z a b c d " * 4_000,
        "<13>Mar  4 10:02:13 " + "a " * 50_000,
        "<13>Mar  4 10:02:13 " + "a: " * 50_000,
        "<13>Mar  4 10:02:13 " + "[" * 100_000,
    ],
)
def test_malicious_texts_are_parsed_quickly(hostile):
    began = time.process_time()
    for read in (
        syslog.parse_line,
        lambda text: cef.parse(text, {"p"}),
        lambda text: leef.parse(text, {"p"}),
    ):
        try:
            read(hostile)
        except Malformed:
            continue
    assert time.process_time() - began < 2.0
