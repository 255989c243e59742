"""The command `export`: what siemtap maps, checks and installs, as text and as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, Iterable, Optional, Tuple

import click

from ...core.compile import source_code
from ...core.errors import ConfigError
from ...core.manifest import suggest
from ...edge import schemas
from ...elastic import detection_rules
from ...render import registry
from ...render.config import input_schema, sample
from ...render.datasets import field_schemas, schema_of
from ..config.load import whole_schema
from ..config.types import input_type
from ..setup import assets, kibana
from .options import CONFIG_FILE, cluster_parts, config_option, load, output_option, override_option

NEWEST = "9.1"  # of Elasticsearch: what siemtap installs in it is the same in newer ones


@click.group(short_help="Print schemas and mappings; write templates and dashboards.")
def export() -> None:
    """Print or write mappings, schemas, templates, dashboards and sample configuration."""


@export.command("mapping", short_help="Print a dataset's mapping as Python code.")
@click.argument("dataset")
def export_mapping(dataset: str) -> None:
    """Print the compiled mapping of DATASET (such as acme.event) from records to events, with the
    checks of their values, as Python code."""
    table = dataset_named(dataset)
    schema = schema_of(schemas.read("event.schema.json"), table)
    click.echo(source_code(table, field_schemas(schema, table)))


@export.command("schema", short_help="Print a JSON Schema.")
@click.argument("name")
def export_schema(name: str) -> None:
    """Print a JSON Schema. NAME is a dataset (acme.event: its events), a plugin (acme: its inputs),
    or `config` (siemtap.yml)."""
    schema: Dict[str, Any]
    if name == "config":
        schema = whole_schema()
    elif "." in name:
        schema = schema_of(schemas.read("event.schema.json"), dataset_named(name))
    else:
        schema = input_schema(input_type(name))
    click.echo(json.dumps(schema, indent=1))


@export.command("templates", short_help="Write what `siemtap setup` installs in a cluster.")
@config_option
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), help="The folder to write into."
)
@click.option(
    "--version",
    "version",
    default=NEWEST,
    show_default=True,
    help="Of Elasticsearch: its version as major.minor, or serverless. For OpenSearch: any.",
)
@output_option
def export_templates(file: str, into: Path, version: str, outputs: Tuple[str, ...]) -> None:
    """Write the templates, pipelines and policies that `siemtap setup` installs, as files.

    No cluster is contacted. Those of several clusters go into folders with the names of the
    outputs.
    """
    parts = cluster_parts(load(file), outputs)
    serverless = version == "serverless"
    try:
        major, minor = map(int, (NEWEST if serverless else version).split(".")[:2])
    except ValueError:
        raise ConfigError(
            f'--version: "{version}" is not a version; write major.minor, such as 9.1, or'
            " serverless"
        ) from None
    for part in parts:
        folder = into / part.output.name if len(parts) > 1 else into
        _print_paths(assets.write(part, (major, minor), folder, serverless))


@export.command("dashboards", short_help="Write the dashboards that `siemtap setup` imports.")
@click.option(
    "-c",
    "--config",
    "file",
    help="The configuration file; by default siemtap.yml, if there is one.",
)
@override_option
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), help="The folder to write into."
)
@output_option
def export_dashboards(file: Optional[str], into: Path, outputs: Tuple[str, ...]) -> None:
    """Write the dashboards that `siemtap setup` imports, as files for Kibana's page "Saved
    objects".

    Without a configuration file: the dashboards of every plugin. Kibana is not contacted.
    """
    if file is None and Path(CONFIG_FILE).exists():
        file = CONFIG_FILE
    if not file:
        _print_paths(kibana.write_dashboards(None, into))
        return
    parts = cluster_parts(load(file), outputs)
    for part in parts:
        folder = into / part.output.name if len(parts) > 1 else into
        _print_paths(kibana.write_dashboards(part, folder))


@export.command("rules", short_help="Write detection rules for Elastic Security.")
@click.argument("names", nargs=-1, metavar="[PLUGIN]...")
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), help="The folder to write into."
)
def export_rules(names: Tuple[str, ...], into: Path) -> None:
    """Write the detection rules of each PLUGIN, by default of all, as a file to import in Kibana:
    Security, Rules, Import rules.

    The rules are disabled until somebody enables them.
    """
    into.mkdir(parents=True, exist_ok=True)
    for name in names or registry.installed():
        path = into / f"{name}-rules.ndjson"
        rules = detection_rules.rules_of(registry.plugin(name))
        path.write_text(detection_rules.ndjson(rules), encoding="utf-8")
        click.echo(path)


def _print_paths(paths: Iterable[Path]) -> None:
    for path in paths:
        click.echo(path)


@export.command("sample", short_help="Print a plugin's sample configuration.")
@click.argument("plugin")
def export_sample(plugin: str) -> None:
    """Print a sample input of PLUGIN for siemtap.yml, with every setting."""
    click.echo(sample(input_type(plugin)), nl=False)


def dataset_named(name: str) -> Any:
    """Return the dataset of this name. Raise ConfigError if there is none."""
    known = registry.datasets()
    if name not in known:
        raise ConfigError(
            f'there is no dataset "{name}"{suggest(name, known)}; there are {", ".join(known)}'
        )
    return known[name]


COMMANDS = (export,)
