"""What inputs receive: a spool each, and whatever listens into it. Inputs that name the same
address share its socket."""

from __future__ import annotations

import ipaddress
import re
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ..core.errors import ConfigError
from ..core.forms import Receiving
from ..core.model import Cursor, Plugin
from ..edge.clock import Clock
from ..edge.listen import CLOSING, Door, Listener, Network
from ..edge.spool import Spool

RECEIVED = "received"  # the scope of what an input was pushed
RECEIVED_EVERY = 0.2  # seconds between two looks into a spool
PIECE, PAUSE = 0.001, 0.003  # seconds of work beside a receiver, and of rest after it
# seconds until the interpreter's lock goes to another thread; each answer asks for it several
# times, and 5 ms is the default
SWITCH = 0.000_3

Address = Tuple[str, int, str, str]  # host, port, certificate, key


def check(wish: Receiving) -> None:
    """ConfigError for what cannot work, before anything runs."""
    if wish.listen:
        host, _ = address(wish.listen)
        if not wish.secret:
            raise ConfigError(
                "`listen` needs a `secret`: whoever knows the address could write events otherwise"
            )
        if not wish.certificate and not wish.plain_http and not _is_loopback(host):
            raise ConfigError(
                f"`listen` on {host} needs `certificate` and `key`; behind a proxy that has them,"
                " say `plain_http: true`"
            )
    if (
        wish.syslog
        and any(_syslog().place(said)[0] == "tls" for said in wish.syslog)
        and not wish.certificate
    ):
        raise ConfigError("`syslog: tls://…` needs `certificate` and `key`")
    networks(wish)


def _syslog() -> Any:
    """Where it is needed only: an add-on has none, for AppInspect refuses a UDP socket in one."""
    from ..edge import syslog

    return syslog


def address(said: str) -> Tuple[str, int]:
    """`0.0.0.0:8443`, `[::1]:8443`"""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s\[\]]+)):([0-9]{1,5})", said)
    if not found or int(found[3]) > 65_535:
        raise ConfigError(
            f'`listen` is "{said}"; write an address and a port, such as 0.0.0.0:8443'
        )
    return found[1] or found[2], int(found[3])


def networks(wish: Receiving) -> Tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(said, strict=False) for said in wish.networks)
    except ValueError as error:
        raise ConfigError(f"`networks`: {error}; write 192.0.2.0/24") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Considerate:
    """Work beside a receiver, in pieces while it is busy: a sender waits for his answer as long as
    the receiver waits for the interpreter's lock, and that is one piece, where it was a batch (100
    ms and more for 1,000 payloads). Called between two steps of the work."""

    def __init__(self, spool: Optional[Spool]) -> None:
        self.spool, self.held, self.began = spool, 0, time.perf_counter()

    def __call__(self) -> None:
        if self.spool and time.perf_counter() - self.began > PIECE:
            if self.spool.held != self.held:  # something came in meanwhile
                time.sleep(PAUSE)
                self.held = self.spool.held
            self.began = time.perf_counter()


class Ears:
    """The webhooks of all inputs, by address."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.listeners: Dict[Address, Listener] = {}

    def webhook(self, wish: Receiving, door: Door) -> Listener:
        """The listener at this address, with the door in it; a new one has it before it listens."""
        host, port = address(wish.listen)
        key = (host, port, wish.certificate, wish.key)
        if key in self.listeners:
            self.listeners[key].app.doors.append(door)
        else:
            self.listeners[key] = Listener(
                host, port, wish.certificate, wish.key, self.clock, [door]
            )
        return self.listeners[key]

    def refused(self, door: Door) -> int:
        """Calls without a right secret, at the socket that this door shares with others."""
        return sum(
            listening.app.refused
            for listening in self.listeners.values()
            if door in listening.app.doors
        )

    def drop(self, door: Door) -> None:
        """Its senders are told to try again. A socket of nothing but such doors is closed."""
        door.closed = time.monotonic()
        for key, listening in list(self.listeners.items()):
            if door in listening.app.doors:
                listening.app.doors[:] = [
                    other
                    for other in listening.app.doors
                    if other.closed is None or door.closed - other.closed < CLOSING
                ]
                if all(other.closed is not None for other in listening.app.doors):
                    self.listeners.pop(key).close()


class Reception:
    """One input: it receives from `open` to `deafen`; its spool can be read for longer."""

    def __init__(self, plugin: Plugin, wish: Receiving, folder: Path) -> None:
        self.plugin, self.wish = plugin, wish
        self.spool = Spool(folder, wish.spool_max_bytes)
        self.ears: Optional[Ears] = None
        self.door: Optional[Door] = None
        self.addresses: List[str] = []
        self.syslogs: List[Any] = []

    def open(self, ears: Ears) -> None:
        self.ears = ears
        sys.setswitchinterval(SWITCH)
        allowed = networks(self.wish)
        if self.wish.listen:
            door = Door(
                self.plugin.name, self.wish.secret, self.spool, allowed, self.wish.max_body_bytes
            )
            listening, self.door = ears.webhook(self.wish, door), door
            self.addresses.append(f"{listening.address}/{self.plugin.name}/<secret>")
        for said in self.wish.syslog:
            self.syslogs.append(
                _syslog().listener(
                    said, self.spool, allowed, self.wish.certificate, self.wish.key, ears.clock
                )
            )
            self.addresses.append(self.syslogs[-1].address)

    def deafen(self) -> None:
        if self.door and self.ears:
            self.ears.drop(self.door)
            self.door = None
        for one in self.syslogs:
            one.close()
        self.syslogs.clear()

    def close(self) -> None:
        self.deafen()
        self.spool.close()

    def show(self, cursor: Cursor) -> Dict[str, Any]:
        """`waiting_bytes`: received, and behind the cursor still. `refused`: from networks that
        are not allowed, or without the secret."""
        counts: Dict[str, int] = dict(self.door.counts) if self.door else {}
        for one in self.syslogs:
            for name, number in one.counts.items():
                counts[name] = counts.get(name, 0) + number
        dropped = [one.dropped() for one in self.syslogs if hasattr(one, "dropped")]
        if any(number is not None for number in dropped):
            counts["dropped_by_kernel"] = sum(number or 0 for number in dropped)
        if self.door and self.ears:
            counts["refused"] = counts.get("refused", 0) + self.ears.refused(self.door)
        return {
            "at": self.addresses,
            "waiting_bytes": self.spool.pending(cursor),
            "spool_bytes": self.spool.held,
            "spool_full": self.spool.shut,
            "spool_damaged": self.spool.damaged,
            **counts,
        }
