"""Workers of a fleet on a real broker: `ci/live kafka`."""

import contextlib
import itertools
import json
import signal
import sqlite3
import time

import pytest
from cluster import STREAM, stored
from kafka_broker import Broker, create, read, wait_for_open_transaction
from kafka_fleet import Vendors, Worker, World
from processes import wait_for

from siemtap.core.errors import ConfigError
from siemtap.core.manifest import fill_in
from siemtap.kafka.settings import KafkaConnection
from siemtap.kafka.transactions import Transactions
from siemtap.shipper.fleet import topics
from siemtap.shipper.fleet.settings import Cluster

pytestmark = pytest.mark.slow
numbers = itertools.count()


@pytest.fixture(scope="module")
def broker():
    with Broker(users={"worker": "secret"}) as broker:
        yield broker


@pytest.fixture(scope="module")
def vendors():
    vendors = Vendors(12, rate=30.0, late=[0, 3])
    yield vendors
    vendors.close()


@pytest.fixture
def world(broker, vendors):
    world = World(
        broker, vendors, partitions=4, lookback=600, window="30s", name=f"fleet{next(numbers)}"
    )
    world.set_up()
    yield world
    world.close()


def begun(world):
    """Wait until every input has read something."""
    return world.wait_until_read(int((time.time() - 590) * 1000))


def check(world, until):
    events, must, lost, twice, unknown = world.compare(until)
    assert must > 1_000
    assert (lost, twice, unknown) == (0, 0, 0), (events, must)


def test_a_killed_worker_hands_its_inputs_over(world):
    first, second = world.add("first"), world.add("second")
    begun(world)
    first.kill()
    until = world.wait_until_read(int(time.time() * 1000) - 3_000)
    assert second.end() == 0
    check(world, until)


def test_a_paused_worker_is_fenced_and_rejoins_by_itself(world):
    """A zombie: it is paused past the session timeout, perhaps with an answer in hand."""
    first, second = world.add("first"), world.add("second")
    begun(world)
    first.pause()
    world.wait_until_read(int(time.time() * 1000))  # the other one has everything by now
    first.resume()
    first.until("joins the group again", "got partitions .* of 4")
    until = world.wait_until_read(int(time.time() * 1000) + 10_000)
    assert first.end() == second.end() == 0
    check(world, until)


def test_a_worker_that_is_fenced_by_a_stranger_opens_its_partition_anew(world):
    worker = world.add("first")
    begun(world)
    for _ in range(3):
        stranger = Transactions(
            KafkaConnection(hosts=(world.broker.address,)), f"siemtap-{world.name}-0"
        )
        stranger.open()
        stranger.close()
        time.sleep(4)
    worker.until("partition 0 .*: another worker has taken over")
    until = world.wait_until_read(int(time.time() * 1000))
    assert worker.end() == 0
    check(world, until)


@pytest.mark.usefixtures("clean")
def test_the_whole_chain_equals_the_vendors_list(vendors, node, tmp_path):
    """From the vendors by a fleet and a broker to two SIEMs. The broker crashes in mid-transaction,
    the writers are killed, and the data stream is rolled over in between, so that equal ids alone
    prevent no duplicates."""
    outputs = {"sqlite": {}, "opensearch": {"hosts": [node.url]}}
    with Broker() as broker:
        world = World(broker, vendors, partitions=4, lookback=600, window="30s")
        topic = f"{world.name}.events.apptrana.attack"
        world.set_up()
        writers = [writer(tmp_path, broker, topic, *output) for output in outputs.items()]
        try:
            first, second = world.add("first"), world.add("second")
            begun(world)
            wait_for(lambda: node.ask("GET", f"/_data_stream/{STREAM}").ok, 120)
            for _ in range(2):
                time.sleep(2)
                wait_for_open_transaction(broker, topic)
                broker.kill()
                for each in writers:
                    each.kill()
                node.ask("POST", f"/{STREAM}/_rollover").raise_for_status()
                broker.start()
                for each in writers:
                    each.start()
            until = world.wait_until_read(int(time.time() * 1000))
            assert first.end() == second.end() == 0
            committed = world.ids()
            # A worker may still commit a transaction that was open when the broker was killed, so
            # that how many were aborted is left open.
            assert len(read(broker, topic, "read_uncommitted")) >= len(committed)
            wait_for(lambda: set(committed) <= set(stored(node)), 120)
            wait_for(lambda: set(committed) <= set(stored_ids(tmp_path / "sqlite")), 120)
            assert [each.end() for each in writers] == [0, 0]
        finally:
            for each in writers:
                each.kill()
            world.close()
        assert backing_indices(node) == 3
        for ids in (committed, stored(node), stored_ids(tmp_path / "sqlite")):
            _, must, lost, twice, unknown = world.compare_ids(until, ids)
            assert must > 1_000
            assert (lost, twice, unknown) == (0, 0, 0)


def writer(folder, broker, topic, output, settings):
    """Start what reads a topic into an output; set its templates up before."""
    source = {"type": "kafka", "hosts": [broker.address], "group_id": output, "topics": [topic]}
    made = Worker(folder, output, {"inputs": [source], "output": {output: settings}}, run=False)
    if output == "opensearch":
        done = made.siemtap("setup")
        assert done.returncode == 0, done.stderr
    made.start()
    return made


def stored_ids(folder):
    with contextlib.closing(sqlite3.connect(folder / "data/siemtap.db")) as db:
        return [id for (id,) in db.execute("SELECT id FROM event")]


def backing_indices(node):
    (stream,) = node.ask("GET", f"/_data_stream/{STREAM}").json()["data_streams"]
    return len(stream["indices"])


def test_status_and_units(world):
    first, second = world.add("first"), world.add("second")
    begun(world)
    second.until("got partitions")
    world.wait_until_read(int(time.time() * 1000))
    done = first.siemtap("fleet", "status", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert [len(worker["partitions"]) for worker in shown["workers"]] == [2, 2]
    assert sum(worker["inputs"] for worker in shown["workers"]) == 12
    attacks = [unit for unit in shown["units"] if "apptrana.attack" in unit["unit"]]
    assert len(attacks) == 12 and all(0 <= unit["age"] < 60 for unit in attacks)
    assert all("secret" not in str(message.value()) for message in read_units(world))
    text = first.siemtap("fleet", "status").stdout
    assert "2 workers" in text and "v0/apptrana.attack\t" in text

    for worker in (first, second):  # an input is removed
        config = json.loads(worker.file.read_text())
        config["inputs"] = config["inputs"][1:]
        worker.file.write_text(json.dumps(config))
        worker.signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while "v0" in {json.loads(value)["input"] for value in latest_units(world).values() if value}:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert "v0" in world.checkpoints()
    for worker in (first, second):
        assert worker.end() == 0
    time.sleep(7)
    done = first.siemtap("fleet", "status")
    assert done.returncode == 1 and "NOBODY" in done.stdout


def read_units(world):
    return read(world.broker, f"{world.name}.units")


def latest_units(world):
    return {message.key(): message.value() for message in read_units(world)}


def test_a_second_worker_with_the_same_instance_id_ends_the_first(world):
    world.config["cluster"]["kafka"]["instance_id"] = "twin"
    first = world.add("first")
    first.until("got partitions")
    second = world.add("second")
    second.until("got partitions")
    assert first.process.wait(timeout=60) == 1
    assert "another process has joined the group" in first.log_text()
    assert second.end() == 0


def settings(broker, name, **more):
    return fill_in(Cluster, {"hosts": [broker.address], "prefix": name, "group": name, **more})


def test_what_is_wrong_with_topics_is_refused_with_the_command(broker):
    """The command that an error names is run, until nothing is wrong."""
    create(broker, "wrong.units", partitions=2)
    seen = []
    while True:
        try:
            assert topics.check(settings(broker, "wrong", partitions=3)) == 3
            break
        except ConfigError as error:
            seen.append(error.message)
            assert len(seen) < 6, seen
        for command in seen[-1].partition("kafka-")[2].split("; kafka-"):
            broker.tool("kafka-" + command)
    assert [
        message
        for message, part in zip(seen, ["there is no topic", "need as many", "cleanup.policy"])
        if part not in message
    ] == []
    assert len(seen) == 3


def test_rights_that_are_missing_are_refused_with_the_command(broker):
    topics.set_up(settings(broker, "rights", partitions=2), dry_run=False)
    worker = settings(
        broker,
        "rights",
        hosts=[broker.secure_address],
        username="worker",
        password="secret",
    )
    seen = []
    while True:
        try:
            assert topics.check(worker) == 2
            break
        except ConfigError as error:
            seen.append(error.message)
            assert len(seen) < 9, seen
        command = "kafka-" + seen[-1].partition("kafka-")[2].partition("; ")[0]
        broker.tool(command.replace(broker.secure_address, broker.address))
    assert len(seen) >= 3
