"""Fixtures of all tests."""

import logging

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine is slow; it is no error.
settings.register_profile("any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any speed")


@pytest.fixture(autouse=True)
def reset_logger():
    """Reset the logger, which inputs of add-ons and the shipper configure."""
    log = logging.getLogger("siemtap")
    log.handlers[:], log.propagate = [], True
    log.setLevel(logging.NOTSET)
