"""Around the output: an event that breaks the delivery itself is kept as refused, and stops
nobody."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from ..core.mapping import REFUSED, Event
from ..core.model import Mark, Unit
from ..engine import frames
from . import Refused

log = logging.getLogger("siemtap")

# of a unit, in which each event failed and none was taken: then it is the events that are broken,
# and not the output
ATTEMPTS = 5


class Contained:
    """What fails with an exception that says nothing of the output is looked for in halves. The
    others are delivered, and then the mark."""

    def __init__(
        self, output: Any, rejects: Any, told: Callable[[int], None] = lambda number: None
    ) -> None:
        self.output, self.rejects, self.told = output, rejects, told
        self.together = output.together
        self.failures: Dict[Unit, int] = {}  # attempts in a row of which nothing was taken
        # whose event could not be delivered last, and why
        self.broken: Optional[Tuple[Unit, str]] = None

    @property
    def latest(self) -> Optional[Tuple[Unit, str]]:
        """Return whose event was kept as refused, and why: one that broke the delivery, else the
        last that was refused."""
        latest: Optional[Tuple[Unit, str]] = self.broken or self.output.latest
        return latest

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Refused:
        try:
            refused: Refused = self.output.attempt(unit, events, mark) or []
        except REFUSED as error:
            if not events:
                raise
            return self._in_halves(unit, events, mark, error)
        if len(events) > len(refused):
            self.failures.pop(unit, None)
        self.output.tell(unit, refused)
        return refused

    def _in_halves(
        self, unit: Unit, events: List[Event], mark: Optional[Mark], error: BaseException
    ) -> Refused:
        refused: Refused = []
        broken: Refused = []
        parts = [events]
        while parts:
            part = parts.pop()
            try:
                refused += self.output.attempt(unit, part, None) or []
            except REFUSED as reason:
                if len(part) > 1:
                    parts += [part[len(part) // 2 :], part[: len(part) // 2]]
                else:
                    broken.append((part[0], f"it cannot be delivered: {type(reason).__name__}"))
        # nothing was taken: is it the output?
        if len(broken) > 1 and len(broken) + len(refused) == len(events):
            self.failures[unit] = self.failures.get(unit, 0) + 1
            if self.failures[unit] < ATTEMPTS:
                raise error
        self.failures.pop(unit, None)
        log.error(
            "%s: %d of %d events cannot be delivered (%s): they are kept, see `siemtap rejected"
            " list`",
            unit,
            len(broken),
            len(events),
            type(error).__name__,
        )
        log.debug("%s", frames(error))
        self._keep(unit, broken)
        self.output.attempt(unit, [], mark)
        self.output.tell(unit, refused)
        self.told(len(broken))
        return [*refused, *broken]

    def _keep(self, unit: Unit, broken: Refused) -> None:
        for event, reason in broken:
            self.broken = unit, reason
            try:
                self.rejects.keep(unit, [(event, reason)])
            except REFUSED:  # not even as JSON
                self.rejects.keep(unit, [(_husk(event), reason)])

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        held: Optional[Set[str]] = self.output.holds(unit, events)
        return held

    def close(self) -> None:
        self.output.close()


def _husk(event: Event) -> Event:
    """What is left of an event that cannot be written: who it is, and when."""
    said = event["event"]
    return {
        "@timestamp": event["@timestamp"],
        "event": {"id": said["id"], "dataset": said["dataset"], "kind": "pipeline_error"},
        "data_stream": {"type": "logs", "dataset": said["dataset"]},
        "error": {"message": "an event that cannot be written as JSON, and is not shown"},
    }
