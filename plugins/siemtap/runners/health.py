"""What the status page knows, delivered as events of the dataset `siemtap.health`."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from typing import Any, Callable, Deque, Dict, Iterator, List, Mapping, Optional

from ..core.errors import SiemtapError
from ..core.mapping import Event, rfc3339
from ..core.model import Unit
from ..engine import frames
from ..health import DATASET

log = logging.getLogger("siemtap")

# events that wait for an output which does not take them; then the oldest go
KEPT = 1_000
LOOK_FOR_IGNORED = 600.0  # seconds
OF_OUTPUT = ("accepted", "rejected", "retried", "duplicates", "failure_store", "waits", "requests")
UNIT = Unit("siemtap", DATASET.name, "")
Record = Dict[str, Any]


class Health:
    """A thread of its own: every `interval`, and once more at the end. A state that changes is
    said at once in the next report."""

    def __init__(
        self,
        shipper: Any,
        namespace: str,
        interval: float,
        deliver: Callable[[Unit, List[Event]], None],
    ) -> None:
        self.shipper, self.interval, self.deliver = shipper, interval, deliver
        self.event = DATASET.bind(None, {**shipper.also, "data_stream.namespace": namespace})
        # (unit or "", name) -> the total of the last report
        self.before: Counter[Any] = Counter()
        self.states: Dict[str, str] = {}
        self.waiting: Deque[Event] = deque(maxlen=KEPT)
        self.changes: Deque[Record] = deque(maxlen=KEPT)
        self.ignored: Optional[int] = None
        self.looked = float("-inf")
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="health", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def close(self) -> None:
        """A last report; after it nothing is delivered any more."""
        self.stopped.set()
        if self.thread.is_alive():
            self.thread.join()
        self.report()

    def changed(self, unit: str, state: str, error: str) -> None:
        """After each attempt of a unit. What every unit does at first, running and then ok, is
        no news."""
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
        now = self.shipper.clock.now()
        records = [self.changes.popleft() for _ in range(len(self.changes))]
        records += [
            {"what": "metric", "moment": now, **record}
            for record in self._measured(self.shipper.stats())
        ]
        self.waiting.extend(
            self.event({"agent": self.shipper.also["agent.name"], **record}, now, rfc3339(now))
            for record in records
        )
        waiting = list(self.waiting)
        try:
            self.deliver(UNIT, waiting)
        except SiemtapError as error:  # the output has its own trouble, which its units show
            log.debug("%s waits: %s", UNIT, error)
        except Exception as error:  # a fault of ours; a report is no reason to end
            log.debug("%s waits: %s\n%s", UNIT, type(error).__name__, frames(error))
        else:
            self.waiting.clear()

    def _measured(self, stats: Mapping[str, Any]) -> Iterator[Record]:
        for running in stats["inputs"]:
            for unit in running["units"]:
                yield {
                    **{
                        name: value
                        for name, value in unit.items()
                        if name not in ("events", "echoes", "last_success")
                    },
                    "input": running["id"],
                    **{
                        name: self._since(unit["unit"], name, unit[name])
                        for name in ("events", "echoes")
                    },
                }
        output = stats["output"]
        yield {
            "unit": "",
            "output": output["name"],
            "uptime_s": stats["uptime_s"],
            "waiting_rejected": output["waiting_rejected"],
            "ignored": self._ignored(),
            "state": "ok" if stats["healthy"] else "degraded",
            "error": None if stats["healthy"] else stats["reason"],
            **{name: self._since("", name, output[name]) for name in OF_OUTPUT if name in output},
        }

    def _since(self, unit: str, name: str, total: int) -> int:
        before, self.before[unit, name] = self.before[unit, name], total
        # a unit that was configured anew counts anew
        return total - before if total >= before else total

    def _ignored(self) -> Optional[int]:
        ask = getattr(self.shipper.sink, "ignored", None)
        if ask and self.shipper.clock.elapsed() - self.looked > LOOK_FOR_IGNORED:
            self.looked = self.shipper.clock.elapsed()
            units = {
                (unit, running.wish.every.namespace)
                for running in list(self.shipper.inputs.values())
                for unit in list(running.units)
            }
            try:
                self.ignored = ask(units, self.shipper.clock.now())
            except SiemtapError as error:
                log.debug("ignored fields: %s", error)
        return self.ignored
