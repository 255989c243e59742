"""Partitions that are given away and come back while messages of theirs are in hand, and a reader
that has ended."""

import threading
from concurrent.futures import Future
from contextlib import ExitStack

import elastic_simulator
import pytest
from confluent_kafka import TopicPartition
from kafka_mock import Mock
from outputs.simulated_cluster import STREAM
from processes import wait_for
from shipper.kafka_events import config, stored, value
from shipper.test_kafka_starts import Brokers, reader_of

from siemtap.core.errors import Retry
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


def test_what_another_reader_may_have_delivered_is_asked_for(reader):
    reader._assigned(reader.consumer, PLACES)
    read(reader, 2_500)
    for number, doubtful in [(1_500, True), (600, True), (400, False)]:
        reader.take(number, 10**6, 1)
        assert reader.is_doubtful() == doubtful
        reader.done()
    read(reader, 2_600, start=2_500)
    reader.take(100, 10**6, 1)
    assert not reader.is_doubtful()
    reader.again()  # the attempt failed
    for doubtful in (True, False):
        reader.take(60, 10**6, 1)
        assert reader.is_doubtful() or not doubtful
        reader.done()
    assert reader.is_doubtful(), "of a loss"


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


def test_a_writer_that_takes_over_asks_for_what_the_one_that_died_has_delivered(tmp_path, mock):
    """Between its answer and its commit the data stream rolled over, so that no id helps."""
    given = {"topics": ["taken"], "group_id": "taken"}
    with elastic_simulator.Server(elastic_simulator.Cluster()) as served, ExitStack() as stack:
        output = f'"output": {{"elasticsearch": {{"hosts": ["{served.url}"]}}}}'
        mock.write("taken", *map(value, range(4)))
        shippers = [Shipper(config(tmp_path / name, mock.hosts, output, **given)) for name in "ab"]
        runners = [threading.Thread(target=shipper.run) for shipper in shippers]
        stack.callback(lambda: [each.join(60) for each in runners])
        stack.callback(lambda: [each.stop() for each in shippers])
        staying, dying = (each.inputs["kafka"].client for each in shippers)
        runners[0].start()
        wait_for(lambda: mock.committed("taken", "taken") == 4)
        runners[1].start()
        wait_for(lambda: dying.consumer.owned and staying.consumer.owned)
        wait_for(lambda: not dying.consumer.owned & staying.consumer.owned)
        saved, dead = [], threading.Event()

        def die(unit, mark):
            saved.append(mark)
            dead.wait(60)
            raise Retry("it is dead")

        dying.save = die
        for partition in range(4):
            numbers = range(100 * partition + 100, 100 * partition + 150)
            mock.write("taken", *map(value, numbers), to=partition)
        wait_for(lambda: saved)
        served.cluster.rollover("POST", STREAM, {}, b"")
        shippers[1].stop()
        dead.set()
        runners[1].join(60)
        wait_for(lambda: mock.committed("taken", "taken") == 204)
        backing = served.cluster.streams[STREAM]["backing"]
        assert sorted(id for part in backing for id in part) == sorted(
            f"{number:032x}"
            for number in [
                *range(4),
                *(each for p in range(1, 5) for each in range(100 * p, 100 * p + 50)),
            ]
        )


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
