"""A new plugin beside an installed wheel, without a checkout: its tests, its events in a real
OpenSearch node, its add-on by AppInspect, its package by package-spec; and its CEL program against
its simulator. Nothing that `siemtap new` writes is edited, but for the walk-through of "Adding a
vendor". `ci/bundle` says where the tools are."""

import importlib
import json
import os
import socket
import subprocess
import sys
import tarfile
import time
import venv
from contextlib import contextmanager
from pathlib import Path

import inspected
import pytest
import rules
import walk_through
from built import tarball as tarball_of
from fleet import new_agent
from ingest import TOOLS, DataStream
from search_node import Node, free_port

from siemtap.bundles import integration
from siemtap.core.windows import MINUTE
from siemtap.render import registry
from siemtap.testing import scaffold
from siemtap.testing.simulation import Server

ROOT = Path(__file__).parents[2]
INSPECT = Path(os.environ.get("SIEMTAP_INSPECT", "/nowhere"))
SECRET = "0123456789abcdef0123456789abcdef"
STREAM = "logs-acme.event-default"


@pytest.fixture(scope="module")
def node():
    with Node() as node:
        yield node


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("siemtap-*.whl"))


@pytest.fixture(scope="module", params=(*scaffold.KINDS, "walk-through"))
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def place(kind, tmp_path_factory, wheel):
    """An empty folder with an environment that has the wheel, and the new plugin in `x`."""
    folder = tmp_path_factory.mktemp("empty")
    venv.create(folder / "venv", with_pip=True)
    pip = (folder / "venv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check")
    run(*pip, f"siemtap[testing] @ {wheel.as_uri()}", cwd=folder)
    shape = "cursor" if kind == "walk-through" else kind
    siemtap(folder, "new", "acme", "--kind", shape, "--into", "x")
    if kind == "walk-through":
        walk_through.write(folder / "x")
        accepting = folder / "venv/bin/python", "-m", "pytest", "-q"
        run(*accepting, cwd=folder / "x", SIEMTAP_ACCEPT="1")
    run(*pip, "./x", cwd=folder)
    return folder


def run(*words, cwd, **variables):
    """Run a command without anything of this checkout; return what it printed."""
    there = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment = {**there, **variables}
    result = subprocess.run(
        list(map(str, words)),
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def siemtap(place, *words):
    return run(place / "venv/bin/siemtap", *words, cwd=place)


@contextmanager
def simulated(place):
    """Run the plugin's simulator; yield the settings of an input that reads from it."""
    command = [place / "venv/bin/siemtap", "simulate", "acme"]
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def receive(place, config):
    """Run a shipper that receives what the simulator pushes, until it has delivered it."""
    port = free_port()
    config["inputs"] = [{"type": "acme", "listen": f"127.0.0.1:{port}", "secret": SECRET}]
    (place / "siemtap.yml").write_text(json.dumps(config))
    siemtap(place, "setup")
    command = [place / "venv/bin/siemtap", "run"]
    process = subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 30
        while not listens(port) and time.monotonic() < deadline:
            time.sleep(0.1)
        address = f"http://127.0.0.1:{port}/acme/{SECRET}"
        siemtap(place, "simulate", "acme", "--deliver-to", address, "--rate", "10", "--for", "5s")
    finally:
        process.terminate()
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log


def listens(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def clear(node):
    node.ask("DELETE", "/_data_stream/*")
    node.ask("DELETE", f"/_index_template/{STREAM}")


def test_its_tests_pass(place):
    printed = run(place / "venv/bin/python", "-m", "pytest", "-q", cwd=place / "x")
    assert " passed" in printed and "skipped" not in printed


def test_its_events_reach_opensearch(place, kind, node):
    clear(node)
    config = {
        "path.data": str(place / "data"),
        "http.enabled": False,
        "output": {"opensearch": {"hosts": [node.url]}},
    }
    if kind == "push":
        receive(place, config)
    else:
        with simulated(place) as settings:
            config["inputs"] = [{"type": "acme", **settings, "lookback": "30m"}]
            (place / "siemtap.yml").write_text(json.dumps(config))
            siemtap(place, "setup")
            siemtap(place, "run", "--once")
    assert siemtap(place, "rejected", "list") == ""
    node.ask("POST", f"/{STREAM}/_refresh")

    def count(**query):
        answer = node.ask("GET", f"/{STREAM}/_count", json={"query": query})
        return answer.json()["count"]

    assert count(term={"event.dataset": "acme.event"}) == count(match_all={}) >= 29
    assert count(exists={"field": "_ignored"}) == 0
    assert count(term={"event.kind": "pipeline_error"}) == 0


def test_its_addon_passes_appinspect_and_the_rules(place, tmp_path):
    siemtap(place, "build", "splunk", "acme", "apptrana")
    checkout = tarball_of(registry.plugin("apptrana"))
    assert (place / "dist" / checkout.name).read_bytes() == checkout.read_bytes()
    tarball = place / "dist/TA-acme-0.1.0.tar.gz"
    assert inspected.inspect(INSPECT, tarball) == 0
    with tarfile.open(tarball) as tar:
        tar.extractall(tmp_path, filter="data")
    folder = tmp_path / "TA-acme"
    assert rules.broken_by_tarball(tarball) == [] and rules.broken_rules(folder) == []
    assert "siemtap-acme 0.1.0: " in (folder / "LICENSES/THIRDPARTY.txt").read_text()


def test_its_package_passes_package_spec(place):
    siemtap(place, "build", "elastic")
    for plugin in integration.packaged().values():
        checkout = integration.build_package(plugin, place / "of-checkout")
        assert (place / "dist" / checkout.name).read_bytes() == checkout.read_bytes()
    run(TOOLS / "speccheck", place / "dist/acme-0.1.0.zip", cwd=place)


@pytest.fixture
def plugin(place, monkeypatch):
    """The plugin, in this process."""
    monkeypatch.syspath_prepend(place / "x")
    plugin = importlib.import_module("acme").PLUGIN
    monkeypatch.setattr(registry, "installed", lambda: {"acme": plugin})
    yield plugin
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]


def test_its_program_and_its_pipeline_make_the_events_of_the_shipper(plugin, kind, node):
    """An agent's loop, with a death between delivery and cursor and a restart."""
    clear(node)
    stream, now = DataStream(node, plugin, plugin.datasets[0]), int(time.time() * 1000)
    simulator = importlib.import_module("acme.simulator").Simulator()
    if kind == "push":
        for sent in simulator.pushed(now - 300 * MINUTE, now):
            record = {"_record": json.loads(sent.body), "_conf": {"channel": "http_endpoint"}}
            stream.take([{**record, "@timestamp": "2026-01-01T00:00:00.000Z"}])
    else:
        collect(simulator, stream)
    truth = simulator.ledger(now, now - 200 * MINUTE, now - 2 * MINUTE)
    ids = stream.ids()
    assert stream.strange == []
    assert len(truth) > 150 and truth <= ids.keys() and set(ids.values()) == {1}


def collect(simulator, stream):
    """Run the program against the simulator as an agent does."""
    server = Server(simulator)
    try:
        agent = new_agent(server, "acme.event", initial_interval="3h")
        for minutes_ago in (60, 30, 0):
            agent.ago = minutes_ago * 60
            agent.cycle(dies_after=2 if minutes_ago == 60 else 1_000)
            stream.take(agent.documents())
            agent.restart()
        agent.cycle()
        stream.take(agent.documents())
        assert agent.error == ""
    finally:
        server.close()
