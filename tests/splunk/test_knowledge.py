"""Search-time fields and data models of the events of every case."""

import json
import statistics

import pytest
from splunk_events import EVENTS_OF_CLASSES, FLOW, event_of, events_of_cases, of_class
from splunk_search import LIMIT, check_event, searched, tags_of

from siemtap.edge.encode import encode
from siemtap.edge.splunk.compact import compact
from siemtap.render import registry
from siemtap.splunk.build import knowledge as splunk
from siemtap.splunk.runtime.names import addon
from siemtap.testing.cases import all_folders, play


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(folder, id=f"{folder.parents[1].name}/{folder.name}")
        for folder in all_folders()
    ],
)
def test_every_event_is_in_the_models_of_its_class_with_their_fields(folder):
    plugin = registry.plugin(folder.parents[1].name)
    for event in play(folder, plugin)[0]:
        check_event(plugin, event)


@pytest.mark.parametrize(
    "number, models, fields",
    [
        (0, {"Intrusion_Detection"}, {"action": "blocked", "cve": "CVE-2021-44228"}),
        (
            1,
            {"Intrusion_Detection"},
            {"action": "allowed", "direction": "inbound", "duration": "1.5"},
        ),
        (2, {"Intrusion_Detection"}, {"category": "reconnaissance", "user": None}),
        (
            3,
            {"Network_Traffic"},
            {"action": "blocked", "direction": "inbound", "duration": "1.5", "ids_type": None},
        ),
        (4, {"Network_Traffic"}, {"action": "allowed", "direction": "outbound"}),
        (5, {"Change"}, {"action": "created", "change_type": "filesystem", "user": "bob"}),
        (6, {"Change"}, {"action": "deleted", "object": "eicar.com"}),
        (7, {"Change"}, {"action": "modified", "change_type": "registry", "user": "unknown"}),
        (8, {"Malware"}, {"action": "blocked", "file_name": "eicar.com", "object": None}),
        (9, {"Malware"}, {"action": "deferred"}),
        (10, {"Malware"}, {"action": "allowed", "category": "Virus", "file_hash": "a" * 40}),
        (11, {"Web"}, {"dest": "bad.example.com", "src": "web01", "action": "blocked"}),
        (12, {"Authentication"}, {"action": "success", "src": "192.0.2.8", "user": "bob"}),
        (13, {"Authentication"}, {"action": "failure", "app": "Deep Security Agent"}),
        (14, {"Alerts"}, {"type": "alert", "signature": "A rule", "severity": "high"}),
        (15, {"Alerts"}, {"action": "blocked", "user": "bob"}),
        (16, {"Alerts"}, {"vendor_product": "Trend Micro Deep Security Agent"}),
        (17, set(), {"action": None, "type": None, "user": "bob", "dvc": "web01"}),
        (18, set(), {"action": None, "category": None, "severity": "high"}),
    ],
)
def test_an_event_is_in_the_model_of_its_kind_only(number, models, fields):
    plugin, event = EVENTS_OF_CLASSES[number]
    group = plugin.dataset("centurylink_ips.event").cim.class_of(event)
    assert set(group.models if group else ()) == models
    searched_fields = check_event(plugin, event)
    assert {name: searched_fields.get(name, [None])[0] for name in fields} == fields


@pytest.mark.slow
def test_an_event_that_reports_an_error_is_in_no_model_and_allows_nothing():
    """An event of each class of each dataset, if it could not be read: no eventtype, no action."""
    classes = set()
    for plugin, event in [*events_of_cases(), *EVENTS_OF_CLASSES]:
        dataset = plugin.dataset(event["event"]["dataset"])
        group = dataset.cim.class_of(event)
        if group:
            classes.add((dataset.name, group.tags))
            failed = {**event, "event": {**event["event"], "kind": "pipeline_error"}}
            assert dataset.cim.class_of(failed) is None
            assert "action" not in check_event(plugin, failed)
    assert classes == {
        (dataset.name, group.tags)
        for dataset in registry.datasets().values()
        for group in dataset.cim.groups().values()
    }


@pytest.mark.parametrize("kind", ["firewall", "system", "other", "integrity", "authentication"])
def test_only_attacks_are_tagged_as_attacks(kind):
    plugin, event = of_class(99, kind, event__type=["denied"], **FLOW)
    fields = check_event(plugin, event)
    assert not {"ids", "attack"} & tags_of(fields, plugin, "centurylink_ips:event")


@pytest.mark.parametrize(
    "referrer, domain",
    [
        ("https://bob@shop.example.com:8443/cart?x=1", "shop.example.com"),
        ("https://[2001:db8::1]/", "[2001:db8::1]"),
        ("/cart", None),
    ],
)
def test_fields_of_the_web_that_are_made_of_others(referrer, domain):
    plugin, event = event_of(
        "apptrana.attack",
        1,
        event__severity=73,
        apptrana__severity=2,
        observer__name="main",
        rule__name="A rule",
        rule__category="XSS",
        url__full="https://shop.example.com/a?b=1",
        url__domain="shop.example.com",
        url__path="/a",
        url__query="b=1",
        destination__address="shop.example.com",
        http__request__referrer=referrer,
        apptrana__request_headers={"referer": referrer},
    )
    fields = check_event(plugin, event)
    assert fields.get("http_referrer_domain", [None]) == [domain]
    assert fields["url_length"] == ["30"] and fields["severity_id"] == ["2"]


def test_every_value_of_a_class_has_an_event():
    values = {event["centurylink_ips"]["kind"] for _, event in EVENTS_OF_CLASSES}
    classes = registry.plugin("centurylink_ips").dataset("centurylink_ips.event").cim.classes
    assert {value for group in classes.values() for value in group.values} <= values


SHORT = 300  # bytes


@pytest.mark.parametrize(
    "dataset, median, most",
    [
        ("apptrana.attack", 1.1, 1.3),
        ("centurylink_ips.event", 1.3, 1.9),
        ("pingintelligence.attack", 1.32, 1.6),
    ],
)
def test_event_is_not_much_larger_than_the_record(dataset, median, most):
    """Splunk's licence counts bytes. Only formats that an add-on can receive are compared; the
    others come over syslog. A short record says nothing: what every event has outweighs it. A record of ABS with ddos_info holds its URL once, an event not more
    often."""
    plugin, sizes = registry.plugin(dataset.partition(".")[0]), []
    small = compact(plugin.dataset(dataset))
    for folder in all_folders():
        if (
            folder.parents[1].name == plugin.name
            and json.loads((folder / "given.json").read_text()).get("channel", "webhook")
            == "webhook"
        ):
            for event in play(folder, plugin, keep_original=True)[0]:
                if (
                    event["event"]["dataset"] == dataset
                    and event["event"].get("kind") != "pipeline_error"
                ):
                    record = event["event"].pop("original").encode()
                    if len(record) > SHORT:
                        sizes.append(len(encode(small(event))) / len(record))
    assert len(sizes) >= 25 and statistics.median(sizes) <= median and max(sizes) <= most, (
        statistics.median(sizes),
        max(sizes),
    )


@pytest.mark.parametrize("plugin", registry.installed().values(), ids=lambda plugin: plugin.name)
def test_tagged_events_are_in_a_model_and_searches_use_the_macro(plugin):
    types, tags = splunk.eventtypes(plugin), splunk.tags(plugin)
    assert {f"eventtype={name}" for name in types} == set(tags)
    assert all(
        stanza["search"].startswith(f"`{addon(plugin).root}_index` sourcetype=")
        for stanza in types.values()
    ) and f"{addon(plugin).root}_index" in splunk.macros(plugin)
    tagged = {frozenset(stanza) for stanza in tags.values()}
    assert tagged == {
        frozenset(group.tags)
        for dataset in plugin.datasets
        for group in dataset.cim.groups().values()
    }
    assert all("NOT event.kind=pipeline_error" in stanza["search"] for stanza in types.values())


def test_emulator_has_splunks_order_and_limit():
    raw = json.dumps(
        {"a": {"b": 1, "c": [True, "x"]}, "long": "x" * LIMIT, "late": 1}, separators=(",", ":")
    )
    props = {
        "FIELDALIAS-one": "a.b ASNEW one",
        "EVAL-two": 'coalesce(one, "none")',
        "EVAL-three": 'coalesce(two, late, "neither")',
        "EVAL-four": 'case(\'a.b\'=="2", "x", true(), null())',
    }
    assert searched(raw, props) == {
        "a.b": ["1"],
        "a.c{}": ["true", "x"],
        "one": ["1"],
        "two": ["1"],
        "three": ["neither"],
    }
