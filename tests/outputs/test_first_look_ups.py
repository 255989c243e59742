"""Look-ups of events that may have been delivered without their mark: a dataset of which nothing was
stored when the doubt began needs none, and any other is looked up as ever."""

from types import SimpleNamespace

import pytest
from outputs.simulated_cluster import STREAM, UNIT, event, output
from stepped_shipper import SteppedShipper

from siemtap.core.errors import Retry
from siemtap.core.model import Unit
from siemtap.engine.sinks import SkipDelivered
from siemtap.outputs.elasticsearch.output import Elasticsearch
from siemtap.outputs.elasticsearch.search import Search
from siemtap.outputs.index_names import indices_of
from siemtap.testing.simulation import simulator


@pytest.fixture
def asked(monkeypatch):
    """Return what the output was asked: ("any", dataset) and ("ids", number)."""
    questions = []
    has_any, search_ids = Elasticsearch.has_any, Search._ids

    def counting_any(self, unit, events):
        questions.append(("any", events[0]["event"]["dataset"]))
        return has_any(self, unit, events)

    def counting_ids(self, indices, ids):
        questions.append(("ids", len(ids)))
        return search_ids(self, indices, ids)

    monkeypatch.setattr(Elasticsearch, "has_any", counting_any)
    monkeypatch.setattr(Search, "_ids", counting_ids)
    return questions


def of(dataset, number, namespace="default"):
    made = event(number)
    made["event"]["dataset"] = made["data_stream"]["dataset"] = dataset
    made["data_stream"]["namespace"] = namespace
    return made


def skip(out, doubt):
    return SkipDelivered(out, out.holds, set(), out.has_any, doubt)


def test_a_first_backfill_is_looked_up_once_over_all_its_turns(served, asked):
    out, doubt = output(served), {}
    for turn in range(3):
        for number in range(2):
            skip(out, doubt).deliver(UNIT, [event(10 * turn + number)], None)
    assert asked == [("any", "apptrana.attack")]
    out.close()


def test_a_later_doubt_looks_up_each_batch(served, asked):
    out = output(served)
    out.deliver(UNIT, [event(number) for number in range(3)], None)
    served.cluster.rollover("POST", STREAM, {}, b"")
    doubt = {}
    for number in range(4, -1, -1):  # none of the first two is stored
        skip(out, doubt).deliver(UNIT, [event(number)], None)
    assert asked == [("any", "apptrana.attack"), *[("ids", 1)] * 5]
    backing = served.cluster.streams[STREAM]["backing"]
    assert [len(part) for part in backing] == [3, 2], "nothing is stored twice"
    out.close()


def test_each_dataset_of_a_unit_is_asked_for(served, asked):
    """A Kafka input has one unit for the events of many datasets."""
    unit, out = Unit("k", "kafka.events"), output(served)
    out.deliver(unit, [of("b.event", 1), of("b.event", 2)], None)
    served.cluster.rollover("POST", "logs-b.event-default", {}, b"")
    sink = skip(out, {})
    sink.deliver(unit, [of("a.event", 7)], None)
    sink.deliver(unit, [of("a.event", 8), *(of("b.event", number) for number in (1, 2, 3))], None)
    assert asked == [("any", "a.event"), ("any", "b.event"), ("ids", 3)]
    backing = served.cluster.streams["logs-b.event-default"]["backing"]
    assert [sorted(part) for part in backing] == [
        [event(number)["event"]["id"] for number in (1, 2)],
        [event(3)["event"]["id"]],
    ]
    out.close()


def test_an_event_of_another_namespace_is_one_of_the_dataset(served):
    out = output(served)
    out.deliver(UNIT, [of("apptrana.attack", 1, "other")], None)
    assert out.has_any(UNIT, [event(2)]) and not out.has_any(UNIT, [of("apptrana.activity", 2)])
    out.close()


@pytest.mark.parametrize(
    ("index", "pattern"),
    [
        ("", "logs-apptrana.attack-*"),
        ("siem-%{[event.dataset]}-%{+yyyy.MM}", "siem-apptrana.attack-*"),
        ("siem-%{[observer.name]}", "siem-*"),
        ("%{[data_stream.dataset]}", "apptrana.attack"),
        ("%{[data_stream.namespace]}-siem", ""),
    ],
)
def test_the_indices_of_a_dataset(served, index, pattern):
    out = output(served, index=index)
    assert indices_of(index, "apptrana.attack") == pattern
    assert out.has_any(UNIT, [event(1)]) == (not pattern)
    out.close()


@pytest.mark.parametrize("served", [{"privileges": ["pattern"]}], indirect=True)
def test_a_pattern_that_is_refused_leaves_the_look_ups_as_they_are(served, asked, caplog):
    out = output(served)
    out.deliver(UNIT, [event(1)], None)
    assert skip(out, {}).deliver(UNIT, [event(1), event(2)], None) == []
    assert asked == [("any", "apptrana.attack"), ("ids", 2)] and not out.refused
    assert out.holds(UNIT, [event(2), event(3)]) == {event(2)["event"]["id"]}
    assert "refresh and read" not in caplog.text
    out.close()


@pytest.mark.parametrize("served", [{"privileges": ["read"]}], indirect=True)
def test_who_may_not_read_is_told_so(served, caplog):
    out = output(served)
    skip(out, {}).deliver(UNIT, [event(1)], None)
    assert "the user may not refresh and read" in caplog.text and out.refused
    out.close()


def test_a_failure_begins_a_new_doubt(tmp_path, served, asked):
    """What was delivered before a failure is stored, and looked up after it."""
    simulated = simulator("apptrana", {"rate": 1.0, "odd": False})
    more = f"output.elasticsearch: {{hosts: ['{served.url}']}}"
    stepped = SteppedShipper(tmp_path, simulated, "apptrana", into="more", more=more).start()
    save = stepped.shipper.checkpoints.save
    saved = []

    def fails_once(unit, mark):
        saved.append(unit)
        if len(saved) == 3:
            raise Retry("the disk is away")
        save(unit, mark)

    stepped.shipper.checkpoints.save = fails_once
    stepped.run_turns(1)
    first = list(asked)
    asked.clear()
    stepped.run_turns(1)
    stepped.stop()
    assert [question for question in first if question[0] == "any"] == first and len(first) == 1
    assert asked[0] == first[0] and asked[1][0] == "ids", "nothing was known to be absent any more"


def test_an_old_index_that_cannot_be_searched_holds_up_nothing(served, asked, monkeypatch):
    """A daily index whose disk was lost: today's is healthy, and is asked alone."""
    out = output(served)
    search = out.client.search

    def incomplete(index, **more):
        body = search(index=index, **more).body
        if any("*" in name for name in index):
            body["_shards"]["failed"] = 1
        return SimpleNamespace(body=body)

    monkeypatch.setattr(out.client, "search", incomplete)
    assert skip(out, {}).deliver(UNIT, [event(1)], None) == []
    assert asked == [("any", "apptrana.attack"), ("ids", 1)]
    out.close()
