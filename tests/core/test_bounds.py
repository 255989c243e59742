"""Limits: the number of records or values in a text is counted before they are created."""

import importlib
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
    """Return the number of values in a value, keys included."""
    if isinstance(value, dict):
        return 1 + sum(1 + count(inner) for inner in value.values())
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


@pytest.mark.slow
@given(VALUES)
def test_count_is_never_below_the_number_of_values(value):
    text = json.dumps(value)
    assert (
        count(value) <= 2 * bounds.count_values(text) + 1
        and bounds.count_values(text) == bounds.count_values(text.encode())
        and bounds.parse_json(text) == value
    )


@pytest.mark.parametrize("text", ["{}," * 600_000, "[[1,[2]],3]" * 300_000, '"a":1.5,' * 600_000])
def test_json_with_too_many_values_is_rejected(text, monkeypatch):
    monkeypatch.setattr(bounds, "json", None)
    with pytest.raises(ValueError, match="more than 1,000,000 elements"):
        bounds.parse_json(f"[{text}0]")


@pytest.mark.slow
@given(VALUES)
def test_punctuation_inside_strings_does_not_count(value):
    text = json.dumps(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "MAX_VALUES", -1)
        assert count(value) <= 2 * bounds.count_values(text) + 1 and bounds.count_values(
            text
        ) == bounds.count_values(text.encode())
        assert bounds.count_values(json.dumps([',{[:\\"' * 100, "x\\"])) == 2


@pytest.mark.parametrize(
    "text", ['"' + '\\"' * 3_000_000, '"a' * 3_000_000, "\\" * 6_000_000, '"' + "," * 6_000_000]
)
def test_counting_takes_linear_time(text, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_VALUES", -1)
    began = time.process_time()
    assert bounds.count_values(text) <= len(text) and time.process_time() - began < 3


def split_lines(text):
    return [line for line in re.split(r"[\r\n]+", text) if line.strip("\0 \t")]


@given(st.text(alphabet="a< \t\0\r\n", max_size=300))
def test_split_lines_agrees_with_a_regular_expression(text):
    expected = split_lines(text)
    kept, beyond = bounds.split_lines(text)
    assert kept == expected[: bounds.FEW] and [line.strip() for line in split_lines(beyond)] == [
        line.strip() for line in expected[bounds.FEW :]
    ]


@pytest.mark.slow
@given(
    st.lists(
        st.sampled_from(["a", "b ", "c" * bounds.MIN_RECORD, "d" * 100]), min_size=90, max_size=160
    ),
    st.sampled_from(["\n", "\r\n", "\n\n", "\r"]),
)
def test_lines_long_enough_for_a_record_stay_separate(lines, end):
    kept, beyond = bounds.split_lines(end.join(lines))
    long = [line for line in lines if len(line) >= bounds.MIN_RECORD]
    assert [line for line in kept if len(line) >= bounds.MIN_RECORD] == long
    assert len(kept) - len(long) <= bounds.max_records(end.join(lines)) and sorted(
        [*kept, *split_lines(beyond)]
    ) == sorted(lines)


def test_number_of_records_is_limited_by_the_length_of_the_text():
    assert (
        bounds.max_records("") == 100
        and bounds.max_records("x" * 65_000) == 1_015
        and bounds.max_records("x" * 16 * 1024**2) == bounds.MAX_RECORDS - 1
    )
    line = (
        "<134>Mar  4 10:02:13 dsm01 CEF:0|Trend Micro|Deep Security"
        " Agent|20.0|1000|x|5|src=192.0.2.1\n"
    )
    assert bounds.split_lines(line * 10_000)[1] == ""


def test_truncated_text_says_how_much_is_missing():
    assert bounds.truncated("x" * bounds.MAX_TEXT) == "x" * bounds.MAX_TEXT
    assert bounds.truncated("x" * bounds.MAX_TEXT + "yz").endswith(
        "x [and 2 more characters, which are not kept]"
    )


def test_cache_keeps_short_values_only():
    calls = []

    @bounds.cached(10, typed=True)
    def convert(*values):
        """Convert."""
        calls.append(values)
        return values

    for value in ("short", "x" * 200, ("a", "b"), 1, 1.0):
        assert convert(value) == convert(value) == (value,)
    assert len(calls) == 5 and convert.__doc__ == "Convert."
    for value in ("x" * 201, ("a", "x" * 201)):
        assert convert(value) == convert(value) == (value,)
    assert len(calls) == 9 and convert("a", "x" * 201) == ("a", "x" * 201)

    @bounds.cached(10, typed=True)
    def convert_one(value):
        calls.append(value)
        return value

    del calls[:]
    for value in ("short", "x" * 200, ("a", "b"), 1, 1.0):
        assert convert_one(value) == convert_one(value) == value
    assert len(calls) == 5
    for value in ("x" * 201, ("a", "x" * 201)):
        assert convert_one(value) == convert_one(value) == value
    assert len(calls) == 9


@pytest.mark.parametrize("plugin", ["apptrana", "centurylink_ips", "pingintelligence"])
def test_converters_do_not_keep_long_texts(plugin):
    """A converter with a cache of its own is one that any sender can fill."""
    source = importlib.import_module(f"{plugin}.mapping")
    kept = [name for name, value in vars(source).items() if hasattr(value, "cache_info")]
    assert set(kept) <= {"mac"}  # which raises for whatever is no MAC
