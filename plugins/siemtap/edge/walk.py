"""From a cursor to the present, window by window, for a vendor who is asked about stretches of
time.

Windows share a grain, so that no rule about edges can lose what stands on one. One that is too
full, too slow or unreadable is asked again in halves. One that stays unreadable is given up when
`skip_after` is over and the one behind it can be read; an event names it. Where an answer tells
that our clock is ahead of the vendor's, nothing of it is delivered: what was asked for may not be
over yet.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..core.errors import ConfigError, Malformed, Retry, SiemtapError
from ..core.mapping import Dataset, Lost, Record, rfc3339
from ..core.model import Batch, Cursor, damaged, time_in
from ..core.windows import DAY, Millis, Window, whole, windows
from .ahead import ahead
from .clock import TOLERANCE, clock_ahead

log = logging.getLogger("siemtap")

AT_ONCE = 2_000  # records of a batch; a window with more is delivered in several
MOST = 50_000  # records of one answer; a smaller question gives fewer


class Answer(NamedTuple):
    """What one question gave: its records, or why it gave none."""

    window: Window
    records: List[Record]
    error: Optional[SiemtapError] = None
    # too full, too slow or unreadable: nothing of it is kept, and its halves are asked for
    halve: bool = False


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(type(moment) is int for moment in value)
    )


def never(records: List[Record]) -> bool:
    return False


@dataclass(frozen=True)
class Walk:
    """The cursor: `until`, how far everything is read; `stuck`, where and since when a window
    cannot be read; `skipped`, the slivers given up that the overlap would still come across.

    `wish`: the input's settings; of these `lookback`, `lag`, `overlap` and `skip_after` are read.
    `clock`: the real time, also where `now` is a moment of the past, and as far as an answer has
    told it the vendor's (`Http.now`). `retention`, `forgotten`: how long the vendor keeps a moment,
    and after how long a 400 means that it no longer does; 0: for ever. `is_cut`: whether an answer
    is so full that it may have been cut short.
    """

    dataset: Dataset
    scope: str
    fetch: Callable[[Window], List[Record]]
    wish: Any
    clock: Callable[[], Millis]
    widest: Millis
    narrowest: Millis
    grain: Millis = 1
    parallel: int = 1
    retention: Millis = 0
    forgotten: Millis = 0
    is_cut: Callable[[List[Record]], bool] = never
    blur: Millis = 0  # how much further back than asked the vendor may read

    @property
    def overlap(self) -> Millis:
        """How far before the cursor to read again."""
        return max(int(self.wish.overlap), self.grain)

    @property
    def memory(self) -> Millis:
        """The overlap, and what rounding down to the grain adds to it."""
        return self.overlap + 2 * self.grain + self.blur

    def batches(self, cursor: Cursor, now: Millis) -> Iterator[Batch]:
        reached = max(0, time_in(cursor, "until", max(now - self.wish.lookback, self.oldest())))
        if "stuck" in cursor and not _is_pair(cursor["stuck"]):
            raise damaged("stuck", cursor["stuck"], "two times")
        # the clock may be wrong: nothing is given up, or left alone, by it alone
        if reached < self.oldest() or reached > now:
            self.ask_the_time(now)
            now = min(now, self.clock())
        oldest = self.oldest()
        if reached < oldest:
            yield self.lost(
                Window(reached, oldest),
                {"until": oldest},
                f"the service keeps {self.retention // DAY} days, and this was not read in time",
            )
            cursor, reached = {"until": oldest}, oldest
        start, stop = (
            whole(max(reached - self.overlap, oldest), self.grain),
            whole(now - self.wish.lag, self.grain),
        )
        beginning = "until" not in cursor  # where to begin came of our clock alone
        skipped = self.skipped(cursor)
        cursor = (
            {**cursor, "skipped": skipped}
            if skipped
            else {name: value for name, value in cursor.items() if name != "skipped"}
        )
        cut = list(self.cut(start, stop, skipped))
        for window, records, error, _ in self.answers(cut):
            end = now if beginning else window.stop
            if end - self.clock() > TOLERANCE:  # the answer told what time it is for the vendor
                raise clock_ahead(end - self.clock())
            if error:
                yield from self.stuck(cursor, reached, error, window, now)
                raise error.at(f"{rfc3339(window.start)} to {rfc3339(window.stop)}")
            # the rest of a large answer would be in memory as events
            for begin in range(0, len(records) - AT_ONCE, AT_ONCE):
                yield Batch(
                    self.dataset, records[begin : begin + AT_ONCE], cursor, window.stop, self.memory
                )
            rest = records[max(0, len(records) - 1) // AT_ONCE * AT_ONCE :]
            reached = max(reached, window.stop)
            cursor = self.cursor(cursor, reached, window)
            yield Batch(
                self.dataset, rest, cursor, window.stop, self.memory, self.doubtful(window, records)
            )
            records, rest = [], []  # the next answer needs their room

    def oldest(self) -> Millis:
        """The oldest moment that the vendor still keeps."""
        return self.clock() - self.retention if self.retention else 0

    def ask_the_time(self, now: Millis) -> None:
        """A question of which only the answer's `Date` counts, also that of a refusal."""
        stop = whole(now - self.wish.lag, self.grain)
        with suppress(Malformed, ConfigError):
            self.fetch(Window(stop - self.narrowest, stop))

    def skipped(self, cursor: Cursor) -> List[List[Millis]]:
        """What was given up. A stretch that is not over is damage, for only the past is given
        up: it is read like any other."""
        gaps = cursor.get("skipped", [])
        if not isinstance(gaps, list) or not all(map(_is_pair, gaps)):
            raise damaged("skipped", gaps, "a list of stretches, two times each")
        latest = self.clock() + TOLERANCE
        for gap in gaps:
            if gap[1] > latest:
                log.error(
                    "%s %s: the checkpoint leaves out a stretch that ends in the future (%s): it is"
                    " damaged there, and the stretch is read",
                    self.dataset.name,
                    self.scope,
                    gap,
                )
        return [gap for gap in gaps if gap[1] <= latest]

    def cut(self, start: Millis, stop: Millis, skipped: List[List[Millis]]) -> Iterator[Window]:
        """Windows from start to stop, around what was given up."""
        for gap_start, gap_stop in sorted(skipped):
            yield from windows(start, min(gap_start, stop), self.widest, self.grain)
            start = max(start, gap_stop)
        yield from windows(start, stop, self.widest, self.grain)

    def cursor(self, cursor: Cursor, reached: Millis, piece: Window) -> Cursor:
        """How far we are, without what no longer matters."""
        after: Dict[str, Any] = {"until": reached}
        skipped = [
            gap
            for gap in cursor.get("skipped", [])
            if gap[1] > reached - 2 * self.wish.overlap - DAY
        ]
        if skipped:
            after["skipped"] = skipped
        if "stuck" in cursor and piece.stop < cursor["stuck"][0] + 2 * self.narrowest:
            after["stuck"] = cursor["stuck"]
        return after

    def answers(self, cut: List[Window]) -> Iterator[Answer]:
        """Yield the answers in the order of time, each as soon as it is there; the first error
        ends them. At most `parallel` are in memory."""
        for answer in ahead(
            self.parallel if len(cut) > 2 else 1, (partial(self.ask, window) for window in cut)
        ):
            for part in self.read(answer):
                yield part
                if part.error:
                    return

    def ask(self, window: Window) -> Answer:
        """Put one question."""
        can_halve = window.width > self.narrowest
        try:
            records = self.fetch(window)
            if len(records) > MOST:
                raise Malformed(f"more than {MOST:,} records in one answer")
        except SiemtapError as error:
            records = []
            # their frames hold what was answered, while smaller questions are put
            error.__traceback__ = error.__context__ = None
            if can_halve and isinstance(error, Malformed):
                return Answer(window, [], halve=True)
            # Too wide a window, or is the service down? A sliver tells.
            if can_halve and isinstance(error, Retry) and error.narrower:
                down = self.trouble(Window(window.start, window.start + self.narrowest))
                return Answer(window, [], down, halve=not down)
            return Answer(window, [], error)
        return (
            Answer(window, [], halve=True)
            if can_halve and self.is_cut(records)
            else Answer(window, records)
        )

    def read(self, answer: Answer) -> Iterator[Answer]:
        """Yield an answer, or those to smaller questions, down to the narrowest; the first error
        ends them. One at a time: together they may be a hundred times what one may hold."""
        waiting: List[Window] = []
        while True:
            if answer.halve:
                waiting += reversed(answer.window.halves(self.grain))
            else:
                yield answer
                if answer.error:
                    return
            if not waiting:
                return
            answer = self.ask(waiting.pop())

    def trouble(self, window: Window) -> Optional[SiemtapError]:
        """Why not even this window can be had. Malformed is no trouble: somebody answers."""
        try:
            self.fetch(window)
        except Malformed:
            return None
        except SiemtapError as error:
            return error
        return None

    def stuck(
        self, cursor: Cursor, reached: Millis, error: SiemtapError, failed: Window, now: Millis
    ) -> Iterator[Batch]:
        """What to save about a window that cannot be read. It is given up when the vendor has
        forgotten it, or when it stayed malformed for `skip_after` while the window behind it can be
        read; an event then names the lost time."""
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
            yield self.lost(failed, after, f"the service refused it as too old ({error.what})")
        if not isinstance(error, Malformed):
            return
        at, since = cursor.get("stuck", (0, 0))
        if abs(failed.start - at) > self.narrowest or since > now:
            yield Batch(
                self.dataset,
                [],
                {**cursor, "until": reached, "stuck": [failed.start, now]},
                reached,
                self.memory,
            )
        elif now - since >= self.wish.skip_after:
            behind = Window(failed.stop, failed.stop + self.narrowest)
            if behind.stop <= now - self.wish.lag and not self.ask(behind).error:
                yield self.lost(failed, after, f"unreadable since {rfc3339(since)} ({error.what})")

    def lost(self, window: Window, cursor: Cursor, why: str) -> Batch:
        return Batch(
            self.dataset,
            [],
            cursor,
            cursor["until"],
            self.memory,
            (Lost(window.start, window.stop, why, self.scope),),
        )

    def doubtful(self, piece: Window, records: List[Record]) -> Tuple[Lost, ...]:
        """The narrowest window is still as full as an answer that was cut short: what may be
        missing is named."""
        if not self.is_cut(records):
            return ()
        return (
            Lost(
                piece.start,
                piece.stop,
                f"a window of {piece.width} ms with {len(records)} records or more; the answer may"
                " have been cut short",
                self.scope,
            ),
        )
