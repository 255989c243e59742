"""The syslog listener over UDP, which writes to the spool.

No sender can be told to wait, or that something was not kept: datagrams that the kernel drops are
counted and reported, and what a disk did not take is stored again.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Deque, Iterator, List, Optional, Tuple

from ...core.errors import Retry
from ...core.model import Payload
from ..receive.spool import Receipt
from .intake import Intake

log = logging.getLogger("siemtap")

READERS = 2  # threads of one UDP port
# The receive buffer to request, in bytes; the kernel allows at most net.core.rmem_max.
RECEIVE_BUFFER = 16 * 1024 * 1024
LARGEST_DATAGRAM = 65_535
UNSYNCED = 8 * 1024 * 1024  # bytes appended but not on disk; beyond this a reader waits
# of one append; datagrams are copied more than once on their way to the disk
DATAGRAMS_PER_APPEND = 512
BYTES_PER_APPEND = 4 * 1024 * 1024

# Appends that may not be on disk yet, oldest first
Unsynced = Deque[Tuple[Future[Receipt], List[Payload]]]


class Udp:
    """A UDP port, with several reader threads if the system can share the port among sockets."""

    def __init__(self, host: str, port: int, intake: Intake) -> None:
        self.intake = intake
        self.spool = intake.spool
        self.counts = intake.counts
        self.stopped = threading.Event()
        self.sockets = [_bind(host, port)]
        self.host, self.port = self.sockets[0].getsockname()[:2]
        if hasattr(socket, "SO_REUSEPORT"):
            self.sockets += [_bind(host, self.port) for _ in range(READERS - 1)]
        self.threads = [
            threading.Thread(target=self._read, args=[reader], name="udp", daemon=True)
            for reader in self.sockets
        ]
        for thread in self.threads:
            thread.start()

    @property
    def address(self) -> str:
        """Return the URL, with the port that the system chose for port 0."""
        return f"udp://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def dropped(self) -> Optional[int]:
        """Return how many datagrams the kernel dropped because they were not read in time; None if
        the system does not report it."""
        inodes = {str(os.fstat(reader.fileno()).st_ino) for reader in self.sockets}
        dropped = None
        for name in ("/proc/net/udp", "/proc/net/udp6"):
            try:
                rows = Path(name).read_text().splitlines()[1:]
            except OSError:
                continue
            for row in rows:
                columns = row.split()
                if columns[9] in inodes:
                    dropped = (dropped or 0) + int(columns[12])
        return dropped

    def problems(self) -> Iterator[str]:
        """Yield why datagrams are not read, for the status."""
        if not all(thread.is_alive() for thread in self.threads):
            yield f"a thread that reads {self.address} has ended: restart siemtap"

    def close(self) -> None:
        """Stop the readers and close the port."""
        self.stopped.set()
        for thread in self.threads:
            thread.join(5)
        for reader in self.sockets:
            reader.close()

    def _read(self, reader: socket.socket) -> None:
        unsynced: Unsynced = deque()
        while not self.stopped.is_set():
            # While the disk fails, the kernel's buffer holds what arrives.
            if not self._settle(unsynced):
                self.stopped.wait(0.1)
                continue
            try:
                datagrams = [reader.recvfrom(LARGEST_DATAGRAM)]
            except socket.timeout:
                continue
            except OSError:  # an ICMP error about an earlier peer
                continue
            size = len(datagrams[0][0])
            reader.setblocking(False)
            try:
                while len(datagrams) < DATAGRAMS_PER_APPEND and size < BYTES_PER_APPEND:
                    datagrams.append(reader.recvfrom(LARGEST_DATAGRAM))
                    size += len(datagrams[-1][0])
            except OSError:
                pass  # no more datagrams for now
            reader.settimeout(0.2)
            try:
                self._store(datagrams, unsynced)
            except Exception as error:  # the thread must go on, or the port is deaf
                self.counts["malformed"] += len(datagrams)
                log.error("%s: datagrams were dropped: %s", self.address, type(error).__name__)
        for future, _ in unsynced:
            future.exception()  # waits for the disk
        if not self._settle(unsynced):
            lost = sum(len(payloads) for _, payloads in unsynced)
            self.counts["kept"] -= lost
            log.error("%s: %d datagrams are lost: the disk did not take them", self.address, lost)

    def _store(self, datagrams: List[Tuple[bytes, Any]], unsynced: Unsynced) -> None:
        now = self.intake.clock.now()
        payloads = [
            Payload(body, "udp", "", peer[0], now)
            for body, peer in datagrams
            if self.intake.allows(peer[0]) and body.strip(b"\r\n\0 ")
        ]
        for part in self.spool.parts(payloads):
            # No sender can be told to wait: meanwhile the kernel's buffer holds what arrives.
            while not self._append(part, unsynced) and not self.stopped.wait(0.1):
                continue

    def _append(self, payloads: List[Payload], unsynced: Unsynced) -> bool:
        """Append to the spool. Return False if it has no room now."""
        try:
            unsynced.append((self.spool.append(payloads), payloads))
        except Retry as error:
            self.intake.report_full(error, self.address, "datagrams may be lost")
            return False
        self.counts["kept"] += len(payloads)
        self._settle(unsynced)
        return True

    def _settle(self, unsynced: Unsynced) -> bool:
        """Forget what the disk took, and append again what it did not. Return False if it does not
        take that either."""
        try:
            # The disk is slower than the network: let datagrams wait in the kernel's buffer.
            while unsynced and (unsynced[0][0].done() or self.spool.waiting > UNSYNCED):
                future, payloads = unsynced[0]
                if future.done() and future.exception():
                    future = self.spool.append(payloads)
                    unsynced[0] = future, payloads
                future.result()
                unsynced.popleft()
        except Retry as error:
            self.intake.report_full(error, self.address, "datagrams may be lost")
            return False
        return True


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if hasattr(socket, "SO_REUSEPORT"):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        bound.settimeout(0.2)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
