"""The output `splunk_hec`. Without `ack` an event is delivered when HEC has answered 200; with
`ack`, when the indexers have acknowledged it.

Splunk has no ids: what is sent again after a failure may be indexed twice, with one `event.id`.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from ...core.errors import ConfigError, Retry, SiemtapError
from ...core.model import Mark, Unit
from ...core.rows import Event
from ...core.windows import Millis
from ...edge.encode import encode
from ...edge.splunk.serializer import Serializer, sourcetype, time_of
from ...engine.protocols import Rejections
from .. import OutputContext
from ..index_names import index_name
from .acks import Acks, Pending
from .collector import Collector, Line
from .settings import Settings

log = logging.getLogger("siemtap")

LONGEST_PAUSE = 5.0  # seconds between two attempts of one delivery
# Seconds of pauses in one delivery. Then the runner reports it, waits, and reads the vendor again.
PATIENCE = 20.0
# Attempts of one delivery whose acknowledgement did not come; then as after PATIENCE.
UNACKNOWLEDGED_ATTEMPTS = 2


class Result(NamedTuple):
    """The fates of the events of a request, or of the requests that it was split into."""

    accepted: List[Line]
    pending: List[Pending]  # received, not acknowledged yet
    again: List[Line]  # of unknown fate, or not accepted now
    refused: Rejections
    why: str = ""  # the reason of `again`
    after: Millis = 0  # the wait that a host asked for
    error: Optional[SiemtapError] = None  # for which a person must act


class SplunkHec:
    """The output `splunk_hec`. `context` may name another `index` for each input."""

    together = False
    unreadable = "an HTTP Event Collector only takes events"
    settings_type = Settings

    def __init__(self, settings: Settings, context: OutputContext = OutputContext()) -> None:
        self.settings = settings
        self.context = context
        self.collector = Collector(settings, context.clock, context.stopping)
        self.acks = Acks(self.collector, settings.ack_timeout / 1000, context)
        self.serializer = Serializer(context.datasets.values())
        self.pool = ThreadPoolExecutor(settings.worker, thread_name_prefix="hec")
        self.host = socket.gethostname()
        self.lock = threading.Lock()
        # requests, how often it waited, events without an acknowledgement in time
        self.counts: Counter[str] = Counter()
        # (input, dataset) -> the start of an event's object
        self.heads: Dict[Tuple[str, str], bytes] = {}
        # ids of events that are delivered, of deliveries that failed: not sent again
        self.delivered: Set[str] = set()
        if not settings.verify and not settings.ca_fingerprint:
            log.warning(
                "output.splunk_hec: certificates are not verified (verify: false); anybody on the"
                " network path can read the token and the events"
            )

    @classmethod
    def location(cls, settings: Settings) -> str:
        """Return where the events are, to complete "the events are …"."""
        index = f"the index {settings.index}" if settings.index else "the token's index"
        return (
            f"in Splunk, in {index}, received by {', '.join(settings.hosts)}; search them in Splunk"
            " by sourcetype, such as sourcetype=<plugin>:*"
        )

    # The object of an event

    def _line(self, unit: Unit, event: Event) -> Line:
        dataset = event["event"]["dataset"]
        head = self.heads.get((unit.input, dataset))
        if head is None:
            head = self.heads[unit.input, dataset] = self._head(unit.input, dataset)
        pattern = self.context.index_by_input.get(unit.input) or self.settings.index
        if pattern:  # no index name has a character that JSON escapes
            head += b'"index":"%b",' % index_name(pattern, event).encode()
        time = time_of(event)
        if time is not None:
            head += b'"time":%d.%03d,' % divmod(time, 1000)
        return Line(
            event,
            b'%b"event":%b}\n' % (head, quoted(self.serializer.line(event))),
            time is not None,
        )

    def _head(self, input: str, dataset: str) -> bytes:
        metadata = {
            "host": self.host,
            "source": f"{dataset.partition('.')[0]}://{input}",  # as of the add-on's input
            "sourcetype": sourcetype(dataset),
        }
        return encode(metadata)[:-1] + b","

    # Delivery

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Send until every event is delivered or rejected for good; return the rejected ones.

        Raise Retry if HEC does not take all of them within PATIENCE. Those that it took are not
        sent again by the next delivery.
        """
        waiting = [
            self._line(unit, event)
            for event in events
            if event["event"]["id"] not in self.delivered
        ]
        accepted: Set[str] = set()
        refused: Rejections = []
        try:
            for result in self._rounds(waiting, len(events)):
                accepted.update(line.event["event"]["id"] for line in result.accepted)
                refused += result.refused
        except BaseException:
            with self.lock:
                self.delivered |= accepted
            raise
        if self.delivered:
            with self.lock:
                self.delivered.difference_update(event["event"]["id"] for event in events)
        return refused

    def _rounds(self, waiting: List[Line], number: int) -> Iterator[Result]:
        """Yield the result of each attempt; raise Retry if too many of them leave events."""
        paused = 0.0
        attempt = unacknowledged = 0
        while waiting:
            result = self._attempt(waiting)
            yield result
            if result.error:
                raise result.error
            waiting = result.again
            if not waiting:
                return
            attempt += 1
            unacknowledged += bool(result.pending)
            pause = random.uniform(0, min(LONGEST_PAUSE, 0.25 * 2**attempt))
            pause = max(pause, result.after / 1000)
            paused += pause
            self._count(waits=1)
            is_over = paused > PATIENCE or unacknowledged >= UNACKNOWLEDGED_ATTEMPTS
            if is_over or self.context.stopping.wait(pause):
                raise Retry(
                    f"output.splunk_hec: {result.why}; {len(waiting)} of {number} events wait",
                    after=result.after,
                )

    def _attempt(self, lines: List[Line]) -> Result:
        """Send each event once, and wait for the acknowledgements.

        `pending` of the result: the requests without one; their events are in `again`, too.
        """
        parts = list(self.collector.split(lines))
        channel = self.acks.take_channel() if self.settings.ack else ""
        if len(parts) > 1 and self.settings.worker > 1:
            results = list(self.pool.map(lambda part: self._send(part, channel), parts))
        else:
            results = [self._send(part, channel) for part in parts]
        result = merged(results)
        if not result.pending:
            return result
        wait = self.acks.wait(channel, result.pending)
        if not wait.unconfirmed and not result.again:
            self.acks.give_back(channel)
        again = [line for each in wait.unconfirmed for line in each.lines]
        self._count(unacknowledged=len(again))
        return result._replace(
            accepted=result.accepted + [line for each in wait.confirmed for line in each.lines],
            pending=wait.unconfirmed,
            again=result.again + again,
            why=result.why or wait.why,
            error=result.error or wait.error,
        )

    def _send(self, lines: List[Line], channel: str) -> Result:
        """Send a request. One that is too large, or has an invalid event, is split."""
        parts = [lines]
        results = []
        while parts:
            part = parts.pop()
            self._count(requests=1)
            try:
                host, answer = self.collector.post(part, channel)
            except Retry as error:
                results.append(Result([], [], part, [], str(error), error.after))
                continue
            except SiemtapError as error:
                results.append(Result([], [], part, [], str(error), error=error))
                continue
            if answer.is_accepted and not channel:
                results.append(Result(part, [], [], []))
            elif answer.is_accepted and answer.ack_id is not None:
                pending = Pending(host, answer.ack_id, part, answer.cookies)
                results.append(Result([], [pending], [], []))
            elif answer.is_accepted:
                results.append(Result(part, [], [], [], error=_no_ack(host)))
            elif len(part) == 1:
                results.append(Result([], [], [], [(part[0].event, str(answer))]))
            else:
                if answer.status == 413:
                    self.collector.shrink(sum(len(line.body) for line in part))
                parts += split_at(part, answer.invalid_event)
        return merged(results)

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        """Return None: HEC cannot search."""
        return None

    def _count(self, **numbers: int) -> None:
        with self.lock:
            self.counts.update(numbers)

    def problems(self) -> Iterator[str]:
        """Yield what a person should put right, for the status."""
        yield from self.collector.sender.problems()

    def close(self) -> None:
        self.pool.shutdown(wait=True)
        self.collector.close()


def _no_ack(host: str) -> ConfigError:
    return ConfigError(
        f"output.splunk_hec: {host} took events and will not acknowledge them: the token has no"
        " indexer acknowledgement; turn it on in Splunk, or set `ack: false`"
    )


def quoted(line: bytes) -> bytes:
    """Return a line of JSON as a JSON string. As a string, `event` becomes `_raw` as it is.

    JSON escapes control characters already.
    """
    return b'"%b"' % line.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def merged(results: List[Result]) -> Result:
    """Return the results of several requests as one."""
    if len(results) == 1:
        return results[0]
    return Result(
        accepted=[line for result in results for line in result.accepted],
        pending=[each for result in results for each in result.pending],
        again=[line for result in results for line in result.again],
        refused=[pair for result in results for pair in result.refused],
        why=next((result.why for result in results if result.why), ""),
        after=max((result.after for result in results), default=0),
        error=next((result.error for result in results if result.error), None),
    )


def split_at(lines: List[Line], invalid: Optional[int]) -> List[List[Line]]:
    """Split lines around the invalid one, or in halves if it is not known.

    Nothing is believed of the others: those before it may be indexed already, and are sent again.
    """
    if invalid is None or invalid >= len(lines):
        middle = len(lines) // 2
        return [lines[:middle], lines[middle:]]
    parts = (lines[:invalid], [lines[invalid]], lines[invalid + 1 :])
    return [part for part in parts if part]
