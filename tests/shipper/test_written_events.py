"""Events that are written as JSON while they are mapped: once, by what the output sends, and never
in place of a changed one."""

import copy
import dataclasses
import json
import operator
import pickle
from types import SimpleNamespace

import pytest
from stepped_shipper import SteppedShipper

from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch
from siemtap.core.rows import CheckedEvent
from siemtap.core.settings import CommonSettings
from siemtap.core.windows import MINUTE
from siemtap.edge import schemas
from siemtap.edge.encode import encode
from siemtap.engine.mapper import batch_mapper
from siemtap.outputs.types import OUTPUTS
from siemtap.render import registry
from siemtap.render.event_check import SchemaCheck
from siemtap.shipper.delivery.written import KEPT, WrittenEvent, writer, writer_of
from siemtap.shipper.processors import mapping
from siemtap.testing.cases import all_folders, records_of
from siemtap.testing.simulation import simulator

CHECK = SchemaCheck(schemas.read("event.schema.json"), registry.datasets().values())
NOW = 1_772_618_533_000


def mapper(plugin, values, drop=None):
    common = fill_in(CommonSettings, {"drop": drop} if drop else {})
    return batch_mapper(plugin, values, common, {}, lambda: "", CHECK, writer(set()))


def plain(plugin, values):
    return batch_mapper(plugin, values, fill_in(CommonSettings, {}), {}, lambda: "", CHECK)


@pytest.mark.parametrize("folder", all_folders(), ids=lambda folder: folder.name)
def test_a_line_is_what_the_event_would_be_written_as(folder):
    plugin = registry.plugin(folder.parents[1].name)
    for values, dataset, record, _, _ in records_of(folder, plugin):
        batch = Batch(dataset, [record], {}, NOW)
        for event, expected in zip(mapper(plugin, values)(batch), plain(plugin, values)(batch)):
            assert encode(event) == encode(expected)
            assert isinstance(event, WrittenEvent) == isinstance(expected, CheckedEvent)
            if isinstance(event, WrittenEvent):
                assert_same(event, json.loads(encode(expected)))


def assert_same(event, whole):
    """Assert that everything a reader may do with a dict gives what the whole event would."""
    assert event == whole and whole == event and event != {}
    assert not operator.ne(event, whole) and not operator.ne(whole, event)
    assert list(event) == list(whole) and len(event) == len(whole) and bool(event)
    assert dict(event) == {**event} == whole and event | {"a": 1} == {**whole, "a": 1}
    assert list(event.items()) == list(whole.items()) and repr(event) == repr(whole)
    assert list(event.keys()) == list(whole.keys()) and list(event.values()) == list(whole.values())
    assert list(reversed(event)) == list(reversed(whole)) and {} | event == whole
    assert json.dumps(event) == json.dumps(whole) and json.dumps([event], indent=1)
    for made in (event.copy(), copy.copy(event), copy.deepcopy(event), pickled(event)):
        assert made.__class__ is dict and made == whole
    for name in whole:
        assert name in event and event[name] == event.get(name) == whole[name]
    for name in ("rule", "source", "service", "nothing"):
        if name not in whole:
            assert name not in event and event.get(name) is None and event.get(name, 7) == 7
            with pytest.raises(KeyError):
                event[name]


def pickled(event):
    return pickle.loads(pickle.dumps(event))


def attacks():
    """Return the mapped plugin, its settings, and a batch of two attacks of one case."""
    plugin = registry.plugin("apptrana")
    for folder in all_folders():
        if folder.parents[1].name == "apptrana":
            for values, dataset, record, _, _ in records_of(folder, plugin):
                if dataset.name == "apptrana.attack" and isinstance(record, dict):
                    records = [{**record, "requestId": id} for id in ("r1", "r2")]
                    return plugin, values, Batch(dataset, records, {}, NOW)
    raise AssertionError("no case")


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event.__setitem__("tags", []),
        lambda event: event.__delitem__("event"),
        lambda event: event.update(tags=[]),
        lambda event: event.setdefault("tags", []),
        lambda event: event.pop("event"),
        lambda event: event.popitem(),
        lambda event: event.clear(),
        lambda event: event.__ior__({"tags": []}),
    ],
)
def test_a_written_event_refuses_a_change_that_its_line_would_not_have(change):
    plugin, values, batch = attacks()
    event, _ = mapper(plugin, values)(batch)
    before = encode(event)
    with pytest.raises(TypeError):
        change(event)
    assert encode(event) == before and event == json.loads(before)


def test_what_was_delivered_before_or_is_dropped_is_not_written():
    plugin, values, batch = attacks()
    first, second = mapper(plugin, values)(batch)
    assert isinstance(first, WrittenEvent) and isinstance(second, WrittenEvent)
    old, new = mapper(plugin, values)(batch, {first["event"]["id"]: NOW})
    assert not isinstance(old, WrittenEvent) and isinstance(new, WrittenEvent)
    assert mapper(plugin, values, {"dataset": ["apptrana.attack"]})(batch) == []


def test_an_event_that_cannot_be_written_is_left_to_the_delivery():
    plugin, values, batch = attacks()
    common = fill_in(CommonSettings, {})

    def fails(event):
        raise ValueError

    events = batch_mapper(plugin, values, common, {}, lambda: "", CHECK, fails)(batch)
    assert events == plain(plugin, values)(batch)


@pytest.fixture
def written_ids(monkeypatch):
    """Return the ids of events that the mapping wrote."""
    ids = []

    def counting(config, route):
        write = writer_of(config, route)

        def written(event):
            ids.append(event["event"]["id"])
            return write(event)

        return write and written

    monkeypatch.setattr(mapping, "writer_of", counting)
    return ids


def test_a_number_beyond_64_bits_stays_what_it_is():
    plugin, values, batch = attacks()
    number = 123456789012345678901
    records = [{**record, "unknown": number} for record in batch.records]
    event, _ = mapper(plugin, values)(batch._replace(records=records))
    assert event.whole()["apptrana"]["extra"]["unknown"] == number
    assert str(number) in json.dumps(event, default=str), "as the store of rejected events keeps it"


@pytest.mark.parametrize(
    ("index", "kept"),
    [("", set()), ("x-%{[observer.name]}-%{[cloud.region]}", {"observer", "cloud"})],
)
def test_fields_that_will_be_asked_of_each_event_are_kept(monkeypatch, index, kept):
    """Each of the others costs reading the line again."""
    plugin, values, batch = attacks()
    monkeypatch.setattr(WrittenEvent, "whole", None)  # cannot be called
    dataset = dataclasses.replace(batch.dataset, selected_by="apptrana.seen")
    config = SimpleNamespace(
        processors=[],
        plugin=SimpleNamespace(datasets=(dataset,)),
        common=SimpleNamespace(index=index),
    )
    write = writer_of(config, SimpleNamespace(kept={"host"}))
    expected, _ = plain(plugin, values)(batch)
    event = write(expected)
    for name in (*KEPT, "apptrana", "host", *kept):
        assert event.get(name) == expected.get(name) and (name in event) == (name in expected)


TAGGED = [{"add_fields": {"fields": {"team": "blue"}}}]


@pytest.mark.parametrize("processors", [[], TAGGED], ids=["no processors", "processors"])
def test_each_event_is_written_once_unless_a_processor_may_change_it(
    tmp_path, written_ids, processors
):
    simulated = simulator("apptrana", {"rate": 1.0, "odd": False})
    stepped = SteppedShipper(tmp_path, simulated, "apptrana", processors=processors).start()
    turns = []
    for _ in range(4):
        turns.append(set(written_ids))
        written_ids.clear()
        stepped.run_turns(1)
    turns.append(set(written_ids))
    events = stepped.events()
    stepped.stop()
    assert all(("team" in event.get("fields", {})) == bool(processors) for event in events)
    ids = {event["event"]["id"] for event in events}
    assert set().union(*turns) == (set() if processors else ids)
    assert sum(map(len, turns)) == (0 if processors else len(ids)), "read again, not written again"


@pytest.mark.parametrize("name", [name for name in OUTPUTS if name != "kafka"])
def test_only_an_output_that_sends_whole_events_has_them_written(tmp_path, written_ids, name):
    """HEC's events are shorter than what the mapping would write."""
    simulated = simulator("apptrana", {"rate": 1.0, "odd": False})
    settings = {
        "splunk_hec": '{hosts: ["https://198.51.100.1:8088"], token: x}',
        "elasticsearch": '{hosts: ["https://198.51.100.1:9200"]}',
        "opensearch": '{hosts: ["https://198.51.100.1:9200"]}',
        "file": f"{{path: {tmp_path}/out}}",
    }
    more = f"output.{name}: {settings.get(name, '{}')}"
    stepped = SteppedShipper(tmp_path, simulated, "apptrana", into="more", more=more).start()
    (running,) = stepped.shipper.inputs.values()
    for events in (
        running.map_batch(attacks()[2]),
        running.map_batch(attacks()[2]._replace(records=[])),
    ):
        assert [isinstance(event, WrittenEvent) for event in events] == [
            name != "splunk_hec"
        ] * len(events)
    stepped.stop()
    assert len(written_ids) == 2 * (name != "splunk_hec")


@pytest.mark.parametrize("output", ["file", "sqlite"])
@pytest.mark.parametrize("vendor", ["apptrana", "pingintelligence", "trend_vision_one"])
def test_no_line_is_read_on_the_way_of_an_event(tmp_path, monkeypatch, vendor, output):
    """Reading it takes as long as mapping it."""
    read = []
    whole = WrittenEvent.whole
    monkeypatch.setattr(WrittenEvent, "whole", lambda self: read.append(self) or whole(self))
    stepped = SteppedShipper(tmp_path, simulator(vendor, {}), vendor, into=output).start()
    stepped.run_turns(3)
    events = stepped.events()
    stepped.start().run_turns(3, apart=5 * MINUTE)
    assert len(stepped.events()) > len(events) > 0
    stepped.stop()
    assert read == []
