"""The section `cluster.kafka`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

from ...core.manifest import duration, integer, text, text_list
from ...kafka.settings import HOST, HOST_ALLOWED, KafkaConnection

NAME = r"^[A-Za-z0-9._-]{1,100}$"
NAME_ALLOWED = "letters, digits, `.`, `_` and `-`, at most 100"


@dataclass(frozen=True, kw_only=True)
class Cluster(KafkaConnection):
    """The section `cluster.kafka`. Without `hosts` this is no worker of a fleet."""

    hosts: Tuple[str, ...] = text_list(
        "Hosts",
        (),
        pattern=HOST,
        allowed=HOST_ALLOWED,
        help=(
            "Brokers to start from, such as kafka.example.com:9092. With this setting siemtap is a"
            " worker of a fleet: all workers have the same configuration, and each reads the inputs"
            " that Kafka's consumer group gives it."
        ),
    )
    prefix: str = text(
        "Prefix",
        "siemtap",
        pattern=NAME,
        allowed=NAME_ALLOWED,
        help=(
            "The beginning of the names of the fleet's topics: <prefix>.units and"
            " <prefix>.checkpoints."
        ),
    )
    group: str = text(
        "Group",
        "siemtap",
        pattern=NAME,
        allowed=NAME_ALLOWED,
        help=(
            "The consumer group of the workers. A producer's transactional.id begins with"
            " siemtap-<group>-."
        ),
    )
    instance_id: str = text(
        "Instance id",
        "",
        pattern=r"^[A-Za-z0-9._-]{0,200}$",
        allowed="letters, digits, `.`, `_` and `-`, at most 200",
        help=(
            "Kafka's group.instance.id, of which each worker has its own; by default the name of"
            " the machine and the identity of `path.data`. A worker that is started again with the"
            " same one within `session_timeout` gets its inputs back."
        ),
    )
    session_timeout: int = duration(
        "Session timeout",
        "45s",
        least="6s",
        most="30m",
        help=(
            "How long a worker may be silent before the others take its inputs over. Brokers allow"
            " what is between their group.min.session.timeout.ms and group.max.session.timeout.ms."
        ),
    )
    partitions: int = integer(
        "Partitions",
        32,
        least=1,
        most=1_000,
        help=(
            "How many partitions `siemtap setup` gives the fleet's topics: the largest number of"
            " workers. It cannot be changed later."
        ),
    )

    @property
    def enabled(self) -> bool:
        """Return whether siemtap is a worker of a fleet."""
        return bool(self.hosts)

    @property
    def units(self) -> str:
        """Return the topic of units."""
        return f"{self.prefix}.units"

    @property
    def checkpoints(self) -> str:
        """Return the topic of checkpoints."""
        return f"{self.prefix}.checkpoints"
