"""The path of an event does not become longer unnoticed. Counted, never timed."""

import os

import bench_counts
import pytest

TOLERANCE = 0.03  # of the accepted figure, either way: a shorter path is to be kept, too
RENEW = "`ci/bench counts --accept` renews the figure, if the change is meant to cost that"


def test_path_of_an_event_is_as_long_as_accepted():
    accepted = bench_counts.accepted()
    if accepted is None and not os.environ.get("CI"):
        pytest.skip(f"no figure for Python {bench_counts.VERSION}: `ci/bench counts --accept`")
    assert accepted, f"no figure for Python {bench_counts.VERSION}; {RENEW}"
    for name, number in bench_counts.counts().items():
        change = number / accepted[name] - 1
        assert abs(change) <= TOLERANCE, (
            f"an event takes {number:,} {name}, {change:+.1%} of the {accepted[name]:,} that were"
            f" accepted; {RENEW}"
        )


@pytest.mark.slow
def test_counts_see_a_longer_path(monkeypatch):
    before = bench_counts.counts()
    tally = bench_counts.Tally.add

    def longer(self, events):
        for event in events:
            for value in event.values():
                repr(value)
        tally(self, events)

    monkeypatch.setattr(bench_counts.Tally, "add", longer)
    after = bench_counts.counts()
    for name, number in before.items():
        assert after[name] > number * (1 + TOLERANCE)
