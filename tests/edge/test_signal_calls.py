"""What a signal asks for waits for no lock of the thread that it interrupts."""

import signal
import threading

import pytest

from siemtap.edge.signal_calls import SignalCalls


@pytest.fixture
def calls():
    calls = SignalCalls()
    before = signal.getsignal(signal.SIGTERM)
    yield calls
    signal.signal(signal.SIGTERM, before)
    calls.close()


def test_a_lock_that_the_interrupted_thread_holds(calls):
    """As `threading.Event.set`, which the second of two signals finds locked by the first."""
    lock = threading.Lock()
    done = []

    def stop():
        if lock.acquire(timeout=30):  # a handler would wait for itself
            done.append(True)
            lock.release()

    signal.signal(signal.SIGTERM, lambda *_: calls.ask(stop))
    with lock:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    calls.close()
    assert done == [True, True]


def test_calls_are_made_in_their_order_and_before_the_end(calls):
    made = []
    for number in range(100):
        calls.ask(lambda number=number: made.append(number))
    calls.close()
    assert made == list(range(100))


def test_a_call_that_fails_ends_nothing(calls, caplog):
    made = []
    calls.ask(lambda: 1 / 0)
    calls.ask(lambda: made.append(True))
    calls.close()
    assert made and "a signal could not be obeyed: ZeroDivisionError" in caplog.text
