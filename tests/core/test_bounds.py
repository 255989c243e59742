"""What may be made of a text is counted before it is made."""

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core import bounds

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def count(value):
    """Values in a value, keys too."""
    if isinstance(value, dict):
        return 1 + sum(1 + count(inner) for inner in value.values())
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


@given(VALUES)
def test_no_value_has_more_elements_than_are_counted(value):
    text = json.dumps(value)
    assert (
        count(value) <= 2 * bounds.elements(text) + 1
        and bounds.elements(text) == bounds.elements(text.encode())
        and bounds.parse(text) == value
    )


@pytest.mark.parametrize("text", ["{}," * 600_000, "[[1,[2]],3]" * 300_000, '"a":1.5,' * 600_000])
def test_too_many_are_refused_as_what_is_no_json(text, monkeypatch):
    monkeypatch.setattr(bounds, "json", None)
    with pytest.raises(ValueError, match="more than 1,000,000 elements"):
        bounds.parse(f"[{text}0]")


@given(VALUES)
def test_signs_inside_texts_do_not_count_where_there_are_many(value):
    text = json.dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "ELEMENTS", -1)
        assert count(value) <= 2 * bounds.elements(text) + 1 and bounds.elements(
            text
        ) == bounds.elements(text.encode())
        assert bounds.elements(json.dumps([',{[:\\"' * 100, "x\\"])) == 2


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 3_000_000, '"a' * 3_000_000, "\\" * 6_000_000, '"' + "," * 6_000_000]
)
def test_no_text_takes_long_to_count(text, monkeypatch):
    monkeypatch.setattr(bounds, "ELEMENTS", -1)
    began = time.process_time()
    assert bounds.elements(text) <= len(text) and time.process_time() - began < 3


def split(text):
    return [line for line in re.split(r"[\r\n]+", text) if line.strip("\0 \t")]


@given(st.text(alphabet="a< \t\0\r\n", max_size=300))
def test_lines_are_those_of_before(text):
    wanted = split(text)
    found, beyond = bounds.lines(text)
    assert found == wanted[: bounds.FEW] and [line.strip() for line in split(beyond)] == [
        line.strip() for line in wanted[bounds.FEW :]
    ]


@given(
    st.lists(
        st.sampled_from(["a", "b ", "c" * bounds.SHORTEST, "d" * 100]), min_size=90, max_size=160
    ),
    st.sampled_from(["\n", "\r\n", "\n\n", "\r"]),
)
def test_what_a_vendor_may_have_sent_stands_alone_whatever_is_between(lines, end):
    found, beyond = bounds.lines(end.join(lines))
    long = [line for line in lines if len(line) >= bounds.SHORTEST]
    assert [line for line in found if len(line) >= bounds.SHORTEST] == long
    assert len(found) - len(long) <= bounds.room(end.join(lines)) and sorted(
        [*found, *split(beyond)]
    ) == sorted(lines)


def test_a_text_has_room_for_what_vendors_send_and_for_no_more():
    assert (
        bounds.room("") == 100
        and bounds.room("x" * 65_000) == 1_015
        and bounds.room("x" * 16 * 1024**2) == bounds.RECORDS - 1
    )
    line = (
        "<134>Mar  4 10:02:13 dsm01 CEF:0|Trend Micro|Deep Security"
        " Agent|20.0|1000|x|5|src=192.0.2.1\n"
    )
    assert bounds.lines(line * 10_000)[1] == ""


def test_a_text_is_kept_whole_or_says_what_is_missing():
    assert bounds.kept("x" * bounds.TEXT) == "x" * bounds.TEXT
    assert bounds.kept("x" * bounds.TEXT + "yz").endswith(
        "x [and 2 more characters, which are not kept]"
    )
