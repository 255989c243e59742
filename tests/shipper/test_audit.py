"""The audit reports exactly what is missing, altered, duplicated or extra, and repairs what it
can."""

import dataclasses
import json
import random

import pytest

from apptrana import PLUGIN, simulator
from siemtap.core.errors import AuthError, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.core.settings import CommonSettings, Connection, Receiving
from siemtap.core.windows import DAY, HOUR
from siemtap.edge.store import first_reads
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.outputs import OutputContext, file, sqlite
from siemtap.render import registry
from siemtap.shipper.audit import comparison, fields, ranges, report
from siemtap.shipper.audit import stored as stored_output
from siemtap.shipper.audit.progress import Progress
from siemtap.shipper.config.load import parse
from siemtap.shipper.config.sections import Input
from siemtap.testing import simulation
from siemtap.testing.world import Time, World

pytestmark = pytest.mark.slow


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


def with_unknown_id(world, database):
    """Return the newest id from more than an hour ago, and its event under an unknown id."""
    id, text = database.read(
        "SELECT id, event FROM event WHERE time < ? ORDER BY time DESC LIMIT 1",
        [world.time.now - HOUR],
    )[0]
    foreign = json.loads(text)
    foreign["event"]["id"] = "f" * 32
    return id, foreign


def input_of(world, plugin=PLUGIN):
    return Input(
        plugin, world.settings, fill_in(CommonSettings, {"id": "it"}), fill_in(Connection, {})
    )


def run_audit(world, output, rejected=frozenset(), plugin=PLUGIN):
    """Return (the audit, its result)."""
    checking = comparison.Audit(output, world.time.clock, 4 * HOUR, set(rejected))
    checking.read_vendor(input_of(world, plugin), world.http, {})
    return checking, checking.compare()


@pytest.fixture
def stored(tmp_path):
    """Return a day of events in the database."""
    time, database = Time(), Database(tmp_path / "siemtap.db")
    output = sqlite.Sqlite(sqlite.Settings(0, 0), OutputContext(database, time.clock))
    yield collected(output, Checkpoints(database), time), output, database
    output.close()
    database.close()


def test_audit_of_complete_events_is_ok(stored):
    world, output, _ = stored
    _, result = run_audit(world, output)
    assert result.ok and sum(counts["found"] for counts in result.hours.values()) > 200
    assert (
        list(report.report(result))[-1].endswith("nothing is missing, nothing is duplicate")
        and len(list(report.report(result))) == 1
    )


def test_missing_and_altered_events_are_reported_and_missing_ones_repaired(stored):
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
    for id, text in picked[37:]:
        event = json.loads(text)
        event["source"]["address"] = "203.0.113.99"
        database.write(
            lambda db, row=(json.dumps(event), id): db.execute(
                "UPDATE event SET event = ? WHERE id = ?", row
            )
        )
    checking, result = run_audit(world, output)
    assert (
        sorted(result.ids("missing")),
        sorted(result.ids("different")),
        result.ids("extra"),
        result.ids("duplicate"),
    ) == (
        deleted,
        altered,
        [],
        [],
    )
    assert "37 missing, 5 different" in list(report.report(result))[-1]
    assert all(
        list(finding.fields) == ["source.address"]
        for finding in result.findings
        if finding.kind == "different"
    )
    lines = "\n".join(report.details(result))
    assert lines.count('source.address: "203.0.113.99" instead of "') == 5
    assert "(by field: source.address " in "\n".join(report.report(result))
    assert checking.repair(result.ids("missing")) == (37, [])
    again = run_audit(world, output)[1]
    assert again.ids("missing") == [] and sorted(again.ids("different")) == altered


def test_rejected_events_are_not_missing_and_unknown_ones_are_extra(stored):
    world, output, database = stored
    id, foreign = with_unknown_id(world, database)
    database.write(lambda db: db.execute("DELETE FROM event WHERE id = ?", [id]))
    output.deliver(world.units()[0], [foreign], None)
    result = run_audit(world, output, {id})[1]
    assert (result.ids("missing"), result.ids("extra")) == (
        [],
        ["f" * 32],
    ) and "1 rejected" in list(report.report(result))[-1]


def test_audit_of_files(tmp_path):
    time = Time()
    output = file.File(
        file.Settings(str(tmp_path / "out"), 300_000), OutputContext(clock=time.clock)
    )
    world = collected(output, None, time)
    assert output.closed() and run_audit(world, output)[1].ok
    whole = output.path.read_bytes()
    lines = output.closed()[-1].read_bytes().splitlines(keepends=True)
    output.closed()[-1].write_bytes(b"".join(lines[1:]) + lines[1])
    result = run_audit(world, output)[1]
    assert (
        result.ids("missing") == [json.loads(lines[0])["event"]["id"]]
        and result.ids("duplicate") == [json.loads(lines[1])["event"]["id"]]
        and whole == output.path.read_bytes()
    )
    output.close()


@pytest.mark.parametrize(
    "stored,ok",
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
def test_event_equals_a_stored_one_with_added_or_reordered_fields(stored, ok):
    expected = {
        "event": {"module": "acme", "created": "then"},
        "acme": {"n": [1, 2]},
        "message": "m",
    }
    assert (
        not fields.differing_fields(
            expected,
            {"message": ["m"], **stored, "event": {"module": "acme", **stored.get("event", {})}},
        )
    ) is ok


def test_recent_events_are_not_expected(tmp_path):
    """Events younger than the overlap may not have been read yet."""
    time = Time()
    world = World(
        PLUGIN, simulator.Simulator(simulator.Knobs(odd=False, rate=3.0)), time=time, lookback="5h"
    ).cycles(1)

    class EmptyOutput:
        def read(self, unit, namespace, start, stop):
            return iter(())

        def holds(self, unit, events):
            return set()

    checking, result = run_audit(world, EmptyOutput())
    stop = time.now - world.settings.overlap - world.settings.interval
    expected = checking.db.execute("SELECT count(*) FROM expected").fetchone()[0]
    assert 0 < len(result.ids("missing")) < expected and stop > checking.start


def test_earlier_version_of_a_changed_record_is_not_extra(tmp_path):
    time, database = Time(), Database(tmp_path / "siemtap.db")
    output = sqlite.Sqlite(sqlite.Settings(0, 0), OutputContext(database, time.clock))
    plugin = registry.plugin("trend_vision_one")
    world = World(
        plugin,
        simulation.simulator("trend_vision_one", {}),
        time=time,
        output=output,
        marks=Checkpoints(database),
        lookback="5h",
    ).cycles(2)
    for dataset in plugin.datasets:
        ((text,),) = database.read(
            "SELECT event FROM event WHERE dataset = ? AND time < ? ORDER BY time DESC LIMIT 1",
            [dataset.name, time.now - HOUR],
        )
        event = json.loads(text)
        event["event"]["id"] = dataset.name.encode().hex()[-32:]
        output.deliver(world.units()[0], [event], None)
    result = run_audit(world, output, plugin=plugin)[1]
    assert [finding.dataset for finding in result.findings] == ["trend_vision_one.detection"]
    output.close()
    database.close()


def test_start_of_the_first_read(tmp_path):
    """A first delivery that failed is not a read; after `state delete` the earlier start counts."""
    database, unit = Database(tmp_path / "siemtap.db"), Unit("it", "acme.event")

    def start():
        return database.read(first_reads.FIRST_READS)[0][3]

    first_reads.note_first_read(database, unit, 1_000)
    first_reads.note_first_read(database, unit, 2_000)
    assert start() == 2_000
    first_reads.confirm_first_read(database, unit)
    first_reads.note_first_read(database, unit, 3_000)
    assert start() == 2_000
    first_reads.note_first_read(database, unit, 500)
    assert start() == 500
    database.close()


def test_unit_that_was_never_read_is_not_compared(stored):
    world, output, _ = stored
    lines = []
    checking = comparison.Audit(
        output, world.time.clock, 4 * HOUR, set(), read={}, progress=Progress(lines.append)
    )
    checking.read_vendor(input_of(world), world.http, {})
    assert checking.compare().hours == {} and "it has no checkpoint" in lines[0]


def test_what_the_checkpoint_has_not_reached_is_not_missing(stored):
    world, output, database = stored
    reached = world.time.now - 2 * HOUR
    database.write(lambda db: db.execute("DELETE FROM event WHERE time >= ?", [reached]))
    unit = Unit("it", *world.units()[0][1:])
    read = {unit: ranges.ReadRange(world.time.now - 3 * HOUR, reached)}
    checking = comparison.Audit(output, world.time.clock, 4 * HOUR, set(), read=read)
    checking.read_vendor(input_of(world), world.http, {})
    result = checking.compare()
    assert result.ok and sum(counts["found"] for counts in result.hours.values()) > 20


@pytest.mark.parametrize(
    "began, reached", [(3 * HOUR, HOUR), (9 * HOUR, HOUR), (9 * HOUR, 3 * HOUR)]
)
def test_the_vendor_is_asked_for_what_is_compared_alone(stored, began, reached):
    world, output, _ = stored
    now, windows = world.time.now, []

    def collect(client, unit, cursor, until):
        for batch in PLUGIN.collect(client, unit, cursor, until):
            windows.append(batch.until)
            yield batch

    unit = Unit("it", *world.units()[0][1:])
    read = {unit: ranges.ReadRange(now - began, now - reached)}
    checking = comparison.Audit(output, world.time.clock, 4 * HOUR, set(), read=read)
    plugin = dataclasses.replace(PLUGIN, collect=collect)
    checking.read_vendor(input_of(world, plugin), world.http, {})
    checking.compare()
    first = max(now - began, checking.start) - world.settings.overlap - comparison.CLIENT_FOR
    assert first < min(windows) and max(windows) <= now - reached


def test_received_events_of_a_collecting_input_are_not_extra(stored):
    world, output, database = stored
    _, foreign = with_unknown_id(world, database)
    output.deliver(world.units()[0], [foreign], None)
    input_config = Input(
        PLUGIN,
        world.settings,
        fill_in(CommonSettings, {"id": "it"}),
        fill_in(Connection, {}),
        fill_in(Receiving, {"syslog": ["udp://127.0.0.1:5514"]}),
    )
    checking = comparison.Audit(output, world.time.clock, 4 * HOUR, set())
    checking.read_vendor(input_config, world.http, {})
    assert checking.compare().ok and list(ranges.explain_skipped((input_config,))) == [
        "it: pushed events are not compared: they cannot be read again"
    ]
    assert (
        run_audit(world, output)[1].ids("extra") == ["f" * 32]
        and list(ranges.explain_skipped((dataclasses.replace(input_config, receiving=None),))) == []
    )


def failing(errors):
    """Return the plugin with a vendor that raises these errors in turn, after a batch each."""

    def collect(client, unit, cursor, now):
        batches = PLUGIN.collect(client, unit, cursor, now)
        yield next(batches)
        if errors:
            raise errors.pop(0)
        yield from batches

    return dataclasses.replace(PLUGIN, collect=collect)


def audit_of_failing(world, output, errors):
    checking = comparison.Audit(output, world.time.clock, 4 * HOUR, set())
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        world.time.now += int(seconds * 1000)

    checking.sleep = sleep
    checking.read_vendor(input_of(world, failing(errors)), world.http, {})
    return checking.compare(), slept


def test_a_vendor_that_fails_for_a_while_is_read_to_its_end(stored):
    world, output, _ = stored
    result, slept = audit_of_failing(world, output, [Retry("503"), Retry("429", after=30_000)] * 2)
    assert result.ok and sum(counts["found"] for counts in result.hours.values()) > 200
    assert len(slept) == 4 and max(slept) >= 30


def test_a_vendor_that_goes_on_failing_ends_the_audit(stored):
    world, output, _ = stored
    with pytest.raises(Retry, match="503 again"):
        audit_of_failing(world, output, [Retry("503 again", after=50_000)] * 9)
    errors = [AuthError("401")] * 2
    with pytest.raises(AuthError):
        audit_of_failing(world, output, errors)
    assert len(errors) == 1  # a login that is wrong is not tried again


def test_what_the_embedded_store_deletes_is_not_compared(tmp_path):
    config = parse("inputs: [{type: apptrana, client_id: a, client_secret: b}]")
    lines = []
    assert stored_output._kept(config, 7 * DAY, lines.append) == 7 * DAY and not lines
    assert stored_output._kept(config, 90 * DAY, lines.append) == 30 * DAY - HOUR
    assert lines == ["compared are the last 719 h: output.sqlite.retention deletes what is older"]
    files = parse("output.file.path: x\ninputs: [{type: centurylink_ips}]")
    assert stored_output._kept(files, 90 * DAY, lines.append) == 90 * DAY
