"""The output `splunk_hec`: what it sends, and what each answer means for the events."""

import gzip
import io
import json
import threading
import time

import pytest
from hec_stand_in import TOKEN, Hec
from outputs.output_stores import UNIT, event
from splunk_breaker import break_events

from siemtap.core.errors import AuthError, ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.outputs import OutputContext
from siemtap.outputs.splunk_hec import output as hec_output
from siemtap.outputs.splunk_hec.collector import Hosts
from siemtap.outputs.splunk_hec.settings import Settings
from siemtap.render import registry
from siemtap.splunk.build import knowledge
from siemtap.splunk.runtime.pipe import Pipe
from siemtap.testing.cases import all_folders, play

EVENTS = [event(number) for number in range(5)]
IDS = [each["event"]["id"] for each in EVENTS]
WITH_DATASETS = OutputContext(datasets=registry.datasets())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(hec_output, "PATIENCE", 0.5)
    monkeypatch.setattr(hec_output, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def hec():
    with Hec() as server:
        yield server


# What is sent


def every_event(plugin):
    """Return the events of every case of a plugin, and some that are hard to write."""
    folders = [each for each in all_folders() if each.parents[1].name == plugin.name]
    made = [made for folder in folders for made in play(folder, plugin)[0]]
    text = 'quote " backslash \\ DEL \x7f C1 \x85 <&> \u2028 \ud800 😀 ' + "x" * 300
    early = {**made[0], "@timestamp": "1969-12-31T23:59:59.000Z"}
    odd, long = ({**made[0], "fields": {"text": each}} for each in (text, "x" * 2_000_000))
    return [*made, odd, early, long]


@pytest.mark.parametrize("name", sorted(registry.installed()))
def test_raw_is_that_of_the_modular_input(hec, opened, name):
    """Byte for byte, with the same sourcetype, source and time: one serializer."""
    plugin = registry.plugin(name)
    made = every_event(plugin)
    assert len(made) > 5
    out = io.BytesIO()
    pipe = Pipe(plugin, f"{name}://first", out)
    unit = Unit("first", plugin.datasets[0].name)
    pipe.deliver(unit, made, None)
    pipe.close()
    opened(hec, context=WITH_DATASETS, worker=1).deliver(unit, made, None)
    expected = [
        (each.raw, each.sourcetype, each.source, each.time)
        for each in break_events(out.getvalue(), knowledge.props(plugin))
    ]
    actual = [
        (each["raw"], each["sourcetype"], each["source"], each["time"]) for each in hec.indexed
    ]
    assert actual == expected
    assert any("DEL \\u007f" in raw for raw, *_ in actual)


def test_metadata_of_an_event(hec, opened):
    hec.indexes = ("main", "waf", "siem-2026")
    context = OutputContext(datasets=registry.datasets(), index_by_input={"own": "waf"})
    output = opened(hec, context=context, index="siem-%{+yyyy}")
    for input in ("own", "it"):
        output.deliver(Unit(input, "acme.event"), EVENTS[:1], None)
    assert [each["index"] for each in hec.indexed] == ["waf", "siem-2026"]
    assert {each["source"] for each in hec.indexed} == {"acme://own", "acme://it"}
    assert hec.indexed[0]["sourcetype"] == "acme:event" and hec.indexed[0]["time"] == 1772618400.0
    assert hec.indexed[0]["host"]
    opened(hec, context=context).deliver(UNIT, EVENTS[:1], None)
    assert hec.indexed[-1]["index"] == "main", "the token's default"


def test_siemtaps_own_events_have_a_sourcetype(hec, opened):
    """Health, and a pipeline_error, which is never made compact."""
    own = event(1)
    own["event"].update(dataset="siemtap.health", kind="metric")
    failed = event(2, data_stream={"dataset": "apptrana.attack"}, error={"message": "no"})
    failed["event"].update(dataset="apptrana.attack", kind="pipeline_error")
    opened(hec, context=WITH_DATASETS).deliver(
        Unit("siemtap", "siemtap.health"), [own, failed], None
    )
    first, second = hec.indexed
    assert (first["sourcetype"], first["source"]) == ("siemtap:health", "siemtap://siemtap")
    assert second["sourcetype"] == "apptrana:attack"
    assert json.loads(second["raw"])["event"]["kind"] == "pipeline_error"


def test_a_time_before_1970_is_left_to_splunk(hec, opened):
    """As in the stream of a modular input, which has no <time> then."""
    early = {**event(1), "@timestamp": "1969-12-31T23:59:59.000Z"}
    opened(hec, worker=1).deliver(UNIT, [event(0), early, event(2)], None)
    assert [(each["time"] is None, each["is_time_extracted"]) for each in hec.indexed] == [
        (False, False),
        (True, True),
        (False, False),
    ]


def test_requests_are_bounded_in_bytes(hec, opened):
    output = opened(hec, bulk_max_bytes=1500, compression_level=0, worker=1)
    output.deliver(UNIT, [*EVENTS, event(9, message="x" * 5000)], None)
    sizes = [len(body) for _, _, body in hec.requests]
    assert all(size <= 1500 for size in sizes[:-1]) and sizes[-1] > 5000 and len(sizes) >= 2
    assert len(hec.ids()) == 6 and output.counts["requests"] == len(sizes)


@pytest.mark.parametrize("level", [0, 1, 9])
def test_compression(hec, opened, level):
    opened(hec, compression_level=level).deliver(UNIT, [event(n) for n in range(50)], None)
    ((_, headers, body),) = hec.requests
    assert (headers.get("Content-Encoding") == "gzip") == bool(level)
    assert (gzip.decompress(body) if level else body).startswith(b'{"host":')


# What an answer means


def test_an_invalid_event_is_rejected_and_the_others_are_delivered(hec, opened, monkeypatch):
    """Those before it are indexed already (reported), so they come twice."""
    output = opened(hec)
    line = output._line

    def broken(unit, made):
        made_line = line(unit, made)
        is_bad = made["event"]["id"] in (IDS[2], IDS[4])
        return made_line._replace(body=b'{"event":""}\n') if is_bad else made_line

    monkeypatch.setattr(output, "_line", broken)
    refused = output.deliver(UNIT, EVENTS, None)
    assert sorted((made["event"]["id"], why) for made, why in refused) == [
        (IDS[2], "400 code 13: Event field cannot be blank"),
        (IDS[4], "400 code 13: Event field cannot be blank"),
    ]
    assert set(hec.ids()) == {IDS[0], IDS[1], IDS[3]}


@pytest.mark.parametrize("number", [{}, {"invalid-event-number": 99}])
def test_an_invalid_event_that_is_not_named_is_found_by_halves(hec, opened, monkeypatch, number):
    output = opened(hec)
    bad = json.dumps(IDS[3]).encode()[1:-1]

    def refuse(handler):
        body = hec.requests[-1][2]
        body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        hec.faults.append(refuse)
        if bad in body:
            return handler.answer(6, **number)
        handler.index(body)
        return handler.answer(0)

    hec.faults = [refuse]
    ((made, why),) = output.deliver(UNIT, EVENTS, None)
    assert made["event"]["id"] == IDS[3] and why == "400 code 6: Invalid data format"
    assert sorted(hec.ids()) == sorted(set(IDS) - {IDS[3]})


def test_a_request_that_is_too_large_is_halved_and_one_event_rejected(hec, opened):
    hec.max_content_length = 1200
    output = opened(hec, compression_level=0)
    ((made, why),) = output.deliver(UNIT, [*EVENTS, event(9, message="x" * 5000)], None)
    assert made["event"]["id"] == f"{9:032x}" and why == "413"
    assert sorted(hec.ids()) == IDS
    hec.requests.clear()
    output.counts.clear()
    hec.max_content_length = 4000
    output.deliver(UNIT, [event(n) for n in range(20, 60)], None)
    assert output.counts["requests"] == len(hec.requests) > 3, "none was too large again"


@pytest.mark.parametrize("code", [8, 9, 23, 26, 27])
def test_a_server_that_is_busy_gets_the_events_again(hec, opened, code):
    hec.faults = [code, code]
    output = opened(hec)
    assert output.deliver(UNIT, EVENTS, None) == []
    assert hec.ids() == IDS and output.counts["waits"] == 2


@pytest.mark.parametrize("code", [24, 25])
def test_a_warning_of_capacity_is_a_success(hec, opened, code):
    hec.faults = [code]
    opened(hec).deliver(UNIT, EVENTS, None)
    assert hec.ids() == IDS and len(hec.requests) == 1


def test_a_server_that_stays_busy_is_a_retry(hec, opened):
    hec.faults = [9] * 10_000
    with pytest.raises(Retry, match="503 code 9: Server is busy; 5 of 5 events wait"):
        opened(hec).deliver(UNIT, EVENTS, None)


@pytest.mark.slow
def test_retry_after_is_obeyed(hec, opened, monkeypatch):
    hec.faults, hec.headers = [9], {"retry-after": "7"}
    with pytest.raises(Retry) as raised:
        opened(hec).deliver(UNIT, EVENTS, None)
    assert raised.value.after == 7000 and len(hec.requests) == 1
    hec.faults, hec.headers = [26], {"retry-after": "1"}
    monkeypatch.setattr(hec_output, "PATIENCE", 5.0)
    began = time.monotonic()
    opened(hec).deliver(UNIT, EVENTS, None)
    assert time.monotonic() - began >= 1 and hec.ids() == IDS


@pytest.mark.parametrize(
    "more, error, text",
    [
        ({"token": "00000000-0000-0000-0000-000000000000"}, AuthError, "code 4: Invalid token"),
        ({"disabled": True}, AuthError, "code 1: Token disabled; check `token`"),
        ({"indexes": ("other",)}, ConfigError, "code 7: Incorrect index; allow the index"),
        ({"ack": True}, ConfigError, "code 10: Data channel is missing.*set `ack: true`"),
    ],
)
def test_a_person_must_act(hec, opened, more, error, text):
    hec.__dict__.update(more)
    output = opened(hec, ack=False, index="main")
    with pytest.raises(error, match=text) as raised:
        output.deliver(UNIT, EVENTS, None)
    assert TOKEN not in str(raised.value) and hec.url in str(raised.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page, error, text",
    [
        ((200, b"<html>login</html>"), Retry, "not one of HEC"),
        ((200, b'{"text":"Success"}'), Retry, "not one of HEC"),
        ((200, b'{"code":true}'), Retry, "not one of HEC"),
        ((200, b'{"code":6,"text":"Invalid data format"}'), None, None),
        ((302, b""), Retry, "not one of HEC"),
        ((403, b"<html>blocked</html>"), Retry, "not one of HEC"),
        ((400, b'{"text":"No data","code":5}'), Retry, "code 5: No data"),
        ((401, b""), AuthError, "check `token`"),
        ((404, b""), ConfigError, "no HEC at this address"),
        ((404, b'{"text":"x","code":404}'), ConfigError, "no HEC at this address"),
        ((415, b"<html>"), ConfigError, "compression_level: 0"),
        ((502, b"<html>bad gateway</html>"), Retry, "502"),
        ((500, b"[" * 100_000), Retry, "500"),
    ],
)
def test_answers_of_something_else(hec, opened, page, error, text):
    """Nothing counts as delivered but HEC's own success."""
    hec.faults = [lambda handler: handler.send(*page, "application/json")] * 1000
    output = opened(hec)
    if error is None:  # HEC blames the events, whatever the status
        assert len(output.deliver(UNIT, EVENTS, None)) == 5
        return
    with pytest.raises(error, match=text):
        output.deliver(UNIT, EVENTS, None)


# Failures on the way


def test_a_lost_answer_is_sent_again(hec, opened):
    hec.faults = ["lost"]
    opened(hec).deliver(UNIT, EVENTS, None)
    assert hec.ids() == IDS + IDS, "the same ids"
    hec.indexed.clear()
    hec.faults = ["dropped"]
    opened(hec).deliver(UNIT, EVENTS, None)
    assert hec.ids() == IDS


@pytest.mark.slow
def test_a_dripping_answer_ends(hec, opened):
    hec.faults = ["drip"]
    began = time.monotonic()
    opened(hec, timeout="1s").deliver(UNIT, EVENTS, None)
    assert time.monotonic() - began < 10 and set(hec.ids()) == set(IDS)


def test_what_was_delivered_before_a_failure_is_not_sent_again(hec, opened):
    output = opened(hec, bulk_max_bytes=1024, worker=1, compression_level=0)
    hec.faults = [None, *[9] * 10_000]
    with pytest.raises(Retry):
        output.deliver(UNIT, EVENTS, None)
    assert 0 < len(hec.ids()) < 5
    hec.faults = []
    output.deliver(UNIT, EVENTS, None)
    assert hec.ids() == IDS and not output.delivered
    output.deliver(UNIT, EVENTS[:1], None)
    assert hec.ids() == [*IDS, IDS[0]], "remembered for that one delivery"


def test_a_stop_ends_the_wait(hec, opened):
    stopping = threading.Event()
    stopping.set()
    hec.faults = [9]
    with pytest.raises(Retry):
        opened(hec, context=OutputContext(stopping=stopping)).deliver(UNIT, EVENTS, None)
    assert len(hec.requests) == 1


def test_another_host_stands_in(opened):
    with Hec() as first, Hec() as second:
        output = opened(first, second)
        first.faults = [23]
        output.deliver(UNIT, EVENTS, None)
        assert second.ids() == IDS and not first.indexed
        for _ in range(3):
            output.deliver(UNIT, EVENTS, None)
        assert not first.indexed, "it rests, while another one works"
        first.__exit__()
        output = opened(first, second)
        for _ in range(4):
            output.deliver(UNIT, EVENTS, None)
        assert len(second.ids()) == 40 and output.counts["waits"] == 0


def test_how_long_a_host_rests():
    now = [0.0]
    hosts = Hosts(["https://a.example.com/", "https://b.example.com"], lambda: now[0])
    rests = []
    for asked in (0.0, 0.0, 30.0, 0.0, 0.0, 0.0):
        began = now[0]
        hosts.failed("https://a.example.com", asked)
        while "https://a.example.com" not in {hosts.in_turn()[0], hosts.in_turn()[0]}:
            now[0] += 1.0
        rests.append(now[0] - began)
    assert rests == [2, 4, 30, 16, 32, 60]
    hosts.failed("https://a.example.com")
    hosts.worked("https://a.example.com")
    assert {hosts.in_turn()[0], hosts.in_turn()[0]} == set(hosts.hosts)


def test_hosts_take_turns(opened):
    with Hec() as first, Hec() as second:
        output = opened(first, second)
        for _ in range(4):
            output.deliver(UNIT, EVENTS, None)
        assert len(first.requests) == len(second.requests) == 2


def test_a_stop_ends_the_trying_of_hosts(opened):
    with Hec() as first, Hec() as second:
        stopping = threading.Event()

        def stop(handler):
            stopping.set()
            handler.answer(9)

        first.faults = [stop]
        with pytest.raises(Retry):
            opened(first, second, context=OutputContext(stopping=stopping)).deliver(
                UNIT, EVENTS, None
            )
        assert not second.requests


def test_all_hosts_fail(opened):
    with Hec() as first, Hec() as second:
        first.faults, second.faults = [9] * 10_000, [8] * 10_000
        with pytest.raises(Retry) as raised:
            opened(first, second).deliver(UNIT, EVENTS, None)
        assert first.url in str(raised.value) and second.url in str(raised.value)


# Settings


def test_hosts_are_addresses_without_a_path():
    with pytest.raises(ConfigError, match="siemtap adds /services/collector"):
        fill_in(
            Settings, {"token": "x", "hosts": ["https://splunk.example.com/services/collector"]}
        )
    with pytest.raises(ConfigError, match="token"):
        fill_in(Settings, {})
