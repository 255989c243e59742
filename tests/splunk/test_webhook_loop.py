"""The webhook's own loop: whatever is pushed, a payload is written or still in the spool, and
nothing ends the process."""

import io
import json
import logging
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mischief import (
    ERRORS,
    EVENT,
    MISCHIEF,
    NOW,
    ODD_PARTS,
    TEXT,
    TRIED,
    VALUE,
    Waits,
    definition,
    ids,
    mischief,
    props_for,
)
from splunk_breaker import broken

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.forms import Every, Receiving
from siemtap.core.identity import identify
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Payload, Unit
from siemtap.edge.arrivals import Arrivals
from siemtap.edge.checkpoints import Checkpoints, Database
from siemtap.engine import voice
from siemtap.runners import plugins
from siemtap.runners.names import App
from siemtap.runners.receiving import RECEIVED, Reception
from siemtap.runners.splunk import without_account
from siemtap.runners.splunk_pipe import Gone
from siemtap.runners.splunk_webhook import Webhook, or_unshown

ROOT = Path(__file__).parents[2]
LOAD = Checkpoints.load


def delivered(plugin, payloads, folder, most=200, out=None):
    """The webhook's own loop, until the spool is empty: (what splunkd makes of it, payloads that
    are still in the spool, the waits)."""
    out = out or io.BytesIO()
    receiving, every = (
        fill_in(Receiving, {"listen": "127.0.0.1:0", "secret": "x" * 16}),
        fill_in(Every, {}),
    )
    webhook = Webhook(
        plugin, App("TA-test", "ta_test", plugin.name), definition(plugin, folder), out
    )
    database, reception = (
        Database(folder / "here.db"),
        Reception(plugin, receiving, folder / "here.spool"),
    )
    try:
        if payloads:
            reception.spool.append(payloads).result(10)
        unit, marks = Unit("here", plugin.datasets[0].name, RECEIVED), Checkpoints(database)
        webhook.stopping = Waits(
            lambda: not reception.spool.pending(LOAD(marks, unit).cursor), most
        )
        webhook._deliver(
            reception,
            database,
            Arrivals(database, receiving.remember),
            without_account(plugin, {}),
            every,
        )
        webhook.pipe.close()
        left, _ = reception.spool.read(LOAD(marks, unit).cursor, 10_000)
        return (
            broken(
                out.getvalue(),
                {
                    EVENT.name.replace(".", ":"): {"SHOULD_LINEMERGE": "false", "TRUNCATE": "0"},
                    **props_for(plugin),
                },
            ),
            left,
            webhook.stopping.waited,
        )
    finally:
        reception.close()
        database.close()


FAILS = st.none() | st.tuples(
    st.sampled_from(["receive", "clock", "identity", "redact", "row"]),
    st.sampled_from(sorted(ERRORS)),
    st.sampled_from([0, 0, 1, 2]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(FAILS, max_size=6))
def test_a_payload_that_makes_us_fail_is_kept_and_stops_nobody(all_of):
    TRIED.clear()
    with tempfile.TemporaryDirectory() as folder:
        events, left, waited = delivered(
            MISCHIEF, [mischief(number, fails) for number, fails in enumerate(all_of)], Path(folder)
        )
        waiting = {json.loads(payload.body)["token"] for payload in left}
        shown, names = " ".join(indexed.raw for indexed in events), ids(events)
        for number, fails in enumerate(all_of):
            text = mischief(number, fails).body.decode()
            own = {
                identify(EVENT.name, [word]) for word in (text, json.loads(text), f"token-{number}")
            }
            hidden = fails and fails[0] == "redact" and own & set(names)
            assert f"token-{number}" in waiting or f"token-{number}" in shown or hidden, (
                number,
                fails,
            )
        assert not waiting or any(fails and fails[1] == "Retry" for fails in all_of), (
            "only what says `later` waits"
        )
        again = ids(delivered(MISCHIEF, [], Path(folder), most=3)[0])
        assert not set(again) & set(names), "and the next start writes nothing twice"


def test_a_text_that_cannot_be_redacted_is_an_event_without_it(caplog):
    def say(batch):
        raise ZeroDivisionError(batch.records[0])

    (event,) = or_unshown(say)(Batch(EVENT, ["a text with a secret"], {}, NOW))
    assert event["event"]["id"] == identify(EVENT.name, ["a text with a secret"])
    assert event["event"]["kind"] == "pipeline_error" and event["error"]["message"]
    assert "secret" not in json.dumps(event) + caplog.text and "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("where", ["receive", "clock", "identity", "row", "redact"])
def test_one_that_always_fails_is_a_pipeline_error_and_those_around_it_are_events(
    where, tmp_path, caplog
):
    caplog.set_level(logging.ERROR, "siemtap")
    events, left, waited = delivered(
        MISCHIEF,
        [
            mischief(number, (where, "ZeroDivisionError", 0) if number == 5 else None)
            for number in range(10)
        ],
        tmp_path,
    )
    fields = [json.loads(indexed.raw) for indexed in events]
    errors = [event for event in fields if event.get("event", {}).get("kind") == "pipeline_error"]
    assert not left and len(fields) == 10 and len(errors) == 1
    assert ("token-5" in json.dumps(errors)) == (where != "redact"), (
        "what cannot be redacted is named and not shown"
    )
    assert errors[0]["error"]["message"]
    assert (
        sum(waited) < 10
        and len(caplog.text.splitlines()) < 10
        and "a secret" not in caplog.text
        and "Traceback" not in caplog.text
    )


def test_a_disk_that_says_later_costs_no_payload(tmp_path, monkeypatch):
    """Retry from the marks: nothing becomes a pipeline_error, waits grow, and it goes on by
    itself."""
    TRIED.clear()
    saved, failures = Arrivals.save, iter([True] * 7)

    def save(self, unit, mark):
        if next(failures, False):
            raise Retry("the disk of here.db is full")
        saved(self, unit, mark)

    monkeypatch.setattr(Arrivals, "save", save)
    events, left, waited = delivered(MISCHIEF, [mischief(number) for number in range(3)], tmp_path)
    assert (
        not left
        and len(events) == 3
        and b"pipeline_error" not in json.dumps([indexed.raw for indexed in events]).encode()
        and waited[:7] == sorted(waited[:7])
        and waited[6] > 20
    )


def test_marks_that_cannot_be_read_do_not_end_the_receiver(tmp_path, monkeypatch):
    failures = iter([TypeError, KeyError, ConfigError])

    def load(self, unit):
        error = next(failures, None)
        if error:
            raise error("x")
        return LOAD(self, unit)

    monkeypatch.setattr(Checkpoints, "load", load)
    events, left, _ = delivered(MISCHIEF, [mischief(number) for number in range(3)], tmp_path)
    assert not left and len(events) == 3


def test_a_pipe_that_nobody_reads_ends_the_process_and_keeps_the_rest(tmp_path):
    class Closed(io.BytesIO):
        def write(self, data):
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(Gone):
        delivered(MISCHIEF, [mischief(number) for number in range(3)], tmp_path, out=Closed())
    events, left, _ = delivered(MISCHIEF, [], tmp_path)
    assert not left and len(events) == 3


# The real one, with anything at all

CENTURYLINK = plugins.plugin("centurylink_ips")
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
SETTINGS = without_account(CENTURYLINK, {})


def names_of(payload):
    """The ids of a payload's records, those that the mapping takes; and whether there was
    anything that it, or we, did not."""
    say, events, well = (
        voice(CENTURYLINK, SETTINGS, fill_in(Every, {}), {}, lambda: None),
        set(),
        True,
    )
    try:
        batches = list(CENTURYLINK.receive(SETTINGS, payload))
    except Exception:
        return events, False
    for batch in batches:
        for record in batch.records:
            try:
                events.update(
                    event["event"]["id"] for event in say(batch._replace(records=[record]))
                )
            except Exception:
                well = False
    return events if well else set(), well


@settings(max_examples=150, deadline=None)
@given(st.lists(PAYLOAD, min_size=1, max_size=4))
def test_any_payload_goes_through_the_webhook(payloads):
    with tempfile.TemporaryDirectory() as folder:
        events, left, _ = delivered(CENTURYLINK, payloads, Path(folder))
        names = ids(events)
        assert not left and max(Counter(names).values(), default=0) <= 1
        for payload in payloads:
            wanted, well = names_of(payload)
            assert wanted <= set(names) and (
                well or "pipeline_error" in " ".join(indexed.raw for indexed in events)
            )
        assert delivered(CENTURYLINK, [], Path(folder), most=3)[0] == []


@pytest.mark.parametrize(
    "time",
    [
        "Thu Mar 05 03:39:12 UTC 0999",
        "Thu Mar 05 03:39:12 UTC 0001",
        "Fri Dec 31 23:59:59 PST 9999",
    ],
)
def test_a_year_before_1000_or_after_9999_between_two_others(time, tmp_path):
    """It ended the process at every start, before the mark."""
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
    events, left, _ = delivered(CENTURYLINK, [sent(1), sent(2, **odd), sent(3)], tmp_path)
    assert (
        not left
        and len(events) == 3
        and all(
            f"1000{number}" in " ".join(indexed.raw for indexed in events) for number in (1, 2, 3)
        )
    )
