"""Search-time fields and data models of the events of every case."""

import json
import os
import statistics

import pytest
from cache import CACHE
from splunk_search import LIMIT, check_event, models_of, searched

from siemtap.core.paths import put
from siemtap.edge.encode import encode
from siemtap.edge.splunk.compact import compact
from siemtap.render import registry
from siemtap.splunk.build import knowledge as splunk
from siemtap.splunk.runtime.names import addon
from siemtap.testing.cases import all_folders, play

DEFINITIONS = CACHE / "cim-6.4.0/pytest_splunk_addon"


def events_of_cases():
    for folder in all_folders():
        plugin = registry.plugin(folder.parents[1].name)
        for event in play(folder, plugin)[0]:
            yield plugin, event


def event_of(dataset, number, **fields):
    """Return (plugin, event). `fields`: path, with two underscores for a dot -> value."""
    event = {"@timestamp": "2026-03-04T10:02:13.417Z"}
    fixed = {"event.dataset": dataset, "event.id": f"{number:032x}", "event.kind": "alert"}
    for path, value in {**fixed, **fields}.items():
        if value is not None:
            put(event, path.replace("__", "."), value)
    return registry.plugin(dataset.partition(".")[0]), event


def of_class(number, kind, **fields):
    """Return an event of Deep Security, with what each of its kinds has."""
    shared = {
        "observer__vendor": "Trend Micro",
        "observer__product": "Deep Security Agent",
        "event__severity": 73,
        "host__name": "web01",
        "rule__name": "A rule",
        "rule__id": "1000128",
        "message": "A rule",
        "centurylink_ips__kind": kind,
    }
    return event_of("centurylink_ips.event", number, **{**shared, **fields})


FLOW = {
    "source__ip": "203.0.113.45",
    "source__address": "203.0.113.45",
    "source__port": 48478,
    "destination__ip": "192.0.2.23",
    "destination__address": "192.0.2.23",
    "destination__port": 443,
    "network__transport": "tcp",
    "network__direction": "ingress",
}
FILE = {"file__path": "C:\\temp\\eicar.com", "file__name": "eicar.com", "user__name": "bob"}
URL = {"url__full": "http://bad.example.com/a?b=1", "url__domain": "bad.example.com"}
SIGN_IN = {"user__name": "bob", "client__ip": "192.0.2.8"}
NOT_REMOVED = {
    "centurylink_ips__action": "Quarantine",
    "centurylink_ips__result": "Quarantine Failed",
    "centurylink_ips__virus_type": "Virus",
    "file__hash__sha1": "a" * 40,
}
EVENTS_OF_CLASSES = [
    of_class(number, kind, **{"event__type": [type], **fields})
    for number, (kind, type, fields) in enumerate(
        [
            ("intrusion_prevention", "denied", {**FLOW, "vulnerability__id": "CVE-2021-44228"}),
            ("intrusion_prevention", "allowed", FLOW),
            ("reconnaissance", "info", FLOW),
            ("firewall", "denied", FLOW),
            ("firewall", "allowed", {**FLOW, "network__direction": "egress"}),
            ("integrity", "creation", FILE),
            ("integrity", "deletion", FILE),
            ("integrity", "change", {"registry__path": "HKEY_LOCAL_MACHINE\\SOFTWARE\\Run"}),
            ("anti_malware", "denied", {**FILE, "centurylink_ips__action": "Delete"}),
            ("anti_malware", "denied", {**FILE, "centurylink_ips__action": "Quarantine"}),
            ("anti_malware", "allowed", {**FILE, **NOT_REMOVED}),
            ("web_reputation", "denied", URL),
            ("authentication", "start", {**SIGN_IN, "event__outcome": "success"}),
            ("authentication", "start", {**SIGN_IN, "event__outcome": "failure"}),
            ("log_inspection", "info", {}),
            ("application_control", "denied", FILE),
            ("device_control", "denied", dict.fromkeys(["message", "rule__name", "rule__id"])),
            ("system", "info", SIGN_IN),
            ("other", "info", {}),
        ]
    )
]


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
        (1, {"Intrusion_Detection"}, {"action": "allowed", "category": "intrusion_prevention"}),
        (2, {"Intrusion_Detection"}, {"category": "reconnaissance", "user": None}),
        (3, {"Network_Traffic"}, {"action": "blocked", "direction": "inbound", "ids_type": None}),
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


@pytest.mark.parametrize("plugin, event", EVENTS_OF_CLASSES[:1])
def test_an_event_that_reports_an_error_is_in_no_model(plugin, event):
    failed = {**event, "event": {**event["event"], "kind": "pipeline_error"}}
    assert plugin.dataset("centurylink_ips.event").cim.class_of(failed) is None
    check_event(plugin, failed)


def test_every_value_of_a_class_has_an_event():
    values = {event["centurylink_ips"]["kind"] for _, event in EVENTS_OF_CLASSES}
    classes = registry.plugin("centurylink_ips").dataset("centurylink_ips.event").cim.classes
    assert {value for group in classes.values() for value in group.values} <= values


# Fields that pytest-splunk-addon requires and that an event cannot always have, with the reason.
NOT_SET = {
    "apptrana.attack": {
        "Web": {
            "bytes": "the vendor has no request's size",
            "bytes_in": "the same",
            "bytes_out": "only where the response has a Content-Length",
            "dest": "where the record has no host name",
            "dest_port": "never said",
            "http_method": "never said",
            "http_user_agent": "where the client sent none, or its headers cannot be read",
            "http_user_agent_length": "the same",
            "src": "where the record has no address",
            "status": "where the record has none, or 0",
            "url_domain": "where the record has no host name",
        },
        "Intrusion_Detection": {},
    },
    "centurylink_ips.event": {
        "Alerts": {
            "description": "where the record has no text",
            "signature_id": "where the record has no id",
            "src": "what happens on a host has no source",
            "user": "only where the record names one",
        },
        "Change": {
            "command": "never said",
            "object_attrs": "never said",
            "object_id": "an object has a path and no id",
            "src": "a change on a host has no source",
        },
        "Malware": {
            "dest": "where the line names no computer",
            "file_name": "where the record names no file",
            "file_path": "the same",
        },
        "Network_Traffic": {"app": "a firewall rule is about ports"},
        "Web": {
            "bytes": "never said",
            "bytes_in": "never said",
            "bytes_out": "never said",
            "dest_port": "never said",
            "http_method": "never said",
            "http_user_agent": "never said",
            "http_user_agent_length": "never said",
            "status": "never said",
        },
    },
    "pingintelligence.attack": {
        "Intrusion_Detection": {},
        "Alerts": {
            "app": "an attack across APIs is on no one of them",
            "dest": "the same",
            "description": "attack.log has none",
            "src": "a token, a cookie, a user may be all that is known",
            "user": "an address may be",
        },
    },
    "trend_vision_one.alert": {
        "Alerts": {
            "description": "where the model has none",
            "dest": "where no host is affected",
            "signature_id": "where the model has none",
            "src": "never said",
            "user": "where no account is affected",
        },
    },
    "trend_vision_one.detection": {
        "Alerts": {
            "app": "where no network application is known",
            "description": "where the rule has none",
            "dest": "where neither host nor destination is known",
            "signature_id": "where the rule has no id",
            "src": "where the record has no address",
            "user": "where the record names none",
        },
    },
}
# fields of the CIM that these definitions lack
VALUES = {("ids_type", "application"), ("severity", "unknown")}


def test_events_have_the_fields_that_pytest_splunk_addon_requires():
    """By the definitions of pytest-splunk-addon, the tags lead to the models of the dataset, and
    each required field is set or its absence has a reason."""
    if not DEFINITIONS.is_dir():
        (
            pytest.fail("ci/tools fetches the definitions of pytest-splunk-addon 6.4.0")
            if os.environ.get("CI")
            else pytest.skip("ci/tools fetches the definitions")
        )
    models = {
        path.stem: json.loads(path.read_text())["objects"][0]
        for path in (DEFINITIONS / "data_models").glob("*.json")
    }
    forbidden = {
        field["name"]
        for field in json.loads((DEFINITIONS / "cim_tests/CommonFields.json").read_text())["fields"]
        if "not_allowed" in field["type"] and "props" in field["type"]
    }
    by_tags = {name: model["tags"] or [] for name, model in models.items()}
    for dataset in registry.datasets().values():
        for group in dataset.cim.groups().values():
            assert models_of(set(group.tags), by_tags) == set(group.models), dataset.name
            assert not forbidden & set(dataset.cim.rules_of(group)), dataset.name
    missing = {}  # (dataset, model) -> fields
    for plugin, event in [*events_of_cases(), *EVENTS_OF_CLASSES]:
        dataset = plugin.dataset(event["event"]["dataset"])
        fields, group = check_event(plugin, event), dataset.cim.class_of(event)
        for model in group.models if group else ():
            for field in models[model]["fields"]:
                values = fields.get(field["name"])
                if field["type"] == "required" and not values:
                    missing.setdefault((dataset.name, model), set()).add(field["name"])
                assert (
                    not values
                    or not field.get("expected_values")
                    or {(field["name"], value) for value in values}
                    <= {(field["name"], value) for value in field["expected_values"]} | VALUES
                ), (event, field["name"], values)
    reasons = {
        (dataset, model): set(fields)
        for dataset, models in NOT_SET.items()
        for model, fields in models.items()
        if fields
    }
    odd = {
        key: sorted(missing.get(key, set()) ^ reasons.get(key, set()))
        for key in {*missing, *reasons}
        if missing.get(key) != reasons.get(key)
    }
    assert not odd, (
        f"missing without a reason, or a reason for a field that is never missing: {odd}"
    )


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
