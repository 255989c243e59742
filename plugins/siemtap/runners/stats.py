"""What the shipper counts, and the pictures' numbers: bounded, thread-safe, in memory."""

from __future__ import annotations

import math
import threading
from collections import Counter
from typing import Any, Dict, Iterable, List, Optional, Tuple

from ..core.convert import millis_of
from ..core.forms import SEVERITIES
from ..core.mapping import Event
from ..core.windows import DAY, MINUTE, Millis, whole

SLOT: Millis = 30 * MINUTE
KEPT: Millis = 30 * DAY
# different rules or sources counted; the rarest half goes when there are more
TOP_AT_MOST = 5_000
SEVERITY_NAMES = {number: name for name, number in SEVERITIES.items()}


class Tally:
    """Delivered events by time, dataset, severity, action, rule and source."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # (dataset, severity) by the time of the event
        self.slots: Dict[Millis, Counter[Tuple[str, str]]] = {}
        self.tops: Dict[str, Counter[str]] = {
            name: Counter() for name in ("dataset", "severity", "action", "rule", "source")
        }

    def add(self, events: List[Event]) -> None:
        """Any event: one whose values cannot be counted is not."""
        said = [event["event"] for event in events]
        try:
            slots = Counter(
                [
                    (event["@timestamp"][:16], part["dataset"], part.get("severity"))
                    for event, part in zip(events, said)
                ]
            )
            tops = {
                "dataset": Counter([part["dataset"] for part in said]),
                "severity": Counter([severity_name(part.get("severity")) for part in said]),
                "action": Counter([part.get("action") or part["kind"] for part in said]),
                "rule": Counter([event["rule"].get("name") for event in events if "rule" in event]),
                "source": Counter(
                    [event["source"].get("address") for event in events if "source" in event]
                ),
            }
        except (TypeError, KeyError, AttributeError):
            if len(events) > 1:
                for event in events:
                    self.add([event])
            return
        with self.lock:
            for (minute, dataset, severity), number in slots.items():
                try:
                    self._slot(
                        millis_of(f"{minute}:00.000Z"), dataset, severity_name(severity), number
                    )
                except ValueError:
                    continue
            for name, counted in tops.items():
                del counted[None]
                self.tops[name].update(counted)
            self._bound()

    def add_rows(self, rows: Iterable[Tuple[Any, ...]]) -> None:
        """(time, dataset, severity's name, action, rule, source, how many)"""
        with self.lock:
            for time, dataset, severity, action, rule, source, number in rows:
                self._slot(time, dataset, severity, number)
                for name, value in (
                    ("dataset", dataset),
                    ("severity", severity),
                    ("action", action),
                    ("rule", rule),
                    ("source", source),
                ):
                    if value:
                        self.tops[name][value] += number
            self._bound()

    def _slot(self, time: Millis, dataset: str, severity: str, number: int) -> None:
        self.slots.setdefault(whole(time, SLOT), Counter())[dataset, severity] += number

    def _bound(self) -> None:
        for counter in self.tops.values():
            if len(counter) > TOP_AT_MOST:
                for value, _ in counter.most_common()[TOP_AT_MOST // 2 :]:
                    del counter[value]
        if len(self.slots) > KEPT // SLOT:
            for slot in sorted(self.slots)[: -(KEPT // SLOT)]:
                del self.slots[slot]

    def top(self, name: str, most: int = 10) -> List[Tuple[str, int]]:
        with self.lock:
            return self.tops[name].most_common(most)

    def over_time(
        self, by: int, start: Millis, stop: Millis, bars: int
    ) -> List[Tuple[Millis, Counter[str]]]:
        """Bars of equal width over start..stop; each counts by dataset (by=0) or by severity
        (by=1)."""
        width = max(SLOT, -(-(stop - start) // bars // SLOT) * SLOT)
        first = whole(start, SLOT)
        found: List[Tuple[Millis, Counter[str]]] = [
            (moment, Counter()) for moment in range(first, stop, width)
        ]
        with self.lock:
            for slot, counter in self.slots.items():
                place = (slot - first) // width
                if slot >= first and place < len(found):
                    for key, number in counter.items():
                        found[place][1][key[by]] += number
        return found


def time_of(event: Event) -> Optional[Millis]:
    """None where it is not spelled as we do."""
    try:
        return millis_of(event["@timestamp"])
    except ValueError:
        return None


def severity_name(severity: Any) -> str:
    return SEVERITY_NAMES.get(severity, "unknown")


class Lateness:
    """How late events came, in steps of a tenth: bounded, whatever comes."""

    STEP = math.log(1.1)

    def __init__(self) -> None:
        self.steps: Counter[int] = Counter()
        self.most: Millis = 0

    def add(self, late: Iterable[Millis]) -> None:
        for one in late:
            self.steps[math.ceil(math.log(max(1, one)) / self.STEP)] += 1
            self.most = max(self.most, one)

    @property
    def number(self) -> int:
        return sum(self.steps.values())

    def within(self, share: float) -> Millis:
        """So late came this share of the late ones, at most; 0 where none came late."""
        left = share * self.number
        for step, number in sorted(self.steps.items()):
            left -= number
            if left <= 0:
                return min(self.most, round(math.exp(step * self.STEP)))
        return self.most


class Counts:
    """Totals of one output."""

    NAMES = ("accepted", "rejected", "retried", "echoes", "batches", "late")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.totals: Dict[str, int] = dict.fromkeys(self.NAMES, 0)

    def add(self, **more: int) -> None:
        with self.lock:
            for name, number in more.items():
                self.totals[name] += number
