"""Several outputs: each gets every event of its inputs once, and a dead one holds up its own events
only."""

import collections
import dataclasses

import pytest
from shipper import two_outputs
from shipper.two_outputs import FILES, INPUT, clusters
from stepped_shipper import SteppedShipper

from siemtap.core.errors import ConfigError, Retry
from siemtap.core.model import Unit
from siemtap.core.windows import HOUR, MINUTE
from siemtap.edge.store.event_queue import queued_batches
from siemtap.outputs.types import OUTPUTS
from siemtap.shipper.config.load import parse
from siemtap.shipper.config.reload import can_be_reloaded
from siemtap.shipper.delivery.queue_reader import MAX_EVENTS

# fixtures
two = two_outputs.two


# the configuration


def names_of(text):
    config = parse(text)
    return [output.name for output in config.outputs], config.inputs[0].outputs


def test_an_input_names_its_outputs():
    several = FILES % ("x", "x")
    assert names_of(several + INPUT % ", output: siem") == (["siem", "archive"], ("siem",))
    both = names_of(several + INPUT % ', output: [siem, "archive"]')
    assert (
        both[1] == ("siem", "archive") == names_of(several + INPUT % ", output: 'siem,archive'")[1]
    )


def test_an_input_that_names_none_uses_the_only_output_or_the_default():
    assert names_of(INPUT % "") == (["default"], ("default",))
    assert names_of("outputs: {a: {type: stdout}}\n" + INPUT % "") == (["a"], ("a",))
    with_default = "output.stdout:\n" + FILES % ("x", "x") + INPUT % ""
    assert names_of(with_default) == (["default", "siem", "archive"], ("default",))


MISTAKES = {
    FILES % ("x", "x") + INPUT % "": r"inputs\[0\].output is missing: several outputs are",
    FILES % ("x", "x") + INPUT % ", output: simm": r'names "simm"; did you mean "siem"\?',
    "outputs: {a: {path: x}}\n" + INPUT % "": "type is missing",
    "outputs: {a: {type: fiel}}\n" + INPUT % "": '"fiel"; did you mean "file"',
    "outputs: {a: {type: file, path: x, hosts: 1}}\n" + INPUT % "": "hosts is not known",
    "output.stdout:\noutputs: {default: {type: stdout}}\n" + INPUT % "": "name of the section",
    "outputs: {a: {type: sqlite}, b: {type: sqlite}}\n"
    + INPUT % ", output: a": "outputs.a writes to path.data already",
    FILES.replace("archive}", "siem}") % ("x", "x") + INPUT % ", output: siem": "writes to x/siem",
    "output: {stdout: {}, file: {path: x}}\n" + INPUT % "": "Name several in `outputs`",
    "outputs: {'a b': {type: stdout}}\n" + INPUT % "": "a b",
    "health.enabled: true\n" + FILES % ("x", "x") + INPUT % ", output: siem": "health.output is",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_sentences(text):
    with pytest.raises(ConfigError, match=MISTAKES[text]):
        parse(text)


def test_parts_by_output():
    more = "  - {type: centurylink_ips, output: archive}\n"
    config = parse(
        "health: {enabled: true, output: siem}\n"
        + FILES % ("x", "x")
        + INPUT % ", output: [siem, archive]"
        + more
    )
    siem, archive = config.by_output()
    assert [each.id for each in siem.inputs] == ["apptrana"] and siem.health.enabled
    assert [each.id for each in archive.inputs] == ["apptrana", "centurylink_ips"]
    assert not archive.health.enabled and archive.output.settings.path == "x/archive"


# one dead, one alive


@pytest.mark.slow
def test_an_output_that_is_down_for_an_hour_holds_up_its_own_events_only(two):
    shipper = two(rate=15.0).start()
    began = shipper.now
    shipper.dead = {"archive"}
    for _ in range(12):
        shipper.run_turns(5)
        # the other lags nothing: it has what was due
        due = shipper.simulated.ledger(shipper.now, began, shipper.now - 5 * MINUTE)
        assert due <= set(shipper.ids_of("siem"))
    assert not shipper.ids_of("archive")
    healthy, reason = shipper.shipper.health()
    assert not healthy and "wait for the output archive: Retry: archive is down" in reason
    siem, archive = shipper.shipper.stats()["outputs"]
    assert archive["waiting_events"] == sum(shipper.ids_of("siem").values()) > 2_000
    assert archive["oldest_s"] > 3_500 and archive["waiting_bytes"] > 100_000
    assert siem["waiting_events"] == 0 and siem["delivered"] == archive["waiting_events"]

    shipper.dead = set()
    shipper.run_turns(3)
    assert shipper.ids_of("archive") == shipper.ids_of("siem")
    assert set(shipper.ids_of("archive").values()) == {1}
    assert shipper.expected(began) <= set(shipper.ids_of("archive"))
    assert shipper.shipper.health() == (True, "ok")
    assert not shipper.shipper.database.read("SELECT * FROM queue")


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_over_restarts(two):
    """Also when the process dies between a delivery and the deletion from the queue."""
    shipper = two().start()
    began = shipper.now
    for turn in range(12):
        shipper.dead = [set(), {"archive"}, {"siem"}, {"siem", "archive"}][turn % 4]
        shipper.run_turns(2)
        if turn % 3 == 0:
            queue = shipper.shipper.delivery.queue
            queue.remove = lambda output, batches: (_ for _ in ()).throw(Retry("the disk is full"))
            shipper.dead = set()
            shipper.run_turns(1)
        shipper.start()
    shipper.dead = set()
    shipper.run_turns(3)
    assert shipper.expected(began) <= set(shipper.ids_of("siem"))
    assert shipper.ids_of("siem") == shipper.ids_of("archive")
    assert set(shipper.ids_of("archive").values()) == {1}


@pytest.mark.slow
def test_a_full_queue_holds_up_its_inputs_and_loses_nothing(two):
    shipper = two(rate=15.0).start()
    began = shipper.now
    shipper.dead = {"archive"}
    shipper.shipper.delivery.queue.max_bytes = 1024**2 // 8
    shipper.run_turns(20)
    waiting = shipper.shipper.delivery.queue.waiting("archive")
    assert 1024**2 // 8 <= waiting.bytes < 1024**2
    (state,) = [state for state in shipper.states() if state.error]
    assert "the queue of the output archive is full: 0 MiB of events" in state.error
    shipper.dead = set()
    shipper.run_turns(30)
    assert shipper.expected(began) <= set(shipper.ids_of("archive"))
    assert shipper.ids_of("archive") == shipper.ids_of("siem")
    assert set(shipper.ids_of("archive").values()) == {1}


def test_one_output_uses_no_queue(two):
    shipper = two(output=["siem"]).start()
    shipper.run_turns(3)
    assert shipper.ids_of("siem") and not shipper.ids_of("archive")
    sequence = shipper.shipper.database.read("SELECT * FROM sqlite_sequence WHERE name = 'queue'")
    assert not sequence


def test_an_event_that_one_output_refuses_reaches_the_other(two):
    shipper = two().start()
    archive = shipper.shipper.delivery.outputs["archive"].output
    deliver = archive.deliver

    def refuse_one(unit, events, mark):
        deliver(unit, events[1:], mark)
        return [(event, "too odd") for event in events[:1]]

    archive.deliver = refuse_one
    shipper.run_turns(1)
    rows = shipper.shipper.rejected_events.all()
    assert rows and {(row.output, row.reason) for row in rows} == {("archive", "too odd")}
    missing = set(shipper.ids_of("siem")) - set(shipper.ids_of("archive"))
    assert missing == {row.id for row in rows}
    assert shipper.shipper.counts.totals["rejected"] == len(rows)


def test_an_event_that_two_outputs_refuse_is_stored_for_each(two):
    shipper = two().start()
    for output in shipper.shipper.delivery.outputs.values():
        output.output.deliver = lambda unit, events, mark: [(event, "no") for event in events]
    shipper.run_turns(1)
    rows = shipper.shipper.rejected_events.all()
    by_output = collections.Counter(row.output for row in rows)
    assert by_output["siem"] == by_output["archive"] > 0
    shipper.shipper.rejected_events.delete_row(rows[0])
    assert shipper.shipper.rejected_events.count() == len(rows) - 1


def test_events_that_wait_for_a_removed_output_are_named(two, caplog):
    shipper = two().start()
    shipper.dead = {"archive"}
    shipper.run_turns(2)
    shipper.stop()
    text = f"path.data: {shipper.folder}/data\nhttp.enabled: false\n" + INPUT % ""
    shipper.config = parse(text)
    SteppedShipper.start(shipper)
    assert "events wait for the output archive, which is not configured any more" in caplog.text


@pytest.mark.parametrize(
    "configured, index", [(None, "own-2026.03"), ("", "logs-apptrana."), ("new", "new")]
)
def test_events_that_wait_keep_the_index_of_an_input_that_is_removed(two, configured, index):
    """One that is still configured has the index that it has now."""
    cluster = "  cluster: {type: elasticsearch, hosts: ['http://127.0.0.1:9']}\n"
    shipper = two(more=cluster, output=["siem", "cluster"], index="own-%{+yyyy.MM}").start()
    shipper.dead = {"cluster"}
    shipper.run_turns(2)
    (entry,) = shipper.config.inputs
    changed = dataclasses.replace(entry.common, index=configured or "")
    inputs = () if configured is None else (dataclasses.replace(entry, common=changed),)
    shipper.config = dataclasses.replace(shipper.config, inputs=inputs)
    shipper.start()
    output, indices = shipper.shipper.delivery.outputs["cluster"].output, set()
    output.holds = lambda unit, events: set()
    output.deliver = lambda unit, events, mark: (
        indices.update(output.target_index(unit.input, event) for event in events) or []
    )
    shipper.run_turns(2)
    assert indices and all(name.startswith(index) for name in indices)


@pytest.mark.slow
def test_an_output_is_asked_for_what_may_be_doubled_only(two):
    shipper = two(rate=15.0).start()
    shipper.run_turns(2)  # the first cycle after a start may repeat what was delivered
    shipper.dead = {"archive"}
    shipper.run_turns(10)
    asked = []
    archive = shipper.shipper.delivery.outputs["archive"].output
    holds = archive.holds
    archive.holds = lambda unit, events: asked.append(len(events)) or holds(unit, events)
    shipper.shipper.delivery.queue.first = lambda output: [
        batch for batch in queued(shipper, output)[:1]
    ]
    shipper.dead = set()
    shipper.run_turns(5)
    assert len(asked) == 1 and set(shipper.ids_of("archive").values()) == {1}


def queued(shipper, output):
    return next(queued_batches(shipper.shipper.database.read, output), [])


# a reload


def test_a_reload_opens_new_outputs_and_replaces_clusters(two):
    shipper = two().start()
    shipper.run_turns(1)
    delivery = shipper.shipper.delivery
    (entry,) = shipper.config.inputs
    siem, archive = shipper.config.outputs
    more = dataclasses.replace(siem, name="more", settings=OUTPUTS["stdout"].settings_type())
    more = dataclasses.replace(more, type="stdout")
    routed = dataclasses.replace(entry, outputs=("siem", "archive", "more"))
    shipper.shipper.configure([routed], [siem, archive, more])
    taken = []
    delivery.outputs["more"].output.deliver = lambda unit, events, mark: taken.extend(events) or []
    shipper.run_turns(3)
    assert taken and len(taken) < sum(shipper.ids_of("siem").values())
    assert can_be_reloaded(*clusters()) and not can_be_reloaded(siem, more)
    first, second = clusters()
    shipper.shipper.configure([routed], [siem, archive, more, first])
    before = delivery.outputs["cluster"]
    shipper.shipper.configure([routed], [siem, archive, more, second])
    after = delivery.outputs["cluster"]
    assert after is not before and delivery.readers["cluster"].output is after
    assert after.config.settings.hosts == ("http://127.0.0.2:9200",)
    assert delivery.readers["cluster"].cycle.in_doubt


def test_an_input_restarts_when_its_cluster_is_replaced(two):
    shipper = two(output=["siem"]).start()
    shipper.run_turns(1)
    (entry,) = shipper.config.inputs
    first, second = clusters()
    direct = dataclasses.replace(entry, outputs=("cluster",))
    shipper.shipper.configure([direct], [first])
    running = shipper.shipper.inputs["apptrana"]
    assert running.route is shipper.shipper.delivery.outputs["cluster"]
    shipper.shipper.configure([direct], [second])
    again = shipper.shipper.inputs["apptrana"]
    assert running.stopped and again.route is shipper.shipper.delivery.outputs["cluster"]
    assert again.route is not running.route and again.route.unsaved is running.route.unsaved


def test_an_input_of_an_output_that_is_not_open_is_refused(two):
    shipper = two().start()
    (entry,) = shipper.config.inputs
    with pytest.raises(ConfigError, match="the output other is not open"):
        shipper.shipper.configure([dataclasses.replace(entry, outputs=("other",))])
    assert not shipper.shipper.inputs["apptrana"].stopped


UNIT = Unit("waf", "acme.event", "")


@pytest.mark.slow
def test_neighbours_of_a_unit_are_delivered_together(two):
    shipper = two().start()
    queue = shipper.shipper.delivery.queue
    reader = shipper.shipper.delivery.readers["archive"]
    deliveries = []
    reader.output.output.deliver = lambda unit, events, mark: (
        deliveries.append((unit.input, len(events))) or []
    )
    other = Unit("other", "acme.event", "")
    for unit, number in [(UNIT, 10), (UNIT, MAX_EVENTS - 10), (UNIT, 1), (other, 5), (UNIT, 5)]:
        queue.put(
            unit,
            [{"event": {"id": str(i), "dataset": "acme.event"}} for i in range(number)],
            ("archive",),
        )
    reader.run_due()
    assert deliveries == [("waf", MAX_EVENTS), ("waf", 1), ("other", 5), ("waf", 5)]


def test_a_day_of_silence_costs_nothing(two):
    shipper = two(rate=0.0).start()
    shipper.run_turns(3, apart=HOUR)
    assert shipper.shipper.delivery.queue.outputs() == []
