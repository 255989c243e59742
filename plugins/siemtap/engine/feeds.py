"""Where the batches of a unit come from: the vendor's API, or the spool of what was pushed."""

from __future__ import annotations

import base64
import logging
from typing import Callable, Dict, Generator, Iterable, Iterator, List, Optional, Tuple

from ..core import bounds
from ..core.convert import rfc3339
from ..core.errors import Malformed, Retry, SiemtapError
from ..core.model import (
    Batch,
    Confirmation,
    Cursor,
    Payload,
    PeerText,
    Plugin,
    Records,
    Unit,
    time_in,
)
from ..core.rows import Dataset, Record
from ..core.windows import DAY, Millis
from ..edge.clock import TOLERANCE, check_ahead
from .protocols import PayloadQueue, VendorClock

log = logging.getLogger("siemtap")

BATCH_RECORDS = 2_000  # of a batch of pushed records
BATCH_BYTES = 1024 * 1024  # of payloads whose records make one batch

Receive = Callable[[Payload], Iterable[Records]]
Confirm = Callable[[Confirmation], None]


def pulled_batches(
    plugin: Plugin,
    client: object,
    unit: Unit,
    cursor: Cursor,
    http: VendorClock,
    overlap: Millis,
    lookback: Millis,
    stop: Optional[Millis] = None,
) -> Iterator[Batch]:
    """Yield what the vendor has from the cursor to now, or to `stop`.

    Nothing counts as read that had not happened yet by the vendor's clock (decision 0013).
    """
    now = http.now()
    for name in ("until", "asked"):  # damage is reported even if no request was answered yet
        time_in(cursor, name)
    cursor = yield from _set_back(plugin, unit, cursor, http, overlap, lookback)
    for batch in plugin.collect(client, unit, cursor, now if stop is None else min(stop, now)):
        check_ahead(batch.until - http.now())
        yield batch
    # before the first answer the vendor's time was not known
    yield from _set_back(plugin, unit, cursor, http, overlap, lookback)


def _set_back(
    plugin: Plugin,
    unit: Unit,
    cursor: Cursor,
    http: VendorClock,
    overlap: Millis,
    lookback: Millis,
) -> Generator[Batch, None, Cursor]:
    """Return the cursor to go on from. One in the future is set back by `lookback`, as at a first
    start: our clock was ahead, or the disk failed, and nobody knows since when.

    A third of the overlap may lie in the future: the rest still covers what happened since the last
    request, and late events. Beyond that, events might never be read.
    """
    latest = http.latest()
    if latest is None:
        return cursor
    if time_in(cursor, "asked") > latest + TOLERANCE:  # of a request without an answer
        cursor = {name: value for name, value in cursor.items() if name != "asked"}
    until = time_in(cursor, "until")
    # A `Date` header that is seconds off is no damage, and neither is one far behind our clock: it
    # is unknown which of the two clocks is right. /health reports the difference, and once they
    # agree the cursor is judged.
    if until <= max(latest, http.clock.now()) + max(2 * TOLERANCE, overlap // 3):
        return cursor
    back = max(0, latest - max(lookback, overlap))
    yield Batch(plugin.dataset(unit.dataset), [], {**cursor, "until": back}, back)
    raise Retry(
        f"the checkpoint says that everything is read until {_time_text(until)}, which is in the"
        " future: the clock of this machine was ahead, or the checkpoint is damaged. It was set"
        f" back, and all is read again from {_time_text(back)}; `siemtap audit` tells whether older"
        " events are missing"
    )


def _time_text(moment: Millis) -> str:
    try:
        return rfc3339(moment)
    except OverflowError:
        return f"the year {1970 + moment // (365 * DAY)}"


def spooled_batches(
    spool: PayloadQueue,
    cursor: Cursor,
    receive: Receive,
    fallback: Dataset,
    at_most: int = 1_000,
    confirm: Optional[Confirm] = None,
) -> Iterator[Batch]:
    """Yield what was pushed, from the cursor to the end of the spool. What lies before a batch's
    cursor is deleted once the next batch is requested.

    A batch ends after BATCH_RECORDS records or BATCH_BYTES bytes. Only the last batch of a read
    moves the cursor: after a crash the others come again, and their ids are known.
    `fallback`: the dataset of payloads that cannot be read. `confirm`: takes what senders ask to be
    confirmed, and does not wait for it; without it the log says what a person has to do.
    """
    while True:
        payloads, after = spool.read(cursor, at_most)
        if not payloads:
            return
        groups: Dict[str, Tuple[Dataset, List[Record]]] = {}
        until = payloads[0].received
        size = 0
        for payload in payloads:
            if size >= BATCH_BYTES:
                for dataset, records in groups.values():
                    yield Batch(dataset, records, cursor, until)
                groups = {}
                until = payload.received
                size = 0
            until = max(until, payload.received)
            # a compressed payload may be large
            size += BATCH_BYTES if _is_compressed(payload) else len(payload.body)
            for dataset, records, *_ in _records_of(payload, receive, fallback, confirm):
                _, waiting = groups.setdefault(dataset.name, (dataset, []))
                waiting += records
                while len(waiting) > BATCH_RECORDS:
                    yield Batch(dataset, waiting[:BATCH_RECORDS], cursor, until)
                    del waiting[:BATCH_RECORDS]
        *others, (dataset, records) = groups.values() or [(fallback, [])]
        for other, other_records in others:
            yield Batch(other, other_records, cursor, until)
        yield Batch(dataset, records, after, until)
        spool.delete_before(after)
        cursor = after


def _records_of(
    payload: Payload, receive: Receive, fallback: Dataset, confirm: Optional[Confirm] = None
) -> List[Records]:
    """Return the records of a payload.

    A payload that the plugin cannot read, and what is beyond the limit of records, is one record:
    its text. The sender will not send it again, and it must not hold up the payloads behind it.
    """
    parts: List[Records] = []
    room = bounds.MAX_RECORDS
    try:
        for part in receive(payload):
            records = [
                _from_peer(payload, record) if isinstance(record, str) else record
                for record in part.records[:room]
            ]
            parts.append(Records(part.dataset, records))
            for notice in part.notices:
                log.warning("%s: %s", fallback.namespace, notice)
            for confirmation in part.confirmations:
                if confirm:
                    confirm(confirmation)
                else:
                    log.warning("%s: %s", fallback.namespace, confirmation.notice)
            if len(part.records) > room:
                return [*parts, Records(fallback, [_text_of(payload)])]
            room -= len(part.records)
    except SiemtapError as error:
        if not isinstance(error, Malformed):
            raise
        return [Records(fallback, [_text_of(payload)])]
    except Exception as error:
        log.error(
            "%s cannot read a payload (%s): its text is kept in a pipeline_error event",
            fallback.namespace,
            type(error).__name__,
        )
        log.debug("the plugin failed on a payload", exc_info=True)
        return [Records(fallback, [_text_of(payload)])]
    return parts


def _from_peer(payload: Payload, text: str) -> str:
    """Return a text that is no record, with the sender of its payload if it is known."""
    text = bounds.truncated(text)
    return PeerText(text, payload.peer) if payload.peer else text


def _text_of(payload: Payload) -> str:
    """Return a payload as text; Base64 if it is compressed, as its text may be too large."""
    if _is_compressed(payload):
        return _from_peer(payload, f"base64:{base64.b64encode(payload.body).decode()}")
    return _from_peer(payload, payload.body.decode("utf-8", "backslashreplace"))


def _is_compressed(payload: Payload) -> bool:
    return bool(payload.headers.get("content-encoding"))
