"""What the shipper and a heavy forwarder run, in processes without what Windows does not have."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import COMMAND, ENVIRONMENT, HANG, ROOT, Process, wait_for
from shipper import windows_limits

from siemtap.render import registry
from siemtap.testing.simulation import Server, simulator

LIMITED = [sys.executable, windows_limits.__file__]
# of tests/: what a heavy forwarder runs, and the receivers
FORWARDER = (
    *("edge/test_listen.py", "edge/test_syslog_listeners.py", "edge/test_spool.py"),
    *("splunk/test_input.py", "splunk/test_webhook_loop.py", "splunk/test_pipe.py"),
    "splunk/test_kept.py",
)
VENDORS = ("apptrana", "pingintelligence", "trend_vision_one")  # that are pulled
IMPORTS = """
import importlib, os, pkgutil, signal, socket, sys
assert not hasattr(os, "fork") and not hasattr(signal, "SIGHUP"), "nothing was removed"
assert not hasattr(socket, "SO_REUSEPORT")
names = ["siemtap", *sys.argv[1:]]
for name in names:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        if not module.name.endswith(("service.windows", "_of_mongodb")):
            importlib.import_module(module.name)
print(len(sys.modules))
"""


def limited(*arguments, **how):
    return subprocess.run(
        [*LIMITED, *map(str, arguments)],
        env={**ENVIRONMENT, **how.pop("variables", {})},
        capture_output=True,
        text=True,
        timeout=HANG,
        **how,
    )


@pytest.mark.slow
def test_every_module_is_imported(tmp_path):
    (tmp_path / "imports.py").write_text(IMPORTS)
    path = os.pathsep.join([str(ROOT / "plugins"), str(tmp_path)])
    result = limited("imports", *registry.installed(), variables={"PYTHONPATH": path})
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 200


@pytest.mark.slow
def test_shipper_collects_as_it_does_elsewhere(tmp_path):
    counts = {}
    with ExitStack() as stack:
        inputs = []
        for plugin in registry.installed().values():
            if plugin.name in VENDORS:
                server = Server(simulator(plugin.name, {}))
                stack.callback(server.close)
                inputs.append({"type": plugin.name, **server.simulated.settings(server.url)})
        for name, command in (("here", COMMAND), ("windows", [*LIMITED, COMMAND[-1]])):
            folder = tmp_path / name
            folder.mkdir()
            path = folder / "siemtap.yml"
            path.write_text(json.dumps(configuration(folder, inputs)))
            result = subprocess.run(
                [*command, "run", "--once", "-c", str(path)],
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                timeout=HANG,
            )
            assert result.returncode == 0, result.stderr
            counts[name] = {
                json.loads(line)["event"]["dataset"]
                for file in (folder / "events").glob("*.ndjson")
                for line in file.read_text().strip("\n").split("\n")
            }
            assert " 0 rejected" in result.stderr
    assert counts["here"] == counts["windows"] and len(counts["windows"]) >= 3


def configuration(folder, inputs):
    return {
        "path.data": str(folder / "data"),
        "http.enabled": False,
        "output.file": {"path": str(folder / "events")},
        "inputs": [{**settings, "lookback": "2h"} for settings in inputs],
    }


@pytest.mark.slow
def test_shipper_receives(tmp_path):
    """Webhook and syslog by UDP and TCP into the spool, and out of it."""
    path = tmp_path / "siemtap.yml"
    entry = {
        "type": "centurylink_ips",
        "listen": "127.0.0.1:0",
        "secret": "a-secret-of-some-length",
        "syslog": ["udp://127.0.0.1:0", "tcp://127.0.0.1:0"],
    }
    content = {**configuration(tmp_path, []), "inputs": [entry]}
    path.write_text(json.dumps(content))
    process = Process(path, [*LIMITED, COMMAND[-1]])
    try:
        send_and_receive(process, tmp_path)
    finally:
        process.process.kill()
        process.process.communicate()


def send_and_receive(process, folder):
    line = process.until(r"listening at (.*)")[1]
    ports = {scheme: int(port) for scheme, port in re.findall(r"(\w+)://[\d.]+:(\d+)", line)}
    assert set(ports) == {"http", "udp", "tcp"}
    message = (
        "<134>Mar  4 10:00:00 dsm CEF:0|Trend Micro|Deep Security Agent|20.0|1000001|Test rule|3|"
        "cn1=1 cn1Label=Host ID src=192.0.2.{} dst=198.51.100.1 act=IDS:Reset\n"
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(message.format(7).encode(), ("127.0.0.1", ports["udp"]))
    with socket.create_connection(("127.0.0.1", ports["tcp"]), HANG) as tcp:
        tcp.sendall(message.format(8).encode())
    wait_for_addresses(folder / "events", {"192.0.2.7", "192.0.2.8"})
    assert process.end(signal.SIGTERM) == 0, process.output


def wait_for_addresses(folder, addresses):
    def arrived():
        text = "".join(file.read_text() for file in folder.glob("*.ndjson"))
        return all(address in text for address in addresses)

    wait_for(arrived)


@pytest.mark.slow
def test_tests_of_a_heavy_forwarder_pass():
    """The tests of the add-ons' runtime and of the receivers themselves."""
    paths = [Path("tests") / name for name in FORWARDER]
    arguments = ["-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow", *paths]
    result = limited("pytest", *arguments, cwd=ROOT)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) > 100
