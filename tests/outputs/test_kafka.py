"""The output `kafka` on librdkafka's mock cluster. What it promises is tested on a real broker, in
tests/live/test_kafka_delivery.py: the mock knows neither aborts nor fencing."""

import json
import sys
import threading
import time
from concurrent.futures import Future

import pytest
import tls
from kafka_mock import Mock
from outputs.output_stores import UNIT, event

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.edge.store.checkpoints import Database
from siemtap.edge.store.identity import identity
from siemtap.kafka.client import TlsFiles
from siemtap.kafka.consumer import Consumer
from siemtap.kafka.settings import KafkaConnection
from siemtap.kafka.topics import Topics
from siemtap.kafka.transactions import Transactions
from siemtap.outputs import OutputContext
from siemtap.outputs.kafka.output import Kafka, topics_of
from siemtap.outputs.kafka.settings import Settings
from siemtap.shipper.fleet.checkpoints import latest
from siemtap.shipper.fleet.settings import Cluster

TOPIC = "siemtap.events.acme.event"


@pytest.fixture(scope="module")
def mock():
    with Mock() as mock:
        yield mock


@pytest.fixture
def opened():
    """Return a function that opens an output, to be closed after the test."""
    outputs = []

    def open_output(mock, context=OutputContext(), **settings):
        given = {"hosts": mock.hosts, **settings}
        outputs.append(Kafka(fill_in(Settings, given), context))
        return outputs[-1]

    yield open_output
    [output.close() for output in outputs]


@pytest.mark.slow
def test_an_event_is_a_message_keyed_by_its_unit(mock, opened):
    output = opened(mock, topic="keyed.%{[event.dataset]}")
    first, second = event(1, ecs={"version": "9.4.0"}), event(2)
    assert output.deliver(UNIT, [first, second], None) == []
    assert output.deliver(Unit("it", "acme.event", "b"), [event(3)], None) == []
    messages = mock.read("keyed.acme.event", 3)
    assert [json.loads(message.value()) for message in messages] == [first, second, event(3)]
    assert [message.key() for message in messages] == [
        b"it/acme.event/a",
        b"it/acme.event/a",
        b"it/acme.event/b",
    ]
    assert messages[0].headers() == [
        ("dataset", b"acme.event"),
        ("schema.version", b"9.4.0"),
        ("event.id", b"%032x" % 1),
    ]
    assert output.holds(UNIT, [first]) is None


@pytest.mark.slow
def test_deliveries_that_wait_share_a_transaction(mock, opened):
    output = opened(mock, topic="shared")
    output.deliver(UNIT, [event(0)], None)
    threads = [
        threading.Thread(target=output.deliver, args=(UNIT, [event(number)], None))
        for number in range(1, 41)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    messages = mock.read("shared", 41)
    assert {json.loads(message.value())["event"]["id"] for message in messages} == {
        f"{number:032x}" for number in range(41)
    }
    assert output.counts["transactions"] < 41


@pytest.mark.slow
def test_an_event_that_is_too_large_is_rejected_whole(mock, opened):
    output = opened(mock, topic="large", max_message_bytes=1_000)
    large = event(2, message="x" * 1_000)
    (rejected,) = output.deliver(UNIT, [event(1), large, event(3)], None)
    assert rejected[0] is large
    assert rejected[1] == "1,175 bytes are more than max_message_bytes (1,000)"
    assert len(mock.read("large", 2)) == 2
    assert output.deliver(UNIT, [large], None) == [rejected]


@pytest.mark.slow
def test_no_broker_is_a_retry_that_says_how_many_events_wait(opened):
    class Away:
        hosts = ["127.0.0.1:1"]

    output = opened(Away, timeout="10m")
    text = r"^output.kafka: .*127.0.0.1:1.*refused.*; 2 events wait$"
    began = time.monotonic()
    with pytest.raises(Retry, match=text):
        output.deliver(UNIT, [event(1), event(2)], None)
    assert time.monotonic() - began < 120  # it waits for `timeout` only while a broker is there


@pytest.mark.slow
def test_no_broker_at_the_start_is_a_warning(opened, caplog):
    class Away:
        hosts = ["127.0.0.1:1"]

    stopping = threading.Event()
    opened(Away, OutputContext(delivers=("acme.event",), stopping=stopping))
    assert "the inputs wait until it answers" in caplog.text
    stopping.set()


def test_workers_of_one_path_data_do_not_fence_each_other(mock, opened, tmp_path):
    database = Database(tmp_path / "siemtap.db")
    outputs = [
        opened(mock, OutputContext(database, section="output.kafka", process=process))
        for process in ("worker 1", "worker 2")
    ]
    for number in range(4):
        assert outputs[number % 2].deliver(UNIT, [event(number)], None) == []
    ids = [output.writer.transactions.transactional_id for output in outputs]
    own = f"siemtap-{identity(database)}-output.kafka"
    assert ids == [f"{own}-worker-1", f"{own}-worker-2"]
    again = opened(mock, OutputContext(database, section="output.kafka", process="worker 1"))
    assert again.writer.transactions.transactional_id == ids[0]
    alone = opened(mock, OutputContext(database, section="output.kafka"))
    assert alone.writer.transactions.transactional_id == own
    database.close()


def test_the_extra_is_named_where_it_is_missing(mock, opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(ConfigError, match=r"extra `kafka`"):
        opened(mock)


def open_consumer(settings):
    Consumer(settings, ["t"], "g", True, "x").start()


def read_checkpoints(settings):
    latest(Cluster(**vars(settings)), "t", [0], threading.Event(), where="x")


@pytest.mark.parametrize(
    "open_client",
    [
        lambda settings: Topics(settings, "x"),
        lambda settings: Transactions(settings, "id", where="x").open(),
        open_consumer,
        read_checkpoints,
    ],
    ids=["admin", "producer", "consumer", "checkpoints"],
)
def test_a_certificate_that_is_none_is_named(open_client, tmp_path):
    certificate = tmp_path / "certificate.pem"
    certificate.write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    settings = KafkaConnection(
        hosts=("127.0.0.1:1",), tls=True, certificate=str(certificate), key=str(certificate)
    )
    with pytest.raises(ConfigError, match=r"^x: .*ssl.certificate.location failed.*; check `tls`"):
        open_client(settings)


def test_an_encrypted_key_is_named(tmp_path):
    """By the status, and where a client is made."""
    path = str(tls.Certificate("own").write(tmp_path, pass_phrase=b"secret"))
    settings = KafkaConnection(hosts=("127.0.0.1:1",), tls=True, certificate=path, key=path)
    (problem,) = TlsFiles(settings).problems()
    assert "cannot be used: the key is encrypted: siemtap takes keys without" in problem
    with pytest.raises(ConfigError, match=r"ssl.key.location failed.* without a pass phrase"):
        Topics(settings, "x")


def test_a_broker_that_does_not_answer_in_time_is_a_retry():
    topics = Topics(KafkaConnection(hosts=("127.0.0.1:1",)), "x", timeout=0.2)
    with pytest.raises(Retry, match="^x: "):
        topics.config("t")
    topics.errors.take = lambda: None  # as if the client had reported nothing beside the call
    with pytest.raises(Retry, match=r"^x: no answer within 0.2 s$"):
        topics._call(lambda: Future().result(0))


@pytest.mark.parametrize(
    "pattern, topics",
    [
        ("siemtap.events.%{[event.dataset]}", ["siemtap.events.a.x", "siemtap.events.b.y"]),
        ("siem", ["siem"]),
        ("siem-%{+yyyy.MM}", []),
        ("siem-%{[event.action]}", []),
    ],
)
def test_topics_that_are_known_before_the_first_event(pattern, topics):
    assert topics_of(fill_in(Settings, {"topic": pattern}), ["b.y", "a.x"]) == topics


@pytest.mark.parametrize(
    "given",
    [
        {"hosts": ["https://kafka.example.com:9092"]},
        {"hosts": ["kafka.example.com"]},
        {"topic": "a b"},
        {"topic": ".."},
        {"compression": "brotli"},
    ],
)
def test_settings_that_are_refused(given):
    with pytest.raises(ConfigError):
        fill_in(Settings, given)
