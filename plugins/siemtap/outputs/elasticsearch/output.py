"""Outputs for Elasticsearch and OpenSearch: `create` into a data stream, with `event.id` as `_id`.

An event is accepted, rejected with the server's reason, or of unknown fate. Then it is sent again,
and its id prevents a duplicate.
"""

from __future__ import annotations

import logging
import random
from typing import Dict, Iterable, Iterator, List, Optional, Set, Tuple

from elasticsearch import ApiError

from ...core.errors import Retry
from ...core.formats.url import without_userinfo
from ...core.model import Mark, Unit
from ...core.rows import Event
from ...core.windows import Millis
from ...edge.encode import encode
from ...engine.protocols import Rejections
from .. import OutputContext
from ..index_names import PATTERN, index_name, indices_of
from .bulk import STRANGE, Bulk, Lines, Verdict, merged
from .client import (
    FAILURES,
    Tls,
    build_client,
    error_from,
    parse_error,
)
from .search import Search
from .settings import Settings
from .templates import Templates

log = logging.getLogger("siemtap")

ASK_AGAIN = 600.0  # seconds after a refusal to search
NO_RIGHT = "security_exception"  # the type of an error of Elasticsearch, and of OpenSearch's plugin
LONGEST_PAUSE = 5.0  # seconds between two attempts of one delivery
# Seconds of pauses in one delivery. Then the runner reports it, waits, and reads the vendor again.
PATIENCE = 20.0
# between the reason of an attempt, and why the events of unknown fate cannot be looked up
NOT_LOOKED_UP = "; which of the events are stored cannot be looked up: "


class Elasticsearch:
    """The output `elasticsearch`. `context` may name another `index` for each input."""

    together = False
    unreadable = ""
    settings_type = Settings
    flavour = "elasticsearch"
    dashboards = "Kibana"

    def __init__(self, settings: Settings, context: OutputContext = OutputContext()) -> None:
        self.settings = settings
        self.context = context
        self.tls = Tls(settings, self.flavour)
        self.client = build_client(settings, self.flavour, self.tls)
        self.bulk = Bulk(self.client, settings, self.flavour, context.clock)
        self.counts = (
            self.bulk.counts
        )  # and how often it waited, how many events have ignored fields
        self.search = Search(self.client, self.flavour)
        # index -> until when it is not searched, as the user may not, by the monotonic clock
        self.refused: Dict[str, float] = {}
        self.templates = Templates(self.client, self.flavour)
        if not settings.verify and not settings.ca_fingerprint:
            log.warning(
                "output.%s: certificates are not verified (verify: false); anybody on the network"
                " path can read the credentials and the events",
                self.flavour,
            )

    @classmethod
    def location(cls, settings: Settings) -> str:
        """Return where the events are, to complete "the events are …"."""
        hosts = ", ".join(without_userinfo(host) for host in settings.hosts)
        cluster = "Elastic Cloud" if settings.cloud_id else hosts
        names = "the data streams logs-*-*"
        if settings.index:
            names = f"the indices {PATTERN.sub('*', settings.index)}"
        return f"in {names} of {cluster}; search them in {cls.dashboards}"

    # The index of an event

    def target_index(self, input: str, event: Event) -> str:
        """Return an event's data stream, or its index by the `index` of the input or the output."""
        return index_name(self._index_setting(input), event)

    def index_pattern(self, unit: Unit, namespace: str) -> str:
        """Return a pattern of all indices that may have an event of this unit."""
        pattern = self._index_setting(unit.input)
        if not pattern:
            return f"logs-{unit.dataset}-{namespace}"
        return PATTERN.sub("*", pattern)

    def _index_setting(self, input: str) -> str:
        return self.context.index_by_input.get(input) or self.settings.index

    def _lines(self, input: str) -> Lines:
        """Return what writes the two lines of an event."""
        pattern = self._index_setting(input)

        def lines(event: Event) -> bytes:
            # Neither an index name nor an id has a character that JSON escapes.
            return b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n' % (
                index_name(pattern, event).encode(),
                event["event"]["id"].encode(),
                encode(event),
            )

        return lines

    # Delivery

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Send until every event is stored or rejected for good; return the rejected ones.

        What may be stored is looked up before it is sent again: after a rollover the id alone would
        not prevent a duplicate. Raise Retry if the cluster does not take all events within
        PATIENCE.
        """
        in_streams = events and not self._index_setting(unit.input)
        if in_streams and self.flavour == "opensearch":
            self.templates.require(events)
        lines = self._lines(unit.input)
        verdict = Verdict(again=events, refused=[], why="")
        refused: Rejections = []
        paused = 0.0
        attempt = 0
        while verdict.again:
            verdict = self._attempt(unit, verdict, lines)
            refused += verdict.refused
            if verdict.again:
                attempt += 1
                pause = random.uniform(0, min(LONGEST_PAUSE, 0.25 * 2**attempt))
                paused += pause
                self.bulk.count(waits=1)
                if paused > PATIENCE or self.context.stopping.wait(pause):
                    raise Retry(
                        f"output.{self.flavour}: {verdict.why};"
                        f" {len(verdict.again)} of {len(events)} events wait"
                    )
        if in_streams and self.flavour == "elasticsearch":
            self.templates.warn(events[0])  # of a batch all are of one dataset, mostly
        return refused

    def _attempt(self, unit: Unit, before: Verdict, lines: Lines) -> Verdict:
        """Send what waits since the attempt before."""
        waiting = before.again
        if before.in_doubt:
            try:
                stored = self.holds(unit, waiting) or set()
            except Retry as error:
                first = before.why.partition(NOT_LOOKED_UP)[0]
                return before._replace(refused=[], why=f"{first}{NOT_LOOKED_UP}{error}")
            self.bulk.count(duplicates=len(stored))
            waiting = [event for event in waiting if event["event"]["id"] not in stored]
        verdict = merged(self.bulk.send(self.bulk.requests(waiting, lines)))
        # Without a verdict an event is not accepted.
        if verdict.events != len(waiting):
            raise Retry(f"output.{self.flavour}: {STRANGE}")
        return verdict

    # Stored events

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        """Return the ids of those events that are stored; None if the user may not search.

        The whole data stream is searched, so an event before a rollover is found too. A search
        finds only refreshed events, so the indices are refreshed first.
        """
        ids: Dict[str, List[str]] = {}
        for event in events:
            ids.setdefault(self.target_index(unit.input, event), []).append(event["event"]["id"])
        if self._are_refused(ids):
            return None
        try:
            return self.search.ids(ids)
        except ApiError as error:
            # what a proxy answers, a wrong login or a block says nothing about rights
            if error.status_code == 403 and parse_error(error.body)[0] == NO_RIGHT:
                self._note_refusal(sorted(ids))
                return None
            raise error_from(error, self.flavour, "asking for ids") from None
        except FAILURES as error:
            raise error_from(error, self.flavour, "asking for ids") from None

    def _are_refused(self, indices: Iterable[str]) -> bool:
        """Return whether the user may not search one of these, by an answer of the last minutes."""
        now = self.context.clock.elapsed()
        return any(self.refused.get(index, now) > now for index in indices)

    def _note_refusal(self, indices: List[str]) -> None:
        """Note that the user may not search these; log it once for each of them."""
        if not self.refused.keys() >= {*indices}:
            log.warning(
                "output.%s: the user may not refresh and read %s; after a crash or an answer"
                " that was lost an event may be stored twice if the data stream rolled over in"
                " between; give the user `read` and `maintenance`",
                self.flavour,
                ", ".join(indices),
            )
        self.refused.update(dict.fromkeys(indices, self.context.clock.elapsed() + ASK_AGAIN))

    def has_any(self, unit: Unit, events: List[Event]) -> bool:
        """Return whether anything may be stored where events of the dataset of these go: in its
        data streams, or in all indices of the pattern of the `index` setting.

        True for any answer but a complete one that says no: `holds`, which is called then, asks for
        the indices of the events alone, and reports what is wrong with these.
        """
        pattern = indices_of(self._index_setting(unit.input), events[0]["event"]["dataset"])
        # those of the events as well: a name that the user may not read is refused, a pattern is
        # taken for what the user may read
        indices = [*sorted({self.target_index(unit.input, event) for event in events}), pattern]
        if self._are_refused(indices) or not pattern:
            return True
        try:
            return self.search.has_hits(indices)
        except (*FAILURES, Retry):  # such as OpenSearch's 403 for a pattern, or a red index
            return True

    def read(self, unit: Unit, namespace: str, start: Millis, stop: Millis) -> Iterator[Event]:
        """Yield a dataset's events with start <= @timestamp < stop, by time and id.

        Copies on either side of a rollover are two events.
        """
        index = self.index_pattern(unit, namespace)
        for hit in self.search.hits(index, unit.dataset, namespace, start, stop):
            if hit.get("_ignored"):  # stored, but not searchable by these fields
                self.bulk.count(ignored=1)
            yield hit["_source"]  # type: ignore[misc] # a dict, which was checked

    def ignored(self, units: Set[Tuple[Unit, str]], now: Millis) -> int:
        """Return how many events of the last 24 hours have a field that the cluster ignored.

        Such an event is stored whole, but a search by that field does not find it.
        """
        patterns = sorted({self.index_pattern(unit, namespace) for unit, namespace in units})
        return self.search.ignored(patterns, now)

    def problems(self) -> Iterator[str]:
        """Yield what a person should put right, for the status."""
        if self.bulk.problem():
            yield self.bulk.problem()
        yield from filter(None, (followed.problem() for followed in self.tls.files))

    def close(self) -> None:
        self.bulk.close()
        self.client.close()


class Opensearch(Elasticsearch):
    """The output `opensearch`."""

    flavour = "opensearch"
    dashboards = "OpenSearch Dashboards"
