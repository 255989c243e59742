"""dist/<plugin>-<version>.zip: an integration package of Elastic's, for each plugin that says how
its events come to an agent.

usage: packaging/build elastic [NAME…]
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import sys
import zipfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, Sequence

from siemtap import VERSION, contract
from siemtap.core.model import Plugin
from siemtap.render import package
from siemtap.runners import plugins

ROOT = Path(__file__).resolve().parents[1]
STAMP = (2026, 1, 1, 0, 0, 0)  # of every file: the same bytes for the same package


def packaged() -> Dict[str, Plugin]:
    return {
        name: plugin for name, plugin in plugins.installed().items() if find_spec(f"{name}.ingest")
    }


def described(plugin: Plugin) -> package.Package:
    found: package.Package = import_module(f"{plugin.name}.ingest").PACKAGE
    return found


def files(plugin: Plugin) -> Dict[str, str]:
    """All that is text."""
    cases = Path(import_module(plugin.name).__file__ or "").parent / "cases"
    samples = {
        name: json.loads((cases / stream.sample / "expected.json").read_text(encoding="utf-8"))[0]
        for name, stream in described(plugin).streams.items()
    }
    width, height = struct.unpack(">II", picture(plugin)[16:24])  # of a PNG's first chunk
    return package.files(
        plugin,
        contract.read("event.schema.json"),
        described(plugin),
        samples,
        VERSION,
        f"{width}x{height}",
    )


def picture(plugin: Plugin) -> bytes:
    return (ROOT / f"docs/{plugin.name}-overview.png").read_bytes()


def contents(plugin: Plugin) -> Dict[str, bytes]:
    return {
        **{path: text.encode() for path, text in files(plugin).items()},
        package.PICTURE: picture(plugin),
    }


def make(root: Path, words: Sequence[str]) -> int:
    for name in words or list(packaged()):
        target = root / f"dist/{name}-{VERSION}.zip"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(zipped(f"{name}-{VERSION}", contents(plugins.plugin(name))))
        print(
            f"built: {target.relative_to(root)}, {target.stat().st_size / 1024:.0f} KiB, sha256"
            f" {hashlib.sha256(target.read_bytes()).hexdigest()[:16]}"
        )
    return 0


def zipped(top: str, found: Dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    folders = {
        f"{top}/{path[:place]}/" for path in found for place, char in enumerate(path) if char == "/"
    }
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted({f"{top}/", *folders, *(f"{top}/{path}" for path in found)}):
            info = zipfile.ZipInfo(name, STAMP)
            info.external_attr, info.compress_type, info.create_system = (
                ((0o40755 << 16) | 0x10 if name.endswith("/") else 0o100644 << 16),
                zipfile.ZIP_DEFLATED,
                3,
            )
            file.writestr(info, found.get(name[len(top) + 1 :], b""))
    return made.getvalue()


if __name__ == "__main__":
    sys.exit(make(ROOT, sys.argv[1:]))
