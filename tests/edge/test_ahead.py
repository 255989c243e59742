"""Requests that are sent ahead: order, concurrency, errors."""

import threading
import time

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


def test_fault_sets_retry_after():
    assert Fault(status=503, retry_after="5").answer(0).headers["Retry-After"] == "5"
    assert (
        Fault(retry_after="date:5").answer(1_772_625_600_000).headers["Retry-After"]
        == "Wed, 04 Mar 2026 12:00:05 GMT"
    )
