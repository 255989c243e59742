"""The database of checkpoints: creation, damage, and commits shared by threads."""

import subprocess
import sys
import threading

import pytest
from outputs.output_stores import UNIT

from siemtap.core.errors import ConfigError
from siemtap.core.model import Mark, Unit
from siemtap.edge.store.checkpoints import Checkpoints, Database


def test_damaged_file_is_an_error_with_advice(tmp_path):
    path = tmp_path / "siemtap.db"
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(ConfigError, match="is damaged.*Nothing was changed.*--from"):
        Database(path)
    assert path.read_bytes().startswith(b"not a database")


@pytest.mark.slow
@pytest.mark.parametrize("step", ["connect", "executescript", "close", "replace"])
def test_database_can_be_created_after_a_kill_during_creation(tmp_path, step):
    code = """if True:
        import os, sqlite3, sys
        sys.path[:0] = sys.argv[3:]
        from pathlib import Path
        from siemtap.edge.store import checkpoints

        class Dying(sqlite3.Connection):
            def executescript(self, script):
                super().executescript(script.split(";")[0] + ";" if sys.argv[2] == "executescript" and "TABLE" in script else script)
                if sys.argv[2] == "connect" or "TABLE" in script and sys.argv[2] == "executescript":
                    os._exit(9)

            def close(self):
                if sys.argv[2] == "close":
                    os._exit(9)
                super().close()

        connect = sqlite3.connect
        checkpoints.sqlite3.connect = lambda path, **more: connect(path, factory=Dying, **more)
        if sys.argv[2] == "replace":
            Path.replace = lambda path, other: os._exit(9)
        checkpoints.Database(Path(sys.argv[1]))
    """
    path = tmp_path / "siemtap.db"
    assert (
        subprocess.run(
            [sys.executable, "-c", code, str(path), step, *sys.path], timeout=300
        ).returncode
        == 9
    )
    database = Database(path)
    assert (
        database.new
        and Checkpoints(database).all() == []
        and [file.name for file in tmp_path.glob("*.new*")] == []
    )
    database.close()


def test_file_without_checkpoints_is_not_new(tmp_path):
    path = tmp_path / "siemtap.db"
    path.touch()
    with pytest.raises(ConfigError, match="is damaged .it holds no marks"):
        Database(path)


def test_leftover_wal_is_not_replayed_into_a_new_file(tmp_path):
    (tmp_path / "siemtap.db-wal").write_bytes(b"of another")
    database = Database(tmp_path / "siemtap.db")
    assert (tmp_path / "siemtap.db-wal.left").read_bytes() == b"of another" and Checkpoints(
        database
    ).all() == []
    database.close()


def test_damaged_mark_is_rejected(database):
    marks = Checkpoints(database)
    marks.save(UNIT, Mark({"until": 1}, {"a" * 32: 5}))
    assert Checkpoints(database).all()[0].mark == Mark({"until": 1}, {"a" * 32: 5})
    database.write(lambda db: db.execute("UPDATE mark SET mark = substr(mark, 1, 10)"))
    with pytest.raises(ConfigError, match="a mark cannot be read"):
        Checkpoints(database)


def test_flipped_bytes_are_detected_or_harmless(tmp_path):
    """A damaged file either raises an error or returns every mark unchanged, never another one."""
    path = tmp_path / "siemtap.db"
    database = Database(path)
    expected = {
        Unit("it", "acme.event", str(number)): Mark({"until": number}, {f"{number:032x}": number})
        for number in range(60)
    }
    for unit, mark in expected.items():
        Checkpoints(database).save(unit, mark)
    database.close()
    whole = path.read_bytes()
    refused = 0
    for place in range(0, len(whole), 4096):
        path.write_bytes(whole[:place] + bytes(4096) + whole[place + 4096 :])
        for beside in tmp_path.glob("siemtap.db-*"):
            beside.unlink()
        try:
            again = Database(path)
        except ConfigError:
            refused += 1
            continue
        try:
            assert {saved.unit: saved.mark for saved in Checkpoints(again).all()} == expected
        except ConfigError:
            refused += 1
        finally:
            again.close()
    assert refused >= 2


def test_writes_share_a_commit_and_fail_independently(database):
    def bad(db):
        db.execute("INSERT INTO mark VALUES ('x', 'y', 'z', '{}', 1)")
        raise KeyError("mine")

    results = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(database.write(lambda db: n)))
        for n in range(50)
    ]
    [thread.start() for thread in threads]
    with pytest.raises(KeyError):
        database.write(bad)
    [thread.join() for thread in threads]
    assert sorted(results) == list(range(50)) and database.read("SELECT count(*) FROM mark") == [
        (0,)
    ]
