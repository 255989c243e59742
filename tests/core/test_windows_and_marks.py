"""Time windows, and marks that hold the delivered ids."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siemtap.core.model import Batch, Mark
from siemtap.core.rows import Dataset, Field
from siemtap.core.windows import Window, windows

# Windows


@given(st.integers(0, 10**7), st.integers(0, 10**6), st.integers(2, 10**5), st.integers(1, 100))
def test_windows_cover_the_range_and_are_never_too_wide(start, length, widest, touching):
    if not touching < widest:
        with pytest.raises(ValueError):
            list(windows(start, start + length, widest, touching))
        return
    if length // (widest - touching) > 2000:
        return
    cut = list(windows(start, start + length, widest, touching))
    assert bool(cut) == (length > 0)
    assert all(0 < window.width <= widest for window in cut)
    assert all(after.start == before.stop - touching for before, after in zip(cut, cut[1:]))
    if cut:
        assert cut[0].start == start and cut[-1].stop == start + length


@pytest.mark.parametrize("grain", [1, 60_000])
@pytest.mark.parametrize("width", [4, 5, 7, 300])
def test_halves_overlap_by_one_grain(grain, width):
    window = Window(120_000, 120_000 + width * grain)
    first, second = window.halves(grain)
    assert (
        first.start == window.start
        and second.stop == window.stop
        and second.start == first.stop - grain
    )
    assert first.stop % grain == 0 and first.width < window.width and second.width < window.width


# Marks

TINY = Dataset(
    "acme.event",
    clock=lambda record: "2026-03-04T10:00:00.000Z",
    identity=("n",),
    rows=(Field("n", "acme.n"),),
)


def events(*ids):
    return [{"event": {"id": id}} for id in ids]


def test_mark_returns_each_new_event_once():
    fresh, mark = Mark().after(Batch(TINY, [], {"until": 10}, 10, 5), events("a", "b", "a"))
    assert [event["event"]["id"] for event in fresh] == ["a", "b"]
    fresh, mark = mark.after(Batch(TINY, [], {"until": 20}, 14, 5), events("b", "c"))
    assert [event["event"]["id"] for event in fresh] == ["c"] and mark.cursor == {"until": 20}


def test_id_is_remembered_as_long_as_the_overlap_can_return_it():
    """Seen at 10 with an overlap of 5: a window that ends at 15 can return it, one that ends at
    16 cannot."""
    _, mark = Mark().after(Batch(TINY, [], {}, 10, 5), events("a"))
    assert "a" in mark.after(Batch(TINY, [], {}, 15, 5), [])[1].seen
    assert "a" not in mark.after(Batch(TINY, [], {}, 16, 5), [])[1].seen


def test_id_is_remembered_from_the_last_window_that_returned_it():
    _, mark = Mark().after(Batch(TINY, [], {}, 10, 5), events("a"))
    _, mark = mark.after(Batch(TINY, [], {}, 14, 5), events("a"))
    assert mark.seen == {"a": 14}
    # an earlier window does not move the horizon back
    assert mark.after(Batch(TINY, [], {}, 12, 5), events("a"))[1].seen == {"a": 14}


def test_marks_are_immutable_values():
    before = Mark({"until": 1}, {"a": 1})
    before.after(Batch(TINY, [], {"until": 99}, 99, 1), events("b"))
    assert before == Mark({"until": 1}, {"a": 1})


@given(
    st.dictionaries(
        st.text("0123456789abcdef", min_size=32, max_size=32), st.integers(0, 10**13), max_size=9
    )
)
def test_mark_json_round_trip(seen):
    mark = Mark({"until": 7, "deep": {"a": [1]}}, seen)
    assert Mark.from_json(json.loads(json.dumps(mark.to_json()))) == mark


@pytest.mark.parametrize(
    "value", [{}, {"cursor": 1, "seen": {}}, {"cursor": {}, "seen": {"x": ["a"]}}, {"cursor": {}}]
)
def test_invalid_marks_are_rejected(value):
    with pytest.raises((ValueError, KeyError, TypeError)):
        Mark.from_json(value)
