"""All outputs of a configuration: opened, with their queues, and closed."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from typing import Any, Dict, Iterable, List, Optional, Protocol, Set, Tuple

from ...core.errors import ConfigError, SiemtapError
from ...core.model import Unit
from ...core.rows import Event
from ...core.windows import Millis
from ...edge.store.event_queue import EventQueue
from ...outputs import OutputContext
from ...outputs.types import OUTPUTS
from ..config.reload import can_be_reloaded
from ..config.sections import Config, OutputConfig
from ..processes.share import OUTPUT
from ..scheduler import Scheduler
from . import queue_reader
from .queue_reader import QueueReader
from .routes import Checking, OpenOutput, QueuedRoute, Route

log = logging.getLogger("siemtap")

ONE_WRITER = ("file", "stdout")  # outputs that one process may write


class Host(queue_reader.Host, Protocol):
    """What the outputs need of the process they run in: the shipper."""

    scheduler: Scheduler
    index_by_input: Dict[str, str]


class Outputs:
    """The open outputs by name, the queue of those that share an input, and the queue's readers."""

    def __init__(
        self, config: Config, host: Host, checking: Checking, context: OutputContext
    ) -> None:
        assert context.database is not None
        self.host = host
        self.datasets = {
            part.output.name: tuple(dataset.name for dataset in part.datasets)
            for part in config.by_output()
        }
        self.checking = checking
        self.context = context
        self.queue = EventQueue(
            context.database, config.queue.max_bytes, context.clock, host.index_by_input
        )
        self.outputs: Dict[str, OpenOutput] = {}
        self.routes: Dict[Tuple[str, ...], QueuedRoute] = {}
        self.readers: Dict[str, QueueReader] = {}
        self.elsewhere: Set[str] = set()  # outputs that another process has open
        self.refused = ""  # why those of a reload were refused
        for output in config.outputs:
            if self._is_here(output):
                self._add(self._open(output))
        for name in self.queue.outputs():
            if name not in self.outputs and name not in self.elsewhere and self._owns(name):
                log.warning(
                    "%s events wait for the output %s, which is not configured any more: configure"
                    " it again, or run `siemtap queue delete %s`",
                    f"{self.queue.waiting(name).events:,}",
                    name,
                    name,
                )

    def _is_here(self, output: OutputConfig) -> bool:
        """Return whether this process opens an output. Of those that only one process may write,
        the one does that owns it; the others reach it by its queue."""
        if output.type in ONE_WRITER and not self._owns(output.name):
            self.elsewhere.add(output.name)
            return False
        return True

    def _owns(self, name: str) -> bool:
        """Return whether this process reads the queue of an output."""
        return bool(self.host.share.owned([Unit(OUTPUT, name)]))

    def _open(self, config: OutputConfig) -> OpenOutput:
        delivers = self.datasets.get(config.name, ())
        context = replace(self.context, section=config.section, delivers=delivers)
        output = OUTPUTS[config.type].load()(config.settings, context)
        return OpenOutput(config, output, self.checking)

    def _add(self, output: OpenOutput) -> None:
        """Use an output, new or in the place of one of its name."""
        reader = self.readers.get(output.name)
        if reader is None and self._owns(output.name):
            self.readers[output.name] = QueueReader(output, self.queue, self.host, self._schedule)
        self.outputs[output.name] = output
        if reader:
            reader.take_over(output)
            self.host.scheduler.reconsider(lambda id: id == reader.id)

    def reload(self, configured: Iterable[OutputConfig]) -> List[OpenOutput]:
        """Open the outputs that are new, and those that are changed and can be open twice, such as
        a cluster. Return the old ones, for `close_replaced`. If one cannot be opened, nothing
        changes."""
        opened: List[OpenOutput] = []
        configured = tuple(configured)
        try:
            for config in configured:
                before = self.outputs.get(config.name)
                if config.name in self.elsewhere or (before is None and not self._is_here(config)):
                    continue
                if before is None or (
                    before.config != config and can_be_reloaded(before.config, config)
                ):
                    opened.append(self._open(config))
        except Exception as error:
            for output in opened:
                output.close()
            self.refused = str(error)
            if not isinstance(error, SiemtapError):
                self.refused = f"{type(error).__name__} while an output was opened"
            raise
        if configured:
            self.refused = ""
        replaced = []
        for output in opened:
            before = self.outputs.get(output.name)
            if before:
                output.succeed(before)
                replaced.append(before)
            self._add(output)
        return replaced

    def close_replaced(self, replaced: Iterable[OpenOutput]) -> None:
        """Close outputs that no input uses any more, each after the delivery in hand of its
        reader."""
        for output in replaced:
            if output.name in self.readers:
                self.readers[output.name].wait_for_turn()
            output.close()

    def _schedule(self, reader: QueueReader) -> None:
        self.host.scheduler.add(reader, reader.cycle.due)

    def route(self, names: Tuple[str, ...]) -> Route:
        """Return the way to the outputs of these names: straight to the only one, or by the
        queue."""
        for name in names:
            if name not in self.outputs and name not in self.elsewhere:
                raise ConfigError(f"the output {name} is not open: restart siemtap")
        if len(names) == 1 and not self._is_queued(names[0]):
            return self.outputs[names[0]]
        if names not in self.routes:
            self.routes[names] = QueuedRoute(names, self.queue, self.checking, self.wake)
        return self.routes[names]

    def _is_queued(self, name: str) -> bool:
        """Return whether the only output of an input is reached by its queue all the same. In the
        process that has it open, too: it must not write what it would deliver from the queue."""
        if self.host.share.alone:
            return False
        return name in self.elsewhere or self.outputs[name].config.type in ONE_WRITER

    def deliver_health(self, name: str, unit: Unit, events: List[Event]) -> None:
        """Deliver siemtap's own events to an output."""
        if self._is_queued(name):
            self.queue.put(unit, events, (name,))
            self.wake((name,))
        else:
            self.outputs[name].checked.deliver(unit, events, None)

    def start(self) -> None:
        """Let all readers deliver what waits, and look for what other processes queue."""
        for reader in self.readers.values():
            if not reader.done or self.host.share.others_queue():
                reader.wake()

    def wake(self, names: Iterable[str]) -> None:
        """Let the readers of these outputs deliver what waits."""
        for name in names:
            reader = self.readers.get(name)
            if reader:
                reader.wake()

    @property
    def latest(self) -> Optional[Tuple[Unit, str]]:
        """Return the unit and the reason of an event that was rejected."""
        ways: List[Route] = [*self.routes.values(), *self.outputs.values()]
        return next((way.latest for way in ways if way.latest), None)

    def counts(self) -> Dict[str, int]:
        """Return the sums of what the outputs count themselves."""
        total: Counter[str] = Counter()
        for output in list(self.outputs.values()):
            total.update(output.counts)
        return dict(total)

    def stats(self, now: Millis) -> List[Dict[str, Any]]:
        """Return the outputs' part of /stats, as JSON values."""
        return [
            {
                "name": name,
                "type": output.config.type,
                **output.counts,
                **(self.readers[name].stats(now) if name in self.readers else {}),
            }
            for name, output in list(self.outputs.items())
        ]

    def close(self) -> None:
        for output in self.outputs.values():
            output.close()
