"""Stop the world at its n-th step, start it again: everything is there, and nothing twice where
the design says so."""

import collections
import json

import pytest

from apptrana import PLUGIN, simulator
from siemtap.core.errors import Retry
from siemtap.core.model import Mark
from siemtap.core.windows import MINUTE, SECOND
from siemtap.edge.checkpoints import Checkpoints, Database
from siemtap.engine import Then, pump
from siemtap.outputs import Around, file, sqlite
from world import NOON, Crash, Fuse, Marks, Memory, Time, World

LATE = {"late": (0.0, 83.0), "rate": 1.5, "websites": ("shop.example.com",)}
STEPS = 150


class FusedFile(file.File):
    """Dies after any line, and in the middle of one."""

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


class FusedMarks(Checkpoints):
    """Dies before a mark is saved, and after."""

    fuse = Fuse()

    def save(self, unit, mark):
        self.fuse.step()
        super().save(unit, mark)
        self.fuse.step()


class FusedStore(sqlite.Sqlite):
    """Dies before the transaction, inside it, and after it."""

    fuse = Fuse()

    def deliver(self, unit, events, mark):
        self.fuse.step()
        write = self.database.write

        def torn(work):
            def dies(db):
                work(db)
                self.fuse.step()

            return write(dies)

        self.database.write = torn
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
    output, marks = FusedFile(file.Settings(str(folder / "out"), 20_000)), FusedMarks(database)
    output.fuse = marks.fuse = fuse
    return output, marks, lambda: (output.close(), database.close())


def in_sqlite(folder, fuse, old=None):
    database = Database(folder / "siemtap.db")
    output, marks = FusedStore(sqlite.Settings(0, 0), Around(database)), Checkpoints(database)
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


def life(opened, simulated, time, fuse, cycles, apart=MINUTE):
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


@pytest.mark.parametrize("kind", [in_memory, in_files, in_sqlite], ids=lambda kind: kind.__name__)
def test_no_crash_at_any_step_loses_or_doubles(kind, tmp_path):
    died = 0
    for steps in range(STEPS):
        folder = tmp_path / str(steps)
        folder.mkdir()
        time, simulated = Time(), simulator.Simulator(simulator.Knobs(**LATE))
        fuse, world = Fuse(steps), None
        opened = kind(folder, fuse)
        try:
            world = life(opened, simulated, time, fuse, 3)
        except Crash:
            died += 1
        time.now += 7 * SECOND
        old = type("Old", (), {"output": opened[0], "marks": opened[1]})
        world = life(kind(folder, Fuse(), old), simulated, time, Fuse(), 4)
        output, marks, close = kind(folder, Fuse(), old)
        got = ids(output)
        until = min(marks.load(unit).cursor["until"] for unit in world.units())
        close()
        must = simulated.ledger(time.now, NOON - 12 * MINUTE, until - 100 * SECOND)
        assert len(must) > 10 and must <= set(got), f"lost after a crash at step {steps}"
        assert max(got.values()) == 1, f"doubled after a crash at step {steps}"
    assert 20 < died < STEPS, (
        "the first life has fewer steps than were tried, so that each was the last one once"
    )


@pytest.mark.parametrize("kind", [in_memory, in_files, in_sqlite], ids=lambda kind: kind.__name__)
def test_a_mark_that_cannot_be_saved_doubles_nothing(kind, tmp_path):
    """Events on one disk, marks on another, which is full every third time."""
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


def test_the_mark_is_saved_after_the_events():
    order = []

    class Output:
        def deliver(self, unit, events, mark):
            order.append("events")

    class Marks_:
        def save(self, unit, mark):
            order.append("mark")

    Then(Output(), Marks_(), set()).deliver(None, [{"event": {"id": "a"}}], None)
    assert order == ["events", "mark"]


def test_an_empty_batch_still_moves_the_mark():
    simulated = simulator.Simulator(simulator.Knobs(rate=0.0))
    world = World(PLUGIN, simulated, lookback="5m").cycles(1)
    assert world.output.kept == [] and world.until() > NOON - MINUTE


def test_pump_hands_on_what_is_fresh_with_its_mark():
    from siemtap.core.model import Batch, Unit

    given = []

    class Output:
        def deliver(self, unit, events, mark):
            given.append(([event["event"]["id"] for event in events], dict(mark.cursor)))

    batches = [
        Batch(None, ["a", "b"], {"n": 1}, 10),
        Batch(None, ["b", "c"], {"n": 2}, 10),
        Batch(None, [], {"n": 3}, 11),
    ]
    mark = pump(
        Unit("it", "x"),
        Mark(),
        batches,
        lambda batch: [{"event": {"id": record}} for record in batch.records],
        Output(),
    )
    assert given == [(["a", "b"], {"n": 1}), (["c"], {"n": 2}), ([], {"n": 3})] and mark.cursor == {
        "n": 3
    }


def test_what_has_its_mark_is_in_doubt_no_more():
    """`unmarked` stays as small as what failed, however long a process runs."""
    unmarked = set()
    then = Then(Memory(), Marks(), unmarked)
    for number in range(5):
        then.deliver("unit", [{"event": {"id": str(number)}}], Mark({"until": number}))
    assert unmarked == set()
