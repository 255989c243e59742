"""Workers of a fleet without a broker: the configuration, leases, checkpoints as messages. What
needs transactions and a group is in tests/live/test_fleet.py."""

import threading
from dataclasses import replace

import pytest
from processes import wait_for

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.model import Mark, Unit
from siemtap.kafka.transactions import Transactions
from siemtap.shipper.config.load import parse
from siemtap.shipper.fleet import checkpoints, topics
from siemtap.shipper.fleet.fleet import PARALLEL, Fleet, input_of
from siemtap.shipper.fleet.partition import Partition, key_of
from siemtap.shipper.fleet.settings import Cluster
from siemtap.shipper.process import Shipper
from siemtap.shipper.scheduler import Scheduler

CLUSTER = "cluster.kafka: {hosts: ['kafka.example.com:9092'], username: u, password: p}\n"
INPUTS = "inputs: [{type: apptrana, client_id: a, client_secret: b}]\n"
UNIT = Unit("a", "acme.event", "x/y")


def test_a_worker_writes_to_kafka_on_the_brokers_of_the_fleet():
    config = parse(CLUSTER + INPUTS)
    assert config.cluster.enabled
    (output,) = config.outputs
    assert output.type == "kafka"
    assert output.settings.hosts == ("kafka.example.com:9092",)
    assert (output.settings.username, output.settings.password) == ("u", "p")
    config = parse(CLUSTER + INPUTS + "output.kafka: {topic: mine, timeout: 10s}\n")
    assert (config.output.settings.topic, config.output.settings.timeout) == ("mine", 10_000)
    assert config.output.settings.hosts == ("kafka.example.com:9092",)


def test_without_hosts_there_is_no_fleet():
    config = parse(INPUTS)
    assert not config.cluster.enabled and config.output.type == "sqlite"


@pytest.mark.parametrize(
    "more, message",
    [
        ("output.file: {path: out}", r"output.file: the workers of a fleet deliver to Kafka alone"),
        ("output.sqlite: {}", r"move this output to the configuration of a writer"),
        ("outputs: {a: {type: kafka}, b: {type: kafka}}", "deliver to Kafka alone"),
        ("output.kafka: {hosts: ['other.example.com:9092']}", "cluster.kafka.hosts is that of"),
        ("processes: 2", "processes does not go with cluster.kafka: run a worker for each core"),
    ],
)
def test_what_does_not_go_with_a_fleet_is_refused(more, message):
    with pytest.raises(ConfigError, match=message):
        parse(f"{CLUSTER}{INPUTS}{more}\n")


def test_an_input_of_kafka_belongs_to_a_writer():
    with pytest.raises(ConfigError, match=r"inputs\[0\].type belongs in the configuration of a"):
        parse(CLUSTER + "inputs: [{type: kafka, group_id: g}]\n")


def test_a_checkpoint_is_a_message_and_back():
    mark = Mark({"until": 5}, {"0" * 32: 4, "1" * 32: 4})
    assert checkpoints.from_message(checkpoints.to_message(UNIT, mark)) == (UNIT, mark)
    with pytest.raises(ConfigError, match="the checkpoint's `message`"):
        checkpoints.from_message(b'{"input": "a"}')


def test_a_worker_does_not_go_on_from_a_checkpoint_of_a_newer_version():
    newer = checkpoints.to_message(UNIT, Mark({"until": 5}))[:-1] + b',"version":2}'
    with pytest.raises(ConfigError, match="by a newer version of siemtap"):
        checkpoints.from_message(newer)


def new_fleet(changed=lambda of: None):
    """Return the share of a worker whose brokers are away."""
    settings = Cluster(hosts=("127.0.0.1:1",))
    limits = parse(CLUSTER + INPUTS).output.settings
    from siemtap.outputs.kafka.output import limits_of

    fleet = Fleet(settings, "1234", limits_of(limits), stop=lambda error: None, changed=changed)
    fleet.count = 8
    return fleet


@pytest.fixture(scope="module")
def fleet():
    fleet = new_fleet()
    yield fleet
    fleet.close()


@pytest.mark.slow
def test_all_units_of_an_input_are_in_one_partition(fleet):
    numbers = [fleet.number_of(f"input-{number}") for number in range(800)]
    assert numbers == [fleet.number_of(f"input-{number}") for number in range(800)]
    counts = [numbers.count(number) for number in range(8)]
    assert sum(counts) == 800 and min(counts) > 60


@pytest.mark.slow
@pytest.mark.slow
def test_a_lease_ends_with_its_partition_and_a_new_one_is_another(fleet):
    number = fleet.number_of("a")
    assert fleet.lease("a") is None
    first = Partition(fleet.settings, fleet.limits, number, fleet._failed)
    fleet.partitions[number] = fleet.open[number] = first
    assert fleet.lease("a") is first and first.marks is first
    fleet.revoked([number])
    assert fleet.lease("a") is None and first.ended
    with pytest.raises(Retry, match=f"partition {number} of siemtap.units was handed over"):
        first.load(UNIT)
    with pytest.raises(Retry, match="was handed over"):
        first.save(UNIT, Mark({"until": 1}))


@pytest.mark.slow
def test_brokers_that_are_away_are_the_reason_of_the_health(fleet):
    assert "cluster.kafka: " in fleet.problem() and "127.0.0.1:1" in fleet.problem()


@pytest.mark.slow
def test_the_producer_of_a_partition_is_never_opened_twice(fleet):
    partition = Partition(fleet.settings, fleet.limits, 0, fleet._failed)
    partition.transactions.opened = True  # and closed again, by a failure
    with pytest.raises(Retry, match="the producer of the partition is closed"):
        partition.transactions.open()


@pytest.fixture
def partition(fleet, monkeypatch):
    """Return a partition whose producer opens, and that knows no checkpoint."""
    monkeypatch.setattr(Transactions, "open", lambda self: setattr(self, "producer", object()))
    monkeypatch.setattr(Transactions, "_discard", lambda self, producer: None)
    monkeypatch.setattr(checkpoints, "latest", lambda *parts: {})
    partition = Partition(fleet.settings, fleet.limits, 0, fleet._failed)
    yield partition
    partition.close()


@pytest.mark.slow
def test_a_partition_whose_checkpoints_were_not_read_opens_at_the_next_attempt(
    partition, monkeypatch
):
    def fail(*parts):
        raise Retry("no answer in time")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "latest", fail)
        with pytest.raises(Retry, match="no answer in time"):
            partition.open()
    partition.open()
    assert partition.load(UNIT) == Mark()


@pytest.fixture
def eager_fleet(monkeypatch):
    """Return a worker that knows its topics and tries again at once."""
    monkeypatch.setattr(topics, "check", lambda settings: 16)
    monkeypatch.setattr("siemtap.shipper.fleet.fleet.RETRY_EVERY", 0.01)
    fleet = new_fleet()
    yield fleet
    fleet.close()


@pytest.mark.slow
def test_partitions_that_do_not_open_hold_up_no_other(eager_fleet, monkeypatch):
    def open_last(partition):
        if partition.number < PARALLEL:
            raise Retry("no answer in time")

    monkeypatch.setattr(Partition, "open", open_last)
    eager_fleet.assigned(list(range(PARALLEL + 1)))
    wait_for(lambda: PARALLEL in eager_fleet.open)
    assert eager_fleet.problem() == "no answer in time"


@pytest.mark.slow
def test_a_worker_that_was_replaced_opens_nothing_more(eager_fleet, monkeypatch):
    attempts = []

    def fail(partition):
        attempts.append(partition.number)
        raise Retry("no answer in time")

    monkeypatch.setattr(Partition, "open", fail)
    eager_fleet.assigned([0])
    wait_for(lambda: len(attempts) > 1)
    eager_fleet.replaced()
    # as the interpreter does at its end, which waits for these threads
    waiting = threading.Thread(target=eager_fleet.openers.shutdown, daemon=True)
    waiting.start()
    waiting.join(10)
    assert not waiting.is_alive()


@pytest.mark.slow
def test_an_error_that_ends_the_process_ends_its_fleet(monkeypatch, tmp_path):
    monkeypatch.setattr(topics, "check", lambda settings: 8)
    config = parse(f"path.data: {tmp_path}\n{INPUTS}cluster.kafka: {{hosts: ['127.0.0.1:1']}}\n")
    shipper = Shipper(replace(config, inputs=()))
    shipper.scheduler.abort(MemoryError())
    with pytest.raises(MemoryError):
        shipper.run()
    assert shipper.fleet.closing.is_set()
    shipper.close()


@pytest.mark.parametrize("remove", ["know", "configured"])
@pytest.mark.slow
def test_inputs_of_one_partition_publish_at_the_same_time(fleet, partition, monkeypatch, remove):
    """Another one does it whenever units are looked at or committed."""
    keys = [key_of(unit) for unit in (UNIT, UNIT._replace(scope="z"))]
    partition.units = {key: b'{"input": "a"}' for key in keys}
    monkeypatch.setitem(fleet.open, fleet.number_of("a"), partition)

    def look(value):
        partition.units[b"%d" % len(partition.units)] = b'{"input": "b"}'
        return input_of(value)

    def commit(messages, required=0):
        partition.units.pop(keys[0], None)

    monkeypatch.setattr("siemtap.shipper.fleet.fleet.input_of", look)
    monkeypatch.setattr(partition, "_commit", commit)
    if remove == "know":
        fleet.know("a", "apptrana", [])
    else:
        monkeypatch.setattr(fleet, "ids", {"b"})
        fleet._remove_units(partition)
    assert not partition.units.keys() & set(keys) and len(partition.units) == 2


def test_the_scheduler_asks_again_when_something_is_due():
    class Clock:
        def elapsed(self):
            return 0.0

    class Running:
        stopped = False

        def __init__(self, id, due):
            self.id, self.next = id, due

        def due(self):
            return self.next

    scheduler = Scheduler(Clock(), threading.Event(), 1, once=False)
    first, second, third = Running("a", 100.0), Running("b", 50.0), Running("c", 70.0)
    for running in (first, second, third):
        scheduler.add(running, running.next)
    first.next, second.next, third.next = 1.0, 2.0, None
    scheduler.reconsider(lambda id: id in ("a", "c"))
    assert sorted((due, running.id) for due, _, running in scheduler.heap) == [
        (1.0, "a"),
        (50.0, "b"),
    ]
