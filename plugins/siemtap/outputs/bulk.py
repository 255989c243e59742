"""`_bulk` requests: their size, and the result of each event."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, Iterator, List, NamedTuple

import elastic_transport
import elasticsearch
from elasticsearch import ApiError

from ..core.errors import AuthError, ConfigError, Retry
from ..core.rows import Event
from ..engine.protocols import Rejections
from .cluster import FAILURES, WAIT, Settings, error_from, is_block, parse_error

# These make a quarter of the full answer.
FILTER = "errors,items.*.status,items.*.error,items.*.failure_store"
DONE = (200, 201)
CONFLICT = "version_conflict_engine_exception"  # a `create` whose id exists already
STRANGE = (
    "bulk: the answer does not have a result for every event; check whether a proxy is in between"
)


class Line(NamedTuple):
    """An event and its part of a `_bulk` body."""

    event: Event
    body: bytes  # two lines: action and event


class Item(NamedTuple):
    """The server's result for one line."""

    status: int
    details: Dict[str, object]  # such as `error`


class Verdict(NamedTuple):
    """The results of one request."""

    again: List[Line]  # of unknown fate, or not accepted now
    refused: Rejections
    why: str  # the reason of `again`
    accepted: int = 0  # number of lines

    @property
    def lines(self) -> int:
        """Return the number of lines that have a result."""
        return len(self.again) + len(self.refused) + self.accepted


class Bulk:
    """A sender of `_bulk` requests, several at once.

    A request that the cluster does not take makes the next ones smaller.
    """

    def __init__(
        self, client: elasticsearch.Elasticsearch, settings: Settings, flavour: str
    ) -> None:
        self.client = client
        self.settings = settings
        self.flavour = flavour
        self.pool = ThreadPoolExecutor(settings.worker, thread_name_prefix="bulk")
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()  # duplicates, failure_store, requests
        self.most = settings.bulk_max_size
        self.most_bytes = settings.bulk_max_bytes

    def split(self, lines: List[Line]) -> Iterator[List[Line]]:
        """Split lines into requests, limited by number and by bytes."""
        part: List[Line] = []
        size = 0
        for line in lines:
            if part and (len(part) >= self.most or size + len(line.body) > self.most_bytes):
                yield part
                part = []
                size = 0
            part.append(line)
            size += len(line.body)
        if part:
            yield part

    def send(self, parts: List[List[Line]]) -> List[Verdict]:
        if len(parts) > 1 and self.settings.worker > 1:
            return list(self.pool.map(self._send_part, parts))
        return [self._send_part(part) for part in parts]

    def _send_part(self, lines: List[Line]) -> Verdict:
        body = b"".join(line.body for line in lines)
        self.count(requests=1)
        try:
            answer = self.client.perform_request(
                "POST",
                "/_bulk",
                params={"filter_path": FILTER},
                body=body,
                headers={"accept": "application/json", "content-type": "application/x-ndjson"},
            )
        except ApiError as error:
            return self._judge_error(lines, len(body), error)
        except FAILURES as error:  # of unknown fate: sent again, without duplicates
            if isinstance(error, elastic_transport.TlsError):
                raise error_from(error, self.flavour, "bulk") from None
            return Verdict(lines, [], str(error_from(error, self.flavour, "bulk")))
        try:
            items = parse_items(answer.body, len(lines))
        except ValueError:
            return Verdict(lines, [], STRANGE)
        verdict = self._judge(lines, items)
        with self.lock:
            if not verdict.again:
                self.most = min(self.settings.bulk_max_size, self.most * 2)
            elif len(verdict.again) == len(lines):
                self.most = max(10, len(lines) // 2)
        return verdict

    def _judge_error(self, lines: List[Line], size: int, error: ApiError) -> Verdict:
        """Return the verdict for a request that was rejected as a whole.

        413: send smaller requests. 400: one of the events is the reason, so smaller requests
        isolate it. If the request has a single event, that event is rejected. A 400 without an
        error type does not come from the cluster.
        """
        kind, reason = parse_error(error.body)
        is_too_large = error.status_code == 413
        is_bad_event = error.status_code == 400 and bool(kind)
        if (is_too_large or is_bad_event) and not is_block(kind):
            if len(lines) == 1:
                reason = reason or f"{size} bytes in one request"
                text = f"{error.status_code} {kind or 'too large'}: {reason}"
                return Verdict([], [(lines[0].event, text)], "")
            if is_too_large:
                with self.lock:
                    self.most_bytes = max(1024, min(self.most_bytes, size // 2))
            return self._send_in_halves(lines)
        meaning = error_from(error, self.flavour, "bulk")
        if not isinstance(meaning, Retry):
            raise meaning from None
        with self.lock:
            self.most = max(10, len(lines) // 2)
        return Verdict(lines, [], str(meaning))

    def _send_in_halves(self, lines: List[Line]) -> Verdict:
        middle = len(lines) // 2
        first = self._send_part(lines[:middle])
        second = self._send_part(lines[middle:])
        return Verdict(
            again=first.again + second.again,
            refused=first.refused + second.refused,
            why=first.why or second.why,
            accepted=first.accepted + second.accepted,
        )

    def _judge(self, lines: List[Line], items: List[Item]) -> Verdict:
        """Return the verdict for a request that has a result for each event."""
        again: List[Line] = []
        refused: Rejections = []
        why = ""
        for line, (status, details) in zip(lines, items):
            if status in DONE:
                if details.get("failure_store") == "used":
                    self.count(failure_store=1)
                continue
            kind, reason = parse_error(details)
            text = f"bulk: {status} {kind}: {reason}"
            if status == 409 and kind == CONFLICT:
                self.count(duplicates=1)
            elif status >= 500 or status in WAIT or status == 409 or is_block(kind):
                again.append(line)
                why = why or text
            elif status == 404:
                raise ConfigError(
                    f"{text}; run `siemtap setup`, or let the cluster create what is missing",
                    status=status,
                )
            elif status in (401, 403):
                raise AuthError(
                    f"{text}; give the user the rights that docs/elasticsearch.md lists",
                    status=status,
                )
            else:
                refused.append((line.event, f"{status} {kind}: {reason}"))
        accepted = len(lines) - len(again) - len(refused)
        return Verdict(again, refused, why, accepted)

    def count(self, **numbers: int) -> None:
        """Add to the counters."""
        with self.lock:
            self.counts.update(numbers)

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(wait=True)


def parse_items(body: object, number: int) -> List[Item]:
    """Return the result of each line of a `_bulk` request, in their order.

    Raise ValueError for any other shape than a cluster's (BulkResponse.toXContent and
    BulkItemResponse.toXContent of Elasticsearch's server): one item per line, each with status 200
    or 201 and no error, or with 400 to 599 and an error that has a type; `errors` is true if there
    is an error.
    """
    answer = body if isinstance(body, dict) else {}
    items = answer.get("items")
    if not isinstance(items, list) or len(items) != number:
        raise ValueError("not one item per line")
    results = []
    has_errors = False
    for outer in items:
        details = outer.get("create") if isinstance(outer, dict) and len(outer) == 1 else None
        status = details.get("status") if isinstance(details, dict) else None
        if not isinstance(details, dict) or type(status) is not int:
            raise ValueError("an item without a status")
        if status not in DONE or "error" in details:
            error = details.get("error")
            kind = error.get("type") if isinstance(error, dict) else None
            if not 400 <= status <= 599 or not isinstance(kind, str) or not kind:
                raise ValueError("neither success nor failure")
            has_errors = True
        results.append(Item(status, details))
    if answer.get("errors") is not has_errors:
        raise ValueError("`errors` contradicts the items")
    return results
