"""The settings of a receiver that are addresses: where it listens, and which networks may send."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Tuple, Union
from urllib.parse import urlsplit

from ...core.errors import ConfigError
from ...core.settings import Receiving

Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]


def check(settings: Receiving) -> None:
    """Raise ConfigError for settings that cannot work, before anything runs."""
    if settings.listen:
        host, _ = parse_listen(settings.listen)
        if not settings.secret:
            raise ConfigError(
                "`listen` needs a `secret`: without one, whoever knows the address can write events"
            )
        if not settings.certificate and not settings.plain_http and not is_loopback(host):
            raise ConfigError(
                f"`listen` on {host} needs `certificate` and `key`; behind a proxy that has them,"
                " set `plain_http: true`"
            )
    schemes = [parse_syslog(value)[0] for value in settings.syslog]
    if "tls" in schemes and not settings.certificate:
        raise ConfigError("`syslog: tls://…` needs `certificate` and `key`")
    networks(settings)


def parse_listen(value: str) -> Tuple[str, int]:
    """Parse `listen`, such as `0.0.0.0:8443` or `[::1]:8443`, into host and port."""
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\s\[\]]+)):([0-9]{1,5})", value)
    if not match or int(match[3]) > 65_535:
        raise ConfigError(
            f'`listen` is "{value}"; write an address and a port, such as 0.0.0.0:8443'
        )
    return match[1] or match[2], int(match[3])


def parse_syslog(value: str) -> Tuple[str, str, int]:
    """Parse an address of `syslog`, such as `udp://0.0.0.0:5514`, into scheme, host and port."""
    parts = urlsplit(value)
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
            f'"{value}" is not an address to listen on; write udp://0.0.0.0:5514, tcp:// or tls://'
        )
    return parts.scheme, parts.hostname, port


def networks(settings: Receiving) -> Tuple[Network, ...]:
    """Return the allowed networks of the settings."""
    try:
        return tuple(ipaddress.ip_network(value, strict=False) for value in settings.networks)
    except ValueError as error:
        raise ConfigError(f"`networks`: {error}; write 192.0.2.0/24") from None


def allows(networks: Tuple[Network, ...], peer: str) -> bool:
    """Return whether a peer's address is in one of the networks. No networks allow all."""
    if not networks:
        return True
    address = _peer_address(peer)
    return address is not None and any(address in network for network in networks)


def _peer_address(peer: str) -> Any:
    """Return a peer's IP address, IPv4 for an IPv4-mapped IPv6 address; None if it is not one."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by its address or the name localhost."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
