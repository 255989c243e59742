"""Events that another siemtap made: they pass unmapped; what is no event is rejected."""

from __future__ import annotations

from typing import Callable, Container, Iterable, List, Mapping, Set

from ..core.events import Lost, lost_event
from ..core.model import Batch, Unreadable
from ..core.rows import Dataset, Event
from .mapper import drop_filter
from .protocols import MapBatch, Rejections

REMEMBERED = 10_000  # ids of rejected records, so that one that is read again is not counted again


ReportLoss = Callable[[Lost], Event]


def loss_reporter(
    datasets: Iterable[Dataset],
    fallback: Dataset,
    fields: Mapping[str, object],
    created: Callable[[], str],
) -> ReportLoss:
    """Return what makes the event of a loss.

    Its dataset is that whose name ends the topic's, as by default, else `fallback`. `fields`: path
    -> value of what is added to it. `created`: returns the time for `event.created`.
    """
    by_name = {dataset.name: dataset for dataset in datasets}

    def report(lost: Lost) -> Event:
        topic = lost.scope.partition("/")[0]
        endings = (topic[start:] for start in range(len(topic)))
        dataset = next((by_name[name] for name in endings if name in by_name), fallback)
        return lost_event(dataset, lost, fields, created())

    return report


def event_passer(
    drop: Mapping[str, object],
    reject: Callable[[Rejections, int], None],
    report_loss: ReportLoss,
) -> MapBatch:
    """Return the mapping of an input that reads events.

    `drop`: the input's setting. `reject`: stores (record, reason) pairs; the number says how many
    of them were not rejected before. `report_loss`: makes the event of a loss.
    """
    is_unwanted = drop_filter(drop)
    rejected: Set[str] = set()

    def map_batch(batch: Batch, seen: Container[str] = ()) -> List[Event]:
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
        events = [
            record
            for record in batch.records
            if not isinstance(record, Unreadable) and not (is_unwanted and is_unwanted(record))
        ]
        return [*events, *map(report_loss, batch.lost)]

    return map_batch
