"""Events whose values were checked while they were mapped: what the mapping says fits, fits."""

import copy
import json

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from validation import MemoryOutput

from siemtap.core.compile import bind, source_code
from siemtap.core.compile.fit import condition, fits, is_ip, is_ipv6
from siemtap.core.convert import Ip, Timestamp, text
from siemtap.core.declared import const, each, lookup, lower, match
from siemtap.core.model import Unit
from siemtap.core.rows import CheckedEvent, Dataset, Field, Join, Split
from siemtap.edge import schemas
from siemtap.edge.encode import LONE_SURROGATE
from siemtap.outputs.validated import ValidateEvents
from siemtap.render import registry
from siemtap.render.event_check import SchemaCheck
from siemtap.shipper.processors.steps import process
from siemtap.testing.cases import all_folders, records_of

CONTRACT = schemas.read("event.schema.json")
CHECK = SchemaCheck(CONTRACT, registry.datasets().values())
NAMES = sorted(registry.datasets())
PLACE = {"data_stream.namespace": "default", "tags": ["a"], "agent.type": "siemtap"}
NOW = 1_772_618_533_000
ODD = [
    None,
    "",
    " ",
    "-",
    0,
    -1,
    1.5,
    80.0,
    float("nan"),
    float("inf"),
    2**63,
    -(2**63),
    2**63 - 1,
    True,
    False,
    [],
    {},
    [""],
    ["x"],
    ["x", "x"],
    ["192.0.2.1", "192.0.2.1"],
    [{"variable": "A", "threshold": "Tn", "value": 1}],
    [{"variable": "A", "threshold": "Tn", "value": "1"}],
    {"x": 1},
    "x",
    "DE",
    "DE\n",
    "1.1",
    "1.1\n",
    "high",
    "192.0.2.1",
    "192.0.2.01",
    "192.0.2.256",
    "192.0.2.1\n",
    "192.0.2.١",
    "::1",
    "::FFFF:192.0.2.1",
    "fe80::1%eth0",
    "00-00-5E-00-53-23",
    "2026-03-04T10:00:00.000Z",
    "2026-03-04T10:00:00.000Z\n",
    "2026-13-04T10:00:00.000Z",
    "x" * 9_000,
    "\ud800",
    21,
    ["web"],
    ["web", "web"],
]


def leaf_schemas():
    """Return each schema of a field once, with a name: a path that has it."""
    kinds = {}
    for dataset in registry.datasets().values():
        for path, schema in CHECK.fields_of(dataset).fields.items():
            for part in (schema, schema.get("items")):
                if part:
                    kinds.setdefault(json.dumps(part, sort_keys=True), (path, part))
    return list(kinds.values())


LEAVES = leaf_schemas()
VALUES = st.sampled_from(ODD) | st.recursive(
    st.sampled_from(ODD) | st.text() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def is_valid(schema, value):
    text = json.dumps(value, ensure_ascii=False)
    return jsonschema_rs.Draft7Validator(schema, validate_formats=True).is_valid(
        json.loads(LONE_SURROGATE.sub("\ufffd", text))
    )


@pytest.mark.parametrize(("path", "schema"), LEAVES, ids=[path for path, _ in LEAVES])
def test_what_fits_is_valid(path, schema):
    check = fits(schema)
    fitting = [value for value in ODD if check(value)]
    # NaN is no JSON, and there is no valid value that is one
    assert all(is_valid(schema, value) for value in fitting)
    assert all(value == value for value in fitting)
    expression = condition(schema, "value", "check")
    assert fitting == [value for value in ODD if eval(expression, {"value": value, "check": check})]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(LEAVES), VALUES)
def test_any_value_that_fits_is_valid(leaf, value):
    _, schema = leaf
    assert not fits(schema)(value) or is_valid(schema, value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "format": "email"},
        {"type": "string", "pattern": "^a$|^b$"},
        {"type": "string", "maxLength": 3},
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {"not": {"type": "integer"}},
        {"oneOf": [{"type": "string"}]},
        {},
    ],
)
def test_a_schema_with_other_words_fits_nothing(schema):
    assert not any(fits(schema)(value) for value in ["a", "b", 1, {"a": "x"}, ["a"]])


def case_records():
    """Return dataset name -> (settings, record, end of the window) of all cases."""
    kinds = {}
    for folder in all_folders():
        plugin = registry.plugin(folder.parents[1].name)
        for values, dataset, record, _, _ in records_of(folder, plugin):
            kinds.setdefault(dataset.name, []).append((dataset, values, record))
    return kinds


RECORDS = case_records()


def assert_right(plain, checked):
    assert checked == plain and plain.__class__ is dict
    if checked.__class__ is CheckedEvent:
        assert CHECK(plain) is None


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_events_of_the_cases_are_checked_while_they_are_mapped(name):
    pairs = []
    for dataset, values, record in RECORDS[name]:
        checking = bind(dataset, values, PLACE, None, CHECK.fields_of(dataset))
        pairs.append((bind(dataset, values, PLACE)(record, NOW), checking(record, NOW)))
        assert_right(*pairs[-1])
    usual = [checked for _, checked in pairs if checked["event"]["kind"] != "pipeline_error"]
    assert all(event.__class__ is CheckedEvent for event in usual if CHECK(dict(event)) is None)


def places_in(value, path=()):
    """Yield the path of every value inside a record, as keys and indexes."""
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in inside:
        yield (*path, key)
        yield from places_in(inner, (*path, key))


@pytest.mark.slow
@settings(max_examples=1_500, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.data())
def test_a_record_with_a_value_of_the_wrong_type(data):
    name = data.draw(st.sampled_from(sorted(RECORDS)))
    dataset, values, record = data.draw(st.sampled_from(RECORDS[name]))
    record = copy.deepcopy(record)
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(places_in(record))
        if not places:
            return
        *above, last = data.draw(st.sampled_from(places))
        place = record
        for key in above:
            place = place[key]
        place[last] = copy.deepcopy(data.draw(VALUES))
    try:
        plain = bind(dataset, values, PLACE)(copy.deepcopy(record), NOW, None)
    except Exception:  # what the plugin itself puts into a record; the mapper makes an error of it
        return
    checking = bind(dataset, values, PLACE, None, CHECK.fields_of(dataset))
    assert_right(plain, checking(copy.deepcopy(record), NOW, None))


# Converters that do not keep their word


def as_text(value) -> str:
    return value


def as_ip(value) -> Ip:
    return value


def as_number(value) -> int:
    return value


def as_time(value) -> Timestamp:
    return value


def as_several(value) -> tuple[str, Ip, int]:
    return value, value, value


LYING = Dataset(
    name="acme.event",
    clock=lambda record: record["time"],
    identity=("id",),
    rows=(
        Field("id", "acme.id"),
        Field("text", ("acme.text", "related.hosts"), as_text),
        Field("ip", "source.ip", as_ip),
        Field("ips[]", ("acme.ips", "related.ip"), as_ip),
        Field("port", "source.port", as_number),
        Split("all", ("acme.one", "acme.two", "acme.three"), as_several),
        Join(("joined",), "acme.joined", as_text),
        Field("level", "event.severity", lookup({"low": 21, "odd": 22})),
        Split("pair", ("acme.left", "acme.right"), match("(a*)-(b*)", (1, as_text), (2, as_text))),
        Split("both", ("acme.low", "acme.high"), each(lookup({"": ""}, as_text), as_text)),
    ),
    constant={"event.kind": "event"},
    low_cardinality=("text", "level"),
)
LYING_CHECK = SchemaCheck(CONTRACT, [LYING])


def lying_event(**record):
    record = {"id": "e1", "time": "2026-03-04T10:00:00.000Z", **record}
    schemas_of_it = LYING_CHECK.fields_of(LYING)
    return bind(LYING, None, PLACE, None, schemas_of_it)(record, NOW, None)


@pytest.mark.parametrize("name", ["text", "ip", "port", "all", "joined", "level", "pair", "both"])
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_a_converter_that_breaks_its_word_is_found_out(name, value):
    event = lying_event(**{name: value})
    if event.__class__ is CheckedEvent:
        assert LYING_CHECK(dict(event)) is None


@pytest.mark.parametrize("value", ODD, ids=repr)
def test_each_item_of_a_list_is_checked(value):
    event = lying_event(ips=["192.0.2.1", value])
    if event.__class__ is CheckedEvent:
        assert LYING_CHECK(dict(event)) is None
    assert lying_event(ips=["192.0.2.1"]).__class__ is CheckedEvent


@pytest.mark.parametrize("time", ["now", "2026-03-04T10:00:00Z", 1, ["x"], {"a": 1}])
def test_a_wrong_time_is_found_out(time):
    event = lying_event(time=time)
    assert event.__class__ is dict and LYING_CHECK(event)


def test_what_does_not_fit_is_in_extra():
    counted, kept = [], MemoryOutput()
    output = ValidateEvents(kept, LYING_CHECK, kept, counted.append, counted.append)
    output.deliver(Unit("it", "acme.event"), [lying_event(port="http"), lying_event(port=1)], None)
    unfit, fitting = kept.events
    assert unfit["acme"]["extra"]["source.port"] == "http" and counted == [1]
    assert fitting.__class__ is CheckedEvent and kept.refused == []


@pytest.mark.parametrize(
    "added", [{"tags": ["a", "a"]}, {"data_stream.namespace": "A"}, {"surprise": "x"}, {"tags": []}]
)
def test_an_event_with_a_constant_that_does_not_fit_is_not_checked(added):
    record = {"id": "e1", "time": "2026-03-04T10:00:00.000Z"}
    event = bind(LYING, None, added, None, LYING_CHECK.fields_of(LYING))(record, NOW, None)
    is_fine = added == {"tags": []}  # no value: it is left out
    assert (event.__class__ is CheckedEvent) == is_fine == (LYING_CHECK(dict(event)) is None)


def test_an_event_without_a_required_field_is_not_checked():
    dataset = Dataset("acme.event", LYING.clock, ("id",), (Field("id", "acme.id"),))
    check = SchemaCheck(CONTRACT, [dataset])
    event = bind(dataset, None, {}, None, check.fields_of(dataset))({"id": 1, "time": ""}, NOW)
    reason = "event breaks properties/event/required: kind is missing"
    assert event.__class__ is dict and check(event) == reason


def odd_event(dataset, record, **added):
    check = SchemaCheck(CONTRACT, [dataset])
    record = {"id": "e1", "time": "2026-03-04T10:00:00.000Z", **record}
    return bind(dataset, None, {**PLACE, **added}, None, check.fields_of(dataset))(
        record, NOW
    ), check


def table(*rows, **more):
    constant = {"event.kind": "event", **more.pop("constant", {})}
    return Dataset("acme.event", LYING.clock, ("id",), rows, constant=constant, **more)


@pytest.mark.parametrize(
    ("dataset", "record"),
    [
        (table(Join(("a",), "acme.a", text)), {"a": ""}),
        (table(Join(("a",), "acme.a", lower)), {"a": ""}),
        (table(Join(("a",), "related.hosts", lower)), {"a": ""}),
        (table(Field("a", "rule.id", const(5))), {"a": "x"}),
        (table(Field("a", "related.hosts", const(("p", "q")))), {"a": "x"}),
        (table(Field("a", "rule.id", lookup({"x": 7}))), {"a": "x"}),
        (
            table(Field("a", "acme.a_b", as_ip), Field("a", "acme.a.b", as_time)),
            {"a": "192.0.2.1"},
        ),
    ],
)
def test_what_a_declaration_does_not_promise_is_checked(dataset, record):
    event, check = odd_event(dataset, record)
    assert event.__class__ is dict and check(event)


def test_a_field_whose_name_is_no_name_of_python():
    event, check = odd_event(table(Field("a", "acme.a-b", as_ip)), {"a": "192.0.2.1"})
    assert event["acme"] == {"a-b": "192.0.2.1", "extra": {"time": "2026-03-04T10:00:00.000Z"}}
    assert event.__class__ is CheckedEvent and check(dict(event)) is None


@pytest.mark.parametrize("cached", [(), ("a",)])
def test_a_constant_list_is_not_shared_by_events(cached):
    dataset = table(
        Field("a", "related.hosts"),
        constant={"related.hosts": ["me"]},
        low_cardinality=cached,
    )
    hosts = [odd_event(dataset, {"a": value})[0]["related"]["hosts"] for value in ("A", "B", None)]
    assert hosts == [["me", "A"], ["me", "B"], ["me"]]


def test_a_namespace_that_python_takes_and_the_schema_does_not():
    dataset = table(Field("id", "acme.id"))
    for namespace in ("a\ufeffb", "ä", "default"):
        event, check = odd_event(dataset, {}, **{"data_stream.namespace": namespace})
        assert (event.__class__ is CheckedEvent) == (namespace == "default")
        assert (check(dict(event)) is None) == (namespace != "a\ufeffb")


def test_long_texts_are_not_kept():
    before = is_ipv6.cache_info().currsize
    assert not any(is_ip(f"{number}:" + "0" * 1_000) for number in range(20))
    assert is_ipv6.cache_info().currsize == before


@pytest.mark.parametrize(
    "rule", [{"if": {}, "then": {"required": ["x"]}}, {"minProperties": 9}, {"dependencies": {}}]
)
def test_a_schema_that_says_more_of_an_object_is_left_to_the_validator(rule):
    contract = copy.deepcopy(CONTRACT)
    contract["definitions"]["shared"]["properties"]["event"].update(rule)
    check = SchemaCheck(contract, [LYING])
    record = {"id": "e1", "time": "2026-03-04T10:00:00.000Z"}
    event = bind(LYING, None, PLACE, None, check.fields_of(LYING))(record, NOW, None)
    assert event.__class__ is dict


def test_a_processor_makes_an_event_that_is_checked_again():
    event = lying_event(port=80)
    assert event.__class__ is CheckedEvent
    unchanged = process(
        lambda batch, seen: [event], [{"drop_event": {"when": {"equals": {"source.port": 1}}}}]
    )
    changed = process(lambda batch, seen: [event], [{"add_fields": {"fields": {"team": "blue"}}}])
    assert unchanged(None)[0].__class__ is CheckedEvent
    assert changed(None)[0].__class__ is dict


def test_a_mapping_that_checks_nothing_has_no_trace_of_it():
    assert "fits" not in source_code(LYING) and "fits" in source_code(
        LYING, LYING_CHECK.fields_of(LYING)
    )
