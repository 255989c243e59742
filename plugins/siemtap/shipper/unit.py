"""One unit of a running input: its cycle, and the numbers that the status page shows."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

from ..core.convert import rfc3339
from ..core.model import Batch, Mark, Unit
from ..core.paths import get
from ..core.rows import Event
from ..core.windows import HOUR, Millis
from ..engine.cycle import Cycle, Policy
from ..engine.protocols import Delivery, Doubt, VendorClock
from .stats import Lateness, time_of

log = logging.getLogger("siemtap")

OVERLAP_WARNING = 0.8  # share of the overlap; events later than this are warned of


class UnitState(Cycle):
    """One unit at run time: its mark, when it is due, and what the status page shows."""

    __slots__ = (
        "active_since",
        "clock_differs",
        "had_events",
        "echoes",
        "events",
        "first",
        "first_read",
        "last_event",
        "late",
        "mark",
        "reached",
        "started",
        "success",
        "until",
        "warned",
    )

    def __init__(self, unit: Unit, elapsed: Callable[[], float], policy: Policy = Policy()) -> None:
        super().__init__(unit, elapsed, policy)
        self.mark: Optional[Mark] = None  # None: load it from the checkpoints
        self.had_events: Doubt = {}  # since it is in doubt
        self.events = 0
        self.echoes = 0  # events read again and left out
        self.late = Lateness()

        self.success: Millis = 0  # end of the last complete cycle
        self.reached: Millis = 0  # how far everything was read before this cycle
        self.until: Millis = 0  # how far everything is read
        self.first: Millis = 0  # where this cycle started
        self.first_read: Millis = 0  # where the read began that has no checkpoint yet

        # seconds of the monotonic clock
        self.last_event = self.due
        self.active_since = self.due
        self.started = 0.0  # this cycle

        # degraded for this reason alone: everything is read, up to the vendor's time
        self.clock_differs = False
        # a check has degraded it, and that was logged
        self.warned = False

    @property
    def done(self) -> bool:
        """Whether the unit was read to its end."""
        return self.state == "ok" or self.clock_differs

    @property
    def doubt(self) -> Optional[Doubt]:
        """Return what is known of what the output may have; None if all marks are saved."""
        return self.had_events if self.in_doubt else None

    def beginning(
        self, start: Millis, lookback: Millis, clock: VendorClock, batches: Iterable[Batch]
    ) -> Iterator[Batch]:
        """Yield the batches of a first read, and remember where it began: it begins there again,
        however long the output takes nothing."""
        for batch in batches:
            # unless this machine's clock was far behind; the vendor has answered now
            earliest = (clock.latest() or clock.now()) - lookback - HOUR
            self.first_read = self.first_read or max(start, earliest)
            yield batch

    def count(self, delivery: Delivery, overlap: Millis) -> int:
        """Count a delivery and keep its mark. Return how many of its events came late."""
        self.progress()
        self.mark = delivery.mark
        self.first = self.first or delivery.batch.until
        self.until = max(self.until, delivery.batch.until)
        self.events += len(delivery.events)
        self.echoes += delivery.mapped - len(delivery.events)
        if not delivery.events:
            return 0
        self.last_event = self.elapsed()
        field = delivery.batch.dataset.selected_by
        return self._measure_lateness(delivery.accepted, overlap, field)

    def _measure_lateness(self, events: List[Event], overlap: Millis, field: str) -> int:
        """Note how late events came: one from before the end of the last cycle is late, at least
        by the difference. field: the time that counts."""
        if not self.reached:
            return 0
        reached = rfc3339(self.reached)
        moments = [get(event, field, reached) for event in events]
        times = [time_of(each) for each in moments if isinstance(each, str) and each < reached]
        late = [self.reached - time for time in times if time is not None]
        if not late:
            return 0
        before = self.late.most
        self.late.add(late)
        if self.late.most > max(before, OVERLAP_WARNING * overlap):
            log.warning(
                "%s: an event came %.0f s late, and `overlap` is %.0f s: raise `overlap`, or"
                " events that come later are lost",
                self.unit,
                self.late.most / 1000,
                overlap / 1000,
            )
        return len(late)

    def stats(self, now: Millis, settings: Any) -> Dict[str, Any]:
        """Return the unit's part of /stats, as JSON values.

        `overlap_suffices`: the latest event seen came within four fifths of the overlap.
        """
        lag = getattr(settings, "lag", 0)
        overlap = getattr(settings, "overlap", 0)
        return {
            "unit": str(self.unit),
            "state": self.state,
            "error": self.error,
            "events": self.events,
            "echoes": self.echoes,
            "last_success": rfc3339(self.success) if self.success else None,
            "read_until": rfc3339(self.until) if self.until else None,
            "cursor_age_s": (now - self.until) // 1000 if self.until else None,
            "attempts": self.attempts,
            "late_events": self.late.number,
            "late_p50_s": self.late.percentile(0.5) / 1000,
            "late_p99_s": self.late.percentile(0.99) / 1000,
            "late_max_s": self.late.most / 1000,
            "lag_s": lag / 1000,
            "overlap_s": overlap / 1000,
            "overlap_suffices": self.late.most <= OVERLAP_WARNING * overlap,
        }
