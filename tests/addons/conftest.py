"""Fixtures: all add-ons in one SPLUNK_HOME, and simulators of splunkd, Splunk Web and a vendor."""

import pytest
from built import PLUGINS, unpacked
from splunk_web import Web
from splunkd_stand_in import Splunkd

from siemtap.splunk.runtime.names import addon
from siemtap.testing import simulation


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    """Return a SPLUNK_HOME with every add-on."""
    home = tmp_path_factory.mktemp("splunk")
    (home / "var/log/splunk").mkdir(parents=True)
    for plugin in PLUGINS:
        unpacked(plugin, home / "etc/apps")
    return home


@pytest.fixture
def splunk(request):
    server = Splunkd("", "")
    yield server
    server.close()


@pytest.fixture
def web(plugin, python, tmp_path):
    server = Web(addon(plugin), unpacked(plugin, tmp_path / "etc/apps"), python)
    yield server
    server.close()
    assert not server.crashed, server.crashed


@pytest.fixture
def vendor(plugin):
    server = simulation.Server(simulation.simulator(plugin.name, {}))
    yield server
    server.close()
