"""The lines that `siemtap audit` prints."""

from __future__ import annotations

from collections import Counter
from typing import Dict, Iterator, Mapping, Sequence, Tuple

from ...core.convert import millis_of, rfc3339
from ...core.windows import HOUR, Millis, whole
from ...outputs.validated import escape_controls
from .findings import Comparison

DIFFERENCES = ("missing", "different", "duplicate", "extra", "rejected", "waiting")
FIELDS_OF_AN_HOUR = 10
MAX_VALUE = 80  # characters of a printed value


def details(result: Comparison) -> Iterator[str]:
    """Yield a line for each finding: kind, id, dataset, time, and the fields that differ."""
    for finding in result.findings:
        fields = "; ".join(
            f"{escape_controls(path)}: {_value(values[1])} instead of {_value(values[0])}"
            for path, values in finding.fields.items()
        )
        line = f"{finding.kind}\t{finding.id}\t{finding.dataset}\t{finding.time}"
        yield f"{line}\t{fields}" if fields else line


def _value(text: str) -> str:
    text = escape_controls(text)
    return text if len(text) <= MAX_VALUE else f"{text[:MAX_VALUE]}…"


def report(result: Comparison) -> Iterator[str]:
    """Yield a line for each hour with a difference, and a line of totals."""
    fields: Dict[Tuple[str, Millis], Counter[str]] = {}
    for finding in result.findings:
        hour = whole(millis_of(finding.time), HOUR)
        fields.setdefault((finding.dataset, hour), Counter()).update(list(finding.fields))
    total: Counter[str] = Counter()
    for (dataset, hour), counts in sorted(result.hours.items()):
        total.update(counts)
        if set(counts) - {"expected", "found"}:
            kinds = _format_counts(counts, ("found", *DIFFERENCES))
            names = _format_fields(fields.get((dataset, hour), Counter()))
            yield f"{rfc3339(hour)[:16]}Z  {dataset}  {counts['expected']} expected, {kinds}{names}"
    verdict = "; nothing is missing, nothing is duplicate"
    if set(total) - {"expected", "found"}:
        verdict = f", {_format_counts(total, DIFFERENCES)}"
    yield f"total: {total['expected']} expected, {total['found']} found{verdict}"


def _format_counts(counts: Mapping[str, int], names: Sequence[str]) -> str:
    return ", ".join(f"{counts[name]} {name}" for name in names if counts[name])


def _format_fields(fields: Counter[str]) -> str:
    if not fields:
        return ""
    names = [
        f"{escape_controls(name)} {number}"
        for name, number in fields.most_common(FIELDS_OF_AN_HOUR)
    ]
    more = len(fields) - len(names)
    return f" (by field: {', '.join(names)}{f', and {more} more' if more else ''})"
