"""The queue of several outputs: batches and marks are committed together, stored once, and read in
their order."""

import re
from pathlib import Path

import pytest

import siemtap
from siemtap.core.errors import ConfigError, Retry
from siemtap.core.model import Mark, Unit
from siemtap.edge.store.checkpoints import Checkpoints, Database
from siemtap.edge.store.event_queue import EventQueue, Waiting, queued_batches


@pytest.fixture
def queue(tmp_path):
    database = Database(tmp_path / "siemtap.db")
    yield EventQueue(database, 1024**2)
    database.close()


UNIT = Unit("waf", "acme.event", "")


def events(number, text="x"):
    return [{"event": {"id": str(index)}, "message": text} for index in range(number)]


def test_a_batch_is_stored_once_and_deleted_with_its_last_output(queue):
    marks = Checkpoints(queue.database)
    queue.put(UNIT, events(3), ("a", "b"), marks.saving(UNIT, Mark({"until": 7})))
    assert marks.load(UNIT).cursor == {"until": 7}
    assert len(queue.database.read("SELECT * FROM queue")) == 1
    (batch,) = queue.first("a")
    assert (batch.unit, batch.events, batch.again) == (UNIT, events(3), False)
    queue.remove("a", [batch])
    assert not queue.first("a") and queue.first("b") == [batch]
    assert queue.waiting("a").events == 0 and queue.waiting("b").events == 3
    queue.remove("b", [batch])
    assert not queue.database.read("SELECT * FROM queue")


def test_a_batch_and_its_mark_are_committed_together(queue):
    marks = Checkpoints(queue.database)

    def fail(db):
        raise Retry("the disk is full")

    with pytest.raises(Retry):
        queue.put(UNIT, events(3), ("a",), fail)
    assert not queue.first("a") and queue.waiting("a").events == 0
    queue.put(UNIT, [], ("a",), marks.saving(UNIT, Mark({"until": 8})))
    assert not queue.first("a") and marks.load(UNIT).cursor == {"until": 8}


def test_numbers_survive_a_restart(queue):
    queue.put(UNIT, events(3), ("a", "b"))
    queue.put(UNIT, events(2), ("b",))
    again = EventQueue(queue.database, 1024**2)
    assert again.outputs() == ["a", "b"]
    assert again.waiting("a") == queue.waiting("a") and again.waiting("b").events == 5
    assert again.outputs() == ["a", "b"] and again.delete("b") == 5
    assert again.outputs() == ["a"]


def test_many_and_large_batches_are_read_in_their_order(queue):
    queue.max_bytes = 1024**3
    for number in range(150):
        queue.put(UNIT, events(2, str(number)), ("a",))
    with open("/dev/urandom", "rb") as random:
        for _ in range(3):
            queue.put(UNIT, events(1, random.read(1_500_000).hex()), ("a",))
    parts = list(queued_batches(queue.database.read, "a"))
    numbers = [batch.number for part in parts for batch in part]
    assert numbers == sorted(numbers) and len(numbers) == 153
    assert max(map(len, parts)) == 64 and [len(part) for part in parts[-2:]] == [1, 1]


def test_a_damaged_batch_is_said(queue):
    queue.put(UNIT, events(3), ("a",))
    queue.database.write(lambda db: db.execute("UPDATE queue SET content = x'00'"))
    with pytest.raises(ConfigError, match="is damaged .a queued batch"):
        queue.first("a")


def test_processes_count_together(queue):
    """Another process has another connection: what one puts, the other sees and removes."""
    other_file = Database(queue.database.path)
    try:
        other = EventQueue(other_file, 1024**2)
        queue.put(UNIT, events(3), ("a",))
        assert other.waiting("a") == queue.waiting("a") and other.waiting("a").events == 3
        other.remove("a", other.first("a"))
        assert queue.waiting("a") == Waiting() and queue.outputs() == other.outputs() == []
    finally:
        other_file.close()


def test_an_upsert_names_its_key():
    """SQLite before 3.35, which RHEL 9 has, takes DO UPDATE only with the columns in conflict."""
    texts = {file: file.read_text() for file in Path(siemtap.__file__).parent.rglob("*.py")}
    upserts = [
        (file.name, target)
        for file, text in texts.items()
        for target in re.findall(r"ON CONFLICT(.*?)DO UPDATE", text, re.DOTALL)
    ]
    assert len(upserts) >= 2
    assert [each for each in upserts if not each[1].strip().startswith("(")] == []
