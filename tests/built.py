"""The add-ons that `ci/bundle` built, and the Python versions of Splunk."""

import os
import sys
import tarfile
from pathlib import Path

import pytest

from siemtap.core.manifest import describe
from siemtap.render import registry
from siemtap.splunk.runtime.names import addon
from siemtap.testing.simulation import simulator

BUILT = Path(os.environ.get("SIEMTAP_ADDONS", "dist"))
PYTHONS = [
    python
    for python in os.environ.get("SIEMTAP_PYTHONS", sys.executable).split(os.pathsep)
    if python
]
PLUGINS = list(registry.installed().values())
# plugin -> the secrets of an account that its simulator asks for
SECRETS = {
    plugin.name: tuple(
        setting["name"]
        for setting in describe(plugin.settings)
        if setting["kind"] == "secret"
        and setting["name"] in simulator(plugin.name, {}).settings("https://api.example.com")
    )
    for plugin in PLUGINS
}
each_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
each_python = pytest.mark.parametrize(
    "python", PYTHONS, ids=lambda python: Path(python).parents[1].name
)


def tarball(plugin):
    return next(BUILT.glob(f"{addon(plugin).name}-*.tar.gz"))


def unpacked(plugin, folder):
    """Unpack the add-on; return its folder."""
    with tarfile.open(tarball(plugin)) as tar:
        tar.extractall(folder, filter="data")
    return folder / addon(plugin).name
