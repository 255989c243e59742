"""Ids of received events: events that differ in any value have different ids, and a repeated
event has the same id."""

import gzip
import json
import zlib
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from centurylink_ips import PLUGIN, formats
from centurylink_ips.simulator import Knobs, Simulator
from centurylink_ips.simulator_knobs import FORMATS
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from siemtap.core.convert import MONTHS, instant, millis_of
from siemtap.core.errors import Malformed
from siemtap.core.identity import BLANKS, canonical
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Payload
from siemtap.core.settings import CommonSettings
from siemtap.edge.encode import encode
from siemtap.engine.mapper import batch_mapper
from siemtap.testing.cases import batches_of

NOON = 1_772_625_600_000  # 2026-03-04T12:00:00Z
AT = datetime(2026, 3, 4, 10, 2, 13, tzinfo=timezone.utc)
CEF = (
    "CEF:0|Trend Micro|Deep Security Agent|20.0.1234|4000000|Eicar_test_file|6|cn1=12 cn1Label=Host"
    " ID dvchost=web01.example.com filePath=/srv/up/a.bin act=Delete result=Deleted msg=Realtime"
)
LEEF = (
    "LEEF:2.0|Trend Micro|Deep Security Manager|20.0.513|600|cat=System\tname=User Signed"
    " In\tsev=3\tmsg=alice"
)
WORD = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
MANAGERS = {
    "EventType": "SystemEvent",
    "EventID": 4711,
    "LogDate": "2026-03-04T10:02:13Z",
    "Title": "User Signed In",
    "TargetName": "alice",
    "Tags": ["a"],
    "Hostname": "dsm01",
}
WEBHOOKS = {
    "hostName": "VA1ACMEWEB01",
    "driverTime": 1772618533417,
    "reason": "1000128 - x",
    "flags": "SYN",
    "rank": 50,
}
SLACKS = {
    "username": "bot",
    "text": "An IPS Event has been caught by our AGENT on WEB01\nRule Name: x\nData: GET /",
}


def events(body, channel="udp", received=NOON, headers=None, **more):
    """Return the events of a payload."""
    body = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    options = fill_in(PLUGIN.settings, more)
    map_batch = batch_mapper(PLUGIN, options, fill_in(CommonSettings, {}), {}, lambda: None)
    payload = Payload(body, channel, "", "192.0.2.1", received, headers or {})
    return [event for batch in batches_of(PLUGIN, options, payload) for event in map_batch(batch)]


def id_of(body, channel="udp", received=NOON):
    (event,) = events(body, channel, received)
    return event["event"]["id"]


def headers_of(moment, fraction="", host="dsm01", priority=134):
    """Return every syslog header that a relay may write for the same time."""
    local = moment.astimezone(timezone(timedelta(hours=6, minutes=30)))
    bsd = f"{MONTHS[moment.month - 1]} {moment.day:2d}"
    iso = f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}"
    yield f"<{priority}>{bsd} {moment:%H:%M:%S}{fraction} {host} "
    yield f"<{priority}>{bsd} {moment:%Y %H:%M:%S}{fraction} {host} "
    yield f"{bsd} {moment:%H:%M:%S}{fraction} {host} ds[42]: "
    yield f"<{priority}>{iso}Z {host} "
    yield f"<{priority}>{iso}+00:00 {host} "
    yield f"<{priority}>{local:%Y-%m-%dT%H:%M:%S}{fraction}+06:30 {host} ds: "
    yield f"<{priority}>1 {iso}Z {host} ds 42 - - "
    yield f'<{priority}>1 {iso}{"0" if fraction else ".000"}Z {host} - - - [x@1 a="b"] \ufeff'
    yield f"<13>{bsd} {moment:%H:%M:%S} relay <{priority}>{iso}Z {host} "
    yield (
        f"<13>1 {moment + timedelta(seconds=3):%Y-%m-%dT%H:%M:%SZ} relay - - - - <{priority}>{bsd}"
        f" {moment:%H:%M:%S}{fraction} {host} "
    )
    yield f"<{priority}>{iso} {host} "


@pytest.mark.parametrize("text", [CEF, LEEF])
@pytest.mark.parametrize("fraction", ["", ".25"])
def test_id_does_not_depend_on_the_header_of_a_relay(text, fraction):
    lines = [head + text for head in headers_of(AT, fraction)] + [
        head + text for head in headers_of(AT, fraction, "relay", 13)
    ]
    lines += [f"{len(line.encode())} {line}" for line in lines if line.startswith("<")]
    results = {
        id_of(line, channel) for line in lines for channel in ("udp", "tcp", "webhook", "replay")
    }
    assert len(results) == 1
    moved = [head + text for head in headers_of(AT + timedelta(seconds=1), fraction)]
    assert len({id_of(line) for line in moved}) == 1 and id_of(moved[0]) not in results


def test_id_does_not_depend_on_the_space_that_rsyslog_adds_after_a_tag():
    head = "<134>2026-03-04T10:02:13Z dsm01 "
    assert id_of(head + CEF) == id_of(head + CEF.replace("CEF:", "CEF: "))


def test_id_depends_on_fractional_seconds_without_trailing_zeros():
    lines = [
        f"<134>2026-03-04T10:02:13{fraction}Z dsm01 {CEF}"
        for fraction in ("", ".25", ".250", ".250000", ".250001", ".2500011")
    ]
    results = [id_of(line) for line in lines]
    assert results[1] == results[2] == results[3] and len(set(results)) == 4


def test_id_without_a_timestamp_does_not_depend_on_the_arrival():
    assert id_of(CEF, received=NOON) == id_of("<134>" + CEF, received=NOON + 86_400_000)


@pytest.mark.parametrize(
    "stamps",
    [
        [
            "1 2026-03-04T10:02:13.1234567891Z dsm01 - - - - ",
            "1 2026-03-04T11:02:13.1234567891Z dsm01 - - - - ",
            "1 1772618533 dsm01 - - - - ",
        ],
        ["Feb 30 10:02:13 dsm01 ", "Feb 31 10:02:13 dsm01 "],
        ["Mar  4 10:02:59 dsm01 ", "Mar  4 10:02:60 dsm01 "],
        ["Jan  1 0001 00:00:00 dsm01 ", "Jan  2 0000 00:00:00 dsm01 "],
    ],
)
def test_lines_with_different_unreadable_timestamps_have_different_ids(stamps):
    results = [event for stamp in stamps for event in events(f"<134>{stamp}{CEF}")]
    assert len({event["event"]["id"] for event in results}) == len(stamps)
    for event, stamp in zip(results, stamps):
        unread = event["centurylink_ips"]["time_source"] == "arrival"
        assert not unread or event["centurylink_ips"]["extra"]["stamp"] in stamp


ODD = [
    "<134>Mar  4 10:02:13 host CEF:0|a|b|c|\u00b2|n|3|x=1",
    "<134>Jan  1 0001 00:00:00 h CEF:0|a|b|c|1|n|3|x=1",
    "<134>Dec 31 9999 23:59:59 h CEF:0|a|b|c|1|n|3|in=\u00b2",
    "<134>9999-12-31T23:59:59 h CEF:0|a|b|c|1|n|3|x=1",
]


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("odd", ODD)
def test_odd_line_does_not_affect_other_lines(odd, timezone):
    lines = [f"<134>Mar  4 10:02:13 dsm01 {CEF} n={number}" for number in range(20)]
    results = events("\n".join([*lines, odd]), "webhook", syslog_timezone=timezone)
    assert len(results) == 21 and len({event["event"]["id"] for event in results}) == 21
    assert sum(event["event"]["kind"] != "pipeline_error" for event in results) >= 20


@pytest.mark.parametrize("between", ["# replay", "-- MARK --", "xx"])
def test_line_of_another_format_does_not_affect_other_lines(between):
    lines = [f"<134>Mar  4 10:02:13 dsm01 {CEF} n={number}" for number in range(8)]
    for channel in ("udp", "webhook"):
        results = events("\n".join([*lines[:4], between, *lines[4:]]), channel)
        assert [event["event"]["kind"] for event in results].count("pipeline_error") == 1 and len(
            results
        ) == 9


@pytest.mark.parametrize("encoding", ["latin-1", "shift-jis"])
def test_events_that_differ_in_invalid_utf_8_have_different_ids(encoding):
    values = {
        "latin-1": ["caf\u00e9", "caf\u00e8", "caf\u00ea"],
        "shift-jis": ["\u3042", "\u3044", "\u3046"],
    }[encoding]
    for form in (
        lambda word: f"<134>Mar  4 10:02:13 dsm01 {CEF} suser={word}",
        lambda word: json.dumps({**MANAGERS, "TargetName": word}, ensure_ascii=False),
    ):
        bodies = [form(word).encode(encoding) for word in values]
        results = [event for body in bodies for event in events(body, "webhook")]
        assert len({event["event"]["id"] for event in results}) == 3 and all(
            event["event"]["kind"] != "pipeline_error" for event in results
        )
        assert "\\x" in json.dumps(results[0]).replace("\\\\", "\\")


def test_gzip_with_several_members_is_read_completely():
    lines = [f"<134>Mar  4 10:02:13 dsm01 {CEF} n={number}\n".encode() for number in range(2)]
    assert (
        len(
            events(
                b"".join(map(gzip.compress, lines)), "webhook", headers={"content-encoding": "gzip"}
            )
        )
        == 2
    )
    for body, encoding in (
        (gzip.compress(lines[0]) + b"rest", "gzip"),
        (zlib.compress(lines[0]), "deflate"),
        (lines[0], "br"),
    ):
        with pytest.raises(Malformed):
            events(body, "webhook", headers={"content-encoding": encoding})


@pytest.mark.parametrize("depth", [99, 150, 400, 900, 977, 980, 990])
def test_json_nested_too_deeply_becomes_an_event_that_can_be_encoded(depth):
    body = (
        '{"hostName": "h", "driverTime": 1772618533417250, "deep": '
        + "[" * depth
        + "]" * depth
        + "}"
    )
    for event in events(body, "webhook"):
        assert (
            event["event"]["kind"] == ("alert" if depth < 100 else "pipeline_error")
            and len(encode(event)) > 100
        )


def test_form_with_several_payloads_gives_an_event_for_each():
    two = [{**SLACKS, "text": SLACKS["text"] + str(number)} for number in range(2)]
    form = "&".join("payload=" + quote_plus(json.dumps(message)) for message in two)
    assert [event["event"]["kind"] for event in events(form, "webhook")] == ["alert", "alert"]


@pytest.mark.slow
@settings(max_examples=200)
@given(st.sampled_from([CEF, LEEF]), st.data())
def test_lines_that_differ_after_the_header_have_different_ids(text, data):
    at = data.draw(st.integers(0, len(text) - 1))
    word = data.draw(WORD)
    assume(at or ":" not in word)  # at the beginning it would be the tag of the header
    other = text[:at] + word + text[at + data.draw(st.integers(0, 2)) :]
    assume(other.strip(BLANKS) != text.strip(BLANKS))
    head = next(headers_of(AT))
    first, second = events(head + text), events(head + other)
    assert {event["event"]["id"] for event in first}.isdisjoint(
        event["event"]["id"] for event in second
    )


@pytest.mark.slow
@settings(max_examples=200)
@given(st.sampled_from([MANAGERS, WEBHOOKS, SLACKS]), st.data())
def test_json_elements_that_differ_anywhere_have_different_ids(element, data):
    name = data.draw(st.sampled_from([*element, "new", "@element", "@instant", "@when"]))
    other = {**element, name: data.draw(JSON)}
    if data.draw(st.booleans()):
        other = {key: value for key, value in element.items() if key != name}
    assume(canonical(other) != canonical(element))
    assert id_of(json.dumps(element), "webhook") != id_of(json.dumps(other), "webhook")


@pytest.mark.slow
@settings(max_examples=200)
@given(
    st.sampled_from([MANAGERS, WEBHOOKS, SLACKS]),
    st.randoms(use_true_random=False),
    st.dictionaries(st.text(max_size=8), JSON, max_size=3),
)
def test_id_does_not_depend_on_key_order_array_or_wrapper(element, generator, more):
    element = {**more, **element}
    names = list(element)
    generator.shuffle(names)
    shuffled = {name: element[name] for name in names}
    forms = [element, shuffled, [shuffled], {"events": [shuffled]}]
    assert (
        len(
            {
                id_of(
                    json.dumps(form, indent=generator.choice([None, 2])), "webhook", NOON + number
                )
                for number, form in enumerate(forms)
            }
        )
        == 1
    )


def test_id_of_the_webhook_object_uses_the_listed_fields():
    own = {**WEBHOOKS, "driverTime": 1772618533417250}
    assert id_of(json.dumps(own), "webhook") == id_of(
        json.dumps({**own, "flags": "ACK", "new": 1}), "webhook"
    )
    assert id_of(json.dumps(own), "webhook") == id_of(
        json.dumps({**own, "@element": "x", "@instant": "y"}), "webhook"
    )
    assert id_of(json.dumps(own), "webhook") != id_of(
        json.dumps({**own, "driverTime": 1772618533417251}), "webhook"
    )


@example([])
@settings(max_examples=100)
@given(
    st.lists(
        st.sampled_from(["alice", "bob", "/etc/passwd", "/etc/shadow", "web01", "web02"]),
        min_size=1,
        max_size=4,
        unique=True,
    )
)
def test_received_keys_cannot_replace_internal_keys(values):
    """A CEF label or a key of LEEF or JSON with the name of an internal key, such as `@element`,
    is an ordinary field."""
    lines = [f"{CEF} cs1={word} cs1Label=@element cs2=x cs2Label=@when" for word in values]
    lines += [f"{LEEF}\t@element={word}\t@instant=1" for word in values]
    results = [event for line in lines for event in events("<134>Mar  4 10:02:13 dsm01 " + line)]
    assert len({event["event"]["id"] for event in results}) == len(lines)
    assert all(event["@timestamp"] == "2026-03-04T10:02:13.000Z" for event in results)
    assert [event["centurylink_ips"]["extra"]["_@element"] for event in results] == values * 2


def test_all_events_of_the_simulator_and_the_cases_have_different_ids():
    ids = Counter(
        id for sent in Simulator(Knobs(rate=1.0)).pushed(NOON - 300_000, NOON) for id in sent.ids
    )
    assert len(ids) == 300 and max(ids.values()) == 1
    for case in ("cef_of_other_kinds", "lines_that_differ_in_one_word"):
        expected = json.loads(
            (Path(formats.__file__).parent / "cases" / case / "expected.json").read_text(
                encoding="utf-8"
            )
        )
        assert len({event["event"]["id"] for event in expected}) == len(expected) > 3


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("day", ["2026-03-04", "2026-11-28"])
@pytest.mark.parametrize("hour", [0, 2, 9, 13])
def test_ids_of_the_simulator_at_every_hour(form, day, hour):
    """Found by `ci/campaign outputs`: from the tenth day on, hours below ten were no stamps."""
    at = millis_of(instant(f"{day}T{hour:02d}:13:26.667Z"))
    simulated = Simulator(Knobs(formats=(form,)))
    message = simulated.sent(4_711, at)
    payload = Payload(
        message.body,
        channel="tcp" if message.channel == "syslog" else message.channel,
        received=at,
        headers={name.lower(): value for name, value in message.headers.items()},
    )
    common = fill_in(CommonSettings, {})
    map_batch = batch_mapper(
        PLUGIN, fill_in(PLUGIN.settings, {}), common, added_fields={}, created=lambda: ""
    )
    events = [
        event
        for records in PLUGIN.receive(fill_in(PLUGIN.settings, {}), payload)
        for event in map_batch(Batch(records.dataset, records.records, {}, at))
    ]
    assert tuple(event["event"]["id"] for event in events) == message.ids
