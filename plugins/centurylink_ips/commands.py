"""Commands that manage the IPS API: install agents, set notification destinations, verify that
events arrive. `collect` never runs them."""

from __future__ import annotations

import ipaddress
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from urllib.parse import urlsplit

from siemtap.core.convert import rfc3339
from siemtap.core.errors import ConfigError, SiemtapError
from siemtap.core.manifest import fill_in
from siemtap.core.model import Command, CommandContext, Option, Outcome, run_each
from siemtap.core.settings import Connection
from siemtap.edge.client.http import connect

from .destinations import Destination, is_in, is_same, render, render_list, sends_here, without

# An edit takes the destinations that are set and returns those that are wanted.
Edit = Callable[[List[Destination]], List[Destination]]

TYPE_CODES = {"webhook": "WEBHOOK", "slack": "SLACK", "syslog": "SYSLOG", "email": "EMAIL"}
ONE_PER_SERVER = ("WEBHOOK", "SYSLOG")  # a server has at most one destination of each
LISTENER_TIMEOUT = "5s"
TARGET_OPTIONS = (
    Option("webhook", "URL", "The URL of a webhook."),
    Option("slack", "URL", "A URL that accepts Slack messages."),
    Option(
        "syslog",
        "IP:PORT[/FACILITY]",
        "A syslog server over UDP. The facility is 16 to 23, by default 16.",
    ),
    Option("email", "ADDRESS", "An email address."),
)
DRY_RUN = Option("dry_run", "", "Show the changes without making them.", flag=True)
REPLACE = Option(
    "replace",
    "",
    "Replace destinations that are set already; without it, a conflict is an error.",
    flag=True,
)


def install(context: CommandContext, hosts: Tuple[str, ...]) -> Iterator[Outcome]:
    """Install the agent on each host."""

    def work(host: str) -> Outcome:
        is_new = context.client.install(host)
        return Outcome(host, True, "installed" if is_new else "already installed")

    return run_each(hosts, work)


def uninstall(context: CommandContext, hosts: Tuple[str, ...]) -> Iterator[Outcome]:
    """Remove the agent from each host."""

    def work(host: str) -> Outcome:
        context.client.uninstall(host)
        return Outcome(host, True, "uninstalled")

    return run_each(hosts, work)


def list_destinations(context: CommandContext, hosts: Tuple[str, ...]) -> Iterator[Outcome]:
    """Show the destinations of each host."""

    def work(host: str) -> Outcome:
        current = context.client.destinations(host)
        return Outcome(host, True, "; ".join(map(render, current)) or "none set", current)

    return run_each(hosts, work)


def add(
    context: CommandContext,
    hosts: Tuple[str, ...],
    dry_run: bool = False,
    replace: bool = False,
    **targets: Optional[str],
) -> Iterator[Outcome]:
    """Add destinations; all others stay."""
    wanted = parse_targets(targets)

    def edit(current: List[Destination]) -> List[Destination]:
        return merge(current, wanted, replace)

    return run_each(hosts, lambda host: apply_edit(context, host, edit, dry_run))


def remove(
    context: CommandContext,
    hosts: Tuple[str, ...],
    dry_run: bool = False,
    **targets: Optional[str],
) -> Iterator[Outcome]:
    """Remove destinations; all others stay."""
    unwanted = parse_targets(targets)

    def edit(current: List[Destination]) -> List[Destination]:
        return without(current, unwanted)

    return run_each(hosts, lambda host: apply_edit(context, host, edit, dry_run))


def set_all(
    context: CommandContext,
    hosts: Tuple[str, ...],
    dry_run: bool = False,
    replace: bool = False,
    **targets: Optional[str],
) -> Iterator[Outcome]:
    """Set exactly these destinations. Others are removed with `replace` only."""
    wanted = parse_targets(targets)

    def edit(current: List[Destination]) -> List[Destination]:
        others = without(current, wanted)
        if others and not replace:
            raise ConfigError(
                f"{render_list(others)} would be removed; add --replace to allow that"
            )
        # an element that is set already stays as received
        return [
            next((existing for existing in current if is_same(existing, destination)), destination)
            for destination in wanted
        ]

    return run_each(hosts, lambda host: apply_edit(context, host, edit, dry_run))


def apply_edit(context: CommandContext, host: str, edit: Edit, dry_run: bool) -> Outcome:
    """Read, edit, write, read again and compare.

    The API has no conditional write. The list is therefore read twice before, which leaves a short
    gap, and once after, which finds most changes that another client made in it.
    """
    before = read_stable(context, host)
    after = edit(before)
    changes = [
        *(f"+ {render(destination)}" for destination in without(after, before)),
        *(f"- {render(destination)}" for destination in without(before, after)),
    ]
    difference = ", ".join(changes)
    if not changes:
        return Outcome(host, True, "no change needed", after)
    if dry_run:
        return Outcome(host, True, f"would change: {difference}", after)
    context.client.set_destinations(host, after)
    current = context.client.destinations(host)
    lost, foreign = without(after, current), without(current, after)
    conflicts = [f"{render(destination)} is missing" for destination in lost]
    conflicts += [f"{render(destination)} was set by another client" for destination in foreign]
    if conflicts:
        text = f"{difference}; but {', '.join(conflicts)}: check the list and try again"
        return Outcome(host, False, text, current)
    return Outcome(host, True, difference, current)


def read_stable(context: CommandContext, host: str) -> List[Destination]:
    """Return a list that two consecutive reads agree on."""
    before: List[Destination] = context.client.destinations(host)
    for _ in range(3):
        again: List[Destination] = context.client.destinations(host)
        if again == before:
            return again
        before = again
    raise ConfigError("another client is changing the destinations; try again later")


def merge(
    current: List[Destination], wanted: List[Destination], replace: bool
) -> List[Destination]:
    """Return the current list, each element as received, with the wanted destinations added."""
    merged = list(current)
    for destination in wanted:
        if is_in(destination, merged):
            continue
        code = destination["typeCode"]
        rivals = [
            other for other in merged if code in ONE_PER_SERVER and other.get("typeCode") == code
        ]
        if rivals and not replace:
            raise ConfigError(
                f"{render(rivals[0])} is set already, and a server has at most one {code}; add"
                " --replace to replace it"
            )
        merged = [other for other in merged if other not in rivals]
        merged.append(destination)
    return merged


# Verify


def verify(context: CommandContext, hosts: Tuple[str, ...]) -> Iterator[Outcome]:
    """Check the path of events: the host's destinations, the listener, the last event received."""
    listens, listener_text = check_listener(context)
    last_event = rfc3339(context.last) if context.last else None

    def work(host: str) -> Outcome:
        current = context.client.destinations(host)
        ours = sends_here(current, context.settings)
        if ours:
            destination_text = "it sends its events here"
        elif ours is None:
            destination_text = (
                "`our_url` and `our_syslog` are not set, so its destinations cannot be checked"
            )
        else:
            destination_text = "no destination is this input; current destinations: " + (
                "; ".join(map(render, current)) or "none"
            )
        event_text = f"last event at {last_event}" if last_event else "no event received yet"
        return Outcome(
            host,
            bool(ours) and listens,
            "; ".join((destination_text, listener_text, event_text)),
            {"ours": ours, "listening": listens, "last_event": last_event},
        )

    return run_each(hosts, work)


def check_listener(context: CommandContext) -> Tuple[bool, str]:
    """Return whether the listener answers, and a sentence for a person.

    The check runs from this host. The vendor may still be unable to connect.
    """
    settings = context.settings
    if not settings.our_url:
        if settings.our_syslog:
            return True, "syslog over UDP cannot be checked"
        return False, (
            "the listener cannot be checked: set `our_url` to the webhook's URL as the vendor calls"
            " it, with the secret"
        )
    host = urlsplit(settings.our_url).netloc
    # The vendor's sender verifies the certificate; this check only needs a response.
    http = connect(fill_in(Connection, {"timeout": LISTENER_TIMEOUT, "verify": False}))
    try:
        status = http.ask(http.get(settings.our_url)).status
    except SiemtapError as error:
        return False, f"the listener does not answer at {host}: {error.message}"
    # Our listener answers 405 to a GET if the secret in the path is right, otherwise 404.
    if status == 405:
        return True, "the listener answers"
    return False, f"{host} does not answer as the listener of this input (it sent {status})"


# Options


def parse_targets(targets: Dict[str, Optional[str]]) -> List[Destination]:
    """Return the destinations that the options name. ConfigError for an invalid or missing one."""
    destinations: List[Destination] = []
    for name, code in TYPE_CODES.items():
        value = targets.get(name)
        if not value:
            continue
        destination: Destination = {"typeCode": code}
        if name == "syslog":
            destination["sysLogSettings"] = parse_syslog(value)
        elif name == "email":
            if "@" not in value:
                raise ConfigError(f'--email: "{value}" is not an email address')
            destination["emailAddress"] = value
        else:
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ConfigError(f"--{name}: a URL with http:// or https:// is needed")
            destination["url"] = value
        destinations.append(destination)
    if not destinations:
        options = ", ".join(f"--{name}" for name in TYPE_CODES)
        raise ConfigError(f"no destination is given; use at least one of {options}")
    return destinations


def parse_syslog(value: str) -> Dict[str, Any]:
    """Return `sysLogSettings` from IP:PORT or IP:PORT/FACILITY."""
    address, _, facility = value.partition("/")
    host, _, port = address.rpartition(":")
    try:
        ip = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        raise ConfigError(
            f'--syslog: "{host}" is not an IP address; use a value such as 192.0.2.10:514'
        ) from None
    is_port = port.isdigit() and 1 <= int(port) <= 65_535
    is_facility = not facility or (facility.isdigit() and 16 <= int(facility) <= 23)
    if not is_port or not is_facility:
        raise ConfigError(
            f'--syslog: "{value}" is not valid; use 192.0.2.10:514, or 192.0.2.10:514/17 with a'
            " facility of 16 to 23"
        )
    return {"ipAddress": ip, "udpPort": int(port), "facility": int(facility or 16)}


COMMANDS = (
    Command("install", "Install the agent.", install),
    Command("uninstall", "Remove the agent.", uninstall),
    Command(
        "notifications list",
        "Show the destinations that a host's events are sent to: webhook, Slack, syslog, mail.",
        list_destinations,
    ),
    Command(
        "notifications add",
        "Add destinations and leave all others unchanged.",
        add,
        (*TARGET_OPTIONS, REPLACE, DRY_RUN),
    ),
    Command(
        "notifications remove",
        "Remove destinations and leave all others unchanged.",
        remove,
        (*TARGET_OPTIONS, DRY_RUN),
    ),
    Command(
        "notifications set",
        "Set exactly these destinations.",
        set_all,
        (*TARGET_OPTIONS, REPLACE, DRY_RUN),
    ),
    Command(
        "verify",
        "Check that a host sends to this input, that the listener answers, and that events arrive.",
        verify,
    ),
)
