"""A simulated vendor, a configuration and the stored events, for the tests of the command
siemtap."""

import json
import sqlite3

import pytest

from apptrana import simulator
from siemtap.testing import simulation


@pytest.fixture
def vendor():
    server = simulation.Server(simulator.Simulator(simulator.Knobs(rate=3.0)))
    yield server
    server.close()


def write(tmp_path, vendor, more="", inputs="", port=0, **settings):
    values = {
        "url": vendor.url,
        "client_id": "demo",
        "client_secret": "demo-secret",
        "interval": "1s",
        "lookback": "30m",
        **settings,
    }
    path = tmp_path / "siemtap.yml"
    path.write_text(
        f"path.data: {tmp_path}/data\nhttp.port: {port}\n{more}\ninputs:\n  - type: apptrana\n"
        + "".join(f"    {name}: {json.dumps(value)}\n" for name, value in values.items())
        + inputs
    )
    return path


def stored(tmp_path):
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        return {id for (id,) in db.execute("SELECT id FROM event")}
