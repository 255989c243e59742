"""Fixtures: a simulator of splunkd, and one of a vendor."""

import pytest
from splunkd_stand_in import Splunkd

from apptrana import simulator
from siemtap.testing.simulation import Server


@pytest.fixture
def splunk():
    server = Splunkd("TA-test", "ta_test")
    server.documents["ta_test_checkpoints"] = {}
    yield server
    server.close()


@pytest.fixture
def vendor():
    server = Server(simulator.Simulator(simulator.Knobs(rate=3.0, late=(0.0,))))
    yield server
    server.close()
