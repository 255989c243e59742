"""Syslog listeners over TCP and TLS, and what opens a listener. They write to the spool. Not part
of Splunk add-ons: AppInspect rejects the UDP sockets beside them.

Syslog has no acknowledgement. More is read from a sender only after the last part is on disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from ...core import bounds
from ...core.errors import ConfigError, Malformed, Retry
from ...core.formats.syslog import is_octet_counted, may_be_complete, split_frames
from ...core.model import Payload
from ...core.settings import Receiving
from ..certificates import ServerCertificate
from ..clock import SYSTEM, Clock
from ..receive.addresses import networks, parse_syslog
from ..receive.limits import listen_on
from ..receive.spool import Spool
from .intake import Intake
from .udp import Udp

log = logging.getLogger("siemtap")

FRAMES_PER_APPEND = 2_000  # a chunk may hold a hundred thousand
CHUNK = 256 * 1024  # bytes of a stream read at once
# seconds without data after which a connection is closed: between two messages; for the first one,
# or the rest of one
IDLE_TIMEOUT = 3600.0
MESSAGE_TIMEOUT = 60.0
IN_FLIGHT = 64 * 1024 * 1024  # bytes of incomplete messages in memory, of all senders of a port
HANDSHAKE = 10.0  # seconds for a TLS handshake


class Tcp:
    """A TCP or TLS port, served by an event loop in a thread of its own.

    More is read from a connection only after its last part is on disk.
    """

    def __init__(
        self, host: str, port: int, intake: Intake, tls: Optional[ServerCertificate] = None
    ) -> None:
        self.intake = intake
        self.spool = intake.spool
        self.counts = intake.counts
        self.tls = tls
        self.peers: Dict[asyncio.Task[None], None] = {}
        self.waiting = 0  # bytes of incomplete messages in memory
        self.ready: threading.Event = threading.Event()
        self.start_error: Optional[BaseException] = None
        self.bound: Tuple[str, int] = (host, port)
        self.thread = threading.Thread(
            target=self._run, args=[host, port], name="syslog", daemon=True
        )
        self.thread.start()
        self.ready.wait(10)
        if self.start_error:
            raise ConfigError(f"cannot listen on {host}:{port}: {self.start_error}; check `syslog`")

    @property
    def address(self) -> str:
        """Return the URL, with the port that the system chose for port 0."""
        host, port = self.bound
        return f"{'tls' if self.tls else 'tcp'}://{f'[{host}]' if ':' in host else host}:{port}"

    def dropped(self) -> Optional[int]:
        """Return None: a stream drops nothing."""
        return None

    def problems(self) -> Iterator[str]:
        """Yield why senders are refused, or soon will be, for the status."""
        if self.socket.problem():
            yield self.socket.problem()
        if self.tls and self.tls.files.problem():
            yield self.tls.files.problem()
        if not self.thread.is_alive():
            yield f"the listener at {self.address} has ended: restart siemtap"

    def close(self) -> None:
        """Close the port and all connections."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stopping.set)
            self.thread.join(10)

    def _run(self, host: str, port: int) -> None:
        try:
            asyncio.run(self._serve(host, port))
        except OSError as error:
            self.start_error = error
        finally:
            self.ready.set()

    async def _serve(self, host: str, port: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.stopping = asyncio.Event()
        tls_options: Dict[str, Any] = {}
        if self.tls:
            tls_options = {"ssl": self.tls.context, "ssl_handshake_timeout": HANDSHAKE}
        self.socket = listen_on(host, port, reuse=os.name == "posix")
        server = await asyncio.start_server(
            self._serve_peer, sock=self.socket, limit=CHUNK, backlog=2048, **tls_options
        )
        self.bound = server.sockets[0].getsockname()[:2]
        self.ready.set()
        await self.stopping.wait()
        server.close()
        for task in list(self.peers):
            task.cancel()
        await asyncio.gather(*self.peers, return_exceptions=True)

    async def _serve_peer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.peers[task] = None
        peer = str((writer.get_extra_info("peername") or ("",))[0])
        try:
            if self.intake.allows(peer):
                await self._read_frames(reader, peer)
        except Malformed as error:
            self.counts["malformed"] += 1
            log.warning("%s: %s sent %s; the connection is closed", self.address, peer, error)
        except (OSError, asyncio.TimeoutError, asyncio.CancelledError):
            pass  # the peer is gone or idle, or the listener stops
        finally:
            self.peers.pop(task, None)
            writer.close()

    async def _read_frames(self, reader: asyncio.StreamReader, peer: str) -> None:
        """Read a stream to its end and store its frames."""
        waiting = bytearray()
        try:
            await self._read_until_end(reader, peer, waiting)
        finally:
            self.waiting -= len(waiting)

    async def _read_until_end(
        self, reader: asyncio.StreamReader, peer: str, waiting: bytearray
    ) -> None:
        received = stored = 0
        complete_at = self.loop.time()  # when the last message was complete
        while True:
            left = complete_at + MESSAGE_TIMEOUT - self.loop.time()
            if stored and not waiting:
                left = IDLE_TIMEOUT
            before = len(waiting)
            chunk = await asyncio.wait_for(reader.read(CHUNK), max(0.0, left))
            if chunk and stored and not before:
                complete_at = self.loop.time()  # a message begins
            if chunk:
                waiting += chunk
            elif not is_octet_counted(waiting):  # an incomplete octet-counted frame is dropped
                waiting += b"\n"  # the last line may lack its end
            if chunk and not may_be_complete(waiting, chunk):
                self._count_waiting(len(waiting) - before)
                continue
            bodies, rest = split_frames(bytes(waiting))
            waiting[:] = rest
            self._count_waiting(len(waiting) - before)
            received += len(chunk)
            room = max(0, bounds.FEW + received // bounds.MIN_RECORD - stored)
            if len(bodies) > room:
                bodies = _join_short(bodies, room)
            stored += len(bodies)
            channel = "tls" if self.tls else "tcp"
            for start in range(0, len(bodies), FRAMES_PER_APPEND):
                await self._store(
                    [
                        Payload(body, channel, "", peer, self.intake.clock.now())
                        for body in bodies[start : start + FRAMES_PER_APPEND]
                    ]
                )
            if bodies:  # also after a wait for the spool
                complete_at = self.loop.time()
            if not chunk:
                return

    def _count_waiting(self, added: int) -> None:
        """Count bytes of incomplete messages. Raise Malformed if there are too many, which closes
        the connection that sent the last ones."""
        self.waiting += added
        if added > 0 and self.waiting > IN_FLIGHT:
            raise Malformed(
                f"a part of a message, while {IN_FLIGHT >> 20} MiB of incomplete messages of all"
                " senders are in memory"
            )

    async def _store(self, payloads: List[Payload]) -> None:
        for part in self.spool.parts(payloads):
            while not await self._append(part):
                await asyncio.sleep(0.5)  # TCP makes the sender wait

    async def _append(self, payloads: List[Payload]) -> bool:
        """Append to the spool and wait for the disk. Return False if it has no room now."""
        try:
            await asyncio.wrap_future(self.spool.append(payloads))
        except Retry as error:
            self.intake.report_full(error, self.address, "the sender waits")
            return False
        self.counts["kept"] += len(payloads)
        return True


def _join_short(bodies: List[bytes], room: int) -> List[bytes]:
    """Return at most `room` frames, or as many as are long. Frames shorter than any vendor's are
    joined into one, as if they had come in one datagram."""
    long = [body for body in bodies if len(body) >= bounds.MIN_RECORD]
    short = [body for body in bodies if len(body) < bounds.MIN_RECORD]
    single = max(0, room - len(long))
    joined = long + short[:single]
    if short[single:]:
        joined.append(b"\n".join(short[single:]))
    return joined


def open_listener(
    address: str, settings: Receiving, spool: Spool, clock: Clock = SYSTEM
) -> Union[Udp, Tcp]:
    """Return a started listener for `udp://…`, `tcp://…` or `tls://…`."""
    scheme, host, port = parse_syslog(address)
    intake = Intake(spool, networks(settings), clock)
    if scheme == "udp":
        try:
            return Udp(host, port, intake)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {address}: {error.strerror}; check `syslog`"
            ) from None
    tls = ServerCertificate(settings.certificate, settings.key) if scheme == "tls" else None
    return Tcp(host, port, intake, tls)
