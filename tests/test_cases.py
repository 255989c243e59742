"""Case folders: what is broken is reported, and nothing is accepted that deceives."""

import json

import pytest

from siemtap.core.rows import Dataset, Field
from siemtap.edge.client.messages import Request
from siemtap.testing import cases

PAIR = """GET https://api.example.com/events
Authorization: Bearer k3y

HTTP/1.1 200
Content-Type: application/json

{"events": []}
"""


def test_an_exchange_is_pairs_of_a_request_and_an_answer():
    exchange = cases.Exchange(f"{PAIR}###\n{PAIR}")
    request = Request("GET", "https://api.example.com/events", {"authorization": "Bearer k3y"})
    assert exchange(request, 1.0).json() == exchange(request, 1.0).json() == {"events": []}
    with pytest.raises(AssertionError, match="one request too many"):
        exchange(request, 1.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("###\n\n###\n", "is empty"),
        (PAIR.replace("HTTP/1.1 200\n", ""), "0 lines that begin with HTTP/"),
        (PAIR + PAIR, "2 lines that begin with HTTP/"),
        (PAIR.replace("HTTP/1.1 200", "HTTP/1.1 OK"), "no HTTP/1.1 and status in 'HTTP/1.1 OK'"),
        (PAIR.replace("HTTP/1.1 200", "HTTP/2 200"), "no HTTP/1.1 and status"),
        (PAIR.replace("GET ", ""), "no method and URL"),
        (PAIR.replace("https://api.example.com", ""), "no method and URL"),
        (PAIR.replace("json\n\n{", "json\n{"), "is no header"),
        (PAIR.replace("Authorization: ", "Authorization "), "is no header"),
    ],
)
def test_a_broken_exchange_says_how_the_file_is_written(text, reason):
    with pytest.raises(cases.BrokenCase, match=reason) as caught:
        cases.Exchange(text)
    assert "GET https://api.example.com/events?from=1" in str(caught.value)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request("POST", "https://api.example.com/events"), "and the plugin sent POST"),
        (Request("GET", "https://api.example.com/events"), "authorization: Bearer k3y.*sent None"),
        (
            Request("GET", "https://api.example.com/events", {"Authorization": "Bearer k3y"}, b"x"),
            "request 1",
        ),
    ],
)
def test_another_request_is_shown(request_, reason):
    with pytest.raises(AssertionError, match=reason):
        cases.Exchange(PAIR)(request_, 1.0)


def test_an_error_and_no_events_are_accepted_only_if_told(tmp_path):
    expected, error = tmp_path / "expected.json", tmp_path / "expected.err"
    with pytest.raises(AssertionError, match="SIEMTAP_ACCEPT=failures"):
        cases.accept(tmp_path, [], "", failures=False)
    with pytest.raises(AssertionError, match="Malformed: no list"):
        cases.accept(tmp_path, [{"a": 1}], "Malformed: no list\n", failures=False)
    assert not expected.exists() and not error.exists()
    cases.accept(tmp_path, [], "Malformed: no list\n", failures=True)
    assert json.loads(expected.read_text()) == [] and error.read_text() == "Malformed: no list\n"
    cases.accept(tmp_path, [], "Malformed: no object\n", failures=False)
    assert error.read_text() == "Malformed: no object\n"
    cases.accept(tmp_path, [{"a": 1}], "", failures=False)
    assert json.loads(expected.read_text()) == [{"a": 1}] and not error.exists()
    with pytest.raises(AssertionError, match="no events"):
        cases.accept(tmp_path, [], "", failures=False)
    cases.accept(tmp_path, [], "", failures=True)
    cases.accept(tmp_path, [], "", failures=False)


def test_a_value_that_a_converter_refused_is_found():
    dataset = Dataset(
        "acme.event",
        lambda record: None,
        ("id",),
        (Field("a.b", "acme.b", int), Field("c[].d", "acme.d", int), Field("e[1]", "acme.e", int)),
    )
    extra = {"a": {"b": "x"}, "c": [None, {"d": "y"}], "e": [1, "z"]}
    assert cases.refused(dataset, {"acme": {"extra": extra}}) == ["a.b", "c[].d", "e[1]"]
    extra = {"a": {"x": "x"}, "c": [None, {"e": "y"}], "e": [1, None]}
    assert cases.refused(dataset, {"acme": {"extra": extra}}) == []
    assert cases.refused(dataset, {}) == []


def test_differences_name_the_place():
    assert cases.differences([{"a": {"b": 1}}], [{"a": {"b": 1}}]) == []
    assert cases.differences([{"a": {"b": 1}}], [{"a": {"c": 2}}]) == [
        "[0].a.b: 1, and not null",
        "[0].a.c: null, and not 2",
    ]
    assert cases.differences([1], [1, 2]) == ["all: [1], and not [1, 2]"]
    assert cases.differences({"a": True}, {"a": 1}) == ["a: true, and not 1"]
