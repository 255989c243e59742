"""<plugin>-<version>.zip: an integration package of Elastic's, for a plugin that says in ingest.py
how its events come to an agent."""

from __future__ import annotations

import json
import struct
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List, Tuple

from ..core.errors import ConfigError
from ..core.manifest import describe, suggest
from ..core.model import Plugin
from ..core.rows import Event
from ..core.settings import CommonSettings, Connection, Receiving
from ..elastic.package import build
from ..elastic.package.manifests import PICTURE
from ..elastic.package.model import Package, Stream
from ..render import registry
from ..testing.elastic_templates import is_left_behind
from .archive import zipped
from .source import source_of


def packaged() -> Dict[str, Plugin]:
    """Return the plugins that have an integration package, by name."""
    return {
        name: plugin for name, plugin in registry.installed().items() if find_spec(f"{name}.ingest")
    }


def described(plugin: Plugin) -> Package:
    """Return what a vendor declares for its package. Raise ConfigError if it declares nothing."""
    if not find_spec(f"{plugin.name}.ingest"):
        raise ConfigError(
            f"{plugin.name} has no ingest.py, which says how its events come to an Elastic Agent"
        )
    declared: Package = import_module(f"{plugin.name}.ingest").PACKAGE
    return declared


def build_package(plugin: Plugin, into: Path) -> Path:
    """Build a plugin's package into a folder; return its path."""
    name, version, content = archive_of(plugin)
    target = into / f"{name}-{version}.zip"
    into.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def archive_of(plugin: Plugin) -> Tuple[str, str, bytes]:
    """Return a plugin's package: its name, its version, the ZIP archive."""
    version = source_of(plugin).version
    return plugin.name, version, zipped(f"{plugin.name}-{version}", contents(plugin))


def contents(plugin: Plugin) -> Dict[str, bytes]:
    """Return every file of a package, by path."""
    texts = {path: text.encode() for path, text in files(plugin).items()}
    image = picture(plugin)
    return {**texts, PICTURE: image} if image else texts


def files(plugin: Plugin) -> Dict[str, str]:
    """Return every text file of a package, by path."""
    source, package, image = source_of(plugin), described(plugin), picture(plugin)
    check_settings(plugin, package)
    check_program(plugin, source.folder)
    samples = {
        name: sample_of(source.folder, plugin, stream) for name, stream in package.streams.items()
    }
    size = ""
    if image:
        width, height = struct.unpack(">II", image[16:24])  # of a PNG's first chunk
        size = f"{width}x{height}"
    drawing = source.folder / "elastic/icon.svg"
    icon = drawing.read_text(encoding="utf-8") if drawing.exists() else build.ICON
    return build.files(plugin, package, samples, source.version, size, icon)


def sample_of(folder: Path, plugin: Plugin, stream: Stream) -> Event:
    """Return the first event of the case that a stream names as its sample. ConfigError if the case
    or the event is missing."""
    return events_of_sample(folder, plugin, stream)[0]


def events_of_sample(folder: Path, plugin: Plugin, stream: Stream) -> List[Event]:
    """Return all events of that case, at least one. ConfigError as `sample_of`."""
    path = folder / "cases" / stream.sample / "expected.json"
    events: List[Event] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    if not events:
        raise ConfigError(
            f'{plugin.name}/ingest.py: the sample "{stream.sample}" is no case with an event; write'
            " the name of a folder in cases/ whose expected.json has one"
        )
    return events


def check_settings(plugin: Plugin, package: Package) -> None:
    """Check that the settings that an input names exist. ConfigError names one that does not."""
    forms = (plugin.settings, CommonSettings, Connection, Receiving)
    known = [setting["name"] for form in forms for setting in describe(form)]
    for name, stream in package.streams.items():
        for way in stream.ways:
            for setting in (*way.account, *way.own, *way.needed):
                if setting not in known:
                    own = ", ".join(item["name"] for item in describe(plugin.settings))
                    raise ConfigError(
                        f"{plugin.name}/ingest.py: the input {way.input} of {name} names"
                        f' "{setting}", which is no setting{suggest(setting, known)}; those of'
                        f" manifest.py are {own}"
                    )


def check_program(plugin: Plugin, folder: Path) -> None:
    """Check that the program of a plugin is its own, too. ConfigError if it is still the one of
    `siemtap new`, whose requests are those of no vendor."""
    program = folder / "elastic/event.cel"
    if not program.exists():
        return
    texts = [path.read_text(encoding="utf-8") for path in (folder / "plugin.py", program)]
    if is_left_behind(plugin.name, *texts):
        raise ConfigError(
            f"{plugin.name}/elastic/event.cel is as `siemtap new` wrote it, but plugin.py is not:"
            " an Elastic Agent would send the requests of the template; write those of plugin.py"
            ' there (section 8 of "Adding a vendor"), or change its first comment if it sends the'
            " same"
        )


def picture(plugin: Plugin) -> bytes:
    """Return the screenshot of the dashboard, a PNG; nothing if the plugin has none."""
    path = source_of(plugin).folder / "elastic/overview.png"
    return path.read_bytes() if path.exists() else b""
