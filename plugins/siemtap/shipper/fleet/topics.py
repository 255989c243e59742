"""The topics of a fleet: what they must be, and their creation."""

from __future__ import annotations

from typing import Dict, List

from ...core.errors import ConfigError
from ...kafka.client import NoRight
from ...kafka.groups import Groups
from ...kafka.topics import Topics
from .partition import MARK_BYTES
from .settings import Cluster

RIGHTS = ("Read", "Write", "Describe", "DescribeConfigs")
TIMEOUT = 10.0  # seconds of one request
COMPACTED = "compact"


def topic_settings(name: str, settings: Cluster) -> Dict[str, str]:
    """Return the settings of a topic of the fleet, as it is created."""
    given = {"cleanup.policy": COMPACTED}
    if name == settings.checkpoints:
        given["max.message.bytes"] = str(MARK_BYTES)
    return given


def check(settings: Cluster) -> int:
    """Return the number of partitions. Raise ConfigError, with the command that puts it right, if a
    topic or a right is missing or a topic is not as it must be; Retry if no broker answers."""
    topics = Groups(settings, "cluster.kafka", TIMEOUT)
    names = [settings.units, settings.checkpoints]
    missing = topics.missing(names)
    if missing:
        _check_visible(topics, missing)
        commands = "; ".join(_create(topics, name, settings) for name in missing)
        raise ConfigError(
            f"cluster.kafka: there is no topic {' and no topic '.join(missing)}; run"
            f" `siemtap setup`, or {commands}"
        )
    for _, error in topics.check(names, RIGHTS):
        raise error
    numbers = topics.partitions(names)
    if numbers[settings.units] != numbers[settings.checkpoints]:
        raise ConfigError(_differs(topics, settings, numbers))
    for name in names:
        policy = topics.config(name)["cleanup.policy"]
        if policy != COMPACTED:
            command = topics.advice.configure(name, "cleanup.policy", COMPACTED)
            raise ConfigError(
                f"cluster.kafka: the topic {name} has cleanup.policy={policy} and would lose units"
                f" or checkpoints; run {command}"
            )
    topics.check_group(settings.group)
    return numbers[settings.units]


def _check_visible(topics: Topics, names: List[str]) -> None:
    """Raise ConfigError if topics only seem to be missing, because this user may not see them."""
    for name in names:
        try:
            topics.config(name, RIGHTS)
        except ConfigError as error:
            if isinstance(error, NoRight):
                raise


def _create(topics: Topics, name: str, settings: Cluster) -> str:
    more = "".join(
        f" --config {key}={value}" for key, value in topic_settings(name, settings).items()
    )
    return topics.advice.create([name], f" --partitions {settings.partitions}{more}")


def _differs(topics: Topics, settings: Cluster, numbers: Dict[str, int]) -> str:
    few, many = sorted(numbers, key=lambda name: numbers[name])
    return (
        f"cluster.kafka: {few} has {numbers[few]} partitions and {many} has {numbers[many]}; they"
        f" need as many. Before any checkpoint is written, run kafka-topics.sh"
        f" {topics.advice.server} --alter --topic {few} --partitions {numbers[many]}"
    )


def set_up(settings: Cluster, dry_run: bool) -> List[str]:
    """Create the topics that do not exist; return their names."""
    topics = Topics(settings, "cluster.kafka", TIMEOUT)
    missing = topics.missing([settings.units, settings.checkpoints])
    for name in [] if dry_run else missing:
        topics.create([name], settings.partitions, **topic_settings(name, settings))
    return missing
