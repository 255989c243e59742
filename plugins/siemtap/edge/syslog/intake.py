"""What the listeners of syslog share."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Tuple

from ...core.errors import Retry
from ..clock import Clock
from ..receive.addresses import Network, allows
from ..receive.spool import Spool

log = logging.getLogger("siemtap")


class Intake:
    """What a port lets in and where it goes, with the counts of both.

    counts: kept, refused, malformed, full
    """

    def __init__(self, spool: Spool, networks: Tuple[Network, ...], clock: Clock) -> None:
        self.spool = spool
        self.networks = networks
        self.clock = clock
        self.counts: Counter[str] = Counter()

    def allows(self, peer: str) -> bool:
        """Return whether a peer may send; count it if not."""
        if allows(self.networks, peer):
            return True
        self.counts["refused"] += 1
        return False

    def report_full(self, error: Retry, address: str, consequence: str) -> None:
        """Count an attempt to append that met a full spool, and log the first of each hundred."""
        self.counts["full"] += 1
        if self.counts["full"] % 100 == 1:
            log.error("%s: %s; %s", address, error, consequence)
