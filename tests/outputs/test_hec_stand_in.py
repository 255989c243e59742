"""The rules of the stand-in for HEC, one by one, asked without the output."""

import gzip
import http.client
import json

import pytest
from hec_stand_in import CODES, TOKEN, Hec

EVENT = b'{"event":"a"}'
LOGIN = {"Authorization": f"Splunk {TOKEN}"}
CHANNEL = {"X-Splunk-Request-Channel": "FE0ECFAD-13D5-401B-847D-77833BD77131"}
EVENTS, ACKS = "/services/collector/event", "/services/collector/ack"


@pytest.fixture
def hec(request):
    with Hec(**getattr(request, "param", {})) as server:
        yield server


def ask(hec, body=EVENT, headers=LOGIN, path=EVENTS, method="POST"):
    """Return (status, code or None, the other members of the answer)."""
    connection = http.client.HTTPConnection("127.0.0.1", hec.server_port, timeout=5)
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        content = reply.read()
    finally:
        connection.close()
    if reply.headers["content-type"] != "application/json":
        return reply.status, None, content
    answer = json.loads(content)
    code = answer.pop("code", None)
    if code in CODES:
        assert answer.pop("text") == CODES[code][1] and reply.status == CODES[code][0]
    return reply.status, code, answer


def at(number):
    return {"invalid-event-number": number}


@pytest.mark.parametrize(
    "headers, code",
    [
        ({}, 2),
        ({"Authorization": f"Bearer {TOKEN}"}, 3),
        ({"Authorization": "Splunk"}, 3),
        ({"Authorization": "Splunk 00000000-0000-0000-0000-000000000000"}, 4),
        (LOGIN, 0),
    ],
)
def test_the_token_is_checked(hec, headers, code):
    assert ask(hec, headers=headers)[1] == code
    assert len(hec.indexed) == (not code)


def test_a_disabled_token_and_one_in_the_url_are_refused(hec):
    assert ask(hec, path=f"{EVENTS}?token={TOKEN}")[1] == 16
    hec.disabled = True
    assert ask(hec)[1] == 1


@pytest.mark.parametrize(
    "body, code, more",
    [
        (b"", 5, {}),
        (b" \n ", 5, {}),
        (b'{"event":', 6, at(0)),
        (EVENT + b'{"event":', 6, at(1)),
        (b"[" + EVENT + b",1]", 6, at(1)),
        (EVENT + b"," + EVENT, 6, at(1)),
        (b'{"event":["a"]}', 6, at(0)),
        (EVENT + b'{"time":1}', 12, at(1)),
        (b'{"event":null}', 13, at(0)),
        (b'{"event":" "}', 13, at(0)),
        (b'{"event":{}}', 13, at(0)),
        (b'{"event":"a","time":"soon"}', 15, at(0)),
        (b'{"event":"a","sourcetype":1}', 6, at(0)),
        (b'{"event":"a","fields":{"a":{"b":1}}}', 15, at(0)),
        (EVENT + EVENT + b'{"event":"a","index":"other"}', 7, at(3)),
    ],
)
def test_an_invalid_event_is_named_and_those_before_it_are_indexed(hec, body, code, more):
    assert ask(hec, body)[1:] == (code, more)
    assert len(hec.indexed) == more.get("invalid-event-number", 0) - (code == 7)


def test_what_is_indexed(hec):
    whole = {"time": 1.5, "host": "h", "source": "s", "sourcetype": "t", "index": "main"}
    ask(hec, b" ".join(json.dumps({**whole, "event": event}).encode() for event in ("x", {"a": 1})))
    expected = {**whole, "is_time_extracted": False}
    assert hec.indexed == [{**expected, "raw": "x"}, {**expected, "raw": '{"a": 1}'}]
    ask(hec, b'{"event":"a","time":7,"host":"h"}{"event":"b"}')
    assert [(each["time"], each["host"]) for each in hec.indexed[-2:]] == [(7, "h")] * 2
    ask(hec, path=f"{EVENTS}?auto_extract_timestamp=true")
    assert hec.indexed[-1]["time"] is None and hec.indexed[-1]["is_time_extracted"]
    ask(hec)
    assert not hec.indexed[-1]["is_time_extracted"]


def test_gzip_and_sizes(hec):
    zipped = {**LOGIN, "Content-Encoding": "gzip"}
    assert ask(hec, gzip.compress(EVENT * 3), zipped)[1] == 0 and len(hec.indexed) == 3
    assert ask(hec, b"no gzip", zipped)[1] == 6
    assert ask(hec, EVENT, {**LOGIN, "Content-Encoding": "br"})[:2] == (415, None)
    hec.max_content_length = len(EVENT)
    assert ask(hec)[1] == 0
    assert ask(hec, EVENT + b" ")[:2] == (413, None)


def test_paths(hec):
    assert ask(hec, path="/services/collector")[1] == ask(hec, path=f"{EVENTS}/1.0")[1] == 0
    assert ask(hec, path="/nope")[:2] == (404, 404)
    assert ask(hec, None, {}, "/services/collector/health", "GET")[1] == 17
    hec.health = 18
    assert ask(hec, None, {}, "/services/collector/health/1.0", "GET")[1] == 18


@pytest.mark.parametrize("hec", [{"ack": True}], indirect=True)
def test_channels_and_acknowledgements(hec):
    both = {**LOGIN, **CHANNEL}

    def asked(*ids, headers=both):
        return ask(hec, json.dumps({"acks": ids}).encode(), headers, ACKS)[2].get("acks")

    assert ask(hec)[1] == 10
    assert ask(hec, headers={**LOGIN, "X-Splunk-Request-Channel": "mine"})[1] == 11
    assert [ask(hec, headers=both)[2] for _ in range(3)] == [
        {"ackId": number} for number in range(3)
    ]
    assert asked(0, 1, 9) == {"0": True, "1": True, "9": False}
    assert asked(0, 1) == {"0": False, "1": False}, "true is said once"
    other = {**LOGIN, "X-Splunk-Request-Channel": "00000000-0000-0000-0000-000000000001"}
    assert asked(2, headers=other) == {"2": False}, "an id is of its channel"
    assert ask(hec, path=f"{EVENTS}?channel={CHANNEL['X-Splunk-Request-Channel']}")[2] == {
        "ackId": 3
    }
    assert ask(hec, b'{"acks":["0"]}', both, ACKS)[1] == 6
    hec.restart()
    assert asked(2) == {"2": False} and ask(hec, headers=both)[2] == {"ackId": 0}
    hec.acks = 2
    ask(hec, headers=both)
    assert [asked(1)["1"] for _ in range(4)] == [False, False, True, False]
    hec.acks = "never"
    ask(hec, headers=both)
    assert not any(asked(2)["2"] for _ in range(5))
    hec.acks = "lost"
    ask(hec, headers=both)
    with pytest.raises(http.client.RemoteDisconnected):
        asked(3)
    assert asked(3) == {"3": False}
    hec.ack = False
    assert ask(hec, b'{"acks":[0]}', both, ACKS)[1] == 14


@pytest.mark.parametrize("code", [8, 9, 23, 24, 25, 26, 27])
def test_faults(hec, code):
    hec.faults = [code]
    assert ask(hec)[1] == code
    assert len(hec.indexed) == (code in (24, 25)) and ask(hec)[1] == 0


def test_answers_that_do_not_come(hec):
    hec.faults = ["lost", "dropped"]
    for _ in range(2):
        with pytest.raises(http.client.RemoteDisconnected):
            ask(hec)
        assert len(hec.indexed) == 1
