"""A defect of siemtap, or an event that breaks the delivery, does not affect other inputs and
loses nothing."""

import copy
import logging

import pytest
from shipper import containment
from shipper.containment import check_good, each_output, failing_function, two_inputs
from validation import RefusingCheck

from siemtap.core.errors import Retry
from siemtap.core.model import Mark, Unit
from siemtap.edge.client.http import Http
from siemtap.edge.store.checkpoints import Database
from siemtap.edge.store.rejected import RejectedEvents
from siemtap.outputs.isolated import IsolateFailures
from siemtap.outputs.validated import ValidateEvents
from siemtap.shipper.process import Shipper

pytestmark = pytest.mark.slow

# fixtures
no_waits_and_no_log = containment.no_waits_and_no_log


@pytest.mark.parametrize(
    "place", ["units", "collect", "map_batch", "deliver", "save", "tally", "watch"]
)
@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError, AssertionError, RecursionError, UnicodeError, StopIteration, OSError],
    ids=lambda error: error.__name__,
)
def test_unexpected_exception_stops_only_its_input(tmp_path, caplog, place, error):
    """The text of the exception, which may quote odd input or a secret, is not logged."""
    installation, good = two_inputs(tmp_path, "apptrana", "file")
    caplog.set_level(logging.DEBUG, "siemtap")
    shipper = installation.shipper()
    running = shipper.inputs["poison"]
    object.__setattr__(running, "input_config", copy.copy(running.input_config))
    plugin = copy.copy(running.input_config.plugin)
    object.__setattr__(running.input_config, "plugin", plugin)
    if place in ("units", "collect"):
        object.__setattr__(plugin, place, failing_function(error))
    elif place == "map_batch":
        running.map_batch = failing_function(error)
    elif place == "watch":
        watch = shipper.after_attempt
        shipper.after_attempt = lambda running, state: (
            failing_function(error)() if running.id == "poison" else watch(running, state)
        )
    elif place == "tally":
        shipper.tally.add = failing_function(error)
    else:
        where, name = (
            (shipper.delivery.outputs["default"].output, "deliver")
            if place == "deliver"
            else (shipper.checkpoints, "save")
        )
        original = getattr(where, name)
        setattr(
            where,
            name,
            lambda unit, *arguments: (
                failing_function(error)() if unit.input == "poison" else original(unit, *arguments)
            ),
        )
    done = shipper.run()
    states = {
        str(state.unit): state for running in shipper.inputs.values() for state in running.states()
    }
    assert not done and "s3cret" not in caplog.text + str(
        [state.error for state in states.values()]
    )
    if place != "tally":
        check_good(installation, good, states)
        assert place == "watch" or any(
            (error.__name__ in state.error or "RuntimeError" in state.error)
            and state.state == "degraded"
            for name, state in states.items()
            if name.startswith("poison/")
        )
    states = installation.run()  # without the defect everything is delivered
    check_good(installation, good, states)
    assert (
        all(state.state == "ok" for state in states.values())
        and max(installation.ids().values()) == 1
    )
    assert {event["event"]["module"] for event in installation.events()} == {"apptrana"}


@pytest.mark.parametrize(
    "error", [MemoryError, KeyboardInterrupt, SystemExit], ids=lambda error: error.__name__
)
def test_error_of_the_process_ends_it(tmp_path, error):
    installation, _ = two_inputs(tmp_path, "apptrana")
    installation.hosts["poison.example.com"] = failing_function(error)
    with pytest.raises(error):
        installation.run()


def test_unexpected_exception_is_retried_with_growing_waits(tmp_path):
    installation, _ = two_inputs(tmp_path, "apptrana")
    shipper = Shipper(
        installation.config,
        clock=installation.clock,
        https=lambda connection: Http(
            failing_function(ZeroDivisionError), clock=installation.clock
        ),
    )
    running, waits = shipper.inputs["poison"], []
    for attempt in range(1, 12):
        error = Retry("x", after=10**12 if attempt == 11 else 0)
        running.discovery.attempt(failing_function(lambda text, error=error: error), 60.0)
        waits.append(running.discovery.due - shipper.clock.elapsed())
    running.run_due()
    assert running.discovery.state == "degraded" and 3_500 < waits[-1] <= 3_600.1
    shipper.close()


# Events that break the delivery


@pytest.mark.parametrize("number", [1, 2, 7, 300])
@each_output
def test_event_that_breaks_the_delivery_is_stored_as_rejected(
    tmp_path, monkeypatch, output, number
):
    from siemtap.outputs import file, sqlite

    for module in (file, sqlite):
        original = module.encode
        monkeypatch.setattr(
            module,
            "encode",
            lambda event, original=original: (
                failing_function(KeyError)()
                if event.get("message") == "broken"
                else original(event)
            ),
        )
    installation, _ = two_inputs(tmp_path, "apptrana", output)
    shipper = installation.shipper()
    events = [
        {
            "@timestamp": "2026-03-04T12:00:00.000Z",
            "message": "broken" if place % 3 == 0 else "well",
            "event": {
                "id": f"{place:032x}",
                "dataset": "apptrana.attack",
                "kind": "alert",
                "module": "apptrana",
            },
            "data_stream": {"type": "logs", "dataset": "apptrana.attack"},
        }
        for place in range(number)
    ]
    output = shipper.delivery.outputs["default"]
    output.checked.output.check = None
    unit = Unit("poison", "apptrana.attack", "")
    if number == 1:
        events = [{**events[0], "message": "broken"}]
    sink = output.sink(save_checkpoints=True, doubt={}, checkpoints=shipper.checkpoints)
    refused = sink.deliver(unit, events, Mark({"until": 5}))
    broken_ids = {event["event"]["id"] for event in events if event["message"] == "broken"}
    assert (
        {event["event"]["id"] for event, _ in refused}
        == broken_ids
        == {row.id for row in shipper.rejected_events.all()}
    )
    assert {row.reason for row in shipper.rejected_events.all()} == {
        "it cannot be delivered: KeyError"
    } and shipper.counts.totals["rejected"] == len(broken_ids)
    assert shipper.checkpoints.load(unit).cursor == {"until": 5}
    shipper.close()
    monkeypatch.undo()
    assert {event["event"]["id"] for event in installation.events()} - broken_ids == {
        event["event"]["id"] for event in events
    } - broken_ids


class PickyOutput:
    """An output that raises an error for ids with `poison`, rejects the id `refused`, and
    accepts the others."""

    together = False

    def __init__(self):
        self.accepted, self.marks = [], []

    def deliver(self, unit, events, mark):
        ids = [event["event"]["id"] for event in events]
        if any(id.startswith("poison") for id in ids):
            raise ValueError
        self.accepted += ids
        self.marks += [mark] if mark else []
        return [(event, "400") for event in events if event["event"]["id"] == "refused"]


@pytest.fixture
def picky(tmp_path):
    database, output, rejected_counts = Database(tmp_path / "siemtap.db"), PickyOutput(), []
    rejected_events = RejectedEvents(database)
    checked = ValidateEvents(
        output,
        RefusingCheck(lambda event: "odd" if event["event"]["id"].startswith("odd") else None),
        rejected_events,
        rejected_counts.append,
    )
    contained = IsolateFailures(checked, rejected_events, rejected_counts.append)

    def deliver(*ids):
        return contained.deliver(
            Unit("it", "acme.event"),
            [
                {
                    "@timestamp": "2026-03-04T12:00:00.000Z",
                    "event": {"id": id, "dataset": "acme.event", "kind": "alert"},
                }
                for id in ids
            ],
            Mark({"until": 5}),
        )

    yield deliver, output, rejected_events, rejected_counts
    database.close()


GOOD = [f"good{number}" for number in range(13)]


@pytest.mark.parametrize(
    "ids",
    [
        ["odd", "refused", *GOOD, "poison"],
        ["odd0", "odd1", "poison", "good"],
        [f"poison{number}" for number in range(8)] + GOOD,
        ["poison"],
        GOOD,
    ],
    ids=len,
)
def test_rejected_event_is_counted_once(picky, ids):
    """However often part of a batch is tried again. One accepted event after any number of
    broken ones shows that the output works."""
    deliver, output, rejected_events, rejected_counts = picky
    refused = sorted(event["event"]["id"] for event, _ in deliver(*ids))
    assert (
        refused
        == sorted(id for id in ids if not id.startswith("good"))
        == sorted(row.id for row in rejected_events.all())
    )
    assert sum(rejected_counts) == len(refused) and output.marks == [Mark({"until": 5})]
    assert sorted(id for id in output.accepted if id != "refused") == sorted(
        id for id in ids if id.startswith("good")
    )


@pytest.mark.parametrize(
    "ids",
    [
        ["poison0", "poison1"],
        ["odd", "poison0", "poison1"],
        [f"poison{number}" for number in range(40)],
    ],
    ids=len,
)
def test_batch_without_an_accepted_event_is_rejected_after_retries(picky, ids):
    """The output itself may be broken, so the batch is tried again first; meanwhile nothing is
    counted and no checkpoint is saved."""
    deliver, output, rejected_events, rejected_counts = picky
    for _ in range(2):
        for _attempt in range(4):
            with pytest.raises(ValueError):
                deliver(*ids)
            deliver()  # an empty batch does not show that the output works
        assert sum(rejected_counts) == 0 and all(
            mark.cursor == {"until": 5} for mark in output.marks
        )
        deliver("good")  # this one does
    for _ in range(4):
        with pytest.raises(ValueError):
            deliver(*ids)
    assert (
        sorted(event["event"]["id"] for event, _ in deliver(*ids))
        == sorted(ids)
        == sorted(row.id for row in rejected_events.all())
    )
    assert sum(rejected_counts) == len(ids)


def test_output_that_always_fails_keeps_the_cursor(tmp_path, monkeypatch):
    from siemtap.outputs import sqlite

    monkeypatch.setattr(sqlite, "encode", failing_function(TypeError))
    installation, _ = two_inputs(tmp_path, "apptrana")
    states = installation.run()
    assert any(
        state.state == "degraded" and "TypeError" in state.error for state in states.values()
    )
    monkeypatch.undo()
    states = installation.run()
    assert all(state.state == "ok" for state in states.values()) and len(installation.ids()) > 10
