"""Mapping table -> what a person wants to see of a vendor at first: the panels of an overview.
How a SIEM spells them is each renderer's own."""

from __future__ import annotations

from typing import Iterable, List, NamedTuple, Tuple

from ..core.mapping import Dataset

NUMBER, OVER_TIME, SHARE, TOP, EVENTS = "number", "over time", "share", "top", "events"


class Panel(NamedTuple):
    """One picture: of which events, what is measured, told apart by which field."""

    title: str
    shape: str  # one of the above
    by: str = ""  # the field whose values are told apart
    measure: str = "count"  # count, unique, sum, max
    of: str = ""  # the field that is measured, where the measure is not count
    only: Tuple[str, str] = ("", "")  # (field, value): of these events only
    columns: Tuple[str, ...] = ()  # of a list of events

    @property
    def fields(self) -> List[str]:
        return [path for path in (self.by, self.of, self.only[0], *self.columns) if path]


class Overview(NamedTuple):
    name: str  # acme
    title: str  # [Logs Acme] Overview
    datasets: Tuple[Dataset, ...]
    panels: Tuple[Panel, ...]


# What is looked at, in this order, wherever a vendor says it. Not more of a shape than fit a row.
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
ABREAST = {NUMBER: 4, SHARE: 4, TOP: 8}


def overview(product: str, datasets: Iterable[Dataset]) -> Overview:
    """What the datasets can say decides; a field that is the same in every event tells nothing."""
    datasets = tuple(datasets)
    known = {
        path for dataset in datasets for path in dataset.targets() if path not in dataset.constant
    }

    def some(
        shape: str, wanted: Iterable[Tuple[str, str]], title: str, measure: str = "count"
    ) -> List[Panel]:
        found = [(name, path) for name, path in wanted if path in known][: ABREAST[shape]]
        return [
            Panel(
                title.format(name if title == "{}" else name.lower()),
                shape,
                *(("", measure, path) if shape == NUMBER else (path, measure)),
            )
            for name, path in found
        ]

    panels = [
        Panel("Events", NUMBER),
        *some(NUMBER, NUMBERS, "{}", "unique")[:3],
        *[
            Panel(f"Events over time, by {name}", OVER_TIME, path)
            for name, path in (
                ("dataset", "event.dataset"),
                ("action", "event.action"),
                ("severity", "event.severity"),
            )
            if path in known and (path != "event.dataset" or len(datasets) > 1)
        ],
        *some(SHARE, SHARES, "{}"),
        *some(TOP, TOPS, "Top {}"),
        Panel("Events", EVENTS, columns=tuple(path for path in COLUMNS if path in known)),
    ]
    return Overview(datasets[0].namespace, f"[Logs {product}] Overview", datasets, tuple(panels))


def product_of(datasets: Iterable[Dataset]) -> str:
    """The product's name as its events say it."""
    first = next(iter(datasets))
    return str(first.constant.get("observer.product", first.namespace))
