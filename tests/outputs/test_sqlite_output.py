"""The output `sqlite`: one transaction with the checkpoint, retention, and a full disk."""

import json
import sqlite3

import pytest
from outputs.output_stores import NOW, UNIT, event, store

from siemtap.core.errors import Retry
from siemtap.core.model import Mark
from siemtap.core.windows import DAY, HOUR
from siemtap.edge.store.checkpoints import Checkpoints
from siemtap.outputs import OutputContext, sqlite
from siemtap.testing.world import Time


def test_events_and_checkpoint_are_saved_in_one_transaction(database):
    output, marks = store(database), Checkpoints(database)
    output.deliver(UNIT, [event(1)], Mark({"until": 1}))
    assert marks.load(UNIT) == Mark({"until": 1})
    with pytest.raises(AttributeError):
        output.deliver(UNIT, [event(2)], "no mark")
    assert database.read("SELECT count(*) FROM event") == [(1,)] and marks.load(UNIT) == Mark(
        {"until": 1}
    )
    output.close()


def test_repeated_event_is_stored_once_and_unchanged(database):
    output = store(database)
    full = event(
        1,
        apptrana={"attack_data": "\x00 \u2028 <b> ü"},
        source={"address": "192.0.2.1"},
        rule={"name": "r"},
        service={"name": "s"},
    )
    output.deliver(UNIT, [full], None)
    output.deliver(UNIT, [full, event(2)], None)
    rows = database.read(
        "SELECT time, dataset, severity, action, rule, source, service, event FROM event ORDER"
        " BY id"
    )
    assert (
        len(rows) == 2
        and rows[0][:7] == (NOW + 1, "acme.event", 73, "blocked", "r", "192.0.2.1", "s")
        and json.loads(rows[0][7]) == full
    )
    output.close()


def test_columns_of_input_and_source(database):
    """The address in its canonical form, for a search; what is no address as it is."""
    output = store(database)
    output.deliver(
        UNIT,
        [
            event(1, source={"ip": "2001:db8::7", "address": "2001:DB8::07"}),
            event(2, source={"address": "host.example.com"}),
        ],
        None,
    )
    rows = database.read("SELECT input, source FROM event ORDER BY id")
    assert rows == [("it", "2001:db8::7"), ("it", "host.example.com")]
    output.close()


def test_common_filters_use_an_index(database):
    output = store(database)
    for column in (
        "time",
        "dataset",
        "severity",
        "rule",
        "source",
        "service",
        "input",
        "action",
    ):
        plan = database.read(f"EXPLAIN QUERY PLAN SELECT * FROM event WHERE {column} = ?", ["x"])
        assert "USING INDEX" in plan[0][3], column
    output.close()


def test_retention_deletes_the_oldest(database):
    time = Time(NOW - 2 * HOUR)
    output = store(database, time.clock, retention=1_000)
    time.now = NOW  # the clock ran without jumps for more than an hour
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
def test_health_events_do_not_move_the_retention_of_others(database, vendor):
    """Their time is that of the local clock, which may be a month ahead. They are deleted also
    where the vendor sends nothing for long, whatever is restarted."""
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
def test_future_events_do_not_count_for_retention(database, vendors, gone):
    """The local clock is ahead for hours, and received events have its time."""
    time = Time(NOW - 2 * HOUR)
    output = sqlite.Sqlite(
        sqlite.Settings(30 * DAY, 0),
        OutputContext(
            database, time.clock, vendor_now=None if vendors is None else lambda: NOW + vendors
        ),
    )
    time.now = NOW
    output.deliver(UNIT, [event(-1), event(-40 * DAY - 1)], None)
    assert output.tidy() == gone
    for _ in range(80):  # a vendor whose clock stands still only delays the deletion
        time.now += DAY
        output.tidy()
    assert [row[0] for row in database.read("SELECT time FROM event")] == []
    output.close()


def test_max_bytes_deletes_the_oldest(database):
    output = store(database, max_bytes=2_000_000)
    output.deliver(UNIT, [event(number, message="x" * 300) for number in range(12_000)], None)
    assert output.tidy() >= 5_000
    with sqlite3.connect(database.path) as db:
        assert sqlite.used_bytes(db) <= 2_000_000
    times = [row[0] for row in database.read("SELECT time FROM event ORDER BY time")]
    assert 0 < len(times) < 7_001 and times[-1] == NOW + 11_999
    output.close()


def test_full_disk_commits_nothing_and_writing_resumes(database):
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
