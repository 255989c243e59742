"""The command `siemtap audit` with every plugin."""

import json
import sqlite3
import subprocess
import time

import pytest
from processes import COMMAND, ENVIRONMENT

from siemtap.render import registry
from siemtap.testing import simulation

pytestmark = pytest.mark.slow


def configured(tmp_path, *inputs):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "path": {"data": str(tmp_path / "data")},
                "http": {"enabled": False},
                "logging": {"level": "error"},
                "inputs": list(inputs),
            }
        )
    )
    return str(path)


def run(*arguments):
    """Run a command in its own process, because `run` ends it."""
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, env=ENVIRONMENT, timeout=300
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.fixture
def vendors():
    """Return a simulator for each plugin, with an input that reads it."""
    servers = {
        name: simulation.Server(simulation.simulator(name, {})) for name in registry.installed()
    }
    yield {
        name: {"type": name, **server.simulated.settings(server.url)}
        for name, server in servers.items()
    }
    for server in servers.values():
        server.close()


def is_pulled(name):
    return "lookback" in registry.plugin(name).settings.__dataclass_fields__


@pytest.mark.parametrize("name", registry.installed())
def test_audit_command_with_each_plugin(tmp_path, vendors, name):
    """A healthy run is complete. Time before the first read is not missing."""
    path = configured(
        tmp_path, {**vendors[name], **({"lookback": "3h"} if is_pulled(name) else {})}
    )
    code, output_text = run("run", "--once", "-c", path)
    assert code == 0, output_text
    code, output_text = run("audit", "--since", "24h", "-c", path)
    last = output_text.splitlines()[-1]
    if is_pulled(name):
        assert "not compared" not in output_text and code == 0, output_text
        assert last.endswith(" found; nothing is missing, nothing is duplicate")
        assert int(last.split()[1].replace(",", "")) > 20
    else:
        assert (code, output_text.splitlines()) == (
            0,
            [
                f"{name}: not compared: pushed events and snapshots cannot be read again",
                "nothing was compared: no input can be read again",
            ],
        )


def test_audit_command_with_a_receiving_and_a_collecting_input(tmp_path, vendors):
    pushed = {
        **vendors["centurylink_ips"],
        "listen": "127.0.0.1:0",
        "secret": "a-secret-of-20-letters",
    }
    path = configured(tmp_path, {**vendors["apptrana"], "lookback": "130m"}, pushed)
    assert run("run", "--once", "-c", path)[0] == 0
    code, output_text = run("audit", "--since", "30m", "-c", path)
    assert (
        code == 0
        and output_text.splitlines()[0].startswith("centurylink_ips: not compared: ")
        and output_text.splitlines()[-1].endswith("nothing is missing, nothing is duplicate")
    ), output_text
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        db.execute(
            "DELETE FROM event WHERE id = (SELECT id FROM event WHERE time BETWEEN ? AND ?"
            " LIMIT 1)",
            [(time.time() - 1500) * 1000, (time.time() - 900) * 1000],
        )
    code, output_text = run("audit", "--since", "30m", "-c", path)
    assert code == 1 and "1 missing" in output_text
