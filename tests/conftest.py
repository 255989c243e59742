"""Fixtures of all tests."""

import gc
import logging

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine is slow; it is no error.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")


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
