"""What pump passes to a sink."""

from siemtap.core.model import Batch, Mark, Unit
from siemtap.engine.protocols import Feed
from siemtap.engine.pump import pump
from siemtap.testing.world import Memory

UNIT = Unit("it", "acme.event", "received")


def map_batch(batch, seen):
    return [{"event": {"id": id}} for id in batch.records]


def test_events_known_to_the_feed_are_not_delivered_again():
    output, deliveries = Memory(), []
    batches = [Batch(None, ["a", "b"], {"n": 1}, 10), Batch(None, ["c", "a"], {"n": 2}, 10)]
    delivered_before = {"b"}
    pump(
        UNIT,
        Mark({}, {"old": 10}),
        Feed(iter(batches), known=lambda events: delivered_before | set(output.ids())),
        map_batch,
        output,
        on_delivery=deliveries.append,
    )
    assert list(output.ids()) == ["a", "c"]
    assert [set(delivery.mark.seen) for delivery in deliveries] == [{"a"}, {"c"}], (
        "a mark holds the new ids of its batch"
    )


def test_events_are_deduplicated_by_the_mark_when_the_feed_knows_no_ids():
    output = Memory()
    batches = [Batch(None, ["old", "a"], {"n": 1}, 10, 5)]
    pump(UNIT, Mark({}, {"old": 10}), Feed(iter(batches)), map_batch, output)
    assert list(output.ids()) == ["a"]
