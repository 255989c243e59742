"""`siemtap new`: writes the folder of a new plugin, which passes its tests at once."""

from __future__ import annotations

import json
import re
import sys
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, Iterator, List, Mapping

from ..core.errors import ConfigError
from ..core.model import Plugin
from ..render import config, reference
from . import cases
from .elastic_templates import ELASTIC_FILES
from .templates import FILES, PACKAGE_FILES, filled
from .templates_pull import FILES_OF_CURSOR, FILES_OF_WINDOWS
from .templates_push import FILES_OF_PUSH

# kind of feed -> its files
KINDS: Mapping[str, Dict[str, str]] = {
    "windows": FILES_OF_WINDOWS,
    "cursor": FILES_OF_CURSOR,
    "push": FILES_OF_PUSH,
}
FIRST_STEP = {
    "windows": "Create an API key in the vendor's portal: say where.",
    "cursor": "Create an API key in the vendor's portal: say where.",
    "push": "Enter the address of siemtap's webhook in the vendor's portal: say where.",
}


def write(name: str, kind: str, into: Path) -> List[Path]:
    """Write the plugin's folder into a folder of plugins; return the paths of its files.

    Raise ConfigError for a name that cannot be a Python package, or if the folder exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise ConfigError(
            f'"{name}" cannot name a plugin; use lower case letters, digits and underscores, with a'
            " letter first"
        )
    folder = into / name
    if folder.exists():
        raise ConfigError(f"{folder} exists already; choose another name, or delete it")
    if find_spec(name):
        raise ConfigError(f'"{name}" is the name of a Python package; choose another name')
    files = {**FILES, **KINDS[kind], **ELASTIC_FILES[kind]}
    files["README.md"] = files["README.md"].replace("@First@", FIRST_STEP[kind])
    paths = _write_files(folder, files, name)
    with _imported(name, into) as plugin:
        return sorted([*paths, *_render(plugin)])


def write_package(name: str, kind: str, folder: Path) -> List[Path]:
    """Write an installable package of its own: setup.cfg, the plugin's folder, its tests.

    Raise ConfigError if the folder holds a package already.
    """
    for file in ("setup.cfg", "pyproject.toml"):
        if (folder / file).exists():
            raise ConfigError(
                f"{folder / file} exists already, and is not replaced; choose another folder"
            )
    paths = write(name, kind, folder)
    return [*paths, *_write_files(folder, PACKAGE_FILES, name)]


def _write_files(folder: Path, files: Dict[str, str], name: str) -> List[Path]:
    paths = []
    for relative, text in sorted(files.items()):
        path = folder / relative.replace("@name@", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(filled(text, name), encoding="utf-8")
        paths.append(path)
    return paths


@contextmanager
def _imported(name: str, into: Path) -> Iterator[Plugin]:
    """Import the plugin from the folder that it was written into, for the time of the context."""
    root = str(into.resolve())
    sys.path.insert(0, root)
    invalidate_caches()
    try:
        yield import_module(name).PLUGIN
    finally:
        sys.path.remove(root)
        for module in [*sys.modules]:
            if module.partition(".")[0] == name:
                del sys.modules[module]


def rendered(plugin: Plugin) -> Dict[Path, str]:
    """Return what a plugin's folder has of its manifest and mapping: sample.yml, and README.md with
    its tables."""
    folder = cases.folder_of(plugin)
    readme = (folder / "README.md").read_text(encoding="utf-8")
    return {
        folder / "sample.yml": config.sample(plugin),
        folder / "README.md": reference.fill_tables(readme, reference.tables_of(plugin)),
    }


def _render(plugin: Plugin) -> List[Path]:
    """Write what is rendered, and the case's expected events."""
    files = rendered(plugin)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    (case,) = cases.folders(plugin)
    events, _, _ = cases.play(case, plugin)
    expected = case / "expected.json"
    expected.write_text(json.dumps(events, indent=1) + "\n", encoding="utf-8")
    return [*files, expected]
