"""The contract: what it lets through, that both validators agree on it, and that its names are
ECS's own."""

import copy
import json
import re
import subprocess

import jsonschema
import jsonschema_rs
import pytest
from cache import CACHE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cases import folders
from siemtap import contract, health
from siemtap.outputs.checked import compiled, is_valid
from siemtap.render import elastic
from siemtap.render.datasets import schema_of
from siemtap.runners import plugins

CONTRACT = contract.read("event.schema.json")
DATASETS = {
    name: dataset
    for name, dataset in plugins.datasets().items()
    if dataset.namespace in CONTRACT["vendors"]
}
FORMATS = jsonschema.FormatChecker(["ipv4", "ipv6"])


def pattern(validator, pattern, instance, schema):
    """As ECMA 262 has it, and draft-07 with it: `$` is the end, not the end but for a newline."""
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


Draft7 = jsonschema.validators.extend(jsonschema.Draft7Validator, {"pattern": pattern})
AUTHORITY = {
    name: Draft7(schema_of(CONTRACT, dataset), format_checker=FORMATS)
    for name, dataset in DATASETS.items()
}
FAST = {
    name: jsonschema_rs.Draft7Validator(schema_of(CONTRACT, dataset), validate_formats=True)
    for name, dataset in DATASETS.items()
}
WHOLE = Draft7(CONTRACT, format_checker=FORMATS)
EVENTS = [
    event
    for folder in folders()
    if folder.parents[1].name in CONTRACT["vendors"]
    for event in json.loads((folder / "expected.json").read_text())
]


def test_the_schemas_are_schemas():
    jsonschema.Draft7Validator.check_schema(CONTRACT)
    for validator in AUTHORITY.values():
        jsonschema.Draft7Validator.check_schema(validator.schema)


def leaves(tree, path=()):
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from leaves(value, (*path, key))


ODD = [
    None,
    "",
    " ",
    0,
    -1,
    1.5,
    10**30,
    True,
    [],
    {},
    [""],
    ["x"],
    ["x", "x"],
    "x",
    "x" * 9000,
    "\ud800",
    "192.0.2.1",
    "999.1.1.1",
    "::1",
    "fe80::1%eth0",
    "::ffff:192.0.2.1",
    "1.2.3.04",
    "2026-03-04T10:00:00.000Z",
    "2026-13-04T10:00:00.000Z",
    "2026-03-04T10:00:00Z",
    "2026-03-04T24:00:00.000Z",
    "٢٠٢٦-03-04T10:00:00.000Z",
    "alert",
    "denied",
    73,
    74,
    "GB",
    "gb",
    "a" * 32,
    "A" * 32,
    "a" * 33,
    "a\n" + "b" * 30,
    "0.1.2.3\n",
    "1.2",
    "1.2\n",
]


@settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_the_fast_validator_agrees_with_the_authority(data):
    """On every event of the cases, and on what one to three odd values make of it."""
    event = copy.deepcopy(data.draw(st.sampled_from(EVENTS)))
    for _ in range(data.draw(st.integers(0, 3))):
        path = data.draw(st.sampled_from(sorted(leaves(event), key=str)))
        place = event
        for key in path[:-1]:
            place = place[key]
        what = data.draw(st.sampled_from(["put", "drop", "add"]))
        if what == "put":
            place[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
        elif what == "drop":
            del place[path[-1]]
        elif isinstance(place, dict):
            place["added"] = 1
        if not event:
            break
    for name in DATASETS:
        assert AUTHORITY[name].is_valid(event) == is_valid(FAST[name], event), next(
            AUTHORITY[name].iter_errors(event), "the authority accepts it"
        )


def test_a_validator_that_agrees_by_accepting_everything_would_be_found():
    for event in EVENTS:
        name = event["event"]["dataset"]
        assert FAST[name].is_valid(event) and WHOLE.is_valid(event)
        for spoil in (
            {"@timestamp": "now"},
            {"surprise": 1},
            {"event": {**event["event"], "kind": "alarm"}},
            {"related": {"ip": ["nobody"]}},
        ):
            assert not FAST[name].is_valid({**event, **spoil}) and not WHOLE.is_valid(
                {**event, **spoil}
            )


def test_the_reason_names_the_place_and_never_the_value():
    check = compiled(CONTRACT, DATASETS.values())
    event = copy.deepcopy(EVENTS[0])
    assert check(event) is None
    event["source"]["ip"] = "s3cret"
    assert check(event) == "source.ip breaks properties/source/properties/ip/anyOf".replace(
        "properties/ip/anyOf", "properties/ip/$ref/anyOf"
    ) or "s3cret" not in check(event)
    assert check(event).startswith("source.ip breaks ")
    event["event"]["dataset"] = "acme.event"
    assert "no input here" in check(event)


# ECS's own list

OURS_ALONE = {"fields"}  # what the user adds
JSON_TYPES = {
    "keyword": {"string"},
    "constant_keyword": {"string"},
    "match_only_text": {"string"},
    "wildcard": {"string"},
    "text": {"string"},
    "date": {"string"},
    "ip": {"string"},
    "long": {"integer"},
    "integer": {"integer"},
    "float": {"number", "integer"},
    "scaled_float": {"number"},
    "boolean": {"boolean"},
    "flattened": {"object"},
    "object": {"object"},
}


@pytest.fixture(scope="module")
def ecs():
    folder = CACHE / "ecs-9.4.0/package"
    assert folder.exists(), "ECS's list is not here: ci/tools installs it"
    said = subprocess.run(
        [
            "node",
            "-e",
            (
                f"const ecs = require({json.dumps(str(folder))});"
                " process.stdout.write(JSON.stringify({version: ecs.EcsVersion, flat:"
                " ecs.EcsFlat}))"
            ),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(said.stdout)


def fields(schema, path=""):
    """(name, schema) of every leaf of the shared part."""
    if "$ref" in schema:
        schema = (
            CONTRACT["definitions"][schema["$ref"].rpartition("/")[2]]
            if schema["$ref"].count("/") == 2
            else schema
        )
    if "properties" in schema:
        for name, below in schema["properties"].items():
            yield from fields(below, f"{path}.{name}".lstrip("."))
    else:
        yield path, schema


def test_our_names_types_and_values_are_those_of_ecs(ecs):
    seen = 0
    for name, schema in fields(CONTRACT["definitions"]["shared"]):
        if name in OURS_ALONE:
            continue
        assert name in ecs["flat"], f"{name} is no field of ECS {ecs['version']}"
        field, item = ecs["flat"][name], schema.get("items", schema)
        item = CONTRACT["definitions"][item["$ref"].rpartition("/")[2]] if "$ref" in item else item
        is_array = schema.get("type") == "array"
        assert is_array == ("array" in field.get("normalize", [])), (
            f"{name}: an array in one, not in the other"
        )
        types = (
            {item["type"]}
            if "type" in item
            else {type_of(value) for value in item.get("enum", [item.get("const")])}
        )
        assert types <= JSON_TYPES[field["type"]], f"{name}: {types}, and ECS says {field['type']}"
        allowed = {value["name"] for value in field.get("allowed_values", [])}
        if allowed:
            assert set(item["enum"]) <= allowed, name
        seen += 1
    assert (
        seen > 60
        and ecs["version"]
        == "9.4.0"
        == CONTRACT["definitions"]["shared"]["properties"]["ecs"]["properties"]["version"]["const"]
    )


@pytest.mark.parametrize("name", DATASETS)
def test_a_cluster_gets_the_types_of_ecs(ecs, name):
    """A constant may be a constant_keyword; nothing else differs."""
    types = elastic.types(elastic.Server("elasticsearch", (9, 1)), CONTRACT, DATASETS[name])
    different = {
        path: (spec["type"], ecs["flat"][path]["type"])
        for path, spec in types.items()
        if path in ecs["flat"]
        and spec["type"].replace("constant_keyword", "keyword")
        != ecs["flat"][path]["type"].replace("constant_keyword", "keyword")
    }
    assert different == {} and len([path for path in types if path in ecs["flat"]]) > 20
    assert [
        path
        for path in types
        if path not in ecs["flat"] and not path.startswith(f"{DATASETS[name].namespace}.")
    ] == [path for path in types if path in ("fields",)]


def type_of(value):
    return {str: "string", int: "integer", float: "number", bool: "boolean"}[type(value)]


def test_every_type_of_event_is_expected_by_one_of_its_categories(ecs):
    expected = {
        value["name"]: set(value.get("expected_event_types", []))
        for value in ecs["flat"]["event.category"]["allowed_values"]
    }
    for event in EVENTS:
        said = event["event"]
        for type in said.get("type", []):
            assert any(type in expected[category] for category in said["category"]), said


# CIM

CIM = contract.read("cim.json")


def test_cim_covers_what_its_models_require():
    assert set(CIM["datasets"]) == set(DATASETS) - {health.DATASET.name}, (
        "what siemtap says of itself is in no model"
    )
    for dataset in CIM["datasets"].values():
        known = {name for model in dataset["models"] for name in CIM["models"][model]["fields"]}
        assert set(dataset["fields"]) <= known | set(dataset["custom"])
        for model in dataset["models"]:
            assert set(CIM["models"][model]["required"]) <= set(dataset["fields"]), model


def test_cim_takes_its_values_from_fields_there_are():
    for name, dataset in CIM["datasets"].items():
        targets = DATASETS[name].targets()
        for field, rule in dataset["fields"].items():
            for path in [*([rule["from"]] if "from" in rule else []), *rule.get("first", [])]:
                assert path in targets or path.rpartition(".")[0] in targets, f"{field}: {path}"
            for model in dataset["models"]:
                allowed = CIM["models"][model]["fields"].get(field)
                values = {
                    *rule.get("map", {}).values(),
                    *([rule["else"]] if "else" in rule else []),
                    *([rule["is"]] if "is" in rule else []),
                }
                assert not allowed or values <= set(allowed), field


def test_every_event_of_ours_has_what_cim_requires():
    for event in EVENTS:
        rules = CIM["datasets"][event["event"]["dataset"]]
        if event["event"]["kind"] == "pipeline_error":
            continue
        for model in rules["models"]:
            for field in set(CIM["models"][model]["required"]) & {
                "action",
                "category",
                "dvc",
                "ids_type",
                "severity",
                "signature",
                "vendor_product",
            }:
                assert value(event, rules["fields"][field]), (field, event["event"]["id"])


def value(event, rule):
    if "is" in rule:
        return rule["is"]
    for path in [rule["from"]] if "from" in rule else rule["first"]:
        found = event
        for name in path.split("."):
            found = found.get(name, {}) if isinstance(found, dict) else {}
        if found != {}:
            return rule["map"].get(str(found), rule.get("else")) if "map" in rule else found
    return rule.get("else")


def test_the_vectors_are_those_of_the_cases():
    ids = {event["event"]["id"] for event in EVENTS}
    known = {vector["id"] for vector in contract.read("identity-vectors.json")["vectors"]}
    assert {
        "da1ab7f15aa8550fef338b9f4f405ebd",
        "ba1aef608a3018c020f7faf5069811ef",
        "08b3eb1a80b1d8ce9ba8a22bccf301f2",
    } <= ids and "da1ab7f15aa8550fef338b9f4f405ebd" in known
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in ids)
