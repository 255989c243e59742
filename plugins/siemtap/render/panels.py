"""The dashboards of a vendor, derived from the mapping tables of its datasets.

Each renderer writes the panels in the format of its SIEM.
"""

from __future__ import annotations

from typing import Iterable, List, NamedTuple, Set, Tuple

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
    """A dashboard with panels of a vendor's datasets."""

    name: str  # acme
    title: str  # [Logs Acme] Overview
    datasets: Tuple[Dataset, ...]
    panels: Tuple[Panel, ...]
    topic: str = "overview"  # which of a vendor's dashboards: overview, sources, rules, collection
    controls: Tuple[Tuple[str, str], ...] = ()  # (label, field) of lists to filter by


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
# Fields whose values a person filters a dashboard by.
CONTROLS = (
    ("Dataset", "event.dataset"),
    ("Rule", "rule.name"),
    ("Source", "source.address"),
    ("Action", "event.action"),
    ("Service", "service.name"),
    ("Host", "host.name"),
)
MAX_CONTROLS = 4


def overview(product: str, datasets: Iterable[Dataset]) -> Overview:
    """Return the overview of a vendor's datasets.

    A panel is used if a dataset sets its field, and the value is not constant.
    """
    datasets = tuple(datasets)
    known = _varying(datasets)

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
    panels.append(_events(known))
    return Overview(
        name=datasets[0].namespace,
        title=f"[Logs {product}] Overview",
        datasets=datasets,
        panels=tuple(panels),
        controls=_controls(known, datasets),
    )


def dashboards(product: str, datasets: Iterable[Dataset]) -> Tuple[Overview, ...]:
    """Return all dashboards of a vendor: the overview first, then its sources and its rules if a
    dataset has any, and the health of the collection."""
    first = overview(product, datasets)
    known = _varying(first.datasets)
    more = []
    for topic, label, path in (
        ("sources", "source", "source.address"),
        ("rules", "rule", "rule.name"),
    ):
        if path in known:
            panels = _about(label, path, known)
            more.append(
                first._replace(
                    topic=topic, title=f"[Logs {product}] {topic.capitalize()}", panels=panels
                )
            )
    collection = first._replace(
        topic="collection",
        title=f"[Logs {product}] Collection",
        panels=_health(known),
        controls=_controls({"event.dataset", "observer.name"} & known, first.datasets),
    )
    return (first, *more, collection)


def _varying(datasets: Tuple[Dataset, ...]) -> Set[str]:
    """Return the fields that a dataset sets to more than a constant."""
    return {
        path for dataset in datasets for path in dataset.targets() if path not in dataset.constant
    }


def _controls(known: Set[str], datasets: Tuple[Dataset, ...]) -> Tuple[Tuple[str, str], ...]:
    usable = [
        (label, path)
        for label, path in CONTROLS
        if path in known and (path != "event.dataset" or len(datasets) > 1)
    ]
    return tuple(usable[:MAX_CONTROLS])


def _events(known: Set[str]) -> Panel:
    return Panel("Events", EVENTS, columns=tuple(path for path in COLUMNS if path in known))


def _about(label: str, path: str, known: Set[str]) -> Tuple[Panel, ...]:
    """Return the panels about the values of one field: how many, when, and what goes with them."""
    panels = [Panel("Events", NUMBER), Panel(f"{label.capitalize()}s", NUMBER, "", "unique", path)]
    panels.append(Panel(f"Events over time, by {label}", OVER_TIME, by=path))
    if "event.severity" in known:
        panels.append(Panel("Events over time, by severity", OVER_TIME, by="event.severity"))
    panels += [
        Panel(name, SHARE, by=share) for name, share in SHARES if share in known and share != path
    ][: MAX_PANELS[SHARE]]
    panels.append(Panel(f"Top {label}s", TOP, by=path))
    panels += [
        Panel(f"Top {name.lower()}", TOP, by=top)
        for name, top in TOPS
        if top in known and top != path
    ][: MAX_PANELS[TOP] - 1]
    return (*panels, _events(known))


def _health(known: Set[str]) -> Tuple[Panel, ...]:
    """Return the panels about the collection: which datasets have events, who collects them, and
    what could not be read."""
    failed = ("event.kind", "pipeline_error")
    panels = [
        Panel("Events", NUMBER),
        Panel("Errors", NUMBER, only=failed),
        Panel("Datasets", NUMBER, measure="unique", of="event.dataset"),
        Panel("Agents", NUMBER, measure="unique", of="agent.name"),
        Panel("Events over time, by dataset", OVER_TIME, by="event.dataset"),
        Panel("Errors over time, by dataset", OVER_TIME, by="event.dataset", only=failed),
        Panel("Events by dataset", TOP, by="event.dataset"),
        Panel("Events by agent", TOP, by="agent.name"),
    ]
    if "observer.name" in known:
        panels.append(Panel("Events by observer", TOP, by="observer.name"))
    columns = ("event.dataset", "agent.name", "error.message", "message")
    return (*panels, Panel("Errors", EVENTS, columns=columns, only=failed))


def product_name(datasets: Iterable[Dataset]) -> str:
    """Return the product name of a vendor's events (observer.product), or else its namespace."""
    first = next(iter(datasets))
    return str(first.constant.get("observer.product", first.namespace))
