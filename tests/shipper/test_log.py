"""What the log says: each step at the level debug, metrics at info, recoveries, repeats, and never
a secret."""

import json
import logging
from types import SimpleNamespace

import pytest
from engine.test_cycle import fail
from shipper import clocks

from siemtap.core.errors import AuthError, Retry
from siemtap.core.model import Unit
from siemtap.core.windows import MINUTE
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import Reply, Request
from siemtap.engine.cycle import REPEAT_EVERY, Cycle
from siemtap.shipper import logs
from siemtap.shipper.config.load import parse
from siemtap.shipper.status.log_lines import MetricsLog

# fixtures
make_shipper = clocks.make_shipper


@pytest.fixture
def debug(caplog):
    caplog.set_level(logging.DEBUG, "siemtap")
    return caplog


def test_debug_shows_every_step(make_shipper, debug):
    stepped = make_shipper().start().run_turns(2)
    text = debug.text
    for part in (
        "https://vendor.example.com/rest",
        ": 200, ",
        " bytes, ",
        "apptrana.attack: window 20",
        "batch of ",
        "delivery of ",
        'checkpoint {"until": ',
    ):
        assert part in text, part
    assert stepped.config.inputs[0].settings.client_secret not in text
    assert stepped.ids()


def test_info_has_none_of_it(make_shipper, caplog):
    caplog.set_level(logging.INFO, "siemtap")
    make_shipper().start().run_turns(1)
    assert "batch of" not in caplog.text and "window 20" not in caplog.text


def test_a_request_line_has_no_secret(debug):
    http = Http(lambda request, seconds: Reply(200, {}, b"{}"))
    http.ask(Request("GET", "https://user:hunter2@api.example.com/v1?key=hunter2"))
    assert "GET https://api.example.com/v1: 200, 2 bytes" in debug.text
    assert "hunter2" not in debug.text


def test_a_request_without_an_answer_is_logged(debug):
    def send(request, seconds):
        raise Retry("no answer within 60 s", request.line)

    with pytest.raises(Retry):
        Http(send).ask(Request("GET", "https://api.example.com/v1"))
    assert "GET https://api.example.com/v1: Retry, " in debug.text


class Time:
    now = 0.0

    def __call__(self):
        return self.now


def test_repeats_are_limited_and_counted(caplog):
    caplog.set_level(logging.INFO, "siemtap")
    time = Time()
    cycle = Cycle(Unit("waf", "acme.event"), time)
    for number in range(20):
        cycle.attempt(fail(AuthError(f"401 at {number}: the key is wrong")))
        time.now += 60
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[1].endswith("the key is wrong (repeated 9 times since)")
    time.now += REPEAT_EVERY
    cycle.attempt(fail(Retry("another failure")))
    assert caplog.records[-1].getMessage().endswith("another failure")


def test_recovery_is_logged_though_a_batch_was_delivered_before(caplog):
    caplog.set_level(logging.INFO, "siemtap")
    cycle = Cycle(Unit("waf", "acme.event"), Time())
    cycle.attempt(fail(Retry("no")))
    cycle.attempt(fail(Retry("no")))

    def work():
        cycle.progress()
        return True

    cycle.attempt(work)
    assert caplog.records[-1].getMessage() == ("waf/acme.event: recovered after 2 failed attempts")
    cycle.attempt(fail(Retry("no")))
    assert caplog.records[-1].levelno == logging.WARNING, "it is news again"


def test_silence_is_logged_once_and_its_end(make_shipper, caplog):
    caplog.set_level(logging.INFO, "siemtap")
    stepped = make_shipper(silent_after="5m").start()
    stepped.run_turns(1)
    state = stepped.states()[0]
    running = next(iter(stepped.shipper.inputs.values()))
    for ahead in (10, 11, 12):
        state.state = "ok"
        state.last_event = state.active_since = stepped.clock.elapsed() - ahead * MINUTE / 1000
        stepped.shipper.after_attempt(running, state)
    state.last_event = stepped.clock.elapsed()
    state.state = "ok"
    stepped.shipper.after_attempt(running, state)
    lines = [record.getMessage().partition(": ")[2] for record in caplog.records]
    assert [line for line in lines if "silent_after" in line or "recovered" in line] == [
        "no event for longer than silent_after (5 min)",
        "recovered",
    ]


def shipper_of(waiting=0, **totals):
    names = ("accepted", "rejected", "retried", "echoes", "batches", "late", "unfit")
    output = {"name": "sqlite", "queue": 0, "waiting_rejected": 0, "news_of_rejected": None}
    stats = {
        "inputs": [{"id": "waf", "units": [{"state": "ok"}]}],
        "output": {**dict.fromkeys(names, 0), "requests": 3, **output, **totals},
        "outputs": [{"name": "siem", "waiting_events": waiting}],
    }
    config = parse("inputs: [{type: centurylink_ips}]\nlogging.metrics.period: 1h")
    return SimpleNamespace(config=config, stats=lambda: stats)


def test_metrics_of_a_period(caplog):
    caplog.set_level(logging.INFO, "siemtap")
    shipper = shipper_of(accepted=5)
    metrics = MetricsLog(shipper)
    shipper.stats()["output"].update(accepted=12, batches=2, requests=4)
    metrics.log()
    metrics.log()
    metrics.close()
    assert [record.getMessage() for record in caplog.records] == [
        "Non-zero metrics in the last 3600s: events.accepted=7 batches=2 output.requests=1 units.ok=1",
        "Non-zero metrics in the last 3600s: units.ok=1",
    ]
    line = json.loads(logs.Ecs().format(caplog.records[0]))
    assert line["siemtap.metrics"]["events.accepted"] == 7
    caplog.clear()
    metrics = MetricsLog(shipper_of(waiting=9))
    metrics.log()
    metrics.close()
    assert "queue.siem.waiting_events=9" in caplog.text


def test_metrics_can_be_switched_off():
    entry = "inputs: [{type: centurylink_ips}]"
    assert parse(entry).metrics.enabled and parse(entry).metrics.period == 30_000
    assert not parse(f"logging: {{metrics: {{enabled: false}}}}\n{entry}").metrics.enabled


def test_a_query_in_a_cursor_is_not_logged(debug):
    from siemtap.core.model import Mark

    sink = SimpleNamespace(deliver=lambda unit, events, mark: [])
    mark = Mark({"next": "https://api.example.com/v1?skipToken=hunter2"}, {})
    logs.LogDeliveries(sink).deliver(Unit("a", "b.c"), [], mark)
    assert "https://api.example.com/v1?..." in debug.text and "hunter2" not in debug.text
