"""Counters of the shipper, and the numbers of the status page's charts.

They are in memory, of limited size, and thread-safe.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from typing import Any, Dict, Iterable, List, Optional, Tuple

from ..core.convert import millis_of
from ..core.rows import Event
from ..core.settings import SEVERITIES
from ..core.windows import DAY, MINUTE, Millis, whole
from ..edge.store.checkpoints import Database

SLOT: Millis = 30 * MINUTE
SPAN: Millis = 30 * DAY  # older slots are dropped
# Different values of a field that are counted. With more, the rarer half is dropped.
MAX_VALUES = 5_000
MAX_LENGTH = 200  # characters of a value; the rest of it is cut off, as on the page
TOPS_SENT = 200  # values of a field that one process tells another
STORED = """SELECT time / 1800000 * 1800000, dataset, severity, action, rule, source, count(*)
            FROM event WHERE time > ? GROUP BY 1, 2, 3, 4, 5, 6"""
SEVERITY_NAMES = {number: name for name, number in SEVERITIES.items()}


class Tally:
    """Numbers of delivered events by time, dataset, severity, action, rule and source."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # start of the slot -> (dataset, severity) -> number of events
        self.slots: Dict[Millis, Counter[Tuple[str, str]]] = {}
        self.tops: Dict[str, Counter[str]] = {
            name: Counter() for name in ("dataset", "severity", "action", "rule", "source")
        }
        # dataset -> events that were delivered here; `tops` has stored ones of earlier runs too
        self.delivered: Counter[str] = Counter()

    def add(self, events: List[Event]) -> None:
        """Count events. An event whose values cannot be counted is left out."""
        try:
            groups = Counter(
                [
                    (
                        event["@timestamp"][:16],
                        (part := event["event"])["dataset"],
                        part.get("severity"),
                        part.get("action") or part["kind"],
                    )
                    for event in events
                ]
            )
            rules = Counter([event["rule"].get("name") for event in events if "rule" in event])
            sources = Counter(
                [event["source"].get("address") for event in events if "source" in event]
            )
            del rules[None], sources[None]
            tops: Dict[str, Counter[Any]] = {"rule": rules, "source": sources}
            for name in ("dataset", "severity", "action"):
                tops[name] = Counter()
            for (_, dataset, severity, action), number in groups.items():
                tops["dataset"][dataset] += number
                tops["severity"][severity_name(severity)] += number
                tops["action"][action] += number
        except (TypeError, KeyError, AttributeError):
            if len(events) > 1:
                for event in events:
                    self.add([event])
            return
        with self.lock:
            for (minute, dataset, severity, _), number in groups.items():
                try:
                    self._slot(
                        millis_of(f"{minute}:00.000Z"), dataset, severity_name(severity), number
                    )
                except ValueError:
                    continue
            for name, counted in tops.items():
                top = self.tops[name]
                for value, number in counted.items():
                    if isinstance(value, str):  # an unfit value is moved to `extra` behind this
                        top[value[:MAX_LENGTH]] += number
            self.delivered.update(tops["dataset"])
            self._limit()

    def add_rows(self, rows: Iterable[Tuple[Any, ...]]) -> None:
        """Count rows of (time, dataset, severity name, action, rule, source, number)."""
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
                        self.tops[name][value[:MAX_LENGTH]] += number
            self._limit()

    def add_stored(self, database: Database, since: Millis) -> None:
        """Count the events of the embedded store from a time on; none in a new one."""
        if not database.read("SELECT 1 FROM sqlite_master WHERE name = 'event'"):
            return
        rows = database.read(STORED, [since])
        self.add_rows((row[0], row[1], severity_name(row[2]), *row[3:]) for row in rows)

    def to_json(self, since: Millis) -> Any:
        """Return the numbers from a time on, and the most frequent values, as JSON values."""
        with self.lock:
            slots = [
                [start, *key, number]
                for start, counter in self.slots.items()
                if start >= since
                for key, number in counter.items()
            ]
            tops = {name: counter.most_common(TOPS_SENT) for name, counter in self.tops.items()}
            delivered = dict(self.delivered)
        return {"slots": slots, "tops": tops, "delivered": delivered}

    def add_json(self, part: Any) -> None:
        """Add what `to_json` of another one returned."""
        with self.lock:
            for start, dataset, severity, number in part["slots"]:
                self._slot(start, dataset, severity, number)
            for name, values in part["tops"].items():
                for value, number in values:
                    self.tops[name][value] += number
            self.delivered.update(part["delivered"])
            self._limit()

    def _slot(self, time: Millis, dataset: str, severity: str, number: int) -> None:
        self.slots.setdefault(whole(time, SLOT), Counter())[dataset, severity] += number

    def _limit(self) -> None:
        for counter in (*self.tops.values(), self.delivered):
            if len(counter) > MAX_VALUES:
                for value, _ in counter.most_common()[MAX_VALUES // 2 :]:
                    del counter[value]
        if len(self.slots) > SPAN // SLOT:
            for slot in sorted(self.slots)[: -(SPAN // SLOT)]:
                del self.slots[slot]

    def top(self, name: str, most: int = 10) -> List[Tuple[str, int]]:
        """Return the most frequent values of a field, with their numbers."""
        with self.lock:
            return self.tops[name].most_common(most)

    def delivered_by_dataset(self) -> List[Tuple[str, int]]:
        """Return how many events of each dataset were delivered since the process started."""
        with self.lock:
            return self.delivered.most_common()

    def over_time(
        self, by: int, start: Millis, stop: Millis, bars: int
    ) -> List[Tuple[Millis, Counter[str]]]:
        """Return (start, numbers) of bars of equal width between start and stop.

        A bar counts by dataset (`by` 0) or by severity (`by` 1).
        """
        width = max(SLOT, -(-(stop - start) // bars // SLOT) * SLOT)
        first = whole(start, SLOT)
        chart: List[Tuple[Millis, Counter[str]]] = [
            (moment, Counter()) for moment in range(first, stop, width)
        ]
        with self.lock:
            for slot, counter in self.slots.items():
                index = (slot - first) // width
                if slot >= first and index < len(chart):
                    for key, number in counter.items():
                        chart[index][1][key[by]] += number
        return chart


def time_of(moment: str) -> Optional[Millis]:
    """Return the time of a field such as `@timestamp`; None if it has another format."""
    try:
        return millis_of(moment)
    except ValueError:
        return None


def severity_name(severity: Any) -> str:
    """Return the name of a value of event.severity, or "unknown"."""
    return SEVERITY_NAMES.get(severity, "unknown")


class Lateness:
    """A histogram of how late events came, in steps of 10 %, so its size is limited."""

    STEP = math.log(1.1)

    def __init__(self) -> None:
        self.steps: Counter[int] = Counter()
        self.most: Millis = 0

    def add(self, late: Iterable[Millis]) -> None:
        for delay in late:
            self.steps[math.ceil(math.log(max(1, delay)) / self.STEP)] += 1
            self.most = max(self.most, delay)

    @property
    def number(self) -> int:
        return sum(self.steps.values())

    def percentile(self, share: float) -> Millis:
        """Return a percentile of the delays; 0 if no event came late. `share`: such as 0.99."""
        left = share * self.number
        for step, number in sorted(self.steps.items()):
            left -= number
            if left <= 0:
                return min(self.most, round(math.exp(step * self.STEP)))
        return self.most


class Counts:
    """Totals of an output."""

    NAMES = ("accepted", "rejected", "retried", "echoes", "batches", "late", "unfit")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.totals: Dict[str, int] = dict.fromkeys(self.NAMES, 0)

    def add(self, **numbers: int) -> None:
        with self.lock:
            for name, number in numbers.items():
                self.totals[name] += number

    def reject(self, number: int) -> None:
        """Count events as rejected that were counted as accepted."""
        self.add(rejected=number, accepted=-number)

    def unfit(self, number: int = 1) -> None:
        """Count values that were moved to `extra`."""
        self.add(unfit=number)
