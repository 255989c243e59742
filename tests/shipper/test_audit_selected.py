"""The audit of events that the vendor selects by another time than that of the event: detections of
Trend Vision One, by when they were ingested."""

import json

import pytest

from siemtap.core.convert import millis_of
from siemtap.core.manifest import fill_in
from siemtap.core.settings import CommonSettings, Connection
from siemtap.core.windows import DAY, HOUR, MINUTE, whole
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.outputs import OutputContext, file, sqlite
from siemtap.render import registry
from siemtap.shipper.audit import comparison, ranges
from siemtap.shipper.config.sections import Input
from siemtap.testing import simulation
from siemtap.testing.world import Time, World

PLUGIN = registry.plugin("trend_vision_one")
# Every 17th detection of the simulator is of an event that is five hours old.
LATE = 30 * MINUTE


def world_of(output, marks, time):
    return World(
        PLUGIN,
        simulation.simulator("trend_vision_one", {"late": [0, 20, 200]}),
        time=time,
        output=output,
        marks=marks,
        lookback="5h",
    ).cycles(3)


@pytest.fixture
def stored(tmp_path):
    """Yield five hours of alerts and detections, in the database."""
    time, database = Time(), Database(tmp_path / "siemtap.db")
    output = sqlite.Sqlite(sqlite.Settings(0, 0), OutputContext(database, time.clock))
    yield world_of(output, Checkpoints(database), time), output, database
    output.close()
    database.close()


def audit(world, output):
    """Return (the audit of four hours, its result)."""
    checking = comparison.Audit(output, world.time.clock, 4 * HOUR, set())
    settings = fill_in(CommonSettings, {"id": "it"}), fill_in(Connection, {})
    checking.read_vendor(Input(PLUGIN, world.settings, *settings), world.http, {})
    return checking, checking.compare()


def detections(database):
    """Return the detections that are stored, in the order of their ingestion."""
    rows = database.read("SELECT event FROM event WHERE dataset = 'trend_vision_one.detection'")
    return sorted((json.loads(text) for (text,) in rows), key=ingested)


def ingested(event):
    return millis_of(event["trend_vision_one"]["ingested"])


def is_old(event):
    return ingested(event) - millis_of(event["@timestamp"]) > LATE


def due(world, events):
    """Return those that must be there: ingested since the start, and before the last overlap."""
    start = whole(world.time.now - 4 * HOUR, HOUR)
    stop = world.time.now - world.settings.overlap - world.settings.interval
    return [event for event in events if start <= ingested(event) < stop]


def delete(database, ids):
    database.write(lambda db: db.executemany("DELETE FROM event WHERE id = ?", ids))


def test_nothing_is_missing_or_extra_where_everything_is_stored(stored):
    world, output, database = stored
    checking, result = audit(world, output)
    rows = "SELECT count(*) FROM expected WHERE dataset = 'trend_vision_one.detection' AND due"
    ((expected,),) = checking.db.execute(rows).fetchall()
    assert result.ok and expected == len(due(world, detections(database))) > 1_000


def test_missing_detections_are_those_ingested_in_the_time_however_old(stored):
    world, output, database = stored
    events = detections(database)
    old = [event for event in due(world, events) if is_old(event)]
    assert len(old) > 50 and old[0]["@timestamp"] < events[0]["trend_vision_one"]["ingested"]
    new = [event for event in due(world, events) if not is_old(event)]
    # and what no audit of these hours may report: ingested before them, or not due yet
    before = [event for event in events if ingested(event) < ingested(due(world, events)[0])]
    after = [event for event in events if ingested(event) > ingested(due(world, events)[-1])]
    gone = [*old[::5], *new[::40]]
    delete(database, [[each["event"]["id"]] for each in (*gone, *before[::3], *after[::3])])
    checking, result = audit(world, output)
    ids = {each["event"]["id"] for each in gone}
    assert set(result.ids("missing")) == ids and len(result.findings) == len(ids)
    assert checking.repair(result.ids("missing")) == (len(ids), [])
    assert audit(world, output)[1].ok


def test_what_is_read_between_old_hours_is_not_held(stored):
    """It may be all that the output has."""
    world, output, database = stored
    checking = comparison.Audit(output, world.time.clock, HOUR, set())
    settings = fill_in(CommonSettings, {"id": "it"}), fill_in(Connection, {})
    checking.read_vendor(Input(PLUGIN, world.settings, *settings), world.http, {})
    statements = []
    checking.db.set_trace_callback(statements.append)
    assert checking.compare().ok
    assert any("UPDATE expected" in each for each in statements)
    assert len([each for each in statements if "INTO unknown" in each]) < 10  # of 1,000 between


def test_an_old_detection_is_compared_too(stored):
    """Altered, twice, and one that the vendor never had."""
    world, output, database = stored
    altered, foreign = [event for event in due(world, detections(database)) if is_old(event)][:2]
    rule = altered["rule"]["id"]
    delete(database, [[altered["event"]["id"]]])
    altered["rule"]["id"] = "another"
    foreign["event"]["id"] = "f" * 32
    output.deliver(world.units()[0], [altered, foreign], None)
    _, result = audit(world, output)
    by_kind = {finding.kind: finding for finding in result.findings}
    assert len(result.findings) == len(by_kind) == 2
    assert by_kind["different"].fields == {"rule.id": (f'"{rule}"', '"another"')}
    assert by_kind["extra"].id == "f" * 32


def test_old_detections_in_files_that_are_there_twice(tmp_path):
    time, database = Time(), Database(tmp_path / "siemtap.db")
    output = file.File(file.Settings(str(tmp_path / "out")), OutputContext(database, time.clock))
    world = world_of(output, Checkpoints(database), time)
    lines = (tmp_path / "out/events.ndjson").read_bytes().splitlines(keepends=True)
    events = [
        event
        for event in map(json.loads, lines)
        if event["event"]["dataset"] == "trend_vision_one.detection"
    ]
    twice = next(event for event in due(world, sorted(events, key=ingested)) if is_old(event))
    output.deliver(world.units()[0], [twice], None)
    result = audit(world, output)[1]
    assert [(each.kind, each.id) for each in result.findings] == [
        ("duplicate", twice["event"]["id"])
    ]
    output.close()
    database.close()


def test_the_hours_to_read_are_read_once():
    """What is less than a day apart is read at once."""
    hours = [0, 25 * HOUR, 51 * HOUR, 52 * HOUR, 60 * HOUR]
    assert ranges.stored_ranges(80 * HOUR + 7, 82 * HOUR - 7, hours) == [
        (0, 26 * HOUR),
        (51 * HOUR, 82 * HOUR - 7),
    ]
    assert ranges.stored_ranges(1, 2, []) == [(1, 2)]


def test_many_scattered_hours_are_few_reads():
    """The output `file` reads all its files for each range."""
    last = 10_000 * HOUR
    assert ranges.stored_ranges(last, last + DAY, range(0, last, 5 * HOUR)) == [(0, last + DAY)]
    monthly = range(0, last, 30 * DAY)
    assert len(ranges.stored_ranges(last, last + DAY, monthly)) == len(monthly) + 1 == 15
    weekly = range(0, last, 7 * DAY)
    assert ranges.stored_ranges(last, last + DAY, weekly) == [(0, last + DAY)]
