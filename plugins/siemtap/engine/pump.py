"""The loop. Events are safe before their mark is, or together with it."""

from __future__ import annotations

from typing import Callable, Optional

from ..core.model import Mark, Unit
from .protocols import Delivery, Feed, MapBatch, Sink


def pump(
    unit: Unit,
    mark: Mark,
    feed: Feed,
    map_batch: MapBatch,
    sink: Sink,
    on_delivery: Optional[Callable[[Delivery], None]] = None,
    must_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """Deliver every batch of a feed. Return whether the feed came to its end; False if `must_stop`
    ended it between two batches."""
    try:
        for batch in feed.batches:
            events = map_batch(batch, mark.seen)
            fresh, mark = mark.after(batch, events, feed.known(events) if feed.known else None)
            rejections = sink.deliver(unit, fresh, mark)
            if on_delivery:
                on_delivery(Delivery(batch, len(events), fresh, rejections, mark))
            if must_stop():
                return False
        return True
    finally:
        # Requests may be in flight. An error would keep the feed alive until some thread's garbage
        # collection ends it, perhaps that of a thread it waits for.
        close = getattr(feed.batches, "close", None)
        if close:
            close()
