"""Received payloads in every format, malicious ones too: each becomes an event or Malformed."""

import base64
import json
import time

import jsonschema
import pytest
from centurylink_ips import PLUGIN
from centurylink_ips.formats import records
from centurylink_ips.mapping import EVENT, duration, target
from centurylink_ips.simulator import Knobs, Simulator
from centurylink_ips.simulator_knobs import FORMATS
from centurylink_ips.slack import slack
from centurylink_ips.times import moment
from hypothesis import given, settings
from hypothesis import strategies as st

from siemtap.core.convert import instant
from siemtap.core.errors import Malformed
from siemtap.core.manifest import fill_in
from siemtap.core.model import Payload, Records
from siemtap.core.settings import CommonSettings
from siemtap.core.windows import DAY, HOUR
from siemtap.edge import schemas
from siemtap.engine.feeds import spooled_batches
from siemtap.engine.mapper import batch_mapper
from siemtap.render.datasets import schema_of
from siemtap.testing.cases import batches_of

SETTINGS = fill_in(PLUGIN.settings, {})
NOON = 1_772_625_600_000
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
VENDOR = st.dictionaries(
    st.sampled_from(
        [
            row.source
            for row in EVENT.rows
            if isinstance(getattr(row, "source", None), str) and not row.source.startswith("@")
        ]
    ),
    JSON,
    min_size=1,
    max_size=12,
)


def events_of(body, channel="webhook", headers=None, now=NOON, **more):
    map_batch = batch_mapper(
        PLUGIN, fill_in(PLUGIN.settings, more), fill_in(CommonSettings, {}), {}, lambda: None
    )
    payload = Payload(
        body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"),
        channel,
        "",
        "192.0.2.1",
        now,
        headers or {},
    )
    return [
        event
        for batch in batches_of(PLUGIN, fill_in(PLUGIN.settings, more), payload)
        for event in map_batch(batch)
    ]


@pytest.fixture(scope="module")
def check():
    """Return a function that returns why an event breaks the schema, or None. It uses the
    validator that runs on every Python."""
    formats = jsonschema.FormatChecker(["ipv4", "ipv6"])
    validators = {
        dataset.name: jsonschema.Draft7Validator(
            schema_of(schemas.read("event.schema.json"), dataset), format_checker=formats
        )
        for dataset in PLUGIN.datasets
    }
    return lambda event: next(
        (
            f"{error.json_path}: {error.message}"
            for error in validators[event["event"]["dataset"]].iter_errors(event)
        ),
        None,
    )


@pytest.mark.parametrize("now", [NOON, NOON + 24 * DAY - 11 * HOUR], ids=["Mar  4", "Mar 28 01:"])
@pytest.mark.parametrize("form", FORMATS)
def test_each_format_of_the_sender_is_one_event_with_its_id(form, now):
    for sent in Simulator(Knobs(formats=(form,), seed=7, rate=1.0)).pushed(now - 20_000, now):
        (event,) = events_of(
            sent.body,
            "udp" if sent.channel == "syslog" else "webhook",
            {name.lower(): value for name, value in sent.headers.items()},
            now,
        )
        assert (
            (event["event"]["id"],) == sent.ids
            and event["event"]["kind"] != "pipeline_error"
            and (form == "classes" or event["source"]["ip"])
            and (form in ("classes", "leef") or event["network"]["bytes"])
        )


def test_object_array_and_wrapper_give_the_same_id():
    ids = {
        form: [
            id
            for sent in Simulator(Knobs(formats=(form,), rate=1.0)).pushed(NOON - 5_000, NOON)
            for id in sent.ids
        ]
        for form in ("json", "array", "wrapper")
    }
    assert ids["json"] == ids["array"] == ids["wrapper"] and len(set(ids["json"])) == 5


@pytest.mark.slow
@settings(max_examples=150)
@given(VENDOR | st.lists(VENDOR, max_size=3) | JSON)
def test_any_json_becomes_events_that_pass_the_schema(check, value):
    body = json.dumps(value)
    for event in events_of(body):
        assert check(event) is None, check(event)


@settings(max_examples=150)
@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(lambda value: value.encode("utf-8", "surrogatepass")),
    st.sampled_from(["webhook", "udp", "tcp"]),
    st.sampled_from(
        [{}, {"content-encoding": "gzip"}, {"content-type": "application/x-www-form-urlencoded"}]
    ),
)
def test_any_bytes_become_events_or_malformed(check, body, channel, headers):
    try:
        parsed = events_of(body, channel, headers)
    except Malformed:
        return
    assert all(check(event) is None for event in parsed)
    assert (
        parsed or not body.decode("utf-8-sig", "replace").strip("\r\n\0 \t") or channel != "webhook"
    )


@pytest.mark.slow
@settings(max_examples=200)
@given(
    st.text("CEF:0|TrendMico \\=Deep Scurity Agent|1000128srcdtp=.\n\t<134>Mar410:2", max_size=200)
)
def test_text_that_resembles_syslog_becomes_events(check, value):
    assert all(
        check(event) is None
        for event in events_of(
            "<134>Mar  4 10:02:13 dsm01 CEF:0|Trend Micro|Deep Security"
            f" Agent|20|1000128|n|8|{value}",
            "udp",
        )
    )


@settings(max_examples=200)
@given(st.text(max_size=80), st.text(max_size=120))
def test_data_in_slack_text_is_kept_whole_and_sets_no_other_field(rule, data):
    text = (
        "An IPS Event has been caught by our AGENT on WEB01\nOn Wed Mar 04 10:02:13 UTC 2026\nRule"
        f" Name: x\nAction Taken: Reset\nData: {data}"
    )
    record = slack(text)
    assert (
        base64.b64decode(record.get("data", "")).decode("utf-8", "surrogatepass") == data
        and record["action"] == "Reset"
        and record["hostName"] == "WEB01"
    )
    assert slack(rule) is None or "caught by our" in rule


@given(st.integers(0, 4_102_444_799))
def test_unit_of_a_timestamp_is_told_by_its_digits(seconds):
    seconds = 1_000_000_000 + seconds % 8_000_000_000
    assert {moment(seconds * unit) for unit in (1, 1_000, 1_000_000, 1_000_000_000)} == {
        moment(str(seconds))
    } and instant(moment(seconds)) == moment(seconds)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        True,
        "soon",
        "2026-02-30T00:00:00Z",
        17,
        -5,
        1e30,
        "Wed Foo 04 10:02:13 UTC 2026",
        "Wed Feb 30 10:02:13 UTC 2026",
        [],
        {},
    ],
)
def test_invalid_times(value):
    assert moment(value) is None


def test_duration_beyond_64_bits_is_omitted():
    ends = [
        duration(f"{year}-03-04T10:02:13Z", "2026-03-04T10:02:14Z", json_timezone="UTC")
        for year in ("2026", "1734", "1733", "0001")
    ]
    assert ends == [1_000_000_000, 9_214_646_401_000_000_000, None, None]


def test_non_ascii_digits_are_not_a_port():
    assert [
        target(f"192.0.2.1:{port}/16", "SYSLOG", "port")
        for port in ("514", "\u00b2", "\u0664", "9" * 20)
    ] == [514, None, None, None]


@pytest.mark.parametrize(
    "hostile",
    [
        "[" * 100_000,
        '{"a":' * 50_000,
        "An IPS Event has been caught by our A on B\n" + "x: y\n" * 60_000,
        "An IPS Event has been caught by our " + "A " * 100_000,
        "payload=" + "%7B" * 100_000,
        "CEF:" * 100_000,
        "<134>Mar  4 10:02:13 a CEF:0|a|b|c|d|e|f|" + "k=v " * 60_000,
        '{"text": "' + "Data: " * 60_000 + '"}',
        json.dumps(
            {
                "data": "A" * 1_000_000,
                "hostName": "x",
                "reason": "1" * 500_000,
                "flags": "a " * 200_000,
            }
        ),
    ],
    ids=lambda value: value[:20],
)
def test_malicious_payloads_are_parsed_quickly(hostile):
    began = time.process_time()
    for channel in ("webhook", "udp"):
        events_of(hostile, channel)
    assert time.process_time() - began < 4.0


def test_form_with_too_many_fields_is_read_as_text():
    (event,) = events_of(
        "&".join(f"a{number}=1" for number in range(60)),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert event["event"]["kind"] == "pipeline_error"


class SpoolOf:
    """A spool with these payloads."""

    def __init__(self, payloads):
        self.payloads = payloads

    def read(self, cursor, at_most):
        return ([], cursor) if cursor else (self.payloads, {"offset": 1})

    def delete_before(self, cursor):
        pass


def test_payload_that_breaks_the_plugin_does_not_block_later_ones():
    """The payloads are read from the spool; whatever error one raises, the next is read."""

    def receive(payload):
        if payload.body == b"breaks":
            raise KeyError("a mistake of ours")
        yield Records(EVENT, [payload.body.decode()])

    spool = SpoolOf(
        [Payload(body, "udp", received=NOON) for body in (b"first", b"breaks", b"last")]
    )
    (batch,) = spooled_batches(spool, {}, receive, EVENT)
    assert batch.records == ["first", "breaks", "last"] and batch.cursor == {"offset": 1}


def test_packet_data_is_never_in_message():
    """Whatever the settings, payload bytes of a packet are not in `message`."""
    formats = [form for form in FORMATS if form not in ("classes", "leef")]  # they have no packet
    for sent in Simulator(Knobs(rate=1.0, formats=formats)).pushed(NOON - 8_000, NOON):
        for event in events_of(
            sent.body,
            "udp" if sent.channel == "syslog" else "webhook",
            {name.lower(): value for name, value in sent.headers.items()},
            decode_data="true",
        ):
            assert "secret.cfg" not in event["message"] and "secret.cfg" in json.dumps(event)


def test_other_events_drop_drops_only_parsed_events():
    firewall = {
        "EventType": "PacketLog",
        "Hostname": "a",
        "LogDate": "2026-03-04T10:02:13Z",
        "Reason": "x",
    }
    assert [event["centurylink_ips"]["kind"] for event in events_of(json.dumps(firewall))] == [
        "firewall"
    ] and events_of(json.dumps(firewall), other_events="drop") == []
    assert (
        len(
            records(
                fill_in(PLUGIN.settings, {"other_events": "drop"}),
                Payload(b"no event", "udp", received=NOON),
            )
        )
        == 1
    )
