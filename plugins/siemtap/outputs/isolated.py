"""Isolation of events that break a delivery: they are stored as rejected, and the other events are
delivered."""

from __future__ import annotations

import logging
from typing import Callable, Dict, List, Optional, Set, Tuple

from ..core.convert import CONVERSION_ERRORS
from ..core.model import Mark, Unit
from ..core.rows import Event
from ..engine.mapper import traceback_text
from ..engine.protocols import Rejections
from .validated import RejectedStore, ValidateEvents

log = logging.getLogger("siemtap")

# Attempts of a unit in which every event failed. After them the events count as broken; before,
# the output may be.
ATTEMPTS = 5


class IsolateFailures:
    """A wrapper around an output that finds the events that raise an unexpected exception.

    A batch that fails is split in halves until single events fail. The other events are delivered,
    and then the checkpoint is saved.
    """

    def __init__(
        self,
        output: ValidateEvents,
        rejected_events: RejectedStore,
        count_rejected: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.output = output
        self.rejected_events = rejected_events
        self.count_rejected = count_rejected
        self.together: bool = output.together
        self.failures: Dict[Unit, int] = {}  # attempts in a row that delivered nothing
        # The unit and the reason of the event that could not be delivered last.
        self.broken: Optional[Tuple[Unit, str]] = None

    @property
    def latest(self) -> Optional[Tuple[Unit, str]]:
        """Return the unit and the reason of the last event that broke a delivery, or else of the
        last event that was rejected."""
        return self.broken or self.output.latest

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Deliver the events and return the rejected ones; isolate those that raise."""
        try:
            refused = self.output.attempt(unit, events, mark)
        except CONVERSION_ERRORS as error:
            if not events:
                raise
            return self._deliver_in_halves(unit, events, mark, error)
        if len(events) > len(refused):
            self.failures.pop(unit, None)
        self.output.report(unit, refused)
        return refused

    def _deliver_in_halves(
        self, unit: Unit, events: List[Event], mark: Optional[Mark], error: BaseException
    ) -> Rejections:
        refused, broken = self._split(unit, events)
        # Nothing was delivered: the output may be broken, and not the events.
        if len(broken) > 1 and len(broken) + len(refused) == len(events):
            self.failures[unit] = self.failures.get(unit, 0) + 1
            if self.failures[unit] < ATTEMPTS:
                raise error
        self.failures.pop(unit, None)
        log.error(
            "%s: %d of %d events cannot be delivered (%s) and were stored; see `siemtap rejected"
            " list`",
            unit,
            len(broken),
            len(events),
            type(error).__name__,
        )
        log.debug("%s", traceback_text(error))
        self._store(unit, broken)
        self.output.attempt(unit, [], mark)
        self.output.report(unit, refused)
        self.count_rejected(len(broken))
        return [*refused, *broken]

    def _split(self, unit: Unit, events: List[Event]) -> Tuple[Rejections, Rejections]:
        """Deliver in ever smaller parts; return the rejected events and those that raise."""
        refused: Rejections = []
        broken: Rejections = []
        parts = [events]
        while parts:
            part = parts.pop()
            try:
                refused += self.output.attempt(unit, part, None)
            except CONVERSION_ERRORS as error:
                if len(part) > 1:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]
                else:
                    broken.append((part[0], f"it cannot be delivered: {type(error).__name__}"))
        return refused, broken

    def _store(self, unit: Unit, broken: Rejections) -> None:
        for event, reason in broken:
            self.broken = unit, reason
            try:
                self.rejected_events.store(unit, [(event, reason)])
            except CONVERSION_ERRORS:  # it cannot be written as JSON either
                self.rejected_events.store(unit, [(_placeholder(event), reason)])

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        """Return the ids of those events that the output has already."""
        return self.output.holds(unit, events)

    def close(self) -> None:
        self.output.close()


def _placeholder(event: Event) -> Event:
    """Return the id, dataset and time of an event that cannot be written."""
    identity = event["event"]
    return {
        "@timestamp": event["@timestamp"],
        "event": {"id": identity["id"], "dataset": identity["dataset"], "kind": "pipeline_error"},
        "data_stream": {"type": "logs", "dataset": identity["dataset"]},
        "error": {"message": "the event cannot be written as JSON, so its fields are left out"},
    }
