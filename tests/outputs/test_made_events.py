"""Events that are created without a mapping table pass the schema, whatever the settings.

Otherwise the error or the loss that they report would be lost."""

import itertools
import logging
from types import SimpleNamespace

import pytest
from validation import MemoryOutput, RefusingCheck

from siemtap.core import manifest
from siemtap.core.compile import bind
from siemtap.core.convert import rfc3339
from siemtap.core.events import Lost, lost_event
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Payload, Unit
from siemtap.core.rows import Dataset, Field
from siemtap.core.settings import CommonSettings
from siemtap.edge import schemas
from siemtap.engine.mapper import batch_mapper
from siemtap.outputs.validated import ValidateEvents
from siemtap.render import registry
from siemtap.render.event_check import SchemaCheck
from siemtap.shipper.health import Health
from siemtap.shipper.process import added_fields
from siemtap.shipper.processes.share import ALONE
from siemtap.shipper.setup.canary import build_canary
from siemtap.testing.cases import batches_of

NOW = 1_772_618_400_000
CHECK = SchemaCheck(schemas.read("event.schema.json"), registry.datasets().values())
EVERY = [
    {},
    {"tags": ["waf"]},
    {"tags": ["waf", "waf", ""]},
    {"fields": {"team": "blue"}},
    {"fields": {"team": {}, "list": [], "none": None}},
    {"namespace": "prod"},
    {
        "tags": ["a", "b"],
        "fields": {"a.b": 1},
        "namespace": "prod",
        "drop": {"severity": ["low"], "action": ["blocked"], "dataset": ["none.such"]},
    },
]
# fmt: off
LOST = [Lost(NOW - 5000, NOW, "the service keeps 30 days", "www.example.com"), Lost(0, 0, "", ""), Lost(NOW, NOW, "half a pair \ud800, \x00, \u202e", "\udc00"), Lost(NOW, NOW + 1, "x" * 100_000)]
UNREADABLE = [None, 7, 1.5, True, "", "a text", "\ud800", [], [1, [2]], {}, {"a": 1}, {"": ""}, {"a": {"b": [None, {}]}}, {"id": "\x00\ud800"}, 2**80, float("nan"), "x" * 200_000]
# fmt: on
DATASETS = [
    (plugin, dataset) for plugin in registry.installed().values() for dataset in plugin.datasets
]
each_dataset = pytest.mark.parametrize("plugin,dataset", DATASETS, ids=lambda dataset: dataset.name)


def settings_of(plugin):
    """Yield the settings with the required values, with every switch inverted, and with each
    switch inverted."""
    needed = {}
    for spec in manifest.describe(plugin.settings):
        if spec["required"]:
            needed[spec["name"]] = "https://vendor.example.com" if spec["kind"] == "url" else "x"
    switches = {
        spec["name"]: not spec["default"]
        for spec in manifest.describe(plugin.settings)
        if spec["kind"] == "switch"
    }
    yield fill_in(plugin.settings, needed)
    yield fill_in(plugin.settings, {**needed, **switches})
    for name, value in switches.items():
        yield fill_in(plugin.settings, {**needed, name: value})


def delivered(events, dataset):
    kept = MemoryOutput()
    ValidateEvents(kept, CHECK, kept).deliver(Unit("it", dataset.name), events, None)
    assert [reason for _, reason in kept.refused] == [] and kept.events == events
    return events


@each_dataset
def test_lost_ranges_and_unreadable_records_are_delivered(plugin, dataset):
    for settings, common in itertools.product(settings_of(plugin), EVERY):
        map_batch = batch_mapper(
            plugin, settings, fill_in(CommonSettings, common), added_fields(), lambda: rfc3339(NOW)
        )
        events = delivered(
            map_batch(Batch(dataset, list(UNREADABLE), {}, NOW, lost=tuple(LOST))), dataset
        )
        lost = [event for event in events if event.get("message", "").startswith("lost ")]
        assert len(events) == len(UNREADABLE) + len(LOST) and len(lost) == len(LOST)
        assert all(
            event["event"]["kind"] == "pipeline_error" and event["error"]["message"]
            for event in lost
        )
        assert all(
            ("tags" in event) == bool(set(common.get("tags", ())) - {""})
            and ("fields" in event) == bool(common.get("fields"))
            for event in events
        )


@each_dataset
def test_lost_event_with_empty_constants(plugin, dataset):
    """As in tests and in Splunk: no tags, no agent, no time of reading, and empty values of
    every type."""
    for constants in (
        {},
        {"tags": [], "fields": {}, "data_stream.namespace": "", "agent.name": None},
        {"tags": ()},
    ):
        (event,) = delivered([lost_event(dataset, LOST[0], constants)], dataset)
        assert not {"tags", "fields", "agent"} & set(event)


@pytest.mark.parametrize(
    "plugin",
    [plugin for plugin in registry.installed().values() if plugin.receive],
    ids=lambda dataset: dataset.name,
)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1, {}, null]",
        b"\xff\xfe",
        b"<134>1 - - - - - -",
        b"CEF:0|",
        b'{"a": "\\ud800"}',
        b"\n\n\n",
        b"0" * 5000,
    ],
)
def test_unreadable_payloads(plugin, body):
    for settings, common in itertools.product(settings_of(plugin), EVERY):
        map_batch = batch_mapper(
            plugin, settings, fill_in(CommonSettings, common), added_fields(), lambda: rfc3339(NOW)
        )
        for channel in ("webhook", "udp", "tcp", "replay"):
            for batch in batches_of(plugin, settings, Payload(body, channel, "", "192.0.2.1", NOW)):
                delivered(map_batch(batch), batch.dataset)


@pytest.mark.parametrize("namespace", ["default", "prod"])
@pytest.mark.parametrize(
    "error", ["", "Retry: GET https://vendor.example.com: 503 not now", "\ud800\x00"]
)
def test_health_events_of_every_state(namespace, error):
    kept = MemoryOutput()
    validated = ValidateEvents(kept, CHECK, kept)

    class Shipper:
        added_fields = added_fields()
        delivery = SimpleNamespace(outputs={})
        inputs = {}
        share = ALONE
        clock = type(
            "Clock", (), {"now": staticmethod(lambda: NOW), "elapsed": staticmethod(lambda: 0.0)}
        )

        def stats(self):
            unit = {
                "unit": "it/acme.event",
                "state": "retrying" if error else "ok",
                "error": error,
                "events": 0,
                "echoes": 0,
                "last_success": None,
                "read_until": None,
                "cursor_age_s": None,
                "attempts": 0,
                "late_events": 0,
                "late_p50_s": 0.0,
                "late_p99_s": 0.0,
                "late_max_s": 0.0,
                "lag_s": 0.0,
                "overlap_s": 0.0,
                "overlap_suffices": True,
            }
            output = {"name": "elasticsearch", "accepted": 0, "rejected": 0, "waiting_rejected": 3}
            return {
                "inputs": [{"id": "it", "units": [unit]}],
                "outputs": [{"waiting_events": 3}],
                "output": output,
                "uptime_s": 0,
                "healthy": not error,
                "reason": error or "ok",
            }

    reporter = Health(
        Shipper(), namespace, 10.0, lambda unit, events: validated.deliver(unit, events, None)
    )
    for state in ("ok", "retrying", "degraded", "ok"):
        reporter.changed("it/acme.event", state, error)
    reporter.report()
    assert len(kept.events) == 5 and kept.refused == []


@each_dataset
def test_probe_event_of_test_output(plugin, dataset):
    for namespace in ("default", "prod"):
        delivered([build_canary(dataset, namespace, NOW)], dataset)


def test_mapping_without_message_and_kind():
    """A plugin of a third party with one row."""
    dataset = Dataset(
        "acme.thing", lambda record: rfc3339(record["at"]), ("id",), (Field("id", "acme.id"),)
    )
    check, kept = SchemaCheck(schemas.read("event.schema.json"), [dataset]), MemoryOutput()
    map_batch = bind(dataset, None, {"tags": [], "fields": {}})
    events = [lost_event(dataset, LOST[0], {}), map_batch(None, NOW, None)]
    ValidateEvents(kept, check, kept).deliver(Unit("it", dataset.name), events, None)
    assert [reason for _, reason in kept.refused] == [] and len(kept.events) == 2


def test_rejected_event_about_a_loss_is_logged_as_an_error(caplog):
    """Once for each unit and reason, with the message of the event."""
    _, dataset = DATASETS[0]
    kept = MemoryOutput()
    output = ValidateEvents(kept, RefusingCheck(lambda event: "odd"), kept)
    event = lost_event(dataset, LOST[0], {})
    with caplog.at_level(logging.INFO, "siemtap"):
        for _ in range(3):
            output.deliver(Unit("it", dataset.name), [event], None)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (
        len(kept.refused) == 3
        and "the service keeps 30 days" in record.getMessage()
        and "odd" in record.getMessage()
        and "siemtap rejected list" in record.getMessage()
    )
