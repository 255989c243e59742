"""The loop. An event is safe before its mark is, or together with it; on these lines and nowhere
else."""

from __future__ import annotations

import base64
import logging
import traceback
from typing import (
    Any,
    Callable,
    Dict,
    Generator,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Protocol,
    Set,
    Tuple,
)

from .core import bounds
from .core.errors import Malformed, Retry, SiemtapError
from .core.forms import SEVERITIES, Every
from .core.mapping import Dataset, Event, lost_event, rfc3339
from .core.model import Batch, Cursor, Mark, Payload, Plugin, Unit, time_in
from .core.windows import DAY, Millis
from .edge.clock import TOLERANCE, clock_ahead

log = logging.getLogger("siemtap")

GATHERED = 2_000  # records of a batch of what was pushed
GATHERED_BYTES = 1024 * 1024  # of payloads whose records travel together


class Output(Protocol):
    """Where events go. `deliver` returns once they are safe, but for those that it refuses for
    good, with the reason of each; it raises Retry while it cannot say.

    `together`: the mark is stored with the events. `holds`: the ids of those that are there
    already; None: it cannot say. `read`: what is there of an input's dataset, start <= @timestamp <
    stop, each copy; None: it cannot say. For `siemtap audit`.
    """

    together: bool

    def deliver(
        self, unit: Unit, events: List[Event], mark: Optional[Mark]
    ) -> List[Tuple[Event, str]]: ...

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]: ...

    def read(
        self, unit: Unit, namespace: str, start: Millis, stop: Millis
    ) -> Optional[Iterator[Event]]: ...

    def close(self) -> None: ...


Say = Callable[[Batch], List[Event]]
Refused = List[Tuple[Event, str]]  # events that will never be taken as they are, and why


def pump(unit: Unit, mark: Mark, batches: Iterable[Batch], say: Say, output: Any) -> Mark:
    for batch in batches:
        fresh, mark = mark.after(batch, say(batch))
        output.deliver(unit, fresh, mark)
    return mark


def collected(
    plugin: Plugin,
    client: Any,
    unit: Unit,
    cursor: Cursor,
    http: Any,
    overlap: Millis,
    lookback: Millis,
    stop: Optional[Millis] = None,
) -> Iterator[Batch]:
    """What the vendor has, from the cursor to now, or to `stop`. Nothing counts as read that had
    not happened yet by the vendor's clock (decision 0013): `http.now()` is the time,
    `http.latest()` the latest that it can be for the vendor."""
    now = http.now()
    for name in ("until", "asked"):  # also where nobody has answered yet
        _time_in(cursor, name)
    cursor = yield from _set_back(plugin, unit, cursor, http, overlap, lookback)
    for batch in plugin.collect(client, unit, cursor, now if stop is None else min(stop, now)):
        ahead = batch.until - http.now()
        if ahead > TOLERANCE:
            raise clock_ahead(ahead)
        yield batch
    # at first nobody had said what time it is
    yield from _set_back(plugin, unit, cursor, http, overlap, lookback)


def _set_back(
    plugin: Plugin, unit: Unit, cursor: Cursor, http: Any, overlap: Millis, lookback: Millis
) -> Generator[Batch, None, Cursor]:
    """The cursor to go on from. One that lies in the future is damage: our clock was ahead, or the
    disk failed, and nobody knows since when. So it goes back by `lookback`, as at a first start,
    and the output is asked what it has.

    A third of the overlap may lie in the future: the rest still covers what happened since the last
    question, and what came late. Beyond that something may never be read."""
    latest = http.latest()
    if latest is None:
        return cursor
    # a question that was never put, or whose answer was not taken
    if _time_in(cursor, "asked") > latest + TOLERANCE:
        cursor = {name: value for name, value in cursor.items() if name != "asked"}
    until = _time_in(cursor, "until")
    # A `Date` that is seconds off is no damage. Nor is one alone that is far behind ours: of two
    # clocks that differ nobody knows which is
    # right, /health says that they do, and once they agree the cursor is judged.
    if until <= max(latest, http.clock.now()) + max(2 * TOLERANCE, overlap // 3):
        return cursor
    back = max(0, latest - max(lookback, overlap))
    yield Batch(plugin.dataset(unit.dataset), [], {**cursor, "until": back}, back)
    raise Retry(
        f"the checkpoint says that everything is read until {_spelled(until)}, which is in the"
        " future: the clock of this machine was ahead, or the checkpoint is damaged. It was set"
        f" back, and all is read again from {_spelled(back)}; `siemtap audit` tells whether older"
        " events are missing"
    )


def _time_in(cursor: Cursor, name: str) -> Millis:
    """`until` and `asked` of a cursor are times, in every plugin; 0 where it has none."""
    return time_in(cursor, name)


def _spelled(moment: Millis) -> str:
    try:
        return rfc3339(moment)
    except OverflowError:
        return f"the year {1970 + moment // (365 * DAY)}"


def spooled(
    spool: Any,
    cursor: Cursor,
    receive: Callable[[Payload], Iterable[Batch]],
    fallback: Dataset,
    at_most: int = 1_000,
) -> Iterator[Batch]:
    """What was pushed, from the cursor to the end of the spool; what lies before a batch's cursor
    goes once the next is asked for.

    Batches are cut by records and by bytes. The cursor moves with the last one of a read alone:
    after a crash the others come again, and their ids are known. Ids are remembered for that by the
    output or by `Arrivals`, so a mark holds those of its own batch only.
    """
    while True:
        payloads, after = spool.read(cursor, at_most)
        if not payloads:
            return
        gathered: Dict[str, Tuple[Dataset, List[Any]]] = {}
        until, size = payloads[0].received, 0
        for payload in payloads:
            if size >= GATHERED_BYTES:
                yield from (
                    Batch(dataset, records, cursor, until, -1)
                    for dataset, records in gathered.values()
                )
                gathered, until, size = {}, payload.received, 0
            until = max(until, payload.received)
            # what was packed may be large
            size += GATHERED_BYTES if _is_packed(payload) else len(payload.body)
            for dataset, records in _records_of(payload, receive, fallback):
                _, waiting = gathered.setdefault(dataset.name, (dataset, []))
                waiting += records
                while len(waiting) > GATHERED:
                    yield Batch(dataset, waiting[:GATHERED], cursor, until, -1)
                    del waiting[:GATHERED]
        last = list(gathered.values()) or [(fallback, [])]
        for dataset, records in last[:-1]:
            yield Batch(dataset, records, cursor, until, -1)
        yield Batch(*last[-1], after, until, -1)
        spool.forget(after)
        cursor = after


def _records_of(
    payload: Payload, receive: Callable[[Payload], Iterable[Batch]], fallback: Dataset
) -> List[Tuple[Dataset, List[Any]]]:
    """Return the records of a payload. Its text is one where the plugin stumbles, and stands beside
    them where there are too many: whoever sent it will not send it twice, and one payload must not
    hold up those behind it."""
    found: List[Tuple[Dataset, List[Any]]] = []
    room = bounds.RECORDS
    try:
        for batch in receive(payload):
            found.append(
                (
                    batch.dataset,
                    [
                        bounds.kept(record) if isinstance(record, str) else record
                        for record in batch.records[:room]
                    ],
                )
            )
            if len(batch.records) > room:
                return [*found, (fallback, [_text_of(payload)])]
            room -= len(batch.records)
    except SiemtapError as error:
        if not isinstance(error, Malformed):
            raise
        return [(fallback, [_text_of(payload)])]
    except Exception as error:
        log.error(
            "%s cannot read a payload (%s): it is kept as it came",
            fallback.namespace,
            type(error).__name__,
        )
        log.debug("what a plugin stumbled over", exc_info=True)
        return [(fallback, [_text_of(payload)])]
    return found


def _text_of(payload: Payload) -> str:
    """Return a payload's text; in Base64 where it is packed, for the text of it may be too
    large."""
    return bounds.kept(
        f"base64:{base64.b64encode(payload.body).decode()}"
        if _is_packed(payload)
        else payload.body.decode("utf-8", "backslashreplace")
    )


def _is_packed(payload: Payload) -> bool:
    return bool(payload.headers.get("content-encoding"))


class Then:
    """Around an output that cannot store marks: deliver, then save. What was delivered without
    its mark is noted in `unmarked`."""

    def __init__(self, output: Any, checkpoints: Any, unmarked: Set[str]) -> None:
        self.output, self.checkpoints, self.unmarked = output, checkpoints, unmarked

    def deliver(self, unit: Unit, events: List[Event], mark: Mark) -> Refused:
        ids = {event["event"]["id"] for event in events}
        refused: Refused = []
        if events:
            refused = self.output.deliver(unit, events, None) or []
            self.unmarked |= ids
        self.checkpoints.save(unit, mark)
        self.unmarked -= ids
        return refused


class InDoubt:
    """Around an output in the first cycle after a start or a failure: what may have been delivered
    without its mark is asked for, and not sent again."""

    def __init__(self, output: Any, unmarked: Set[str]) -> None:
        self.output, self.unmarked = output, unmarked

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Refused:
        ids = [event["event"]["id"] for event in events]
        held = self.unmarked.intersection(ids) | (
            (self.output.holds(unit, events) if ids else None) or set()
        )
        return (
            self.output.deliver(
                unit,
                [event for event in events if event["event"]["id"] not in held] if held else events,
                mark,
            )
            or []
        )


def voice(
    plugin: Plugin, settings: Any, every: Every, also: Mapping[str, Any], created: Callable[[], str]
) -> Say:
    """What one input says of a batch: its records mapped, its losses named, what the user does
    not want left out."""
    also = {
        "data_stream.namespace": every.namespace,
        "tags": list(every.tags),
        "fields": dict(every.fields),
        **also,
    }
    bound = {dataset.name: dataset.bind(settings, also) for dataset in plugin.datasets}
    unwanted = drop(every.drop)
    told: Set[Tuple[str, str]] = set()  # (dataset, class of an exception)

    def one_by_one(batch: Batch, read: str) -> Iterator[Event]:
        """Some record breaks the mapping: it alone becomes an error event."""
        event, error_event = bound[batch.dataset.name], batch.dataset.bind_error(settings, also)
        for record in batch.records:
            try:
                made = event(record, batch.until, read)
            except MemoryError:
                raise
            except Exception as error:  # its text may be a stranger's, and is not shown
                what = (batch.dataset.name, type(error).__name__)
                log.log(
                    logging.DEBUG if what in told else logging.WARNING,
                    "a record of %s breaks the mapping (%s): it becomes a pipeline_error event",
                    *what,
                )
                log.debug("%s", frames(error))
                told.add(what)
                made = error_event(record, batch.until, read)
            yield made

    def say(batch: Batch) -> List[Event]:
        event, read = bound[batch.dataset.name], created()
        try:
            events = [event(record, batch.until, read) for record in batch.records]
        except MemoryError:
            raise
        except Exception:
            events = list(one_by_one(batch, read))
        events += [lost_event(batch.dataset, lost, also, read) for lost in batch.lost]
        return [event for event in events if not unwanted(event)] if unwanted else events

    return say


def frames(error: BaseException) -> str:
    """Where an exception comes from, for a debug log: without its text, which may hold what a
    stranger said or a secret."""
    return "".join(traceback.format_tb(error.__traceback__))


def drop(wish: Mapping[str, Any]) -> Optional[Callable[[Event], bool]]:
    """`drop: {severity: [low], action: [logged], dataset: [acme.event]}`: an event that fits any
    of it is left out."""

    def texts(name: str) -> List[str]:
        said = wish.get(name) or []
        return [str(item) for item in (said if isinstance(said, (list, tuple)) else [said])]

    if not wish:
        return None
    severities = {SEVERITIES.get(word, word) for word in texts("severity")}
    unwanted: Dict[str, Set[Any]] = {
        "severity": severities,
        "action": set(texts("action")),
        "dataset": set(texts("dataset")),
    }
    return lambda event: (
        event["event"].get("kind") != "pipeline_error"
        and any(event["event"].get(name) in words for name, words in unwanted.items())
    )
