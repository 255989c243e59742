"""Elasticsearch and OpenSearch: `create` with our id into a data stream. Every event has one of
three fates: accepted, refused with the server's reason, or unknown, and then it is sent again and
swallowed by its id."""

from __future__ import annotations

import logging
import random
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

import elastic_transport
from elasticsearch import ApiError, NotFoundError

from ..core.errors import AuthError, ConfigError, Retry
from ..core.mapping import Event, rfc3339
from ..core.model import Mark, Unit
from ..core.windows import DAY, Millis
from . import Around, Refused, ids_of
from .cluster import FAILURES, WAIT, Settings, client, complete, hits_of, is_block, trouble, words
from .encode import encode

log = logging.getLogger("siemtap")

# a quarter of the whole answer
FILTER = "errors,items.*.status,items.*.error,items.*.failure_store"
FILTER_IDS = "timed_out,_shards.failed,hits.hits._id"
DONE = (200, 201)
CONFLICT = "version_conflict_engine_exception"  # of a `create`: it is there already
STRANGE = "bulk: the answer does not say of every event what became of it; is a proxy in between?"
PATTERN = re.compile(r"%\{(?:\+([A-Za-z.\-_]+)|\[([A-Za-z0-9_.@]+)\])\}")
DATE = {"yyyy": (0, 4), "MM": (5, 7), "dd": (8, 10), "HH": (11, 13)}
LONGEST_PAUSE = 5.0  # seconds between two tries of one delivery
# seconds of pauses; then the runner waits, says so, and asks the vendor anew
PATIENCE = 20.0
IDS_AT_ONCE = 5_000
READ_AT_ONCE = 1_000


class Line(NamedTuple):
    event: Event
    body: bytes  # action and event, two lines


class Verdict(NamedTuple):
    """What became of one request's lines."""

    again: List[Line]  # unknown or not now
    refused: Refused
    why: str  # of `again`
    accepted: int = 0  # lines

    @property
    def lines(self) -> int:
        return len(self.again) + len(self.refused) + self.accepted


class Elasticsearch:
    together = False
    settings = Settings
    flavour = "elasticsearch"

    def __init__(self, settings: Settings, around: Around = Around()) -> None:
        self.wish, self.around = settings, around
        self.client = client(settings, self.flavour)
        self.pool = ThreadPoolExecutor(settings.worker, thread_name_prefix="bulk")
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()  # duplicates, failure_store, requests, waits
        self.most, self.most_bytes = settings.bulk_max_size, settings.bulk_max_bytes
        self.can_hold = True
        # (place, dataset) of data streams that are there, or will be
        self.expected: Set[Tuple[str, str]] = set()
        if not settings.verify and not settings.ca_fingerprint:
            log.warning(
                "output.%s: certificates are not verified (verify: false): anybody in between can"
                " read the key and the events",
                self.flavour,
            )

    # Where an event belongs

    def place(self, input: str, event: Event) -> str:
        """Its data stream, or the index that the input or the output was given."""
        pattern = self.around.index_of.get(input) or self.wish.index
        if not pattern:
            return _stream(event)
        return PATTERN.sub(
            lambda found: _dated(found[1], event) if found[1] else _field(event, found[2]), pattern
        )

    def _line(self, input: str, event: Event) -> Line:
        # Neither a data stream's name nor an id has anything to escape in it.
        return Line(
            event,
            b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n'
            % (self.place(input, event).encode(), event["event"]["id"].encode(), encode(event)),
        )

    def places(self, unit: Unit, namespace: str) -> str:
        """Everywhere that an event of this unit may lie."""
        pattern = self.around.index_of.get(unit.input) or self.wish.index
        return PATTERN.sub("*", pattern) if pattern else f"logs-{unit.dataset}-{namespace}"

    # Delivery

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Refused:
        """Until every event is there or refused for good; Retry when the cluster keeps saying
        "not now"."""
        self._be_expected(unit.input, events)
        waiting = [self._line(unit.input, event) for event in events]
        refused: Refused = []
        paused, attempt = 0.0, 0
        while waiting:
            verdicts = self._send_all(list(self._cut(waiting)))
            # no verdict, not accepted
            if sum(verdict.lines for verdict in verdicts) != len(waiting):
                raise Retry(f"output.{self.flavour}: {STRANGE}")
            waiting = [line for verdict in verdicts for line in verdict.again]
            refused += [pair for verdict in verdicts for pair in verdict.refused]
            if waiting:
                why = next(verdict.why for verdict in verdicts if verdict.again)
                attempt += 1
                pause = random.uniform(0, min(LONGEST_PAUSE, 0.25 * 2**attempt))
                paused += pause
                self._count(waits=1)
                if paused > PATIENCE or self.around.stopping.wait(pause):
                    raise Retry(
                        f"output.{self.flavour}: {why}; {len(waiting)} of {len(events)} events wait"
                    )
        return refused

    def _be_expected(self, input: str, events: List[Event]) -> None:
        """A cluster without our templates would make a plain index of guessed types where a data
        stream belongs. Elasticsearch has a template for all `logs-*-*`; OpenSearch has none, so it
        is asked once for each place, if it lets us ask."""
        if self.flavour == "elasticsearch" or self.around.index_of.get(input) or self.wish.index:
            return
        for place, dataset in sorted(
            {(_stream(event), event["data_stream"]["dataset"]) for event in events} - self.expected
        ):
            try:
                try:
                    self.client.indices.get_data_stream(name=place)
                except NotFoundError:
                    if not self.client.indices.exists_index_template(name=f"siemtap-{dataset}"):
                        raise ConfigError(
                            f"output.{self.flavour}: neither the data stream {place} nor the index"
                            f" template siemtap-{dataset} is there; run `siemtap setup`"
                        ) from None
            except ApiError as error:
                if error.status_code != 403:
                    raise trouble(error, self.flavour, f"asking for {place}") from None
            except FAILURES as error:
                raise trouble(error, self.flavour, f"asking for {place}") from None
            self.expected.add((place, dataset))

    def _cut(self, lines: List[Line]) -> Iterator[List[Line]]:
        """Requests, bounded by count and by bytes."""
        part: List[Line] = []
        size = 0
        for line in lines:
            if part and (len(part) >= self.most or size + len(line.body) > self.most_bytes):
                yield part
                part, size = [], 0
            part.append(line)
            size += len(line.body)
        if part:
            yield part

    def _send_all(self, parts: List[List[Line]]) -> List[Verdict]:
        if len(parts) > 1 and self.wish.worker > 1:
            return list(self.pool.map(self._send, parts))
        return [self._send(part) for part in parts]

    def _send(self, lines: List[Line]) -> Verdict:
        body = b"".join(line.body for line in lines)
        self._count(requests=1)
        try:
            answer = self.client.perform_request(
                "POST",
                "/_bulk",
                params={"filter_path": FILTER},
                body=body,
                headers={"accept": "application/json", "content-type": "application/x-ndjson"},
            )
        except ApiError as error:
            return self._whole_refused(lines, len(body), error)
        except FAILURES as error:  # of unknown fate: sent again, swallowed by the id
            if isinstance(error, elastic_transport.TlsError):
                raise trouble(error, self.flavour, "bulk") from None
            return Verdict(lines, [], str(trouble(error, self.flavour, "bulk")))
        try:
            items = items_of(answer.body, len(lines))
        except ValueError:
            return Verdict(lines, [], STRANGE)
        verdict = self._judge(lines, items)
        with self.lock:
            if not verdict.again:
                self.most = min(self.wish.bulk_max_size, self.most * 2)
            elif len(verdict.again) == len(lines):
                self.most = max(10, len(lines) // 2)
        return verdict

    def _whole_refused(self, lines: List[Line], size: int, error: ApiError) -> Verdict:
        """413: smaller ones. 400: one of them is the reason, so smaller ones find it. A single
        event is then the reason itself.

        A 400 that names no error is not the cluster's.
        """
        kind, reason = words(error.body)
        if (error.status_code == 413 or (error.status_code == 400 and kind)) and not is_block(kind):
            if len(lines) == 1:
                return Verdict(
                    [],
                    [
                        (
                            lines[0].event,
                            (
                                f"{error.status_code} {kind or 'too large'}:"
                                f" {reason or f'{size} bytes in one request'}"
                            ),
                        )
                    ],
                    "",
                )
            if error.status_code == 413:
                with self.lock:
                    self.most_bytes = max(1024, min(self.most_bytes, size // 2))
            half = len(lines) // 2
            first, second = self._send(lines[:half]), self._send(lines[half:])
            return Verdict(
                first.again + second.again,
                first.refused + second.refused,
                first.why or second.why,
                first.accepted + second.accepted,
            )
        meaning = trouble(error, self.flavour, "bulk")
        if not isinstance(meaning, Retry):
            raise meaning from None
        with self.lock:
            self.most = max(10, len(lines) // 2)
        return Verdict(lines, [], str(meaning))

    def _judge(self, lines: List[Line], items: List[Dict[str, Any]]) -> Verdict:
        again: List[Line] = []
        refused: Refused = []
        why = ""
        for line, item in zip(lines, items):
            status = item["status"]
            if status in DONE:
                if item.get("failure_store") == "used":
                    self._count(failure_store=1)
            else:
                kind, reason = words(item)
                said = f"bulk: {status} {kind}: {reason}"
                if status == 409 and kind == CONFLICT:
                    self._count(duplicates=1)
                elif status >= 500 or status in WAIT or status == 409 or is_block(kind):
                    again.append(line)
                    why = why or said
                elif status == 404:
                    raise ConfigError(
                        f"{said}; run `siemtap setup`, or let the cluster create what is missing",
                        status=status,
                    )
                elif status in (401, 403):
                    raise AuthError(
                        f"{said}; give the user the rights that the README lists", status=status
                    )
                else:
                    refused.append((line.event, f"{status} {kind}: {reason}"))
        return Verdict(again, refused, why, len(lines) - len(again) - len(refused))

    # What is there already

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        """On the whole data stream, so that a rollover in between does no harm; a search sees
        only what was refreshed."""
        if not self.can_hold or not events:
            return None if not self.can_hold else set()
        places = sorted({self.place(unit.input, event) for event in events})
        found: Set[str] = set()
        wanted = sorted(ids_of(events))
        try:
            answer = self._refresh(places)
            complete(answer.body, "asking for ids")
            for start in range(0, len(wanted), IDS_AT_ONCE):
                part = wanted[start : start + IDS_AT_ONCE]
                # A copy on either side of a rollover is two hits: as many as there may be.
                answer = self.client.search(
                    index=places,
                    query={"ids": {"values": part}},
                    size=min(10_000, 2 * len(part)),
                    source=False,
                    allow_no_indices=True,
                    ignore_unavailable=True,
                    filter_path=FILTER_IDS,
                )
                ids = {str(hit.get("_id")) for hit in hits_of(answer.body, "asking for ids")}
                if not ids <= set(part):
                    raise Retry("asking for ids: the answer names others; is a proxy in between?")
                found |= ids
        except ApiError as error:
            if error.status_code in (403, 401):
                self.can_hold = False
                log.warning(
                    "output.%s: the user may not refresh and read %s, so after a crash an event may"
                    " come twice if the data stream rolled over in between; give it `read` and"
                    " `maintenance`",
                    self.flavour,
                    ", ".join(places),
                )
                return None
            raise trouble(error, self.flavour, "asking for ids") from None
        except FAILURES as error:
            raise trouble(error, self.flavour, "asking for ids") from None
        return found

    def _refresh(self, places: List[str]) -> Any:
        return self.client.indices.refresh(
            index=places, allow_no_indices=True, ignore_unavailable=True
        )

    def read(self, unit: Unit, namespace: str, start: Millis, stop: Millis) -> Iterator[Event]:
        """In pages by time and id. Copies on either side of a rollover are two."""
        place = self.places(unit, namespace)
        wanted = {
            "bool": {
                "filter": [
                    {"range": {"@timestamp": {"gte": rfc3339(start), "lt": rfc3339(stop)}}},
                    {"term": {"event.dataset": unit.dataset}},
                    {"term": {"data_stream.namespace": namespace}},
                ]
            }
        }
        after: Optional[List[Any]] = None
        try:
            answer = self._refresh([place])
            complete(answer.body, f"reading {place}")
            while True:
                answer = self.client.search(
                    index=place,
                    query=wanted,
                    size=READ_AT_ONCE,
                    sort=[{"@timestamp": "asc"}, {"event.id": "asc"}, {"_index": "asc"}],
                    search_after=after,
                    allow_no_indices=True,
                    ignore_unavailable=True,
                    track_total_hits=False,
                )
                hits = hits_of(answer.body, f"reading {place}")
                for hit in hits:
                    if not isinstance(hit.get("_source"), dict) or not isinstance(
                        hit.get("sort"), list
                    ):
                        raise Retry(
                            f"reading {place}: a hit without an event; is a proxy in between?"
                        )
                    if hit.get("_ignored"):  # stored, and not searchable by these fields
                        self._count(ignored=1)
                    yield hit["_source"]
                if len(hits) < READ_AT_ONCE:
                    return
                after = hits[-1]["sort"]
        except FAILURES as error:
            raise trouble(error, self.flavour, f"reading {place}") from None

    def ignored(self, units: Set[Tuple[Unit, str]], now: Millis) -> int:
        """How many events of the last 24 hours have a field that the cluster could not read:
        stored whole, and not found by that field."""
        places = sorted({self.places(*one) for one in units})
        wanted = {
            "bool": {
                "filter": [
                    {"range": {"@timestamp": {"gte": rfc3339(now - DAY)}}},
                    {"exists": {"field": "_ignored"}},
                ]
            }
        }
        try:
            found = [
                self.client.count(
                    index=",".join(places[start : start + 50]),
                    query=wanted,
                    allow_no_indices=True,
                    ignore_unavailable=True,
                ).body
                for start in range(0, len(places), 50)
            ]
        except FAILURES as error:
            raise trouble(error, self.flavour, "asking for ignored fields") from None
        numbers: List[Any] = [
            body.get("count") if isinstance(body, dict) else None for body in found
        ]
        if not all(number.__class__ is int for number in numbers):
            raise Retry(
                "asking for ignored fields: the answer has no count; is a proxy in between?"
            )
        return sum(numbers)

    def close(self) -> None:
        self.pool.shutdown(wait=True)
        self.client.close()

    def _count(self, **more: int) -> None:
        with self.lock:
            self.counts.update(more)


class Opensearch(Elasticsearch):
    flavour = "opensearch"


def items_of(body: Any, number: int) -> List[Dict[str, Any]]:
    """What an answer to `_bulk` says of each line, in their order.

    ValueError for any other shape than a cluster's (BulkResponse.toXContent and
    BulkItemResponse.toXContent of Elasticsearch's server): an item a line, each 200 or 201 without,
    or 400 to 599 with an error that has a type, and `errors` true if there is one of these.
    """
    items = body.get("items") if isinstance(body, dict) else None
    if not isinstance(items, list) or len(items) != number:
        raise ValueError("not an item a line")
    found = []
    failed = False
    for outer in items:
        item: Any = outer.get("create") if isinstance(outer, dict) and len(outer) == 1 else None
        status: Any = item.get("status") if isinstance(item, dict) else None
        if status.__class__ is not int:
            raise ValueError("an item without a status")
        if status not in DONE or "error" in item:
            error = item.get("error")
            kind = error.get("type") if isinstance(error, dict) else None
            if not 400 <= status <= 599 or not isinstance(kind, str) or not kind:
                raise ValueError("neither success nor failure")
            failed = True
        found.append(item)
    if body.get("errors") is not failed:
        raise ValueError("the answer contradicts itself")
    return found


def _stream(event: Event) -> str:
    stream = event["data_stream"]
    return f"{stream['type']}-{stream['dataset']}-{stream.get('namespace', 'default')}"


def _dated(pattern: str, event: Event) -> str:
    """yyyy.MM.dd of the event's own time, in UTC."""
    return re.sub(
        "|".join(DATE), lambda found: event["@timestamp"][slice(*DATE[found[0]])], pattern
    )


def _field(event: Event, path: str) -> str:
    value: Any = event
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    # what an index may be called
    return re.sub(r"[^a-z0-9_.-]", "_", str(value if value is not None else "none").lower())
