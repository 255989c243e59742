"""What every test may count on, whatever ran before it in the same process."""

import logging

import pytest


@pytest.fixture(autouse=True)
def logger_as_new():
    """An add-on's input and the shipper set up the logger of the process: no test meets what another left of it."""
    log = logging.getLogger("siemtap")
    log.handlers[:], log.propagate = [], True
    log.setLevel(logging.NOTSET)
