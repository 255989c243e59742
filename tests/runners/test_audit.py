"""An audit finds exactly what is missing, altered, twice or foreign, and mends what can be
mended."""

import dataclasses
import json
import random
import sqlite3
import subprocess
import time

import pytest
from processes import COMMAND, ENVIRONMENT

from apptrana import PLUGIN, simulator
from siemtap.core.forms import Connection, Every, Receiving
from siemtap.core.manifest import fill_in
from siemtap.core.windows import HOUR
from siemtap.edge.checkpoints import Checkpoints, Database
from siemtap.outputs import Around, file, sqlite, stdout
from siemtap.runners import audit, plugins, simulate
from siemtap.runners.config import Input
from world import Time, World


def collected(output, marks, time):
    world = World(
        PLUGIN,
        simulator.Simulator(simulator.Knobs(odd=True, rate=1.0)),
        time=time,
        output=output,
        marks=marks,
        lookback="5h",
    )
    return world.cycles(2)


def foreign_twin(world, database):
    """The newest id from more than an hour ago, and its event under an id that nobody sent."""
    id, said = database.read(
        "SELECT id, event FROM event WHERE time < ? ORDER BY time DESC LIMIT 1",
        [world.time.now - HOUR],
    )[0]
    foreign = json.loads(said)
    foreign["event"]["id"] = "f" * 32
    return id, foreign


def audited(world, output, rejected=frozenset()):
    checking = audit.Audit(output, world.time.clock, 4 * HOUR, set(rejected))
    wish = Input(PLUGIN, world.settings, fill_in(Every, {"id": "it"}), fill_in(Connection, {}))
    checking.ask(wish, world.http, {})
    return checking, checking.compare()


@pytest.fixture
def stored(tmp_path):
    """A day in the embedded store."""
    time, database = Time(), Database(tmp_path / "siemtap.db")
    output = sqlite.Sqlite(sqlite.Settings(0, 0), Around(database, time.clock))
    yield collected(output, Checkpoints(database), time), output, database
    output.close()
    database.close()


def test_all_is_well(stored):
    world, output, _ = stored
    _, found = audited(world, output)
    assert found.well and sum(counts["there"] for counts in found.hours.values()) > 200
    assert (
        list(audit.report(found))[-1].endswith("nothing is missing, nothing is twice")
        and len(list(audit.report(found))) == 1
    )


def test_exactly_the_deleted_and_the_altered_are_found_and_the_deleted_come_back(stored):
    world, output, database = stored
    rows = database.read(
        "SELECT id, event FROM event WHERE time >= ? AND time < ? ORDER BY id",
        [world.time.now - 3 * HOUR, world.time.now - HOUR],
    )
    picked = random.Random(5).sample(rows, 42)
    deleted, altered = sorted(id for id, _ in picked[:37]), sorted(id for id, _ in picked[37:])
    database.write(
        lambda db: db.executemany("DELETE FROM event WHERE id = ?", [[id] for id in deleted])
    )
    for id, said in picked[37:]:
        event = json.loads(said)
        event["source"]["address"] = "203.0.113.99"
        database.write(
            lambda db, row=(json.dumps(event), id): db.execute(
                "UPDATE event SET event = ? WHERE id = ?", row
            )
        )
    checking, found = audited(world, output)
    assert (sorted(found.missing), sorted(found.different), found.extra, found.twice) == (
        deleted,
        altered,
        [],
        [],
    )
    assert "37 missing, 5 different" in list(audit.report(found))[-1]
    assert checking.repair(found.missing) == (37, [])
    again = audited(world, output)[1]
    assert again.missing == [] and sorted(again.different) == altered


def test_what_waits_as_rejected_is_not_missing_and_what_nobody_sent_is_extra(stored):
    world, output, database = stored
    id, foreign = foreign_twin(world, database)
    database.write(lambda db: db.execute("DELETE FROM event WHERE id = ?", [id]))
    output.deliver(world.units()[0], [foreign], None)
    found = audited(world, output, {id})[1]
    assert (found.missing, found.extra) == ([], ["f" * 32]) and "1 rejected" in list(
        audit.report(found)
    )[-1]


def test_files_are_audited_too(tmp_path):
    time = Time()
    output = file.File(file.Settings(str(tmp_path / "out"), 300_000), Around(clock=time.clock))
    world = collected(output, None, time)
    assert output.closed() and audited(world, output)[1].well
    whole = output.path.read_bytes()
    lines = output.closed()[-1].read_bytes().splitlines(keepends=True)
    output.closed()[-1].write_bytes(b"".join(lines[1:]) + lines[1])
    found = audited(world, output)[1]
    assert (
        found.missing == [json.loads(lines[0])["event"]["id"]]
        and found.twice == [json.loads(lines[1])["event"]["id"]]
        and whole == output.path.read_bytes()
    )
    output.close()


def test_an_output_that_cannot_say_is_named(tmp_path):
    time = Time()
    world = World(PLUGIN, simulator.Simulator(simulator.Knobs()), time=time)
    with pytest.raises(audit.ConfigError, match="elasticsearch, opensearch, sqlite or file"):
        audited(world, stdout.Stdout(stdout.Settings()))


@pytest.mark.parametrize(
    "held,well",
    [
        ({"acme": {"n": [2, 1]}}, True),
        ({"acme": {"n": [1, 2, 3]}}, False),
        ({"acme.n": [1, 2]}, True),
        ({"acme": {"n": 1}}, False),
        (
            {
                "acme": {"n": [1, 2]},
                "source": {"geo": {"city_name": "x"}},
                "event": {"ingested": "y"},
            },
            True,
        ),
        ({"acme": {"n": [1, 2], "new": 1}}, False),
    ],
)
def test_a_cluster_may_order_and_add_but_not_alter(held, well):
    due = {"event": {"module": "acme", "created": "then"}, "acme": {"n": [1, 2]}, "message": "m"}
    assert (
        audit.same(
            due, {"message": ["m"], **held, "event": {"module": "acme", **held.get("event", {})}}
        )
        is well
    )


def test_a_clock(tmp_path):
    """What is younger than the overlap is not due yet."""
    time = Time()
    world = World(
        PLUGIN, simulator.Simulator(simulator.Knobs(odd=False, rate=3.0)), time=time, lookback="5h"
    ).cycles(1)

    class Held:
        def read(self, unit, namespace, start, stop):
            return iter(())

        def holds(self, unit, events):
            return set()

    checking, found = audited(world, Held())
    stop = time.now - world.settings.overlap - world.settings.interval
    due = checking.db.execute("SELECT count(*) FROM due").fetchone()[0]
    assert 0 < len(found.missing) < due and stop > checking.start


# The command, with every plugin there is


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


def run(*words):
    """In a process of its own: `run` ends it."""
    done = subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, env=ENVIRONMENT, timeout=60
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


@pytest.fixture
def vendors():
    """Every plugin's simulator, and an input that asks it."""
    servers = {name: simulate.Server(simulate.simulator(name, {})) for name in plugins.installed()}
    yield {
        name: {"type": name, **server.simulated.settings(server.url)}
        for name, server in servers.items()
    }
    for server in servers.values():
        server.close()


def is_asked(name):
    return "lookback" in plugins.plugin(name).settings.__dataclass_fields__


@pytest.mark.parametrize("name", plugins.installed())
def test_the_command_with_each_plugin_alone(tmp_path, vendors, name):
    path = configured(tmp_path, {**vendors[name], **({"lookback": "3h"} if is_asked(name) else {})})
    code, said = run("run", "--once", "-c", path)
    assert code == 0, said
    code, said = run("audit", "--since", "2h", "-c", path)
    if is_asked(name):
        assert "left out" not in said and "due" in said and " there" in said, said
    else:
        assert (code, said.splitlines()) == (
            0,
            [
                (
                    f"{name}: left out: what is pushed, or says of the moment, nobody can be asked"
                    " for again"
                ),
                "nothing was compared: no input can be asked again",
            ],
        )


def test_the_command_with_a_vendor_that_pushes_beside_one_that_is_asked(tmp_path, vendors):
    pushed = {
        **vendors["centurylink_ips"],
        "listen": "127.0.0.1:0",
        "secret": "a-secret-of-20-letters",
    }
    path = configured(tmp_path, {**vendors["apptrana"], "lookback": "130m"}, pushed)
    assert run("run", "--once", "-c", path)[0] == 0
    code, said = run("audit", "--since", "30m", "-c", path)
    assert (
        code == 0
        and said.splitlines()[0].startswith("centurylink_ips: left out: ")
        and said.splitlines()[-1].endswith("nothing is missing, nothing is twice")
    ), said
    with sqlite3.connect(tmp_path / "data/siemtap.db") as db:
        db.execute(
            "DELETE FROM event WHERE id = (SELECT id FROM event WHERE time BETWEEN ? AND ?"
            " LIMIT 1)",
            [(time.time() - 1500) * 1000, (time.time() - 900) * 1000],
        )
    code, said = run("audit", "--since", "30m", "-c", path)
    assert code == 1 and "1 missing" in said


def test_what_is_pushed_to_an_input_that_is_asked_too_is_not_too_much(stored):
    world, output, database = stored
    _, foreign = foreign_twin(world, database)
    output.deliver(world.units()[0], [foreign], None)
    wish = Input(
        PLUGIN,
        world.settings,
        fill_in(Every, {"id": "it"}),
        fill_in(Connection, {}),
        fill_in(Receiving, {"syslog": ["udp://127.0.0.1:5514"]}),
    )
    checking = audit.Audit(output, world.time.clock, 4 * HOUR, set())
    checking.ask(wish, world.http, {})
    assert checking.compare().well and list(audit.left_out((wish,))) == [
        "it: what is pushed to it is left out: nobody can be asked for it again"
    ]
    assert (
        audited(world, output)[1].extra == ["f" * 32]
        and list(audit.left_out((dataclasses.replace(wish, receiving=None),))) == []
    )
