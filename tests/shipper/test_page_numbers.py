"""The numbers of the status page take a bounded memory, whatever the events contain, and its counter
counts what the process has delivered."""

from siemtap.shipper.stats import MAX_LENGTH, Tally


def event(rule, source):
    return {
        "@timestamp": "2026-03-04T10:00:00.000Z",
        "event": {"dataset": "acme.event", "kind": "event", "action": "a" * 100_000},
        "rule": {"name": rule},
        "source": {"address": source},
    }


def test_long_texts_are_cut():
    tally = Tally()
    tally.add([event("r" * 100_000, "s" * 100_000), event("r" * 100_001, "short")])
    tally.add_rows([(0, "acme.event", "high", "a" * 100_000, "r" * 100_000, "t" * 100_000, 2)])
    for name in ("action", "rule", "source"):
        assert max(len(value) for value, _ in tally.top(name)) <= MAX_LENGTH
    assert tally.top("rule") == [("r" * MAX_LENGTH, 4)]
    assert dict(tally.top("source"))["short"] == 1


def test_stored_events_of_earlier_runs_are_in_the_charts_and_not_in_the_counter():
    tally, worker = Tally(), Tally()
    tally.add_rows([(0, "acme.event", "high", "login", "rule", "source", 7)])
    assert tally.top("dataset") == [("acme.event", 7)] and tally.delivered_by_dataset() == []
    worker.add([event("r", "s")] * 2)
    for _ in range(2):  # of two workers
        tally.add_json(worker.to_json(0))
    assert tally.delivered_by_dataset() == [("acme.event", 4)]
    assert tally.top("dataset") == [("acme.event", 11)]
