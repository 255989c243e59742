"""Rows that read paths into nested records: every value is in a field or in `extra`, at its own
path."""

from collections import Counter
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siemtap.core import declared
from siemtap.core.compile import bind, source_code
from siemtap.core.compile.paths import EACH, is_each, steps_of
from siemtap.core.identity import identify, spell
from siemtap.core.rows import Dataset, Field, Join, Split, as_sent


def table(*rows, **parts):
    return Dataset(
        "acme.event",
        **{
            "clock": lambda record: None,
            "identity": ("id",),
            "rows": (Field("id", "acme.id"), *rows),
        }
        | parts,
    )


def acme(record, *rows, **parts):
    """Return the vendor's object of the event that a table makes of a record."""
    event = bind(table(*rows, **parts), None)({"id": "1", **record}, 0)
    del event["acme"]["id"]
    return event["acme"]


def sent(value):
    """Return any value but one that holds the text "bad"."""
    if "bad" in str(value):
        raise ValueError("bad")
    return value


ACTOR = (Field("actor.ip", "acme.ip"), Field("actor.geo.country", "acme.country", sent))


def test_a_path_reads_a_nested_object_and_the_rest_stays_nested():
    record = {"actor": {"ip": " 192.0.2.1 ", "geo": {"country": "FR", "city": "Nice"}, "n": None}}
    assert acme(record, *ACTOR) == {
        "ip": "192.0.2.1",
        "country": "FR",
        "extra": {"actor": {"geo": {"city": "Nice"}, "n": None}},
    }


@pytest.mark.parametrize("actor", ["eve", "", 0, 5, False, ["eve"], [{"ip": "192.0.2.1"}]])
def test_a_part_that_is_no_object_is_kept(actor):
    assert acme({"actor": actor}, *ACTOR) == {"extra": {"actor": actor}}
    inside = {"actor": {"ip": "192.0.2.1", "geo": actor}}
    assert acme(inside, *ACTOR) == {"ip": "192.0.2.1", "extra": {"actor": {"geo": actor}}}


@pytest.mark.parametrize("record", [{}, {"actor": None}, {"actor": {}}, {"actor": {"geo": None}}])
def test_null_is_absence(record):
    assert acme(record, *ACTOR) == {}
    assert acme(record, Field("actor[].ip", "acme.ips"), Field("actor.geo", "acme.geo")) == {}


def test_what_a_converter_refuses_is_kept_at_its_own_place():
    record = {"actor": {"ip": ["x"], "geo": {"country": " bad "}}, "tags": ["a", " bad ", None]}
    assert acme(record, *ACTOR, Field("tags[]", "acme.tags", sent)) == {
        "tags": ["a"],
        "extra": {
            "actor": {"ip": ["x"], "geo": {"country": "bad"}},
            "tags": [None, "bad", None],
        },
    }


def test_a_key_with_a_dot_is_not_read():
    record = {"actor.ip": "192.0.2.1", "actor": {"geo.country": "FR"}}
    assert acme(record, *ACTOR) == {
        "extra": {"actor.ip": "192.0.2.1", "actor": {"geo.country": "FR"}}
    }


INDICATORS = {
    "indicators": [
        {"value": "a.example", "port": "1"},
        None,
        {"value": "bad", "score": 5},
        "text",
        {"value": "-"},
        {"port": 2},
    ]
}


def test_one_element_of_a_list():
    rows = Field("indicators[0].value", "acme.first"), Field("indicators[5].port", "acme.last")
    rest = INDICATORS["indicators"][1:5]
    assert acme(INDICATORS, *rows) == {
        "first": "a.example",
        "last": "2",
        "extra": {"indicators": [{"port": "1"}, *rest, None]},
    }
    assert acme({"indicators": [{"value": "a"}]}, *rows) == {"first": "a"}
    assert acme({"indicators": {"0": 1}}, *rows) == {"extra": {"indicators": {"0": 1}}}


def test_all_elements_of_a_list():
    dataset = table(
        Field("host", "related.hosts"),
        Field("indicators[].value", ("acme.values", "related.hosts"), sent),
        Split(
            "indicators[].port", ("acme.ports", "acme.odd"), lambda n: (int(n), int(n) % 2 or None)
        ),
        Join(("indicators[].port", "host"), "acme.joined", lambda ports, host: [*ports, host]),
        Field("indicators[0].value", "acme.first"),
    )
    event = bind(dataset, None)({"id": "1", "host": "a.example", **INDICATORS}, 0)
    assert event["related"] == {"hosts": ["a.example"]}
    assert event["acme"] == {
        "id": "1",
        "values": ["a.example"],
        "ports": [1, 2],
        "odd": [1],
        "joined": ["1", None, None, None, None, 2, "a.example"],
        "first": "a.example",
        "extra": {
            "indicators": [None, None, {"value": "bad", "score": 5}, "text", None, None],
        },
    }


ENTITIES = {
    "entities": [
        {"type": "host", "value": {"name": "web", "ips": ["192.0.2.1", " bad ", "192.0.2.2"]}},
        {"type": "account", "value": "eve", "note": 1},
        {"type": "host", "value": {"name": "db", "ips": "192.0.2.3"}},
        {"type": "host", "value": {"ips": ["192.0.2.4"], "guid": "g"}},
        {"value": "nobody"},
    ]
}


def test_lists_in_lists_and_kinds_of_elements():
    rows = (
        Field("entities[type=host].value.name", "acme.hosts"),
        Field("entities[type=host].value.ips[]", "acme.ips", sent),
        Field("entities[type=account].value", "acme.accounts"),
        Join(("entities[type=account].value",), "acme.only", lambda names: names[0]),
    )
    assert acme(ENTITIES, *rows, expected_keys=("entities[].type",)) == {
        "hosts": ["web", "db"],
        "ips": ["192.0.2.1", "192.0.2.2", "192.0.2.4"],
        "accounts": ["eve"],
        "only": "eve",
        "extra": {
            "entities": [
                {"value": {"ips": [None, "bad", None]}},
                {"note": 1},
                {"value": {"ips": "192.0.2.3"}},
                {"value": {"guid": "g"}},
                {"value": "nobody"},
            ]
        },
    }
    assert acme({"entities": [{"type": "host", "value": {"name": "web"}}]}, rows[0]) == {
        "hosts": ["web"],
        "extra": {"entities": [{"type": "host"}]},
    }
    assert acme({"a": [[["x"], "y"], "z"]}, Field("a[][][]", "acme.deep")) == {
        "deep": ["x"],
        "extra": {"a": [[None, "y"], "z"]},
    }


def test_as_many_other_names_as_the_table_has():
    """The length of an object does not tell whether there is anything else in it."""
    assert acme({"actor": {"else": 1, "geo": {}}}, *ACTOR) == {"extra": {"actor": {"else": 1}}}
    assert acme({"a": [{"else": 1}]}, Field("a[].n", "acme.n")) == {"extra": {"a": [{"else": 1}]}}


def test_paths_that_are_expected_or_identify():
    rows = Field("actor.ip", "acme.ip"), Field("request", "acme.request", lambda value: value["id"])
    dataset = table(
        *rows,
        Field("request.port", "acme.port", declared.integer),
        identity=("actor.id", "items[1]", "items[].n", lambda record: 7),
        expected_keys=("actor.debug", "trace"),
    )
    record = {
        "actor": {"ip": "x", "id": " 5 ", "debug": {"a": 1}},
        "items": [{"n": 1}, {"n": 2}],
        "trace": {"span": [1]},
        "request": {"id": "r", "port": "many", "else": 1},
    }
    event = bind(dataset, None)(record, 0)
    assert event["event"]["id"] == identify("acme.event", ["5", {"n": 2}, [1, 2], 7])
    # The row of `request` reads all of it; what is refused inside it is kept all the same.
    assert event["acme"] == {"ip": "x", "request": "r", "extra": {"request": {"port": "many"}}}


def test_an_expected_object_hides_whatever_it_is():
    for actor in ("text", [1], {"else": 1}, {"ip": "192.0.2.1", "n": {"m": 1}}):
        assert "extra" not in acme({"actor": actor}, *ACTOR, expected_keys=("actor",))
    refused = {"actor": {"geo": {"country": "bad", "city": "Nice"}}}
    assert acme(refused, *ACTOR, expected_keys=("actor",)) == {
        "extra": {"actor": {"geo": {"country": "bad"}}}
    }


def test_what_is_kept_is_redacted():
    def hide(record):
        actor = record.get("actor")
        if not isinstance(actor, dict) or "key" not in actor:
            return record
        return {**record, "actor": {**actor, "key": "[removed]"}}

    record = {"actor": {"ip": "x", "key": "s3cret", "n": 1}}
    for row in (Field("actor.ip", "acme.ip"), Field("actor.key", "acme.key", declared.integer)):
        shown = acme(record, row, redact=hide)["extra"]
        assert shown["actor"]["key"] == "[removed]"
        assert "s3cret" not in spell(shown)


def test_the_mapping_stays_straight_line_code():
    source = source_code(table(*ACTOR, Join(("actor.ip", "id"), "acme.both", lambda ip, id: ip)))
    assert "get = raw_1.get\n" in source and "for " not in source
    assert "unread(" not in source_code(table())


@pytest.mark.parametrize(
    "path",
    ["a.", ".a", "", "a..b", "a[x]", "a[-1]", "a[01]", "[0]", "a[=b]", "a[b=]", "a]", "a[0]b"],
)
def test_what_is_no_path(path):
    with pytest.raises(ValueError, match="is not a path such as"):
        source_code(table(Field(path, "acme.n")))


# Random records and random tables. Texts are numbered, so that each can be followed.

LEAVES = st.sampled_from(["good", "good", "bad", None, "", "-", 0, True])
STEPS = st.sampled_from([".a", ".b", "[0]", "[2]", "[]", "[z=-]"])


def values(depth):
    """Return a strategy of values that have the shape of random paths more often than not."""
    if not depth:
        return LEAVES
    inner = values(depth - 1)
    names = st.fixed_dictionaries({}, optional={name: inner for name in ("a", "b", "z")})
    return st.one_of(names, names, st.lists(inner, max_size=4), LEAVES)


RECORDS = st.fixed_dictionaries(
    {}, optional={"a": values(3), "b": values(1), "z": LEAVES, "a.b": LEAVES}
)
PATHS = st.lists(
    st.builds(
        lambda name, steps: name + "".join(steps),
        st.sampled_from(["a", "a", "a", "b"]),
        st.lists(STEPS, max_size=3),
    ),
    unique=True,
    min_size=1,
    max_size=4,
)


def numbered(value, numbers):
    """Return a value with a number behind each word: no two texts of a record are the same."""
    if isinstance(value, dict):
        return {name: numbered(inner, numbers) for name, inner in value.items()}
    if isinstance(value, list):
        return [numbered(inner, numbers) for inner in value]
    return f"{value}{next(numbers)}" if value in ("good", "bad") else value


def texts(value, place=()):
    """Yield (place, text) of each numbered text."""
    if isinstance(value, (dict, list)):
        inside = value.items() if isinstance(value, dict) else enumerate(value)
        for step, inner in inside:
            yield from texts(inner, (*place, step))
    elif isinstance(value, str) and value[-1:].isdigit():
        yield place, value


def covers(path, place, record):
    """Return the place at which a path reads a value around or at another place, if it does."""
    steps = steps_of(path)
    if len(steps) > len(place):
        return None
    for depth, (step, at) in enumerate(zip(steps, place)):
        if is_each(step):
            item = value_at(record, place[: depth + 1])
            is_read = isinstance(at, int) and (
                step == EACH or (isinstance(item, dict) and item.get("z") == "-")
            )
        else:
            is_read = step == at and type(step) is type(at)
        if not is_read:
            return None
    return place[: len(steps)]


def value_at(value, place):
    for step in place:
        value = value[step]
    return value


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(RECORDS, min_size=1, max_size=6),
    PATHS,
    st.data(),
)
def test_every_value_is_in_a_field_or_in_extra_at_its_own_path(records, read, data):
    expected = tuple(data.draw(st.lists(st.sampled_from(read), max_size=1)))
    rows = [Field(path, f"acme.f{n}", sent) for n, path in enumerate(read) if path not in expected]
    dataset = table(rows=tuple(rows), identity=("z",), expected_keys=expected)
    map_record = bind(dataset, None)
    for record in records:
        record = numbered(record, count())
        check_values(record, rows, (*expected, "z"), map_record(record, 0).get("acme", {}))


def check_values(record, rows, hidden, vendor):
    extra = vendor.pop("extra", {})
    in_extra, in_fields = set(), Counter()
    for place, text in texts(record):
        row_places = [covers(row.source, place, record) for row in rows]
        row_places = [row_place for row_place in row_places if row_place]
        refused = ["bad" in str(value_at(record, row_place)) for row_place in row_places]
        named = row_places or any(covers(path, place, record) for path in hidden)
        if any(refused) or not named:
            in_extra.add((place, text))
        in_fields[text] += refused.count(False)
    assert set(texts(extra)) == in_extra
    assert len(list(texts(extra))) == len(in_extra)
    assert Counter(text for _, text in texts(vendor)) == +in_fields
    check_shape(extra, record)


def check_shape(extra, record):
    """Check that an object or a list of `extra` stands where the record has one, as long."""
    assert type(extra) is type(record) or extra is None
    if isinstance(extra, dict):
        for name, inner in extra.items():
            check_shape(inner, record[name])
    elif isinstance(extra, list):
        assert len(extra) == len(record)
        for inner, sent_value in zip(extra, record):
            check_shape(inner, sent_value)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(RECORDS, max_size=4),
    PATHS,
    st.data(),
)
def test_cached_rows_give_the_same_event(records, read, data):
    rows = tuple(Field(path, (f"acme.f{n}", "related.hosts"), sent) for n, path in enumerate(read))
    cached = tuple(data.draw(st.lists(st.sampled_from(read), unique=True)))
    plain = bind(table(rows=rows), None)
    map_record = bind(table(rows=rows, low_cardinality=cached), None)
    for record in [*records, *records]:
        event = map_record(record, 0)
        assert spell(event) == spell(plain(record, 0))
        event.get("acme", {}).clear()  # what an event still grows is its own


@settings(max_examples=50, deadline=None)
@given(RECORDS, PATHS)
def test_no_record_makes_the_mapping_fail(record, read):
    rows = [Field(path, f"acme.f{n}") for n, path in enumerate(read)]
    rows.append(Join(tuple(read), "acme.join", lambda *values: len(values)))
    event = bind(table(rows=tuple(rows), identity=tuple(read), redact=as_sent), None)(record, 0)
    assert event["acme"]["join"] == len(read)
