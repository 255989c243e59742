"""Crash at the n-th step and start again, for each n: no event is lost, and none is duplicated
where the output stores events and marks together."""

import collections
import json
from unittest.mock import Mock

import pytest

from apptrana import PLUGIN, simulator
from siemtap.core.errors import Retry
from siemtap.core.model import Mark
from siemtap.core.windows import MINUTE, SECOND
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.engine.protocols import Feed
from siemtap.engine.pump import pump
from siemtap.engine.sinks import CheckpointAfter
from siemtap.outputs import OutputContext, file, sqlite
from siemtap.testing.world import NOON, Crash, Fuse, Marks, Memory, Time, World

LATE = {"late": (0.0, 83.0), "rate": 1.5, "websites": ("shop.example.com",)}
STEPS = 150


class CrashingFile(file.File):
    """A file output that crashes before or after any line, and within one."""

    fuse = Fuse()

    def _append(self, lines):
        for line in lines.splitlines(keepends=True):
            try:
                self.fuse.step()
            except Crash:
                self.file.write(line[: len(line) // 2])
                raise
            self.file.write(line)
        self.end += len(lines)


class CrashingMarks(Checkpoints):
    """Checkpoints that crash before and after a mark is saved."""

    fuse = Fuse()

    def save(self, unit, mark):
        self.fuse.step()
        super().save(unit, mark)
        self.fuse.step()


class CrashingStore(sqlite.Sqlite):
    """A SQLite output that crashes before, inside and after the transaction."""

    fuse = Fuse()

    def deliver(self, unit, events, mark):
        self.fuse.step()
        write = self.database.write

        def crashing_write(work):
            def crash_inside(db):
                work(db)
                self.fuse.step()

            return write(crash_inside)

        self.database.write = crashing_write
        try:
            super().deliver(unit, events, mark)
        finally:
            self.database.write = write
        self.fuse.step()


def in_memory(folder, fuse, old=None):
    if old:
        old.output.fuse = old.marks.fuse = fuse
        return old.output, old.marks, lambda: None
    return Memory(fuse), Marks(fuse), lambda: None


def in_files(folder, fuse, old=None):
    database = Database(folder / "siemtap.db")
    output, marks = (
        CrashingFile(file.Settings(str(folder / "out"), 20_000)),
        CrashingMarks(database),
    )
    output.fuse = marks.fuse = fuse
    return output, marks, lambda: (output.close(), database.close())


def in_sqlite(folder, fuse, old=None):
    database = Database(folder / "siemtap.db")
    output, marks = (
        CrashingStore(sqlite.Settings(0, 0), OutputContext(database)),
        Checkpoints(database),
    )
    output.fuse = fuse
    return output, marks, lambda: (output.close(), database.close())


def ids(output):
    if isinstance(output, Memory):
        return output.ids()
    if isinstance(output, file.File):
        lines = [
            line
            for path in [*output.closed(), output.path]
            for line in path.read_bytes().splitlines()
        ]
        return collections.Counter(json.loads(line)["event"]["id"] for line in lines)
    return collections.Counter(id for (id,) in output.database.read("SELECT id FROM event"))


def run_cycles(opened, simulated, time, fuse, cycles, apart=MINUTE):
    output, marks, close = opened
    world = World(
        PLUGIN,
        simulated,
        time=time,
        output=output,
        marks=marks,
        fuse=fuse,
        lookback="12m",
        concurrency=1,
    )
    try:
        world.cycles(cycles, apart)
    finally:
        close()
    return world


@pytest.mark.slow
@pytest.mark.parametrize("kind", [in_memory, in_files, in_sqlite], ids=lambda kind: kind.__name__)
def test_crash_at_any_step_neither_loses_nor_duplicates_events(kind, tmp_path):
    died = 0
    for steps in range(STEPS):
        folder = tmp_path / str(steps)
        folder.mkdir()
        time, simulated = Time(), simulator.Simulator(simulator.Knobs(**LATE))
        fuse, world = Fuse(steps), None
        opened = kind(folder, fuse)
        try:
            world = run_cycles(opened, simulated, time, fuse, 3)
        except Crash:
            died += 1
        time.now += 7 * SECOND
        old = type("Old", (), {"output": opened[0], "marks": opened[1]})
        world = run_cycles(kind(folder, Fuse(), old), simulated, time, Fuse(), 4)
        output, marks, close = kind(folder, Fuse(), old)
        got = ids(output)
        until = min(marks.load(unit).cursor["until"] for unit in world.units())
        close()
        must = simulated.ledger(time.now, NOON - 12 * MINUTE, until - 100 * SECOND)
        assert len(must) > 10 and must <= set(got), f"lost after a crash at step {steps}"
        assert max(got.values()) == 1, f"duplicates after a crash at step {steps}"
    assert 20 < died < STEPS, (
        "the first run has fewer steps than were tested, so that each step was the last once"
    )


@pytest.mark.parametrize("kind", [in_memory, in_files, in_sqlite], ids=lambda kind: kind.__name__)
def test_mark_that_cannot_be_saved_causes_no_duplicates(kind, tmp_path):
    """Events and marks are on different disks; the disk of the marks is full every third time."""
    simulated, time = simulator.Simulator(simulator.Knobs(**LATE)), Time()
    output, marks, close = kind(tmp_path, Fuse())
    save, tries = marks.save, [0]

    def full(unit, mark):
        tries[0] += 1
        if tries[0] % 3 == 0:
            raise Retry("the disk is full")
        save(unit, mark)

    marks.save = full
    world = World(
        PLUGIN, simulated, time=time, output=output, marks=marks, lookback="12m", concurrency=1
    ).cycles(8)
    got = ids(output)
    assert (
        simulated.ledger(time.now, NOON - 12 * MINUTE, world.until() - 100 * SECOND) <= set(got)
        and max(got.values()) == 1
    )
    assert world.errors or kind is in_sqlite
    close()


def test_mark_is_saved_after_the_events():
    order = []

    class Output:
        def deliver(self, unit, events, mark):
            order.append("events")
            return []

    class RecordingMarks:
        def save(self, unit, mark):
            order.append("mark")

    CheckpointAfter(Output(), RecordingMarks(), set()).deliver(
        None, [{"event": {"id": "a"}}], Mark()
    )
    assert order == ["events", "mark"]


def test_empty_batch_moves_the_mark():
    simulated = simulator.Simulator(simulator.Knobs(rate=0.0))
    world = World(PLUGIN, simulated, lookback="5m").cycles(1)
    assert world.output.kept == [] and world.until() > NOON - MINUTE


def test_pump_delivers_new_events_with_their_mark():
    from siemtap.core.model import Batch, Unit

    delivered = []

    class Output:
        def deliver(self, unit, events, mark):
            delivered.append(([event["event"]["id"] for event in events], dict(mark.cursor)))
            return []

    batches = [
        Batch(None, ["a", "b"], {"n": 1}, 10),
        Batch(None, ["b", "c"], {"n": 2}, 10),
        Batch(None, [], {"n": 3}, 11),
    ]
    deliveries = []
    assert pump(
        Unit("it", "x"),
        Mark(),
        Feed(iter(batches)),
        lambda batch, seen: [{"event": {"id": record}} for record in batch.records],
        Output(),
        on_delivery=deliveries.append,
    )
    assert delivered == [
        (["a", "b"], {"n": 1}),
        (["c"], {"n": 2}),
        ([], {"n": 3}),
    ]
    assert deliveries[-1].mark.cursor == {"n": 3}
    assert [(delivery.mapped, len(delivery.events)) for delivery in deliveries] == [
        (2, 2),
        (2, 1),
        (0, 0),
    ]


def test_pump_stops_between_two_batches():
    from siemtap.core.model import Batch, Unit

    output, closed = Memory(), []

    def batches():
        try:
            for number in range(3):
                yield Batch(None, [], {"n": number}, number)
        finally:
            closed.append(True)

    marks = Marks()
    sink = CheckpointAfter(output, marks, set())
    unit = Unit("it", "x")
    finished = pump(
        unit,
        Mark(),
        Feed(batches()),
        lambda batch, seen: [],
        sink,
        must_stop=lambda: marks.load(unit).cursor["n"] == 1,
    )
    assert not finished
    assert marks.load(unit).cursor == {"n": 1}
    assert closed == [True]


def test_events_with_a_saved_mark_are_no_longer_in_doubt():
    """`unsaved` holds only events of failed deliveries, however long a process runs."""
    unsaved_ids = set()
    marks = Marks()
    then = CheckpointAfter(Memory(), marks, unsaved_ids)
    save, marks.save = marks.save, Mock(side_effect=Retry("the disk is full"))
    with pytest.raises(Retry):
        then.deliver("unit", [{"event": {"id": "0"}}], Mark({"until": 0}))
    assert unsaved_ids == {"0"}
    marks.save = save
    for number in range(5):
        then.deliver("unit", [{"event": {"id": str(number)}}], Mark({"until": number}))
    assert unsaved_ids == set()
