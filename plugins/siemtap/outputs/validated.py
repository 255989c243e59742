"""Validation of every event before delivery.

A value that does not fit the type of its field goes to `extra`, and the event is delivered. An
event that breaks the contract otherwise, or that the output rejects, is stored with the reason.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import Callable, Dict, Iterable, List, Optional, Protocol, Set, Tuple

from ..core.model import Mark, Unit
from ..core.rows import Event
from ..edge.printable import printable
from ..engine.protocols import EventCheck, Output, Rejections

log = logging.getLogger("siemtap")

# Different reasons that are logged for a unit. A reason may quote a sender, so it needs a limit.
MAX_REASONS = 10
MAX_LENGTH = 300  # characters of a logged text
VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\[\]]*\]|[0-9]+")  # values and numbers in a reason
HINT = "see `siemtap rejected list`"


class RejectedStore(Protocol):
    """Where rejected events are kept for a person."""

    def store(self, unit: Unit, refused: Iterable[Tuple[Event, str]]) -> None: ...


class News:
    """Reasons that were logged, by unit and kind. Thread-safe."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.logged: Dict[Tuple[Unit, str], Set[str]] = {}

    def is_new(self, unit: Unit, kind: str, reason: str) -> bool:
        """Return whether a reason is to be logged; note it."""
        with self.lock:
            logged = self.logged.setdefault((unit, kind), set())
            if reason in logged or len(logged) > MAX_REASONS:
                return False
            logged.add(reason)
            return True

    def is_last(self, unit: Unit, kind: str) -> bool:
        """Return whether no further reason of this kind will be new."""
        return len(self.logged[unit, kind]) > MAX_REASONS


def log_unfit(news: News, unit: Unit, reason: str) -> None:
    """Log once per unit and field that a value does not fit it."""
    if news.is_new(unit, "unfit", reason):
        log.warning(
            "%s: a value does not fit its field and is in `extra` instead: %s; more of them are"
            " counted, not logged; the converter of the row is wrong, or the vendor has changed"
            " the value",
            unit,
            escape_controls(reason),
        )


class ValidateEvents:
    """A wrapper around an output that validates events. `check` None turns validation off."""

    def __init__(
        self,
        output: Output,
        check: Optional[EventCheck],
        rejected_events: RejectedStore,
        count_rejected: Callable[[int], None] = lambda number: None,
        count_unfit: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.output = output
        self.check = check
        self.rejected_events = rejected_events
        self.count_rejected = count_rejected
        self.count_unfit = count_unfit
        self.together: bool = output.together
        self.news = News()
        # The unit and the reason of the event that was rejected last.
        self.latest: Optional[Tuple[Unit, str]] = None

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Deliver the valid events; store, count and log the rejected ones, and return them."""
        refused = self.attempt(unit, events, mark)
        self.report(unit, refused)
        return refused

    def attempt(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Deliver the valid events and store the rejected ones.

        A delivery that fails is attempted again, so values that do not fit are counted and logged
        only after it, and rejected events in `report`.
        """
        events, invalid, unfit = self._validate(events)
        if invalid:
            self.rejected_events.store(unit, invalid)
        refused = self.output.deliver(unit, events, mark)
        if unfit:
            self.count_unfit(len(unfit))
            for reason in unfit:
                log_unfit(self.news, unit, reason)
        if refused:
            self.rejected_events.store(unit, refused)
        return [*invalid, *refused]

    def report(self, unit: Unit, refused: Rejections) -> None:
        """Count and log rejected events, once their delivery has ended."""
        if refused:
            self.count_rejected(len(refused))
        for event, reason in refused:
            self._log(unit, event, reason)
            self.latest = unit, reason

    def _validate(self, events: List[Event]) -> Tuple[List[Event], Rejections, List[str]]:
        """Return the valid events, the invalid ones with the reason, and why values of valid ones
        were moved to `extra`."""
        if self.check is None:
            return events, [], []
        reasons = list(map(self.check, events))
        if not any(reasons):
            return events, [], []
        valid, invalid, unfit = [], [], []
        for event, reason in zip(events, reasons):
            if reason is None:
                valid.append(event)
                continue
            mended = self.check.without_unfit(event)
            if mended is None:
                invalid.append((event, reason))
            else:
                valid.append(mended)
                unfit.append(reason)
        return valid, invalid, unfit

    def _log(self, unit: Unit, event: Event, reason: str) -> None:
        """Log a kind of reason once per unit.

        The level is warning, and error for an event that reports an error itself.
        """
        is_error = event["event"].get("kind") == "pipeline_error"
        kind = "error" if is_error else "rejected"
        if not self.news.is_new(unit, kind, VARYING.sub("", reason)):
            return
        if self.news.is_last(unit, kind):
            log.warning(
                "%s: events were rejected for more than %d reasons; further reasons are not"
                " logged; %s",
                unit,
                MAX_REASONS,
                HINT,
            )
        elif is_error:
            message = event.get("message") or event.get("error", {}).get("message", "")
            log.error(
                "%s: an event that reports an error was rejected and stored: %s; its message: %s;"
                " %s",
                unit,
                escape_controls(reason),
                escape_controls(message),
                HINT,
            )
        else:
            log.warning(
                "%s: an event was rejected and stored: %s; more with this reason are counted, not"
                " logged; %s",
                unit,
                escape_controls(reason),
                HINT,
            )

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        """Return the ids of those events that the output has already."""
        return self.output.holds(unit, events)

    def close(self) -> None:
        self.output.close()


def escape_controls(text: str) -> str:
    """Shorten a foreign text, and escape characters that move a cursor or forge a log line."""
    return printable(text[:MAX_LENGTH])
