"""`siemtap events`: which events it shows, in which order, in small steps and beside a writer."""

import itertools
import json
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner
from outputs.output_stores import NOW, event, store

from siemtap.core.errors import ConfigError
from siemtap.core.manifest import parse_time
from siemtap.core.model import Unit
from siemtap.core.windows import DAY, HOUR
from siemtap.edge.store.checkpoints import Database
from siemtap.edge.store.snapshot import Snapshot
from siemtap.shipper.cli.main import main
from siemtap.shipper.events import search as searching
from siemtap.shipper.events.search import Query, Search, spelled_as_stored, statement, time_range
from siemtap.shipper.events.table import MAX_CHARACTERS, row_of

UNITS = (Unit("waf", "acme.event"), Unit("lab", "acme.event"))


def numbered(number, **details):
    """Return an event of the minute `number`."""
    made = event(number * 60_000)
    made["event"].update(details, id=f"{number:032x}")
    return made


def delivered(folder):
    """Store six events of two inputs; return the database."""
    database = Database(folder / "siemtap.db")
    output = store(database)
    output.deliver(
        UNITS[0],
        [
            numbered(1),
            {
                **numbered(2, severity=99),
                "source": {"ip": "2001:db8::7", "address": "2001:DB8::07"},
            },
            {**numbered(3, action="logged"), "source": {"address": "host.example.com"}},
            {**numbered(4), "http": {"request": {"body": {"content": 'a "Quoted" ü\\n'}}}},
        ],
        None,
    )
    output.deliver(UNITS[1], [numbered(5, dataset="acme.audit"), numbered(6, severity=21)], None)
    output.close()
    return database


@pytest.fixture
def snapshot(tmp_path):
    delivered(tmp_path).close()
    with closing(Snapshot(tmp_path / "siemtap.db")) as snapshot:
        yield snapshot


def numbers(snapshot, **conditions):
    return [int(hit.id, 16) for hit in Search(snapshot, Query(**conditions))]


@pytest.mark.parametrize("rows_at_once", [1, 2, 200])
@pytest.mark.parametrize(
    "conditions,expected",
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"start": NOW + 3 * 60_000}, [6, 5, 4, 3]),
        ({"stop": NOW + 3 * 60_000}, [2, 1]),
        ({"severity": (99, 21)}, [6, 2]),
        ({"severity": (73,), "action": ("blocked",)}, [5, 4, 1]),
        ({"source": ("2001:db8::7",)}, [2]),
        ({"source": ("2001:db8::7", "host.example.com")}, [3, 2]),
        ({"dataset": ("acme.audit",)}, [5]),
        ({"input": ("lab",)}, [6, 5]),
        ({"input": ("lab",), "dataset": ("acme.event",)}, [6]),
        ({"action": ("logged",)}, [3]),
        ({"text": 'A "QUOTED" Ü\\N'}, [4]),
        ({"text": "99"}, [2]),
        ({"text": "host.example"}, [3]),
        ({"text": "severity"}, []),
        ({"text": "\udcff"}, []),
        ({"before": f"{3:032x}"}, [2, 1]),
        ({"before": f"{3:032x}", "stop": NOW + 2 * 60_000}, [1]),
        ({"input": ("nobody",)}, []),
    ],
    ids=str,
)
def test_conditions(snapshot, monkeypatch, conditions, expected, rows_at_once):
    monkeypatch.setattr(searching, "ROWS_AT_ONCE", rows_at_once)
    assert numbers(snapshot, **conditions) == expected


def test_events_of_one_millisecond_are_shown_once(tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "ROWS_AT_ONCE", 3)
    database = Database(tmp_path / "siemtap.db")
    output = store(database)
    same = [{**numbered(number), "@timestamp": numbered(0)["@timestamp"]} for number in range(10)]
    output.deliver(UNITS[0], same, None)
    with closing(Snapshot(database.path)) as snapshot:
        assert numbers(snapshot) == list(range(9, -1, -1))
        assert numbers(snapshot, before=f"{4:032x}") == [3, 2, 1, 0]
    output.close()
    database.close()


@pytest.mark.parametrize("leading", ["", *searching.COLUMNS])
def test_every_search_follows_an_index_and_sorts_nothing(snapshot, leading):
    query = Query(0, NOW, ("192.0.2.1",), (73,), ("acme.event",), ("waf",), ("blocked",))
    sql, values = statement(query, leading)
    plan = [row[3] for row in snapshot.read(f"EXPLAIN QUERY PLAN {sql}", [*values, NOW, 0, 1])]
    assert len(plan) == 1 and f"USING INDEX event_{leading or 'time'} (" in plan[0]


def test_narrowest_condition_leads(snapshot):
    assert Search(snapshot, Query(severity=(73,), input=("lab",)))._narrowest() == "input"
    assert Search(snapshot, Query(severity=(99,), input=("lab",)))._narrowest() == "severity"
    assert Search(snapshot, Query(severity=(99, 21)))._narrowest() == ""


def test_search_ends_after_its_time_and_tells_how_far_it_came(snapshot, monkeypatch):
    monkeypatch.setattr(searching, "ROWS_AT_ONCE", 2)
    ticks = itertools.count()
    monkeypatch.setattr(searching, "monotonic", lambda: float(next(ticks)))
    running = Search(snapshot, Query(text="nothing has it"), seconds=2.5)
    assert list(running) == [] and not running.finished
    assert running.reached == NOW + 3 * 60_000  # two steps of two events
    complete = Search(snapshot, Query(text="nothing has it"), seconds=99.0)
    assert list(complete) == [] and complete.finished


def test_large_events_are_read_in_small_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "BYTES_AT_ONCE", 1_500)
    database = Database(tmp_path / "siemtap.db")
    output = store(database)
    output.deliver(
        UNITS[0], [{**numbered(number), "message": "x" * 1_000} for number in range(9)], None
    )
    steps = []
    with closing(Snapshot(database.path)) as snapshot:
        hits = iter(Search(snapshot, Query(), on_step=steps.append))
        assert len(list(itertools.islice(hits, 3))) == 3 and len(steps) == 2
        assert len(list(hits)) == 6
    output.close()
    database.close()


def test_slow_reader_does_not_keep_the_write_ahead_log(tmp_path):
    """Between two steps no transaction is open, however long the reader of a pipe waits."""
    database = delivered(tmp_path)
    with closing(Snapshot(database.path)) as snapshot:
        hits = iter(Search(snapshot, Query()))
        next(hits)
        output = store(database)
        output.deliver(UNITS[0], [numbered(7)], None)
        with closing(sqlite3.connect(database.path)) as other:
            busy = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        assert busy == 0 and len(list(hits)) == 5
        output.close()
    database.close()


def test_time_range():
    now = parse_time("2026-03-04T10:00Z")
    assert time_range("24h", "", "", now) == (now - DAY, None)
    assert time_range("", "2026-03-04T08:00", "2026-03-04T09:00Z", now) == (
        now - 2 * HOUR,
        now - HOUR,
    )
    for since, start, stop, words in (
        ("1h", "2026-03-04T08:00Z", "", "both say where to begin"),
        ("1 day", "", "", "is not a duration"),
        ("", "yesterday", "", "is not a time"),
        ("1h", "", "2026-03-04T08:00Z", "must be before"),
    ):
        with pytest.raises(ConfigError, match=words):
            time_range(since, start, stop, now)


def test_addresses_are_spelled_as_stored():
    assert spelled_as_stored(("2001:DB8::00:7", "::ffff:192.0.2.1", "Host.example.com")) == (
        "2001:db8::7",
        "192.0.2.1",
        "Host.example.com",
    )


def test_cells_are_short_and_printable(tmp_path):
    database = Database(tmp_path / "siemtap.db")
    output = store(database)
    output.deliver(
        UNITS[0],
        [
            {**numbered(2), "rule": {"name": "\x1b[2J\u202e" + "r" * 999}},
            {**numbered(1), "error": {"message": "cannot be read"}},
        ],
        None,
    )
    with closing(Snapshot(database.path)) as snapshot:
        first, second = [row_of(hit) for hit in Search(snapshot, Query())]
    assert first.event.startswith("\\x1b[2J\\u202err") and len(first.event) < MAX_CHARACTERS + 20
    assert second == (second.time, "high", "acme.event", "blocked", "", "cannot be read")
    output.close()
    database.close()


# The command

INPUT = "{type: apptrana, client_id: demo, client_secret: demo-secret}"


def run(folder, *arguments, more="", code=0):
    path = folder / "siemtap.yml"
    path.write_text(f"path.data: {folder}\n{more}\ninputs: [{INPUT}]\n")
    done = CliRunner().invoke(main, ["events", "-c", str(path), *arguments])
    assert done.exit_code == code, done.output
    return done


def test_command_prints_a_table_beside_a_writer(tmp_path):
    database = delivered(tmp_path)
    done = run(tmp_path, "--severity", "critical", "--source", "2001:DB8::07")
    heading, line = done.stdout.splitlines()
    assert heading.split() == ["time", "severity", "dataset", "action", "source", "event"]
    assert line.split() == [
        "2026-03-04T10:02:00Z",
        "critical",
        "acme.event",
        "blocked",
        "2001:db8::7",
    ]
    database.close()


def test_command_prints_whole_events_as_they_are_stored(tmp_path):
    database = delivered(tmp_path)
    done = run(tmp_path, "--json", "--limit", "2", "--input", "waf")
    assert [json.loads(line)["event"]["id"] for line in done.stdout.splitlines()] == [
        f"{4:032x}",
        f"{3:032x}",
    ]
    assert "the newest 2; --limit shows more" in done.stderr
    ((text,),) = database.read("SELECT event FROM event WHERE id = ?", [f"{4:032x}"])
    assert done.stdout.splitlines()[0] == text
    database.close()


def test_command_says_that_nothing_matches(tmp_path):
    delivered(tmp_path).close()
    done = run(tmp_path, "--since", "1ms")
    assert done.stdout == "" and "no event matches" in done.stderr
    done = run(tmp_path, "--severity", "hihg", code=2)
    assert '"hihg" is no severity; there are low, medium, high, critical' in done.stderr
    done = run(tmp_path, "--since", "1h", "--from", "2026-03-04T10:00Z", code=2)
    assert "both say where to begin" in done.stderr


def test_command_before_the_first_run(tmp_path):
    assert "start `siemtap run` first" in run(tmp_path, code=2).stderr


@pytest.mark.parametrize(
    "output,place",
    [
        ("output.file: {path: /var/log/siemtap}", "in the NDJSON files of /var/log/siemtap"),
        ("output.stdout:", "printed by `siemtap run`"),
        (
            "output.elasticsearch: {hosts: ['https://es.example.com:9200']}",
            "in the data streams logs-*-* of https://es.example.com:9200; search them in Kibana",
        ),
        (
            "output.opensearch: {hosts: ['https://os.example.com'], index: 'siem-%{+yyyy.MM}'}",
            "in the indices siem-* of https://os.example.com; search them in OpenSearch Dashboards",
        ),
    ],
)
def test_command_names_the_place_of_events_of_other_outputs(tmp_path, output, place):
    done = run(tmp_path, more=output, code=2)
    assert "searches the embedded store" in done.stderr and place in done.stderr
