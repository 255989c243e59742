"""How a cycle handles failures, and when the next attempt is due."""

import random

import pytest

from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.model import Unit
from siemtap.engine.cycle import NEVER, Cycle, Fault, Policy

UNIT = Unit("it", "acme.event")


class FakeClock:
    def __init__(self):
        self.now = 1_000.0

    def __call__(self):
        return self.now


def fail(error):
    def work():
        raise error

    return work


@pytest.fixture(autouse=True)
def longest_wait(monkeypatch):
    monkeypatch.setattr(random, "uniform", lambda low, high: high)


def new_cycle(**policy):
    return Cycle(UNIT, FakeClock(), Policy(**policy))


def test_success_is_due_again_after_the_interval():
    cycle = new_cycle()
    assert cycle.attempt(lambda: True, 60) is None
    assert (cycle.state, cycle.error, cycle.due, cycle.in_doubt) == ("ok", "", 1_060.0, False)


def test_interrupted_cycle_is_due_at_once_and_stays_in_doubt():
    cycle = new_cycle()
    assert cycle.attempt(lambda: False, 60) is None
    assert (cycle.due, cycle.in_doubt) == (1_000.0, True)


def test_success_without_an_interval_is_final():
    cycle = new_cycle()
    cycle.attempt(lambda: True)
    assert cycle.due == NEVER and not cycle.is_given_up


def test_waits_double_up_to_the_maximum():
    cycle = new_cycle()
    waits = []
    for _ in range(8):
        cycle.attempt(fail(Retry("not now")), 60)
        waits.append(cycle.due - cycle.elapsed.now)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


def test_repeated_failure_changes_the_state_to_degraded():
    cycle = new_cycle()
    states = []
    for _ in range(6):
        cycle.attempt(fail(Retry("not now")), 60)
        states.append(cycle.state)
    assert states == ["retrying"] * 4 + ["degraded"] * 2
    cycle.progress()
    cycle.attempt(fail(Retry("not now")), 60)
    assert cycle.state == "retrying"


def test_wait_requested_by_the_vendor_is_limited():
    cycle = new_cycle()
    cycle.attempt(fail(Retry("not now", after=90_000)), 60)
    assert cycle.due == 1_090.0
    cycle.attempt(fail(Retry("not now", after=90_000_000)), 60)
    assert cycle.due == 1_000.0 + 3_600
    cycle.attempt(fail(Retry("not now", after=90_000_000)), 7_200)
    assert cycle.due == 1_000.0 + 7_200


@pytest.mark.parametrize("error", [AuthError("no"), ConfigError("no")])
def test_errors_that_need_a_person_wait_longer(error):
    cycle = new_cycle()
    cycle.attempt(fail(error), 10)
    assert (cycle.state, cycle.due) == ("degraded", 1_030.0)
    cycle.attempt(fail(error), 300)
    assert cycle.due == 1_300.0


def test_unexpected_exception_is_reported_without_its_text(caplog):
    cycle = new_cycle()
    error = cycle.attempt(fail(ZeroDivisionError("a secret")), 60)
    assert isinstance(error, Fault) and isinstance(error.__cause__, ZeroDivisionError)
    assert cycle.state == "degraded" and "ZeroDivisionError" in cycle.error
    assert "a secret" not in cycle.error + caplog.text


@pytest.mark.parametrize("error", [MemoryError(), SystemExit(), KeyboardInterrupt()])
def test_exceptions_that_end_the_process_are_raised(error):
    with pytest.raises(type(error)):
        new_cycle().attempt(fail(error), 60)


def test_policy_may_handle_memory_errors():
    cycle = new_cycle(contains_memory_error=True)
    assert isinstance(cycle.attempt(fail(MemoryError()), 60), Fault)


def test_failure_puts_delivered_events_in_doubt():
    cycle = new_cycle()
    cycle.attempt(lambda: True, 60)
    cycle.attempt(fail(Malformed("odd")), 60)
    assert cycle.in_doubt


@pytest.mark.parametrize("error", [AuthError("no"), ConfigError("no")])
def test_patience_ends_at_errors_that_need_a_person(error):
    cycle = new_cycle(patience=120)
    cycle.attempt(fail(error), 60)
    assert cycle.is_given_up


def test_patience_ends_without_progress():
    cycle = new_cycle(patience=120)
    for _ in range(20):
        if cycle.is_given_up:
            break
        cycle.elapsed.now = cycle.due
        cycle.attempt(fail(Retry("not now")), 60)
    assert cycle.is_given_up
    assert 1_060 < cycle.elapsed.now <= 1_120


def test_number_of_attempts_may_be_limited():
    cycle = new_cycle(max_attempts=3)
    given_up = []
    for _ in range(3):
        cycle.attempt(fail(Retry("not now")))
        given_up.append(cycle.is_given_up)
    assert given_up == [False, False, True]


def test_a_fault_inside_a_plugin_names_the_plugin_and_a_key_of_its_code():
    source = """
def read(answer):
    return answer["items"]

def look_up(answer):
    return {}[answer]
"""
    scope = {"__name__": f"{UNIT.dataset.partition('.')[0]}.plugin"}
    exec(compile(source, "/somewhere/plugin.py", "exec"), scope)
    error = new_cycle().attempt(lambda: scope["read"]({}), 60)
    plugin = UNIT.dataset.partition(".")[0]
    assert f"unexpected KeyError 'items' at plugin.py:3 of the plugin {plugin}" in str(error)
    assert "a fault of the plugin, or an answer of the vendor" in str(error)
    error = new_cycle().attempt(lambda: scope["look_up"]("s3cret"), 60)
    assert "unexpected KeyError at plugin.py:6" in str(error) and "s3cret" not in str(error)
