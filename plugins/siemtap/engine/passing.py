"""Events that another siemtap made: they pass unmapped; what is no event is rejected."""

from __future__ import annotations

from typing import Callable, Container, Iterable, List, Mapping, Optional, Set

from ..core.events import Lost, lost_event
from ..core.model import Batch, Unreadable
from ..core.rows import CheckedEvent, Dataset, Event
from .mapper import drop_filter
from .protocols import EventCheck, MapBatch, Rejections

REMEMBERED = 10_000  # ids of what was reported, so that what is read again is not counted again


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
    check: EventCheck,
    reject: Callable[[Rejections, int], None],
    report_unfit: Callable[[str], None],
    report_loss: ReportLoss,
) -> MapBatch:
    """Return the mapping of an input that reads events.

    They are checked here, before `drop`, processors and look-ups ask for their fields: others may
    write to the topics. `drop`: the input's setting. `reject`: stores (record, reason) pairs; the
    number says how many of them were not rejected before. `report_unfit`: counts and logs why
    values were moved to `extra`. `report_loss`: makes the event of a loss.
    """
    is_unwanted = drop_filter(drop)
    reported: Set[str] = set()

    def is_new(event: Event) -> bool:
        """Return whether an event is reported for the first time; note it."""
        id: str = event["event"]["id"]
        if id in reported:
            return False
        if len(reported) >= REMEMBERED:
            reported.clear()
        reported.add(id)
        return True

    def checked(event: Event, refused: Rejections) -> Optional[Event]:
        """Return an event that fits its schema; None if it is refused."""
        reason = check(event)
        if reason is None:
            return CheckedEvent(event)
        mended = check.without_unfit(event)
        if mended is None:
            refused.append((event, reason))
            return None
        if is_new(event):
            report_unfit(reason)
        return CheckedEvent(mended)

    def map_batch(batch: Batch, seen: Container[str] = ()) -> List[Event]:
        refused: Rejections = []
        events = []
        for record in batch.records:
            if isinstance(record, Unreadable):
                refused.append((record.event, record.reason))
                continue
            event = checked(record, refused)
            if event is not None and not (is_unwanted and is_unwanted(event)):
                events.append(event)
        if refused:
            reject(refused, sum(is_new(event) for event, _ in refused))
        return [*events, *map(report_loss, batch.lost)]

    return map_batch
