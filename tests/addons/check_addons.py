"""The built add-ons, on every Python that Splunk has, with nothing else installed. `ci/bundle` builds them and says where they are."""

import collections
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
from splunkd_stand_in import KEY, Splunkd

from siemtap.core.manifest import describe
from siemtap.core.windows import MINUTE
from siemtap.runners import plugins, simulate
from siemtap.runners.names import addon
from siemtap.runners.simulate import Fault

BUILT = Path(os.environ.get("SIEMTAP_ADDONS", "dist"))
PYTHONS = [python for python in os.environ.get("SIEMTAP_PYTHONS", sys.executable).split(os.pathsep) if python]
PLUGINS = list(plugins.installed().values())
each_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
each_python = pytest.mark.parametrize("python", PYTHONS, ids=lambda python: Path(python).parents[1].name)
SECRETS = {"apptrana": ("client_secret",), "centurylink_ips": ("password",), "pingintelligence": ("access_key", "secret_key")}


def tarball(plugin):
    return next(BUILT.glob(f"{addon(plugin).name}-*.tar.gz"))


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    """SPLUNK_HOME with all of them."""
    home = tmp_path_factory.mktemp("splunk")
    (home / "var/log/splunk").mkdir(parents=True)
    for plugin in PLUGINS:
        with tarfile.open(tarball(plugin)) as tar:
            tar.extractall(home / "etc/apps", filter="data")
    return home


@pytest.fixture
def splunk(request):
    server = Splunkd("", "")
    yield server
    server.close()


def start(home, python, plugin, words=(), said=""):
    app = addon(plugin)
    process = subprocess.Popen([python, "-B", str(home / f"etc/apps/{app.name}/bin/{app.kind}.py"), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={"SPLUNK_HOME": str(home), "PATH": "/usr/bin:/bin"}, cwd="/")
    process.stdin.write(said.encode())
    process.stdin.close()
    process.stdin = None
    return process


def asked(splunk, home, plugin, stanza, **settings):
    params = "".join(f'<param name="{name}">{escape(str(value))}</param>' for name, value in {"interval": "60", "account": "main", **settings}.items())
    return (f'<?xml version="1.0" encoding="UTF-8"?><input><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>{home}</checkpoint_dir>'
            f'<configuration><stanza name="{plugin.name}://{stanza}" app="{addon(plugin).name}">{params}</stanza></configuration></input>')


def log(home, plugin):
    path = home / f"var/log/splunk/{addon(plugin).root}_{plugin.name}.log"
    return path.read_text() if path.exists() else ""


@each_plugin
def test_pure_python_small_and_nothing_that_splunk_refuses(plugin):
    with tarfile.open(tarball(plugin)) as tar:
        names = tar.getnames()
        assert {member.uid for member in tar} == {0} and {member.mtime for member in tar} == {1_767_225_600}
        assert {member.mode for member in tar if member.isfile()} == {0o644} and not [member for member in tar if member.issym() or member.islnk()]
        sources = {name: tar.extractfile(name).read().decode("utf-8", "replace") for name in names if name.endswith(".py") and ("/siemtap/" in name or f"/lib/{plugin.name}/" in name or "/bin/" in name)}
    assert tarball(plugin).stat().st_size < 3 * 2**20
    assert not [name for name in names if re.search(r"\.(so|pyd|dll|pyc|dylib)$|/\.|dist-info|egg-info|/local/|simulator\.py|/cases/", name)]
    stdlib = {f"{name}.py" for name in sys.stdlib_module_names}
    assert not [name for name in names if "/bin/" in name and Path(name).name in stdlib]
    for name, said in sources.items():
        assert "SOCK_DGRAM" not in said and "UDPServer" not in said, f"{name}: no UDP in an add-on"
        looks_at_itself = name.endswith("centurylink_ips/commands.py")      # a command asks our own listener for its certificate
        assert looks_at_itself or not re.search(r"verify\s*=\s*False|CERT_NONE|_create_unverified", said), f"{name}: certificates are verified"


@each_plugin
def test_what_is_on_the_pages(plugin, apps):
    app = apps / "etc/apps" / addon(plugin).name
    said = json.loads((app / "appserver/static/js/build/globalConfig.json").read_text())
    tabs = {tab.get("name") or tab["type"]: tab for tab in said["pages"]["configuration"]["tabs"]}
    account, service = {entity["field"]: entity for entity in tabs["account"]["entity"]}, {entity["field"]: entity for entity in said["pages"]["inputs"]["services"][0]["entity"]}
    for s in (s for s in describe(plugin.settings) if s["name"] != "interval"):         # Splunk's own
        place = account if s.get("of") == "account" else service
        assert s["name"] in place and place[s["name"]]["help"] == s["help"].replace("`", "") and bool(place[s["name"]].get("encrypted")) == (s["kind"] == "secret"), s["name"]
    spec = (app / "README/inputs.conf.spec").read_text()
    assert f"[{plugin.name}://<name>]" in spec and all(f"{name} = " in spec for name in service if name not in ("name",))
    assert "python.version = python3" in (app / "default/inputs.conf").read_text() and "python.required = 3.13" in (app / "default/inputs.conf").read_text().replace("3.9, ", "")


@each_python
@each_plugin
def test_the_scheme_and_validation(plugin, python, apps, splunk):
    out, err = start(apps, python, plugin, ["--scheme"]).communicate(timeout=60)
    assert ElementTree.fromstring(out).findtext("streaming_mode") == "xml", err.decode()
    for params, good in ((f'<param name="account">main</param><param name="{"lookback" if plugin.name != "centurylink_ips" else "skip_after"}">1h</param>', True), ('<param name="nonsense">1</param>', False)):
        said = f'<items><server_host>h</server_host><server_uri>{splunk.url}</server_uri><session_key>{KEY}</session_key><checkpoint_dir>x</checkpoint_dir><item name="first">{params}</item></items>'
        process = start(apps, python, plugin, ["--validate-arguments"], said)
        out, err = process.communicate(timeout=60)
        assert process.returncode == (0 if good else 1) and (not out if good else b"nonsense" in out), (out, err.decode())


@each_python
@each_plugin
def test_a_stream_through_accidents_and_a_stop(plugin, python, apps, splunk):
    """429, 500, 401 (a token's end), SIGTERM in the middle, and on: the set of events is the truth."""
    vendor = simulate.Server(simulate.simulator(plugin.name, {}))
    app, stanza = addon(plugin), f"first_{PYTHONS.index(python)}"
    splunk.app, splunk.root = app.name, app.root
    splunk.documents[f"{app.root}_checkpoints"] = {}
    try:
        settings = {name: ",".join(value) if isinstance(value, list) else value for name, value in vendor.simulated.settings(vendor.url).items()}
        own = {s["name"]: s for s in describe(plugin.settings)}
        splunk.account("main", {name: settings.pop(name) for name in SECRETS[plugin.name]}, **{name: settings.pop(name) for name in list(settings) if own[name].get("of") == "account"})
        if "lookback" in own:
            settings["lookback"] = "3h"
            vendor.simulated.faults.extend([Fault(call="", times=1, status=500), Fault(call="", times=1, status=429, retry_after="1")])
        else:
            settings.update(servers="VA1ACMEWEB01, VA1ACMEWEB02", our_url="https://siem.example.com/centurylink_ips/x")
        began, outs = int(time.time() * 1000), []
        process = start(apps, python, plugin, said=asked(splunk, apps, plugin, stanza, **settings))
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        outs.append(out)
        for _ in range(3):
            process = start(apps, python, plugin, said=asked(splunk, apps, plugin, stanza, **settings))
            out, err = process.communicate(timeout=120)
            outs.append(out)
        assert process.returncode == 0, log(apps, plugin)[-2000:] + err.decode()
        found = [event for out in outs if out for event in ElementTree.fromstring(out)]
        got = collections.Counter(re.search('"(?:event.)?id":"([0-9a-f]{32})"', event.findtext("data"))[1] for event in found)
        assert found and max(got.values()) == 1 and {event.get("stanza") for event in found} == {f"{plugin.name}://{stanza}"}
        if "lookback" in own:
            must = vendor.simulated.ledger(began, began - 170 * MINUTE, began - 80 * MINUTE)
            assert len(must) > 20 and must <= set(got)
        assert all(secret not in log(apps, plugin) for secret in ("demo-secret", "demo-access"))
    finally:
        vendor.close()
