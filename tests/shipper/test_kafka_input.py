"""The input `kafka` on librdkafka's mock cluster."""

import json
import threading
import time
from contextlib import closing

import pytest
import tls
from confluent_kafka import KafkaError
from kafka_mock import Mock
from processes import wait_for
from shipper.kafka_events import config, event, stored, value

from siemtap.core.errors import ConfigError, Retry
from siemtap.kafka.backlog import Received
from siemtap.kafka.consumer import Consumer
from siemtap.kafka.input import event_of
from siemtap.kafka.settings import KafkaConnection
from siemtap.shipper.process import Shipper

SQLITE = '"output": {"sqlite": {"retention": "0s"}}'


@pytest.fixture(scope="module")
def mock():
    with Mock() as mock:
        yield mock


def once(folder, mock, output=SQLITE, **settings):
    """Run a writer once; return the shipper, its inputs and output closed, and whether all is
    done."""
    shipper = Shipper(config(folder, mock.hosts, output, **settings), once=True, patience=30)
    return shipper, shipper.run()


def read_store(folder):
    from siemtap.edge.store.checkpoints import Database

    with closing(Database(folder / "data/siemtap.db")) as database:
        return stored(database), database.read("SELECT reason, event, dataset FROM rejected")


@pytest.mark.slow
def test_events_pass_unmapped_and_offsets_are_the_mark(tmp_path, mock):
    mock.write("passed", *map(value, range(10)))
    topics = {"topics": ["passed"], "group_id": "passed"}
    _, done = once(tmp_path, mock, **topics)
    assert done
    numbers, rejected = read_store(tmp_path)
    assert sorted(numbers) == list(range(10)) and rejected == []
    assert mock.committed("passed", "passed") == 10


@pytest.mark.slow
def test_an_event_is_delivered_as_it_was_written(tmp_path, mock):
    odd = event(1)
    odd["apptrana"]["extra"] = {"big": 2**70, "small": 1.5, "text": "ü\u2028", "none": None}
    mock.write("exact", json.dumps(odd).encode())
    output = json.dumps({"file": {"path": str(tmp_path / "out")}})
    once(tmp_path, mock, f'"output": {output}', topics=["exact"], group_id="exact")
    (path,) = (tmp_path / "out").glob("*.ndjson")
    assert json.loads(path.read_bytes()) == odd


def placed(stream=None, dataset="x.y", id="0" * 32, time="2026-03-04T10:00:00.000Z"):
    """Return a message of another plugin. `stream`: its `data_stream`; None: it has none."""
    made = {"event": {"dataset": dataset, "id": id}, "@timestamp": time}
    return json.dumps(made if stream is None else {**made, "data_stream": stream}).encode()


STREAM = {"type": "logs", "dataset": "x.y"}


POISON = {
    "not JSON": (b"{", "it is no JSON (JSONDecodeError)"),
    "deep": (b"[" * 100_000, "it is no JSON"),
    "nothing": (b"", "it is no JSON"),
    "a list": (b"[]", "it is no JSON object"),
    "no id": (placed(STREAM, id=""), "it has no event.id"),
    "no time": (placed(STREAM, time=""), "it has no @timestamp"),
    "bytes": (b"\xff\xfe", "it is no JSON"),
    # what the output needs to look an event up, before it is validated
    "no stream": (placed(), "it has no data_stream.dataset"),
    "a stream of others": (
        placed({"type": "logs", "dataset": "z.y"}),
        "it has no data_stream.dataset",
    ),
    "no type": (placed({"dataset": "x.y"}), "its data_stream.type is not logs"),
    "a type": (placed({**STREAM, "type": "_logs"}), "its data_stream.type is not logs"),
    "a long namespace": (placed({**STREAM, "namespace": "n" * 5_000}), "its data_stream.namespace"),
    "half a character": (placed({**STREAM, "namespace": "\ud800"}), "it is no JSON"),
    "a request": (placed(STREAM, id='"}}\n{"delete":{}}'), "it has no event.id"),
    "a namespace": (
        placed({**STREAM, "namespace": 7}),
        "its data_stream.namespace is no name of a namespace",
    ),
    "a remote cluster": (placed(dataset="a:b"), "its event.dataset is no name of a dataset"),
    "another plugin": (
        placed({"type": "logs", "dataset": "x.y"}),
        "no installed plugin has the dataset x.y",
    ),
    "against the schema": (
        json.dumps({**event(9), "unknown": 1}).encode(),
        "the event breaks additionalProperties",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", POISON)
def test_a_poison_message_is_rejected_and_the_partition_goes_on(tmp_path, mock, name):
    poison, reason = POISON[name]
    topic = f"poison-{name.replace(' ', '-')}"
    mock.write(topic, value(1), poison, value(2))
    _, done = once(tmp_path, mock, topics=[topic], group_id=topic)
    assert not done
    numbers, ((why, kept, _),) = read_store(tmp_path)
    assert numbers == [1, 2]
    assert reason in why and f"topic {topic}, partition " in why and "offset 1" in why
    kept = json.loads(kept)
    original = kept["event"].get("original", "")
    if original.startswith("base64:"):
        assert original == "base64://4="
    elif "against" in name or "another" in name:
        assert kept == json.loads(poison)
    else:
        assert original == poison.decode()
    assert mock.committed(topic, topic) == 3, "it is not read again"


@pytest.mark.slow
def test_an_output_that_fails_gets_the_same_messages_again(tmp_path, mock):
    mock.write("again", *map(value, range(50)))
    shipper = Shipper(config(tmp_path, mock.hosts, SQLITE, topics=["again"], group_id="again"))
    output = shipper.delivery.outputs["default"].output
    deliver, failures = output.deliver, []

    def fail_at_first(unit, events, mark):
        if len(failures) < 3:
            failures.append(len(events))
            raise Retry("the SIEM is away")
        return deliver(unit, events, mark)

    output.deliver = fail_at_first
    runner = threading.Thread(target=shipper.run)
    runner.start()
    try:
        wait_for(lambda: shipper.stats()["inputs"][0]["units"][0]["events"] == 50)
        assert len(failures) == 3 and len(stored(shipper.database)) == 50
        wait_for(lambda: shipper.health()[0])
        assert shipper.stats()["inputs"][0]["type"] == "kafka"
    finally:
        shipper.stop()
        runner.join()


@pytest.mark.slow
def test_partitions_are_paused_while_the_siem_is_slow(tmp_path, mock, monkeypatch):
    """What waits in memory is bounded, and the group does not evict the reader."""
    monkeypatch.setattr("siemtap.kafka.consumer.MAX_WAITING", 100)
    monkeypatch.setattr("siemtap.kafka.consumer.AT_ONCE", 50)
    monkeypatch.setattr("siemtap.kafka.input.BATCH_MESSAGES", 40)
    mock.write("slow", *map(value, range(1_000)))
    shipper = Shipper(config(tmp_path, mock.hosts, SQLITE, topics=["slow"], group_id="slow"))
    output = shipper.delivery.outputs["default"].output
    consumer = shipper.inputs["kafka"].client.consumer
    deliver, go_on, most = output.deliver, threading.Event(), []

    def wait(unit, events, mark):
        go_on.wait(60)
        most.append(len(consumer.backlog.waiting))
        return deliver(unit, events, mark)

    output.deliver = wait
    runner = threading.Thread(target=shipper.run)
    runner.start()
    try:
        wait_for(lambda: consumer.paused)
        time.sleep(1)
        assert consumer.paused and len(consumer.backlog.waiting) <= 100 + 50
        go_on.set()
        wait_for(lambda: len(stored(shipper.database)) == 1_000)
        assert sorted(stored(shipper.database)) == list(range(1_000))
        assert max(most) <= 100 + 50
    finally:
        go_on.set()
        shipper.stop()
        runner.join()


@pytest.mark.slow
def test_brokers_that_are_away_are_told_by_the_health(tmp_path, monkeypatch):
    monkeypatch.setattr("siemtap.kafka.input.PATIENCE", 1.0)
    shipper = Shipper(config(tmp_path, ["127.0.0.1:1"], SQLITE), once=True, patience=5)
    assert not shipper.run()
    (state,) = shipper.inputs["kafka"].units.values()
    assert "the group writer: " in state.error and "127.0.0.1:1" in state.error
    assert "refused" in state.error


def test_a_tombstone_is_no_event():
    unreadable = event_of(Received("t.a.b", 0, 7, None, 1_772_618_400_000))
    assert unreadable.event["event"]["dataset"] == "t.a.b"
    assert unreadable.event["@timestamp"] == "2026-03-04T10:00:00.000Z"
    assert unreadable.reason.endswith("topic t.a.b, partition 0, offset 7")


def consumer(**settings):
    """Return a consumer that has not joined its group."""
    connection = KafkaConnection(hosts=("127.0.0.1:1",), **settings)
    return Consumer(connection, ["t"], "writers", True, "the group writers")


def test_a_partition_that_gives_nothing_is_not_read_to_its_end():
    reader = consumer()
    reader.owned = {("t", 0), ("t", 1)}
    reader.at_end = {("t", 0)}
    with pytest.raises(Retry, match=r"the group writers: no message came within 0.1 s"):
        reader.take(10, 1_000, 0.1)
    reader.at_end.add(("t", 1))
    assert reader.take(10, 1_000, 0.1) == []


def test_a_file_that_is_gone_is_named_while_brokers_are_asked(tmp_path):
    """The reader asks them with a client of its own, as `siemtap test inputs` does."""
    reader = consumer(tls=True, ca_file=str(tmp_path / "gone.pem"))
    with pytest.raises(ConfigError, match=r"the group writers: .*check `tls`, `ca_file`"):
        reader.take(10, 1_000, 0.1)


def test_a_refused_group_is_named_with_its_command():
    refused = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)
    assert consumer()._error(refused).message == (
        "the group writers: no right to use the consumer group writers; run kafka-acls.sh"
        " --bootstrap-server 127.0.0.1:1 --add --allow-principal User:ANONYMOUS --operation Read"
        " --operation Describe --group writers"
    )


@pytest.mark.slow
def test_certificates_that_are_renewed_make_another_reader(tmp_path, mock, monkeypatch):
    """librdkafka reads the files when a client is made. What was not committed is read again."""
    topic = "renewed"
    mock.write(topic, *map(value, range(3)))
    (tmp_path / "ca.pem").write_bytes(tls.Certificate("Old", authority=True).pem)
    settings = KafkaConnection(hosts=tuple(mock.hosts), tls=True, ca_file=str(tmp_path / "ca.pem"))
    monkeypatch.setattr(  # the mock speaks no TLS
        "siemtap.kafka.client._protocol", lambda settings: "PLAINTEXT"
    )
    reader = Consumer(settings, [topic], topic, True, "the group")
    with closing(reader):
        reader.start()
        assert len(reader.take(10, 10**6, 60)) == 3
        first = reader.consumer
        (tmp_path / "ca.pem").write_bytes(b"half")
        reader.start()
        assert reader.consumer is first
        (problem,) = reader.files.problems()
        assert "ca.pem cannot be used" in problem
        (tmp_path / "ca.pem").write_bytes(tls.Certificate("New", authority=True).pem)
        reader.start()
        assert reader.consumer is not first
        assert list(reader.files.problems()) == []
        assert len(reader.take(10, 10**6, 60)) == 3
