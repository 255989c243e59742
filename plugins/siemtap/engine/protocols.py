"""What the parts of the loop require of each other."""

from __future__ import annotations

from typing import (
    Callable,
    Container,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Set,
    Tuple,
    runtime_checkable,
)

from ..core.compile.fit import FieldSchemas
from ..core.model import Batch, Cursor, Mark, Payload, Unit
from ..core.rows import Dataset, Event
from ..core.windows import Millis
from ..edge.clock import Clock

Rejections = List[Tuple[Event, str]]  # events that the output will never accept, and why


class MapBatch(Protocol):
    """The mapping of one input."""

    def __call__(self, batch: Batch, seen: Container[str] = ()) -> List[Event]:
        """Return the events of a batch. `seen`: ids of those that need not be written, as they were
        delivered before."""


Holds = Callable[[Unit, List[Event]], Optional[Set[str]]]
HasAny = Callable[[Unit, List[Event]], bool]
# A unit of which events may have been delivered without their mark: dataset -> whether the output
# had any event of it when that began.
Doubt = Dict[str, bool]


class EventCheck(Protocol):
    """The check of events against their schema."""

    def __call__(self, event: Event) -> Optional[str]:
        """Return why an event is invalid, or None."""

    def without_unfit(self, event: Event) -> Optional[Event]:
        """Return an invalid event with what does not fit its field in `extra`; None if that does
        not make it valid."""

    def fields_of(self, dataset: Dataset) -> FieldSchemas:
        """Return what the schema of a dataset says of its fields."""


class Sink(Protocol):
    """What `pump` delivers to: an output, or a wrapper around one."""

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        """Return once the events are safe, with those that were rejected.

        Retry: nobody knows whether they are; they are delivered again.
        """


class Output(Sink, Protocol):
    """Where events go.

    `together`: the mark is stored in one transaction with the events.
    """

    together: bool

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        """Return the ids of those events that the output has already; None: it cannot say."""

    def close(self) -> None: ...


@runtime_checkable
class SearchedOutput(Output, Protocol):
    """An output for which `holds` is a search."""

    def has_any(self, unit: Unit, events: List[Event]) -> bool:
        """Return whether it may have any event of the dataset that all these events are of."""


class ReadableOutput(Output, Protocol):
    """An output whose events can be read back, for `siemtap audit`."""

    def read(self, unit: Unit, namespace: str, start: Millis, stop: Millis) -> Iterator[Event]:
        """Yield every copy of a dataset's events with start <= `@timestamp` < stop."""


class MarkStore(Protocol):
    """Where a mark is saved."""

    def save(self, unit: Unit, mark: Mark) -> None: ...


class CheckpointStore(MarkStore, Protocol):
    """Where marks are saved, and loaded after a start or a failure."""

    def load(self, unit: Unit) -> Mark: ...


class EventSource(MarkStore, Protocol):
    """The client of a plugin with `reads_events`: it keeps the marks of its units itself, such as
    the offsets of a consumer group."""

    def origin(self, event: Event) -> str:
        """Return where an event of the batch in hand was read; "" for another event."""

    def is_doubtful(self) -> bool:
        """Return whether events of the batch in hand may have been delivered before."""

    def problems(self) -> Iterator[str]:
        """Yield what a person should put right, for the status."""

    def unread(self) -> str:
        """Return what cannot be read now, while the rest is read to its end; "" if nothing."""

    @property
    def counts(self) -> Dict[str, int]:
        """Return what the source counts itself, such as `lost_offsets`."""

    def close(self) -> None: ...


class Feed(NamedTuple):
    """The batches of a unit from its cursor on.

    `known`: returns the ids of events that were delivered before and that the mark does not hold.
    None: the mark holds them.
    """

    batches: Iterator[Batch]
    known: Optional[Callable[[List[Event]], Set[str]]] = None


class Delivery(NamedTuple):
    """A batch whose events and mark are safe. `mapped`: how many events the batch gave; `events`:
    those that were new."""

    batch: Batch
    mapped: int
    events: List[Event]
    rejections: Rejections
    mark: Mark

    @property
    def accepted(self) -> List[Event]:
        """The new events without the rejected ones."""
        if not self.rejections:
            return self.events
        rejected = {id(event) for event, _ in self.rejections}
        return [event for event in self.events if id(event) not in rejected]


class VendorClock(Protocol):
    """The time by the clocks of the vendor's hosts.

    `now`: the time to read up to. `latest`: the latest time that it can be for the vendor; None
    before the first answer. `clock`: ours.
    """

    clock: Clock

    def now(self) -> Millis: ...

    def latest(self) -> Optional[Millis]: ...


class PayloadQueue(Protocol):
    """What a receiver keeps until it is delivered; `edge.receive.spool.Spool` is one."""

    def read(self, cursor: Cursor, at_most: int) -> Tuple[List[Payload], Cursor]: ...

    def delete_before(self, cursor: Cursor) -> None: ...
