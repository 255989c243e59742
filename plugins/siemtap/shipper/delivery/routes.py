"""The open outputs, and the way of an input's events to them."""

from __future__ import annotations

from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Set,
    Tuple,
    runtime_checkable,
)
from weakref import WeakKeyDictionary, ref

from ...core.errors import Retry
from ...core.model import Mark, Unit
from ...core.rows import Event
from ...edge.store.checkpoints import Work
from ...edge.store.event_queue import EventQueue
from ...edge.store.rejected import RejectedEvents
from ...engine.protocols import (
    Doubt,
    EventCheck,
    MarkStore,
    Output,
    Rejections,
    SearchedOutput,
    Sink,
)
from ...engine.sinks import CheckpointAfter, SkipDelivered, WithoutCheckpoint
from ...outputs.index_names import fields_in
from ...outputs.isolated import IsolateFailures
from ...outputs.types import OUTPUTS
from ...outputs.validated import ValidateEvents
from ..config.sections import OutputConfig


@runtime_checkable
class TransactionalMarks(MarkStore, Protocol):
    """Marks that can be saved in one transaction with something else."""

    def saving(self, unit: Unit, mark: Mark) -> Work: ...


@runtime_checkable
class DeliveringMarks(MarkStore, Protocol):
    """Marks whose store commits events with them: a partition of a fleet."""

    def deliver(
        self, output: Any, unit: Unit, events: List[Event], mark: Optional[Mark]
    ) -> Rejections: ...


class Checking(NamedTuple):
    """What every way needs to check events and to keep the rejected ones.

    check: None if validation is off. count_rejected: of events that were counted as accepted.
    """

    check: Optional[EventCheck]
    rejected_events: RejectedEvents
    count_rejected: Callable[[int], None]
    count_unfit: Callable[[int], None]

    def checked(self, output: Output, name: str, check: Optional[EventCheck]) -> IsolateFailures:
        """Return an output behind validation and isolation; what it rejects is stored under its
        name."""
        rejected = _RejectedBy(self.rejected_events, name)
        validated = ValidateEvents(
            output,
            check,
            rejected,
            count_rejected=self.count_rejected,
            count_unfit=self.count_unfit,
        )
        return IsolateFailures(validated, rejected, self.count_rejected)


class _RejectedBy(NamedTuple):
    """Where the events are kept that one output refuses."""

    rejected_events: RejectedEvents
    output: str

    def store(self, unit: Unit, refused: Iterable[Tuple[Event, str]]) -> None:
        self.rejected_events.store(unit, refused, self.output)


class Route(Protocol):
    """The way of an input's events.

    `together`: the mark is saved in one transaction with the events, which `holds` finds again.
    `kept`: first names of the fields that it asks of an event, beside its line as `encode` writes
    it; None: it sends other lines.
    """

    together: bool
    kept: Optional[Set[str]]

    @property
    def latest(self) -> Optional[Tuple[Unit, str]]:
        """Return the unit and the reason of the event that was rejected last."""

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        """Return the ids of those events that were delivered already; None: it cannot say."""

    def sink(self, save_checkpoints: bool, doubt: Optional[Doubt], checkpoints: MarkStore) -> Sink:
        """Return what one cycle of a unit delivers to.

        save_checkpoints: false for a read that leaves the checkpoints alone. doubt: the output is
        first asked which events it has; None: it has none of them. checkpoints: where marks are
        saved.
        """

    def sink_before(self, marks: MarkStore, doubt: Optional[Doubt]) -> Sink:
        """Return what a cycle delivers to if its marks are saved elsewhere, behind the events."""


class OpenOutput:
    """An output that is open. As a route: the way to it alone.

    `checked`: the output behind validation. `unchecked`: for events that were validated before.
    """

    def __init__(self, config: OutputConfig, output: Output, checking: Checking) -> None:
        self.config = config
        self.output = output
        self.together = output.together
        self.kept: Optional[Set[str]] = None
        if OUTPUTS[config.type].writes_events:
            patterns = (getattr(config.settings, name, "") for name in ("index", "topic"))
            self.kept = {name for pattern in patterns for name in fields_in(pattern)}
        self.checking = checking
        self.checked = checking.checked(output, config.name, checking.check)
        self.unchecked = checking.checked(output, config.name, None)
        # ids of events delivered, their checkpoint not saved yet
        self.unsaved: Set[str] = set()
        self.delivering: WeakKeyDictionary[DeliveringMarks, IsolateFailures] = WeakKeyDictionary()

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def counts(self) -> Dict[str, int]:
        """Return what the output counts itself, such as requests."""
        return dict(getattr(self.output, "counts", {}))

    def problems(self) -> Iterator[str]:
        """Yield what a person should put right, for the status."""
        if hasattr(self.output, "problems"):
            yield from self.output.problems()

    @property
    def latest(self) -> Optional[Tuple[Unit, str]]:
        return self.checked.latest or self.unchecked.latest

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        return self.checked.holds(unit, events)

    def sink(self, save_checkpoints: bool, doubt: Optional[Doubt], checkpoints: MarkStore) -> Sink:
        if not save_checkpoints:
            return self._skip_delivered(WithoutCheckpoint(self.checked), doubt)
        if self.together:
            return self.checked
        if isinstance(checkpoints, DeliveringMarks):
            return self._sink_of(checkpoints)
        return self.sink_before(checkpoints, doubt)

    def sink_before(self, marks: MarkStore, doubt: Optional[Doubt]) -> Sink:
        sink: Sink = self.checked
        if doubt is not None:
            sink = self._skip_delivered(sink, doubt)
        return CheckpointAfter(sink, marks, self.unsaved)

    def _skip_delivered(self, sink: Sink, doubt: Optional[Doubt]) -> SkipDelivered:
        has_any = self.output.has_any if isinstance(self.output, SearchedOutput) else None
        return SkipDelivered(sink, self.holds, self.unsaved, has_any, doubt)

    def _sink_of(self, checkpoints: DeliveringMarks) -> Sink:
        """Return what delivers by a store of marks; it lives as long as the store."""
        if checkpoints not in self.delivering:
            self.delivering[checkpoints] = self.checking.checked(
                _ByMarks(self.output, checkpoints), self.name, self.checking.check
            )
        return self.delivering[checkpoints]

    def succeed(self, before: OpenOutput) -> None:
        """Take over what an output of the same name remembers of deliveries that failed."""
        self.unsaved = before.unsaved
        old: Any = before.output
        new: Any = self.output
        if hasattr(old, "delivered") and hasattr(new, "delivered"):
            new.delivered = old.delivered

    def close(self) -> None:
        self.checked.close()


class _ByMarks:
    """An output whose events are committed with their mark by the store of marks."""

    together = True

    def __init__(self, output: Output, checkpoints: DeliveringMarks) -> None:
        self.output = output
        # not the reverse: the store must not live on because of this
        self.checkpoints = ref(checkpoints)

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        checkpoints = self.checkpoints()
        if checkpoints is None:
            raise Retry("another worker runs this unit now")
        return checkpoints.deliver(self.output, unit, events, mark)

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        return None

    def close(self) -> None:
        pass


class QueuedRoute:
    """The way to several outputs: a batch and its mark are committed to the queue, and each output
    gets it from there.

    `wake`: called with the names of the outputs for which something was queued.
    """

    together = False
    kept: Optional[Set[str]] = set()

    def __init__(
        self,
        outputs: Tuple[str, ...],
        queue: EventQueue,
        checking: Checking,
        wake: Callable[[Iterable[str]], None],
    ) -> None:
        self.outputs = outputs
        self.queue = queue
        self.checking = checking
        self.wake = wake
        # one for each store of marks, for what it remembers of reasons that were logged
        self.checked: Dict[Tuple[Any, bool], IsolateFailures] = {}
        # ids of events queued, their mark not saved yet where it is saved elsewhere
        self.unsaved: Set[str] = set()

    @property
    def latest(self) -> Optional[Tuple[Unit, str]]:
        return next((each.latest for each in list(self.checked.values()) if each.latest), None)

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        return None

    def sink(self, save_checkpoints: bool, doubt: Optional[Doubt], checkpoints: MarkStore) -> Sink:
        assert isinstance(checkpoints, TransactionalMarks)
        again = doubt is not None or not save_checkpoints
        checked = self._checked(checkpoints, again)
        return checked if save_checkpoints else WithoutCheckpoint(checked)

    def _checked(self, checkpoints: Optional[TransactionalMarks], again: bool) -> IsolateFailures:
        key = (id(checkpoints), again)
        if key not in self.checked:
            output = _IntoQueue(self, checkpoints, again)
            self.checked[key] = self.checking.checked(output, "", self.checking.check)
        return self.checked[key]

    def sink_before(self, marks: MarkStore, doubt: Optional[Doubt]) -> Sink:
        sink: Sink = self._checked(None, doubt is not None)
        if doubt is not None:
            sink = SkipDelivered(sink, self.holds, self.unsaved)
        return CheckpointAfter(sink, marks, self.unsaved)


class _IntoQueue:
    """The queue as an output of one store of marks."""

    together = True

    def __init__(
        self, route: QueuedRoute, checkpoints: Optional[TransactionalMarks], again: bool
    ) -> None:
        self.route = route
        self.checkpoints = checkpoints
        self.again = again

    def deliver(self, unit: Unit, events: List[Event], mark: Optional[Mark]) -> Rejections:
        save = None
        if mark is not None and self.checkpoints:
            save = self.checkpoints.saving(unit, mark)
        self.route.queue.put(unit, events, self.route.outputs, save, self.again)
        if events:
            self.route.wake(self.route.outputs)
        return []

    def holds(self, unit: Unit, events: List[Event]) -> Optional[Set[str]]:
        return None

    def close(self) -> None:
        pass
