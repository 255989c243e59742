"""Paths into nested records in Elastic's package. tests/live/check_ingest_nested.py runs them."""

from types import SimpleNamespace

import pytest

from siemtap.core.compile.paths import place_of
from siemtap.core.convert import instant
from siemtap.core.rows import Dataset, Field, Join
from siemtap.elastic.package.fields import fields_of
from siemtap.elastic.package.model import Stream
from siemtap.elastic.painless import script
from siemtap.elastic.painless_rows import place_literal, raw_value

TWINS = """
String time_of(Map r) { return instant(r.get('time')) }
String both(def a, def b) { return null }
"""


def time_of(record):
    return instant(record["time"])


def both(first, second):
    return None


NESTED = Dataset(
    "acme.event",
    clock=time_of,
    identity=("actor.id",),
    rows=(
        Field("actor.name", ("user.name", "acme.name")),
        Join(("actor.name", "items[].id"), "acme.both", both),
    ),
)


@pytest.mark.parametrize(
    "path, expression",
    [
        ("a", "r.get('a')"),
        ("a.b", "inside(r, ['a', 'b'])"),
        ("a[0].b", "inside(r, ['a', 0, 'b'])"),
        ("a[]", "each_inside(inside(r, ['a']), [])"),
        ("a[].b", "each_inside(inside(r, ['a']), ['b'])"),
        (
            "a.b[c=d].e[]",
            "second_of(places_inside(inside(r, ['a', 'b']), [['c', 'd'], 'e', []], 'a.b'))",
        ),
    ],
)
def test_how_painless_reads_a_path(path, expression):
    assert raw_value(path) == expression


def test_how_painless_writes_the_places_of_a_table():
    assert place_literal(place_of(["a[b=c].d"])) == (
        "['names': ['a': ['kinds': [['b', 'c', ['names': ['d': ['covered': true]]]]]]]]"
    )
    assert place_literal(place_of(["a", "b.c", "d[1]", "d[].e"])) == (
        "['names': ['a': ['covered': true], 'b': ['names': ['c': ['covered': true]]],"
        " 'd': ['items': ['1': ['covered': true, 'names': ['e': ['covered': true]]]],"
        " 'each': ['names': ['e': ['covered': true]]]]]]"
    )


def test_a_script_has_what_paths_need_only_where_there_are_any():
    flat = Dataset("acme.event", clock=time_of, identity=("id",), rows=(Field("id", "acme.id"),))
    functions = ("def inside(", "List each_inside(", "def unread(")
    assert all(function in script(NESTED, TWINS) for function in functions)
    assert not any(function in script(flat, TWINS) for function in functions)


def test_the_fields_name_the_paths():
    plugin = SimpleNamespace(name="acme", title="Acme")
    files = fields_of(plugin, NESTED, Stream((), ""))
    described = {field["name"]: field["description"] for field in [*files["fields"], *files["ecs"]]}
    assert described["user.name"] == "From actor.name of Acme."
    assert described["acme.both"] == "From actor.name, items[].id of Acme."
