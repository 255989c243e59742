"""What a person may ask of the vendor's API: agents on and off, and where notifications go.
Nothing here runs by itself."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from typing import Any, Dict, Iterator, List, Optional, Tuple
from urllib.parse import urlsplit

from siemtap.core.errors import ConfigError, SiemtapError
from siemtap.core.mapping import rfc3339
from siemtap.core.model import Command, Option, Outcome, Site

from .destinations import Destination, is_ours, same, spelled

KINDS = {"webhook": "WEBHOOK", "slack": "SLACK", "syslog": "SYSLOG", "email": "EMAIL"}
ONE_OF = ("WEBHOOK", "SYSLOG")  # at most one of each a server
WHERE = (
    Option("webhook", "URL", "A webhook's URL."),
    Option("slack", "URL", "A URL that takes Slack's text."),
    Option(
        "syslog",
        "IP:PORT[/FACILITY]",
        "A syslog server over UDP; facility 16 to 23, 16 by default.",
    ),
    Option("email", "ADDRESS", "A mail address."),
)
DRY = Option("dry_run", "", "Only show the difference.", flag=True)
REPLACE = Option("replace", "", "Take the place of what somebody else has set.", flag=True)


def each(hosts: Tuple[str, ...], work: Any) -> Iterator[Outcome]:
    """One host after the other; one that fails stops nobody."""
    for host in hosts:
        try:
            yield work(host)
        except SiemtapError as error:
            yield Outcome(host, False, str(error))


def install(site: Site, hosts: Tuple[str, ...]) -> Iterator[Outcome]:
    return each(
        hosts,
        lambda host: Outcome(
            host, True, "installed" if site.client.install(host) else "was installed already"
        ),
    )


def uninstall(site: Site, hosts: Tuple[str, ...]) -> Iterator[Outcome]:
    def work(host: str) -> Outcome:
        site.client.uninstall(host)
        return Outcome(host, True, "uninstalled")

    return each(hosts, work)


def listed(site: Site, hosts: Tuple[str, ...]) -> Iterator[Outcome]:
    def work(host: str) -> Outcome:
        there = site.client.destinations(host)
        return Outcome(host, True, "; ".join(map(spelled, there)) or "none set", there)

    return each(hosts, work)


def add(
    site: Site,
    hosts: Tuple[str, ...],
    dry_run: bool = False,
    replace: bool = False,
    **where: Optional[str],
) -> Iterator[Outcome]:
    wanted = given(where)
    return each(
        hosts,
        lambda host: changed(site, host, lambda there: merged(there, wanted, replace), dry_run),
    )


def remove(
    site: Site, hosts: Tuple[str, ...], dry_run: bool = False, **where: Optional[str]
) -> Iterator[Outcome]:
    unwanted = given(where)
    return each(
        hosts,
        lambda host: changed(
            site,
            host,
            lambda there: [one for one in there if not any(same(one, other) for other in unwanted)],
            dry_run,
        ),
    )


def set_all(
    site: Site,
    hosts: Tuple[str, ...],
    dry_run: bool = False,
    replace: bool = False,
    **where: Optional[str],
) -> Iterator[Outcome]:
    """Exactly these."""
    wanted = given(where)

    def only(there: List[Destination]) -> List[Destination]:
        foreign = [one for one in there if not any(same(one, other) for other in wanted)]
        if foreign and not replace:
            raise ConfigError(
                f"{', '.join(map(spelled, foreign))} would go, which somebody set; say --replace if"
                " that is meant"
            )
        return [next((one for one in there if same(one, other)), other) for other in wanted]

    return each(hosts, lambda host: changed(site, host, only, dry_run))


def changed(site: Site, host: str, wish: Any, dry_run: bool) -> Outcome:
    """Read, merge, write, read again and compare. The API has no way to write only if nobody else
    did; so it is read twice before, which leaves a moment, and once after, which tells of most that
    happened in it."""
    before = settled(site, host)
    after = wish(before)
    difference = [
        f"+ {spelled(one)}" for one in after if not any(same(one, other) for other in before)
    ] + [f"- {spelled(one)}" for one in before if not any(same(one, other) for other in after)]
    if not difference:
        return Outcome(host, True, "as it should be", after)
    if dry_run:
        return Outcome(host, True, "would change: " + ", ".join(difference), after)
    site.client.set_destinations(host, after)
    there = site.client.destinations(host)
    lost = [one for one in after if not any(same(one, other) for other in there)]
    strange = [one for one in there if not any(same(one, other) for other in after)]
    if lost or strange:
        found = [
            *(f"{spelled(one)} is not there" for one in lost),
            *(f"{spelled(one)} was set by somebody meanwhile" for one in strange),
        ]
        return Outcome(
            host,
            False,
            f"{', '.join(difference)}; but {', '.join(found)}: look, and try again",
            there,
        )
    return Outcome(host, True, ", ".join(difference), there)


def settled(site: Site, host: str) -> List[Destination]:
    """A list that two readings agree on."""
    before: List[Destination] = site.client.destinations(host)
    for _ in range(3):
        again: List[Destination] = site.client.destinations(host)
        if again == before:
            return again
        before = again
    raise ConfigError("somebody else is changing the destinations just now; try again later")


def merged(there: List[Destination], wanted: List[Destination], replace: bool) -> List[Destination]:
    """Every element that is not ours is kept, as received."""
    kept = list(there)
    for one in wanted:
        if any(same(one, other) for other in kept):
            continue
        rivals = [
            other
            for other in kept
            if one["typeCode"] in ONE_OF and other.get("typeCode") == one["typeCode"]
        ]
        if rivals and not replace:
            raise ConfigError(
                f"{spelled(rivals[0])} is set already, and a server has one {one['typeCode']} at"
                " most; say --replace to take its place"
            )
        kept = [other for other in kept if other not in rivals] + [one]
    return kept


def verify(site: Site, hosts: Tuple[str, ...]) -> Iterator[Outcome]:
    """Is a destination of ours set? Does our listener answer? Did an event come lately?"""
    listening = reachable(site)

    def work(host: str) -> Outcome:
        there = site.client.destinations(host)
        ours = is_ours(there, site.settings)
        said = [
            (
                "its events come here"
                if ours
                else (
                    "`our_url` and `our_syslog` are not set, so nobody can tell which destination"
                    " is ours"
                    if ours is None
                    else (
                        "no destination is ours, but"
                        f" {'; '.join(map(spelled, there)) or 'none is set'}"
                    )
                )
            ),
            listening[1],
            f"an event came last at {rfc3339(site.last)}" if site.last else "no event came yet",
        ]
        return Outcome(
            host,
            bool(ours) and listening[0],
            "; ".join(said),
            {
                "ours": ours,
                "listening": listening[0],
                "last_event": rfc3339(site.last) if site.last else None,
            },
        )

    return each(hosts, work)


def reachable(site: Site) -> Tuple[bool, str]:
    """From here, which is not from there; but what does not answer here answers nobody."""
    url = site.settings.our_url
    if not url:
        return bool(site.settings.our_syslog), (
            "syslog over UDP cannot be asked whether it listens"
            if site.settings.our_syslog
            else "no listener is named"
        )
    parts = urlsplit(url)
    try:
        with socket.create_connection(
            (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)), 5
        ) as plain:
            if parts.scheme == "https":
                context = ssl.create_default_context()
                # the sender judges the certificate; here it is asked for an answer
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                with context.wrap_socket(plain, server_hostname=parts.hostname) as wrapped:
                    return _greeted(wrapped, parts.hostname or "", parts.path)
            return _greeted(plain, parts.hostname or "", parts.path)
    except OSError as error:
        return False, f"our listener does not answer at {parts.netloc}: {error.strerror or error}"


def _greeted(peer: Any, host: str, path: str) -> Tuple[bool, str]:
    """405 to a GET is our listener with the right secret; 404 is a wrong one."""
    peer.sendall(
        f"GET {path or '/'} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    )
    status = peer.recv(64).split(b" ")[1:2]
    if status == [b"405"]:
        return True, "our listener answers"
    return (
        False,
        (
            f"what answers at {host} is not our listener with this secret"
            f" ({status[0].decode() if status else 'nothing'})"
        ),
    )


# Destinations


def given(where: Dict[str, Optional[str]]) -> List[Destination]:
    """What the options say, checked as the vendor should."""
    found = []
    for name, code in KINDS.items():
        said = where.get(name)
        if not said:
            continue
        if name == "syslog":
            found.append({"typeCode": code, "sysLogSettings": syslog(said)})
        elif name == "email":
            if "@" not in said:
                raise ConfigError(f'--email: "{said}" is no mail address')
            found.append({"typeCode": code, "emailAddress": said})
        else:
            if urlsplit(said).scheme not in ("http", "https") or not urlsplit(said).hostname:
                raise ConfigError(f"--{name}: a URL with http:// or https:// is needed")
            found.append({"typeCode": code, "url": said})
    if not found:
        raise ConfigError(f"say what: {', '.join(f'--{name}' for name in KINDS)}")
    return found


def syslog(said: str) -> Dict[str, Any]:
    address, _, facility = said.partition("/")
    host, _, port = address.rpartition(":")
    try:
        ip = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        raise ConfigError(f'--syslog: "{host}" is no IP address; write 192.0.2.10:514') from None
    if (
        not port.isdigit()
        or not 1 <= int(port) <= 65_535
        or (facility and (not facility.isdigit() or not 16 <= int(facility) <= 23))
    ):
        raise ConfigError(
            f'--syslog: "{said}" is not understood; write 192.0.2.10:514, or 192.0.2.10:514/17 with'
            " a facility of 16 to 23"
        )
    return {"ipAddress": ip, "udpPort": int(port), "facility": int(facility or 16)}


COMMANDS = (
    Command("install", "Install the agent.", install),
    Command("uninstall", "Remove the agent.", uninstall),
    Command("notifications list", "Where a server's events go.", listed),
    Command(
        "notifications add",
        "One more destination; what others have set stays.",
        add,
        (*WHERE, REPLACE, DRY),
    ),
    Command("notifications remove", "One destination less.", remove, (*WHERE, DRY)),
    Command("notifications set", "Exactly these destinations.", set_all, (*WHERE, REPLACE, DRY)),
    Command(
        "verify", "Is our destination set, does our listener answer, did an event come?", verify
    ),
)
