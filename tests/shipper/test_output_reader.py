"""The reader of an output's queue: fair turns, doubt, and an output that is replaced."""

import dataclasses
import threading
from types import SimpleNamespace

import pytest
from shipper import two_outputs
from shipper.two_outputs import INPUT, clusters

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.model import Unit
from siemtap.edge.clock import SYSTEM
from siemtap.outputs.types import OUTPUTS
from siemtap.shipper.config.load import parse
from siemtap.shipper.delivery import queue_reader
from siemtap.shipper.processes.share import Share
from siemtap.shipper.scheduler import Scheduler

# fixtures
two = two_outputs.two


def event(number):
    return {
        "event": {"id": str(number), "dataset": "acme.event"},
        "@timestamp": "2026-03-04T10:00Z",
    }


def test_what_is_read_again_after_a_lost_checkpoint_is_not_doubled(two):
    shipper = two().start()
    shipper.run_turns(3)
    first = shipper.ids_of("archive")
    (saved,) = shipper.shipper.checkpoints.all()
    shipper.shipper.checkpoints.delete(saved.unit)
    shipper.start().run_turns(2)
    assert set(first) <= set(shipper.ids_of("archive"))
    assert set(shipper.ids_of("archive").values()) == {1} == set(shipper.ids_of("siem").values())


def test_what_waits_at_a_start_may_have_been_delivered(two, monkeypatch):
    """A restored database: its queue has batches that were delivered since."""
    monkeypatch.setattr("siemtap.edge.store.event_queue.READ_AT_ONCE", 1)
    shipper = two().start()
    shipper.dead = {"archive"}
    shipper.run_turns(6)
    copy = [row for row in shipper.shipper.database.read("SELECT * FROM queue_output")]
    batches = shipper.shipper.database.read("SELECT * FROM queue")
    assert len(batches) > 3
    shipper.dead = set()
    shipper.run_turns(2)

    def restore(db):
        db.executemany("INSERT INTO queue_output VALUES (?, ?)", copy)
        db.executemany("INSERT INTO queue VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", batches)

    shipper.shipper.database.write(restore)
    shipper.start().run_turns(2)
    assert not shipper.shipper.delivery.queue.outputs()
    assert set(shipper.ids_of("archive").values()) == {1}


def test_a_long_backlog_leaves_the_worker_to_others(two, monkeypatch):
    shipper = two().start()
    queue = shipper.shipper.delivery.queue
    reader = shipper.shipper.delivery.readers["archive"]
    deliveries = []
    reader.output.output.deliver = lambda unit, events, mark: deliveries.append(unit) or []
    for number in range(5):
        queue.put(Unit(f"it{number}", "acme.event"), [event(number)], ("archive",))
    monkeypatch.setattr(queue_reader, "LONGEST_TURN", -1.0)
    reader.run_due()
    assert not deliveries and reader.cycle.state == "ok" and reader.due() is not None
    monkeypatch.setattr(queue_reader, "LONGEST_TURN", 20.0)
    reader.run_due()
    assert len(deliveries) == 5 and reader.due() is None


def test_a_replacement_waits_for_no_delivery(two):
    shipper = two().start()
    reader = shipper.shipper.delivery.readers["archive"]
    new = shipper.shipper.delivery.outputs["siem"]
    with reader.turn:
        taking_over = threading.Thread(target=reader.take_over, args=[new])
        taking_over.start()
        taking_over.join(10)
        assert not taking_over.is_alive() and reader.output is not new
    reader.wait_for_turn()
    assert reader.output is new and reader.cycle.in_doubt


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_replaced_output_is_tried_at_once(two, is_busy):
    """The old one asked to wait. Others may queue, so an entry of the scheduler never goes away:
    there is one for each reader, however often its output is replaced."""
    shipper = two().start()
    delivery, scheduler = shipper.shipper.delivery, shipper.shipper.scheduler
    shipper.shipper.share = WithOthers()
    shipper.dead = {"archive"}
    shipper.run_turns(2)
    reader = delivery.readers["archive"]
    reader.wake()
    reader.cycle.due = shipper.clock.elapsed() + 600
    scheduler.reconsider(lambda id: id == reader.id)
    if is_busy:
        scheduler.heap.clear()
        scheduler.busy.append(reader)
    for _ in range(3):
        delivery._add(reader.output)
    if is_busy:
        assert scheduler.reconsidered and not scheduler.heap
    else:
        due = [due for due, _, running in scheduler.heap if running is reader]
        assert due == [shipper.clock.elapsed()]
    reader.wait_for_turn()
    assert reader.due() == shipper.clock.elapsed()


class WithOthers(Share):
    """The share of a worker beside others."""

    alone = False

    def others_queue(self):
        return True


def test_what_changes_as_a_turn_ends_is_reconsidered():
    """It was asked when it is due before the change, and is put back after it."""
    stopping = threading.Event()
    scheduler = Scheduler(SYSTEM, stopping, 1, once=False)
    ran = []

    class Changing:
        id, stopped, wait = "it", False, 600.0

        def run_due(self):
            ran.append(self)
            if len(ran) == 2:
                scheduler.stop()

        def due(self):
            wait, self.wait = self.wait, 0.0
            if wait:
                scheduler.reconsider(lambda id: id == "it")
            return SYSTEM.elapsed() + wait

    scheduler.add(Changing(), SYSTEM.elapsed())
    scheduler.start()
    try:
        assert stopping.wait(20)
    finally:
        scheduler.stop()
    assert scheduler.join(10) and len(ran) == 2


@pytest.mark.parametrize(
    "error,reason",
    [
        (ConfigError("api_key and username cannot both be set"), "api_key and username"),
        (OSError(24, "Too many open files"), "OSError while an output was opened"),
    ],
    ids=["settings", "machine"],
)
def test_a_reload_that_cannot_open_an_output_changes_none(two, monkeypatch, error, reason):
    shipper = two().start()
    delivery = shipper.shipper.delivery
    first, second = clusters()
    shipper.shipper.configure(shipper.config.inputs, [*shipper.config.outputs, first])
    before = delivery.outputs["cluster"]
    bad = dataclasses.replace(second, name="other")
    closed = []

    def refuse(settings, context):
        if settings is bad.settings:
            raise error
        output = OUTPUTS["opensearch"].load()(settings, context)
        monkeypatch.setattr(output, "close", lambda: closed.append(settings))
        return output

    changed = dataclasses.replace(
        first, settings=dataclasses.replace(first.settings, timeout=1_000)
    )
    replaced = SimpleNamespace(
        settings_type=OUTPUTS["elasticsearch"].settings_type,
        load=lambda: refuse,
        writes_events=True,
    )
    monkeypatch.setitem(OUTPUTS, "elasticsearch", replaced)
    with pytest.raises(type(error)):
        shipper.shipper.configure(shipper.config.inputs, [*shipper.config.outputs, changed, bad])
    assert delivery.outputs["cluster"] is before and "other" not in delivery.outputs
    assert closed == [changed.settings] and delivery.refused.startswith(reason)


def test_what_a_failed_delivery_delivered_is_remembered_over_a_reload(two):
    shipper = two().start()
    delivery = shipper.shipper.delivery
    hec = "outputs: {hec: {type: splunk_hec, hosts: ['http://127.0.0.1:9'], token: %s}}\n"
    old, new = (parse(hec % token + INPUT % "").output for token in ("a" * 36, "b" * 36))
    shipper.shipper.configure(shipper.config.inputs, [*shipper.config.outputs, old])
    delivery.outputs["hec"].output.delivered.add("one")
    delivery.outputs["hec"].unsaved.add("two")
    shipper.shipper.configure(shipper.config.inputs, [*shipper.config.outputs, new])
    output = delivery.outputs["hec"]
    assert output.config == new and output.output.delivered == {"one"} and output.unsaved == {"two"}


def test_an_idle_reader_has_its_whole_patience(two):
    shipper = two().start()
    reader = shipper.shipper.delivery.readers["archive"]
    reader.cycle.policy = reader.cycle.policy._replace(patience=60.0)
    shipper.now += 600_000
    shipper.shipper.delivery.queue.put(Unit("it", "acme.event"), [event(1)], ("archive",))
    reader.output.output.deliver = failing
    reader.wake()
    reader.run_due()
    assert reader.cycle.state == "retrying" and not reader.cycle.is_given_up


def failing(unit, events, mark):
    raise Retry("503")
