"""Events that were found, as rows of a table."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ...core.convert import rfc3339
from ...edge.printable import printable
from ..stats import severity_name
from .search import Hit

MAX_CHARACTERS = 200  # of a cell


class Row(NamedTuple):
    """The cells of an event: texts of limited length, without control characters."""

    time: str
    severity: str
    dataset: str
    action: str
    source: str
    event: str  # the name of the rule, else the message


def row_of(hit: Hit) -> Row:
    """Return the cells of an event."""
    severity = "" if hit.severity is None else severity_name(hit.severity)
    values = (severity, hit.dataset, hit.action, hit.source, hit.rule or _message(hit.text))
    return Row(
        rfc3339(hit.time), *(printable(str(value or "")[:MAX_CHARACTERS]) for value in values)
    )


def _message(text: str) -> Any:
    """Return what an event without a rule is about; None if it does not tell."""
    event = json.loads(text)
    for path in (("message",), ("error", "message"), ("event", "reason"), ("url", "path")):
        value = event
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if value:
            return value
    return None
