"""Tables of paths in a pipeline on a real node: nested records, odd shapes among them, become the
events that Python makes."""

import random

import requests
from ingest import ADDRESSES, ODD, differences

from siemtap.core.compile import bind
from siemtap.core.convert import instant, ip, millis_of, text
from siemtap.core.declared import each, integer, lookup, lower, match
from siemtap.core.identity import canonical
from siemtap.core.rows import Dataset, Field, Join, Split
from siemtap.elastic.painless import script

UNTIL = "2026-03-04T10:05:00.000Z"
TWINS = """
String time_of(Map r) { return instant(r.get('time')) }
String both(def a, def b) { return a == null || b == null ? null : canonical([a, b]) }
String all_three(def a, def b, def c) { return a == null || b == null ? null : canonical([a, b, c]) }
def not_odd(def v) {
  if (canonical(v).contains('odd')) { throw new IllegalArgumentException('odd') }
  return v;
}
def without_password(def r) {
  if (!(r instanceof Map) || !(r.get('actor') instanceof Map) || !r.actor.containsKey('password')) { return r }
  Map actor = new HashMap(r.actor); actor.put('password', '[removed]');
  Map shown = new HashMap(r); shown.put('actor', actor);
  return shown;
}
"""


def time_of(record):
    return instant(record["time"])


def both(first, second):
    return None if first is None or second is None else canonical([first, second])


def all_three(first, second, third):
    return None if first is None or second is None else canonical([first, second, third])


def not_odd(value):
    if "odd" in canonical(value):
        raise ValueError("odd")
    return value


def without_password(record):
    actor = record.get("actor") if isinstance(record, dict) else None
    if not isinstance(actor, dict) or "password" not in actor:
        return record
    return {**record, "actor": {**actor, "password": "[removed]"}}


def dataset(*rows, **parts):
    return Dataset(
        "acme.event",
        clock=time_of,
        redact=without_password,
        rows=rows,
        constant={"observer.vendor": "Acme"},
        **parts,
    )


PEOPLE = dataset(
    Field("kind", ("event.action", "acme.kind"), lower),
    Field("actor.name", ("user.name", "related.user")),
    Field("actor.ip", ("source.ip", "related.ip"), ip),
    Field("actor.geo.country", "acme.country", lookup({"x": "X"})),
    Field("actor.password", "acme.password", integer),
    Field("target", "acme.target", not_odd),
    Split(
        "target.address",
        ("acme.high", "acme.low"),
        match(r"([0-9]+)\.([0-9]+)", (1, integer), (2, text)),
    ),
    Join(("actor.ip", "target.port"), "acme.both", both),
    identity=("id", "actor.id", "target.ids[0]", "indicators[].id"),
    expected_keys=("time", "actor.debug", "trace"),
    low_cardinality=("kind", "actor.name"),
)
LISTS = dataset(
    Field("indicators[0].value", "acme.first"),
    Field("indicators[2]", "acme.third", not_odd),
    Field("indicators[].value", ("acme.values", "related.hosts"), lower),
    Field("indicators[].score.n", "acme.scores", integer),
    Field("indicators[].ids[1]", "acme.ids", not_odd),
    Split("indicators[].name", ("acme.lower", "acme.text"), each(lower, text)),
    Field("tags[]", ("tags", "related.user")),
    Field("actor.ips[]", ("acme.ips", "related.ip"), ip),
    Field("actor[].ip", "acme.actors", ip),
    Field("indicators[value=x].score.n", "acme.kinds", not_odd),
    Field("indicators[].ids[]", ("acme.every", "related.hosts"), not_odd),
    Join(("indicators[].value", "tags[]", "indicators[value=x].ids[]"), "acme.both", all_three),
    identity=("id", "indicators[].value", "indicators[].ids[]"),
    expected_keys=("time", "indicators[].debug", "target.ids[0]"),
)
NAMES = {
    "": ("id", "kind", "actor", "target", "indicators", "tags", "trace", "actor.ip", "odd[0]"),
    "actor": ("name", "ip", "ips", "geo", "id", "debug", "password", "name.x", "n"),
    "geo": ("country", "city"),
    "target": ("port", "ids", "address", "odd"),
    "item": ("value", "score", "ids", "id", "name", "debug", "note"),
    "score": ("n", "[]"),
}
LISTED = {"indicators": "item", "tags": "", "ips": "", "ids": ""}
WORDS = (*ADDRESSES, "odd", "x", "A", "7", "12.5", "b.example")


def value_of(rng, name):
    """Return a value as the tables expect it there, or an odd one."""
    if rng.random() < 0.12:
        return rng.choice(ODD)
    if name == "actor" and rng.random() < 0.2:
        return [value_of(rng, name) for _ in range(rng.randint(0, 3))]
    if name in LISTED:
        return [value_of(rng, LISTED[name] or "word") for _ in range(rng.randint(0, 4))]
    if name not in NAMES:
        return rng.choice(WORDS)
    names = NAMES[name]
    return {inner: value_of(rng, inner) for inner in rng.sample(names, rng.randint(0, len(names)))}


def record_of(rng):
    record = {"time": "2026-03-04T10:02:13.417Z"} if rng.random() < 0.97 else {}
    names = rng.sample(NAMES[""], rng.randint(2, len(NAMES[""])))
    return {**record, **{name: value_of(rng, name) for name in names}}


def test_odd_nested_records(node):
    for seed, table in enumerate((PEOPLE, LISTS)):
        rng = random.Random(seed)
        records = [record_of(rng) for _ in range(1_500)]
        map_record = bind(table, None)
        wanted = [map_record(record, millis_of(UNTIL), None) for record in records]
        source = {"script": {"lang": "painless", "source": script(table, TWINS)}}
        got = []
        for at in range(0, len(records), 500):
            documents = [
                {"_source": {"_record": record, "_conf": {"until": UNTIL}}}
                for record in records[at : at + 500]
            ]
            answer = requests.post(
                f"{node.url}/_ingest/pipeline/_simulate",
                json={"pipeline": {"processors": [source]}, "docs": documents},
                timeout=60,
            )
            assert answer.ok, str(answer.json()["error"].get("caused_by"))[:3000]
            results = answer.json()["docs"]
            assert all("doc" in result for result in results), results[0]
            got += [result["doc"]["_source"] for result in results]
        kinds = [event["event"].get("kind") for event in wanted]
        kept = [event for event in wanted if "extra" in event.get("acme", {})]
        assert 10 < kinds.count("pipeline_error") < 150 and 300 < len(kept) < 1_490
        difference = differences(wanted, got, records)
        assert not difference, difference
