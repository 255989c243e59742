"""Converters with a declaration: Python runs it, Painless is generated from it, and none is
written by hand as well."""

from importlib import import_module

import pytest

from siemtap.bundles import integration
from siemtap.core.convert import text
from siemtap.core.declared import (
    const,
    declaration_of,
    each,
    integer,
    integer_within,
    lookup,
    lower,
    match,
)
from siemtap.core.rows import Field, Given, as_sent
from siemtap.elastic import painless, painless_rows

STREAMS = [
    (name, dataset)
    for name, plugin in integration.packaged().items()
    for dataset in integration.described(plugin).streams
]
UNCONVERTED = (as_sent, Given._field_defaults["convert"])
REFUSED = "refused"


def leaves(convert):
    """Return a converter and those that its declaration consists of."""
    declaration = declaration_of(convert)
    parts = getattr(declaration, "parts", ())
    inner = [part[1] if isinstance(part, tuple) else part for part in parts]
    inner += filter(None, [getattr(declaration, "otherwise", None)])
    return [convert, *(leaf for part in inner for leaf in leaves(part))]


def converters(plugin, names):
    """Return the converters of the rows that the scripts of the pipelines implement."""
    streams = integration.described(plugin).streams
    return [
        leaf
        for name in names
        for row in plugin.dataset(name).rows
        if row.target not in streams[name].elsewhere and row.convert not in UNCONVERTED
        for leaf in leaves(row.convert)
    ]


@pytest.mark.parametrize("name, dataset", STREAMS)
def test_every_converter_has_a_declaration_or_a_painless_function(name, dataset):
    plugin = integration.packaged()[name]
    twins = painless.functions(integration.described(plugin).twins)
    used = converters(plugin, [dataset])
    without = [leaf for leaf in used if declaration_of(leaf) is None and leaf.__name__ not in twins]
    assert used and without == []


@pytest.mark.parametrize("name", integration.packaged())
def test_no_painless_function_duplicates_a_declaration(name):
    """Compared by the name of the converter in mapping.py."""
    plugin = integration.packaged()[name]
    written = {
        match[1] for match in painless.FUNCTION.finditer(integration.described(plugin).twins)
    }
    used = converters(plugin, integration.described(plugin).streams)
    declared = {
        word
        for word, value in vars(import_module(f"{name}.mapping")).items()
        if any(value is leaf for leaf in used) and declaration_of(value) is not None
    }
    assert declared and not declared & written


@pytest.mark.parametrize(
    "convert, values",
    [
        (integer, [(5, 5), ("7", 7), (3.0, 3), (1.5, REFUSED), (True, REFUSED), ("x", REFUSED)]),
        (integer_within(0, 10), [(0, 0), ("10", 10), (11, REFUSED), (-1, REFUSED)]),
        (integer_within(nothing=0), [(0, None), ("0", None), (200, 200)]),
        (lower, [("AbC", "abc"), (5, "5"), ([], REFUSED)]),
        (const("x"), [(1, "x"), ([], "x")]),
        (lookup({"a": 1}), [("a", 1), ("A", REFUSED), ("b", REFUSED), ([], REFUSED)]),
        (lookup({"a": 1, "b": None}, text), [("a", 1), ("b", None), ("c", "c"), (4, "4")]),
        (lookup({"a": 1}, const(0), lower=True), [(" A ", 1), ("b", 0), ({}, REFUSED)]),
        (lookup({"true": 1}, const(0)), [(True, 1), (False, 0), ("true", 1)]),
        (
            match(r"([A-Z]+)/([0-9])", (2, text), (1, lower)),
            [("HT/1", ("1", "ht")), ("HT/", REFUSED), (5, REFUSED)],
        ),
        (each(lower, text, lower), [("A", ("a", "A", "a")), (5, ("5", "5", "5"))]),
    ],
)
def test_declarations_in_python(convert, values):
    for value, wanted in values:
        if wanted == REFUSED:
            with pytest.raises(ValueError):
                convert(value)
        else:
            assert convert(value) == wanted


@pytest.mark.parametrize(
    "convert, expression",
    [
        (integer, "integer(v)"),
        (int, "python_int(v)"),
        (float, "python_float(v)"),
        (integer_within(0, 9), "integer_within(v, 0L, 9L)"),
        (integer_within(least=1), "integer_within(v, 1L, 9223372036854775807L)"),
        (integer_within(nothing=0), "(integer(v) == 0L ? null : integer(v))"),
        (lower, "lower(v)"),
        (const(["a"]), "['a']"),
        (lookup({"a": 1}, text), "['a': 1].getOrDefault(text(v), text(v))"),
        (lookup({"a": None}), "known(['a': null], text(v))"),
        (
            lookup({"a": 1}, const(None), lower=True),
            "['a': 1].getOrDefault(strip(text(v)).toLowerCase(), null)",
        ),
    ],
)
def test_declarations_in_painless(convert, expression):
    assert painless_rows.call(convert, ["v"], painless.functions("")) == expression


def test_several_fields_need_a_split():
    with pytest.raises(TypeError, match="Split"):
        painless_rows.call(each(text, text), ["v"], painless.functions(""))
    value, parts = painless_rows._values(
        Field("n", ("x.a", "x.b", "x.c"), each(lower, text, lower)), painless.functions("")
    )
    assert value == "[lower(raw), text(raw)]"
    assert parts == ["value.get(0)", "value.get(1)", "value.get(0)"]
    value, parts = painless_rows._values(
        Field("n", ("x.a", "x.b"), match("a/(b)", (1, lower), (0, text))), painless.functions("")
    )
    assert value == "groups(raw, /a\\/(b)/)"
    assert parts == ["lower(value.get(1))", "text(value.get(0))"]
