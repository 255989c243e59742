"""The dashboards of Kibana: what siemtap needs, what differs, and how it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterator, List, Optional

from ...core.errors import ConfigError
from ...core.rows import Dataset
from ...elastic.kibana import client as kibana
from ...elastic.kibana.saved_objects import ndjson
from ...elastic.server import Server
from ...outputs.index_names import PATTERN
from ...outputs.types import CLUSTERS
from ...render import registry
from ..config.sections import Config
from .assets import Change


def dashboard_changes(config: Config, server: Server) -> Iterator[Change]:
    """Yield everything that Kibana should have; nothing if the configuration names no Kibana."""
    if not config.kibana.host:
        return
    client = kibana_client(config)
    client.check()
    datasets = config.datasets
    for asset in kibana.assets(server, datasets, index_patterns(config, datasets)):
        before = client.read(*asset.path.split("/"))
        changed = [] if before is None else kibana.differences(before, asset.body)
        yield Change(asset, before, changed)


def put_dashboards(config: Config, changes: List[Change]) -> None:
    """Write all in one request, because they refer to each other."""
    if changes:
        kibana_client(config).put([change.asset.body for change in changes])


def write_dashboards(config: Optional[Config], into: Path) -> Iterator[Path]:
    """Write each dashboard as a file that Kibana's page "Saved objects" imports.

    Without a configuration: those of every plugin, for data streams with their usual names.
    """
    if config:
        datasets = config.datasets
        patterns = index_patterns(config, datasets)
    else:
        datasets = list(registry.datasets().values())
        patterns = {dataset.namespace: data_streams(dataset.namespace) for dataset in datasets}
    into.mkdir(parents=True, exist_ok=True)
    for first, *_ in kibana.vendor_dashboards(datasets):
        path = into / f"kibana-{first.name}.ndjson"
        saved = kibana.saved_objects(
            Server("elasticsearch", (9, 1)), list(first.datasets), patterns
        )
        path.write_text(ndjson(saved), encoding="utf-8")
        yield path


def index_patterns(config: Config, datasets: List[Dataset]) -> Dict[str, str]:
    """Return vendor -> index pattern: its data streams, or the `index` of its inputs or output."""
    by_vendor = {}
    of_output = config.output.settings.index if config.output.type in CLUSTERS else ""
    for name in dict.fromkeys(dataset.namespace for dataset in datasets):
        indices = {
            (input_config.common.index or of_output)
            for input_config in config.inputs
            if input_config.plugin.name == name
        } or {of_output}
        by_vendor[name] = ",".join(
            sorted(PATTERN.sub("*", index) if index else data_streams(name) for index in indices)
        )
    return by_vendor


def data_streams(vendor: str) -> str:
    """Return the index pattern of a vendor's data streams."""
    return f"logs-{vendor}.*"


def kibana_client(config: Config) -> kibana.Kibana:
    """Return a client for the Kibana of `setup.kibana`."""
    if config.output.type == "opensearch":
        raise ConfigError(
            "setup.kibana: OpenSearch Dashboards does not know the panels of Kibana; remove"
            " setup.kibana"
        )
    return kibana.Kibana(config.kibana, config.output.settings)
