"""The contract of an output: safe when `deliver` returns, whole or not at all, and `holds` tells
what is there."""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.mapping import rfc3339
from siemtap.core.model import Mark, Unit
from siemtap.core.windows import DAY, HOUR
from siemtap.edge.checkpoints import Checkpoints, Database
from siemtap.edge.clock import Clock
from siemtap.edge.rejects import Rejects
from siemtap.outputs import Around, checked, file, sqlite, stdout
from siemtap.outputs.encode import encode
from world import Time

UNIT = Unit("it", "acme.event", "a")
NOW = 1_772_618_400_000


def event(number, **more):
    return {
        "@timestamp": rfc3339(NOW + number),
        "event": {
            "id": f"{number:032x}",
            "kind": "alert",
            "dataset": "acme.event",
            "severity": 73,
            "action": "blocked",
        },
        **more,
    }


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "siemtap.db")
    yield database
    database.close()


def store(database, clock=Clock(lambda: NOW, lambda: 0.0), **settings):
    return sqlite.Sqlite(
        sqlite.Settings(**{"retention": 0, "max_bytes": 0, **settings}), Around(database, clock)
    )


def files(tmp_path, *, rotate_every_bytes=10**9, number_of_files=0):
    return file.File(
        file.Settings(str(tmp_path / "out"), rotate_every_bytes, number_of_files),
        Around(clock=Clock(lambda: NOW, lambda: 0.0)),
    )


def lines(output):
    return [
        json.loads(line)
        for path in [*output.closed(), output.path]
        for line in path.read_bytes().splitlines()
    ]


# What every one of them promises


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_what_was_delivered_is_there_after_a_start(kind, tmp_path, database):
    make = (lambda: store(database)) if kind == "sqlite" else (lambda: files(tmp_path))
    output = make()
    output.deliver(UNIT, [event(number) for number in range(700)], None)
    output.close()
    again = make()
    assert again.holds(UNIT, [event(number) for number in (0, 699, 700)]) == {
        f"{0:032x}",
        f"{699:032x}",
    }
    assert again.holds(UNIT, []) == set()
    again.close()


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_many_threads_deliver_at_once(kind, tmp_path, database):
    output = store(database) if kind == "sqlite" else files(tmp_path, rotate_every_bytes=20_000)
    threads = [
        threading.Thread(
            target=lambda part=part: [
                output.deliver(UNIT, [event(part * 100 + number)], None) for number in range(20)
            ]
        )
        for part in range(8)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    got = (
        [row[0] for row in database.read("SELECT id FROM event")]
        if kind == "sqlite"
        else [said["event"]["id"] for said in lines(output)]
    )
    assert len(got) == len(set(got)) == 160
    output.close()


# sqlite


def test_events_and_mark_are_one_transaction(database):
    output, marks = store(database), Checkpoints(database)
    output.deliver(UNIT, [event(1)], Mark({"until": 1}))
    assert marks.load(UNIT) == Mark({"until": 1})
    with pytest.raises(AttributeError):
        output.deliver(UNIT, [event(2)], "no mark")
    assert database.read("SELECT count(*) FROM event") == [(1,)] and marks.load(UNIT) == Mark(
        {"until": 1}
    )
    output.close()


def test_the_same_event_is_there_once_and_unaltered(database):
    output = store(database)
    said = event(
        1,
        apptrana={"attack_data": "\x00 \u2028 <b> \ud800 ü"},
        source={"address": "192.0.2.1"},
        rule={"name": "r"},
        service={"name": "s"},
    )
    output.deliver(UNIT, [said], None)
    output.deliver(UNIT, [said, event(2)], None)
    rows = database.read(
        "SELECT time, dataset, severity, action, rule, source, service, event FROM event ORDER"
        " BY id"
    )
    assert (
        len(rows) == 2
        and rows[0][:7] == (NOW + 1, "acme.event", 73, "blocked", "r", "192.0.2.1", "s")
        and json.loads(rows[0][7]) == said
    )
    output.close()


def test_people_filter_by_indexed_columns(database):
    output = store(database)
    for column in ("time", "dataset", "severity", "rule", "source", "service"):
        plan = database.read(f"EXPLAIN QUERY PLAN SELECT * FROM event WHERE {column} = ?", ["x"])
        assert "USING INDEX" in plan[0][3], column
    output.close()


def test_retention_takes_the_oldest(database):
    time = Time(NOW - 2 * HOUR)
    output = store(database, time.clock, retention=1_000)
    time.now = NOW  # the clock ran evenly for more than an hour
    output.deliver(UNIT, [event(-2_000), event(-500), event(-1_501)], None)
    assert output.tidy() == 2 and [row[0] for row in database.read("SELECT time FROM event")] == [
        NOW - 500
    ]
    output.close()


def health(number):
    made = event(number)
    return {**made, "event": {**made["event"], "id": f"h{number}", "dataset": "siemtap.health"}}


@pytest.mark.parametrize(
    "vendor", [0, -40 * DAY], ids=["a vendor that speaks", "a vendor that is silent for 40 days"]
)
def test_our_own_health_deletes_itself_and_nothing_else(database, vendor):
    """Its time is our clock's: a month ahead, say. And it goes where no vendor says anything for
    long, whatever is restarted."""
    time = Time(NOW - 2 * HOUR)
    output = store(database, time.clock, retention=30 * DAY)
    time.now = NOW
    output.deliver(
        UNIT,
        [event(vendor), event(vendor - 1), health(-1), health(-31 * DAY), health(-29 * DAY)],
        None,
    )
    assert output.tidy() == 1
    assert sorted(row[0] - NOW for row in database.read("SELECT time FROM event")) == sorted(
        [vendor - 1, vendor, -29 * DAY, -1]
    )
    output.close()


@pytest.mark.parametrize("vendors,gone", [(-40 * DAY, 0), (0, 1), (40 * DAY, 1), (None, 1)])
def test_what_a_vendor_says_is_the_future_is_no_measure(database, vendors, gone):
    """Our clock is ahead for hours, and what was pushed meanwhile bears its time."""
    time = Time(NOW - 2 * HOUR)
    output = sqlite.Sqlite(
        sqlite.Settings(30 * DAY, 0),
        Around(
            database, time.clock, vendors_now=None if vendors is None else lambda: NOW + vendors
        ),
    )
    time.now = NOW
    output.deliver(UNIT, [event(-1), event(-40 * DAY - 1)], None)
    assert output.tidy() == gone
    for _ in range(80):  # a vendor whose clock stands still only delays it
        time.now += DAY
        output.tidy()
    assert [row[0] for row in database.read("SELECT time FROM event")] == []
    output.close()


def test_max_bytes_takes_the_oldest(database):
    output = store(database, max_bytes=2_000_000)
    output.deliver(UNIT, [event(number, message="x" * 300) for number in range(12_000)], None)
    assert output.tidy() >= 5_000
    with sqlite3.connect(database.path) as db:
        assert sqlite.size(db) <= 2_000_000
    times = [row[0] for row in database.read("SELECT time FROM event ORDER BY time")]
    assert 0 < len(times) < 7_001 and times[-1] == NOW + 11_999
    output.close()


def test_a_full_disk_commits_nothing_and_goes_on_when_there_is_room(database):
    output, marks = store(database), Checkpoints(database)
    output.deliver(UNIT, [event(1)], Mark({"until": 1}))
    pages = {}

    def limit(db):
        pages["before"] = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages['before']}")

    database.write(limit)
    with pytest.raises(Retry, match="disk of .* is full; nothing was committed"):
        output.deliver(
            UNIT,
            [event(number, message="x" * 4_000) for number in range(2, 99)],
            Mark({"until": 2}),
        )
    assert marks.load(UNIT) == Mark({"until": 1}) and database.read(
        "SELECT count(*) FROM event"
    ) == [(1,)]
    database.write(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchone())
    output.deliver(
        UNIT, [event(number, message="x" * 4_000) for number in range(2, 99)], Mark({"until": 2})
    )
    assert marks.load(UNIT) == Mark({"until": 2})
    output.close()


# Checkpoints


def test_a_damaged_file_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "siemtap.db"
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(ConfigError, match="is damaged.*Nothing was changed.*--from"):
        Database(path)
    assert path.read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("step", ["connect", "executescript", "close", "replace"])
def test_a_kill_while_it_is_created_leaves_nothing_in_the_way(tmp_path, step):
    code = """if True:
        import os, sqlite3, sys
        sys.path[:0] = sys.argv[3:]
        from pathlib import Path
        from siemtap.edge import checkpoints

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
            [sys.executable, "-c", code, str(path), step, *sys.path], timeout=60
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


def test_a_file_without_marks_is_no_new_one(tmp_path):
    path = tmp_path / "siemtap.db"
    path.touch()
    with pytest.raises(ConfigError, match="is damaged .it holds no marks"):
        Database(path)


def test_a_log_without_its_file_is_not_played_into_a_new_one(tmp_path):
    (tmp_path / "siemtap.db-wal").write_bytes(b"of another")
    database = Database(tmp_path / "siemtap.db")
    assert (tmp_path / "siemtap.db-wal.left").read_bytes() == b"of another" and Checkpoints(
        database
    ).all() == []
    database.close()


def test_a_torn_mark_is_refused(database):
    marks = Checkpoints(database)
    marks.save(UNIT, Mark({"until": 1}, {"a" * 32: 5}))
    assert Checkpoints(database).all()[0].mark == Mark({"until": 1}, {"a" * 32: 5})
    database.write(lambda db: db.execute("UPDATE mark SET mark = substr(mark, 1, 10)"))
    with pytest.raises(ConfigError, match="a mark cannot be read"):
        Checkpoints(database)


def test_flipped_bytes_are_found_or_harmless(tmp_path):
    """A file with damage in it either says so or still gives every mark as it was: never another
    one."""
    path = tmp_path / "siemtap.db"
    database = Database(path)
    wanted = {
        Unit("it", "acme.event", str(number)): Mark({"until": number}, {f"{number:032x}": number})
        for number in range(60)
    }
    for unit, mark in wanted.items():
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
            assert {saved.unit: saved.mark for saved in Checkpoints(again).all()} == wanted
        except ConfigError:
            refused += 1
        finally:
            again.close()
    assert refused >= 2


def test_works_share_a_commit_and_fail_alone(database):
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


# file


def test_a_torn_last_line_is_cut(tmp_path):
    output = files(tmp_path)
    output.deliver(UNIT, [event(1), event(2)], None)
    output.close()
    whole = output.path.read_bytes()
    for length in range(len(whole)):
        output.path.write_bytes(whole[:length])
        again = files(tmp_path)
        assert again.holds(UNIT, [event(1), event(2)]) == {
            said["event"]["id"] for said in lines(again)
        }
        again.deliver(UNIT, [event(3)], None)
        assert lines(again)[-1] == event(3)
        again.close()


def test_files_rotate_and_the_oldest_go(tmp_path):
    output = files(tmp_path, rotate_every_bytes=1_024, number_of_files=3)
    for number in range(60):
        output.deliver(UNIT, [event(number)], None)
    assert len(output.closed()) == 3 and all(
        path.stat().st_size <= 1_024 for path in output.closed()
    )
    got = [said["event"]["id"] for said in lines(output)]
    assert got == sorted(got) and got[-1] == f"{59:032x}"
    output.close()
    again = files(tmp_path)
    # what is in doubt may be in a closed file
    assert again.holds(UNIT, lines(again)) == set(got)
    again.close()


@pytest.mark.parametrize(
    "clock",
    [
        lambda turn: NOW - turn * 60_000,
        lambda turn: NOW + (31 * DAY if turn == 5 else 0),
        lambda turn: NOW,
    ],
    ids=["backwards", "ahead once", "standing"],
)
def test_the_newest_file_is_never_the_one_that_goes(tmp_path, clock):
    turn = [0]
    output = file.File(
        file.Settings(str(tmp_path / "out"), 1_024, 3),
        Around(clock=Clock(lambda: clock(turn[0]), lambda: 0.0)),
    )
    (tmp_path / "out/events-of-last-year.txt").write_text("somebody's own")
    for turn[0] in range(60):
        output.deliver(UNIT, [event(turn[0])], None)
    got = [said["event"]["id"] for said in lines(output)]
    assert (
        got == [f"{number:032x}" for number in range(60 - len(got), 60)]
        and len(output.closed()) == 3
    )
    output.close()


@pytest.mark.parametrize("written", [0, 1, 40, 200])
def test_a_full_disk_leaves_no_half_batch(tmp_path, written, monkeypatch):
    output = files(tmp_path)
    output.deliver(UNIT, [event(1)], None)
    real = output.file

    class Full:
        def __init__(self):
            self.left = written

        def write(self, data):
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            done = real.write(bytes(data[: self.left]))
            self.left -= done
            return done

        def __getattr__(self, name):
            return getattr(real, name)

    output.file = Full()
    with pytest.raises(Retry, match="No space left on device; nothing of the batch was kept"):
        output.deliver(UNIT, [event(2), event(3)], None)
    output.file = real
    assert lines(output) == [event(1)]
    output.deliver(UNIT, [event(2), event(3)], None)
    assert lines(output) == [event(1), event(2), event(3)]
    output.close()


def test_a_folder_that_cannot_be_written_is_a_mistake_of_the_configuration(tmp_path):
    (tmp_path / "out").write_text("a file, and no folder")
    with pytest.raises(ConfigError, match="output.file.path"):
        files(tmp_path)


# stdout


def test_lines_on_standard_output(capfdbinary):
    stdout.Stdout(stdout.Settings()).deliver(UNIT, [event(1), event(2)], None)
    assert [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()] == [
        event(1),
        event(2),
    ]
    assert stdout.Stdout(stdout.Settings()).holds(UNIT, [event(1)]) is None


def test_a_reader_that_goes_away_is_an_end_and_no_error():
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\nfrom siemtap.outputs.stdout import Stdout,"
        " Settings\noutput = Stdout(Settings())\nwhile True: output.deliver(None, [{'a': 'x' *"
        " 9999}], None)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *sys.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.read(100)
    process.stdout.close()
    assert process.wait(20) == 0 and process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_signal_in_the_middle_of_a_full_pipe_costs_no_byte(unbuffered):
    """A raw file ends a write that a signal interrupts, and says how much it took."""
    program = (
        "import signal, sys; sys.path[:0] = sys.argv[1:]\nfrom siemtap.outputs.stdout import"
        " Stdout, Settings\nsignal.signal(signal.SIGUSR1, lambda *_: None)\nprint('there',"
        " file=sys.stderr, flush=True)\nStdout(Settings()).deliver(None, [{'a': 'x' * 300_000},"
        " {'b': 1}], None)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *sys.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    assert process.stderr.readline() == b"there\n"
    for _ in range(3):
        time.sleep(0.3)
        process.send_signal(signal.SIGUSR1)
    out, err = process.communicate(timeout=20)
    assert (
        process.returncode == 0
        and err == b""
        and [len(line) for line in out.splitlines()] == [300_008, 7]
    )


# The check in front of it


def test_what_fails_the_check_is_kept_with_the_reason_and_stops_nobody(database):
    kept, told = [], []

    class Output:
        together = False

        def deliver(self, unit, events, mark):
            kept.extend(events)
            return []

    rejects = Rejects(database)
    output = checked.Checked(
        Output(),
        lambda said: "odd" if said["event"]["id"].endswith("1") else None,
        rejects,
        told.append,
    )
    output.deliver(UNIT, [event(1), event(2), event(3)], None)
    output.deliver(UNIT, [event(1)], None)
    assert kept == [event(2), event(3)] and told == [1, 1]
    (row,) = rejects.all()
    assert (row.event, row.reason, row.unit) == (event(1), "odd", Unit("it", "acme.event"))
    rejects.delete([row.id])
    assert rejects.count() == 0


@pytest.mark.parametrize(
    "said",
    [
        {"a": "ü\u2028"},
        {"a": "\ud800"},
        {"a": 2**70},
        {"a": "\ud83d\ude00 \udc00 \x00"},
        {"a": [1.5, None, True]},
        {"a\x85": "\x80\x9f\xa0\ufffe\uffff\ufffd\x7f"},
    ],
)
def test_encoding_is_json_in_utf8(said):
    line = encode(said).decode("utf-8")
    assert json.loads(line) == json.loads(json.dumps(said)) and not set(
        "\n\r\x85\x80\ufffe\uffff"
    ) & set(line)
