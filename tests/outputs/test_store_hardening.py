"""The database when its file is deleted, damaged or newer, and the bound of rejected events."""

import os
import shutil
import sqlite3
import threading
import types

import pytest
from processes import wait_for

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.model import Mark, Payload, Unit
from siemtap.edge.receive.spool import Full, Spool
from siemtap.edge.store import rejected as store
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.edge.store.first_reads import note_first_read
from siemtap.edge.store.rejected import RejectedEvents
from siemtap.outputs import OutputContext
from siemtap.outputs import sqlite as output_sqlite
from siemtap.outputs.sqlite import Settings, Sqlite
from siemtap.shipper.processes.share import ALONE
from siemtap.shipper.status import verdict

UNIT = Unit("it", "acme.event")


def event(number, size=0):
    return {
        "@timestamp": "2026-03-04T10:00:00.000Z",
        "event": {"id": f"{number:032x}", "dataset": "acme.event"},
        "message": "x" * size,
    }


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "data/siemtap.db")
    yield database
    database.close()


@pytest.mark.parametrize("table", ["mark", "first_read"])
def test_a_torn_page_of_a_small_table_is_refused(tmp_path, table):
    """Its second half is empty, as after a write that a power failure cut."""
    path = tmp_path / "siemtap.db"
    database = Database(path)
    Checkpoints(database).save(UNIT, Mark({"until": 1}))
    note_first_read(database, UNIT, 7)
    query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
    ((page,),) = database.read(query, [table])
    ((size,),) = database.read("PRAGMA page_size")
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size + size // 2)
        file.write(bytes(size // 2))
    with pytest.raises(ConfigError, match=r"siemtap.db is damaged \(.*Nothing was changed"):
        Database(path)


def test_a_disk_that_fails_is_named_and_tried_again(database):
    """What SQLite says of one: SQLITE_IOERR, SQLITE_READONLY, SQLITE_CANTOPEN."""
    for words in (
        "disk I/O error",
        "attempt to write a readonly database",
        "unable to open database file",
    ):

        def work(db, words=words):
            raise sqlite3.OperationalError(words)

        with pytest.raises(Retry, match=f"siemtap.db cannot be .*{words}.*; check its disk"):
            database.write(work)
    assert database.write(lambda db: db.execute("SELECT 7").fetchone()) == (7,)


@pytest.mark.parametrize("how", ["folder", "file", "replaced"])
def test_deleted_database_accepts_nothing_and_says_so(tmp_path, database, how):
    output = Sqlite(fill_in(Settings, {}), OutputContext(database))
    output.deliver(UNIT, [event(1)], Mark({"until": 1}))
    if how == "folder":
        shutil.rmtree(database.path.parent)
    elif how == "file":
        database.path.unlink()
    else:
        shutil.copy(database.path, tmp_path / "copy")
        os.replace(tmp_path / "copy", database.path)
    with pytest.raises(ConfigError, match="was deleted or replaced while siemtap runs"):
        output.deliver(UNIT, [event(2)], Mark({"until": 2}))
    with pytest.raises(ConfigError, match="restart siemtap"):
        Checkpoints(database)
    shipper = types.SimpleNamespace(database=database, inputs={}, clock=types.SimpleNamespace())
    shipper.delivery = types.SimpleNamespace(readers={}, outputs={}, refused="")
    shipper.share, shipper.refused, shipper.clients = ALONE, {}, {}
    shipper.clock.elapsed = lambda: 0.0
    ok, reason = verdict.health(shipper)
    assert not ok and "was deleted or replaced" in reason
    output.close()


def test_deleted_spool_accepts_nothing_and_says_so(tmp_path):
    spool = Spool(tmp_path / "spool")
    payload = Payload(b"x", "webhook")
    spool.append([payload]).result(10)
    shutil.rmtree(tmp_path / "spool")
    assert "were deleted or replaced" in spool.check()
    with pytest.raises(Full, match="restart siemtap"):
        spool.append([payload])
    spool.close()
    spool = Spool(tmp_path / "spool")
    spool.append([payload]).result(10)
    shutil.rmtree(tmp_path / "spool")
    with pytest.raises(Full, match="restart siemtap"):  # nobody has asked /health
        spool.append([payload]).result(10)
    spool.close()


def test_damaged_digit_of_a_mark_is_not_believed(database):
    checkpoints = Checkpoints(database)
    checkpoints.save(UNIT, Mark({"until": 1_772_618_400_000}, {"a" * 32: 5}))
    assert checkpoints.load(UNIT) == Mark({"until": 1_772_618_400_000}, {"a" * 32: 5})
    with sqlite3.connect(database.path) as db:
        db.execute("UPDATE mark SET mark = replace(mark, '1772618400000', '1772618400004')")
    with pytest.raises(ConfigError, match="a mark cannot be read"):
        checkpoints.load(UNIT)


def test_mark_without_a_checksum_is_read(database):
    """As earlier versions wrote it."""
    with sqlite3.connect(database.path) as db:
        mark = '{"cursor":{"until":7},"seen":{}}'
        db.execute("INSERT INTO mark VALUES ('it', 'acme.event', '', ?, 1)", [mark])
    assert Checkpoints(database).load(UNIT) == Mark({"until": 7})


def test_a_mark_of_a_newer_version_is_refused(database):
    with sqlite3.connect(database.path) as db:
        mark = '{"cursor":{"until":7},"seen":{},"version":2}'
        db.execute("INSERT INTO mark VALUES ('it', 'acme.event', '', ?, 1)", [mark])
    with pytest.raises(ConfigError, match="by a newer version of siemtap"):
        Checkpoints(database).load(UNIT)


def test_writer_survives_what_nobody_expects(database, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(database, "_commit", lambda db, works: 1 / 0)
        with pytest.raises(Retry, match="ZeroDivisionError; nothing was committed"):
            database.write(lambda db: 1)
    assert database.write(lambda db: 2) == 2


def test_writer_of_a_spool_survives_what_nobody_expects(tmp_path, monkeypatch):
    spool = Spool(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(spool, "_put", lambda records: 1 / 0)
        with pytest.raises(Retry, match="ZeroDivisionError"):
            spool.append([Payload(b"x", "udp")]).result(10)
    spool.append([Payload(b"y", "udp")]).result(10)
    assert [payload.body for payload in spool.read({}, 10)[0]] == [b"y"]
    spool.close()


def test_tidier_survives_what_nobody_expects(database, monkeypatch):
    monkeypatch.setattr(output_sqlite, "TIDY_EVERY", 0.01)
    called = threading.Semaphore(0)
    output = Sqlite(fill_in(Settings, {}), OutputContext(database))
    monkeypatch.setattr(output, "tidy", lambda: (called.release(), 1 / 0))
    for _ in range(3):
        assert called.acquire(timeout=30)
    output.close()


@pytest.mark.slow
def test_rejected_events_push_out_no_good_ones(database):
    output = Sqlite(fill_in(Settings, {"max_bytes": 2_000_000}), OutputContext(database))
    output.deliver(UNIT, [event(number) for number in range(2_000)], None)
    rejected_events = RejectedEvents(database)
    refused = [(event(number, 10_000), "refused") for number in range(10_000, 10_400)]
    rejected_events.store(UNIT, refused)
    assert output.tidy() == 0
    assert database.read("SELECT count(*) FROM event") == [(2_000,)]
    output.deliver(UNIT, [event(number, 2_000) for number in range(3_000, 5_000)], None)
    assert output.tidy() > 0  # the bound of the events themselves
    output.close()


def test_rejected_events_have_a_bound_of_their_own(database, monkeypatch, caplog):
    monkeypatch.setattr(store, "MAX_BYTES", 100_000)
    rejected_events = RejectedEvents(database)
    for number in range(50):
        rejected_events.store(UNIT, [(event(number, 4_000), "refused")])
        if number == 40:
            rejected_events.mark_seen([f"{30:032x}"])
    rows = {int(row.id, 16) for row in rejected_events.all()}
    assert 15 < len(rows) < 26 and 49 in rows and 0 not in rows and 30 not in rows
    assert rejected_events.dropped == 50 - len(rows)
    assert caplog.text.count("the oldest are deleted") == 1
    sentence = verdict.describe_rejected(rejected_events.unseen(), rejected_events.dropped)
    assert f"{rejected_events.dropped} older ones were deleted" in sentence


@pytest.mark.skipif(os.name != "posix", reason="the rights of POSIX")
def test_files_are_private_also_those_of_an_earlier_version(tmp_path):
    folder = tmp_path / "a/data"
    folder.mkdir(parents=True, mode=0o755)
    Database(folder / "siemtap.db").close()
    (folder / "siemtap.db").chmod(0o644)
    database = Database(folder / "siemtap.db")
    database.write(lambda db: db.execute("CREATE TABLE t (x)"))
    spool = Spool(folder / "spool/it")
    spool.append([Payload(b"x", "udp")]).result(10)
    wait_for(lambda: (folder / "siemtap.db-wal").exists())
    paths = [folder, *folder.rglob("*")]
    assert len(paths) >= 7
    for path in paths:
        expected = 0o700 if path.is_dir() else 0o600
        assert path.stat().st_mode & 0o777 == expected, path
    database.close()
    spool.close()
