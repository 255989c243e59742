"""The overview dashboard of a vendor, derived from the mapping tables of its datasets.

Each renderer writes the panels in the format of its SIEM.
"""

from __future__ import annotations

from typing import Iterable, List, NamedTuple, Tuple

from ..core.rows import Dataset

NUMBER, OVER_TIME, SHARE, TOP, EVENTS = "number", "over time", "share", "top", "events"


class Panel(NamedTuple):
    """A panel: which events, what is measured, and the field that splits it."""

    title: str
    shape: str  # NUMBER, OVER_TIME, SHARE, TOP or EVENTS
    by: str = ""  # the field whose values split the panel
    measure: str = "count"  # count, unique, sum, max
    of: str = ""  # the field that is measured; "" for count
    only: Tuple[str, str] = ("", "")  # (field, value): a filter
    columns: Tuple[str, ...] = ()  # the fields of a list of events

    @property
    def fields(self) -> List[str]:
        """Return the fields that the panel needs."""
        return [path for path in (self.by, self.of, self.only[0], *self.columns) if path]


class Overview(NamedTuple):
    """A dashboard with the panels of a vendor's datasets."""

    name: str  # acme
    title: str  # [Logs Acme] Overview
    datasets: Tuple[Dataset, ...]
    panels: Tuple[Panel, ...]


# Candidates for panels, in this order, if a dataset sets the field. MAX_PANELS of a shape fit in a
# row.
NUMBERS = (
    ("Sources", "source.address"),
    ("Services", "service.name"),
    ("Hosts", "host.name"),
    ("Destinations", "destination.address"),
    ("Rules", "rule.name"),
    ("Users", "user.name"),
)
SHARES = (
    ("Action", "event.action"),
    ("Severity", "event.severity"),
    ("Outcome", "event.outcome"),
    ("Status code", "http.response.status_code"),
    ("Method", "http.request.method"),
    ("Transport", "network.transport"),
)
TOPS = (
    ("Rules", "rule.name"),
    ("Sources", "source.address"),
    ("Categories", "rule.category"),
    ("Countries", "source.geo.country_iso_code"),
    ("Services", "service.name"),
    ("Hosts", "host.name"),
    ("Paths", "url.path"),
    ("Destination ports", "destination.port"),
    ("User agents", "user_agent.original"),
    ("Users", "user.name"),
)
SPLITS = (
    ("dataset", "event.dataset"),
    ("action", "event.action"),
    ("severity", "event.severity"),
)
COLUMNS = (
    "event.dataset",
    "event.action",
    "event.severity",
    "rule.name",
    "source.address",
    "user.name",
    "service.name",
    "host.name",
    "url.path",
    "message",
)
MAX_PANELS = {NUMBER: 4, SHARE: 4, TOP: 8}


def overview(product: str, datasets: Iterable[Dataset]) -> Overview:
    """Return the overview of a vendor's datasets.

    A panel is used if a dataset sets its field, and the value is not constant.
    """
    datasets = tuple(datasets)
    known = {
        path for dataset in datasets for path in dataset.targets() if path not in dataset.constant
    }

    def available(shape: str, candidates: Iterable[Tuple[str, str]]) -> List[Tuple[str, str]]:
        return [(name, path) for name, path in candidates if path in known][: MAX_PANELS[shape]]

    panels = [Panel("Events", NUMBER)]
    for name, path in available(NUMBER, NUMBERS)[:3]:
        panels.append(Panel(name, NUMBER, measure="unique", of=path))
    for name, path in SPLITS:
        if path in known and (path != "event.dataset" or len(datasets) > 1):
            panels.append(Panel(f"Events over time, by {name}", OVER_TIME, by=path))
    for name, path in available(SHARE, SHARES):
        panels.append(Panel(name, SHARE, by=path))
    for name, path in available(TOP, TOPS):
        panels.append(Panel(f"Top {name.lower()}", TOP, by=path))
    columns = tuple(path for path in COLUMNS if path in known)
    panels.append(Panel("Events", EVENTS, columns=columns))
    return Overview(
        name=datasets[0].namespace,
        title=f"[Logs {product}] Overview",
        datasets=datasets,
        panels=tuple(panels),
    )


def product_name(datasets: Iterable[Dataset]) -> str:
    """Return the product name of a vendor's events (observer.product), or else its namespace."""
    first = next(iter(datasets))
    return str(first.constant.get("observer.product", first.namespace))
