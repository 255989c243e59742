"""Render settings as fields of UCC's pages."""

from __future__ import annotations

from typing import Any, Dict, Mapping

from ...render.kinds import rendering_of


def field(s: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the field of a setting on a page."""
    kind = rendering_of(s)
    entity = {
        "field": s["name"],
        "label": s["label"],
        "help": s["help"].replace("`", ""),
        "required": bool(s["required"]),
        **kind.widget(s),
    }
    default = kind.widget_default(s)
    if default not in (None, ""):
        entity["defaultValue"] = default
    return entity
