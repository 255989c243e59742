"""Transactions on a real broker: `ci/live kafka`."""

import os
import time

import pytest
from kafka_broker import Broker, create, read

from siemtap.core.errors import AuthError, ConfigError, Retry
from siemtap.kafka.settings import KafkaConnection
from siemtap.kafka.transactions import Fenced, Limits, Message, Transactions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def broker():
    with Broker(users={"shipper": "secret"}) as broker:
        yield broker


def values(broker, topic, isolation="read_committed"):
    return [message.value() for message in read(broker, topic, isolation)]


def producer(broker, id, **more):
    return Transactions(KafkaConnection(hosts=(broker.address,)), id, Limits(**more))


def test_a_transaction_is_visible_as_a_whole_or_not_at_all(broker):
    create(broker, "whole", partitions=1)
    writer = producer(broker, "siemtap-whole")
    messages = [
        Message("whole", b"unit", b"%d" % number, (("dataset", b"acme.event"),))
        for number in range(1_000)
    ]
    assert writer.write(messages) == {}
    (first, *_) = read(broker, "whole")
    assert (first.key(), first.headers()) == (b"unit", [("dataset", b"acme.event")])
    errors = writer.write([messages[0], Message("whole", b"unit", os.urandom(1_200_000))])
    assert [(index, error.name()) for index, error in errors.items()] == [(1, "MSG_SIZE_TOO_LARGE")]
    assert len(values(broker, "whole")) == 1_000
    assert writer.write(messages[:1]) == {}
    assert values(broker, "whole") == [message.value for message in messages] + [b"0"]
    writer.close()


def test_what_a_killed_writer_left_open_is_never_visible(broker):
    create(broker, "killed", partitions=1)
    pid = os.fork()
    if not pid:  # the writer is killed between its messages and their commit
        writer = producer(broker, "siemtap-killed")
        writer.open()
        writer.producer.begin_transaction()
        writer.producer.produce("killed", b"half")
        writer.producer.flush(30)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    assert values(broker, "killed", "read_uncommitted") == [b"half"]
    successor = producer(broker, "siemtap-killed")
    assert successor.write([Message("killed", b"unit", b"whole")]) == {}
    assert values(broker, "killed") == [b"whole"]
    successor.close()


def test_a_second_writer_with_the_id_fences_the_first(broker):
    create(broker, "fenced", partitions=1)
    first, second = (producer(broker, "siemtap-fenced") for _ in range(2))
    first.open()
    second.open()
    with pytest.raises(Fenced, match="another process has taken over"):
        first.write([Message("fenced", b"unit", b"zombie")])
    assert second.write([Message("fenced", b"unit", b"owner")]) == {}
    assert values(broker, "fenced") == [b"owner"]
    second.close()


def test_a_message_beyond_the_limit_of_its_topic_is_named(broker):
    create(broker, "narrow", partitions=1, **{"max.message.bytes": "10000"})
    writer = producer(broker, "siemtap-narrow", alone=True)
    messages = [Message("narrow", b"unit", os.urandom(size)) for size in (9_000, 20_000, 9_000)]
    errors = writer.write(messages)
    assert {index: error.name() for index, error in errors.items()} == {1: "MSG_SIZE_TOO_LARGE"}
    assert writer.write([messages[0], messages[2]]) == {}
    assert len(values(broker, "narrow")) == 2
    writer.close()


def test_a_broker_that_restarts_loses_and_doubles_nothing():
    with Broker() as broker:
        create(broker, "restarted", partitions=1)
        writer = producer(broker, "siemtap-restarted", timeout=60_000)
        assert writer.write([Message("restarted", b"unit", b"before")]) == {}
        writer.producer.begin_transaction()
        writer.producer.produce("restarted", b"aborted")
        writer.producer.flush(30)
        broker.kill()
        broker.start()
        writer.close()
        assert writer.write([Message("restarted", b"unit", b"after")]) == {}
        assert values(broker, "restarted") == [b"before", b"after"]
        writer.close()


def test_a_broker_that_is_away_is_a_retry_that_says_so():
    settings = KafkaConnection(hosts=("127.0.0.1:1",))
    writer = Transactions(settings, "siemtap-away", Limits(timeout=5_000))
    began = time.monotonic()
    with pytest.raises(Retry, match=r"output.kafka: .*127.0.0.1:1.*refused"):
        writer.write([Message("away", b"unit", b"1")])
    assert time.monotonic() - began < 15


def test_refused_logins_and_rights_name_the_command(broker):
    """The command that an error names is run, until nothing is missing."""
    create(broker, "rights", partitions=1)
    settings = {"hosts": (broker.secure_address,), "username": "shipper"}
    stranger = Transactions(KafkaConnection(**settings, password="wrong"), "siemtap-rights")
    with pytest.raises(AuthError, match="refused the login: check `username`"):
        stranger.open()
    writer = Transactions(KafkaConnection(**settings, password="secret"), "siemtap-rights")
    with pytest.raises(ConfigError, match=r"no right to use its transactional.id; run kafka-") as e:
        writer.open()
    admin = f"--bootstrap-server {broker.address}"
    asked = f"--bootstrap-server {broker.secure_address}"
    broker.tool(str(e.value).partition("; run ")[2].replace(asked, admin))
    errors = writer.write([Message("rights", b"unit", b"1")])
    assert errors[0].name() == "TOPIC_AUTHORIZATION_FAILED"
    command = writer.advice.allow(("Write", "Describe"), "--topic rights")
    broker.tool(command.replace(asked, admin))
    assert writer.write([Message("rights", b"unit", b"1")]) == {}
    assert values(broker, "rights") == [b"1"]
    writer.close()
