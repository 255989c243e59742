"""Render what UCC does not write for an add-on: conf files in default/, app.manifest, the
menu, the icon."""

from __future__ import annotations

import struct
import zlib
from typing import Any, Dict

from ...core.model import Plugin
from ..runtime.names import addon
from . import knowledge, searches
from .alerts import alert_actions
from .conf import Conf


def confs(plugin: Plugin) -> Dict[str, Conf]:
    """Return the conf files in default/ that UCC does not write: name -> stanzas."""
    files = {
        "props": knowledge.props(plugin),
        "eventtypes": knowledge.eventtypes(plugin),
        "tags": knowledge.tags(plugin),
        "macros": knowledge.macros(plugin),
        "collections": knowledge.collections(plugin),
        "transforms": searches.transforms(plugin),
        "savedsearches": searches.savedsearches(plugin),
        "workflow_actions": searches.workflow_actions(plugin),
        "alert_actions": alert_actions(plugin),
    }
    return {name: stanzas for name, stanzas in files.items() if stanzas}


def app_manifest(plugin: Plugin, version: str) -> Dict[str, Any]:
    """Return app.manifest, as slim reads it."""
    return {
        "schemaVersion": "2.0.0",
        "info": {
            "title": f"{plugin.title} Add-on for Splunk",
            "id": {"group": None, "name": addon(plugin).name, "version": version},
            "author": [{"name": "siemtap", "email": None, "company": None}],
            "releaseDate": None,
            "description": f"Events of {plugin.title}, mapped to the Common Information Model.",
            "classification": {
                "intendedAudience": "IT Security",
                "categories": ["Security, Fraud & Compliance"],
                "developmentStatus": "Production/Stable",
            },
            "commonInformationModels": None,
            "license": {"name": "Apache-2.0", "text": "LICENSES/Apache-2.0.txt", "uri": None},
            "privacyPolicy": {"name": None, "text": None, "uri": None},
            "releaseNotes": {"name": "README", "text": "./README.txt", "uri": None},
        },
        "dependencies": None,
        "tasks": None,
        "inputGroups": None,
        "incompatibleApps": None,
        "platformRequirements": None,
        "supportedDeployments": ["_standalone", "_distributed", "_search_head_clustering"],
        "targetWorkloads": ["_search_heads", "_indexers", "_forwarders"],
    }


def nav(plugin: Plugin) -> str:
    """Return the add-on's menu; it opens on the configuration page."""
    views = ("overview", "health", "inputs", "configuration", "search")
    default = {"configuration": ' default="true"'}
    items = "".join(f'<view name="{view}"{default.get(view, "")}/>' for view in views)
    return f"<nav>{items}</nav>\n"


def icon(size: int) -> bytes:
    """Return the app's icon as a PNG of size x size pixels: a drop."""
    rows = bytearray()
    for y in range(size):
        rows.append(0)  # no filter
        for x in range(size):
            rows += bytes((47, 111, 222, 255)) if _is_in_drop(x, y, size) else bytes(4)

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(rows), 9))
        + chunk(b"IEND", b"")
    )


def _is_in_drop(x: int, y: int, size: int) -> bool:
    middle = size / 2
    across = (x + 0.5 - middle) / middle  # -1 to 1
    down = (y + 0.5) / size  # 0 to 1
    if down < 0.12 or down > 0.9:
        width = 0.0
    elif down < 0.62:
        width = 0.62 * ((down - 0.12) / 0.5) ** 1.6
    else:
        width = 0.62 * (1 - ((down - 0.62) / 0.28) ** 2) ** 0.5
    return abs(across) <= width
