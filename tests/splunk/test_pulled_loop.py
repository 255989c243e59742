"""A collecting input and the alert action with odd answers: a unit that fails keeps its
checkpoint and is tried again, and other units continue."""

import io
import json
import logging
import random
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_input import (
    ERRORS,
    EVENT,
    FAILING_PLUGIN,
    NOW,
    VALUE,
    ids,
    props_for,
)
from splunk_breaker import break_events
from splunk_cycle import run_cycle, simulated

from siemtap.core.model import Batch, Plugin
from siemtap.core.windows import MINUTE
from siemtap.edge.client.messages import Reply
from siemtap.render import registry
from siemtap.splunk.runtime import alert as splunk_alert
from siemtap.splunk.runtime import input as splunk
from siemtap.splunk.runtime.input import POLICY
from siemtap.splunk.runtime.names import App
from siemtap.testing import simulation
from siemtap.testing.world import Time

pytestmark = pytest.mark.slow


ODD_HEADER = st.sampled_from(
    [
        "",
        "999999999",
        "99999999999999999999",
        "-1",
        "1e9",
        "Thu, 05 Mar 99999 03:39:12 GMT",
        "Thu, 05 Mar 0001 03:39:12 GMT",
        "Thu, 99 Foo 2026 99:99:99 GMT",
        "Mon, 01 Jan 2026 00:00:00 +999999",
        "\u20ac",
        "\x00",
    ]
) | st.text(st.characters(max_codepoint=255), max_size=20)
HEADERS = st.dictionaries(
    st.sampled_from(["date", "retry-after", "content-type", "content-encoding"]),
    ODD_HEADER,
    max_size=3,
)
WRONG = st.sampled_from(sorted(ERRORS)) | st.builds(
    Reply,
    st.sampled_from([0, 100, 204, 301, 400, 401, 403, 404, 408, 413, 429, 500, 503, 599, 999]),
    HEADERS,
    st.binary(max_size=40)
    | VALUE.map(json.dumps).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
PULLED = [plugin for plugin in registry.installed().values()]


@pytest.mark.parametrize("plugin", PULLED, ids=lambda plugin: plugin.name)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    answers=st.lists(
        st.none()
        | WRONG
        | st.builds(
            Reply,
            st.just(200),
            HEADERS,
            VALUE.map(json.dumps).map(lambda text: text.encode("utf-8", "surrogatepass"))
            | st.binary(max_size=60),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_cycle_ends_without_an_exception_after_any_answer_or_header(plugin, answers, monkeypatch):
    simulator, own = simulated(plugin)
    honest, left = simulation.in_memory(simulator, Time(NOW).clock), iter(answers)

    def send(request, seconds):
        answer = next(left, None)
        if isinstance(answer, str):
            raise ERRORS[answer]("x")
        return honest(request, seconds) if answer is None else answer

    with tempfile.TemporaryDirectory() as folder:
        code, out, waited = run_cycle(plugin, send, Path(folder), monkeypatch, **own)
        assert code in (0, 1) and all(0 <= seconds <= splunk.LONGEST_WAIT for seconds in waited)
        break_events(out, props_for(plugin))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.none() | WRONG | HEADERS, min_size=1, max_size=12))
def test_no_event_is_missing_after_errors_and_odd_headers(monkeypatch, answers):
    """After the errors, the next good cycle delivers every event of the vendor once."""
    plugin = registry.plugin("apptrana")
    simulator, own = simulated(plugin)
    honest, left = simulation.in_memory(simulator, Time(NOW).clock), iter(answers)

    def send(request, seconds):
        answer = next(left, None)
        if isinstance(answer, str):
            raise ERRORS[answer]("x")
        if isinstance(answer, Reply):
            return answer
        reply = honest(request, seconds)
        return reply._replace(
            headers={
                **reply.headers,
                **{
                    name: value
                    for name, value in (answer or {}).items()
                    if name in ("date", "retry-after")
                },
            }
        )

    with tempfile.TemporaryDirectory() as folder:
        outs = [run_cycle(plugin, send, Path(folder), monkeypatch, **own)[1]]
        left = iter(())
        code, out, _ = run_cycle(plugin, send, Path(folder), monkeypatch, **own)
        got = Counter(
            name for out in [*outs, out] for name in ids(break_events(out, props_for(plugin)))
        )
        assert (
            code == 0
            and simulator.ledger(NOW, NOW - 19 * MINUTE, NOW - MINUTE) <= set(got)
            and max(got.values(), default=1) == 1
        )


def test_unit_that_fails_does_not_stop_others_and_is_tried_again(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "siemtap")
    monkeypatch.setattr(random, "uniform", lambda low, high: high)
    tried = Counter()

    def collect(client, unit, cursor, now):
        tried[unit.scope] += 1
        yield Batch(
            EVENT,
            [{"token": f"{unit.scope}-{cursor.get('until', 0)}"}],
            {"until": cursor.get("until", 0) + 1},
            now,
        )
        if unit.scope == "b":
            raise ZeroDivisionError("a text with a secret")
        if unit.scope == "c" and tried["c"] == 1:
            raise KeyError("once")

    plugin = Plugin(
        **{
            **FAILING_PLUGIN.__dict__,
            "units": lambda client, settings: [(EVENT.name, scope) for scope in "abcd"],
            "collect": collect,
        }
    )
    code, out, waited = run_cycle(plugin, None, tmp_path, monkeypatch)
    events = [
        json.loads(indexed.raw)["failing.token"]
        for indexed in break_events(out, {"failing:event": {"SHOULD_LINEMERGE": "false"}})
    ]
    assert (
        code == 1
        and tried == {"a": 1, "b": POLICY.max_attempts, "c": 2, "d": 1}
        and waited == [2.0, 4.0, 2.0]
    )
    assert {"a-0", "b-0", "b-1", "b-2", "c-0", "c-1", "d-0"} == set(events) and max(
        Counter(events).values()
    ) == 1, "continues from the saved mark"
    assert (
        "here/failing.event/b: Fault: unexpected ZeroDivisionError at test_pulled_loop.py"
        in caplog.text
        and "a secret" not in caplog.text
        and ElementTree.fromstring(out).tag == "stream"
    )


# Alert action


@pytest.mark.parametrize(
    "fields",
    [
        "",
        "[]",
        "{}",
        "null",
        "[" * 100_000,
        '{"server_uri": 5, "session_key": "x"}',
        '{"server_uri": "https://127.0.0.1:9", "session_key": "x\\ud800", "configuration": []}',
        (
            '{"server_uri": "https://127.0.0.1:9", "session_key": "secret\\u20ac", "configuration":'
            ' {"account": "\\ud800"}, "search_name": "\\udfff"}'
        ),
    ],
)
def test_alert_action_with_any_parameters_ends_with_one_message(fields, capsys, monkeypatch):
    monkeypatch.setattr(splunk_alert, "configure_logging", lambda *arguments: None)
    plugin = registry.plugin("pingintelligence")
    name = next(command.name for command in plugin.commands if command.alert)
    assert (
        splunk_alert.main(
            plugin, App("TA-test", "ta_test", plugin.name), name, ["--execute"], io.StringIO(fields)
        )
        == 1
    )
    out, err = capsys.readouterr()
    assert (
        out == ""
        and err.startswith("ERROR ")
        and err.count("\n") == 1
        and len(err) < 1_100
        and "secret" not in err
    )
