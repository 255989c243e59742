"""Fixtures of all tests."""

import gc
import logging

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine is slow; it is no error.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")

# The files that take longest begin first: else one process works on alone for minutes.
LONGEST = {
    "test_several_processes.py",
    "test_fleet.py",
    "test_build_command.py",
    "test_kafka_input.py",
    "test_opensearch_delivery.py",
    "test_opensearch_secure.py",
    "test_debian_package.py",
    "test_campaign.py",
    "test_kafka_delivery.py",
}


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, then those with any slow test."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name not in LONGEST, item.path not in slow))


@pytest.fixture(autouse=True)
def collect_garbage():
    """Undo a shipper's `gc.freeze`: what it held would never be freed, 17 MB for each shipper."""
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def reset_logger():
    """Reset the logger, which inputs of add-ons and the shipper configure."""
    log = logging.getLogger("siemtap")
    log.handlers[:], log.propagate = [], True
    log.setLevel(logging.NOTSET)
