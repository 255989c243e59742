"""Delivery of the webhook with odd payloads: each is written or stays in the spool, and the
process continues."""

import io
import json
import logging
import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_input import (
    ERRORS,
    EVENT,
    FAILING_PLUGIN,
    FAILURES,
    NOW,
    ODD_PARTS,
    TEXT,
    VALUE,
    FakeStopEvent,
    definition,
    failing_payload,
    ids,
    props_for,
)
from splunk_breaker import break_events

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.identity import identify
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Payload, Unit
from siemtap.core.settings import CommonSettings, Receiving
from siemtap.edge.receive.delivered import DeliveredIds
from siemtap.edge.receive.receiver import RECEIVED, Receiver
from siemtap.edge.receive.spool import Spool
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.engine.mapper import batch_mapper
from siemtap.render import registry
from siemtap.splunk.runtime.names import App
from siemtap.splunk.runtime.parameters import settings_without_account
from siemtap.splunk.runtime.pipe import PipeClosed
from siemtap.splunk.runtime.webhook import Webhook, hide_unmappable
from siemtap.testing.cases import batches_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LOAD = Checkpoints.load


def deliver(plugin, payloads, folder, most=200, out=None):
    """Deliver payloads until the spool is empty.

    Return (events that splunkd makes of the stream, payloads still in the spool, seconds
    waited)."""
    out = out or io.BytesIO()
    receiving, common = (
        fill_in(Receiving, {"listen": "127.0.0.1:0", "secret": "x" * 16}),
        fill_in(CommonSettings, {}),
    )
    webhook = Webhook(
        plugin, App("TA-test", "ta_test", plugin.name), definition(plugin, folder), out
    )
    database, receiver = (
        Database(folder / "here.db"),
        Receiver(plugin, receiving, Spool(folder / "here.spool")),
    )
    try:
        if payloads:
            receiver.spool.append(payloads).result(10)
        unit, marks = Unit("here", plugin.datasets[0].name, RECEIVED), Checkpoints(database)
        webhook.stopping = FakeStopEvent(
            lambda: not receiver.spool.pending(LOAD(marks, unit).cursor), most
        )
        webhook._deliver(
            receiver,
            database,
            DeliveredIds(database, receiving.remember),
            settings_without_account(plugin, {}),
            common,
        )
        webhook.pipe.close()
        spooled, _ = receiver.spool.read(LOAD(marks, unit).cursor, 10_000)
        return (
            break_events(
                out.getvalue(),
                {
                    EVENT.name.replace(".", ":"): {"SHOULD_LINEMERGE": "false", "TRUNCATE": "0"},
                    **props_for(plugin),
                },
            ),
            spooled,
            webhook.stopping.waited,
        )
    finally:
        receiver.close()
        database.close()


FAILS = st.none() | st.tuples(
    st.sampled_from(["receive", "clock", "identity", "redact", "row"]),
    st.sampled_from(sorted(ERRORS)),
    st.sampled_from([0, 0, 1, 2]),
)


@settings(max_examples=60)
@given(st.lists(FAILS, max_size=6))
def test_payload_that_makes_the_plugin_fail_is_kept_and_stops_no_other(all_of):
    FAILURES.clear()
    with tempfile.TemporaryDirectory() as folder:
        events, spooled, waited = deliver(
            FAILING_PLUGIN,
            [failing_payload(number, fails) for number, fails in enumerate(all_of)],
            Path(folder),
        )
        waiting = {json.loads(payload.body)["token"] for payload in spooled}
        shown, names = " ".join(indexed.raw for indexed in events), ids(events)
        for number, fails in enumerate(all_of):
            text = failing_payload(number, fails).body.decode()
            own = {
                identify(EVENT.name, [word]) for word in (text, json.loads(text), f"token-{number}")
            }
            hidden = fails and fails[0] == "redact" and own & set(names)
            assert f"token-{number}" in waiting or f"token-{number}" in shown or hidden, (
                number,
                fails,
            )
        assert not waiting or any(fails and fails[1] == "Retry" for fails in all_of), (
            "only a Retry leaves a payload in the spool"
        )
        again = ids(deliver(FAILING_PLUGIN, [], Path(folder), most=3)[0])
        assert not set(again) & set(names), "the next start duplicates nothing"


def test_event_of_a_text_that_cannot_be_redacted_omits_it(caplog):
    def map_batch(batch, seen):
        raise ZeroDivisionError(batch.records[0])

    (event,) = hide_unmappable(map_batch)(Batch(EVENT, ["a text with a secret"], {}, NOW))
    assert event["event"]["id"] == identify(EVENT.name, ["a text with a secret"])
    assert event["event"]["kind"] == "pipeline_error" and event["error"]["message"]
    assert "secret" not in json.dumps(event) + caplog.text and "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("where", ["receive", "clock", "identity", "row", "redact"])
def test_payload_that_always_fails_is_a_pipeline_error_among_events(where, tmp_path, caplog):
    caplog.set_level(logging.ERROR, "siemtap")
    events, spooled, waited = deliver(
        FAILING_PLUGIN,
        [
            failing_payload(number, (where, "ZeroDivisionError", 0) if number == 5 else None)
            for number in range(10)
        ],
        tmp_path,
    )
    fields = [json.loads(indexed.raw) for indexed in events]
    errors = [event for event in fields if event.get("event", {}).get("kind") == "pipeline_error"]
    assert not spooled and len(fields) == 10 and len(errors) == 1
    assert ("token-5" in json.dumps(errors)) == (where != "redact"), (
        "a text that cannot be redacted is not shown"
    )
    assert errors[0]["error"]["message"]
    assert (
        sum(waited) < 10
        and len(caplog.text.splitlines()) < 10
        and "a secret" not in caplog.text
        and "Traceback" not in caplog.text
    )


def test_retry_from_the_checkpoints_loses_no_payload(tmp_path, monkeypatch):
    """The waits grow, and no payload becomes a pipeline_error."""
    FAILURES.clear()
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    saved, failures = DeliveredIds.save, iter([True] * 7)

    def save(self, unit, mark):
        if next(failures, False):
            raise Retry("the disk of here.db is full")
        saved(self, unit, mark)

    monkeypatch.setattr(DeliveredIds, "save", save)
    events, spooled, waited = deliver(
        FAILING_PLUGIN, [failing_payload(number) for number in range(3)], tmp_path
    )
    assert (
        not spooled
        and len(events) == 3
        and b"pipeline_error" not in json.dumps([indexed.raw for indexed in events]).encode()
        and waited[:7] == sorted(waited[:7])
        and waited[6] > 20
    )


def test_unreadable_checkpoints_do_not_end_the_receiver(tmp_path, monkeypatch):
    failures = iter([TypeError, KeyError, ConfigError])

    def load(self, unit):
        error = next(failures, None)
        if error:
            raise error("x")
        return LOAD(self, unit)

    monkeypatch.setattr(Checkpoints, "load", load)
    events, spooled, _ = deliver(
        FAILING_PLUGIN, [failing_payload(number) for number in range(3)], tmp_path
    )
    assert not spooled and len(events) == 3


def test_closed_pipe_ends_the_process_and_keeps_the_remaining_payloads(tmp_path):
    class Closed(io.BytesIO):
        def write(self, data):
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(PipeClosed):
        deliver(
            FAILING_PLUGIN, [failing_payload(number) for number in range(3)], tmp_path, out=Closed()
        )
    events, spooled, _ = deliver(FAILING_PLUGIN, [], tmp_path)
    assert not spooled and len(events) == 3


# The plugin centurylink_ips with any payloads

CENTURYLINK = registry.plugin("centurylink_ips")
SAMPLES = sorted(
    path
    for path in (ROOT / "plugins/centurylink_ips/cases").glob("*/payload.*")
    if path.suffix != ".b64"
)


@st.composite
def mutated(draw):
    body = draw(st.sampled_from(SAMPLES)).read_bytes()[:4_000]
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        body = (
            body[:start]
            + draw(st.sampled_from(ODD_PARTS) | st.binary(max_size=8))
            + body[start + draw(st.integers(0, 40)) :]
        )
    return body


FIELDS = [
    "startTime",
    "endTime",
    "driverTime",
    "severity",
    "data",
    "sourceIP",
    "destinationPort",
    "hostName",
    "reason",
    "action",
    "tags",
    "protocol",
    "packetSize",
    "EventType",
    "LogDate",
    "text",
]
JSON = (
    st.dictionaries(st.sampled_from(FIELDS) | TEXT, VALUE, max_size=5)
    .map(json.dumps)
    .map(str.encode)
)
BODY = (
    mutated()
    | JSON
    | st.binary(max_size=60)
    | TEXT.map(lambda text: text.encode("utf-8", "surrogatepass"))
)
PAYLOAD = st.builds(
    Payload,
    BODY,
    st.sampled_from(["webhook", "webhook", "udp", "replay"]),
    st.text(max_size=10),
    st.just("192.0.2.1"),
    st.integers(0, NOW * 2),
    st.dictionaries(
        st.sampled_from(["content-type", "content-encoding"]),
        st.sampled_from(["application/json", "gzip", "application/x-www-form-urlencoded"])
        | st.text(max_size=10),
        max_size=2,
    ),
)
SETTINGS = settings_without_account(CENTURYLINK, {})


def names_of(payload):
    """Return (ids of the records that can be mapped, whether every record can)."""
    map_batch, events, is_complete = (
        batch_mapper(CENTURYLINK, SETTINGS, fill_in(CommonSettings, {}), {}, lambda: None),
        set(),
        True,
    )
    try:
        batches = list(batches_of(CENTURYLINK, SETTINGS, payload))
    except Exception:
        return events, False
    for batch in batches:
        for record in batch.records:
            try:
                events.update(
                    event["event"]["id"] for event in map_batch(batch._replace(records=[record]))
                )
            except Exception:
                is_complete = False
    return events if is_complete else set(), is_complete


@settings(max_examples=150)
@given(st.lists(PAYLOAD, min_size=1, max_size=4))
def test_any_payloads_of_centurylink_ips(payloads):
    with tempfile.TemporaryDirectory() as folder:
        events, spooled, _ = deliver(CENTURYLINK, payloads, Path(folder))
        names = ids(events)
        assert not spooled and max(Counter(names).values(), default=0) <= 1
        for payload in payloads:
            expected, is_complete = names_of(payload)
            assert expected <= set(names) and (
                is_complete or "pipeline_error" in " ".join(indexed.raw for indexed in events)
            )
        assert deliver(CENTURYLINK, [], Path(folder), most=3)[0] == []


@pytest.mark.parametrize(
    "time",
    [
        "Thu Mar 05 03:39:12 UTC 0999",
        "Thu Mar 05 03:39:12 UTC 0001",
        "Fri Dec 31 23:59:59 PST 9999",
    ],
)
def test_event_with_a_year_before_1000_or_after_9999(time, tmp_path):
    """Such a time must not end the process at every start."""
    sample = json.loads(
        (ROOT / "plugins/centurylink_ips/cases/a_webhook_event/payload.json").read_text()
    )

    def sent(number, **more):
        return Payload(
            json.dumps({**sample, "reason": f"1000{number} - a rule", **more}).encode(),
            "webhook",
            received=NOW,
            headers={"content-type": "application/json"},
        )

    odd = {name: time for name in ("startTime", "endTime", "driverTime")}
    events, spooled, _ = deliver(CENTURYLINK, [sent(1), sent(2, **odd), sent(3)], tmp_path)
    assert (
        not spooled
        and len(events) == 3
        and all(
            f"1000{number}" in " ".join(indexed.raw for indexed in events) for number in (1, 2, 3)
        )
    )
