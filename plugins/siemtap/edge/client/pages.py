"""Read a vendor's API that answers in pages: each page names the next one, by a link or a cursor.

There are two kinds. Most links end: a query for a time range gives a first page, and the last page
has no link. Then each cycle queries the time range since the last one, and the overlap before it,
as some events arrive late. Other cursors never end (`endless`): they lead through all events in the
order in which the vendor stored them, late ones too. Then a time range is queried once, and each
cycle goes on where the last one ended, up to an empty page.

The link is saved with the records of its page, so that a crash or an error goes on in the middle.
If the vendor no longer knows a link, the time range is queried again from the time up to which
everything was read; what was delivered already is left out by its id.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Callable, Dict, Generator, Iterator, List, NamedTuple, Optional, Set, Tuple

from ...core.convert import rfc3339
from ...core.errors import ConfigError, Malformed, Retry, SiemtapError
from ...core.events import Lost
from ...core.model import Batch, Cursor, damaged, time_in
from ...core.rows import Dataset, Record
from ...core.windows import DAY, Millis, Window, whole, windows
from ..clock import check_ahead
from .walk import check_size, in_window, is_time_range, not_kept, parts_of, require_settings

log = logging.getLogger("siemtap")

MAX_PAGES = 10_000  # of one time range, in one cycle


class Page(NamedTuple):
    """One answer: its records, the link or cursor of the next page or None, and whether an endless
    cursor has more to read now."""

    records: List[Record]
    link: Optional[str]
    more: bool = True


class LinkExpired(Retry):
    """The vendor no longer knows a link. For a plugin's `follow`, if the vendor says so by other
    means than the statuses of `Pages.expired`."""


@dataclass(frozen=True)
class Pages:
    """The reader of one unit that answers in pages.

    The cursor: `until`, the time up to which everything is read; `link`, the next page; `window`,
    the time range that the link belongs to, unless it is endless.

    Attributes:
        first: Queries the vendor for the first page of a time range.
        follow: Queries the vendor for the page of a link. `messages.next_url` makes a URL of a link
            that is one.
        settings: The input's settings. `lookback`, `lag` and `overlap` are used.
        clock: Returns the real time, as far as the vendor's answers have told it (`Http.now`).
        endless: The cursor never ends, and is where the next cycle goes on.
        widest: The widest time range of one query. The ids of all its events are remembered while
            its pages are read.
        grain: The resolution of the vendor's times.
        retention: How long the vendor keeps records; 0 for ever.
        expired: The statuses by which the vendor says that it does not know a link any more.
        most: How many pages one time range may have in one cycle.
    """

    dataset: Dataset
    scope: str
    first: Callable[[Window], Page]
    follow: Callable[[str], Page]
    settings: Any
    clock: Callable[[], Millis]
    endless: bool = False
    widest: Millis = DAY
    grain: Millis = 1
    retention: Millis = 0
    expired: Tuple[int, ...] = (400, 404, 410)
    most: int = MAX_PAGES

    def __post_init__(self) -> None:
        require_settings("Pages", self.settings, ("lookback", "lag", "overlap"))

    @property
    def memory(self) -> Millis:
        """Return how long before `until` ids are remembered: as far as a query may read again. An
        endless cursor has read events that are younger than the lag."""
        return int(self.settings.overlap + self.settings.lag) + 2 * self.grain

    def read(self, cursor: Cursor, now: Millis) -> Iterator[Batch]:
        """Yield the batches from the cursor to `now`."""
        try:
            for batch in self._read(cursor, now):
                cursor = batch.cursor
                yield batch
        except LinkExpired as error:
            if "link" not in cursor:
                raise
            until = time_in(cursor, "until")
            log.warning(
                "%s %s: the vendor no longer knows the link to the next page (%s): the time is"
                " read again from %s, less the overlap",
                self.dataset.name,
                self.scope,
                error.message,
                rfc3339(until),
            )
            yield from self._read({"until": until}, now)

    def _read(self, cursor: Cursor, now: Millis) -> Iterator[Batch]:
        until = max(0, time_in(cursor, "until", now - self.settings.lookback))
        # The first start is taken from this machine's clock alone.
        latest = now if "until" not in cursor else 0
        stop = whole(now - self.settings.lag, self.grain)
        if "link" in cursor:
            until = yield from self._pages(until, self._window_of(cursor, until, stop), cursor)
            if self.endless:
                return
        oldest = self.clock() - self.retention if self.retention else 0
        if until < oldest:
            lost = Lost(until, oldest, not_kept(self.retention), self.scope)
            until = oldest
            yield Batch(self.dataset, [], {"until": until}, until, self.memory, (lost,))
        start = whole(max(until - self.settings.overlap, oldest, 0), self.grain)
        widest = max(self.widest, stop - start) if self.endless else self.widest
        for window in windows(start, stop, widest, self.grain):
            until = yield from self._pages(until, window, {"until": until}, latest)

    def _window_of(self, cursor: Cursor, until: Millis, stop: Millis) -> Window:
        """Return the time range of a cursor's link. ConfigError for a damaged cursor."""
        if not isinstance(cursor["link"], str):
            raise damaged("link", cursor["link"], "a text")
        if self.endless:
            return Window(until, max(until, stop))
        window: Any = cursor.get("window")
        if not is_time_range(window):
            raise damaged("window", window, "two times")
        return Window(*window)

    def _pages(
        self, until: Millis, window: Window, cursor: Cursor, latest: Millis = 0
    ) -> Generator[Batch, None, Millis]:
        """Yield the pages from the cursor's link on, or from the first of the time range; return
        the time up to which everything is read then. `latest`: no answer may show that this time
        is in the vendor's future."""
        followed: Set[str] = set()
        while True:
            link = cursor.get("link")
            if link in followed:  # the next attempt queries the time range again
                yield self._batch([], {"until": until}, window.stop)
                raise Malformed(f"page {len(followed) + 1} has the link of an earlier page")
            if len(followed) == self.most:
                raise Malformed(f"more than {self.most:,} pages in one time range")
            if link is not None:
                followed.add(link)
            stop = window.stop
            if self.endless:  # it leads to the present, which goes on while pages are read
                stop = max(until, whole(self.clock() - self.settings.lag, self.grain))
            page = self._page(window, link)
            # the answer has told the vendor's time
            check_ahead(max(stop, latest) - self.clock())
            is_last = page.link is None or (self.endless and not (page.records and page.more))
            after: Dict[str, Any] = {"until": max(until, stop) if is_last else until}
            if page.link is not None:
                after["link"] = page.link
                if not self.endless:
                    after["window"] = list(window)
            *parts, rest = parts_of(page.records)
            for part in parts:
                yield self._batch(part, cursor, stop)
            yield self._batch(rest, after, stop)
            cursor = after
            if is_last:
                return time_in(cursor, "until")

    def _page(self, window: Window, link: Optional[str]) -> Page:
        """Return the page of a link, or the first of a time range."""
        try:
            page = self.first(window) if link is None else self.follow(link)
            check_size(page.records)
            return page
        except SiemtapError as error:
            in_window(error, window)
            if link and isinstance(error, ConfigError) and error.status in self.expired:
                raise LinkExpired(error.message, error.where, status=error.status) from None
            raise

    def _batch(self, records: List[Record], cursor: Cursor, stop: Millis) -> Batch:
        """Return a batch that keeps the ids of all that a query from the cursor's `until` on may
        read again."""
        overlap = stop - time_in(cursor, "until") + self.memory
        return Batch(self.dataset, records, cursor, stop, overlap)
