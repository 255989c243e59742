"""A unit has one owner, also over a reload while a request is under way; and one process a data
folder, also after its lock file was deleted."""

import collections
import os
import threading
import types

import pytest
from processes import Process, siemtap, wait_for
from stepped_shipper import delivered

from apptrana import simulator
from siemtap.core.errors import Retry
from siemtap.core.model import Unit
from siemtap.edge.client.http import Http
from siemtap.edge.clock import SYSTEM
from siemtap.engine.cycle import NEVER, Cycle, Policy
from siemtap.shipper.config.load import parse
from siemtap.shipper.process import Shipper
from siemtap.shipper.processes.share import ALONE
from siemtap.shipper.status import verdict
from siemtap.shipper.status.unit_checks import hang_reason, silence_reason
from siemtap.testing import simulation


class SlowVendor:
    """A simulated vendor whose answers about attacks wait until `let` is set."""

    def __init__(self):
        self.send_now = simulation.in_memory(simulator.Simulator(simulator.Knobs(rate=0.5)), SYSTEM)
        self.asked, self.let = threading.Event(), threading.Event()

    def __call__(self, request, seconds):
        reply = self.send_now(request, seconds)
        if "getAttackInfo" in request.url:
            self.asked.set()
            assert self.let.wait(60)
        return reply


def write(tmp_path, tag):
    return parse(
        f"path.data: {tmp_path}/data\nhttp.enabled: false\noutput.file: {{path: {tmp_path}/out}}\n"
        "inputs:\n  - {type: apptrana, client_id: demo, client_secret: demo-secret, interval: 1h,"
        f" url: 'https://api.example.com', lookback: 20m, tags: [{tag}]}}\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("reloads", [1, 2])
def test_reload_during_a_request_delivers_nothing_twice(tmp_path, reloads):
    vendor = SlowVendor()
    shipper = Shipper(write(tmp_path, "a"), https=lambda connection: Http(vendor))
    runner = threading.Thread(target=shipper.run)
    runner.start()
    assert vendor.asked.wait(60)
    threads = []
    for number in range(reloads):
        inputs = write(tmp_path, f"b{number}").inputs
        threads.append(threading.Thread(target=shipper.configure, args=[inputs]))
        threads[-1].start()
        threads[-1].join(0.5)
        assert threads[-1].is_alive()  # it waits for the request in hand
    assert len(shipper.scheduler.busy) == 1 and shipper.health()  # the lock is free meanwhile
    vendor.let.set()
    for thread in threads:
        thread.join(60)
    (running,) = shipper.inputs.values()
    assert running.input_config.common.tags == (f"b{reloads - 1}",)
    wait_for(lambda: all(state.success for state in running.states()))
    shipper.stop()
    runner.join(60)
    counts = collections.Counter(event["event"]["id"] for event in delivered(tmp_path, "file", ""))
    assert len(counts) > 10 and set(counts.values()) == {1}


@pytest.mark.slow
def test_stop_during_a_reload_that_waits(tmp_path):
    vendor = SlowVendor()
    shipper = Shipper(write(tmp_path, "a"), https=lambda connection: Http(vendor))
    runner = threading.Thread(target=shipper.run)
    runner.start()
    assert vendor.asked.wait(60)
    reload = threading.Thread(target=shipper.configure, args=[write(tmp_path, "b").inputs])
    reload.start()
    shipper.stop()
    reload.join(60)
    assert not reload.is_alive()
    vendor.let.set()
    runner.join(60)
    assert not runner.is_alive()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="on Windows an open file cannot be deleted")
def test_second_process_is_refused_after_the_lock_file_was_deleted(tmp_path):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: 0\ninputs:\n  - {{type: pingintelligence, syslog:"
        " 'tcp://127.0.0.1:0'}\n"
    )
    process = Process(path)
    try:
        process.until("status page at")
        (tmp_path / "data/siemtap.lock").unlink()
        done = siemtap("run", "--once", "-c", path, code=1)
        assert f"is in use by another siemtap (process {process.process.pid})" in done.stderr
    finally:
        assert process.end() == 0


# /health between two attempts


def state_of(**values):
    defaults = {"unit": "it/acme.event", "state": "ok", "due": 0.0, "running_since": 0.0}
    defaults |= {"progressed": 0.0, "last_event": 100.0, "active_since": 100.0, "error": ""}
    return types.SimpleNamespace(**{**defaults, **values})


def running_input(state, silent_after=0, timeout=60_000):
    common = types.SimpleNamespace(silent_after=silent_after)
    return types.SimpleNamespace(
        id="it",
        input_config=types.SimpleNamespace(idle="", common=common),
        http=types.SimpleNamespace(timeout=timeout),
        receiver=None,
        states=lambda: [state],
    )


def test_attempt_without_progress_is_reported():
    state = state_of(state="running", running_since=1_000.0, progressed=1_000.0)
    running = running_input(state)
    assert hang_reason(state, 1_599.0, running.http.timeout) == ""
    assert "no progress for 10 min" in hang_reason(state, 1_601.0, running.http.timeout)
    state.progressed = 1_500.0
    assert hang_reason(state, 1_601.0, running.http.timeout) == ""
    slow = running_input(state, timeout=600_000)
    assert hang_reason(state, 3_200.0, slow.http.timeout) == ""  # three time-outs of ten minutes
    shipper = types.SimpleNamespace(clock=types.SimpleNamespace(elapsed=lambda: 9_999.0))
    shipper.inputs = {"it": running}
    shipper.delivery = types.SimpleNamespace(readers={}, refused="")
    shipper.share, shipper.refused = ALONE, {}
    assert verdict.health(shipper)[0] is False


def test_silence_is_reported_between_two_attempts():
    state = state_of(state="retrying", due=9_000.0)
    running = running_input(state, silent_after=600_000)
    assert silence_reason(running, state, 699.0) == ""
    assert "silent_after" in silence_reason(running, state, 701.0)
    assert silence_reason(running, state_of(due=NEVER), 701.0) == ""


def test_attempt_in_hand_is_known():
    cycle = Cycle(Unit("it", "acme.event"), lambda: 5.0)
    assert cycle.attempt(lambda: cycle.running_since == 5.0) is None
    assert cycle.state == "ok" and cycle.running_since == 0.0


@pytest.mark.parametrize(
    "after, interval, state",
    [(3_600, 60, "degraded"), (200, 30, "retrying"), (3_600, 900, "retrying")],
)
def test_long_retry_after_is_degraded(after, interval, state):
    def fail():
        raise Retry("later", after=after * 1000)

    cycle = Cycle(Unit("it", "acme.event"), lambda: 0.0, Policy())
    cycle.attempt(fail, float(interval))
    assert cycle.state == state and cycle.due == after
    cycle.due = 0.0
    cycle.attempt(lambda: True, float(interval))
    assert cycle.state == "ok"


def test_retry_after_of_31_years_is_an_hour():
    def fail():
        raise Retry("later", after=999_999_999_000)

    cycle = Cycle(Unit("it", "acme.event"), lambda: 0.0, Policy())
    cycle.attempt(fail, 60.0)
    assert cycle.due == 3_600.0
