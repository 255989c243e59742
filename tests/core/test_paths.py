"""Dotted paths into nested objects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core import paths

TREE = {"a": {"b": 1, "c": {"d": None}}, "list": [{"x": 1}, {"x": 2}], "empty": {}}
NAMES = st.text("abc", min_size=1, max_size=3)
TREES = st.recursive(
    st.integers() | st.just({}) | st.lists(st.integers()),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1),
)


def test_a_value_or_the_default():
    assert paths.get(TREE, "a.b") == 1 and paths.get(TREE, "a") == {"b": 1, "c": {"d": None}}
    assert paths.get(TREE, "a.c.d", 7) is None  # it is there
    assert paths.get(TREE, "a.x.y") is None and paths.get(TREE, "a.x.y", 7) == 7
    assert paths.get(TREE, "a.b.x", 7) == 7 and paths.get(TREE, "list.x") is None
    assert paths.find(TREE, ["a", "b"]) == 1 and paths.find(TREE, []) == TREE


def test_a_value_is_put_into_objects_that_are_made():
    tree = {"a": {"x": 1}}
    paths.put(tree, "a.b.c", 2)
    paths.put(tree, "d", 3)
    assert tree == {"a": {"x": 1, "b": {"c": 2}}, "d": 3}
    assert paths.nest({"a.b": 1, "a.c": 2}, between="properties") == {
        "a": {"properties": {"b": 1, "c": 2}}
    }


def test_the_objects_around_a_value():
    assert paths.parents("a.b.c") == ["a", "a.b"] and paths.parents("a") == []


def test_leaves_of_lists():
    assert dict(paths.leaves(TREE)) == {
        "a.b": 1,
        "a.c.d": None,
        "list": [{"x": 1}, {"x": 2}],
        "empty": {},
    }
    assert [*paths.leaves(TREE["list"], paths.same_path)] == [("x", 1), ("x", 2)]
    assert [*paths.leaves({"l": [[1], 2]}, item=lambda index: f".{index}")] == [
        ("l.0.0", 1),
        ("l.1", 2),
    ]


@pytest.mark.slow
@given(st.dictionaries(NAMES, TREES, min_size=1))
def test_leaves_and_nest_are_opposites(tree):
    fields = dict(paths.leaves(tree))
    assert paths.nest(fields) == tree
    assert all(paths.get(tree, path) == value for path, value in fields.items())
