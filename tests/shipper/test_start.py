"""What a start of `siemtap run` imports, and what waits until it is needed."""

import json
import subprocess
import sys

import pytest
from processes import ENVIRONMENT, HANG

# what the console script does; at the end it prints the collector's state and the modules
START = """
import gc, json, os, sys
def end(code):
    print(json.dumps([code, gc.get_threshold(), gc.get_freeze_count(), sorted(sys.modules)]))
    sys.stdout.flush()
    os.kill(os.getpid(), 9)
os._exit = sys.exit = end
from siemtap.shipper.cli import start
start()
"""
CONFIG = {
    "path.data": "data",
    "inputs": [
        {
            "type": "apptrana",
            "url": "http://127.0.0.1:9",
            "client_id": "demo",
            "client_secret": "demo-secret",
        }
    ],
}
SERVERS = ("uvicorn", "h11", "httptools", "prometheus_client")
TERMINAL = ("rich", "jsonschema", "cryptography")
OTHERS = ("siemtap.testing", "siemtap.elastic", "siemtap.bundles", "siemtap.shipper.setup")
CLIENTS = {
    "sqlite": (),
    "file": (),
    "stdout": (),
    "elasticsearch": ("elasticsearch", "elastic_transport"),
    "opensearch": ("elasticsearch", "elastic_transport"),
    "splunk_hec": ("siemtap.outputs.splunk_hec.output",),
}
SETTINGS = {
    "file": {"path": "events"},
    "elasticsearch": {"hosts": ["http://127.0.0.1:9"]},
    "opensearch": {"hosts": ["http://127.0.0.1:9"]},
    "splunk_hec": {
        "hosts": ["http://127.0.0.1:9"],
        "token": "6b86b273-ff34-4ce1-9d6b-804eff5a3f57",
    },
}


def started(folder, output):
    """Return the exit code, the collector's thresholds and frozen objects, and the modules of a
    `siemtap run --once` whose vendor refuses the connection."""
    file = folder / "siemtap.yml"
    file.write_text(json.dumps({**CONFIG, "output": {output: SETTINGS.get(output, {})}}))
    file.chmod(0o600)
    arguments = ["run", "--once", "--patience", "0s", "-c", str(file)]
    done = subprocess.run(
        [sys.executable, "-c", START, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert "Connection refused" in done.stderr, done.stderr
    return json.loads(done.stdout)


def within(modules, packages):
    return [
        module
        for module in modules
        if any(module == package or module.startswith(f"{package}.") for package in packages)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("output", CLIENTS)
def test_a_start_imports_the_client_of_its_output_and_nothing_that_it_does_not_use(
    tmp_path, output
):
    code, thresholds, frozen, modules = started(tmp_path, output)
    assert code == 1  # not everything was done
    assert not within(modules, (*SERVERS, *TERMINAL, *OTHERS))
    others = {client for each in CLIENTS.values() for client in each} - set(CLIENTS[output])
    assert not within(modules, others)
    assert set(CLIENTS[output]) <= set(modules)
    # searching for cycles every 700 objects is a sixth of the start
    assert thresholds[0] >= 50_000 and frozen > 50_000
