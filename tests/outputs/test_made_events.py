"""Every event that is made beside the tables passes the contract, whatever a person has set: or
what it tells of is told to nobody."""

import itertools
import logging

import pytest

from siemtap import contract
from siemtap.core import manifest
from siemtap.core.forms import Every
from siemtap.core.manifest import fill_in
from siemtap.core.mapping import Dataset, Field, Lost, lost_event, rfc3339
from siemtap.core.model import Batch, Payload, Unit
from siemtap.engine import voice
from siemtap.outputs.checked import Checked, compiled
from siemtap.runners import plugins
from siemtap.runners.health import Health
from siemtap.runners.setup import canary_of
from siemtap.runners.shipper import also

NOW = 1_772_618_400_000
CHECK = compiled(contract.read("event.schema.json"), plugins.datasets().values())
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
    (plugin, dataset) for plugin in plugins.installed().values() for dataset in plugin.datasets
]
each_dataset = pytest.mark.parametrize("plugin,dataset", DATASETS, ids=lambda one: one.name)


class Kept:
    """An output that takes all, and the rejects of the process."""

    together = False

    def __init__(self):
        self.events, self.refused = [], []

    def deliver(self, unit, events, mark):
        self.events += events
        return []

    def keep(self, unit, refused):
        self.refused += refused


def settings_of(plugin):
    """What must be set, and then every switch the other way round."""
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
    kept = Kept()
    Checked(kept, CHECK, kept).deliver(Unit("it", dataset.name), events, None)
    assert [reason for _, reason in kept.refused] == [] and kept.events == events
    return events


@each_dataset
def test_lost_time_and_unreadable_records_are_delivered(plugin, dataset):
    for settings, every in itertools.product(settings_of(plugin), EVERY):
        say = voice(plugin, settings, fill_in(Every, every), also(), lambda: rfc3339(NOW))
        events = delivered(
            say(Batch(dataset, list(UNREADABLE), {}, NOW, lost=tuple(LOST))), dataset
        )
        lost = [event for event in events if event.get("message", "").startswith("lost ")]
        assert len(events) == len(UNREADABLE) + len(LOST) and len(lost) == len(LOST)
        assert all(
            event["event"]["kind"] == "pipeline_error" and event["error"]["message"]
            for event in lost
        )
        assert all(
            ("tags" in event) == bool(set(every.get("tags", ())) - {""})
            and ("fields" in event) == bool(every.get("fields"))
            for event in events
        )


@each_dataset
def test_a_lost_event_without_anything(plugin, dataset):
    """A test's, Splunk's: no tags, no agent, no time of reading; and empties of every kind."""
    for constants in (
        {},
        {"tags": [], "fields": {}, "data_stream.namespace": "", "agent.name": None},
        {"tags": ()},
    ):
        (event,) = delivered([lost_event(dataset, LOST[0], constants)], dataset)
        assert not {"tags", "fields", "agent"} & set(event)


@pytest.mark.parametrize(
    "plugin",
    [plugin for plugin in plugins.installed().values() if plugin.receive],
    ids=lambda one: one.name,
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
def test_payloads_that_nobody_can_read(plugin, body):
    for settings, every in itertools.product(settings_of(plugin), EVERY):
        say = voice(plugin, settings, fill_in(Every, every), also(), lambda: rfc3339(NOW))
        for channel in ("webhook", "udp", "tcp", "replay"):
            for batch in plugin.receive(settings, Payload(body, channel, "", "192.0.2.1", NOW)):
                delivered(say(batch), batch.dataset)


@pytest.mark.parametrize("namespace", ["default", "prod"])
@pytest.mark.parametrize(
    "error", ["", "Retry: GET https://vendor.example.com: 503 not now", "\ud800\x00"]
)
def test_health_of_every_state(namespace, error):
    kept = Kept()
    told = Checked(kept, CHECK, kept)

    class Shipper:
        also = also()
        sink = None
        inputs = {}
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
                "output": output,
                "uptime_s": 0,
                "healthy": not error,
                "reason": error or "ok",
            }

    reporter = Health(
        Shipper(), namespace, 10.0, lambda unit, events: told.deliver(unit, events, None)
    )
    for state in ("ok", "retrying", "degraded", "ok"):
        reporter.changed("it/acme.event", state, error)
    reporter.report()
    assert len(kept.events) == 5 and kept.refused == []


@each_dataset
def test_the_canary_of_test_output(plugin, dataset):
    for namespace in ("default", "prod"):
        delivered([canary_of(dataset, namespace, NOW)], dataset)


def test_a_table_that_writes_neither_message_nor_kind():
    """A plugin from elsewhere, of one row."""
    dataset = Dataset(
        "acme.thing", lambda record: rfc3339(record["at"]), ("id",), (Field("id", "acme.id"),)
    )
    check, kept = compiled(contract.read("event.schema.json"), [dataset]), Kept()
    say = dataset.bind(None, {"tags": [], "fields": {}})
    events = [lost_event(dataset, LOST[0], {}), say(None, NOW, None)]
    Checked(kept, check, kept).deliver(Unit("it", dataset.name), events, None)
    assert [reason for _, reason in kept.refused] == [] and len(kept.events) == 2


def test_a_refused_event_about_a_loss_is_loud(caplog):
    """Once for a unit and a reason, with what it would have said."""
    _, dataset = DATASETS[0]
    kept = Kept()
    output = Checked(kept, lambda event: "odd", kept)
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
