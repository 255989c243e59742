"""The commands other than `siemtap run`, in their own processes."""

import json
import re
import socket
import sqlite3
import subprocess
import sys
import time

import pytest
from processes import COMMAND, ENVIRONMENT, ROOT, page, siemtap
from shipper import vendor_process
from shipper.vendor_process import stored, write

from apptrana import simulator_attacks

pytestmark = pytest.mark.slow

# fixtures
vendor = vendor_process.vendor


# test, state, rejected, export, simulate


def test_command_test_config_and_inputs(tmp_path, vendor):
    path = write(tmp_path, vendor)
    assert "OK" in siemtap("test", "config", "-c", path).stdout
    output = siemtap("test", "inputs", "--preview", "-c", path).stdout
    assert (
        re.search(
            r"apptrana/apptrana.attack: logged in; \d+ events read: the newest is \d+ s old",
            output,
        )
        and "the clock of 127.0.0.1" in output
    )
    assert (
        output.count('"record"') == 3
        and simulator_attacks.COOKIE not in output
        and not (tmp_path / "data").exists()
    )
    write(tmp_path, vendor, websites=["quiet.example.com"])
    assert (
        "logged in; 0 events read: in so short a time this is normal"
        in siemtap("test", "inputs", "-c", path).stdout
    )
    write(tmp_path, vendor, client_secret="wrong")
    assert "AuthError" in siemtap("test", "inputs", "-c", path, code=1).stderr


def test_state_list_show_set_and_delete(tmp_path, vendor):
    path = write(tmp_path, vendor)
    assert "no checkpoints" in siemtap("state", "list", "-c", path, code=2).stderr
    siemtap("run", "--once", "-c", path)
    unit = "apptrana/apptrana.attack"
    assert unit in siemtap("state", "list", "-c", path).stdout
    assert set(json.loads(siemtap("state", "show", unit, "-c", path).stdout)) == {"cursor", "seen"}
    assert (
        'did you mean "apptrana/apptrana.attack"'
        in siemtap("state", "show", "apptrana/apptrana.attak", "-c", path, code=2).stderr
    )
    siemtap("state", "set", unit, '{"until": 5', "-c", path, code=2)
    siemtap("state", "set", unit, '{"until": 1772625600000}', "-c", path)
    assert json.loads(siemtap("state", "show", unit, "-c", path).stdout)["cursor"] == {
        "until": 1772625600000
    }
    siemtap("state", "delete", unit, "-c", path)
    assert siemtap("state", "list", "-c", path).stdout == ""


def test_audit_finds_and_repairs_missing_events(tmp_path, vendor):
    path = write(tmp_path, vendor, lookback="130m", interval="60s")
    siemtap("run", "--once", "-c", path)
    assert (
        "nothing is missing, nothing is duplicate"
        in siemtap("audit", "--since", "30m", "-c", path).stdout
    )
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        deleted = [
            id
            for (id,) in db.execute(
                "SELECT id FROM event WHERE time BETWEEN ? AND ? LIMIT 7",
                [(time.time() - 1500) * 1000, (time.time() - 900) * 1000],
            )
        ]
        db.executemany("DELETE FROM event WHERE id = ?", [[id] for id in deleted])
    assert "7 missing" in siemtap("audit", "--since", "30m", "-c", path, code=1).stdout
    assert "7 delivered" in siemtap(
        "audit", "--since", "30m", "--repair", "-c", path
    ).stdout and set(deleted) <= stored(tmp_path)
    assert "nothing is missing" in siemtap("audit", "--since", "30m", "-c", path).stdout


def test_export_command():
    assert "def event(record" in siemtap("export", "mapping", "apptrana.attack").stdout
    assert json.loads(siemtap("export", "schema", "apptrana.attack").stdout) == json.loads(
        (ROOT / "schemas/datasets/apptrana.attack.json").read_text()
    )
    assert (
        json.loads(siemtap("export", "schema", "apptrana").stdout)["additionalProperties"] is False
    )
    assert json.loads(siemtap("export", "schema", "config").stdout)["title"] == "siemtap.yml"
    assert (
        siemtap("export", "sample", "apptrana").stdout
        == (ROOT / "plugins/apptrana/sample.yml").read_text()
    )
    assert (
        'did you mean "apptrana.attack"'
        in siemtap("export", "mapping", "apptrana.atack", code=2).stderr
    )


def test_simulate_command_starts_a_server():
    process = subprocess.Popen(
        [
            *COMMAND,
            "simulate",
            "apptrana",
            "--knob",
            "rate=1",
            "--knob",
            "edges=()",
            "--for",
            "20s",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    settings = json.loads(process.stdout.readline())
    assert (
        settings["url"].startswith("http://127.0.0.1:")
        and page(settings["url"], "/siem/v1/authorize")[0] == 401
    )
    process.kill()
    process.communicate()
    assert (
        'did you mean "edges"'
        in siemtap("simulate", "apptrana", "--knob", "edgse=x", code=2).stderr
    )


def test_demo_command():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    output = siemtap("demo", "--once", "--port", port).stdout
    assert f"status page until the end: http://127.0.0.1:{port}/" in output
    assert all(
        title in output
        for title in (
            "dataset",
            "severity",
            "action",
            "top rules",
            "top attackers",
            "apptrana.attack",
        )
    ) and re.search(r"[\d,]{5,} events in", output)


def test_new_plugin_passes_its_tests(tmp_path):
    """Run the contract tests on the folder that `siemtap new` writes, in a copy of the checkout."""
    import shutil

    names = ["plugins/siemtap", "schemas", "tests", "packaging", "docs"]
    names += ["setup.cfg", "README.md", "LICENSE"]
    for name in names:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        copy(source, tmp_path / name)
    siemtap("new", "acme", cwd=tmp_path)
    assert "exists already" in siemtap("new", "acme", cwd=tmp_path, code=2).stderr
    siemtap("new", "Acme!", cwd=tmp_path, code=2)
    environment = {**ENVIRONMENT, "PYTHONPATH": str(tmp_path / "plugins")}
    isolated = (
        "import sys, importlib.metadata as m; m.entry_points = lambda **k: m.EntryPoints(());"
        " import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            isolated,
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "tests/test_contract.py",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert (
        int(re.search(r"(\d+) passed", done.stdout)[1]) >= 15
        and "acme" not in done.stdout.partition("short test summary")[2]
    )
    rendered = subprocess.run(
        [
            sys.executable,
            "-c",
            isolated.replace(
                "import pytest; sys.exit(pytest.main(sys.argv[1:]))",
                "import runpy; sys.argv = ['build', 'render']; runpy.run_path('packaging/build',"
                " run_name='__main__')",
            ),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (
        rendered.returncode == 0
        and "api_key: ${ACME_API_KEY}" in (tmp_path / "plugins/acme/sample.yml").read_text()
    ), rendered.stderr


@pytest.mark.parametrize(
    "command, sentences",
    [
        (["simulate", "apptrana"], ["--port: the simulator cannot listen on 127.0.0.1:{0}: "]),
        (
            ["demo", "--once"],
            ["cannot listen on 127.0.0.1:{0}: ", "; name another one with --port"],
        ),
    ],
    ids=["simulate", "demo"],
)
def test_a_port_in_use_is_named_with_its_option(command, sentences):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = siemtap(*command, "--port", port, code=2)
    assert all(sentence.format(port) in done.stderr for sentence in sentences), done.stderr
    assert "http.port" not in done.stderr
