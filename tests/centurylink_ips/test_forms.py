"""What is pushed, in every form, hostile ones too: an event or a Malformed, and never anything
else."""

import base64
import json
import time

import jsonschema
import pytest
from centurylink_ips import PLUGIN
from centurylink_ips.formats import moment, records, slack
from centurylink_ips.mapping import EVENT, duration, target
from centurylink_ips.simulator import FORMATS, Knobs, Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from siemtap import contract
from siemtap.core.convert import instant
from siemtap.core.errors import Malformed
from siemtap.core.forms import Every
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Payload
from siemtap.engine import spooled, voice
from siemtap.render.datasets import schema_of

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
            row.theirs
            for row in EVENT.rows
            if isinstance(getattr(row, "theirs", None), str) and not row.theirs.startswith("@")
        ]
    ),
    JSON,
    min_size=1,
    max_size=12,
)


def told(body, channel="webhook", headers=None, **more):
    say = voice(PLUGIN, fill_in(PLUGIN.settings, more), fill_in(Every, {}), {}, lambda: None)
    payload = Payload(
        body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"),
        channel,
        "",
        "192.0.2.1",
        NOON,
        headers or {},
    )
    return [
        event
        for batch in PLUGIN.receive(fill_in(PLUGIN.settings, more), payload)
        for event in say(batch)
    ]


@pytest.fixture(scope="module")
def check():
    """The reason why an event breaks the contract, or None; by the authority, which runs
    everywhere."""
    formats = jsonschema.FormatChecker(["ipv4", "ipv6"])
    validators = {
        dataset.name: jsonschema.Draft7Validator(
            schema_of(contract.read("event.schema.json"), dataset), format_checker=formats
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


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_of_the_sender_is_one_event_with_the_id_it_names(form):
    for sent in Simulator(Knobs(formats=(form,), seed=7, rate=1.0)).pushed(NOON - 20_000, NOON):
        (event,) = told(
            sent.body,
            "udp" if sent.channel == "syslog" else "webhook",
            {name.lower(): value for name, value in sent.headers.items()},
        )
        assert (
            (event["event"]["id"],) == sent.ids
            and event["event"]["kind"] == "alert"
            and event["source"]["ip"]
            and event["network"]["bytes"]
        )


def test_the_same_event_has_one_id_as_object_array_and_wrapper():
    ids = {
        form: [
            id
            for sent in Simulator(Knobs(formats=(form,), rate=1.0)).pushed(NOON - 5_000, NOON)
            for id in sent.ids
        ]
        for form in ("json", "array", "wrapper")
    }
    assert ids["json"] == ids["array"] == ids["wrapper"] and len(set(ids["json"])) == 5


@settings(max_examples=300, deadline=None)
@given(VENDOR | st.lists(VENDOR, max_size=3) | JSON)
def test_any_json_is_events_that_keep_the_contract(check, said):
    body = json.dumps(said)
    for event in told(body):
        assert check(event) is None, check(event)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300)
    | st.text(max_size=300).map(lambda said: said.encode("utf-8", "surrogatepass")),
    st.sampled_from(["webhook", "udp", "tcp"]),
    st.sampled_from(
        [{}, {"content-encoding": "gzip"}, {"content-type": "application/x-www-form-urlencoded"}]
    ),
)
def test_any_bytes_are_events_or_malformed(check, body, channel, headers):
    try:
        found = told(body, channel, headers)
    except Malformed:
        return
    assert all(check(event) is None for event in found)
    assert (
        found or not body.decode("utf-8-sig", "replace").strip("\r\n\0 \t") or channel != "webhook"
    )


@settings(max_examples=200, deadline=None)
@given(
    st.text("CEF:0|TrendMico \\=Deep Scurity Agent|1000128srcdtp=.\n\t<134>Mar410:2", max_size=200)
)
def test_what_looks_like_syslog_is_events(check, said):
    assert all(
        check(event) is None
        for event in told(
            "<134>Mar  4 10:02:13 dsm01 CEF:0|Trend Micro|Deep Security"
            f" Agent|20|1000128|n|8|{said}",
            "udp",
        )
    )


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.text(max_size=120))
def test_slacks_payload_comes_back_whole_and_gives_no_field(rule, data):
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
def test_the_number_of_digits_tells_the_unit(seconds):
    seconds = 1_000_000_000 + seconds % 8_000_000_000
    assert {moment(seconds * unit) for unit in (1, 1_000, 1_000_000, 1_000_000_000)} == {
        moment(str(seconds))
    } and instant(moment(seconds)) == moment(seconds)


@pytest.mark.parametrize(
    "said",
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
def test_what_is_no_time(said):
    assert moment(said) is None


def test_a_duration_that_an_index_cannot_hold_is_none():
    ends = [
        duration(f"{year}-03-04T10:02:13Z", "2026-03-04T10:02:14Z", json_timezone="UTC")
        for year in ("2026", "1734", "1733", "0001")
    ]
    assert ends == [1_000_000_000, 9_214_646_401_000_000_000, None, None]


def test_digits_of_another_script_are_no_port():
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
    ids=lambda said: said[:20],
)
def test_no_payload_takes_long(hostile):
    began = time.process_time()
    for channel in ("webhook", "udp"):
        told(hostile, channel)
    assert time.process_time() - began < 4.0


def test_a_form_of_too_many_fields_is_a_text():
    (event,) = told(
        "&".join(f"a{number}=1" for number in range(60)),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert event["event"]["kind"] == "pipeline_error"


def test_a_payload_that_breaks_a_plugin_holds_up_none_behind_it():
    """Out of the spool: whatever one of them does, the next one's turn comes."""

    class Spool:
        def read(self, cursor, at_most):
            return (
                (
                    [
                        Payload(b"first", "udp", received=NOON),
                        Payload(b"breaks", "udp", received=NOON),
                        Payload(b"last", "udp", received=NOON),
                    ],
                    {"offset": 1},
                )
                if not cursor
                else ([], cursor)
            )

        def forget(self, cursor):
            pass

    def receive(payload):
        if payload.body == b"breaks":
            raise KeyError("a mistake of ours")
        yield Batch(EVENT, [payload.body.decode()], {}, payload.received)

    (batch,) = spooled(Spool(), {}, receive, EVENT)
    assert batch.records == ["first", "breaks", "last"] and batch.cursor == {"offset": 1}


def test_a_secret_packet_is_in_no_message():
    """Payload bytes never reach `message`, whatever is asked for."""
    for sent in Simulator(Knobs(rate=1.0)).pushed(NOON - 8_000, NOON):
        for event in told(
            sent.body,
            "udp" if sent.channel == "syslog" else "webhook",
            {name.lower(): value for name, value in sent.headers.items()},
            decode_data="true",
        ):
            assert "secret.cfg" not in event["message"] and "secret.cfg" in json.dumps(event)


def test_nothing_is_dropped_but_what_was_not_wanted():
    firewall = {
        "EventType": "PacketLog",
        "Hostname": "a",
        "LogDate": "2026-03-04T10:02:13Z",
        "Reason": "x",
    }
    assert [event["centurylink_ips"]["kind"] for event in told(json.dumps(firewall))] == [
        "firewall"
    ] and told(json.dumps(firewall), other_events="drop") == []
    assert (
        len(
            records(
                fill_in(PLUGIN.settings, {"other_events": "drop"}),
                Payload(b"no event", "udp", received=NOON),
            )
        )
        == 1
    )
