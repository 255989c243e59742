"""Answers have the values that the standard library reads, whichever parser read them."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.edge.client import messages
from siemtap.edge.client.messages import parsed

NUMBERS = st.integers() | st.integers(10**17, 10**21) | st.floats(allow_nan=False)
TEXTS = st.text() | st.sampled_from(["\ud800", "\udfff\ud800", "1" * 30, "\u0000", '"\\'])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
ODD = [
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "1e400",
    "-1e400",
    "1e-400",
    "NaN",
    "-Infinity",
    "-0",
    "-0.0",
    "1E5",
    "0.1e1",
    "9007199254740993.0",
    "1.7976931348623159e308",
    '{"a":1,"b":2,"a":3}',
    '{"":{"":1}}',
    '"\\ud800"',
    '"\\ud83d\\ude00"',
    '"\\u0000"',
    "01",
    "1.",
    ".5",
    "[1,]",
    "{}",
    "[1",
    '"\x7f"',
    "tru",
    "12345678901234567890e-3",
    '"1234567890123456789"',
    '"a 123456789012345678901"',
    "1234567890123456789",
    "[1\t,\r\n123456789012345678901]",
    "[0.123456789012345678901]",
    "123456789012345678901e0",
]


def outcome(parse, body):
    """Return a value with its types, or that there is none."""
    try:
        return typed(parse(body))
    except (ValueError, RecursionError):
        return "no JSON"


def typed(value):
    if isinstance(value, dict):
        return [(name, typed(inner)) for name, inner in value.items()]
    if isinstance(value, list):
        return ["list", *map(typed, value)]
    return type(value).__name__, repr(value)


def standard(body):
    return json.loads(body.decode("utf-8-sig"))


@given(VALUES, st.booleans())
def test_value_is_that_of_the_standard_library(value, ascii):
    text = json.dumps(value, ensure_ascii=ascii)
    body = text.encode("utf-8", "surrogatepass")
    assert outcome(parsed, body) == outcome(standard, body)


@pytest.mark.parametrize("text", ODD)
def test_odd_text_is_read_as_by_the_standard_library(text):
    for body in (text.encode(), b"\xef\xbb\xbf" + text.encode(), f"[{text}, 1]".encode()):
        assert outcome(parsed, body) == outcome(standard, body)


@pytest.mark.parametrize("body", [b'"\xff"', b'"\xed\xa0\x80"', b"[" * 2_000 + b"]" * 2_000, b""])
def test_bytes_that_are_no_json_in_utf_8(body):
    assert outcome(parsed, body) == outcome(standard, body)


@pytest.mark.parametrize(
    "body", [b'{"data":[1,"a"]}', b'{"id":"1234567890123456789012","share":0.12345678901234567890}']
)
def test_usual_answers_are_read_by_orjson(monkeypatch, body):
    read = []
    monkeypatch.setattr(
        messages,
        "orjson",
        type("", (), {"loads": lambda self, body: read.append(1) or orjson.loads(body)})(),
    )
    assert parsed(body) == json.loads(body) and read == [1]
