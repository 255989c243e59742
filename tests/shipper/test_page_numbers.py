"""The numbers of the status page take a bounded memory, whatever the events contain."""

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
