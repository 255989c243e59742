"""Converters of addresses, ports, protocols and interfaces."""

from __future__ import annotations

from typing import Any, List, Optional

import communityid

from siemtap.core.convert import MAC, ip, mac, text
from siemtap.core.declared import const, each, integer_within, lookup, lower
from siemtap.core.rows import ABSENT

TRANSPORTS = {
    "icmp": "1",
    "igmp": "2",
    "tcp": "6",
    "udp": "17",
    "gre": "47",
    "esp": "50",
    "ah": "51",
    "icmpv6": "58",
    "sctp": "132",
}


def macs(value: Any) -> Optional[List[str]]:
    """Return a list with the MAC address; None for any other value."""
    address = mac(value) if MAC.fullmatch(text(value)) else None
    return [address] if address else None


port = integer_within(0, 65_535)
transport = each(lower, lookup(TRANSPORTS, const(None), lower=True))


def community(
    protocol: Any, source: Any, source_port: Any, destination: Any, destination_port: Any
) -> Optional[str]:
    """Return the Community ID (version 1) of a TCP, UDP or SCTP flow; None if a part is missing or
    the addresses are of two IP versions."""
    name = protocol.strip().lower() if isinstance(protocol, str) else ""
    source_ip = ip(source.strip()) if isinstance(source, str) else None
    destination_ip = ip(destination.strip()) if isinstance(destination, str) else None
    if not source_ip or not destination_ip or name not in ("tcp", "udp", "sctp"):
        return None
    if (":" in source_ip) != (":" in destination_ip):
        return None
    try:
        build = {
            "tcp": communityid.FlowTuple.make_tcp,
            "udp": communityid.FlowTuple.make_udp,
            "sctp": communityid.FlowTuple.make_sctp,
        }[name]
        flow = build(source_ip, destination_ip, port(source_port), port(destination_port))
        return str(communityid.CommunityID().calc(flow))
    except (ValueError, TypeError, communityid.FlowTupleError):
        return None


direction = each(
    lookup({"incoming": "ingress", "outgoing": "egress"}, const(None), lower=True), text
)


def ingress(iface: Any, way: Any) -> Optional[str]:
    """Return the interface of an incoming packet."""
    return _interface(iface, way, "incoming")


def egress(iface: Any, way: Any) -> Optional[str]:
    """Return the interface of an outgoing packet."""
    return _interface(iface, way, "outgoing")


def _interface(iface: Any, way: Any, wanted: str) -> Optional[str]:
    if (
        not isinstance(iface, str)
        or not isinstance(way, str)
        or iface.strip() in ABSENT
        or way.strip().lower() != wanted
    ):
        return None
    return iface.strip()
