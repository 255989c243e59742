"""Where a plugin is installed from: its folder, its version, what it requires."""

from __future__ import annotations

import re
from importlib import import_module, metadata
from pathlib import Path
from typing import List, NamedTuple, Optional

from .. import VERSION
from ..core.errors import ConfigError
from ..core.model import Plugin
from ..render.registry import GROUP


class Source(NamedTuple):
    """The package that brings a plugin.

    `distribution`: None for the plugins that come with siemtap.
    """

    folder: Path
    version: str
    distribution: Optional[metadata.Distribution] = None

    def requirements(self) -> List[str]:
        """Return the names of the libraries that the plugin requires besides siemtap."""
        lines = (self.distribution.requires or []) if self.distribution else []
        names = [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines if "extra ==" not in line]
        return [name.lower().replace("_", "-") for name in names if name != "siemtap"]

    def metadata_folders(self) -> List[Path]:
        """Return the dist-info folder of the package of a third party, which has its license."""
        files = (self.distribution.files or []) if self.distribution else []
        return [Path(str(file.locate())).parent for file in files if file.name == "METADATA"]


def source_of(plugin: Plugin) -> Source:
    """Return where a plugin is installed from. Raise ConfigError if no bundle can be made of it."""
    package = plugin.settings.__module__.partition(".")[0]
    if package != plugin.name:
        raise ConfigError(
            f'the plugin {plugin.name} is in the package "{package}"; a bundle needs a package with'
            " the plugin's name"
        )
    folder = Path(import_module(package).__file__ or "").parent
    for point in metadata.entry_points(group=GROUP, name=plugin.name):
        if point.dist and point.dist.name != "siemtap":
            return Source(folder, _checked(point.dist), point.dist)
    return Source(folder, VERSION)


def _checked(distribution: metadata.Distribution) -> str:
    """Return the version of a package, if Splunk and Elastic accept it."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", distribution.version):
        raise ConfigError(
            f"the version of {distribution.name} is {distribution.version}; a bundle needs three"
            " numbers, such as 1.2.0"
        )
    return distribution.version
