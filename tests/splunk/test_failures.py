"""A vendor that fails for hours, over hundreds of runs: an error with the next step, at a bounded
rate, and its end. A clock that differs is a warning."""

import json
import logging
from email.utils import formatdate

import pytest
from odd_input import NOW, ids, props_for
from splunk_breaker import break_events
from splunk_cycle import run_cycle, simulated

from siemtap.core.windows import MINUTE
from siemtap.edge.client.messages import Reply
from siemtap.render import registry
from siemtap.splunk.runtime.input import POLICY
from siemtap.testing import simulation
from siemtap.testing.world import Time

APPTRANA = registry.plugin("apptrana")
HOURS = 3
UNAVAILABLE = Reply(503, {}, b"")


class Records(logging.Handler):
    """The lines of the add-on's log: (time of the run, level, text)."""

    def __init__(self, time):
        super().__init__(logging.INFO)
        self.time, self.lines = time, []

    def emit(self, record):
        self.lines.append((self.time.now, record.levelname, record.getMessage()))

    def of(self, *levels):
        return [(at, text) for at, level, text in self.lines if level in levels]


@pytest.fixture
def time():
    return Time(NOW)


@pytest.fixture
def records(time):
    log, handler = logging.getLogger("siemtap"), Records(time)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)


@pytest.mark.slow
def test_outage_of_hours_is_an_error_with_the_next_step(tmp_path, monkeypatch, records, time):
    simulator, own = simulated(APPTRANA)
    honest = simulation.in_memory(simulator, time.clock)
    outs = []

    def run(send):
        code, out, _ = run_cycle(APPTRANA, send, tmp_path, monkeypatch, time, **own)
        outs.append(out)
        time.now += MINUTE
        return code

    assert run(honest) == 0
    down_since = time.now
    for _ in range(HOURS * 60):
        assert run(lambda request, seconds: UNAVAILABLE) == 1
    errors = records.of("ERROR")
    told = [at for at, _ in errors]
    units = {text.partition(":")[0] for _, text in errors}
    assert told[0] - down_since <= 5 * MINUTE, "the first runs may be a hiccup"
    assert all(
        any(start <= at < start + 60 * MINUTE for at in told)
        for start in range(down_since + 5 * MINUTE, time.now - 60 * MINUTE, MINUTE)
    ), "an alert that looks back an hour sees the outage at any time"
    assert len(told) <= len(units) * (HOURS * 6 + 1), "at most once in ten minutes"
    assert len(records.of("WARNING")) <= 2 * len(units)
    assert all("503" in text and POLICY.advice in text for _, text in errors)
    minutes = [int(text.partition("failing for ")[2].partition(" min")[0]) for _, text in errors]
    assert HOURS * 60 - 12 <= max(minutes) <= HOURS * 60 and "repeated" in errors[-1][1]

    assert run(honest) == 0
    recovered = [text for _, text in records.of("INFO") if "recovered after" in text]
    assert {text.partition(":")[0] for text in recovered} == units
    # the outage is longer than one cycle reads at once in this simulation
    for _ in range(5):
        run(honest)
    got = [name for out in outs for name in ids(break_events(out, props_for(APPTRANA)))]
    assert simulator.ledger(time.now, NOW - 10 * MINUTE, time.now - 10 * MINUTE) <= set(got)
    assert len(got) == len(set(got))
    assert not (tmp_path / "here.failures.json").exists(), "nothing fails any more"


def test_short_failure_is_a_warning_only(tmp_path, monkeypatch, records, time):
    simulator, own = simulated(APPTRANA)
    honest = simulation.in_memory(simulator, time.clock)
    answers = iter([UNAVAILABLE])
    assert (
        run_cycle(
            APPTRANA,
            lambda request, seconds: next(answers, None) or honest(request, seconds),
            tmp_path,
            monkeypatch,
            time,
            **own,
        )[0]
        == 0
    )
    assert len(records.of("WARNING")) == 1 and not records.of("ERROR")


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "[]", "{", '{"units": 5, "warned": []}', "\ud800"])
def test_damaged_file_of_failures_counts_as_none(tmp_path, monkeypatch, records, time, text):
    simulator, own = simulated(APPTRANA)
    file = tmp_path / "here.failures.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    send = simulation.in_memory(simulator, time.clock)
    assert run_cycle(APPTRANA, send, tmp_path, monkeypatch, time, **own)[0] == 0
    file.write_text(json.dumps({"units": {"here/apptrana": {"at": NOW, "past": [1, "x"]}}}))
    assert run_cycle(APPTRANA, send, tmp_path, monkeypatch, time, **own)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("skew", [-600, 600])
def test_clock_that_differs_is_a_warning(tmp_path, monkeypatch, records, time, skew):
    simulator, own = simulated(APPTRANA)
    honest = simulation.in_memory(simulator, time.clock)

    def send(request, seconds):
        date = formatdate(time.now / 1000 + skew, usegmt=True)
        reply = honest(request, seconds)
        return reply._replace(headers={**reply.headers, "date": date})

    for _ in range(120):
        assert run_cycle(APPTRANA, send, tmp_path, monkeypatch, time, **own)[0] == 0
        time.now += MINUTE
    warnings = records.of("WARNING")
    # the simulated events are of our time, and so the engine reads some windows again
    texts = [
        text for _, text in warnings if "the clock of " in text and "RetryByTheirClock" not in text
    ]
    assert any(f"differs from this machine's by {skew} s" in text for text in texts), texts
    behind = [text for text in texts if "this machine is ahead of" in text]
    assert bool(behind) == (skew < 0) and all("NTP" in text for text in behind)
    kinds = 2 if skew < 0 else 1
    assert 2 * kinds <= len(texts) <= 5 * kinds, "twice an hour, whatever the interval"
