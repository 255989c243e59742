"""Indexer acknowledgement: channels, and the wait for `true`.

Splunk, Getting Data In, "About HTTP Event Collector Indexer Acknowledgment": a request is answered
with an `ackId`, which counts from 0 in each channel of an instance; `/services/collector/ack` says
`true` once, and forgets the id.
"""

from __future__ import annotations

import threading
import uuid
from collections import defaultdict
from typing import Dict, List, NamedTuple, Optional, Tuple

from ...core.errors import Retry, SiemtapError
from .. import OutputContext
from .collector import Collector, Line

FIRST_POLL = 0.1  # seconds
LONGEST_POLL = 5.0  # seconds between two polls


class Pending(NamedTuple):
    """A request that a host has received and not acknowledged."""

    host: str
    ack_id: int
    lines: List[Line]
    cookies: str  # of a load balancer: they lead to the instance that gave the id


class Wait(NamedTuple):
    """How a wait for acknowledgements ended."""

    confirmed: List[Pending]
    unconfirmed: List[Pending]
    why: str  # the reason of `unconfirmed`
    error: Optional[SiemtapError] = None  # for which a person must act


class Acks:
    """The channels of an output, and the wait for acknowledgements.

    A channel belongs to one delivery at a time. One with an id that was never acknowledged is not
    used again: after a restart an instance counts from 0 anew, and the id of a later request would
    pass for that of an earlier one.
    """

    def __init__(self, collector: Collector, timeout: float, context: OutputContext) -> None:
        self.collector = collector
        self.timeout = timeout
        self.context = context
        self.lock = threading.Lock()
        self.channels: List[str] = []

    def take_channel(self) -> str:
        """Return a channel that no other delivery uses: a GUID."""
        with self.lock:
            return self.channels.pop() if self.channels else str(uuid.uuid4())

    def give_back(self, channel: str) -> None:
        """Let another delivery use a channel, of which every id is acknowledged."""
        with self.lock:
            self.channels.append(channel)

    def wait(self, channel: str, pending: List[Pending]) -> Wait:
        """Wait until all requests are acknowledged.

        Ends after the time-out, and when siemtap stops. An answer that is lost may have been the
        only `true`, so an error leaves a request open until then.
        """
        elapsed = self.context.clock.elapsed
        until = elapsed() + self.timeout
        confirmed: List[Pending] = []
        waiting, doubtful = without_twins(pending)
        why = "an acknowledgement id was given twice; was HEC restarted?" if doubtful else ""
        error: Optional[SiemtapError] = None
        pause = FIRST_POLL
        while waiting and not error:
            if elapsed() >= until:
                why = why or f"no acknowledgement within {self.timeout:g} s"
                break
            if self.context.stopping.wait(min(pause, max(0.0, until - elapsed()))):
                why = "siemtap stops before the acknowledgement"
                break
            pause = min(LONGEST_POLL, pause * 1.5)
            still: List[Pending] = []
            for (host, cookies), group in by_instance(waiting).items():
                ids = [each.ack_id for each in group]
                try:
                    acks = self.collector.acknowledged(host, channel, ids, cookies)
                except SiemtapError as failure:
                    why = str(failure)
                    error = None if isinstance(failure, Retry) else failure
                    still += group
                    continue
                if acks is None:
                    why = f"{host} does not know the channel any more; was it restarted?"
                    doubtful += group
                    continue
                for each in group:
                    (confirmed if acks[each.ack_id] else still).append(each)
            waiting = still
        return Wait(confirmed, doubtful + waiting, why, error)


def by_instance(pending: List[Pending]) -> Dict[Tuple[str, str], List[Pending]]:
    """Return requests by (host, cookies), which lead to one instance of Splunk."""
    groups: Dict[Tuple[str, str], List[Pending]] = defaultdict(list)
    for each in pending:
        groups[each.host, each.cookies].append(each)
    return groups


def without_twins(pending: List[Pending]) -> Tuple[List[Pending], List[Pending]]:
    """Return the requests whose id is theirs alone, and the others.

    Two requests with one id at one address were taken by two instances behind it, or before and
    after a restart: its acknowledgement would be of either.
    """
    alone: List[Pending] = []
    twins: List[Pending] = []
    for group in by_instance(pending).values():
        ids = [each.ack_id for each in group]
        for each in group:
            (twins if ids.count(each.ack_id) > 1 else alone).append(each)
    return alone, twins
