"""Requests that are sent ahead: order, concurrency, errors."""

import threading
import time
from functools import partial

import pytest

from siemtap.core.errors import Retry
from siemtap.edge.client.ahead import ahead
from siemtap.testing.simulation import Fault


@pytest.mark.parametrize("n", [1, 2, 5, 50])
def test_ahead_keeps_the_order_and_limits_concurrency(n):
    in_flight, most, lock = [0], [0], threading.Lock()

    def call(number):
        with lock:
            in_flight[0] += 1
            most[0] = max(most[0], in_flight[0])
        time.sleep(0.002 * (number % 3))
        with lock:
            in_flight[0] -= 1
        return number

    assert list(ahead(n, [lambda number=number: call(number) for number in range(40)])) == list(
        range(40)
    )
    assert most[0] <= n


def test_ahead_returns_the_results_before_an_error():
    def bad():
        raise Retry("no")

    got = []
    with pytest.raises(Retry):
        for result in ahead(3, [lambda: 1, lambda: 2, bad, lambda: 4]):
            got.append(result)
    assert got == [1, 2]


def work(seconds):
    """Keep the processor busy, as mapping does."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def threads_of_calls(limit, waits):
    """Return the threads in which calls that wait for so long are made for a consumer that works,
    and the consumer's own."""
    threads = []

    def call(number):
        threads.append(threading.current_thread().name)
        time.sleep(waits[number])
        return number

    got = []
    for result in ahead(limit, [partial(call, number) for number in range(len(waits))]):
        got.append(result)
        work(0.02)
    assert got == list(range(len(waits)))
    return threads, threading.current_thread().name


def test_a_busy_consumer_makes_the_calls_itself():
    threads, own = threads_of_calls(4, [0] * 30)
    assert own not in threads[:4]
    assert threads[-15:].count(own) > 10  # a machine that others use looks like a slow service


def test_a_consumer_that_works_overlaps_with_a_service_that_takes_its_time():
    in_flight, most, lock = [0], [0], threading.Lock()

    def call(number):
        with lock:
            in_flight[0] += 1
        time.sleep(0.05)
        with lock:
            most[0] = max(most[0], in_flight[0])
            in_flight[0] -= 1
        return number

    started = time.monotonic()
    for _ in ahead(8, [lambda number=number: call(number) for number in range(40)]):
        work(0.01)
    # one after the other they take 2.4 s, and 0.4 s are the consumer's
    assert time.monotonic() - started < 1.6 and most[0] > 1


def test_a_service_that_becomes_slow_is_called_ahead_again():
    threads, own = threads_of_calls(4, [0] * 20 + [0.05] * 20)
    assert own in threads[10:20]
    assert threads[-10:].count(own) < 3


@pytest.mark.parametrize(("limit", "call"), [(2, 0.018), (2, 0.02), (4, 0.015)])
def test_calls_that_take_as_long_as_the_consumer_overlap_with_it(limit, call):
    started = time.monotonic()
    for _ in ahead(limit, [lambda: time.sleep(call)] * 60):
        time.sleep(0.02)
    # 1.2 s where everything overlaps, 2.1 to 2.4 s one after the other
    assert time.monotonic() - started < 1.2 * 1.3


def test_a_consumer_that_only_waits_keeps_all_calls_in_flight():
    started = time.monotonic()
    for _ in ahead(4, [lambda: time.sleep(0.02)] * 40):
        pass
    assert time.monotonic() - started < 0.6  # 0.8 s one after the other, 0.2 s four at a time


def test_an_error_of_a_call_that_the_consumer_makes_comes_after_the_results_before_it():
    def bad():
        raise Retry("no")

    got = []
    with pytest.raises(Retry):
        for result in ahead(2, [*[lambda: 1] * 20, bad, lambda: 2]):
            got.append(result)
            work(0.02)
    assert got == [1] * 20


def test_fault_sets_retry_after():
    assert Fault(status=503, retry_after="5").answer(0).headers["Retry-After"] == "5"
    assert (
        Fault(retry_after="date:5").answer(1_772_625_600_000).headers["Retry-After"]
        == "Wed, 04 Mar 2026 12:00:05 GMT"
    )
