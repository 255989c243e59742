"""The searches for stored events: which of some are there, any at all, all of a time range."""

from __future__ import annotations

from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Set

from elastic_transport import ObjectApiResponse
from elasticsearch import Elasticsearch

from ...core.convert import rfc3339
from ...core.errors import Retry
from ...core.windows import DAY, Millis
from ..index_names import in_requests
from .client import FAILURES, Hit, error_from, parse_hits, require_all_shards

FILTER_IDS = "timed_out,_shards,hits.hits._id"
IDS_AT_ONCE = 5_000
READ_AT_ONCE = 1_000


class Search:
    """The searches of one client. Only complete answers count: else they raise Retry. `ids` and
    `has_hits` raise the client's own errors, the others siemtap's."""

    def __init__(self, client: Elasticsearch, flavour: str) -> None:
        self.client = client
        self.flavour = flavour

    def ids(self, expected: Mapping[str, Iterable[str]]) -> Set[str]:
        """Return those ids that are stored. expected: index or data stream -> ids.

        A search finds only refreshed events, so the indices are refreshed first.
        """
        stored: Set[str] = set()
        for indices in in_requests(sorted(expected)):
            require_all_shards(self.refresh(indices).body, "asking for ids")
            ids = sorted({id for index in indices for id in expected[index]})
            for start in range(0, len(ids), IDS_AT_ONCE):
                stored |= self._ids(indices, ids[start : start + IDS_AT_ONCE])
        return stored

    def _ids(self, indices: List[str], ids: List[str]) -> Set[str]:
        # A copy on either side of a rollover makes two hits of one id.
        answer = self.client.search(
            index=indices,
            query={"ids": {"values": ids}},
            size=min(10_000, 2 * len(ids)),
            source=False,
            allow_no_indices=True,
            ignore_unavailable=True,
            filter_path=FILTER_IDS,
        )
        hits = parse_hits(answer.body, "asking for ids")
        matches = {str(hit.get("_id")) for hit in hits}
        if not matches <= set(ids):
            raise Retry(
                "asking for ids: the answer has other ids; check whether a proxy is in between"
            )
        return matches

    def has_hits(self, indices: List[str]) -> bool:
        """Return whether these indices hold anything."""
        if self._has_hits(indices):
            return True
        require_all_shards(self.refresh(indices).body, "asking for any event")
        return self._has_hits(indices)

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

    def refresh(self, indices: List[str]) -> ObjectApiResponse[object]:
        """Let searches find what was stored until now."""
        return self.client.indices.refresh(
            index=indices, allow_no_indices=True, ignore_unavailable=True
        )

    def hits(
        self, index: str, dataset: str, namespace: str, start: Millis, stop: Millis
    ) -> Iterator[Hit]:
        """Yield the hits of a dataset's events with start <= @timestamp < stop, by time and id."""
        query = {
            "bool": {
                "filter": [
                    {"range": {"@timestamp": {"gte": rfc3339(start), "lt": rfc3339(stop)}}},
                    {"term": {"event.dataset": dataset}},
                    {"term": {"data_stream.namespace": namespace}},
                ]
            }
        }
        after: Optional[List[object]] = None
        try:
            require_all_shards(self.refresh([index]).body, f"reading {index}")
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
                    sort = hit.get("sort")
                    if not isinstance(hit.get("_source"), dict) or not isinstance(sort, list):
                        raise Retry(
                            f"reading {index}: a hit without an event; check whether a proxy is in"
                            " between"
                        )
                    after = sort
                    yield hit
                if len(hits) < READ_AT_ONCE:
                    return
        except FAILURES as error:
            raise error_from(error, self.flavour, f"reading {index}") from None

    def ignored(self, patterns: Iterable[str], now: Millis) -> int:
        """Return how many events of the last 24 hours have a field that the cluster ignored."""
        query: Dict[str, object] = {
            "bool": {
                "filter": [
                    {"range": {"@timestamp": {"gte": rfc3339(now - DAY)}}},
                    {"exists": {"field": "_ignored"}},
                ]
            }
        }
        try:
            return sum(self._count(part, query) for part in in_requests(patterns))
        except FAILURES as error:
            raise error_from(error, self.flavour, "asking for ignored fields") from None

    def _count(self, indices: List[str], query: Mapping[str, object]) -> int:
        answer = self.client.count(
            index=indices, query=query, allow_no_indices=True, ignore_unavailable=True
        )
        body = answer.body
        number = body.get("count") if isinstance(body, dict) else None
        if not isinstance(number, int) or isinstance(number, bool):
            raise Retry(
                "asking for ignored fields: the answer has no count; check whether a proxy is"
                " in between"
            )
        return number
