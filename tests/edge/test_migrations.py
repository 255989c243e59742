"""Upgrades of the database: from each version that there was, in one transaction, by one process at
a time. Databases of other versions are refused and not changed."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.model import Mark, Unit
from siemtap.edge.receive.delivered import DeliveredIds
from siemtap.edge.store import migrations
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.edge.store.event_queue import EventQueue
from siemtap.edge.store.migrations import MIGRATIONS, VERSION
from siemtap.edge.store.rejected import RejectedEvents
from siemtap.edge.store.snapshot import Snapshot

UNIT = Unit("shop", "apptrana.attack", "shop.example.com")
EVENT = {"event": {"id": "e" * 32}}
# The tables as the siemtap of version 1 made them.
TABLES = """
PRAGMA auto_vacuum=INCREMENTAL;
PRAGMA journal_mode=WAL;
CREATE TABLE mark (
  input TEXT NOT NULL, dataset TEXT NOT NULL, scope TEXT NOT NULL,
  mark TEXT NOT NULL, saved INTEGER NOT NULL,
  PRIMARY KEY (input, dataset, scope)) WITHOUT ROWID;
CREATE TABLE rejected (
  id TEXT PRIMARY KEY, input TEXT NOT NULL, dataset TEXT NOT NULL,
  reason TEXT NOT NULL, time INTEGER NOT NULL, event TEXT NOT NULL);
PRAGMA user_version=1;
"""
# What it added when it opened them: to review rejected events, to receive, and to store events.
OPENED = """
ALTER TABLE rejected ADD COLUMN looked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rejected ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
CREATE INDEX rejected_size ON rejected (size);
CREATE INDEX rejected_news ON rejected (time) WHERE looked = 0;
CREATE TABLE arrival (input TEXT NOT NULL, id TEXT NOT NULL, time INTEGER NOT NULL,
  PRIMARY KEY (input, id)) WITHOUT ROWID;
CREATE INDEX arrival_time ON arrival (input, time);
CREATE TABLE event (
  id TEXT PRIMARY KEY, time INTEGER NOT NULL, dataset TEXT NOT NULL,
  severity INTEGER, action TEXT, rule TEXT, source TEXT, service TEXT, event TEXT NOT NULL);
CREATE INDEX event_time ON event (time);
INSERT INTO event VALUES ('one', 5, 'apptrana.attack', 47, 'blocked', 'SQL Injection',
  '192.0.2.7', 'shop.example.com', '{}');
INSERT INTO arrival VALUES ('shop', 'known', 7);
"""
# Tables of version 2 (several outputs), with the events of version 1.
VERSION_2 = """
DROP TABLE rejected;
CREATE TABLE rejected (
  id TEXT NOT NULL, output TEXT NOT NULL, input TEXT NOT NULL, dataset TEXT NOT NULL,
  reason TEXT NOT NULL, time INTEGER NOT NULL, event TEXT NOT NULL, size INTEGER NOT NULL,
  looked INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (id, output));
INSERT INTO rejected VALUES ('eeee', 'archive', 'shop', 'apptrana.attack', 'full', 1, '{}', 6, 1);
PRAGMA user_version=2;
"""


def old_database(path, *statements):
    """Make a database of version 1, with a checkpoint and a rejected event, and change it."""
    db = sqlite3.connect(path)
    db.executescript(TABLES)
    mark = json.dumps(Mark({"until": 5}, {"a" * 32: 4}).to_json())
    db.execute("INSERT INTO mark VALUES (?, ?, ?, ?, 1)", [*UNIT, mark])
    row = ["e" * 32, UNIT.input, UNIT.dataset, "mapper_parsing_exception", 3, json.dumps(EVENT)]
    db.execute("INSERT INTO rejected VALUES (?, ?, ?, ?, ?, ?)", row)
    for each in statements:
        db.executescript(each)
    db.commit()
    db.close()
    return path


def content(path):
    """Return a database as statements, and its version."""
    db = sqlite3.connect(path)
    try:
        return [*db.iterdump(), *db.execute("PRAGMA user_version")]
    finally:
        db.close()


def assert_upgraded(path):
    database = Database(path, upgrade=True)
    try:
        assert Checkpoints(database).load(UNIT) == Mark({"until": 5}, {"a" * 32: 4})
        rejected = RejectedEvents(database)
        (row,) = rejected.all()
        assert (row.id, row.output, row.unit) == ("e" * 32, "", Unit(UNIT.input, UNIT.dataset))
        assert (row.reason, row.time, row.event) == ("mapper_parsing_exception", 3, EVENT)
        rejected.store(UNIT, [(EVENT, "too large")], "archive")  # beside it, not in its place
        assert [row.output for row in rejected.all()] == ["", "archive"]
        rejected.delete_row(rejected.all()[1])
        assert database.read("PRAGMA user_version") == [(VERSION,)]
        assert database.read("PRAGMA integrity_check") == [("ok",)]
    finally:
        database.close()


def test_there_is_a_step_from_each_version():
    assert sorted(MIGRATIONS) == list(range(1, VERSION))


def test_version_1_is_upgraded(tmp_path, caplog):
    caplog.set_level("INFO")
    assert_upgraded(old_database(tmp_path / "siemtap.db"))
    assert f"upgraded from version 1 to version {VERSION}" in caplog.text


def test_version_1_with_received_and_stored_events_is_upgraded(tmp_path):
    path = old_database(tmp_path / "siemtap.db", OPENED, "UPDATE rejected SET looked = 1")
    assert_upgraded(path)
    database = Database(path)
    try:
        assert DeliveredIds(database, 1_000).known(UNIT, ["known", "new"]) == {"known"}
        assert database.read("SELECT id, input FROM event") == [("one", None)]
        assert database.read("SELECT looked, size > 30 FROM rejected") == [(1, 1)]
        assert RejectedEvents(database).unseen() is None
        EventQueue(database, 1_000).put(UNIT, [EVENT], ["archive"])
    finally:
        database.close()


def test_version_2_is_upgraded(tmp_path):
    """Once with the column that its last development versions had already."""
    for name, more in ("old.db", ""), ("new.db", "ALTER TABLE event ADD COLUMN input TEXT;"):
        path = old_database(tmp_path / name, OPENED, VERSION_2, more)
        database = Database(path, upgrade=True)
        try:
            rows = database.read("SELECT output, looked FROM rejected")
            assert rows == [("archive", 1)]
            assert database.read("SELECT id, input FROM event") == [("one", None)]
        finally:
            database.close()


@pytest.mark.parametrize("name", ["of one that works beside", "of one that only reads"])
def test_an_older_file_is_upgraded_only_by_its_owner(tmp_path, name):
    """A siemtap of the older version may still run."""
    path = old_database(tmp_path / "siemtap.db", OPENED)
    before = content(path)
    opened = Database if name == "of one that works beside" else Snapshot
    with pytest.raises(ConfigError, match="older version of siemtap.*start `siemtap run`"):
        opened(path)
    assert content(path) == before


@pytest.mark.parametrize(
    ("version", "words"), [(VERSION + 1, "a newer version"), (0, "before the first release")]
)
@pytest.mark.parametrize("upgrade", [False, True])
def test_other_versions_are_refused_and_unchanged(tmp_path, version, words, upgrade):
    path = old_database(tmp_path / "siemtap.db", f"PRAGMA user_version={version}")
    before = content(path)
    with pytest.raises(ConfigError, match=f"{words}.*Nothing was changed.*Install that version"):
        Database(path, upgrade)
    assert content(path) == before


def test_a_step_that_fails_changes_nothing(tmp_path, monkeypatch):
    """The steps before it included; the next start tries again."""
    path = old_database(tmp_path / "siemtap.db", OPENED)
    before = content(path)

    def full(db):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setitem(MIGRATIONS, 2, full)
        with pytest.raises(Retry, match=r"the disk of .* is full; nothing was committed"):
            Database(path, upgrade=True)
    assert content(path) == before
    assert_upgraded(path)


def test_what_another_process_upgraded_meanwhile_is_not_upgraded_twice(tmp_path, monkeypatch):
    path = old_database(tmp_path / "siemtap.db", OPENED)
    monkeypatch.setattr(migrations, "version_of", Raced(path, migrations.version_of))
    assert_upgraded(path)


class Raced:
    """`version_of`, after whose first answer another process upgrades the file."""

    def __init__(self, path, version_of):
        self.path, self.version_of, self.calls = path, version_of, 0

    def __call__(self, db):
        self.calls += 1
        version = self.version_of(db)
        if self.calls == 1:
            code = (
                "import sys, pathlib; from siemtap.edge.store.checkpoints import Database;"
                "Database(pathlib.Path(sys.argv[1]), upgrade=True).close()"
            )
            subprocess.run([sys.executable, "-c", code, str(self.path)], check=True, env=ENV)
        return version


ENV = {"PYTHONPATH": str(Path(__file__).parents[2] / "plugins")}
KILLED = """
import os, pathlib, sqlite3, sys
from siemtap.edge.store import migrations
from siemtap.edge.store.checkpoints import Database
path, last = pathlib.Path(sys.argv[1]), int(sys.argv[2])
migrate = migrations.migrate
def killed(db, path):
    done = []
    def trace(statement):
        done.append(statement)
        if len(done) > last:
            os.kill(os.getpid(), 9)
    db.set_trace_callback(trace)
    migrate(db, path)
    db.set_trace_callback(None)
import siemtap.edge.store.checkpoints as checkpoints
checkpoints.migrate = killed
Database(path, upgrade=True).close()
"""


@pytest.mark.slow
def test_an_upgrade_killed_before_each_statement(tmp_path):
    """Nothing is changed until all is; the next start upgrades."""
    before = content(old_database(tmp_path / "pristine.db", OPENED))
    statements = 0
    while True:
        path = old_database(tmp_path / f"{statements}.db", OPENED)
        command = [sys.executable, "-c", KILLED, str(path), str(statements)]
        status = subprocess.run(command, env=ENV).returncode
        if status == 0:
            break
        assert status == -9 and content(path) == before
        assert_upgraded(path)
        statements += 1
    assert statements >= 10
