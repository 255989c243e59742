"""The event schema: what it accepts, that both validators agree, and that its fields are those
of ECS."""

import copy
import json
import re
import subprocess
from pathlib import Path

import ecs as ecs_list
import jsonschema
import jsonschema_rs
import pytest
from cache import CACHE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from siemtap.edge import schemas
from siemtap.elastic import field_types
from siemtap.elastic.server import Server as ClusterInfo
from siemtap.render import ecs as siemtap_ecs
from siemtap.render import registry
from siemtap.render.datasets import schema_of
from siemtap.render.event_check import SchemaCheck, is_valid
from siemtap.render.schema_walk import walk
from siemtap.testing.cases import all_folders

CONTRACT = schemas.read("event.schema.json")
DATASETS = {
    name: dataset
    for name, dataset in registry.datasets().items()
    if dataset.namespace in CONTRACT["vendors"]
}
FORMATS = jsonschema.FormatChecker(["ipv4", "ipv6"])


def pattern(validator, pattern, instance, schema):
    """Match as ECMA 262 and draft-07 define: `$` is the end of the text, never before a newline."""
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
    for folder in all_folders()
    if folder.parents[1].name in CONTRACT["vendors"]
    for event in json.loads((folder / "expected.json").read_text())
]


def test_schemas_are_valid():
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


@pytest.mark.slow
@settings(max_examples=700, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_both_validators_agree(data):
    """Compare them on every event of the cases with up to three odd values."""
    event = copy.deepcopy(data.draw(st.sampled_from(EVENTS)))
    for _ in range(data.draw(st.integers(0, 3))):
        path = data.draw(st.sampled_from(sorted(leaves(event), key=str)))
        place = event
        for key in path[:-1]:
            place = place[key]
        operation = data.draw(st.sampled_from(["put", "drop", "add"]))
        if operation == "put":
            place[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(ODD)))
        elif operation == "drop":
            del place[path[-1]]
        elif isinstance(place, dict):
            place["added"] = 1
        if not event:
            break
    for name in DATASETS:
        assert AUTHORITY[name].is_valid(event) == is_valid(FAST[name], event), next(
            AUTHORITY[name].iter_errors(event), "jsonschema accepts it"
        )


@pytest.mark.slow
def test_both_validators_reject_broken_events():
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


def test_reason_names_the_field_and_never_the_value():
    check = SchemaCheck(CONTRACT, DATASETS.values())
    event = copy.deepcopy(EVENTS[0])
    assert check(event) is None
    event["source"]["ip"] = "s3cret"
    assert check(event) == "source.ip breaks properties/source/properties/ip/anyOf".replace(
        "properties/ip/anyOf", "properties/ip/$ref/anyOf"
    ) or "s3cret" not in check(event)
    assert check(event).startswith("source.ip breaks ")
    event["event"]["dataset"] = "acme.event"
    assert "no installed plugin has the dataset" in check(event)


# ECS

USER_FIELDS = {"fields"}  # not in ECS: fields that users add
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
    "geo_point": {"object"},
}


@pytest.fixture(scope="module")
def ecs():
    folder = CACHE / "ecs-9.4.0/package"
    assert folder.exists(), "the ECS package is missing: ci/tools installs it"
    result = subprocess.run(
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
    return json.loads(result.stdout)


def test_names_types_and_values_equal_ecs(ecs):
    seen = 0
    for row in walk(CONTRACT["definitions"]["shared"], CONTRACT["definitions"]):
        name = row.path
        if row.is_object or name in USER_FIELDS:
            continue
        assert name in ecs["flat"], f"{name} is not a field of ECS {ecs['version']}"
        field, item = ecs["flat"][name], row.items if row.is_list else row.schema
        assert row.is_list == ("array" in field.get("normalize", [])), (
            f"{name}: an array in only one of them"
        )
        types = (
            {item["type"]}
            if "type" in item
            else {type_of(value) for value in item.get("enum", [item.get("const")])}
        )
        assert types <= JSON_TYPES[field["type"]], f"{name}: {types}; ECS has {field['type']}"
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
def test_index_templates_have_the_types_of_ecs(ecs, name):
    """A constant may be a constant_keyword; nothing else differs."""
    types = field_types.types(ClusterInfo("elasticsearch", (9, 1)), DATASETS[name])
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


def test_list_of_fields_equals_the_package(ecs):
    """schemas/ecs.json is what packaging/build ecs makes of the package of npm."""
    path = Path(__file__).parents[1] / "schemas/ecs.json"
    assert path.read_text(encoding="utf-8") == ecs_list.render(ecs["flat"])
    assert len(siemtap_ecs.fields()) == len(ecs["flat"]) > 2_000


def test_identity_vectors_equal_the_ids_of_the_cases():
    ids = {event["event"]["id"] for event in EVENTS}
    known = {vector["id"] for vector in schemas.read("identity-vectors.json")["vectors"]}
    assert {
        "da1ab7f15aa8550fef338b9f4f405ebd",
        "ba1aef608a3018c020f7faf5069811ef",
        "08b3eb1a80b1d8ce9ba8a22bccf301f2",
    } <= ids and "da1ab7f15aa8550fef338b9f4f405ebd" in known
    assert all(re.fullmatch("[0-9a-f]{32}", id) for id in ids)
