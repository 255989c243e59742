"""The input `kafka` on a real broker: `ci/live kafka`."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from click.testing import CliRunner
from kafka_broker import Broker, create
from kafka_mock import committed
from shipper.kafka_events import TOPIC, config, event, stored

from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.edge.store.checkpoints import Database
from siemtap.outputs.kafka.output import Kafka
from siemtap.outputs.kafka.settings import Settings
from siemtap.shipper.cli.main import main
from siemtap.shipper.process import Shipper

pytestmark = pytest.mark.slow
UNIT = Unit("apptrana", "apptrana.attack", "shop.example.com")
SQLITE = '"output": {"sqlite": {"retention": "0s"}}'


@pytest.fixture(scope="module")
def broker():
    with Broker(users={"writer": "secret"}) as broker:
        yield broker


def deliver(broker, topic, numbers, compression="zstd"):
    settings = {"hosts": [broker.address], "topic": topic, "compression": compression}
    output = Kafka(fill_in(Settings, settings))
    output.deliver(UNIT, [event(number) for number in numbers], None)
    output.close()


def numbers_in(folder):
    with closing(Database(folder / "data/siemtap.db")) as database:
        return stored(database)


def test_an_independent_client_reads_what_the_output_wrote(broker):
    """aiokafka reads zstd with a library of its own, so it gets gzip; Kafka's own tool gets zstd."""
    create(broker, "independent", "compressed")
    deliver(broker, "independent", range(20), "gzip")
    deliver(broker, "compressed", range(20))

    async def read_all():
        consumer = AIOKafkaConsumer(
            "independent",
            bootstrap_servers=broker.address,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        await consumer.start()
        try:
            messages = []
            while len(messages) < 20:
                messages.append(await asyncio.wait_for(consumer.getone(), 30))
            return messages
        finally:
            await consumer.stop()

    messages = asyncio.run(read_all())
    assert [json.loads(message.value) for message in messages] == [event(n) for n in range(20)]
    assert {message.key for message in messages} == {str(UNIT).encode()}
    assert dict(messages[3].headers) == {
        "dataset": b"apptrana.attack",
        "schema.version": b"9.4.0",
        "event.id": f"{3:032x}".encode(),
    }
    printed = broker.tool(
        "kafka-console-consumer.sh --topic compressed --from-beginning --max-messages 20"
        " --command-property isolation.level=read_committed --timeout-ms 30000"
    )
    assert [json.loads(line) for line in printed.splitlines()] == [event(n) for n in range(20)]


def test_the_documented_transforms_put_the_id_into_the_key(broker, tmp_path):
    """Kafka Connect's own transforms, with the settings of docs/kafka.md."""
    page = (Path(__file__).parents[2] / "docs/kafka.md").read_text()
    recipe = page.partition("```properties\n")[2].partition("```")[0]
    assert "ElasticsearchSinkConnector" in recipe
    (tmp_path / "value.json").write_text(json.dumps(event(5)))
    printed = broker.run_java(
        "Transforms.java", str(UNIT), tmp_path / "value.json", *recipe.splitlines()
    )
    key, _, value = printed.partition("\n")
    assert key == event(5)["event"]["id"] and json.loads(value) == event(5)


def test_aborted_events_are_not_read(broker, tmp_path):
    create(broker, "aborted", partitions=1)
    output = Kafka(fill_in(Settings, {"hosts": [broker.address], "topic": "aborted"}))
    output.deliver(UNIT, [event(1)], None)
    producer = output.writer.transactions.producer
    producer.begin_transaction()
    producer.produce("aborted", json.dumps(event(2)))
    producer.flush(30)
    producer.abort_transaction(30)
    output.deliver(UNIT, [event(3)], None)
    output.close()
    settings = {"topics": ["aborted"], "group_id": "aborted"}
    shipper = Shipper(config(tmp_path, [broker.address], SQLITE, **settings), once=True)
    assert shipper.run()
    assert numbers_in(tmp_path) == [1, 3]


def test_the_next_member_goes_on_where_the_first_stopped(broker, tmp_path):
    create(broker, "onward")
    for part in range(3):
        deliver(broker, "onward", range(part * 10, part * 10 + 10))
        folder = tmp_path / str(part)  # another machine
        settings = {"topics": ["^onwa.*"], "group_id": "onward"}
        shipper = Shipper(config(folder, [broker.address], SQLITE, **settings), once=True)
        assert shipper.run()
        assert sorted(numbers_in(folder)) == list(range(part * 10, part * 10 + 10))


WRITER = """
import sys
from pathlib import Path
from kafka_mock import committed
from shipper.kafka_events import config
from siemtap.shipper.process import Shipper
folder, address, topic, output = sys.argv[1:]
Shipper(config(Path(folder), [address], output, topics=[topic], group_id=topic)).run()
"""


def start_writer(*words):
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "plugins")]
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_a_killed_writer_leaves_every_event_once(broker, tmp_path, kind):
    """The writer is killed at random, also between the output's answer and the offsets' commit."""
    topic, total, rng = f"killed-{kind}", 6_000, random.Random(7)
    create(broker, topic)
    outputs = {"sqlite": {"retention": "0s"}, "file": {"path": str(tmp_path / "out")}}
    output = f'"output": {json.dumps({kind: outputs[kind]})}'

    def write():
        for start in range(0, total, 200):
            deliver(broker, topic, range(start, start + 200))

    producer = threading.Thread(target=write)
    producer.start()
    reached = []
    for kill in range(5):
        writer = start_writer(str(tmp_path), broker.address, topic, output)
        # soon after it has committed something, and at last everything
        start = committed([broker.address], topic, topic)
        end = time.monotonic() + 120
        while committed([broker.address], topic, topic) < (start + 1 if kill < 4 else total):
            assert time.monotonic() < end and writer.poll() is None, reached
        time.sleep(rng.uniform(0, 0.2))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        reached.append(committed([broker.address], topic, topic))
        if reached[-1] == total:
            break
    producer.join()
    if kind == "sqlite":
        actual = numbers_in(tmp_path)
    else:
        actual = [
            int(json.loads(line)["event"]["id"], 16)
            for path in (tmp_path / "out").glob("*.ndjson")
            for line in path.read_bytes().splitlines()
        ]
    assert sorted(actual) == list(range(total)), reached
    assert len(reached) > 1, "it was never killed before the end"


def test_a_commit_that_fails_after_the_delivery_doubles_nothing(broker, tmp_path, monkeypatch):
    create(broker, "between")
    deliver(broker, "between", range(30))
    from siemtap.core.errors import Retry
    from siemtap.kafka.consumer import Consumer

    commit, failures = Consumer.commit, []

    def fail_at_first(self, offsets):
        if len(failures) < 2:
            failures.append(offsets)
            raise Retry("the coordinator is away")
        commit(self, offsets)

    monkeypatch.setattr(Consumer, "commit", fail_at_first)
    settings = {"topics": ["between"], "group_id": "between"}
    shipper = Shipper(config(tmp_path, [broker.address], SQLITE, **settings), once=True)
    assert shipper.run() and len(failures) == 2
    assert sorted(numbers_in(tmp_path)) == list(range(30))


def invoke(folder, settings, *words):
    path = folder / "siemtap.yml"
    path.write_text(json.dumps({"path": {"data": str(folder / "data")}, **settings}))
    path.chmod(0o600)
    done = CliRunner().invoke(main, [*words, "-c", str(path)])
    assert "secret" not in done.output
    return done.exit_code, done.output


def test_the_commands_name_what_is_missing_and_setup_creates_topics(broker, tmp_path):
    apptrana = {"type": "apptrana", "client_id": "a", "client_secret": "b"}
    settings = {
        "inputs": [apptrana],
        "output": {"kafka": {"hosts": [broker.address], "topic": "set.%{[event.dataset]}"}},
    }
    code, printed = invoke(tmp_path, settings, "test", "output")
    assert code == 1 and "FAIL  output.kafka: there is no topic set.apptrana.attack" in printed
    assert invoke(tmp_path, settings, "setup", "--dry-run")[1].splitlines() == [
        "would be created: topic set.apptrana.activity",
        "would be created: topic set.apptrana.attack",
        "2 to change",
    ]
    code, printed = invoke(tmp_path, settings, "setup")
    assert code == 0 and "created: topic set.apptrana.attack" in printed
    assert invoke(tmp_path, settings, "setup")[1] == "0 changed\n"
    code, printed = invoke(tmp_path, settings, "test", "output")
    assert code == 0, printed
    assert "ok    the topic set.apptrana.attack exists, and may be written to" in printed
    source = {"type": "kafka", "hosts": [broker.address], "topics": ["^set.*"], "group_id": "g"}
    code, printed = invoke(tmp_path, {"inputs": [source]}, "test", "inputs")
    assert code == 0 and "kafka: " in printed and "set.apptrana.attack" in printed


def test_a_group_without_rights_says_the_command(broker, tmp_path):
    create(broker, TOPIC)
    settings = {"username": "writer", "password": "secret", "group_id": "allowed"}
    made = config(tmp_path, [broker.secure_address], SQLITE, **settings)
    for _ in range(3):
        shipper = Shipper(made, once=True, patience=1)
        if shipper.run():
            return
        errors = [state.error for state in shipper.inputs["kafka"].states() if state.error]
        command = errors[0].partition("; run ")[2]
        assert command.startswith("kafka-acls.sh --bootstrap-server"), errors
        command = command.replace(broker.secure_address, broker.address)
        broker.tool(command.replace("<topic>", TOPIC))
    raise AssertionError("the commands do not suffice")
