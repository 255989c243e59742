"""Mapping tables and the Python code compiled from them."""

import json
import random
from types import SimpleNamespace

import pytest

from siemtap.core import convert, declared
from siemtap.core.compile import bind, bind_error, source_code
from siemtap.core.convert import LATEST, instant, rfc3339
from siemtap.core.identity import identify, spell
from siemtap.core.rows import Dataset, Field, Join, Split, TooDeep, as_sent, shallow
from siemtap.testing.world import NOON

TINY = Dataset(
    "acme.event",
    clock=lambda record: "2026-03-04T10:00:00.000Z",
    identity=("n",),
    rows=(Field("n", "acme.n"),),
)


def test_table_is_compiled_to_python_without_loops():
    table = Dataset(
        "acme.event",
        clock=lambda record: convert.instant(record["at"]),
        identity=("at", "who"),
        expected_keys=("at",),
        rows=(
            Field("who", ("user.name", "related.user")),
            Field("n", "acme.n", declared.integer),
            Split(
                "where",
                ("source.ip", "source.address", "related.ip"),
                lambda value: (convert.ip(value), value, convert.ip(value)),
            ),
            Join(
                ("n", "who"),
                "message",
                lambda n, who: f"{who.strip()} did it {n} times" if n and who else None,
            ),
        ),
        constant={"event.kind": "event", "observer.vendor": "Acme"},
    )
    event = bind(table, None)(
        {
            "at": "2026-03-04T10:00:00Z",
            "who": " eve ",
            "n": "3",
            "where": "192.0.2.1",
            "odd": [1],
            "empty": "",
        },
        0,
    )
    assert event.pop("event") == {
        "id": identify("acme.event", ["2026-03-04T10:00:00Z", "eve"]),
        "kind": "event",
        "dataset": "acme.event",
        "module": "acme",
    }
    assert event == {
        "@timestamp": "2026-03-04T10:00:00.000Z",
        "ecs": {"version": "9.4.0"},
        "data_stream": {"type": "logs", "dataset": "acme.event"},
        "observer": {"vendor": "Acme"},
        "message": "eve did it 3 times",
        "user": {"name": "eve"},
        "related": {"user": ["eve"], "ip": ["192.0.2.1"]},
        "acme": {"n": 3, "extra": {"odd": [1], "empty": ""}},
        "source": {"ip": "192.0.2.1", "address": "192.0.2.1"},
    }
    assert (
        "# where -> source.ip, source.address, related.ip" in source_code(table)
        and "for " not in source_code(table).partition("extra.update")[0]
    )


def low_cardinality(*names):
    return Dataset(
        "acme.event",
        clock=lambda record: None,
        identity=("id",),
        low_cardinality=names,
        constant={"rule.version": "1"},
        rows=(
            Field("id", ("acme.id", "message")),
            Field("site", ("acme.site", "service.name", "related.hosts")),
            Field("level", "acme.level"),
            Split(
                "verdict",
                ("event.action", "event.type", "rule.name"),
                lambda value: (value.lower(), [value], value) if value != "odd" else int(value),
            ),
            Field("title", "message"),
            Field("host", ("destination.domain", "related.hosts", "related.ip")),
            Field("ip", ("source.ip", "related.ip")),
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ("verdict",),
        ("site", "level", "verdict", "title", "host"),
        ("site", "host"),
        ("id", "site", "level", "verdict", "title", "host", "ip"),
    ],
)
def test_cached_rows_give_the_same_events(names):
    """With values of every kind: strings, 1 beside True and 1.0, unhashable values, rejected
    values, repeated values, none."""
    rng = random.Random(11)
    values = ["a", " b ", "-", "", None, 1, True, 1.0, 0, False, "odd", ["a"], {"a": []}, "1"]
    records = [
        {
            name: rng.choice(values)
            for name in rng.sample(
                ["id", "site", "level", "verdict", "title", "host", "ip", "else"],
                rng.randint(0, 8),
            )
        }
        for _ in range(3_000)
    ]
    map_record, plain = (
        bind(low_cardinality(*names), None, {"tags": ["x"]}),
        bind(low_cardinality(), None, {"tags": ["x"]}),
    )
    for record in records:
        made = map_record(record, 0)
        assert spell(made) == spell(plain(record, 0)), (
            record
        )  # as text, because 1 == True in Python but not in JSON
        made.get("acme", {}).clear()  # a change of one event must not change the next
        made["event"].clear()


def test_later_row_overwrites_an_earlier_one_also_when_cached():
    """`message` is set by `id`, then by `title`. The row of `id` may be cached, and the row of
    `title` must still come last."""
    assert (
        bind(low_cardinality("title"), None)({"id": "7", "title": "seen"}, 0)["message"] == "seen"
    )
    assert (
        bind(low_cardinality("id", "title"), None)({"id": "7", "title": "seen"}, 0)["message"]
        == "seen"
    )
    assert bind(low_cardinality("host"), None)({"site": "a", "host": "b"}, 0)["related"][
        "hosts"
    ] == ["a", "b"]


def test_inputs_share_a_cache_only_with_equal_settings():
    def named(value, *, names):
        return names.get(value, value)

    table = Dataset(
        "acme.event",
        clock=lambda record: None,
        identity=("n",),
        low_cardinality=("n",),
        rows=(Field("n", "acme.n", named),),
    )
    map_record, other = (
        bind(table, SimpleNamespace(names=names)) for names in ({"1": "one"}, {"1": "uno"})
    )
    assert [map_record({"n": "1"}, 0)["acme"]["n"], other({"n": "1"}, 0)["acme"]["n"]] == [
        "one",
        "uno",
    ]


def test_value_rejected_by_a_converter_is_kept_as_sent():
    table = Dataset(
        "acme.event",
        clock=lambda record: None,
        identity=("n",),
        rows=(Field("n", "acme.n", declared.integer),),
    )
    event = bind(table, None)({"n": "many"}, 1_000)
    assert (
        event["acme"] == {"extra": {"n": "many"}}
        and event["@timestamp"] == "1970-01-01T00:00:01.000Z"
    )


def deep(levels):
    value = "s3cret"
    for _ in range(levels):
        value = [value]
    return value


def break_all(record):
    raise ZeroDivisionError("s3cret")


@pytest.mark.slow
@pytest.mark.parametrize("redact", [as_sent, break_all], ids=["as_sent", "break_all"])
@pytest.mark.parametrize("value", ["s3cret", deep(50_000)], ids=["short", "deep"])
@pytest.mark.parametrize("until", [0, NOON, 10**30, -5])
def test_record_that_breaks_the_mapping_becomes_a_pipeline_error(redact, value, until):
    """Converters, identity or redaction may fail. If the redaction fails, nothing of the record
    is shown."""
    table = Dataset(
        "acme.event",
        clock=break_all,
        identity=(break_all,),
        redact=redact,
        rows=(Field("n", "acme.n", break_all),),
    )
    error = bind_error(table, None, {"tags": ["a"]})
    record, other = {"n": value, "m": 1}, {"n": value, "m": True}
    event = error(record, until, "2026-03-04T12:00:00.000Z")
    assert (
        event["event"]["kind"] == "pipeline_error"
        and event["error"]["message"]
        and event["tags"] == ["a"]
    )
    assert (
        event["@timestamp"] == rfc3339(min(max(until, 0), LATEST))
        and event["event"]["created"] == "2026-03-04T12:00:00.000Z"
    )
    assert (
        event["event"]["id"]
        == error(record, NOON)["event"]["id"]
        != error(other, NOON)["event"]["id"]
    )
    shown = redact is as_sent and value == "s3cret"
    assert ("original" in event["event"]) == shown == ("s3cret" in json.dumps(event))


def test_constants_of_one_input_are_not_in_events_of_another():
    map_record, other = (
        bind(TINY, None, {"tags": tags, "agent.name": tags[0]}) for tags in (["a"], ["b"])
    )
    assert map_record({"n": "1"}, 0)["tags"] == ["a"] and other({"n": "1"}, 0)["agent"] == {
        "name": "b"
    }


@pytest.mark.parametrize("depth", [99, 120, 140, 500, 900])
def test_record_nested_too_deeply_is_rejected_before_it_is_mapped(depth):
    value = []
    for _ in range(depth - 2):
        value = [value, {"beside": 1}]
    if depth <= 128:
        assert shallow({"a": value}) == {"a": value}
    else:
        with pytest.raises(TooDeep, match="too deep"):
            shallow({"a": value})


def test_why_a_record_cannot_be_read_is_reported_without_its_values():
    def clock(record):
        return instant(record["when"])

    dataset = Dataset("acme.event", clock, ("id",), (Field("id", "acme.id"),))
    reasons = []
    map_record = bind(dataset, None, report=reasons.append)
    for record in ({"id": 1}, {"when": "s3cret"}, "s3cret", None):
        assert map_record(record, 0, None)["event"]["kind"] == "pipeline_error"
    assert reasons == [
        "it has no `when`",
        "its time cannot be read (ValueError)",
        "it is no object, but str",
        "it is no object, but NoneType",
    ]
