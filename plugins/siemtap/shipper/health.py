"""The numbers of the status page, delivered as events of the dataset `siemtap.health`."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from typing import Any, Callable, Deque, Dict, Iterator, List, Mapping, Optional

from ..core.compile import bind
from ..core.convert import rfc3339
from ..core.errors import SiemtapError
from ..core.model import Unit
from ..core.rows import Event
from ..engine.mapper import traceback_text
from ..render.health import DATASET
from .delivery.routes import OpenOutput

log = logging.getLogger("siemtap")

MAX_WAITING = 1_000  # events that wait for the output; the oldest are dropped
COUNT_IGNORED_EVERY = 600.0  # seconds
OUTPUT_COUNTS = (
    "accepted",
    "rejected",
    "retried",
    "duplicates",
    "failure_store",
    "waits",
    "requests",
)
UNIT = Unit("siemtap", DATASET.name, "")
Record = Dict[str, Any]


class Health:
    """A thread that reports every `interval` seconds, and once more at the end.

    A report has an event for each change of a state, and one for each unit and the output.
    """

    def __init__(
        self,
        shipper: Any,
        namespace: str,
        interval: float,
        deliver: Callable[[Unit, List[Event]], None],
    ) -> None:
        self.shipper = shipper
        self.interval = interval
        self.deliver = deliver
        self.event = bind(
            DATASET, None, {**shipper.added_fields, "data_stream.namespace": namespace}
        )
        # (unit, name) -> total at the last report; unit "" is the output
        self.totals: Counter[Any] = Counter()
        self.states: Dict[str, str] = {}
        self.waiting: Deque[Event] = deque(maxlen=MAX_WAITING)
        self.changes: Deque[Record] = deque(maxlen=MAX_WAITING)
        self.ignored: Optional[int] = None
        self.ignored_at = float("-inf")  # when the ignored fields were counted last
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def close(self) -> None:
        """Stop the thread and deliver a last report."""
        self.stopped.set()
        if self.thread.is_alive():
            self.thread.join()
        self.report()

    def changed(self, unit: str, state: str, error: str) -> None:
        """Record a unit's state after an attempt.

        The first states of every unit (starting, running, ok) are not reported.
        """
        last = self.states.get(unit, "ok")
        if state not in ("starting", "running"):
            self.states[unit] = state
            if state != last:
                self.changes.append(
                    {
                        "what": "event",
                        "moment": self.shipper.clock.now(),
                        "unit": unit,
                        "input": unit.partition("/")[0],
                        "state": state,
                        "error": error,
                        "message": f"{unit}: {last} -> {state}",
                    }
                )

    def _run(self) -> None:
        while not self.stopped.wait(self.interval):
            self.report()

    def report(self) -> None:
        """Deliver what changed and what was counted. What the output does not take waits."""
        now = self.shipper.clock.now()
        records = [self.changes.popleft() for _ in range(len(self.changes))]
        for metrics in self._metrics(self.shipper.stats()):
            records.append({"what": "metric", "moment": now, **metrics})
        agent = self.shipper.added_fields["agent.name"]
        for record in records:
            self.waiting.append(self.event({"agent": agent, **record}, now, rfc3339(now)))
        waiting = list(self.waiting)
        try:
            self.deliver(UNIT, waiting)
        except SiemtapError as error:  # the state of the units shows it
            log.debug("%s waits: %s", UNIT, error)
        except Exception as error:  # a bug; a report must not end the process
            log.debug("%s waits: %s\n%s", UNIT, type(error).__name__, traceback_text(error))
        else:
            self.waiting.clear()

    def _metrics(self, stats: Mapping[str, Any]) -> Iterator[Record]:
        """Yield a record for each unit, and one for the output."""
        for running in stats["inputs"]:
            for unit in running["units"]:
                metrics = {name: unit[name] for name in unit if name != "last_success"}
                metrics["input"] = running["id"]
                for name in ("events", "echoes"):
                    metrics[name] = self._since_last(unit["unit"], name, unit[name])
                yield metrics
        output = stats["output"]
        metrics = {
            "unit": self.shipper.share.name,  # "" if all is in one process
            "output": output["name"],
            "uptime_s": stats["uptime_s"],
            "waiting_rejected": output["waiting_rejected"],
            # another worker reads the queue of an output that has none
            "waiting_events": sum(each.get("waiting_events", 0) for each in stats["outputs"]),
            "ignored": self._count_ignored(),
            "state": "ok" if stats["healthy"] else "degraded",
            "error": None if stats["healthy"] else stats["reason"],
        }
        for name in OUTPUT_COUNTS:
            if name in output:
                metrics[name] = self._since_last("", name, output[name])
        yield metrics

    def _since_last(self, unit: str, name: str, total: int) -> int:
        """Return the increase of a total since the last report."""
        before = self.totals[unit, name]
        self.totals[unit, name] = total
        # A reconfigured unit starts again from 0.
        return total - before if total >= before else total

    def _count_ignored(self) -> Optional[int]:
        """Return how many events have ignored fields; None if the output cannot say."""
        outputs = [
            output
            for output in self.shipper.delivery.outputs.values()
            if hasattr(output.output, "ignored")
        ]
        if outputs and self.shipper.clock.elapsed() - self.ignored_at > COUNT_IGNORED_EVERY:
            self.ignored_at = self.shipper.clock.elapsed()
            try:
                self.ignored = sum(self._ignored_in(output) for output in outputs)
            except SiemtapError as error:
                log.debug("ignored fields: %s", error)
        return self.ignored

    def _ignored_in(self, output: OpenOutput) -> int:
        units = {
            (unit, running.input_config.common.namespace)
            for running in list(self.shipper.inputs.values())
            if output.name in running.input_config.outputs
            for unit in list(running.units)
        }
        cluster: Any = output.output
        return int(cluster.ignored(units, self.shipper.clock.now()) or 0)
