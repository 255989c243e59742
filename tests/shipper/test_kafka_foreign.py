"""Messages that others wrote to a topic: whatever they hold, each is an event or is rejected, once,
and the partition goes on."""

import json
from contextlib import closing

import pytest
from kafka_mock import Mock
from shipper import raw_kafka
from shipper.kafka_events import config, event, stored, value

from siemtap.core.convert import LATEST
from siemtap.core.model import Batch
from siemtap.edge.store.checkpoints import Database
from siemtap.engine.passing import event_passer
from siemtap.kafka.input import EVENTS
from siemtap.shipper.process import Shipper

SQLITE = '"output": {"sqlite": {"retention": "0s"}}'
# what `drop`, processors, look-ups, the tally and the status page ask of an event
ASKED = {
    "event.action": [5, ["a"], {}, None, True],
    "event.severity": ["high", [21], {}, 5],
    "event.kind": [[], {}, 7],
    "rule.name": [5, [], {}],
    "rule": [5, [], "x"],
    "source.address": [5, ["x"], {}],
    "source.ip": [5, ["192.0.2.1"], "no", {}],
    "source": [7, []],
    "tags": [None, 5, "x", [7], [[]]],
    "data_stream.namespace": ["A", "x y", 7, [], "n" * 5_000],
    "data_stream.type": ["metrics", 7, "_logs"],
    "@timestamp": [7, "now", "2026-13-01T00:00:00.000Z", []],
    "message": [7, {}, []],
    "fields": [7, []],
}
FOREIGN = [(path, wrong) for path, values in ASKED.items() for wrong in values]


@pytest.fixture(scope="module")
def mock():
    with Mock() as mock:
        yield mock


def with_value(number, path, wrong):
    made = json.loads(value(number))
    *above, last = path.split(".")
    part = made
    for name in above:
        part = part.setdefault(name, {})
    part[last] = wrong
    return made


def read_store(folder):
    with closing(Database(folder / "data/siemtap.db")) as database:
        return stored(database), database.read("SELECT id FROM rejected")


@pytest.mark.slow
@pytest.mark.parametrize("validate", [True, False])
def test_events_with_any_value_where_it_is_asked_for(tmp_path, mock, validate):
    topic = f"asked-{validate}"
    messages = [
        json.dumps(with_value(number, path, wrong)).encode()
        for number, (path, wrong) in enumerate(FOREIGN)
    ]
    mock.write(topic, *messages, value(1_000))
    given = {
        "topics": [topic],
        "group_id": topic,
        "drop": {"action": ["nothing"], "severity": ["low"]},
        "processors": [{"add_tags": {"tags": ["kafka"]}}],
    }
    more = "" if validate else '"validate": false'
    parsed = config(tmp_path, mock.hosts, SQLITE, more, **given)
    shipper = Shipper(parsed, once=True, patience=30)
    shipper.run()
    counted = shipper.counts.totals
    numbers, rejected = read_store(tmp_path)
    assert 1_000 in numbers and len(numbers) == len(set(numbers))
    assert {*numbers, *(int(id, 16) for (id,) in rejected if int(id, 16) < 2_000)} <= {
        *range(len(FOREIGN)),
        1_000,
    }
    assert len(numbers) + len(rejected) >= len(FOREIGN) - 3, "none is dropped unless it has changed"
    assert counted["rejected"] == len(rejected) and counted["unfit"] > 10
    assert mock.committed(topic, topic) == len(FOREIGN) + 1, "nothing is read again"


@pytest.mark.slow
@pytest.mark.parametrize("time", [1_772_618_400_000_000, -1, 2**62])
def test_a_header_and_a_time_of_any_form(tmp_path, mock, time):
    """A header whose name is no UTF-8 ended the process: confluent-kafka returned NULL for it."""
    topic = f"raw-{time}"
    mock.write(topic, value(1), to=0)
    mock.lead(topic, 0, 1)
    raw_kafka.produce(mock.hosts[0], topic, b"nothing", b"\xff\xfe", time)
    mock.write(topic, value(2), to=0)
    parsed = config(tmp_path, mock.hosts, SQLITE, topics=[topic], group_id=topic)
    Shipper(parsed, once=True, patience=30).run()
    numbers, rejected = read_store(tmp_path)
    assert numbers == [1, 2] and len(rejected) == 1
    assert mock.committed(topic, topic) == 3


@pytest.mark.slow
def test_what_fails_after_the_commit_delivers_nothing_again(tmp_path, mock, monkeypatch):
    topic = "counted"
    mock.write(topic, *map(value, range(5)))
    output = json.dumps({"file": {"path": str(tmp_path / "out")}})
    parsed = config(tmp_path, mock.hosts, f'"output": {output}', topics=[topic], group_id=topic)
    shipper = Shipper(parsed, once=True, patience=30)
    failures = iter(range(1))

    def fails_once(events):
        for _ in failures:
            raise RuntimeError("a fault of the tally")

    monkeypatch.setattr(shipper.tally, "add", fails_once)
    shipper.run()
    (path,) = (tmp_path / "out").glob("*.ndjson")
    assert path.read_bytes().count(b"\n") == 5


class Check:
    """Fits: events without `wrong`; those with `wrong` 1 once it is taken away."""

    def __call__(self, each):
        return f"wrong {each['wrong']}" if "wrong" in each else None

    def without_unfit(self, each):
        return {"event": each["event"]} if each["wrong"] == 1 else None


def test_what_is_read_again_is_counted_once():
    rejected, unfit = [], []
    passer = event_passer(
        {},
        Check(),
        lambda refused, new: rejected.append((len(refused), new)),
        unfit.append,
        lambda lost: {},
    )
    records = [{**event(1), "wrong": 1}, {**event(2), "wrong": 2}, event(3)]
    for _ in range(2):
        events = passer(Batch(EVENTS, records, {}, LATEST))
        assert [int(each["event"]["id"], 16) for each in events] == [1, 3]
        assert not any("wrong" in each for each in events)
    assert rejected == [(1, 1), (1, 0)] and unfit == ["wrong 1"]
