"""The CIM fields that pytest-splunk-addon requires of the events of each data model."""

import json
import os

import pytest
from cache import CACHE
from splunk_events import EVENTS_OF_CLASSES, events_of_cases
from splunk_search import check_event, models_of

from siemtap.render import registry

DEFINITIONS = CACHE / "cim-6.4.0/pytest_splunk_addon"
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
    "apptrana.activity": {
        "Change": {
            "object_attrs": "never said",
            "object_id": "a website has a name and no id",
            "src": "where the record has no address",
        },
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


@pytest.mark.slow
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
