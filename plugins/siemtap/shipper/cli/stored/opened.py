"""Opening the stored data of a configuration, and what is stored elsewhere."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import Iterator

from ....core.errors import ConfigError
from ....edge.store.checkpoints import Checkpoints, Database
from ....kafka.client import Advice
from ...config.sections import Config
from ..options import data_folder_lock


def elsewhere(config: Config) -> Iterator[str]:
    """Yield a sentence about each kind of checkpoint that is in Kafka, not in path.data."""
    if config.cluster.enabled:
        yield (
            f"the checkpoints of what a fleet pulls are in the topic {config.cluster.checkpoints}:"
            " `siemtap fleet status` shows how far they are. They cannot be set or deleted; an"
            " input with another `id` starts again from its `lookback`"
        )
    for each in config.inputs:
        if each.plugin.reads_events:
            group = each.settings.group_id
            yield (
                f"the checkpoint of {each.id} is what the group {group} has committed, in Kafka:"
                f" {Advice(each.settings, group).describe_group()} shows it, and with"
                " --reset-offsets instead of --describe the same command sets it, while no siemtap"
                " is in the group"
            )


@contextmanager
def open_checkpoints(config: Config, change: bool = False) -> Iterator[Checkpoints]:
    """Open the checkpoints in the data folder of a configuration; `change`: lock the folder."""
    with ExitStack() as stack:
        if change:
            stack.enter_context(data_folder_lock(config))
        if not (config.data / "siemtap.db").exists():
            notes = "".join(f"; {note}" for note in elsewhere(config))
            raise ConfigError(f"there are no checkpoints in {config.data} yet{notes}")
        database = Database(config.data / "siemtap.db", upgrade=change)
        stack.callback(database.close)
        yield Checkpoints(database)
