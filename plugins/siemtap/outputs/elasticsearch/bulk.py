"""`_bulk` requests: their size, and the result of each event."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple

import elastic_transport
import elasticsearch
from elasticsearch import ApiError

from ...core.errors import AuthError, ConfigError, Retry
from ...core.rows import Event
from ...edge.clock import SYSTEM, Clock
from ...engine.protocols import Rejections
from .client import FAILURES, WAIT, error_from, is_block, parse_error
from .settings import Settings

log = logging.getLogger("siemtap")

# Seconds for which /health shows that an event went to the failure store.
SHOWN_FOR = 24 * 3600.0
# These make a quarter of the full answer.
FILTER = "errors,items.*.status,items.*.error,items.*.failure_store"
DONE = (200, 201)
CONFLICT = "version_conflict_engine_exception"  # a `create` whose id exists already
STRANGE = (
    "bulk: the answer does not have a result for every event; check whether a proxy is in between"
)


Lines = Callable[[Event], bytes]  # event -> its two lines of a `_bulk` body: action and document
CREATED = {"create": {"status": 201}}  # the result of a new event, as FILTER leaves it


class Request(NamedTuple):
    """One `_bulk` request. `lines` writes its events again if it has to be split."""

    events: List[Event]
    body: bytes
    lines: Lines


class Item(NamedTuple):
    """The server's result for one event."""

    status: int
    details: Dict[str, object]  # such as `error`


class Verdict(NamedTuple):
    """The results of one request. `in_doubt`: those of `again` may be stored nevertheless."""

    again: List[Event]  # of unknown fate, or not accepted now
    refused: Rejections
    why: str  # the reason of `again`
    accepted: int = 0  # number of events
    in_doubt: bool = False

    @property
    def events(self) -> int:
        """Return the number of events that have a result."""
        return len(self.again) + len(self.refused) + self.accepted


class Bulk:
    """A sender of `_bulk` requests, several at once.

    A request that the cluster does not take makes the next ones smaller.
    """

    def __init__(
        self,
        client: elasticsearch.Elasticsearch,
        settings: Settings,
        flavour: str,
        clock: Clock = SYSTEM,
    ) -> None:
        self.clock = clock
        self.client = client
        self.settings = settings
        self.flavour = flavour
        self.pool = ThreadPoolExecutor(settings.worker, thread_name_prefix="bulk")
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()  # duplicates, failure_store, requests
        # when an event went to the failure store last, in seconds of the monotonic clock, and which
        self.failed_at = float("-inf")
        self.failed = ""
        self.most = settings.bulk_max_size
        self.most_bytes = settings.bulk_max_bytes

    def requests(self, events: Iterable[Event], lines: Lines) -> Iterator[Request]:
        """Write events into requests, limited by number and by bytes.

        Each line goes into its body at once: all of them together do not fit into the processor's
        cache.
        """
        part: List[Event] = []
        body = BytesIO()
        size = 0
        for event in events:
            pair = lines(event)
            size += len(pair)
            if part and (len(part) >= self.most or size > self.most_bytes):
                yield Request(part, body.getvalue(), lines)
                part = []
                body = BytesIO()
                size = len(pair)
            part.append(event)
            body.write(pair)
        if part:
            yield Request(part, body.getvalue(), lines)

    def send(self, requests: Iterable[Request]) -> List[Verdict]:
        """Send requests, several at once, each while the next one is written."""
        if self.settings.worker > 1:
            return list(self.pool.map(self._send, requests))
        return list(map(self._send, requests))

    def _send(self, request: Request) -> Verdict:
        self.count(requests=1)
        try:
            answer = self.client.perform_request(
                "POST",
                "/_bulk",
                params={"filter_path": FILTER},
                body=request.body,
                headers={"accept": "application/json", "content-type": "application/x-ndjson"},
            )
        except ApiError as error:
            return self._judge_error(request, error)
        except FAILURES as error:  # of unknown fate: sent again, without duplicates
            if isinstance(error, elastic_transport.TlsError):
                raise error_from(error, self.flavour, "bulk") from None
            why = str(error_from(error, self.flavour, "bulk"))
            return Verdict(request.events, [], why, in_doubt=True)
        try:
            verdict = self._judge(request.events, answer.body)
        except ValueError:
            return Verdict(request.events, [], STRANGE, in_doubt=True)
        with self.lock:
            if not verdict.again:
                self.most = min(self.settings.bulk_max_size, self.most * 2)
            elif len(verdict.again) == len(request.events):
                self.most = max(10, len(request.events) // 2)
        return verdict

    def _judge_error(self, request: Request, error: ApiError) -> Verdict:
        """Return the verdict for a request that was rejected as a whole.

        413: send smaller requests. 400: one of the events is the reason, so smaller requests
        isolate it. If the request has a single event, that event is rejected. A 400 without an
        error type does not come from the cluster.
        """
        events = request.events
        size = len(request.body)
        kind, reason = parse_error(error.body)
        is_too_large = error.status_code == 413
        is_bad_event = error.status_code == 400 and bool(kind)
        if (is_too_large or is_bad_event) and not is_block(kind, reason):
            if len(events) == 1:
                reason = reason or f"{size} bytes in one request"
                text = f"{error.status_code} {kind or 'too large'}: {reason}"
                return Verdict([], [(events[0], text)], "")
            if is_too_large:
                with self.lock:
                    self.most_bytes = max(1024, min(self.most_bytes, size // 2))
            return self._send_in_halves(request)
        meaning = error_from(error, self.flavour, "bulk")
        if not isinstance(meaning, Retry):
            raise meaning from None
        with self.lock:
            self.most = max(10, len(events) // 2)
        # A cluster that is busy has stored nothing; a gateway's answer says nothing of the cluster.
        is_busy = error.status_code == 429 and bool(kind)
        return Verdict(events, [], str(meaning), in_doubt=not is_busy)

    def _send_in_halves(self, request: Request) -> Verdict:
        middle = len(request.events) // 2
        halves = request.events[:middle], request.events[middle:]
        return merged(
            [self._send(part) for half in halves for part in self.requests(half, request.lines)]
        )

    def _judge(self, events: List[Event], body: object) -> Verdict:
        """Return the verdict for an answer; ValueError if it has no result for each event."""
        if all_created(body, len(events)):
            return Verdict([], [], "", len(events))
        again: List[Event] = []
        refused: Rejections = []
        why = ""
        in_doubt = False
        for event, (status, details) in zip(events, parse_items(body, len(events))):
            if status in DONE:
                if details.get("failure_store") == "used":
                    self._note_failed(event)
                continue
            kind, reason = parse_error(details)
            text = f"bulk: {status} {kind}: {reason}"
            if status == 409 and kind == CONFLICT:
                self.count(duplicates=1)
            elif status >= 500 or status in WAIT or status == 409 or is_block(kind, reason):
                again.append(event)
                why = why or text
                # a shard that was lost, or too slow, may have stored it
                in_doubt = in_doubt or status >= 500 or status == 408
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
                refused.append((event, f"{status} {kind}: {reason}"))
        accepted = len(events) - len(again) - len(refused)
        return Verdict(again, refused, why, accepted, in_doubt)

    def _note_failed(self, event: Event) -> None:
        """Count an event that the cluster put into the failure store; log the first one."""
        with self.lock:
            self.counts["failure_store"] += 1
            self.failed_at = self.clock.elapsed()
            self.failed = f"{event['event']['id']} of {event['event']['dataset']}"
            is_first = self.counts["failure_store"] == 1
        if is_first:
            log.warning("output.%s: %s; more of them are counted", self.flavour, self.problem())

    def problem(self) -> str:
        """Return that events went to the failure store in the last 24 hours, and what to do; "" if
        none did."""
        if self.clock.elapsed() - self.failed_at > SHOWN_FOR:
            return ""
        return (
            "events are in the failure store, and in no search of their data streams:"
            f" {self.counts['failure_store']:,} since the start, the latest is {self.failed}; see"
            " docs/elasticsearch.md, Events in the failure store"
        )

    def count(self, **numbers: int) -> None:
        """Add to the counters."""
        with self.lock:
            self.counts.update(numbers)

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown(wait=True)


def merged(verdicts: List[Verdict]) -> Verdict:
    """Return the results of several requests as one. `in_doubt`: some of `again` may be stored."""
    return Verdict(
        again=[event for verdict in verdicts for event in verdict.again],
        refused=[pair for verdict in verdicts for pair in verdict.refused],
        why=next((verdict.why for verdict in verdicts if verdict.why), ""),
        accepted=sum(verdict.accepted for verdict in verdicts),
        in_doubt=any(verdict.in_doubt for verdict in verdicts),
    )


def all_created(body: object, number: int) -> bool:
    """Return whether an answer says 201 of every event, and nothing else."""
    if not isinstance(body, dict) or body != {"errors": False, "items": [CREATED] * number}:
        return False
    statuses = [item["create"]["status"] for item in body["items"]]
    return body["errors"] is False and set(map(type, statuses)) == {int}  # 201.0 == 201


def parse_items(body: object, number: int) -> List[Item]:
    """Return the result of each event of a `_bulk` request, in their order.

    Raise ValueError for any other shape than a cluster's (BulkResponse.toXContent and
    BulkItemResponse.toXContent of Elasticsearch's server): one item per event, each with status 200
    or 201 and no error, or with 400 to 599 and an error that has a type; `errors` is true if there
    is an error.
    """
    answer = body if isinstance(body, dict) else {}
    items = answer.get("items")
    if not isinstance(items, list) or len(items) != number:
        raise ValueError("not one item per event")
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
