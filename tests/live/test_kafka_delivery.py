"""The output `kafka` on a real broker: `ci/live kafka`."""

import json
import os
import threading
import time

import pytest
from kafka_broker import Broker, create, read
from outputs.output_stores import UNIT, event

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.edge.store.checkpoints import Database
from siemtap.outputs import OutputContext
from siemtap.outputs.kafka.output import FencedExit, Kafka
from siemtap.outputs.kafka.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def broker():
    with Broker(users={"shipper": "secret"}) as broker:
        yield broker


@pytest.fixture
def opened(tmp_path):
    """Return a function that opens an output with a data folder, to be closed after the test."""
    closing = []

    def open_output(broker, context=OutputContext(), **settings):
        given = {"hosts": [broker.address], **settings}
        closing.append(Kafka(fill_in(Settings, given), context))
        return closing[-1]

    yield open_output
    [output.close() for output in closing]


def numbers(broker, topic):
    """Return the numbers of the events in a topic, as a read_committed reader sees them."""
    return [int(json.loads(m.value())["event"]["id"], 16) for m in read(broker, topic)]


def test_a_topic_that_is_missing_holds_up_its_own_events_only(broker, opened):
    create(broker, "there.acme.event")
    output = opened(broker, topic="there.%{[event.dataset]}", timeout="20s")
    errors = []

    def deliver(dataset, number):
        made = event(number)
        made["event"]["dataset"] = dataset
        try:
            output.deliver(UNIT, [made], None)
        except ConfigError as error:
            errors.append(str(error))

    threads = [
        threading.Thread(target=deliver, args=(dataset, number))
        for number, dataset in enumerate(["acme.event", "acme.other", "acme.event"])
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(numbers(broker, "there.acme.event")) == [0, 2]
    (error,) = errors
    assert "there is no topic there.acme.other; run kafka-topics.sh" in error
    broker.tool(error.partition("; run ")[2].partition(",")[0])
    deliver("acme.other", 1)
    assert numbers(broker, "there.acme.other") == [1]


def test_events_beyond_the_limit_of_the_topic_are_rejected(broker, opened, caplog):
    create(broker, "limited", **{"max.message.bytes": "20000"})
    output = opened(broker, topic="limited", compression="none")
    sizes = {7: 40_000, 31: 25_000}
    events = [
        event(number, message=os.urandom(sizes.get(number, 800) // 2).hex()) for number in range(60)
    ]
    rejected = output.deliver(UNIT, events, None)
    assert [each for each, _ in rejected] == [events[7], events[31]]
    assert "bytes are more than the topic limited takes" in rejected[0][1]
    assert sorted(numbers(broker, "limited")) == [n for n in range(60) if n not in sizes]
    assert "lower `max_message_bytes`, or raise the topic's max.message.bytes" in caplog.text
    assert output.deliver(UNIT, [event(100)], None) == []


def test_a_missing_topic_or_right_refuses_the_start_with_the_command(broker, opened):
    context = OutputContext(delivers=("acme.start",))
    for place in ({}, {"hosts": [broker.secure_address], "username": "shipper"}):
        settings = {**place, **({"password": "secret"} if place else {})}
        with pytest.raises(ConfigError, match="output.kafka: .*; run kafka-") as refused:
            opened(broker, context, **settings)
        command = refused.value.message.partition("; run ")[2].partition(",")[0]
        broker.tool(command.replace(broker.secure_address, broker.address))
        opened(broker, context, **settings)


def test_a_copy_of_the_data_folder_stops_the_first_process(broker, opened, tmp_path, caplog):
    create(broker, "copied")
    database = Database(tmp_path / "siemtap.db")
    first = opened(broker, OutputContext(database), topic="copied")
    first.deliver(UNIT, [event(1)], None)
    copy = opened(broker, OutputContext(database), topic="copied")
    copy.deliver(UNIT, [event(2)], None)
    with pytest.raises(FencedExit):
        first.deliver(UNIT, [event(3)], None)
    assert "does a copy of this path.data run elsewhere?" in caplog.text
    assert numbers(broker, "copied") == [1, 2]
    database.close()


def test_a_broker_that_restarts_in_mid_delivery_loses_and_doubles_nothing(opened):
    """Deliveries that fail are repeated, as a unit does it, while the broker crashes again and
    again."""
    with Broker() as broker:
        create(broker, "crashes")
        output = opened(broker, topic="crashes", timeout="20s")
        done, failed = [], []

        def deliver_all():
            for number in range(0, 4_000, 20):
                while True:
                    try:
                        output.deliver(UNIT, [event(number + i) for i in range(20)], None)
                        break
                    except Retry as error:
                        failed.append(str(error))
                done.append(number)

        worker = threading.Thread(target=deliver_all)
        worker.start()
        for _ in range(3):
            reached, end = len(done), time.monotonic() + 60
            while len(done) < reached + 10 and worker.is_alive():
                assert time.monotonic() < end, failed
                time.sleep(0.01)
            broker.kill()
            broker.start()
        worker.join(120)
        assert not worker.is_alive()
        assert sorted(numbers(broker, "crashes")) == list(range(4_000))
