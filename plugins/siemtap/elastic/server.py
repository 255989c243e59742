"""The product, version and abilities of a search cluster."""

from __future__ import annotations

from typing import FrozenSet, NamedTuple, Tuple


class Server(NamedTuple):
    """The product, version and abilities of a cluster."""

    flavour: str  # elasticsearch or opensearch
    version: Tuple[int, int]
    processors: FrozenSet[str] = frozenset()
    serverless: bool = False

    @property
    def has_ecs(self) -> bool:
        """Return whether logs@mappings, logs@settings and ecs@mappings exist."""
        return self.flavour == "elasticsearch" and (self.version >= (8, 13) or self.serverless)

    @property
    def has_lifecycle(self) -> bool:
        """Return whether data streams have a lifecycle of their own."""
        return self.flavour == "elasticsearch" and (self.version >= (8, 14) or self.serverless)

    @property
    def has_failure_store(self) -> bool:
        """Return whether a data stream can have a failure store."""
        return self.flavour == "elasticsearch" and (
            self.version >= (9, 1) or (8, 19) <= self.version < (9, 0) or self.serverless
        )
