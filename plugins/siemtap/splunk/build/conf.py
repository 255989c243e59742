"""The conf files of an add-on, as text."""

from __future__ import annotations

from typing import Dict, List

Conf = Dict[str, Dict[str, str]]  # stanza -> key -> value


def render_conf(stanzas: Conf) -> str:
    """Return the text of a conf file."""
    parts: List[str] = []
    for name, keys in stanzas.items():
        lines = [f"{key} = {value}" for key, value in keys.items()]
        parts.append("\n".join([f"[{name}]", *lines, ""]))
    return "\n".join(parts)
