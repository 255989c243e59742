"""A value that does not fit its field goes to `extra`; the event is delivered and counted."""

import copy
import json
import logging

import pytest
from validation import MemoryOutput

from siemtap.core.compile import bind
from siemtap.core.convert import text
from siemtap.core.model import Unit
from siemtap.core.rows import Dataset, Field
from siemtap.edge import schemas
from siemtap.outputs.validated import ValidateEvents
from siemtap.render import registry
from siemtap.render.event_check import SchemaCheck
from siemtap.testing.cases import all_folders

CONTRACT = schemas.read("event.schema.json")
CHECK = SchemaCheck(CONTRACT, registry.datasets().values())
EVENTS = [
    event
    for folder in all_folders()
    for event in json.loads((folder / "expected.json").read_text(encoding="utf-8"))
]


def whole(value) -> int:
    """Return what it is given: a converter that does not keep its word."""
    return value


WRONG = Dataset(
    name="acme.event",
    clock=lambda record: "2026-03-04T10:00:00.000Z",
    identity=("id",),
    rows=(
        Field("id", "acme.id"),
        Field("size", "acme.size", whole),
        Field("port", "source.port", whole),
        Field("tags", "acme.deep.tags", whole),
    ),
    constant={"event.kind": "event"},
)


def event_of(**record):
    return bind(WRONG, None)({"id": "e1", **record}, 0, None)


def deliver(*events):
    counted, kept = [], MemoryOutput()
    output = ValidateEvents(
        kept, SchemaCheck(CONTRACT, [WRONG]), kept, counted.append, counted.append
    )
    output.deliver(Unit("it", "acme.event"), list(events), None)
    return kept, counted


def test_the_value_is_in_extra_under_the_path_of_its_field(caplog):
    caplog.set_level(logging.WARNING, "siemtap")
    events = [event_of(size="much", port="http", tags=["a"]), event_of(size=1, port=80)]
    before = copy.deepcopy(events)
    kept, counted = deliver(*events)
    assert kept.refused == [] and counted == [1] and events == before
    unfit, fitting = kept.events
    assert unfit["acme"] == {
        "id": "e1",
        "extra": {"acme.size": "much", "source.port": "http", "acme.deep.tags": ["a"]},
    }
    assert "source" not in unfit and fitting is events[1]
    assert unfit["event"]["id"] == fitting["event"]["id"]
    (line,) = caplog.messages
    assert line.startswith(
        "it/acme.event: a value does not fit its field and is in `extra` instead: "
    )
    assert "much" not in line


def test_what_is_in_extra_already_stays():
    kept, _ = deliver(event_of(size="much", other="x"))
    assert kept.events[0]["acme"]["extra"] == {"other": "x", "acme.size": "much"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda event: event.update({"@timestamp": "now"}),
        lambda event: event.update(surprise=1),
        lambda event: event["event"].update(id="short"),
        lambda event: event["ecs"].update(version="1"),
    ],
)
def test_a_wrong_required_field_is_rejected(spoil):
    event = event_of(size="much")
    spoil(event)
    kept, counted = deliver(event)
    assert kept.events == [] and counted == [1] and kept.refused[0][0] is event


@pytest.mark.parametrize("event", EVENTS[::7], ids=lambda event: event["event"]["id"])
def test_any_field_of_any_case_that_gets_an_object_is_saved_or_rejected_whole(event):
    for name, value in event.items():
        if not isinstance(value, dict) or name in ("ecs", "data_stream", "event", "agent"):
            continue
        for leaf in value:
            wrong = copy.deepcopy(event)
            wrong[name][leaf] = [{"a": 1.5}]
            if CHECK(wrong) is None:
                continue
            saved = CHECK.without_unfit(wrong)
            namespace = event["event"]["module"]
            if saved is None:
                continue
            assert saved[namespace]["extra"][f"{name}.{leaf}"] == [{"a": 1.5}]
            assert CHECK(saved) is None and text(saved["event"]["id"]) == event["event"]["id"]
