"""Workers of a fleet on a real broker: `ci/live kafka`."""

import time

import pytest
from kafka_broker import Broker
from kafka_fleet import Vendors, World

pytestmark = pytest.mark.slow


@pytest.fixture
def vendors():
    vendors = Vendors(12, rate=30.0, late=[0, 3])
    yield vendors
    vendors.close()


@pytest.fixture
def world(vendors):
    with Broker() as broker:
        world = World(broker, vendors, partitions=4, lookback=600, window="30s")
        yield world
        world.close()


def test_a_killed_worker_hands_its_inputs_over_and_nothing_is_lost_or_twice(world):
    first, second = world.add("first"), world.add("second")
    world.wait_until_read(int((time.time() - 590) * 1000))
    first.kill()
    until = world.wait_until_read(int(time.time() * 1000) - 3_000)
    assert second.end() == 0
    events, must, lost, twice, unknown = world.compare(until)
    assert must > 1_000
    assert (lost, twice, unknown) == (0, 0, 0), (events, must)


def test_a_paused_worker_is_fenced_and_rejoins_by_itself(world):
    """A zombie: it is paused past the session timeout, with a vendor's answer in hand."""
    first, second = world.add("first"), world.add("second")
    world.wait_until_read(int((time.time() - 590) * 1000))
    first.pause()
    world.wait_until_read(int(time.time() * 1000))  # the other one has everything by now
    first.resume()
    first.until("joins the group again", "got partitions .* of 4")
    until = world.wait_until_read(int(time.time() * 1000) + 10_000)
    assert first.end() == second.end() == 0
    events, must, lost, twice, unknown = world.compare(until)
    assert must > 1_000
    assert (lost, twice, unknown) == (0, 0, 0), (events, must)
