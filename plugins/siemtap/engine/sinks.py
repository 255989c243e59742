"""Wrappers around an output. All have its signature: deliver(unit, events, mark) -> rejections."""

from __future__ import annotations

from typing import Callable, List, Optional, Set

from ..core.events import ids_of
from ..core.model import Mark, Unit
from ..core.rows import Event
from .protocols import Doubt, HasAny, Holds, MarkStore, Rejections, Sink


class CheckpointAfter:
    """For an output that cannot store marks: deliver the events, then save the mark.

    `unsaved`: ids of events that are delivered while their mark is not saved yet.
    """

    def __init__(self, sink: Sink, checkpoints: MarkStore, unsaved: Set[str]) -> None:
        self.sink = sink
        self.checkpoints = checkpoints
        self.unsaved = unsaved

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        rejections: Rejections = []
        if events:
            rejections = self.sink.deliver(unit, events, None)
        try:
            if mark is not None:
                self.checkpoints.save(unit, mark)
        except BaseException:
            self.unsaved |= ids_of(events)
            raise
        if self.unsaved:
            self.unsaved -= ids_of(events)
        return rejections


class WithoutCheckpoint:
    """For a time range that is read beside the checkpoints: deliver the events, never the mark."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        return self.sink.deliver(unit, events, None) if events else []


class AskWhenDoubtful:
    """For a source that knows itself which batches may have been delivered before. `asking`:
    returns what looks such a batch up, from what the output has by then."""

    def __init__(
        self, is_doubtful: Callable[[], bool], asking: Callable[[], Sink], sink: Sink
    ) -> None:
        self.is_doubtful = is_doubtful
        self.asking = asking
        self.sink = sink

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        sink = self.asking() if self.is_doubtful() else self.sink
        return sink.deliver(unit, events, mark)


class SkipDelivered:
    """For the first cycle after a start or a failure: events that may have been delivered without
    their mark are looked up, and not delivered again.

    `has_any`: asked once for each dataset of `doubt`, which several sinks may share: a first
    backfill would look up in each batch what it has just written.
    """

    def __init__(
        self,
        sink: Sink,
        holds: Holds,
        unsaved: Set[str],
        has_any: Optional[HasAny] = None,
        doubt: Optional[Doubt] = None,
    ) -> None:
        self.sink = sink
        self.holds = holds
        self.unsaved = unsaved
        self.has_any = has_any
        self.doubt = {} if doubt is None else doubt

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        held = self.unsaved & ids_of(events) if self.unsaved else set()
        doubtful = self._doubtful(unit, events)
        if doubtful:
            held |= self.holds(unit, doubtful) or set()
        if held:
            events = [event for event in events if event["event"]["id"] not in held]
        return self.sink.deliver(unit, events, mark)

    def _doubtful(self, unit: Unit, events: List[Event]) -> List[Event]:
        """Return the events that the output may have."""
        if self.has_any is None:
            return events
        datasets = {event["event"]["dataset"] for event in events}
        for dataset in sorted(datasets - self.doubt.keys()):
            of_it = [event for event in events if event["event"]["dataset"] == dataset]
            self.doubt[dataset] = self.has_any(unit, of_it)
        if all(self.doubt[dataset] for dataset in datasets):
            return events
        return [event for event in events if self.doubt[event["event"]["dataset"]]]
