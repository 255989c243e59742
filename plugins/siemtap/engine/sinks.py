"""Wrappers around an output. All have its signature: deliver(unit, events, mark) -> rejections."""

from __future__ import annotations

from typing import List, Optional, Set

from ..core.events import ids_of
from ..core.model import Mark, Unit
from ..core.rows import Event
from .protocols import Holds, MarkStore, Rejections, Sink


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


class SkipDelivered:
    """For the first cycle after a start or a failure: events that may have been delivered without
    their mark are looked up, and not delivered again. Once the output has nothing to say, it is not
    asked again in this cycle: a first backfill would search what it has just written."""

    def __init__(self, sink: Sink, holds: Holds, unsaved: Set[str]) -> None:
        self.sink = sink
        self.holds: Optional[Holds] = holds
        self.unsaved = unsaved

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        if held := self._held(unit, events):
            events = [event for event in events if event["event"]["id"] not in held]
        return self.sink.deliver(unit, events, mark)

    def _held(self, unit: Unit, events: List[Event]) -> Set[str]:
        held = self.unsaved & ids_of(events) if self.unsaved else set()
        if self.holds and events:
            stored = self.holds(unit, events)
            if stored is None:
                self.holds = None
            else:
                held |= stored
        return held
