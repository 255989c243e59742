"""Tables of the datasets for docs/: fields with their types, CIM, Splunk's add-ons."""

from __future__ import annotations

from typing import Dict, Iterable, List

from siemtap.core.model import Plugin
from siemtap.core.rows import CimClass, Dataset, Given, sources_of, targets_of
from siemtap.edge.splunk.serializer import sourcetype
from siemtap.elastic.field_types import types
from siemtap.elastic.server import Server
from siemtap.render.datasets import INPUT_PATHS
from siemtap.splunk.build.knowledge import event_types
from siemtap.splunk.runtime.names import addon

ELASTICSEARCH = Server("elasticsearch", (9, 1))


def fields(plugins: Iterable[Plugin]) -> str:
    """Return a section for every dataset of the plugins."""
    return "\n\n".join(
        _section(plugin, dataset) for plugin in plugins for dataset in plugin.datasets
    )


def _section(plugin: Plugin, dataset: Dataset) -> str:
    origins = _origins(dataset)
    rows = [
        f"| `{path}` | {spec['type']} | {origins.get(path, '')} |"
        for path, spec in types(ELASTICSEARCH, dataset).items()
        if path not in INPUT_PATHS
    ]
    lines = [f"## {dataset.name}", "", "| field | type | from |", "|---|---|---|", *rows]
    return "\n".join(lines)


def _origins(dataset: Dataset) -> Dict[str, str]:
    """Return field -> the keys of the record that it comes from, or what else sets it."""
    keys: Dict[str, List[str]] = {}
    for row in dataset.rows:
        for path in targets_of(row):
            names = [f"setting `{row.setting}`"] if isinstance(row, Given) else []
            names += [f"`{key}`" for key in sources_of(row)]
            known = keys.setdefault(path, [])
            known += [name for name in names if name not in known]
    origins = {path: ", ".join(names) for path, names in keys.items()}
    for path in dataset.constant:
        origins.setdefault(path, "the same in every event")
    origins[f"{dataset.namespace}.extra"] = "keys that no row reads; values that do not fit"
    return origins


def addons(plugins: Iterable[Plugin]) -> str:
    """Return a table of Splunk's add-ons and their sourcetypes."""
    lines = ["| vendor | add-on | sourcetypes |", "|---|---|---|"]
    for plugin in plugins:
        names = ", ".join(f"`{sourcetype(dataset.name)}`" for dataset in plugin.datasets)
        lines.append(f"| {plugin.title} | `{addon(plugin).name}` | {names} |")
    return "\n".join(lines)


def cim(plugins: Iterable[Plugin]) -> str:
    """Return two tables: the data models of the events of each sourcetype, and their fields."""
    models = ["| sourcetype | events | data models | eventtype | tags |", "|---|---|---|---|---|"]
    fields = ["| sourcetype | events | CIM fields | more fields |", "|---|---|---|---|"]
    for plugin in plugins:
        for dataset in plugin.datasets:
            types = [each for each in event_types(plugin) if each.dataset is dataset]
            start = f"| `{sourcetype(dataset.name)}` |"
            for each in types:
                titles = ", ".join(model.replace("_", " ") for model in each.of.models)
                events = f"{start} {_events(dataset, each.of)} | {titles}"
                models.append(f"{events} | `{each.name}` | {_codes(each.of.tags)} |")
            if dataset.cim.by or not types:
                others = "others" if types else "all"
                models.append(f"{start} {others} | none | none | none |")
            groups = dataset.cim.groups().values() if dataset.cim.by else ()
            fields.append(f"{start} all | {_fields(dataset, dataset.cim.fields)} |")
            fields += [
                f"{start} {_events(dataset, of)} | {_fields(dataset, of.fields)} |" for of in groups
            ]
    return "\n".join([*models, "", *fields])


def _events(dataset: Dataset, of: CimClass) -> str:
    """Return which events of a dataset a class has."""
    return f"`{dataset.cim.by}`: {_codes(of.values)}" if of.values else "all"


def _fields(dataset: Dataset, names: Iterable[str]) -> str:
    """Return two cells: the fields of the CIM, and those of no model."""
    custom = dataset.cim.custom
    standard = _codes(sorted(name for name in names if name not in custom))
    return f"{standard} | {_codes(sorted(name for name in names if name in custom))}"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
