"""Events that another siemtap made: they pass unmapped; what is no event is rejected."""

from __future__ import annotations

from typing import Callable, List, Mapping, Set

from ..core.model import Batch, Unreadable
from ..core.rows import Event
from .mapper import drop_filter
from .protocols import MapBatch, Rejections

REMEMBERED = 10_000  # ids of rejected records, so that one that is read again is not counted again


def event_passer(drop: Mapping[str, object], reject: Callable[[Rejections, int], None]) -> MapBatch:
    """Return the mapping of an input that reads events.

    `drop`: the input's setting. `reject`: stores (record, reason) pairs; the number says how many
    of them were not rejected before.
    """
    is_unwanted = drop_filter(drop)
    rejected: Set[str] = set()

    def map_batch(batch: Batch) -> List[Event]:
        refused: Rejections = [
            (record.event, record.reason)
            for record in batch.records
            if isinstance(record, Unreadable)
        ]
        if refused:
            new = {record["event"]["id"] for record, _ in refused} - rejected
            if len(rejected) > REMEMBERED:
                rejected.clear()
            rejected.update(new)
            reject(refused, len(new))
        return [
            record
            for record in batch.records
            if not isinstance(record, Unreadable) and not (is_unwanted and is_unwanted(record))
        ]

    return map_batch
