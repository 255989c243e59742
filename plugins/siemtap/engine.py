"""The loop. An event is safe before its mark is, or together with it; on these lines and nowhere else."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Protocol, Set, Tuple

from .core.errors import Malformed
from .core.forms import SEVERITIES, Every
from .core.mapping import REFUSED, Dataset, Event, lost_event
from .core.model import Batch, Cursor, Mark, Payload, Plugin, Unit
from .core.windows import Millis


class Output(Protocol):
    """Where events go. `deliver` returns once they are safe, but for those that it refuses for good, with the reason of each; it raises
    Retry while it cannot say.

    `together`: the mark is stored with the events. `holds`: the ids of those that are there already; None: it cannot say.
    `read`: what is there of an input's dataset, start <= @timestamp < stop, each copy; None: it cannot say. For `siemtap audit`.
    """

    together: bool

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> List[Tuple[Event, str]]: ...

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]: ...

    def read(self, unit: Unit, namespace: str, start: Millis, stop: Millis) -> Optional[Iterator[Event]]: ...

    def close(self) -> None: ...


Say = Callable[[Batch], List[Event]]


def pump(unit: Unit, mark: Mark, batches: Iterable[Batch], say: Say, output: Any) -> Mark:
    for batch in batches:
        fresh, mark = mark.after(batch, say(batch))
        output.deliver(unit, fresh, mark)
    return mark


def spooled(spool: Any, cursor: Cursor, receive: Callable[[Payload], Iterable[Batch]], fallback: Dataset, at_most: int = 1_000) -> Iterator[Batch]:
    """What was pushed, from the cursor to the end of the spool; what lies before a batch's cursor goes once the next is asked for."""
    while True:
        payloads, after = spool.read(cursor, at_most)
        if not payloads:
            return
        gathered: Dict[str, Tuple[Dataset, List[Any]]] = {}
        for payload in payloads:
            try:
                batches = list(receive(payload))
            except (Malformed, *REFUSED):       # whoever sent it will not send it twice; and one payload must not hold up those behind it
                batches = [Batch(fallback, [payload.body.decode("utf-8", "replace")], {}, payload.received)]
            for batch in batches:
                gathered.setdefault(batch.dataset.name, (batch.dataset, []))[1].extend(batch.records)
        until = max(payload.received for payload in payloads)
        found = list(gathered.values()) or [(fallback, [])]
        for dataset, records in found[:-1]:
            yield Batch(dataset, records, cursor, until)
        yield Batch(*found[-1], after, until)
        spool.forget(after)
        cursor = after


class Then:
    """Around an output that cannot store marks: deliver, then save. What was delivered without its mark is noted in `unmarked`."""

    def __init__(self, output: Any, checkpoints: Any, unmarked: Set[str]) -> None:
        self.output, self.checkpoints, self.unmarked = output, checkpoints, unmarked

    def deliver(self, unit: Unit, events: List[Event], mark: Mark) -> None:
        ids = {event["event"]["id"] for event in events}
        if events:
            self.output.deliver(unit, events, None)
            self.unmarked |= ids
        self.checkpoints.save(unit, mark)
        self.unmarked -= ids


class InDoubt:
    """Around an output in the first cycle after a start or a failure: what may have been delivered without its mark is asked for,
    and not sent again."""

    def __init__(self, output: Any, unmarked: Set[str]) -> None:
        self.output, self.unmarked = output, unmarked

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> None:
        ids = [event["event"]["id"] for event in events]
        held = self.unmarked.intersection(ids) | ((self.output.holds(unit, events) if ids else None) or set())
        self.output.deliver(unit, [event for event in events if event["event"]["id"] not in held] if held else events, mark)


def voice(plugin: Plugin, settings: Any, every: Every, also: Mapping[str, Any], created: Callable[[], str]) -> Say:
    """What one input says of a batch: its records mapped, its losses named, what the user does not want left out."""
    also = {"data_stream.namespace": every.namespace, "tags": list(every.tags), "fields": dict(every.fields), **also}
    bound = {dataset.name: dataset.bind(settings, also) for dataset in plugin.datasets}
    unwanted = drop(every.drop)

    def say(batch: Batch) -> List[Event]:
        event, read = bound[batch.dataset.name], created()
        events = [event(record, batch.until, read) for record in batch.records]
        events += [lost_event(batch.dataset, lost, also, read) for lost in batch.lost]
        return [event for event in events if not unwanted(event)] if unwanted else events

    return say


def drop(wish: Mapping[str, Any]) -> Optional[Callable[[Event], bool]]:
    """`drop: {severity: [low], action: [logged], dataset: [acme.event]}`: an event that fits any of it is left out."""
    def texts(name: str) -> List[str]:
        said = wish.get(name) or []
        return [str(item) for item in (said if isinstance(said, (list, tuple)) else [said])]

    if not wish:
        return None
    severities = {SEVERITIES.get(word, word) for word in texts("severity")}
    unwanted: Dict[str, Set[Any]] = {"severity": severities, "action": set(texts("action")), "dataset": set(texts("dataset"))}
    return lambda event: event["event"].get("kind") != "pipeline_error" and any(event["event"].get(name) in words for name, words in unwanted.items())
