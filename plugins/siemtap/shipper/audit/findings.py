"""What an audit found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from ...core.convert import millis_of
from ...core.rows import Event
from ...core.windows import HOUR, Millis, whole


class Finding(NamedTuple):
    """An event that is not as it should be.

    `kind`: missing, different, duplicate or extra. `time`: its @timestamp. `fields`: of a different
    event, path -> (the value the vendor returns, the stored value), as JSON.
    """

    kind: str
    id: str
    dataset: str
    time: str
    fields: Mapping[str, Tuple[str, str]] = {}


@dataclass(frozen=True)
class Comparison:
    """The result of an audit."""

    # (dataset, hour) -> numbers of: expected, found, rejected, and the kinds of findings
    hours: Dict[Tuple[str, Millis], Counter[str]]
    findings: List[Finding]

    def ids(self, kind: str) -> List[str]:
        """Return the ids of the findings of a kind."""
        return [finding.id for finding in self.findings if finding.kind == kind]

    @property
    def ok(self) -> bool:
        """Return whether the output has exactly what the vendors have."""
        return not self.findings

    def add(self, kind: str, event: Event, **more: Any) -> None:
        """Add a finding, and count it."""
        time, details = event["@timestamp"], event["event"]
        self.findings.append(Finding(kind, details["id"], details["dataset"], time, **more))
        self.count(details["dataset"], whole(millis_of(time), HOUR), kind)

    def count(self, dataset: str, hour: Millis, *kinds: str) -> None:
        self.hours.setdefault((dataset, hour), Counter()).update(kinds)
