"""Signals of the process, in bursts as `timeout`, a container's engine or a person sends them."""

import signal
import threading
import types

import pytest
from processes import Process
from shipper import vendor_process
from shipper.vendor_process import write

from siemtap.shipper.cli.options import signals

# fixtures
vendor = vendor_process.vendor


def test_two_signals_in_a_row_wait_for_no_lock():
    lock, stopped, reloaded = threading.Lock(), threading.Event(), threading.Event()

    def stop():
        if lock.acquire(timeout=30):
            lock.release()
            stopped.set()

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    with signals(types.SimpleNamespace(stop=stop), reloaded.set):
        with lock:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            assert not stopped.is_set()
        assert stopped.wait(60) and reloaded.wait(60)
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_burst_of_signals_ends_the_process(tmp_path, vendor, processes):
    path = write(tmp_path, vendor, f"processes: {processes}")
    running = Process(path)
    running.until(r"status page at (\S+)")
    for _ in range(50):
        running.process.send_signal(signal.SIGTERM)
    assert running.end(signal.SIGINT) == 0
