"""The add-ons that `ci/bundle` has built, and the Pythons that Splunk has."""

import os
import sys
import tarfile
from pathlib import Path

import pytest

from siemtap.runners import plugins
from siemtap.runners.names import addon

BUILT = Path(os.environ.get("SIEMTAP_ADDONS", "dist"))
PYTHONS = [
    python
    for python in os.environ.get("SIEMTAP_PYTHONS", sys.executable).split(os.pathsep)
    if python
]
PLUGINS = list(plugins.installed().values())
SECRETS = {
    "apptrana": ("client_secret",),
    "centurylink_ips": ("password",),
    "pingintelligence": ("access_key", "secret_key"),
}
each_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
each_python = pytest.mark.parametrize(
    "python", PYTHONS, ids=lambda python: Path(python).parents[1].name
)


def tarball(plugin):
    return next(BUILT.glob(f"{addon(plugin).name}-*.tar.gz"))


def unpacked(plugin, folder):
    """The add-on's folder."""
    with tarfile.open(tarball(plugin)) as tar:
        tar.extractall(folder, filter="data")
    return folder / addon(plugin).name
