"""Which events an audit compares: those that the shipper must have read by now."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

from ...core.convert import millis_of
from ...core.errors import ConfigError
from ...core.model import Unit, time_in
from ...core.paths import get
from ...core.rows import Dataset, Event
from ...core.windows import DAY, HOUR, Millis
from ...edge.store.event_queue import queued_batches
from ...edge.store.first_reads import FIRST_READS
from ...edge.store.snapshot import Snapshot
from ..config.sections import Input

# An output reads each range on its own, `file` all its files each time. So what is closer together
# is one range, and beyond a number of them all are: events in between cost less than another range.
APART = DAY
MOST_RANGES = 50


class ReadRange(NamedTuple):
    """What the shipper has read of a unit. `start`: where its first read began, or 0 if that was
    not noted. `until`: the checkpoint; 0 if its cursor has no time."""

    start: Millis
    until: Millis


def read_ranges(database: Snapshot) -> Dict[Unit, ReadRange]:
    """Return what the shipper has read, by its checkpoints."""
    starts: Dict[Unit, Millis] = {}
    if database.has_table("first_read"):
        starts = {Unit(*row[:3]): row[3] for row in database.read(FIRST_READS)}
    ranges = {}
    for input, dataset, scope, text in database.read(
        "SELECT input, dataset, scope, mark FROM mark"
    ):
        unit = Unit(input, dataset, scope)
        try:
            cursor = json.loads(text)["cursor"]
            until = time_in(cursor, "until")
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ConfigError(
                f"the checkpoint of {unit} is damaged: see `siemtap state list`"
            ) from None
        ranges[unit] = ReadRange(starts.get(unit, 0), until)
    return ranges


def rejected_ids(database: Snapshot, output: str) -> Set[str]:
    """Return the ids of the events in `siemtap rejected` that the output or the schema refused.
    They are stored, and so not missing."""
    if not database.has_table("rejected"):
        return set()
    query = "SELECT id FROM rejected WHERE output IN ('', ?)"
    return {id for (id,) in database.read(query, [output])}


def waiting_ids(database: Snapshot, output: str) -> Set[str]:
    """Return the ids of the events that wait for the output. They will be delivered, and so are not
    missing."""
    if not database.has_table("queue"):
        return set()
    return {
        event["event"]["id"]
        for batches in queued_batches(database.read, output)
        for batch in batches
        for event in batch.events
    }


def compared_range(
    settings: Any, saved: Optional[ReadRange], start: Millis, now: Millis
) -> Tuple[Millis, Millis]:
    """Return the start and the stop of the time that the output must have.

    The next cycle reads the overlap before the checkpoint again and may find late events there, so
    that time is not compared. Without a checkpoint the last cycle may be an interval old.
    """
    overlap = getattr(settings, "overlap", 0)
    lag = getattr(settings, "lag", 0)
    if saved is None or not saved.until:
        return start, now - max(overlap, lag) - settings.interval
    return max(start, saved.start), min(saved.until, now) - overlap


def selected_time(dataset: Dataset, event: Event) -> Millis:
    """Return the time by which the vendor selects an event: its `@timestamp`, unless the dataset
    names another field, such as that of the ingestion, and the event has it."""
    moment = get(event, dataset.selected_by, None)
    return millis_of(moment if isinstance(moment, str) else event["@timestamp"])


def stored_ranges(
    first: Millis, last: Millis, hours: Iterable[Millis]
) -> List[Tuple[Millis, Millis]]:
    """Return the ranges of `@timestamp` to read, which hold the time from first to last, and the
    hours of events that the vendor selects by another time. None is read twice."""
    ranges: List[Tuple[Millis, Millis]] = []
    for start, stop in sorted([(first, last), *((hour, hour + HOUR) for hour in hours)]):
        if ranges and start <= ranges[-1][1] + APART:
            before = ranges.pop()
            start, stop = before[0], max(before[1], stop)
        ranges.append((start, stop))
    if len(ranges) > MOST_RANGES:
        return [(ranges[0][0], ranges[-1][1])]
    return ranges


def auditable_inputs(inputs: Tuple[Input, ...]) -> List[Input]:
    """Return the enabled inputs whose vendor can be read again for a time in the past."""
    return [
        input_config
        for input_config in inputs
        if input_config.common.enabled and hasattr(input_config.settings, "lookback")
    ]


def is_pushed(input_config: Input) -> bool:
    """Return whether an input receives events by a webhook or by syslog."""
    receiving = input_config.receiving
    return bool(receiving and (receiving.listen or receiving.syslog))


def explain_skipped(inputs: Tuple[Input, ...]) -> Iterator[str]:
    """Yield a line for each input that is not compared, or only in part, with the reason."""
    for input_config in inputs:
        if not input_config.common.enabled:
            continue
        if input_config.plugin.reads_events:
            yield (
                f"{input_config.id}: not compared: it reads what others have collected. Compare"
                " with a configuration that has their inputs and this output, and a path.data of"
                " its own"
            )
        elif not hasattr(input_config.settings, "lookback"):
            yield (
                f"{input_config.id}: not compared: pushed events and snapshots cannot be read again"
            )
        elif is_pushed(input_config):
            yield f"{input_config.id}: pushed events are not compared: they cannot be read again"
