"""Which plugins there are: the entry points of everything installed, and folders beside us that
are not installed yet."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Dict, List

from .. import health
from ..core.errors import ConfigError
from ..core.manifest import guess
from ..core.mapping import Dataset
from ..core.model import Plugin

GROUP = "siemtap.plugins"


@lru_cache(maxsize=1)
def installed() -> Dict[str, Plugin]:
    """Name -> plugin, sorted by name."""
    found: Dict[str, Plugin] = {}
    for point in _points():
        plugin = point.load()
        found[plugin.name] = plugin
    checkout = Path(__file__).resolve().parents[2]
    # here a new plugin runs before it is installed
    if (checkout.parent / "setup.cfg").exists() and str(checkout) in sys.path:
        for name in (path.parent.name for path in checkout.glob("*/plugin.py")):
            if name not in found:
                found[name] = import_module(name).PLUGIN
    return dict(sorted(found.items()))


def _points() -> List[Any]:
    points: Any = metadata.entry_points()
    return list(points.select(group=GROUP) if hasattr(points, "select") else points.get(GROUP, ()))


def datasets() -> Dict[str, Dataset]:
    """Every kind of event that may leave: the plugins' and our own."""
    return {
        dataset.name: dataset
        for dataset in (
            *(dataset for plugin in installed().values() for dataset in plugin.datasets),
            health.DATASET,
        )
    }


def plugin(name: str) -> Plugin:
    there = installed()
    if name not in there:
        raise ConfigError(
            f'there is no plugin "{name}"{guess(name, there)}; there are {", ".join(there)}'
        )
    return there[name]
