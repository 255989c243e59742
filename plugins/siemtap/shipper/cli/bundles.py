"""The command `siemtap build`: bundles of installed plugins for Splunk and for Elastic. And the
upload of those for Elastic by `siemtap setup --packages`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Optional, Tuple

import click

from ...core.errors import ConfigError
from ...render import registry
from ..config.sections import Config

names_argument = click.argument("names", nargs=-1, metavar="[NAME]...")
into_option = click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default="dist",
    show_default=True,
    help="The folder to write to.",
)


@click.group(short_help="Build add-ons for Splunk and packages for Elastic.")
def build() -> None:
    """Build what Splunk and Elastic install, of the installed plugins."""


@build.command(short_help="Build add-ons for Splunk.")
@names_argument
@into_option
@click.option(
    "--fill",
    type=click.Path(path_type=Path, file_okay=False),
    help="Download what a build installs into this folder; build nothing.",
)
@click.option(
    "--offline",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Install from this folder instead of a package index.",
)
def splunk(
    names: Tuple[str, ...], into: Path, fill: Optional[Path], offline: Optional[Path]
) -> None:
    """Build the Splunk add-on of each plugin NAME; without a name, of all.

    The add-ons are built by UCC, which is installed into a temporary environment with pip.
    """
    from ...bundles import addon, ucc  # no other command needs what builds them

    if fill:
        if names or offline:
            raise ConfigError("--fill builds nothing; leave out --offline and the names")
        click.echo(f"filled: {fill}, {ucc.fill(fill)} files")
        return
    plugins = [registry.plugin(name) for name in names or registry.installed()]
    for path in addon.build_addons(plugins, into, offline):
        _show(path)


@build.command(short_help="Build integration packages for Elastic.")
@names_argument
@into_option
def elastic(names: Tuple[str, ...], into: Path) -> None:
    """Build the Elastic integration package of each plugin NAME; without a name, of all that have
    an ingest.py."""
    from ...bundles import integration  # no other command needs what builds them

    for name in names or integration.packaged():
        _show(integration.build_package(registry.plugin(name), into))


def upload_packages(config: Config, dry_run: bool) -> int:
    """Upload the integration package of each enabled plugin that Kibana lacks, or has in another
    version; return how many."""
    from ...bundles import integration  # no other command needs what builds them
    from ..setup import packages

    enabled = dict.fromkeys(
        input_config.plugin.name for input_config in config.inputs if input_config.common.enabled
    )
    names = [name for name in enabled if name in integration.packaged()]
    archives = (packages.Archive(*integration.archive_of(registry.plugin(name))) for name in names)
    changed = 0
    for archive, installed in packages.missing(config, archives):
        name = f"package {archive.name} {archive.version}"
        if installed == archive.version:
            click.echo(f"unchanged: {name}")
            continue
        changed += 1
        if not dry_run:
            packages.upload(config, archive)
        verb = f"replaced: {installed} by" if installed else "uploaded:"
        click.echo(f"{'would be ' if dry_run else ''}{verb} {name}")
    return changed


def _show(path: Path) -> None:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:16]
    click.echo(f"built: {path}, {len(content) / 2**20:.2f} MiB, sha256 {digest}")
