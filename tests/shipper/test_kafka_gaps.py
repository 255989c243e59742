"""What the input `kafka` cannot read, on librdkafka's mock cluster: partitions without a leader, and
what Kafka deleted before it was read."""

import json
import threading
from contextlib import closing, contextmanager

import pytest
from confluent_kafka import TopicPartition
from kafka_mock import Mock
from processes import wait_for
from prometheus_client.parser import text_string_to_metric_families
from shipper.kafka_events import config, stored, value

from siemtap.kafka.consumer import Consumer
from siemtap.kafka.settings import KafkaConnection
from siemtap.shipper.process import Shipper
from siemtap.shipper.status.metrics import render_metrics

SQLITE = '"output": {"sqlite": {"retention": "0s"}}'
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mock():
    with Mock() as mock:
        yield mock


@contextmanager
def running(folder, mock, topic, **more):
    """Run a writer of one topic."""
    shipper = Shipper(config(folder, mock.hosts, SQLITE, topics=[topic], group_id=topic, **more))
    runner = threading.Thread(target=shipper.run)
    runner.start()
    try:
        yield shipper
    finally:
        shipper.stop()
        runner.join()


def test_a_partition_without_a_leader_does_not_hold_up_the_others(tmp_path, mock, monkeypatch):
    monkeypatch.setattr("siemtap.kafka.gaps.LOOK_SOON", 0.2)
    topic = "leaderless"
    for partition in range(4):
        mock.write(topic, value(partition), to=partition)
    mock.lead(topic, 2, -1)
    with running(tmp_path, mock, topic) as shipper:
        wait_for(lambda: sorted(stored(shipper.database)) == [0, 1, 3])
        wait_for(lambda: not shipper.health()[0])
        assert shipper.health()[1] == (
            "kafka: the topic leaderless, partition 2, has no leader: its messages wait until its"
            f" broker is back; see kafka-topics.sh --bootstrap-server {mock.hosts[0]} --describe"
            " --unavailable-partitions --topic leaderless"
        )
        for number in range(10, 15):  # no pause between two cycles, which end well
            mock.write(topic, value(number), to=1)
            wait_for(lambda number=number: number in stored(shipper.database), seconds=5)
        (state,) = shipper.inputs["kafka"].units.values()
        wait_for(lambda: state.state == "ok")
        assert state.failed == 0
        mock.lead(topic, 2, 1)
        wait_for(lambda: 2 in stored(shipper.database))
        wait_for(lambda: shipper.health() == (True, "ok"))


def test_a_single_run_is_not_finished_while_a_partition_has_no_leader(tmp_path, mock, monkeypatch):
    monkeypatch.setattr("siemtap.kafka.gaps.LOOK_SOON", 0.2)
    topic = "unfinished"
    mock.write(topic, value(1), to=0)
    mock.lead(topic, 3, -1)
    settings = config(tmp_path, mock.hosts, SQLITE, topics=[topic], group_id=topic)
    assert not Shipper(settings, once=True, patience=30).run()


def lost_events(database):
    rows = database.read("SELECT event FROM event")
    events = [json.loads(event) for (event,) in rows]
    return [event for event in events if event["event"]["kind"] == "pipeline_error"]


@pytest.mark.parametrize("start", ["oldest", "newest"])
def test_what_kafka_deleted_is_an_event_and_a_number(tmp_path, mock, start, caplog):
    """The reader was away; then it goes on with the oldest message, also if a new group would
    begin with the newest."""
    topic = f"siemtap.{start}.apptrana.attack"
    mock.write(topic, *map(value, range(3)), to=0)
    with running(tmp_path, mock, topic) as shipper:
        wait_for(lambda: len(stored(shipper.database)) == 3)
        wait_for(lambda: mock.committed(topic, topic) == 3)
    low = mock.delete_old(topic, 0)
    mock.write(topic, value(9), to=0)
    with running(tmp_path, mock, topic, initial_offset=start) as shipper:
        wait_for(lambda: 9 in stored(shipper.database))
        wait_for(lambda: lost_events(shipper.database))
        (event,) = lost_events(shipper.database)
        reason = (
            f"Kafka deleted {low - 3} offsets of the topic {topic}, partition 0, before they were"
            f" read (3 to {low - 1})"
        )
        assert event["error"]["message"].endswith(reason)
        assert f"the group {topic}: Kafka deleted {low - 3} offsets" in caplog.text
        assert event["event"]["dataset"] == event["data_stream"]["dataset"] == "apptrana.attack"
        assert event["event"]["start"] < event["event"]["end"]
        shown = shipper.stats()
        assert shown["inputs"][0]["source"] == {"lost_offsets": low - 3}
        families = text_string_to_metric_families(render_metrics(shown, []).decode())
        (sample,) = [
            sample
            for family in families
            for sample in family.samples
            if sample.name == "siemtap_lost_offsets_total"
        ]
        assert (sample.labels, sample.value) == ({"input": "kafka"}, low - 3)


def test_a_loss_is_told_once_its_event_is_safe(tmp_path, mock):
    """A reader that dies before tells it again, as the same event."""
    from siemtap.core.manifest import fill_in
    from siemtap.kafka.input import Client, Settings, collect

    topic = "told"
    mock.write(topic, *map(value, range(2)), to=0)
    settings = fill_in(Settings, {"hosts": list(mock.hosts), "topics": [topic], "group_id": topic})

    def first_batch():
        with closing(Client(settings)) as client:
            batches = (batch for _ in range(99) for batch in collect(client, None, {}, 2**42))
            return next(batches)

    with closing(Client(settings)) as client:
        batch = next(collect(client, None, {}, 2**42))
        client.save(None, batch)
        assert len(batch.records) == 2
    low = mock.delete_old(topic, 0)
    before, again = first_batch(), first_batch()
    assert before.cursor == again.cursor == {topic: {"0": low}} and not before.records
    ((lost,), (same,)) = before.lost, again.lost
    assert (lost.scope, lost.start) == (same.scope, same.start)
    assert lost.start < lost.stop


def test_an_offset_beyond_the_end_is_read_from_the_start(mock, caplog):
    """A topic that was created anew: nothing is known to be lost."""
    from confluent_kafka import Consumer as Plain

    topic = "anew"
    mock.write(topic, *map(value, range(3)), to=0)
    plain = Plain({"bootstrap.servers": ",".join(mock.hosts), "group.id": topic})
    plain.commit(offsets=[TopicPartition(topic, 0, 500)], asynchronous=False)
    plain.close()
    reader = Consumer(KafkaConnection(hosts=tuple(mock.hosts)), [topic], topic, False, "it")
    with closing(reader):
        reader.start()
        assert [each.offset for each in reader.take(10, 10**6, 60)] == [0, 1, 2]
        assert reader.unreported() == []
    assert "ends at offset 3 and was read up to 500" in caplog.text


def test_where_new_ones_begin_is_committed_at_once(mock):
    """What is written while the reader is away, or joins again, is new: also in a partition of
    which nothing was read."""
    topic = "begun"
    mock.write(topic, b"old", to=0)
    settings = KafkaConnection(hosts=tuple(mock.hosts))

    def read(number):
        """Return so many messages, once all partitions are started. They are not committed."""
        with closing(Consumer(settings, [topic], topic, False, "it")) as reader:
            reader.start()
            wait_for(lambda: reader.owned and reader.at_end == reader.owned)
            if number == 0:
                assert not reader.backlog.waiting
            return sorted(each.value for each in reader.take(9, 10**6, 1)) if number else []

    assert read(0) == []
    mock.write(topic, b"new", to=0)
    assert read(1) == [b"new"]
    mock.write(topic, b"away", to=1)
    assert read(2) == [b"away", b"new"]
