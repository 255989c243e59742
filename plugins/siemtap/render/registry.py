"""Finds plugins: the entry points of installed packages, and in a checkout the folders beside
siemtap."""

from __future__ import annotations

import sys
from functools import lru_cache, partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

from ..core.errors import ConfigError
from ..core.manifest import suggest
from ..core.model import Plugin
from ..core.rows import Dataset
from . import cim, ecs, health

GROUP = "siemtap.plugins"


class Installed(NamedTuple):
    """The plugins by name, sorted. `broken`: why those that cannot be loaded are left out."""

    plugins: Dict[str, Plugin]
    broken: Dict[str, str]


def installed() -> Dict[str, Plugin]:
    """Return all plugins that can be loaded by name, sorted."""
    return _find().plugins


def broken() -> Dict[str, str]:
    """Return a sentence for each plugin that is left out, by name: it cannot be imported, its
    fields are not those of ECS, or its data models lack what the CIM requires."""
    return _find().broken


@lru_cache(maxsize=1)
def _find() -> Installed:
    outcome = Installed({}, {})
    for entry_point in _entry_points():
        package = getattr(getattr(entry_point, "dist", None), "name", "")
        place = f"the package {package}" if package else entry_point.value
        advice = f"update {package}, or remove it: pip uninstall {package}"
        _add(outcome, entry_point.name, place, entry_point.load, advice if package else "mend it")
    source_root = Path(__file__).resolve().parents[2]
    # in a checkout a new plugin runs before it is installed
    if (source_root.parent / "setup.cfg").exists() and str(source_root) in sys.path:
        for path in source_root.glob("*/plugin.py"):
            name = path.parent.name
            if name not in outcome.plugins and name not in outcome.broken:
                _add(outcome, name, str(path), partial(_plugin_of, name), "mend the file")
    return Installed(dict(sorted(outcome.plugins.items())), dict(sorted(outcome.broken.items())))


def _plugin_of(package: str) -> Any:
    return import_module(package).PLUGIN


def _add(outcome: Installed, name: str, place: str, load: Callable[[], Any], advice: str) -> None:
    """Add a plugin, or why it is left out: one that is broken must not stop the others."""
    try:
        plugin = load()
        if not isinstance(plugin, Plugin):
            raise ConfigError("it is no siemtap.core.model.Plugin")
        ecs.check_plugin(plugin)
        cim.check_plugin(plugin)
    except ConfigError as error:
        reason = str(error)
    except Exception as error:  # of code that may be anybody's
        reason = f"{type(error).__name__}: {error}"
    else:
        outcome.plugins[plugin.name] = plugin
        return
    outcome.broken[name] = f"the plugin {name} of {place} cannot be loaded: {reason}; {advice}"


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
    if name in broken():
        raise ConfigError(broken()[name])
    if name not in known:
        raise ConfigError(
            f'there is no plugin "{name}"{suggest(name, known)}; there are {", ".join(known)}'
        )
    return known[name]
