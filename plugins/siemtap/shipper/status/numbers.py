"""The numbers of /stats."""

from __future__ import annotations

import os
from typing import Any, Dict

from ... import VERSION
from ...core.errors import SiemtapError
from ...core.windows import Millis
from ...edge.store.rejected import RejectedEvents
from .verdict import describe_rejected


def process_stats(uptime: Millis, healthy: bool, reason: str) -> Dict[str, Any]:
    """Return what /stats says of the process itself."""
    return {
        "version": VERSION,
        "uptime_s": uptime // 1000,
        "pid": os.getpid(),
        "healthy": healthy,
        "reason": reason,
    }


def rejected_stats(events: RejectedEvents) -> Dict[str, Any]:
    """Return what /stats says of rejected events."""
    try:
        unseen, waiting = events.unseen(), events.count()
    except SiemtapError:  # which `reason` tells
        unseen, waiting = None, 0
    return {
        "waiting_rejected": waiting,
        "news_of_rejected": describe_rejected(unseen) if unseen else None,
    }


def stats(shipper: Any) -> Dict[str, Any]:
    """Return what /stats serves of a shipper, as JSON values."""
    now = shipper.clock.now()
    return {
        **process_stats(now - shipper.started, *shipper.health()),
        "inputs": [_input_stats(running, now) for running in list(shipper.inputs.values())],
        "outputs": shipper.delivery.stats(now),
        "output": {
            "name": ", ".join(output.config.type for output in shipper.delivery.outputs.values()),
            **shipper.counts.totals,
            **shipper.delivery.counts(),
            **rejected_stats(shipper.rejected_events),
            "queue": shipper.database.works.qsize(),
        },
    }


def _input_stats(running: Any, now: Millis) -> Dict[str, Any]:
    stats: Dict[str, Any] = {
        "id": running.id,
        "type": running.input_config.plugin.name,
        "units": [state.stats(now, running.settings) for state in running.states()],
    }
    if running.receiver:
        stats["received"] = running.receiver.show(running.received_until())
    if running.source:
        stats["source"] = running.source.counts
    stats["clock_difference_s"] = {
        host: skew / 1000 for host, skew in list(running.http.skew.items())
    }
    return stats
