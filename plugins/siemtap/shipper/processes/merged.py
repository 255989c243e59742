"""The numbers of several processes as those of one."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Iterable, List, Mapping

WORST = ("degraded", "retrying", "running", "starting", "ok")  # states, those first that matter
QUEUE = {"state": "ok", "error": "", "waiting_events": 0, "waiting_bytes": 0, "oldest_s": 0}


def merge_inputs(parts: Iterable[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    """Return the rows of all inputs: the units of all workers, and what the receivers count beside
    what a worker has read of it."""
    rows: Dict[str, Dict[str, Any]] = {}
    for part in parts:
        for row in part.get("inputs", ()):
            known = rows.setdefault(row["id"], {"id": row["id"], "type": row["type"], "units": []})
            known["units"] += row["units"]
            known.setdefault("clock_difference_s", {}).update(row.get("clock_difference_s", {}))
            if "received" in row:
                known["received"] = _merge_received(known.get("received"), row["received"])
            if "source" in row:
                known.setdefault("source", Counter()).update(row["source"])
    return list(rows.values())


def _merge_received(first: Any, second: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the receivers show, with what the worker that reads the spool knows better: how
    much of it waits, and is damaged."""
    if first is None:
        return second
    receivers, reader = (first, second) if first["at"] else (second, first)
    return {
        **receivers,
        "waiting_bytes": reader["waiting_bytes"],
        "spool_damaged": reader["spool_damaged"],
    }


def merge_outputs(parts: Iterable[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    """Return the rows of all outputs: numbers are summed; those of a queue are its reader's."""
    rows: Dict[str, Dict[str, Any]] = {}
    for part in parts:
        for row in part.get("outputs", ()):
            known = rows.setdefault(row["name"], {**QUEUE, "delivered": 0, "full": False})
            for key, value in row.items():
                if key == "state":
                    known[key] = min(known[key], value, key=_badness)
                elif isinstance(value, int) and not isinstance(value, bool) and key not in QUEUE:
                    known[key] = known.get(key, 0) + value
                elif value or key not in known:
                    known[key] = value
    return list(rows.values())


def _badness(state: str) -> int:
    return WORST.index(state) if state in WORST else 0
