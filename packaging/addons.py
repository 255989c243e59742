"""dist/TA-<addon>-<version>.tar.gz: an add-on for each vendor, built by UCC in an environment of
its own.

usage: packaging/build splunk [--fill DIR | --offline DIR] [NAME…]

DIR: a folder of wheels; filled where there is a network, and built from where there is none.

What is built twice is the same byte for byte: times, owners and the build number are those of the
version.
"""

from __future__ import annotations

import email
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import venv
import zlib
from pathlib import Path
from typing import Any, Dict, Sequence, Tuple

from addon_readme import readme

from siemtap import VERSION, contract
from siemtap.core.model import Plugin
from siemtap.render import splunk
from siemtap.render import splunk_views as views
from siemtap.runners import plugins
from siemtap.runners.names import addon, webhook

STAMP = 1_767_225_600  # 2026-01-01: the time of every file, and the number of every build
# to the byte; packaging/locked.py writes them
LOCKED = Path(__file__).with_name("requirements")
# UCC wants to install these itself; what it installs is not what is carried
PAGES = ("splunktaucclib==8.2.0", "solnlib==7.0.0", "splunk-sdk==2.1.1")
PURE = (
    "--no-deps",
    "--only-binary",
    ":all:",
    "--python-version",
    "3.9",
    "--implementation",
    "py",
    "--abi",
    "none",
    "--platform",
    "any",
)
MACHINE = (
    "__init__.py",
    "engine.py",
    "core",
    "contract.py",
    "edge/__init__.py",
    "edge/ahead.py",
    "edge/bearer.py",
    "edge/checkpoints.py",
    "edge/clock.py",
    "edge/http.py",
    "edge/pins.py",
    "edge/quoted.py",
    "edge/tail.py",
    "edge/walk.py",
    "outputs/__init__.py",
    "outputs/compact.py",
    "outputs/encode.py",
    "runners/__init__.py",
    "runners/names.py",
    "runners/splunk.py",
    "runners/splunk_alert.py",
    "runners/splunk_pages.py",
    "runners/splunk_pipe.py",
    "runners/splunkd.py",
)
RECEIVER = (
    "edge/arrivals.py",
    "edge/listen.py",
    "edge/spool.py",
    "runners/receiving.py",
    "runners/splunk_webhook.py",
)
NOT_OF_PLUGIN = (
    "cases",
    "simulator.py",
    "sample.yml",
    "__pycache__",
    "README.md",
    "CHANGELOG.md",
    "ingest.py",
    "elastic",
)
START = '''"""{title}: what splunkd starts."""

import import_declare_test  # noqa: F401  (lib/ comes first on the path)
import sys

from {plugin} import PLUGIN
from siemtap.runners.names import addon
from siemtap.runners.splunk import main

if __name__ == "__main__":
    sys.exit(main(PLUGIN, addon(PLUGIN)))
'''
WEBHOOK = '''"""{title}, pushed: what splunkd starts on a heavy forwarder."""

import import_declare_test  # noqa: F401  (lib/ comes first on the path)
import sys

from {plugin} import PLUGIN
from siemtap.runners.names import addon, webhook
from siemtap.runners.splunk import main
from siemtap.runners.splunk_webhook import Webhook

if __name__ == "__main__":
    sys.exit(main(PLUGIN, webhook(addon(PLUGIN)), kind=Webhook))
'''

PAGES_OF = '''"""What the pages do beside keeping: no account that {title} does not let in; an input's marks begin and go with it."""

import import_declare_test  # noqa: F401  (lib/ comes first on the path)

from {plugin} import PLUGIN
from siemtap.runners.names import addon
from siemtap.runners.splunk_pages import begun, forget_account, forget_input, trouble
from siemtap.runners.splunkd import Splunkd
from solnlib.splunkenv import get_splunkd_uri
from splunktaucclib.rest_handler.admin_external import AdminExternalHandler
from splunktaucclib.rest_handler.error import RestError


def session(handler):
    return Splunkd(addon(PLUGIN), get_splunkd_uri(), handler.getSessionKey())


class AccountHandler(AdminExternalHandler):
    def handleCreate(self, confInfo):
        self.greet()
        AdminExternalHandler.handleCreate(self, confInfo)

    def handleEdit(self, confInfo):
        self.greet()
        AdminExternalHandler.handleEdit(self, confInfo)

    def handleRemove(self, confInfo):
        AdminExternalHandler.handleRemove(self, confInfo)
        forget_account(session(self), self.callerArgs.id)

    def greet(self):
        said = trouble(PLUGIN, session(self), self.callerArgs.id, self.payload)
        if said:
            raise RestError(400, said)


class InputHandler(AdminExternalHandler):
    def handleCreate(self, confInfo):
        begun(self.payload, True)
        AdminExternalHandler.handleCreate(self, confInfo)

    def handleEdit(self, confInfo):
        begun(self.payload, False)
        AdminExternalHandler.handleEdit(self, confInfo)

    def handleRemove(self, confInfo):
        AdminExternalHandler.handleRemove(self, confInfo)
        forget_input(session(self), addon(PLUGIN).kind + "://" + self.callerArgs.id)
'''


ALERT = '''"""{label}, where an alert fires."""

import import_declare_test  # noqa: F401  (lib/ comes first on the path)
import sys

from {plugin} import PLUGIN
from siemtap.runners.names import addon
from siemtap.runners.splunk_alert import main

if __name__ == "__main__":
    sys.exit(main(PLUGIN, addon(PLUGIN), "{command}"))
'''


def make(root: Path, words: Sequence[str]) -> int:
    options = {
        word: words[place + 1]
        for place, word in enumerate(words)
        if word in ("--fill", "--offline") and place + 1 < len(words)
    }
    names = [word for word in words if word not in (*options, *options.values())]
    if any(name.startswith("-") for name in names):
        raise SystemExit(__doc__)
    if "--fill" in options:
        return fill(Path(options["--fill"]))
    offline = options.get("--offline", "")
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(Path(folder) / "tools", offline)
        for name in names or list(plugins.installed()):
            plugin = plugins.plugin(name)
            target = root / "dist" / f"{addon(plugin).name}-{VERSION}.tar.gz"
            target.parent.mkdir(exist_ok=True)
            built = build(root, Path(folder) / name, plugin, tools)
            target.write_bytes(packed(built))
            print(
                f"built: {target.relative_to(root)}, {target.stat().st_size / 2**20:.2f} MiB,"
                f" sha256 {hashlib.sha256(target.read_bytes()).hexdigest()[:16]}"
            )
    return 0


def fill(folder: Path) -> int:
    """Everything that a build asks an index for."""
    with tempfile.TemporaryDirectory() as place:
        venv.create(place, with_pip=True)
        pip = [
            str(Path(place) / ("Scripts" if os.name == "nt" else "bin") / "python"),
            "-m",
            "pip",
            "download",
            "-q",
            "--disable-pip-version-check",
            "-d",
            str(folder),
        ]
        for more in (
            _locked("build"),
            PAGES,
            ("--no-deps", "--no-binary", "splunk-sdk", *_locked("sdk")),
            (*PURE, *_locked("carried")),
            (*PURE, *_locked("receiver")),
        ):
            if subprocess.run([*pip, *more]).returncode:
                return 1
    print(f"filled: {folder}, {len(list(folder.iterdir()))} files")
    return 0


def _locked(group: str) -> Tuple[str, ...]:
    return "--require-hashes", "-r", str(LOCKED / f"{group}.txt")


class Tools:
    """UCC, and the libraries for every add-on: pure Python, resolved for 3.9."""

    def __init__(self, folder: Path, offline: str) -> None:
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "PIP_REQUIRE"))
        }
        if offline:
            self.environment.update(
                PIP_NO_INDEX="1",
                PIP_FIND_LINKS=str(Path(offline).resolve()),
                PIP_CONFIG_FILE=os.devnull,
            )
        venv.create(folder, with_pip=True)
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        pip = (self.bin / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
        self.call(*pip, *_locked("build"))
        self.lib, self.receiver = folder / "lib-of-addons", folder / "lib-of-receivers"
        # there is no wheel of it
        self.call(
            *pip,
            "--target",
            self.lib,
            "--no-compile",
            "--no-deps",
            "--no-build-isolation",
            "--no-binary",
            "splunk-sdk",
            *_locked("sdk"),
        )
        self.call(*pip, "--target", self.lib, "--no-compile", *PURE, *_locked("carried"))
        self.call(*pip, "--target", self.receiver, "--no-compile", *PURE, *_locked("receiver"))

    def call(self, *words: Any, cwd: Any = None) -> None:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(
                f"{' '.join(map(str, words[:4]))} …"
                f" failed:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
            )


def build(root: Path, work: Path, plugin: Plugin, tools: Tools) -> Path:
    """The folder of the add-on."""
    app, cim = addon(plugin), contract.read("cim.json")
    package = work / "package"
    (package / "bin").mkdir(parents=True)
    (package / "default").mkdir()
    (package / "lib").mkdir()
    (work / "globalConfig.json").write_text(
        json.dumps(splunk.global_config(plugin, VERSION), indent=2)
    )
    (package / "lib/requirements.txt").write_text("".join(f"{one}\n" for one in PAGES))
    (package / f"bin/{app.kind}.py").write_text(
        START.format(title=plugin.title, plugin=plugin.name)
    )
    (package / f"bin/{app.root}_pages.py").write_text(
        PAGES_OF.format(title=plugin.title, plugin=plugin.name)
    )
    for name, stanzas in confs(plugin, cim).items():
        (package / f"default/{name}.conf").write_text(splunk.text(stanzas))
    if plugin.webhook:
        (package / f"bin/{webhook(app).kind}.py").write_text(
            WEBHOOK.format(title=plugin.title, plugin=plugin.name)
        )
    for command in views.alerts(plugin):
        (package / f"bin/{views.action_name(plugin, command)}.py").write_text(
            ALERT.format(label=command.alert, plugin=plugin.name, command=command.name)
        )
    (package / "README.txt").write_text(readme(plugin))
    (package / "LICENSES").mkdir()
    shutil.copy(root / "LICENSE", package / "LICENSES/Apache-2.0.txt")
    (package / "static").mkdir()
    for suffix, size in (("", 36), ("_2x", 72)):
        for alternative in ("", "Alt"):
            (package / f"static/appIcon{alternative}{suffix}.png").write_bytes(icon(size))
    (package / "app.manifest").write_text(json.dumps(manifest(plugin), indent=2))
    tools.call(
        tools.bin / "ucc-gen",
        "build",
        "--source",
        "package",
        "--ta-version",
        VERSION,
        "--pip-version",
        "26.2",
        "--python-binary-name",
        tools.bin / "python",
        cwd=work,
    )
    built = work / "output" / app.name
    shutil.rmtree(built / "lib")
    for lib in (tools.lib, *([tools.receiver] if plugin.webhook else [])):
        shutil.copytree(
            lib,
            built / "lib",
            ignore=shutil.ignore_patterns(
                "__pycache__", "*.dist-info", "*.egg-info", "bin", "*.pyc"
            ),
            dirs_exist_ok=True,
        )
        licences(lib, built / "LICENSES")
    for name in (*MACHINE, *(RECEIVER if plugin.webhook else ())):
        copy(root / "plugins/siemtap" / name, built / "lib/siemtap" / name)
    copy(root / "schemas/cim.json", built / "lib/siemtap/schemas/cim.json")
    shutil.copytree(
        root / "plugins" / plugin.name,
        built / "lib" / plugin.name,
        ignore=shutil.ignore_patterns(*NOT_OF_PLUGIN),
    )
    ui = built / "default/data/ui"
    for path, said in (
        (ui / "views/overview.xml", views.overview(plugin, cim)),
        (ui / "views/health.xml", views.health(plugin, cim)),
        (ui / "nav/default.xml", views.nav(plugin)),
        *(
            (
                ui / f"alerts/{views.action_name(plugin, command)}.html",
                views.alert_form(plugin, command),
            )
            for command in views.alerts(plugin)
        ),
        *(
            [(built / "README/alert_actions.conf.spec", views.alert_spec(plugin))]
            if views.alerts(plugin)
            else []
        ),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_text(said)
    for path in (built / "default/app.conf", built / "appserver/templates/base.html"):
        said = re.sub(
            r"(?m)^build = \d+$",
            f"build = {STAMP}",
            re.sub(r"/static/@\d+/", f"/static/@{STAMP}/", path.read_text()),
        )
        # a page says its language to who listens to it
        path.write_text(said.replace('lang=""', 'lang="en"'))
    return built


def licences(lib: Path, into: Path) -> None:
    """Whose work is carried, under which terms; their own words beside it."""
    lines = []
    for info in sorted([*lib.glob("*.dist-info"), *lib.glob("*.egg-info")]):
        said = email.message_from_string(
            (info / ("METADATA" if info.suffix == ".dist-info" else "PKG-INFO")).read_text(
                encoding="utf-8"
            )
        )
        classified = [
            line.rpartition(" :: ")[2]
            for line in said.get_all("Classifier", [])
            if line.startswith("License ::")
        ]
        lines.append(
            f"{said['Name']} {said['Version']}:"
            f" {said['License-Expression'] or ', '.join(classified) or said['License']};"
            f" {said['Home-page'] or ''}\n".replace("; \n", "\n")
        )
        for path in sorted(info.rglob("*")):
            if path.is_file() and re.match(r"(?i)(licen[sc]e|notice|copying)", path.name):
                shutil.copy(
                    path,
                    into / f"{said['Name']}-{path.name if path.suffix else f'{path.name}.txt'}",
                )
    with open(into / "THIRDPARTY.txt", "a", encoding="utf-8") as file:
        file.writelines(lines)


def confs(plugin: Plugin, cim: Any) -> Dict[str, splunk.Conf]:
    found = {
        "props": splunk.props(plugin, contract.read("event.schema.json"), cim),
        "eventtypes": splunk.eventtypes(plugin, cim),
        "tags": splunk.tags(plugin, cim),
        "macros": splunk.macros(plugin),
        "collections": splunk.collections(plugin),
        "transforms": views.transforms(plugin),
        "savedsearches": views.savedsearches(plugin, cim),
        "workflow_actions": views.workflow_actions(plugin, cim),
        "alert_actions": views.alert_actions(plugin),
    }
    return {name: stanzas for name, stanzas in found.items() if stanzas}


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def manifest(plugin: Plugin) -> Dict[str, Any]:
    return {
        "schemaVersion": "2.0.0",
        "info": {
            "title": f"{plugin.title} Add-on for Splunk",
            "id": {"group": None, "name": addon(plugin).name, "version": VERSION},
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


def icon(size: int) -> bytes:
    """A drop under a tap, drawn: a PNG of so many pixels."""
    middle, rows = size / 2, bytearray()
    for y in range(size):
        rows.append(0)
        for x in range(size):
            across, down = (x + 0.5 - middle) / middle, (y + 0.5) / size
            width = (
                0.0
                if down < 0.12 or down > 0.9
                else 0.62
                * (
                    ((down - 0.12) / 0.5) ** 1.6
                    if down < 0.62
                    else (1 - ((down - 0.62) / 0.28) ** 2) ** 0.5
                )
            )
            rows += bytes((47, 111, 222, 255)) if abs(across) <= width else bytes(4)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(rows), 9))
        + chunk(b"IEND", b"")
    )


def packed(built: Path) -> bytes:
    """The same bytes for the same files: sorted, without owners, all of one time; files 644,
    folders 755."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in [built, *sorted(built.rglob("*"))]:
            info = tarfile.TarInfo(str(path.relative_to(built.parent)).replace(os.sep, "/"))
            info.mtime = STAMP
            if path.is_dir():
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            elif path.suffix != ".pyc" and "__pycache__" not in path.parts:
                data = path.read_bytes()
                info.size, info.mode = len(data), 0o644
                tar.addfile(info, io.BytesIO(data))
    made = io.BytesIO()
    with gzip.GzipFile(fileobj=made, mode="wb", compresslevel=9, mtime=STAMP, filename="") as file:
        file.write(buffer.getvalue())
    return made.getvalue()


if __name__ == "__main__":
    sys.exit(make(Path(__file__).resolve().parents[1], sys.argv[1:]))
