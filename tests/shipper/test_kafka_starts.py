"""Where the input `kafka` goes on with a partition whose offset is not there, and what it reports:
brokers that answer as told."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from siemtap.core.convert import rfc3339
from siemtap.core.errors import Retry
from siemtap.core.events import lost_event
from siemtap.kafka.consumer import Consumer, Received
from siemtap.kafka.gaps import Loss
from siemtap.kafka.input import EVENTS, lost_of, report_losses
from siemtap.kafka.settings import KafkaConnection


class Brokers:
    """What a partition's brokers answer the reader's client, and what it asks of them."""

    def __init__(self, low, high, committed=-1001):
        self.low, self.high, self.offset = low, high, committed
        self.silent, self.committed_offsets, self.assigned = set(), [], []
        self.looked = 0

    def get_watermark_offsets(self, partition, timeout):
        if partition.partition in self.silent:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no answer"))
        return self.low, self.high

    def committed(self, partitions, timeout):
        (partition,) = partitions
        return [TopicPartition(partition.topic, partition.partition, self.offset)]

    def commit(self, offsets, asynchronous):
        self.committed_offsets += [(each.partition, each.offset) for each in offsets]

    def incremental_unassign(self, partitions):
        pass

    def incremental_assign(self, partitions):
        self.assigned += [(each.partition, each.offset) for each in partitions]

    def list_topics(self, *names, timeout):
        self.looked += 1
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    def consume(self, number, seconds):
        return []


def reader_of(brokers, partitions=1, from_start=True):
    """Return a reader of the topic `t` that has these partitions, and whose thread is the test."""
    connection = KafkaConnection(hosts=("127.0.0.1:1",))
    reader = Consumer(connection, ["t"], "writers", from_start, "it")
    reader.owned = {("t", number) for number in range(partitions)}
    reader.consumer = brokers
    return reader


def received(offset, partition=0):
    return Received("t", partition, offset, b"{}", 1_700_000_000_000)


class NoOffset:
    """The message by which librdkafka says that it cannot go on."""

    def __init__(self, offset, text, partition=0):
        self.fault = KafkaError(KafkaError._AUTO_OFFSET_RESET, text)
        self.topic, self.partition, self.offset = lambda: "t", lambda: partition, lambda: offset

    def error(self):
        return self.fault


GONE = "fetch failed due to requested offset not available on the broker: offset out of range"
TRUNCATED = (
    "Partition log truncation detected at offset 900 (leader epoch 4): broker end offset is 850"
    " (offset leader epoch 3). Reset to INVALID.: Local: Partition log truncation detected"
    " (broker 1)"
)


def test_a_second_loss_waits_until_the_first_is_reported():
    brokers = Brokers(low=200, high=300)
    reader = reader_of(brokers)
    reader._sort(NoOffset(100, GONE))
    reader._mind_gaps()
    brokers.low, brokers.high = 400, 500
    reader._sort(NoOffset(250, GONE))
    reader._mind_gaps()
    assert [loss.next for loss in reader.unreported()] == [200]
    reader.backlog.add(received(210))
    client, reports = SimpleNamespace(consumer=reader, lost_offsets=0), []
    reports += [batch.cursor for batch in report_losses(client)]
    reader._mind_gaps()
    assert brokers.assigned == [(0, 200)], "what was read before is not delivered yet"
    assert [each.offset for each in reader.take(9, 999, 1)] == [210]
    reader._mind_gaps()
    assert brokers.assigned == [(0, 200)], "it is in hand"
    reader.done()
    reader._mind_gaps()
    reports += [batch.cursor for batch in report_losses(client)]
    assert reports == [{"t": {"0": 200}}, {"t": {"0": 400}}]
    assert brokers.assigned == [(0, 200), (0, 400)]
    assert client.lost_offsets == 100 + 150


def test_a_loss_noted_while_another_is_reported_is_kept():
    """Its partition went to another reader and came back."""
    brokers = Brokers(low=200, high=300)
    reader = reader_of(brokers)
    reader._sort(NoOffset(100, GONE))
    reader._mind_gaps()
    reports = report_losses(SimpleNamespace(consumer=reader, lost_offsets=0))
    assert next(reports).cursor == {"t": {"0": 200}}
    reader._lost(brokers, [TopicPartition("t", 0)])
    reader.owned, brokers.low = {("t", 0)}, 250
    reader._sort(NoOffset(100, GONE))
    reader._mind_gaps()
    assert list(reports) == []
    assert [loss.next for loss in reader.unreported()] == [250]


@pytest.mark.parametrize("offset", [0, 900, 1_000])
def test_an_offset_that_is_there_is_gone_on_with(offset, caplog):
    brokers = Brokers(low=0, high=1_000)
    reader = reader_of(brokers)
    reader._sort(NoOffset(offset, GONE))
    reader._mind_gaps()
    assert brokers.assigned == [(0, offset)] and not reader.unreported() and not caplog.text


@pytest.mark.parametrize("from_start", [True, False])
def test_a_partition_that_lost_its_end_goes_on_there(from_start, caplog):
    """An election of a leader that lacked what was read last. Whoever restarts then goes on there,
    too: what is written at these offsets is new."""
    brokers = Brokers(low=0, high=2_000, committed=900)
    reader = reader_of(brokers, from_start=from_start)
    reader.at_end = {("t", 0)}
    reader._sort(NoOffset(None, TRUNCATED))
    assert not reader._is_read()
    reader.backlog.add(received(899))
    reader._mind_gaps()
    assert brokers.assigned == [], "899 is committed first, then 850"
    reader.take(9, 999, 1)
    reader.done()
    reader._mind_gaps()
    assert brokers.assigned == brokers.committed_offsets == [(0, 850)]
    assert "partition 0, lost its end, which was read: it goes on at offset 850" in caplog.text
    assert reader.unreported() == []


@pytest.mark.parametrize("from_start", [True, False])
def test_a_group_with_an_offset_is_not_new(from_start):
    brokers = Brokers(low=0, high=2_000, committed=900)
    reader = reader_of(brokers, from_start=from_start)
    reader._sort(NoOffset(None, "something else"))
    reader._mind_gaps()
    assert brokers.assigned == [(0, 900)] and brokers.committed_offsets == []


def test_a_partition_that_cannot_be_started_holds_up_no_other(monkeypatch):
    brokers = Brokers(low=5, high=9)
    brokers.silent = {0}
    reader = reader_of(brokers, partitions=2)
    for number in range(2):
        reader._sort(NoOffset(6, GONE, number))
    reader.gaps.looked -= 100
    for _ in range(3):
        reader._poll()
        reader._mind_gaps()
    assert brokers.assigned == [(1, 6)] and brokers.looked == 1
    reader.at_end = {("t", 1)}
    with pytest.raises(Retry, match="no answer"):
        reader.take(9, 999, 0.1)
    assert reader.gaps.unread() == ""
    monkeypatch.setattr("siemtap.kafka.gaps.START_PATIENCE", 0.0)
    assert reader.gaps.unread().startswith("the topic t, partition 0, cannot be started")
    brokers.silent = set()
    reader._mind_gaps()
    assert brokers.assigned == [(1, 6)], "not asked again so soon"
    reader.gaps.failures[("t", 0)] = reader.gaps.failures[("t", 0)]._replace(again=0.0)
    reader._mind_gaps()
    assert brokers.assigned == [(1, 6), (0, 6)]
    reader.at_end.add(("t", 0))
    assert reader.take(9, 999, 0.1) == [] and reader.gaps.unread() == ""


def test_the_failure_of_a_partition_goes_with_it():
    brokers = Brokers(low=5, high=9)
    brokers.silent = {1}
    reader = reader_of(brokers, partitions=2)
    reader._sort(NoOffset(6, GONE, 1))
    reader._mind_gaps()
    reader.failure = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    reader.at_end = {("t", 0)}
    reader._revoked(brokers, [TopicPartition("t", 1)])
    assert reader.take(9, 999, 0.1) == []
    reader.owned = {("t", 0), ("t", 1)}
    with pytest.raises(Retry, match="no message came"):
        reader.take(9, 999, 0.1)


def test_the_event_of_a_loss_is_the_same_after_a_crash_if_its_start_is_not_known():
    """What an older version committed has no time beside it."""
    ids = set()
    for now in (1_700_000_000_000, 1_700_000_060_000):
        lost = lost_of(Loss("t", 0, 100, 200, 0, now))
        event = lost_event(EVENTS, lost, {})
        assert event["event"]["start"] == event["event"]["end"] == rfc3339(now)
        ids.add(event["event"]["id"])
    others = [Loss("t", 0, 101, 200, 0, 1), Loss("t", 1, 100, 200, 0, 1)]
    ids.update(lost_event(EVENTS, lost_of(each), {})["event"]["id"] for each in others)
    assert len(ids) == 3


def test_a_loss_of_which_nothing_says_when_it_was_written_has_no_start():
    reader = reader_of(Brokers(low=200, high=300))
    reader._sort(NoOffset(100, GONE))
    reader._mind_gaps()
    (loss,) = reader.unreported()
    assert loss.start == 0


def test_a_loss_is_noted_once_though_its_partition_is_not_assigned_at_first(monkeypatch):
    brokers = Brokers(low=200, high=300)
    reader = reader_of(brokers)
    assign = brokers.incremental_assign

    def refuse(partitions):
        raise KafkaException(KafkaError(KafkaError._STATE))

    monkeypatch.setattr(brokers, "incremental_assign", refuse)
    reader._sort(NoOffset(100, GONE))
    reader._mind_gaps()
    assert reader.unreported() == []
    monkeypatch.setattr(brokers, "incremental_assign", assign)
    reader.gaps.failures[("t", 0)] = reader.gaps.failures[("t", 0)]._replace(again=0.0)
    reader._mind_gaps()
    assert [loss.next for loss in reader.unreported()] == [200]
