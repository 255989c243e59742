"""Syslog over UDP, TCP and TLS, into the spool. Stays out of Splunk bundles: AppInspect refuses a
UDP socket in one.

Syslog has no answer. Over TCP a sender is read no faster than what it sent is on disk; over UDP
what the kernel drops is counted and shown.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import threading
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

from ..core import bounds
from ..core.errors import ConfigError, Malformed, Retry
from ..core.model import Payload
from ..core.syslog import frames, is_counted, is_worth_a_look
from .clock import SYSTEM, Clock
from .listen import Network, allows
from .spool import Spool

log = logging.getLogger("siemtap")

READERS = 2  # threads of one UDP port
# bytes that are asked of the kernel; it gives what net.core.rmem_max allows
BUFFER = 16 * 1024 * 1024
DATAGRAM = 65_535
UNSYNCED = 8 * 1024 * 1024  # bytes handed in and not on disk, beyond which a reader waits
TOGETHER = 512  # datagrams in one append
TOGETHER_BYTES = 4 * 1024 * 1024  # of them; they are copied more than once on their way to disk
# of a stream that are payloads at the same time; a chunk may hold a hundred thousand
FRAMES = 2_000
CHUNK = 256 * 1024  # bytes of a stream read at once
SILENCE = 3600.0  # seconds after which a stream that says nothing is let go
HANDSHAKE = 10.0


def place(said: str) -> Tuple[str, str, int]:
    """`udp://0.0.0.0:5514` -> scheme, host, port."""
    parts = urlsplit(said)
    try:
        port = parts.port
    except ValueError:
        port = None
    if (
        parts.scheme not in ("udp", "tcp", "tls")
        or not parts.hostname
        or port is None
        or parts.path
    ):
        raise ConfigError(
            f'"{said}" is no place to listen; write udp://0.0.0.0:5514, tcp:// or tls://'
        )
    return parts.scheme, parts.hostname, port


class Udp:
    """One port, several reader threads where the system can share it among them."""

    def __init__(
        self,
        host: str,
        port: int,
        spool: Spool,
        networks: Tuple[Network, ...] = (),
        clock: Clock = SYSTEM,
    ) -> None:
        self.spool, self.networks, self.clock = spool, networks, clock
        self.counts: Counter[str] = Counter()  # kept, refused, full
        self.stopped = threading.Event()
        self.sockets = [_udp(host, port)]
        self.host, self.port = self.sockets[0].getsockname()[:2]
        if hasattr(socket, "SO_REUSEPORT"):
            self.sockets += [_udp(host, self.port) for _ in range(READERS - 1)]
        self.threads = [
            threading.Thread(target=self._read, args=[one], name="udp", daemon=True)
            for one in self.sockets
        ]
        for thread in self.threads:
            thread.start()

    @property
    def address(self) -> str:
        return f"udp://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def dropped(self) -> Optional[int]:
        """Datagrams that the kernel threw away because nobody read them in time; None: it does
        not say."""
        inodes = {str(_inode(one)) for one in self.sockets}
        found = None
        for name in ("/proc/net/udp", "/proc/net/udp6"):
            try:
                rows = Path(name).read_text().splitlines()[1:]
            except OSError:
                continue
            for row in rows:
                words = row.split()
                if words[9] in inodes:
                    found = (found or 0) + int(words[12])
        return found

    def close(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join(5)
        for one in self.sockets:
            one.close()

    def _read(self, one: socket.socket) -> None:
        while not self.stopped.is_set():
            try:
                datagrams = [one.recvfrom(DATAGRAM)]
            except socket.timeout:
                continue
            except OSError:  # ICMP's word about an earlier peer
                continue
            size = len(datagrams[0][0])
            one.setblocking(False)
            try:
                while len(datagrams) < TOGETHER and size < TOGETHER_BYTES:
                    datagrams.append(one.recvfrom(DATAGRAM))
                    size += len(datagrams[-1][0])
            except OSError:
                pass  # nothing more for now
            one.settimeout(0.2)
            self._keep(datagrams)

    def _keep(self, datagrams: List[Tuple[bytes, Any]]) -> None:
        now = self.clock.now()
        welcome = [pair for pair in datagrams if allows(self.networks, pair[1][0])]
        self.counts["refused"] += len(datagrams) - len(welcome)
        payloads = [
            Payload(body, "udp", "", peer[0], now)
            for body, peer in welcome
            if body.strip(b"\r\n\0 ")
        ]
        for part in self.spool.parts(payloads):
            while not self._kept(part) and not self.stopped.wait(0.1):
                continue  # nobody can be told; the kernel's buffer is all the room there is

    def _kept(self, payloads: List[Payload]) -> bool:
        try:
            kept = self.spool.append(payloads)
            # the disk is slower than the wire: let the kernel's buffer wait, and not our memory
            if self.spool.waiting > UNSYNCED:
                kept.result()
        except Retry as error:
            self.counts["full"] += 1
            if self.counts["full"] % 100 == 1:
                log.error("%s: %s; datagrams may be lost", self.address, error)
            return False
        self.counts["kept"] += len(payloads)
        return True


class Tcp:
    """TCP or TLS, an event loop of its own. A stream is read on once what it sent is on disk."""

    def __init__(
        self,
        host: str,
        port: int,
        spool: Spool,
        networks: Tuple[Network, ...] = (),
        tls: Optional[ssl.SSLContext] = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self.spool, self.networks, self.tls, self.clock = spool, networks, tls, clock
        self.counts: Counter[str] = Counter()  # kept, refused, malformed, full
        self.peers: Dict[asyncio.Task[None], None] = {}
        self.ready: threading.Event = threading.Event()
        self.trouble: Optional[BaseException] = None
        self.bound: Tuple[str, int] = (host, port)
        self.thread = threading.Thread(
            target=self._run, args=[host, port], name="syslog", daemon=True
        )
        self.thread.start()
        self.ready.wait(10)
        if self.trouble:
            raise ConfigError(f"cannot listen on {host}:{port}: {self.trouble}; check `syslog`")

    @property
    def address(self) -> str:
        host, port = self.bound
        return f"{'tls' if self.tls else 'tcp'}://{f'[{host}]' if ':' in host else host}:{port}"

    def close(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stopping.set)
            self.thread.join(10)

    def _run(self, host: str, port: int) -> None:
        try:
            asyncio.run(self._serve(host, port))
        except OSError as error:
            self.trouble = error
        finally:
            self.ready.set()

    async def _serve(self, host: str, port: int) -> None:
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        more: Dict[str, Any] = (
            {"ssl": self.tls, "ssl_handshake_timeout": HANDSHAKE} if self.tls else {}
        )
        server = await asyncio.start_server(
            self._talk, host, port, limit=CHUNK, backlog=2048, **more
        )
        self.bound = server.sockets[0].getsockname()[:2]
        self.ready.set()
        await self.stopping.wait()
        server.close()
        for task in list(self.peers):
            task.cancel()
        await asyncio.gather(*self.peers, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.peers[task] = None
        peer = str((writer.get_extra_info("peername") or ("",))[0])
        try:
            if allows(self.networks, peer):
                await self._listen_to(reader, peer)
            else:
                self.counts["refused"] += 1
        except Malformed as error:
            self.counts["malformed"] += 1
            log.warning("%s: %s sent %s; the connection is closed", self.address, peer, error)
        except (OSError, asyncio.TimeoutError, asyncio.CancelledError):
            pass  # gone, or silent for too long, or we are stopping
        finally:
            self.peers.pop(task, None)
            writer.close()

    async def _listen_to(self, reader: asyncio.StreamReader, peer: str) -> None:
        waiting = bytearray()
        heard = handed = 0
        while True:
            said = await asyncio.wait_for(reader.read(CHUNK), SILENCE)
            # a last line may lack its end; half a counted frame is none
            waiting += said or (b"" if is_counted(waiting) else b"\n")
            if said and not is_worth_a_look(waiting, said):
                continue
            found, rest = frames(bytes(waiting))
            waiting = bytearray(rest)
            heard += len(said)
            room = max(0, bounds.FEW + heard // bounds.SHORTEST - handed)
            # those that are shorter than anybody's: together, as they would come in one datagram
            if len(found) > room:
                long = [frame for frame in found if len(frame) >= bounds.SHORTEST]
                short = [frame for frame in found if len(frame) < bounds.SHORTEST]
                alone = max(0, room - len(long))
                found = [
                    *long,
                    *short[:alone],
                    *([b"\n".join(short[alone:])] if short[alone:] else []),
                ]
            handed += len(found)
            for begin in range(0, len(found), FRAMES):
                await self._keep(
                    [
                        Payload(body, "tls" if self.tls else "tcp", "", peer, self.clock.now())
                        for body in found[begin : begin + FRAMES]
                    ]
                )
            if not said:
                return

    async def _keep(self, payloads: List[Payload]) -> None:
        for part in self.spool.parts(payloads):
            while not await self._kept(part):
                await asyncio.sleep(0.5)  # the sender waits, as TCP makes it

    async def _kept(self, payloads: List[Payload]) -> bool:
        try:
            await asyncio.wrap_future(self.spool.append(payloads))
        except Retry as error:
            self.counts["full"] += 1
            if self.counts["full"] % 100 == 1:
                log.error("%s: %s; the sender waits", self.address, error)
            return False
        self.counts["kept"] += len(payloads)
        return True


def listener(
    said: str,
    spool: Spool,
    networks: Tuple[Network, ...] = (),
    certificate: str = "",
    key: str = "",
    clock: Clock = SYSTEM,
) -> Any:
    """Whatever listens at `udp://…`, `tcp://…` or `tls://…`."""
    scheme, host, port = place(said)
    if scheme == "udp":
        try:
            return Udp(host, port, spool, networks, clock)
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {said}: {error.strerror}; check `syslog`"
            ) from None
    return Tcp(
        host, port, spool, networks, context(certificate, key) if scheme == "tls" else None, clock
    )


def context(certificate: str, key: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        made.load_cert_chain(certificate, key or None)
    except OSError as error:
        raise ConfigError(
            f"`certificate` and `key` cannot be used: {error.strerror or error}"
        ) from None
    return made


def _udp(host: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if hasattr(socket, "SO_REUSEPORT"):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        found.settimeout(0.2)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


def _inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino
