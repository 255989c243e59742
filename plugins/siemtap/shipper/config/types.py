"""The types of inputs: every installed plugin, and the inputs that read what a siemtap wrote."""

from __future__ import annotations

from typing import Dict

from ...core.model import Plugin
from ...kafka import input as kafka
from ...render import registry


def input_types() -> Dict[str, Plugin]:
    """Return every type of input by name, sorted."""
    return dict(sorted({**registry.installed(), kafka.PLUGIN.name: kafka.PLUGIN}.items()))


def input_type(name: str) -> Plugin:
    """Return the type of this name. Raise ConfigError if there is none."""
    return registry.plugin(name, input_types())
