"""Commands for the machine that siemtap runs on: `support`, `service`."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import click

from ...core.convert import rfc3339
from ...edge.clock import SYSTEM
from ..support import archive
from .options import config_option, overrides_of_call
from .service.commands import service


@click.command(short_help="Write an archive for a bug report, without secrets and events.")
@config_option
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    help="The archive; by default siemtap-support-<time>.zip in this folder.",
)
def support(file: str, into: Optional[Path]) -> None:
    """Write a zip archive for a bug report: versions, configuration, status, checkpoints, sizes,
    the number of rejected events, and the last 1,000 lines of `logging.file`.

    Secrets and the values that references stand for are replaced by REDACTED, and no events are in
    it. Read it before you send it. `siemtap run` may go on; a broken configuration or database is
    no obstacle.
    """
    now = SYSTEM.now()
    stamp = rfc3339(now)[:19].replace("-", "").replace(":", "")
    path = into or Path(f"siemtap-support-{stamp}Z.zip")
    names = archive.write(path, file, overrides_of_call(), now)
    click.echo(f"{path}: {', '.join(names)}")
    click.echo("Read it before you send it: it has names of hosts, inputs and folders.")


COMMANDS = (support, service)
