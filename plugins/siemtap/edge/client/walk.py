"""Read a vendor's API that is queried by time range: from the cursor to the present, window by
window.

Neighbouring windows overlap by one grain, so that no record on an edge is lost, whether the vendor
counts edges as inside or outside. A window that is too full, too slow or unreadable is queried
again in halves. A window that stays unreadable is skipped after `skip_after`, if the window behind
it can be read; an event names the skipped time range. If an answer shows that this machine's clock
is ahead of the vendor's, its records are not delivered: the window may not be over yet.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ...core.convert import rfc3339
from ...core.errors import AuthError, ConfigError, Malformed, Retry, SiemtapError
from ...core.events import Lost
from ...core.model import Batch, Cursor, damaged, time_in
from ...core.rows import Dataset, Record
from ...core.windows import DAY, Millis, Window, whole, windows
from ..clock import TOLERANCE, check_ahead
from .ahead import ahead

log = logging.getLogger("siemtap")

AT_ONCE = 2_000  # records of a batch; a window with more is delivered in several
MOST = 50_000  # records of one answer; a narrower window has fewer


class WindowResult(NamedTuple):
    """The result of querying a window: its records or an error.

    `halve`: the window is too full, too slow or unreadable. Its records are dropped and its halves
    are queried.
    """

    window: Window
    records: List[Record]
    error: Optional[SiemtapError] = None
    halve: bool = False


def is_time_range(value: Any) -> bool:
    """Return whether a value of a cursor is a time range: two times."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(type(moment) is int for moment in value)
    )


def require_settings(reader: str, settings: Any, names: Iterable[str]) -> None:
    """Raise ConfigError if the settings of a plugin lack one that its reader uses."""
    for name in names:
        if not hasattr(settings, name):
            raise ConfigError(
                f"{reader} needs the setting `{name}`, which the plugin's settings do not have: add"
                f' `{name}: int = duration("{name.replace("_", " ").capitalize()}", …)` to its'
                " manifest.py"
            )


def in_window(error: SiemtapError, window: Window) -> SiemtapError:
    """Add the time range to an error, and return it; a failed login has nothing to do with it."""
    if isinstance(error, AuthError) or error.of_login:
        return error
    return error.at(f"{rfc3339(window.start)} to {rfc3339(window.stop)}")


def parts_of(records: List[Record]) -> Iterator[List[Record]]:
    """Yield the records of an answer in parts, and at least one part, which may be empty: all
    records of a large answer would be in memory as events."""
    yield records[:AT_ONCE]
    for begin in range(AT_ONCE, len(records), AT_ONCE):
        yield records[begin : begin + AT_ONCE]


def check_size(records: List[Record]) -> None:
    """Raise Malformed for an answer with more than MOST records."""
    if len(records) > MOST:
        raise Malformed(f"more than {MOST:,} records in one answer")


def not_kept(retention: Millis) -> str:
    """Return why a time range that the vendor has deleted is lost."""
    return f"the service keeps {retention // DAY} days, and this was not read in time"


def never(records: List[Record]) -> bool:
    """Return False: no answer of this vendor is cut short."""
    return False


@dataclass(frozen=True)
class Walk:
    """The reader of one unit that is queried window by window.

    The cursor: `until`, the time up to which everything is read; `stuck`, the start of a window
    that cannot be read, and since when; `skipped`, the time ranges skipped that the overlap would
    still read.

    Attributes:
        fetch: Queries the vendor for a window.
        settings: The input's settings. `lookback`, `lag`, `overlap` and `skip_after` are used.
        clock: Returns the real time, also when `now` is a time of the past; the vendor's time as
            far as its answers have told it (`Http.now`).
        widest, narrowest: The widest and the narrowest window to query.
        grain: The resolution of the vendor's times.
        parallel: How many windows are queried at the same time.
        retention: How long the vendor keeps records; 0 for ever.
        forgotten: The age from which a 400 means that the vendor has deleted the records; 0 never.
        is_cut: Returns whether an answer is so full that it may have been cut short.
        blur: How much further back than the window the vendor may read.
    """

    dataset: Dataset
    scope: str
    fetch: Callable[[Window], List[Record]]
    settings: Any
    clock: Callable[[], Millis]
    widest: Millis
    narrowest: Millis
    grain: Millis = 1
    parallel: int = 1
    retention: Millis = 0
    forgotten: Millis = 0
    is_cut: Callable[[List[Record]], bool] = never
    blur: Millis = 0

    def __post_init__(self) -> None:
        require_settings("Walk", self.settings, ("lookback", "lag", "overlap", "skip_after"))

    @property
    def overlap(self) -> Millis:
        """Return how far before the cursor to read again."""
        return max(int(self.settings.overlap), self.grain)

    @property
    def memory(self) -> Millis:
        """Return how long ids are remembered: the overlap and what rounding adds to it."""
        return self.overlap + 2 * self.grain + self.blur

    def batches(self, cursor: Cursor, now: Millis) -> Iterator[Batch]:
        """Yield the batches from the cursor to `now`, in the order of time.

        Raise the error of the first window that cannot be read, after what precedes it.
        """
        reached = max(0, time_in(cursor, "until", max(now - self.settings.lookback, self.oldest())))
        if "stuck" in cursor and not is_time_range(cursor["stuck"]):
            raise damaged("stuck", cursor["stuck"], "two times")
        # This machine's clock may be wrong, so it alone neither skips nor excludes a time range.
        if reached < self.oldest() or reached > now:
            self.request_time(now)
            now = min(now, self.clock())
        oldest = self.oldest()
        if reached < oldest:
            yield self.lost_batch(
                Window(reached, oldest),
                {"until": oldest},
                not_kept(self.retention),
            )
            cursor = {"until": oldest}
            reached = oldest
        start = whole(max(reached - self.overlap, oldest), self.grain)
        # The first start is taken from this machine's clock alone.
        is_first_read = "until" not in cursor
        skipped = self.skipped_ranges(cursor)
        if skipped:
            cursor = {**cursor, "skipped": skipped}
        else:
            cursor = {name: value for name, value in cursor.items() if name != "skipped"}
        planned = list(self.split(start, self.stop(now), skipped))
        for window, records, error, _ in self.results(planned):
            end = now if is_first_read else window.stop
            check_ahead(end - self.clock())  # the answer has told the vendor's time
            if error:
                yield from self.stuck_batches(cursor, reached, error, window, now)
                raise in_window(error, window)
            *parts, rest = parts_of(records)
            for part in parts:
                yield Batch(self.dataset, part, cursor, window.stop, self.memory)
            reached = max(reached, window.stop)
            cursor = self.next_cursor(cursor, reached, window)
            yield Batch(
                dataset=self.dataset,
                records=rest,
                cursor=cursor,
                until=window.stop,
                overlap=self.memory,
                lost=self.possibly_cut(window, records),
            )
            # frees the memory for the next answer
            parts, records, rest = [], [], []

    def oldest(self) -> Millis:
        """Return the oldest time that the vendor still keeps."""
        return self.clock() - self.retention if self.retention else 0

    def stop(self, now: Millis) -> Millis:
        """Return the end of the last window."""
        return whole(now - self.settings.lag, self.grain)

    def request_time(self, now: Millis) -> None:
        """Query the vendor only for its answer's `Date`, which a refusal has too."""
        stop = self.stop(now)
        with suppress(Malformed, ConfigError):
            self.fetch(Window(stop - self.narrowest, stop))

    def skipped_ranges(self, cursor: Cursor) -> List[List[Millis]]:
        """Return the skipped time ranges of a cursor.

        Only past ranges are skipped. One that ends in the future is damaged: it is logged, and
        read like any other.
        """
        gaps = cursor.get("skipped", [])
        if not isinstance(gaps, list) or not all(map(is_time_range, gaps)):
            raise damaged("skipped", gaps, "a list of time ranges, two times each")
        latest = self.clock() + TOLERANCE
        for gap in gaps:
            if gap[1] > latest:
                log.error(
                    "%s %s: the checkpoint skips a time range that ends in the future (%s): it is"
                    " damaged there, and the time range is read",
                    self.dataset.name,
                    self.scope,
                    gap,
                )
        return [gap for gap in gaps if gap[1] <= latest]

    def split(self, start: Millis, stop: Millis, skipped: List[List[Millis]]) -> Iterator[Window]:
        """Yield the windows from start to stop, without the skipped time ranges."""
        for gap_start, gap_stop in sorted(skipped):
            yield from windows(start, min(gap_start, stop), self.widest, self.grain)
            start = max(start, gap_stop)
        yield from windows(start, stop, self.widest, self.grain)

    def next_cursor(self, cursor: Cursor, reached: Millis, window: Window) -> Cursor:
        """Return the cursor after a window, without entries that no longer matter."""
        after: Dict[str, Any] = {"until": reached}
        skipped = [
            gap
            for gap in cursor.get("skipped", [])
            if gap[1] > reached - 2 * self.settings.overlap - DAY
        ]
        if skipped:
            after["skipped"] = skipped
        if "stuck" in cursor and window.stop < cursor["stuck"][0] + 2 * self.narrowest:
            after["stuck"] = cursor["stuck"]
        return after

    def results(self, planned: List[Window]) -> Iterator[WindowResult]:
        """Yield the results in the order of time, each as soon as it is complete. The first error
        ends them. At most `parallel` answers are in memory."""
        parallel = self.parallel if len(planned) > 2 else 1
        calls = (partial(self.query, window) for window in planned)
        for result in ahead(parallel, calls):
            for part in self.halve_while_needed(result):
                yield part
                if part.error:
                    return

    def query(self, window: Window) -> WindowResult:
        """Query the vendor for one window."""
        can_halve = window.width > self.narrowest
        try:
            records = self.fetch(window)
            self.log_window(window, len(records))
            check_size(records)
        except SiemtapError as error:
            records = []
            # Their frames would keep the answer in memory while narrower windows are queried.
            error.__traceback__ = error.__context__ = None
            if can_halve and isinstance(error, Malformed):
                return WindowResult(window, [], halve=True)
            # Is the window too wide, or the service down? The narrowest window tells.
            if can_halve and isinstance(error, Retry) and error.narrower:
                down = self.window_error(Window(window.start, window.start + self.narrowest))
                return WindowResult(window, [], down, halve=not down)
            return WindowResult(window, [], error)
        if can_halve and self.is_cut(records):
            return WindowResult(window, [], halve=True)
        return WindowResult(window, records)

    def log_window(self, window: Window, number: int) -> None:
        """Log how many records a window has, at the level debug."""
        if log.isEnabledFor(logging.DEBUG):
            unit = f"{self.dataset.name} {self.scope}".rstrip()
            start, stop = rfc3339(window.start), rfc3339(window.stop)
            log.debug("%s: window %s to %s: %d records", unit, start, stop, number)

    def halve_while_needed(self, result: WindowResult) -> Iterator[WindowResult]:
        """Yield a result, or those of its halves, down to the narrowest window. The first error
        ends them.

        One answer is in memory at a time: all of them may be a hundred times its size.
        """
        waiting: List[Window] = []
        while True:
            if result.halve:
                waiting += reversed(result.window.halves(self.grain))
            else:
                yield result
                if result.error:
                    return
            if not waiting:
                return
            result = self.query(waiting.pop())

    def window_error(self, window: Window) -> Optional[SiemtapError]:
        """Return why a window cannot be read, or None. Malformed counts as None: the service
        answers."""
        try:
            self.fetch(window)
        except Malformed:
            return None
        except SiemtapError as error:
            return error
        return None

    def stuck_batches(
        self, cursor: Cursor, reached: Millis, error: SiemtapError, failed: Window, now: Millis
    ) -> Iterator[Batch]:
        """Yield the batch that saves the state of a window that cannot be read, if it changed.

        The window is skipped when the vendor has deleted its records, or when it stayed malformed
        for `skip_after` and the window behind it can be read. An event then names the lost time.
        """
        after = {
            "until": max(reached, failed.stop),
            "skipped": [*cursor.get("skipped", []), list(failed)],
        }
        if (
            isinstance(error, ConfigError)
            and error.status == 400
            and self.forgotten
            and failed.start < self.clock() - self.forgotten
        ):
            yield self.lost_batch(
                failed, after, f"the service refused it as too old ({error.message})"
            )
        if not isinstance(error, Malformed):
            return
        start, since = cursor.get("stuck", (0, 0))
        if abs(failed.start - start) > self.narrowest or since > now:
            yield Batch(
                self.dataset,
                [],
                {**cursor, "until": reached, "stuck": [failed.start, now]},
                reached,
                self.memory,
            )
        elif now - since >= self.settings.skip_after:
            behind = Window(failed.stop, failed.stop + self.narrowest)
            if behind.stop <= now - self.settings.lag and not self.query(behind).error:
                yield self.lost_batch(
                    failed, after, f"unreadable since {rfc3339(since)} ({error.message})"
                )

    def lost_batch(self, window: Window, cursor: Cursor, reason: str) -> Batch:
        """Return a batch without records that reports a window as lost."""
        return Batch(
            dataset=self.dataset,
            records=[],
            cursor=cursor,
            until=cursor["until"],
            overlap=self.memory,
            lost=(Lost(window.start, window.stop, reason, self.scope),),
        )

    def possibly_cut(self, window: Window, records: List[Record]) -> Tuple[Lost, ...]:
        """Return the loss to report if the narrowest window is still as full as an answer that was
        cut short."""
        if not self.is_cut(records):
            return ()
        reason = (
            f"a window of {window.width} ms with {len(records)} records or more; the answer may"
            " have been cut short"
        )
        return (Lost(window.start, window.stop, reason, self.scope),)
