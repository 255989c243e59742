"""What may be made of a text is counted before it is made."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core import bounds

VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


def count(value):
    """Values in a value, keys too."""
    if isinstance(value, dict):
        return 1 + sum(1 + count(inner) for inner in value.values())
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


@given(VALUES)
def test_no_value_has_more_elements_than_are_counted(value):
    text = json.dumps(value)
    assert count(value) <= 2 * bounds.elements(text) + 1 and bounds.elements(text) == bounds.elements(text.encode()) and bounds.parse(text) == value


@pytest.mark.parametrize("text", ["{}," * 600_000, "[[1,[2]],3]" * 300_000, '"a":1.5,' * 600_000])
def test_too_many_are_refused_as_what_is_no_json(text, monkeypatch):
    monkeypatch.setattr(bounds, "json", None)
    with pytest.raises(ValueError, match="more than 1,000,000 elements"):
        bounds.parse(f"[{text}0]")


@given(st.text(alphabet="a< \t\0\r\n", max_size=300))
def test_lines_are_those_of_before(text):
    wanted = [line for line in re.split(r"[\r\n]+", text) if line.strip("\0 \t")]
    found, beyond = bounds.lines(text)
    assert found == wanted[:bounds.FEW] and (bool(beyond) == (len(wanted) > bounds.FEW))


@given(st.lists(st.text(alphabet="ab ", min_size=1, max_size=5), min_size=90, max_size=140), st.sampled_from(["\n", "\r\n", "\n\n", "\r"]))
def test_what_is_beyond_is_the_rest_of_the_text(lines, end):
    text = end.join(lines)
    found, beyond = bounds.lines(text)
    assert len(found) <= bounds.FEW and text.endswith(beyond)
    again = [line for line in re.split(r"[\r\n]+", beyond) if line.strip()]
    assert [*found, *again] == [line for line in lines if line.strip()]


def test_a_text_has_room_for_what_vendors_send_and_for_no_more():
    assert bounds.room("") == 100 and bounds.room("x" * 65_000) == 1_015 and bounds.room("x" * 16 * 1024**2) == bounds.RECORDS - 1
    line = "<134>Mar  4 10:02:13 dsm01 CEF:0|Trend Micro|Deep Security Agent|20.0|1000|x|5|src=192.0.2.1\n"
    assert bounds.lines(line * 10_000)[1] == ""


def test_a_text_is_kept_whole_or_says_what_is_missing():
    assert bounds.kept("x" * bounds.TEXT) == "x" * bounds.TEXT
    assert bounds.kept("x" * bounds.TEXT + "yz").endswith("x [and 2 more characters, which are not kept]")
