"""The frame of the vendors' simulators: which function answers, and what the response is like."""

import gzip
import json

import pytest

from siemtap.edge.client.messages import Request
from siemtap.edge.client.replies import parse_date
from siemtap.testing.simulation import Fault, Sent
from siemtap.testing.vendor import Call, CommonKnobs, Route, SimulatedVendor, repeated, within

NOW = 1_772_618_400_000
JSON = {"Content-Type": "application/json"}


class Vendor(SimulatedVendor):
    def routes(self):
        return (
            Route("GET", "/hosts/{}/events/{}", lambda call, *parts: [call.name, *parts]),
            Route("POST", "/hosts", self.read_json),
            Route("DELETE", "/hosts", lambda call: call.token),
        )


def ask(method, path, headers=(), body=b"", vendor=None, **knobs):
    vendor = vendor or Vendor(CommonKnobs(**knobs))
    url = f"https://vendor.example.com/rest{path}"
    return vendor.answer(Request(method, url, dict(headers), body), NOW)


def test_a_call_goes_to_its_function_with_the_segments_of_its_path():
    answer = ask("GET", "/hosts/a%2Fb/events/7/?from=1")
    assert (answer.status, json.loads(answer.body)) == (200, ["events", "a/b", "7"])
    assert json.loads(ask("POST", "/hosts", JSON, b'{"a": 1}').body) == {"a": 1}
    assert json.loads(ask("DELETE", "/hosts", {"Authorization": "Bearer t"}).body) == "t"
    assert json.loads(ask("DELETE", "/hosts", {"Authorization": "Basic t"}).body) == ""


@pytest.mark.parametrize("name", ["X-Api-Key", "x-api-key", "X-API-KEY"])
def test_a_header_is_read_whatever_its_case(name):
    sent = Request("GET", "https://vendor.example.com/", {"X-Api-Key": " k3y "})
    assert Call("hosts", sent, NOW).header(name) == "k3y"
    assert Call("hosts", sent, NOW).header(f"{name}s") == ""


@pytest.mark.parametrize(
    "method, path, headers, body, status",
    [
        ("GET", "/nothing", {}, b"", 404),
        ("GET", "/hosts/a/events", {}, b"", 404),
        ("PUT", "/hosts", {}, b"", 405),
        ("POST", "/hosts", {}, b"{}", 415),
        ("POST", "/hosts", JSON, b"{", 400),
    ],
)
def test_other_calls_are_refused(method, path, headers, body, status):
    answer = ask(method, path, headers, body)
    assert answer.status == status and json.loads(answer.body)["error"]


def test_a_fault_is_played_for_its_call_only_and_every_request_is_counted():
    vendor = Vendor(faults=[Fault("events", 1, 503)])
    statuses = [
        ask(*call, vendor=vendor).status
        for call in (("DELETE", "/hosts"), *2 * [("GET", "/hosts/a/events/7")])
    ]
    assert statuses == [200, 503, 200]
    assert vendor.counts == {"hosts": 1, "events": 2} and len(vendor.requests) == 3


def test_the_common_knobs():
    answer = ask("DELETE", "/hosts", gzip=True, bom=True, skew=5.0, delay=2.0)
    assert gzip.decompress(answer.body) == b'\xef\xbb\xbf""'
    assert parse_date(answer.headers["Date"]) == NOW + 5000 and answer.delay == 2.0
    assert ask("POST", "/hosts", wrong_content_type=400).status == 400


def test_the_ends_of_a_window():
    for edges, expected in (("[]", [1, 2, 3]), ("[)", [1, 2]), ("(]", [2, 3]), ("()", [2])):
        assert [time for time in range(5) if within(edges, time, 1, 3)] == expected


def test_every_nth_message_is_sent_twice():
    messages = [Sent(time, b"", ()) for time in range(1, 6)]
    assert [sent.time for sent in repeated(messages, 2)] == [1, 2, 2, 3, 4, 4, 5]
    assert list(repeated(messages, 0)) == messages
