"""TA-<addon>-<version>.tar.gz: an add-on for Splunk, built by UCC in its own virtual environment.

Two builds of a version are equal byte for byte: file times, owners and the build number are fixed.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence

import siemtap

from ..core.errors import ConfigError
from ..core.model import Plugin
from ..splunk.build import alerts
from ..splunk.build.app import app_manifest, confs, icon, nav
from ..splunk.build.conf import render_conf
from ..splunk.build.dashboards.health import health
from ..splunk.build.dashboards.overview import overview
from ..splunk.build.eventgen import eventgen, sample_file, sample_lines
from ..splunk.build.pages import global_config
from ..splunk.build.readme import render_readme
from ..splunk.build.scripts import scripts
from ..splunk.runtime.names import addon
from .archive import STAMP, pack
from .integration import described, events_of_sample, packaged
from .licenses import copy_licenses, metadata_folders
from .source import Source, source_of
from .ucc import UCC_LIBRARIES, Tools, carried_names

LICENSE = Path(__file__).with_name("LICENSE.txt")
MACHINE = Path(siemtap.__file__).parent  # the folder of siemtap
# folders and files of siemtap that an add-on carries, as patterns
RUNTIME = (
    "__init__.py",
    "core",
    "edge/*.py",
    "edge/client",
    "edge/splunk",
    "edge/store",
    "engine",
    "splunk/__init__.py",
    "splunk/runtime",
)
WEBHOOK_RUNTIME = ("edge/receive",)  # and with a webhook
PYTHON_SPEC = (
    "python.required = {3.9|3.13}",
    "* The Python versions that the script runs on.",
    "* Default: not set",
)
PLUGIN_FILES_LEFT_OUT = (
    "cases",
    "simulator*.py",
    "sample.yml",
    "__pycache__",
    "README.md",
    "CHANGELOG.md",
    "ingest.py",
    "elastic",
    "py.typed",
)


def build_addons(plugins: Sequence[Plugin], into: Path, offline: Optional[Path]) -> Iterator[Path]:
    """Build the add-ons of plugins into a folder; yield the path of each.

    `offline`: a folder of wheels, instead of a package index.
    """
    sources = [_source_of_addon(plugin) for plugin in plugins]
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(Path(folder) / "tools", offline)
        for plugin, source in zip(plugins, sources):
            target = into / f"{addon(plugin).name}-{source.version}.tar.gz"
            target.write_bytes(pack(_build(Path(folder) / plugin.name, plugin, source, tools)))
            yield target


def _source_of_addon(plugin: Plugin) -> Source:
    """Return where a plugin is installed from. Raise ConfigError if it requires a library that an
    add-on does not carry."""
    source = source_of(plugin)
    missing = sorted(set(source.requirements()) - carried_names())
    if missing:
        raise ConfigError(
            f"{plugin.name} requires {', '.join(missing)}, which an add-on does not carry; there"
            f" are {', '.join(sorted(carried_names()))}"
        )
    return source


def _build(work: Path, plugin: Plugin, source: Source, tools: Tools) -> Path:
    """Build an add-on below `work`, and return its folder."""
    _write_package(work, plugin, source.version)
    tools.call(
        tools.bin / "ucc-gen",
        "build",
        "--source",
        "package",
        "--ta-version",
        source.version,
        "--pip-version",
        "26.2",
        "--python-binary-name",
        tools.bin / "python",
        cwd=work,
    )
    folder = work / "output" / addon(plugin).name
    _replace_libraries(folder, plugin, source, tools)
    _write_views(folder, plugin)
    _write_samples(folder, plugin, source)
    _fix_specs(folder)
    _fix_build_number(folder)
    return folder


def _write_package(work: Path, plugin: Plugin, version: str) -> None:
    """Write what UCC builds from: globalConfig.json, scripts, conf files, README, icons."""
    package = work / "package"
    (package / "bin").mkdir(parents=True)
    (package / "default").mkdir()
    (package / "lib").mkdir()
    config = global_config(plugin, version)
    (work / "globalConfig.json").write_text(json.dumps(config, indent=2))
    (package / "lib/requirements.txt").write_text("".join(f"{pin}\n" for pin in UCC_LIBRARIES))
    for name, text in scripts(plugin).items():
        (package / f"bin/{name}.py").write_text(text)
    for name, stanzas in confs(plugin).items():
        (package / f"default/{name}.conf").write_text(render_conf(stanzas))
    (package / "README.txt").write_text(render_readme(plugin, version))
    (package / "LICENSES").mkdir()
    shutil.copy(LICENSE, package / "LICENSES/Apache-2.0.txt")
    (package / "static").mkdir()
    for suffix, size in (("", 36), ("_2x", 72)):
        for alternative in ("", "Alt"):
            (package / f"static/appIcon{alternative}{suffix}.png").write_bytes(icon(size))
    (package / "app.manifest").write_text(json.dumps(app_manifest(plugin, version), indent=2))


def _replace_libraries(folder: Path, plugin: Plugin, source: Source, tools: Tools) -> None:
    """Replace the lib/ that UCC made: the locked libraries, siemtap, the plugin."""
    shutil.rmtree(folder / "lib")
    libraries = [tools.libraries]
    if plugin.webhook:
        libraries.append(tools.webhook_libraries)
    for library in libraries:
        shutil.copytree(
            library,
            folder / "lib",
            ignore=shutil.ignore_patterns(
                "__pycache__", "*.dist-info", "*.egg-info", "bin", "*.pyc"
            ),
            dirs_exist_ok=True,
        )
        copy_licenses(metadata_folders(library), folder / "LICENSES")
    copy_licenses(source.metadata_folders(), folder / "LICENSES")
    write_own_sources(folder, plugin, source)


def write_own_sources(folder: Path, plugin: Plugin, source: Source) -> None:
    """Write siemtap and the plugin into the lib/ of an add-on."""
    patterns = RUNTIME + WEBHOOK_RUNTIME if plugin.webhook else RUNTIME
    for path in (path for pattern in patterns for path in MACHINE.glob(pattern)):
        copy(path, folder / "lib/siemtap" / path.relative_to(MACHINE))
    shutil.copytree(
        source.folder,
        folder / "lib" / plugin.name,
        ignore=shutil.ignore_patterns(*PLUGIN_FILES_LEFT_OUT),
    )


def _write_views(folder: Path, plugin: Plugin) -> None:
    """Write dashboards, menu and alert forms over those that UCC made."""
    ui = folder / "default/data/ui"
    texts = {
        ui / "views/overview.xml": overview(plugin),
        ui / "views/health.xml": health(plugin),
        ui / "nav/default.xml": nav(plugin),
    }
    commands = alerts.alert_commands(plugin)
    for command in commands:
        path = ui / f"alerts/{alerts.action_name(plugin, command)}.html"
        texts[path] = alerts.alert_form(plugin, command)
    if commands:
        texts[folder / "README/alert_actions.conf.spec"] = alerts.alert_spec(plugin)
    for path, text in texts.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def _write_samples(folder: Path, plugin: Plugin, source: Source) -> None:
    """Write sample data and eventgen.conf: the events of the cases that the plugin's Elastic
    package names as its samples. A plugin without such a package has none.

    The conf file is beside the samples, for an admin to copy to local/: in default/, AppInspect
    wants a reload trigger for a file that only Eventgen reads.
    """
    if plugin.name not in packaged():
        return
    streams = described(plugin).streams.values()
    events = [event for s in streams for event in events_of_sample(source.folder, plugin, s)]
    texts: Dict[str, str] = {}
    for dataset, line in sample_lines(plugin, events):
        texts[dataset] = f"{texts.get(dataset, '')}{line}\n"
    (folder / "samples").mkdir()
    for dataset, text in texts.items():
        (folder / "samples" / sample_file(dataset)).write_text(text, encoding="utf-8")
    (folder / "samples/eventgen.conf").write_text(render_conf(eventgen(texts)))


def _fix_specs(folder: Path) -> None:
    """Correct what UCC writes about `python.required` into the spec files.

    splunkd warns at each start of a parameter of an input whose name has a dot ("must match the
    regex [0-9a-zA-Z][0-9a-zA-Z_-]*"), and UCC names Python 3.7, on which the add-ons do not run.
    """
    for path in (folder / "README").glob("*.spec"):
        lines: List[str] = []
        is_left_out = False
        for line in path.read_text().splitlines():
            is_start = line == "python.required = {3.7|3.9|3.13}"
            is_left_out = is_start or (is_left_out and line.startswith("*"))
            if is_start and path.name != "inputs.conf.spec":
                lines += PYTHON_SPEC
            if not is_left_out:
                lines.append(line)
        path.write_text("".join(f"{line}\n" for line in lines))


def _fix_build_number(folder: Path) -> None:
    """Replace the time of the build with STAMP, and give the pages a language."""
    for path in (folder / "default/app.conf", folder / "appserver/templates/base.html"):
        text = re.sub(r"/static/@\d+/", f"/static/@{STAMP}/", path.read_text())
        text = re.sub(r"(?m)^build = \d+$", f"build = {STAMP}", text)
        # a screen reader needs the language
        path.write_text(text.replace('lang=""', 'lang="en"'))


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
