"""The types of a dataset's fields: what the annotation of a row's converter says."""

from functools import lru_cache
from typing import Any, Dict, List, Literal, Optional, Tuple, TypedDict, Union

import pytest

from siemtap.core import declared
from siemtap.core.convert import FieldType, LongText, instant, ip, text, truth
from siemtap.core.errors import ConfigError
from siemtap.core.rows import Dataset, Field, Given, Join, Split
from siemtap.elastic import field_types
from siemtap.elastic.server import Server
from siemtap.render import ecs, row_types
from siemtap.render.datasets import schema_of_type


class Part(TypedDict):
    name: str
    size: int


def whole(value: Any) -> Optional[int]:
    return value


def pair(value: Any) -> Tuple[Optional[float], LongText]:
    return value


@lru_cache
def any_number(value: Any) -> Tuple[Optional[str], ...]:
    return value


def names(value: Any) -> List[str]:
    return value


def parts(value: Any) -> Optional[List[Part]]:
    return value


def objects(value: Any) -> Dict[str, Any]:
    return value


def word(value: Any) -> Literal["a", "b"]:
    return value


def number(value: Any) -> Union[int, float]:
    return value


def unsaid(value):
    return value


def anything(value: Any) -> Any:
    return value


def dataset(*rows, **more):
    return Dataset(name="acme.event", clock=text, identity=("id",), rows=rows, **more)


def types(*rows, **more):
    return row_types.field_types(dataset(*rows, **more))


KEYWORD, LONG = FieldType("keyword"), FieldType("long")


@pytest.mark.parametrize(
    "convert, expected",
    [
        (text, KEYWORD),
        (whole, LONG),
        (names, FieldType("keyword", many=True)),
        (objects, FieldType("flattened")),
        (parts, FieldType("object", many=True, properties=(("name", KEYWORD), ("size", LONG)))),
        (word, FieldType("keyword", values=("a", "b"))),
        (number, FieldType("double")),
        (truth, FieldType("boolean")),
        (ip, FieldType("ip")),
        (instant, FieldType("date")),
        (int, LONG),
        (unsaid, None),
        (anything, None),
        (lambda value: value, None),
        (declared.integer, LONG),
        (declared.integer_within(0, 9), FieldType("long", least=0, most=9)),
        (declared.lower, KEYWORD),
        (declared.long_text, FieldType("wildcard")),
        (declared.stored_text, FieldType("keyword", indexed=False)),
        (declared.const(None), FieldType("")),
        (declared.lookup({"x": 1, "y": 2}), FieldType("long", values=(1, 2))),
        (declared.lookup({"x": None}, text), KEYWORD),
        (
            declared.lookup({"x": ["a"]}, declared.const(["b"])),
            FieldType("keyword", True, values=("a", "b")),
        ),
    ],
)
def test_the_annotation_of_a_converter_is_the_type(convert, expected):
    assert types(Field("x", "acme.x", convert)) == {"acme.x": expected}


def test_a_split_has_a_type_for_each_field():
    assert types(Split("x", ("acme.a", "acme.b"), pair)) == {
        "acme.a": FieldType("double"),
        "acme.b": FieldType("wildcard"),
    }
    assert types(Split("x", ("acme.a", "acme.b", "acme.c"), any_number)) == dict.fromkeys(
        ("acme.a", "acme.b", "acme.c"), KEYWORD
    )
    matched = declared.match("([a-z]+)([0-9]+)", (2, declared.integer), (1, text))
    assert types(Split("x", ("acme.a", "acme.b"), matched)) == {"acme.a": LONG, "acme.b": KEYWORD}


def test_related_fields_are_lists_of_their_rows_values():
    assert types(Field("x", "related.ip", ip)) == {"related.ip": FieldType("ip", many=True)}


def test_a_row_that_reads_every_element_makes_a_list():
    assert types(Field("items[].size", "acme.sizes", whole)) == {
        "acme.sizes": FieldType("long", many=True)
    }
    assert types(Field("items[0].size", "acme.size", whole)) == {"acme.size": LONG}


def test_rows_of_one_field_agree():
    assert types(Field("x", "acme.x", whole), Join(("y",), "acme.x", number)) == {
        "acme.x": FieldType("double")
    }
    with pytest.raises(row_types.UnknownType, match=r"acme\.x: long and keyword are two types"):
        types(Field("x", "acme.x", whole), Field("y", "acme.x"))


@pytest.mark.parametrize(
    "row, message",
    [
        (Split("x", ("acme.a",), pair), "pair returns 2 values, and the row has 1 fields"),
        (Field("x", "acme.a", pair), "pair returns several values: write Split, and not Field"),
        (Split("x", ("acme.a", "acme.b"), whole), "whole returns one value: write Field"),
    ],
)
def test_a_converter_that_does_not_fit_its_row(row, message):
    with pytest.raises(row_types.UnknownType, match=message):
        types(row)


@pytest.mark.parametrize(
    "rows, constant, message",
    [
        (
            [Field("x", "event.actoin")],
            {},
            '"event.actoin" is no field of ECS 9.4.0 .*event.action',
        ),
        (
            [Field("x", "zzz.yyy")],
            {},
            '"zzz.yyy" is no field of ECS .* one of your own below acme.',
        ),
        ([Field("x", "acme.x", anything)], {}, "the type of acme.x is not known; annotate"),
        ([Given("x", "acme.x")], {}, "the type of acme.x is not known"),
        ([Field("x", "source.port")], {}, "source.port is a long .* gives keyword; use integer"),
        ([Field("x", "source.ip")], {}, "source.ip is a ip in ECS 9.4.0, .* use ip of"),
        ([Field("x", "process.args")], {}, "process.args is a list in ECS 9.4.0"),
        ([Field("x", "user.name", names)], {}, "user.name is one value in ECS"),
        ([], {"event.kind": "alarm"}, '"alarm" is no value of event.kind .* allowed are alert, '),
        ([], {"event.category": ["web", "wob"]}, '"wob" is no value of event.category'),
        (
            [],
            {"event.category": ["web"], "event.type": ["denied"]},
            "does not expect event.type denied beside event.category web; it expects access, error",
        ),
    ],
)
def test_an_error_says_what_is_wrong_and_what_is_allowed(rows, constant, message):
    with pytest.raises(ConfigError, match=f"acme.event.*{message}"):
        ecs.check(dataset(*rows, constant=constant))


@pytest.mark.parametrize(
    "rows",
    [
        [Field("x", "file.hash.sha256"), Field("y", "process.parent.pid", whole)],
        [Field("x", "labels.environment"), Field("y", "threat.technique.id", names)],
        [Field("x", "source.ip", ip), Field("y", "event.risk_score", number)],
    ],
)
def test_any_field_of_ecs_may_be_used(rows):
    ecs.check(dataset(*rows))


def test_two_datasets_of_a_plugin_have_one_type_for_a_field():
    first = dataset(Field("x", "acme.x"))
    second = Dataset("acme.other", text, ("id",), (Field("x", "acme.x", whole),))
    with pytest.raises(row_types.UnknownType, match=r"acme\.x: keyword and long are two types"):
        row_types.own_types([first, second])


@pytest.mark.parametrize(
    "kind, schema",
    [
        (KEYWORD, {"type": "string", "minLength": 1}),
        (LONG, {"$ref": "#/definitions/long"}),
        (FieldType("long", least=0, most=9), {"type": "integer", "minimum": 0, "maximum": 9}),
        (FieldType("keyword", values=("a",)), {"enum": ["a"]}),
        (
            FieldType("ip", many=True),
            {"type": "array", "items": {"$ref": "#/definitions/ip"}, "minItems": 1},
        ),
    ],
)
def test_the_schema_of_a_type(kind, schema):
    assert schema_of_type(kind) == schema


def test_the_index_gets_the_types_of_the_rows():
    table = dataset(
        Field("a", "acme.a"),
        Field("b", "acme.b", declared.long_text),
        Field("c", "acme.c", parts),
        Field("d", "acme.d", declared.stored_text),
        Field("e", "url.query"),
        Field("f", "process.exit_code", whole),
    )
    types = field_types.types(Server("elasticsearch", (9, 1)), table)
    expected = {
        "acme.a": {"type": "keyword", "ignore_above": 1024},
        "acme.b": {"type": "wildcard"},
        "acme.c.name": {"type": "keyword", "ignore_above": 1024},
        "acme.c.size": {"type": "long"},
        "acme.d": {"type": "keyword", "index": False, "doc_values": False},
        "acme.extra": {"type": "flattened", "ignore_above": field_types.LONGEST_TERM},
        "url.query": {"type": "keyword", "ignore_above": 2083},
        "process.exit_code": {"type": "long"},
    }
    assert {path: types[path] for path in expected} == expected
    opensearch = field_types.types(Server("opensearch", (3, 8)), table)
    assert opensearch["acme.b"] == {"type": "wildcard", "doc_values": False}
    assert opensearch["acme.extra"] == {"type": "flat_object"}
