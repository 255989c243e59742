"""The metrics in the log: every `logging.metrics.period` one line of what is not zero."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any, Dict, Mapping, Protocol

from ..stats import Counts

log = logging.getLogger("siemtap")


class Counted(Protocol):
    """What the lines need of a shipper. `config`: a Config."""

    config: Any

    def stats(self) -> Mapping[str, Any]: ...


class MetricsLog:
    """Logs metrics until it is closed. Counters are those of the period; `units`,
    `spool.waiting_bytes` and `queue` those of the moment."""

    def __init__(self, shipper: Counted) -> None:
        self.shipper = shipper
        self.period = shipper.config.metrics.period / 1000
        self.before = counters(shipper.stats())
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.ended.wait(self.period):
            try:
                self.log()
            except Exception as error:  # an input may be reloaded at this moment
                log.debug("metrics cannot be read: %s", type(error).__name__)

    def log(self) -> None:
        """Log one line."""
        stats = self.shipper.stats()
        now = counters(stats)
        numbers = {name: value - self.before.get(name, 0) for name, value in now.items()}
        self.before = now
        numbers.update(gauges(stats))
        numbers = {name: value for name, value in numbers.items() if value}
        log.info(
            "Non-zero metrics in the last %gs: %s",
            self.period,
            " ".join(f"{name}={value}" for name, value in numbers.items()) or "none",
            extra={"fields": {"siemtap.metrics": numbers}},
        )

    def close(self) -> None:
        """End the lines."""
        self.ended.set()
        self.thread.join()


def counters(stats: Mapping[str, Any]) -> Dict[str, int]:
    """Return the counters since the start. `stats`: what /stats serves."""
    output = stats["output"]
    numbers = {f"events.{name}": output[name] for name in Counts.NAMES}
    numbers["attempts.failed"] = numbers.pop("events.retried")
    numbers["batches"] = numbers.pop("events.batches")
    for name, value in output.items():
        if name not in (*Counts.NAMES, *NO_COUNTERS):
            numbers[f"output.{name}"] = value
    received: Counter[str] = Counter()
    for row in stats["inputs"]:
        counts = row.get("received", {})
        received.update({f"received.{name}": counts.get(name, 0) for name in RECEIVED})
    return {**numbers, **received}


# of the output: not counted by it
NO_COUNTERS = ("name", "waiting_rejected", "news_of_rejected", "queue")
RECEIVED = ("kept", "refused", "dropped_by_kernel")


def gauges(stats: Mapping[str, Any]) -> Dict[str, int]:
    """Return the numbers of this moment. `stats`: what /stats serves."""
    numbers: Counter[str] = Counter()
    for row in stats["inputs"]:
        numbers.update(f"units.{unit['state']}" for unit in row["units"])
        numbers["spool.waiting_bytes"] += row.get("received", {}).get("waiting_bytes", 0)
    for output in stats["outputs"]:
        numbers[f"queue.{output['name']}.waiting_events"] = output["waiting_events"]
    return dict(numbers)
