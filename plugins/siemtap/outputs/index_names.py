"""The index of an event: its data stream, or a pattern such as logs-%{+yyyy.MM}."""

from __future__ import annotations

import re
from typing import Iterable, Iterator, List, Set
from urllib.parse import quote

from ..core.paths import get
from ..core.rows import Event

PATTERN = re.compile(r"%\{(?:\+([A-Za-z.\-_]+)|\[([A-Za-z0-9_.@]+)\])\}")
# Bytes of the names in one request: Elasticsearch and OpenSearch take a first line of at most 4 KiB
# (http.max_initial_line_length).
NAMES_SIZE = 3_000
DATE = {"yyyy": (0, 4), "MM": (5, 7), "dd": (8, 10), "HH": (11, 13)}


def fields_in(pattern: str) -> Set[str]:
    """Return the first names of the fields of a pattern: {"observer"} of %{[observer.name]}."""
    return {match[2].partition(".")[0] for match in PATTERN.finditer(pattern) if match[2]}


def index_name(pattern: str, event: Event) -> str:
    """Return an event's index by a pattern, or its data stream if there is no pattern."""
    if not pattern:
        return data_stream(event)

    def expand(match: re.Match[str]) -> str:
        return _date(match[1], event) if match[1] else _field(event, match[2])

    return PATTERN.sub(expand, pattern)


def indices_of(pattern: str, dataset: str) -> str:
    """Return a pattern of all indices that may have an event of a dataset; "" if that could be any
    index of the cluster."""
    if not pattern:
        return f"logs-{dataset}-*"
    names = ("event.dataset", "data_stream.dataset")
    wide = PATTERN.sub(lambda match: dataset if match[2] in names else "*", pattern)
    return "" if wide.startswith("*") else wide


def in_requests(names: Iterable[str]) -> Iterator[List[str]]:
    """Yield the names of indices in parts that the URL of one request takes."""
    part: List[str] = []
    size = 0
    for name in names:
        length = len(quote(name)) + 3  # and a comma, which may be quoted
        if part and size + length > NAMES_SIZE:
            yield part
            part, size = [], 0
        part.append(name)
        size += length
    if part:
        yield part


def data_stream(event: Event) -> str:
    """Return the data stream that an event names."""
    stream = event["data_stream"]
    return f"{stream['type']}-{stream['dataset']}-{stream.get('namespace', 'default')}"


def _date(pattern: str, event: Event) -> str:
    """Return a pattern such as yyyy.MM.dd, filled in from the event's @timestamp (UTC)."""
    return re.sub(
        "|".join(DATE), lambda match: event["@timestamp"][slice(*DATE[match[0]])], pattern
    )


def _field(event: Event, path: str) -> str:
    """Return a field's value with only characters that an index name may have."""
    value = get(event, path)
    text = "none" if value is None else str(value)
    return re.sub(r"[^a-z0-9_.-]", "_", text.lower())
