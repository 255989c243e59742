"""Outputs for Elasticsearch and OpenSearch: `create` into a data stream, with `event.id` as `_id`.

An event is accepted, rejected with the server's reason, or of unknown fate. Then it is sent again,
and its id prevents a duplicate.
"""

from __future__ import annotations

import logging
import random
from typing import Iterator, List, Optional, Set, Tuple

from elastic_transport import ObjectApiResponse
from elasticsearch import ApiError, NotFoundError

from ...core.convert import rfc3339
from ...core.errors import ConfigError, Retry
from ...core.events import ids_of
from ...core.formats.url import without_userinfo
from ...core.model import Mark, Unit
from ...core.rows import Event
from ...core.windows import DAY, Millis
from ...edge.encode import encode
from ...engine.protocols import Rejections
from .. import OutputContext
from ..index_names import PATTERN, data_stream, index_name, indices_of
from .bulk import STRANGE, Bulk, Lines, Verdict, merged
from .client import (
    FAILURES,
    Tls,
    build_client,
    error_from,
    is_block,
    parse_error,
    parse_hits,
    require_all_shards,
)
from .settings import Settings

log = logging.getLogger("siemtap")

FILTER_IDS = "timed_out,_shards.failed,hits.hits._id"
LONGEST_PAUSE = 5.0  # seconds between two attempts of one delivery
# Seconds of pauses in one delivery. Then the runner reports it, waits, and reads the vendor again.
PATIENCE = 20.0
IDS_AT_ONCE = 5_000
READ_AT_ONCE = 1_000
# between the reason of an attempt, and why the events of unknown fate cannot be looked up
NOT_LOOKED_UP = "; which of the events are stored cannot be looked up: "
PATTERNS_AT_ONCE = 50  # index patterns in one request


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
        self.can_search = True
        # (data stream, dataset) of data streams that exist, or that a template will create
        self.expected: Set[Tuple[str, str]] = set()
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
        self._require_templates(unit.input, events)
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

    def _require_templates(self, input: str, events: List[Event]) -> None:
        """Raise ConfigError if OpenSearch has neither the data stream nor a template for it.

        It would create a plain index with guessed types instead. Elasticsearch has a template for
        all `logs-*-*`. OpenSearch is asked once for each data stream; if the user may not ask, the
        data stream counts as present.
        """
        if self.flavour == "elasticsearch" or self._index_setting(input):
            return
        streams = {(data_stream(event), event["data_stream"]["dataset"]) for event in events}
        for stream, dataset in sorted(streams - self.expected):
            try:
                self._require_template(stream, dataset)
            except ApiError as error:
                if error.status_code != 403:
                    raise error_from(error, self.flavour, f"asking for {stream}") from None
            except FAILURES as error:
                raise error_from(error, self.flavour, f"asking for {stream}") from None
            self.expected.add((stream, dataset))

    def _require_template(self, stream: str, dataset: str) -> None:
        try:
            self.client.indices.get_data_stream(name=stream)
        except NotFoundError:
            if not self.client.indices.exists_index_template(name=f"siemtap-{dataset}"):
                raise ConfigError(
                    f"output.{self.flavour}: neither the data stream {stream} nor the index"
                    f" template siemtap-{dataset} exists; run `siemtap setup`"
                ) from None

    # Stored events

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        """Return the ids of those events that are stored; None if the user may not search.

        The whole data stream is searched, so an event before a rollover is found too. A search
        finds only refreshed events, so the indices are refreshed first.
        """
        if not self.can_search:
            return None
        if not events:
            return set()
        indices = sorted({self.target_index(unit.input, event) for event in events})
        try:
            return self._search_ids(indices, sorted(ids_of(events)))
        except ApiError as error:
            # 401 is a wrong login, which says nothing about rights, nor does a block
            if error.status_code == 403 and not is_block(parse_error(error.body)[0]):
                self.can_search = False
                log.warning(
                    "output.%s: the user may not refresh and read %s; after a crash or an answer"
                    " that was lost an event may be stored twice if the data stream rolled over in"
                    " between; give the user `read` and `maintenance`",
                    self.flavour,
                    ", ".join(indices),
                )
                return None
            raise error_from(error, self.flavour, "asking for ids") from None
        except FAILURES as error:
            raise error_from(error, self.flavour, "asking for ids") from None

    def has_any(self, unit: Unit, events: List[Event]) -> bool:
        """Return whether anything may be stored where events of the dataset of these go: in its
        data streams, or in all indices of the pattern of the `index` setting.

        True for any answer but a complete one that says no: `holds`, which is called then, asks for
        the indices of the events alone, and reports what is wrong with these.
        """
        pattern = indices_of(self._index_setting(unit.input), events[0]["event"]["dataset"])
        if not self.can_search or not pattern:
            return True
        # those of the events as well: a name that the user may not read is refused, a pattern is
        # taken for what the user may read
        indices = [*sorted({self.target_index(unit.input, event) for event in events}), pattern]
        try:
            if self._has_hits(indices):
                return True
            require_all_shards(self._refresh(indices).body, "asking for any event")
            return self._has_hits(indices)
        except (*FAILURES, Retry):  # such as OpenSearch's 403 for a pattern, or a red index
            return True

    def _has_hits(self, indices: List[str]) -> bool:
        answer = self.client.search(
            index=indices,
            size=1,
            source=False,
            terminate_after=1,
            allow_no_indices=True,
            ignore_unavailable=True,
            filter_path=FILTER_IDS,
        )
        return bool(parse_hits(answer.body, "asking for any event"))

    def _search_ids(self, indices: List[str], ids: List[str]) -> Set[str]:
        stored: Set[str] = set()
        answer = self._refresh(indices)
        require_all_shards(answer.body, "asking for ids")
        for start in range(0, len(ids), IDS_AT_ONCE):
            part = ids[start : start + IDS_AT_ONCE]
            # A copy on either side of a rollover makes two hits of one id.
            answer = self.client.search(
                index=indices,
                query={"ids": {"values": part}},
                size=min(10_000, 2 * len(part)),
                source=False,
                allow_no_indices=True,
                ignore_unavailable=True,
                filter_path=FILTER_IDS,
            )
            hits = parse_hits(answer.body, "asking for ids")
            matches = {str(hit.get("_id")) for hit in hits}
            if not matches <= set(part):
                raise Retry(
                    "asking for ids: the answer has other ids; check whether a proxy is in between"
                )
            stored |= matches
        return stored

    def _refresh(self, indices: List[str]) -> ObjectApiResponse[object]:
        return self.client.indices.refresh(
            index=indices, allow_no_indices=True, ignore_unavailable=True
        )

    def read(self, unit: Unit, namespace: str, start: Millis, stop: Millis) -> Iterator[Event]:
        """Yield a dataset's events with start <= @timestamp < stop, by time and id.

        Copies on either side of a rollover are two events.
        """
        index = self.index_pattern(unit, namespace)
        query = {
            "bool": {
                "filter": [
                    {"range": {"@timestamp": {"gte": rfc3339(start), "lt": rfc3339(stop)}}},
                    {"term": {"event.dataset": unit.dataset}},
                    {"term": {"data_stream.namespace": namespace}},
                ]
            }
        }
        after: Optional[List[object]] = None
        try:
            answer = self._refresh([index])
            require_all_shards(answer.body, f"reading {index}")
            while True:
                answer = self.client.search(
                    index=index,
                    query=query,
                    size=READ_AT_ONCE,
                    sort=[{"@timestamp": "asc"}, {"event.id": "asc"}, {"_index": "asc"}],
                    search_after=after,
                    allow_no_indices=True,
                    ignore_unavailable=True,
                    track_total_hits=False,
                )
                hits = parse_hits(answer.body, f"reading {index}")
                for hit in hits:
                    event, sort = hit.get("_source"), hit.get("sort")
                    if not isinstance(event, dict) or not isinstance(sort, list):
                        raise Retry(
                            f"reading {index}: a hit without an event; check whether a proxy is in"
                            " between"
                        )
                    if hit.get("_ignored"):  # stored, but not searchable by these fields
                        self.bulk.count(ignored=1)
                    after = sort
                    yield event
                if len(hits) < READ_AT_ONCE:
                    return
        except FAILURES as error:
            raise error_from(error, self.flavour, f"reading {index}") from None

    def ignored(self, units: Set[Tuple[Unit, str]], now: Millis) -> int:
        """Return how many events of the last 24 hours have a field that the cluster ignored.

        Such an event is stored whole, but a search by that field does not find it.
        """
        patterns = sorted({self.index_pattern(unit, namespace) for unit, namespace in units})
        query = {
            "bool": {
                "filter": [
                    {"range": {"@timestamp": {"gte": rfc3339(now - DAY)}}},
                    {"exists": {"field": "_ignored"}},
                ]
            }
        }
        total = 0
        try:
            bodies = [
                self.client.count(
                    index=",".join(patterns[start : start + PATTERNS_AT_ONCE]),
                    query=query,
                    allow_no_indices=True,
                    ignore_unavailable=True,
                ).body
                for start in range(0, len(patterns), PATTERNS_AT_ONCE)
            ]
        except FAILURES as error:
            raise error_from(error, self.flavour, "asking for ignored fields") from None
        for body in bodies:
            number = body.get("count") if isinstance(body, dict) else None
            if type(number) is not int:
                raise Retry(
                    "asking for ignored fields: the answer has no count; check whether a proxy is"
                    " in between"
                )
            total += number
        return total

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
