"""Open what an audit compares with: the output, the checkpoints and the rejected events."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Callable, Dict, Optional, Set

from ...core.model import Unit
from ...core.windows import HOUR, Millis
from ...edge.clock import SYSTEM
from ...edge.store.checkpoints import Database
from ...edge.store.snapshot import Snapshot
from ...outputs import OutputContext
from ...outputs.file import StoredFiles
from ...outputs.sqlite import StoredEvents
from ...outputs.types import OUTPUTS
from ...render import registry
from ..config.sections import Config
from ..processors.mapping import check_of_installed
from .comparison import Audit
from .progress import Progress
from .ranges import ReadRange, read_ranges, rejected_ids, waiting_ids


def open_audit(
    config: Config,
    since: Millis,
    repair: bool,
    stack: ExitStack,
    write: Callable[[str], None],
) -> Audit:
    """Return an audit of the configured output; `stack` closes what it needs.

    `write`: prints a line of progress.
    """
    path = config.data / "siemtap.db"
    read: Optional[Dict[Unit, ReadRange]] = None
    rejected: Set[str] = set()
    waiting: Set[str] = set()
    snapshot: Optional[Snapshot] = None
    # With a cluster, another machine than the shipper's can compare.
    if path.exists() or config.output.type == "sqlite":
        snapshot = Snapshot(path)
        stack.callback(snapshot.close)
        read, rejected = read_ranges(snapshot), rejected_ids(snapshot, config.output.name)
        waiting = waiting_ids(snapshot, config.output.name)
    check = None
    if config.general.validate:
        check = check_of_installed()
    output = _open_output(config, snapshot, repair, stack)
    return Audit(
        output,
        SYSTEM,
        _kept(config, since, write),
        rejected=rejected,
        read=read,
        check=check,
        progress=Progress(write),
        waiting=waiting,
    )


def _kept(config: Config, since: Millis, write: Callable[[str], None]) -> Millis:
    """Return how far back to compare: not further than the embedded store keeps events, but for the
    hour in which it deletes."""
    retention = config.output.settings.retention if config.output.type == "sqlite" else 0
    if not retention or since <= retention - HOUR:
        return since
    kept = max(0, retention - HOUR)
    write(
        f"compared are the last {kept // HOUR} h: {config.output.section}.retention deletes what is"
        " older"
    )
    return int(kept)


def _open_output(
    config: Config, snapshot: Optional[Snapshot], repair: bool, stack: ExitStack
) -> Any:
    """Open the configured output; for reading only, where a shipper must be the only writer."""
    if not repair and snapshot and config.output.type == "sqlite":
        return StoredEvents(snapshot)
    if not repair and config.output.type == "file":
        return StoredFiles(config.output.settings)
    database = None
    if config.output.type == "sqlite":
        database = Database(config.data / "siemtap.db")
        stack.callback(database.close)
    index_by_input = {input_config.id: input_config.common.index for input_config in config.inputs}
    output = OUTPUTS[config.output.type].load()(
        config.output.settings,
        OutputContext(database, index_by_input=index_by_input, datasets=registry.datasets()),
    )
    stack.callback(output.close)
    return output
