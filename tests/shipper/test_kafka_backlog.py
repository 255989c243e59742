"""Partitions that are given away and come back while messages of theirs are in hand, and a reader
that has ended."""

import threading
from concurrent.futures import Future

import pytest
from confluent_kafka import TopicPartition
from kafka_mock import Mock
from processes import wait_for
from shipper.kafka_events import config, stored, value
from shipper.test_kafka_starts import Brokers, reader_of

from siemtap.kafka.consumer import Commit
from siemtap.shipper.process import Shipper

SQLITE = '"output": {"sqlite": {"retention": "0s"}}'
PLACES = [TopicPartition("t", 0)]


class Message:
    def __init__(self, offset):
        self.topic, self.partition = lambda: "t", lambda: 0
        self.offset, self.value = lambda: offset, lambda: b"{}"
        self.error, self.timestamp = lambda: None, lambda: (1, 1_772_618_400_000)


@pytest.fixture
def reader():
    made = reader_of(Brokers(low=0, high=10, committed=0))
    made.files.changed = lambda: False
    return made


def read(reader, stop, start=0):
    for offset in range(start, stop):
        reader._sort(Message(offset))


def come_back(reader):
    reader._lost(reader.consumer, PLACES)
    reader._assigned(reader.consumer, PLACES)


def offsets(messages):
    return [each.offset for each in messages]


def commit(reader, offset):
    """Commit as a worker's thread does, whose request the reader's thread fulfils."""
    request = Commit({("t", 0): offset}, Future())
    reader.commits.put(request)
    reader._commit_requested()
    request.done.result(0)
    reader.done()


def test_messages_in_hand_do_not_come_twice_after_their_partition_came_back(reader):
    read(reader, 5)
    assert offsets(reader.take(3, 999, 1)) == [0, 1, 2]
    come_back(reader)
    read(reader, 8)
    reader.again()
    assert offsets(reader.take(99, 999, 1)) == list(range(8))


def test_messages_that_are_delivered_meanwhile_are_not_read_again(reader):
    read(reader, 5)
    reader.take(3, 999, 1)
    come_back(reader)
    read(reader, 2)
    commit(reader, 3)
    assert reader.consumer.committed_offsets == [(0, 3)], "they are ours again"
    read(reader, 8, start=2)
    assert offsets(reader.take(99, 999, 1)) == list(range(3, 8))
    assert not reader.backlog.delivered, "only what it read before the partition came back"


def test_a_topic_that_begins_anew_is_read_from_its_start(reader):
    read(reader, 5)
    reader.take(5, 999, 1)
    come_back(reader)
    commit(reader, 5)
    reader.backlog.begins_anew(("t", 0))
    read(reader, 2)
    assert offsets(reader.take(99, 999, 1)) == [0, 1]


def test_others_have_what_was_given_away(reader):
    read(reader, 5)
    reader.take(3, 999, 1)
    reader._lost(reader.consumer, PLACES)
    commit(reader, 3)
    assert reader.consumer.committed_offsets == []
    reader.again()
    assert not reader.backlog.waiting


@pytest.fixture(scope="module")
def mock():
    with Mock() as mock:
        yield mock


@pytest.mark.slow
def test_a_reader_that_has_ended_begins_anew(tmp_path, mock, monkeypatch, caplog):
    mock.write("ends", *map(value, range(3)))
    parsed = config(tmp_path, mock.hosts, SQLITE, topics=["ends"], group_id="ends")
    shipper = Shipper(parsed, once=True, patience=60)
    consumer = shipper.inputs["kafka"].client.consumer
    failures = iter(range(1))
    sort = consumer._sort

    def fails_once(message):
        for _ in failures:
            raise KeyError("a fault of siemtap")
        sort(message)

    monkeypatch.setattr(consumer, "_sort", fails_once)
    monkeypatch.setattr("siemtap.kafka.input.PATIENCE", 1.0)
    assert shipper.run()
    assert "reading was given up: KeyError" in caplog.text
    assert mock.committed("ends", "ends") == 3


@pytest.mark.slow
def test_an_input_that_is_removed_commits_its_batch_in_hand(tmp_path, mock):
    mock.write("removed", *map(value, range(20)))
    given = {"topics": ["removed"], "group_id": "removed"}
    shipper = Shipper(config(tmp_path, mock.hosts, SQLITE, **given))
    output = shipper.delivery.outputs["default"].output
    deliver, began, go_on = output.deliver, threading.Event(), threading.Event()

    def wait(unit, events, mark):
        began.set()
        assert go_on.wait(60)
        return deliver(unit, events, mark)

    output.deliver = wait
    runner = threading.Thread(target=shipper.run)
    runner.start()
    try:
        assert began.wait(60)
        reload = threading.Thread(target=shipper.configure, args=[()])
        reload.start()
        wait_for(lambda: not shipper.inputs)
        go_on.set()
        reload.join(60)
        assert not reload.is_alive() and len(stored(shipper.database)) == 20
        assert mock.committed("removed", "removed") == 20
    finally:
        go_on.set()
        shipper.stop()
        runner.join()
