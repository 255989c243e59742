"""`siemtap run --from T --to T` for every plugin, with default settings: the events of the time
range are delivered, and the checkpoints stay."""

import json
import sqlite3
import time

import pytest
from processes import siemtap

from siemtap.core import manifest
from siemtap.core.convert import instant, millis_of
from siemtap.core.windows import HOUR, MINUTE
from siemtap.edge.clock import Clock
from siemtap.render import registry
from siemtap.shipper.config.load import parse
from siemtap.shipper.process import Shipper
from siemtap.testing import simulation

PLUGINS = list(registry.installed().values())
PULLED = [
    plugin
    for plugin in PLUGINS
    if "lookback" in {spec["name"] for spec in manifest.describe(plugin.settings)}
]
each_pulled = pytest.mark.parametrize("plugin", PULLED, ids=lambda plugin: plugin.name)


def timestamp(moment):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment / 1000))


def write(tmp_path, plugin, server, **more):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "path": {"data": str(tmp_path / "data")},
                "http": {"enabled": False},
                "inputs": [{"type": plugin.name, **server.simulated.settings(server.url), **more}],
            }
        )
    )
    return path


def stored(tmp_path):
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        return {
            id: (time, dataset, json.loads(event))
            for id, time, dataset, event in db.execute("SELECT id, time, dataset, event FROM event")
        }


@pytest.fixture
def served(request):
    servers = []

    def serve(plugin):
        servers.append(simulation.Server(simulation.simulator(plugin.name, {})))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


@pytest.mark.slow
@each_pulled
@pytest.mark.parametrize("to", ["an hour ago", "now"])
def test_time_range_with_the_default_settings_of_each_plugin(tmp_path, served, plugin, to):
    server = served(plugin)
    path = write(tmp_path, plugin, server)
    now = int(time.time()) * 1000
    lag = next(
        manifest.parse_duration(spec["default"])
        for spec in manifest.describe(plugin.settings)
        if spec["name"] == "lag"
    )
    start, stop = now - 3 * HOUR, now - HOUR if to == "an hour ago" else now - lag
    done = siemtap(
        "run",
        "--from",
        timestamp(start),
        *(["--to", timestamp(stop)] if to == "an hour ago" else []),
        "-c",
        path,
    )
    events = stored(tmp_path)
    must = server.simulated.ledger(now, start + 2 * MINUTE, stop - 2 * MINUTE)
    assert len(must) > 20 and must <= set(events), done.stderr
    assert not {dataset for _, dataset, _ in events.values() if plugin.dataset(dataset).snapshot}, (
        "a snapshot has no past events"
    )
    assert max(time for time, *_ in events.values()) <= stop + 2 * MINUTE + (
        lag if to == "now" else 0
    )
    assert ("reads up to" in done.stderr) is (to == "now")
    assert siemtap("state", "list", "-c", path).stdout == ""
    siemtap("run", "--from", timestamp(start), "--to", timestamp(now - HOUR), "-c", path)
    assert set(stored(tmp_path)) == set(events)


@pytest.mark.slow
@each_pulled
def test_time_range_that_is_too_recent(tmp_path, served, plugin):
    done = siemtap(
        "run",
        "--from",
        timestamp(time.time() * 1000 - 5000),
        "-c",
        write(tmp_path, plugin, served(plugin)),
    )
    assert "reads up to" in done.stderr and "may still change" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "plugin", [plugin for plugin in PLUGINS if plugin not in PULLED], ids=lambda plugin: plugin.name
)
def test_receiving_input_has_no_time_range(tmp_path, served, plugin):
    done = siemtap(
        "run",
        "--from",
        "2026-01-01T00:00Z",
        "--to",
        "2026-01-01T01:00Z",
        "-c",
        write(tmp_path, plugin, served(plugin)),
    )
    assert f"{plugin.name}: skipped: " in done.stderr and "0 events accepted" in done.stderr


@pytest.mark.slow
@each_pulled
@pytest.mark.parametrize(
    "ago,length",
    [
        (0, 1),
        (1, 60_000),
        (3 * HOUR, HOUR),
        (HOUR, HOUR),
        (20 * MINUTE, 5 * MINUTE),
        (-HOUR, 2 * HOUR),
    ],
)
def test_time_range_is_passed_as_now_and_lookback(tmp_path, served, plugin, ago, length):
    """Other settings keep their values, and `now` is never in the future."""
    now = millis_of(instant("2026-03-04T12:00:00.000Z"))
    config = parse(write(tmp_path, plugin, served(plugin)).read_text())
    time_range = (now - ago - length, now - ago)
    shipper = Shipper(
        config, once=True, time_range=time_range, clock=Clock(lambda: now, lambda: 0.0)
    )
    running = shipper.inputs[plugin.name]
    before, after = vars(config.inputs[0].settings), vars(running.settings)
    assert {name for name in after if after[name] != before[name]} <= {"lookback"}
    time_range_end = running.time_range[1]
    assert time_range_end <= now and time_range_end - after["lag"] == min(
        time_range[1], now - after["lag"]
    )
    assert after["lookback"] == max(0, time_range_end - time_range[0])
    shipper.close()
