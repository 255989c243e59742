"""Finds plugins: the entry points of installed packages, and in a checkout the folders beside
siemtap."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

from ..core.errors import ConfigError
from ..core.manifest import suggest
from ..core.model import Plugin
from ..core.rows import Dataset
from . import cim, ecs, health

GROUP = "siemtap.plugins"


@lru_cache(maxsize=1)
def installed() -> Dict[str, Plugin]:
    """Return all plugins by name, sorted. ConfigError if a plugin's fields are not those of ECS,
    or if its data models lack what the CIM requires."""
    by_name: Dict[str, Plugin] = {}
    for entry_point in _entry_points():
        plugin = entry_point.load()
        by_name[plugin.name] = plugin
    source_root = Path(__file__).resolve().parents[2]
    # in a checkout a new plugin runs before it is installed
    if (source_root.parent / "setup.cfg").exists() and str(source_root) in sys.path:
        for path in source_root.glob("*/plugin.py"):
            name = path.parent.name
            if name not in by_name:
                by_name[name] = import_module(name).PLUGIN
    for plugin in by_name.values():
        ecs.check_plugin(plugin)
        cim.check_plugin(plugin)
    return dict(sorted(by_name.items()))


def _entry_points() -> List[Any]:
    points: Any = metadata.entry_points()
    return list(points.select(group=GROUP) if hasattr(points, "select") else points.get(GROUP, ()))


def datasets() -> Dict[str, Dataset]:
    """Return every dataset by name: those of the plugins, and siemtap.health."""
    by_name = {
        dataset.name: dataset for plugin in installed().values() for dataset in plugin.datasets
    }
    by_name[health.DATASET.name] = health.DATASET
    return by_name


def plugin(name: str, among: Optional[Mapping[str, Plugin]] = None) -> Plugin:
    """Return the plugin of this name. Raise ConfigError if there is none.

    among: the plugins by name; by default those that are installed.
    """
    known = installed() if among is None else among
    if name not in known:
        raise ConfigError(
            f'there is no plugin "{name}"{suggest(name, known)}; there are {", ".join(known)}'
        )
    return known[name]
