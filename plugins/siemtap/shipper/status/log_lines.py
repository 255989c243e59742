"""The metrics in the log: every `logging.metrics.period` one line of what is not zero."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any, Dict, Mapping, Protocol

log = logging.getLogger("siemtap")


class Counted(Protocol):
    """What the lines need of a shipper. `config`: a Config; `counts`: its totals; `delivery`: the
    outputs; `inputs`: the running inputs by id."""

    config: Any
    counts: Any
    delivery: Any

    @property
    def inputs(self) -> Mapping[str, Any]: ...


class MetricsLog:
    """Logs metrics until it is closed. Counters are those of the period; `units`,
    `spool.waiting_bytes` and `queue` those of the moment."""

    def __init__(self, shipper: Counted) -> None:
        self.shipper = shipper
        self.period = shipper.config.metrics.period / 1000
        self.before = counters(shipper)
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
        now = counters(self.shipper)
        numbers = {name: value - self.before.get(name, 0) for name, value in now.items()}
        self.before = now
        numbers.update(gauges(self.shipper))
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


def counters(shipper: Counted) -> Dict[str, int]:
    """Return the counters since the start."""
    numbers = {f"events.{name}": value for name, value in shipper.counts.totals.items()}
    numbers["attempts.failed"] = numbers.pop("events.retried")
    numbers["batches"] = numbers.pop("events.batches")
    for name, value in shipper.delivery.counts().items():
        numbers[f"output.{name}"] = value
    received: Counter[str] = Counter()
    for running in list(shipper.inputs.values()):
        if running.receiver:
            counts = running.receiver.show(running.received_until())
            received.update({f"received.{name}": counts.get(name, 0) for name in RECEIVED})
    return {**numbers, **received}


RECEIVED = ("kept", "refused", "dropped_by_kernel")


def gauges(shipper: Counted) -> Dict[str, int]:
    """Return the numbers of this moment."""
    numbers: Counter[str] = Counter()
    for running in list(shipper.inputs.values()):
        for state in running.states():
            numbers[f"units.{state.state}"] += 1
        if running.receiver:
            waiting = running.receiver.spool.pending(running.received_until())
            numbers["spool.waiting_bytes"] += waiting
    for name, reader in list(shipper.delivery.readers.items()):
        numbers[f"queue.{name}.waiting_events"] = reader.waiting.events
    return dict(numbers)
