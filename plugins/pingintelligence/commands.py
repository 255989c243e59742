"""What a person may ask of ABS: entries off the deny list, and all it knows of one client.
Nothing here runs by itself."""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Tuple

from siemtap.core.convert import instant, millis_of
from siemtap.core.errors import ConfigError, SiemtapError
from siemtap.core.model import Command, Option, Outcome, Site
from siemtap.core.windows import DAY

from .times import asked

# `IP` in capitals, as the page has it
FORENSICS = {
    "ip": "IP",
    "cookie": "cookie",
    "token": "token",
    "api_key": "api_key",
    "username": "username",
}
WHO = (
    Option("ip", "ADDRESS", "An address."),
    Option("cookie", "VALUE", "A cookie's value."),
    Option("token", "TOKEN", "An access token."),
    Option("api_key", "KEY", "An API key."),
    Option("username", "NAME", "A user's name."),
)
LISTED = {"ip": "ips", "token": "oauth_tokens", "api_key": "api_keys", "username": "usernames"}


def unblock(
    site: Site,
    subjects: Tuple[str, ...],
    dry_run: bool = False,
    cookie: Tuple[str, ...] = (),
    **who: Tuple[str, ...],
) -> Iterator[Outcome]:
    """PUT takes off the list what its body names, and leaves the rest."""
    body: Dict[str, Any] = {LISTED[name]: list(values) for name, values in who.items() if values}
    for pair in cookie:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError("a cookie is named as NAME=VALUE")
        body.setdefault("cookies", {}).setdefault(name, []).append(value)
    if not body:
        raise ConfigError("say whom: --ip, --cookie NAME=VALUE, --token, --api-key or --username")
    names: List[str] = [f"{len(values)} {kind}" for kind, values in body.items()]
    if dry_run:
        yield Outcome("attack list", True, f"would take off {', '.join(names)}", body)
        return
    try:
        said = site.client.ask("PUT", "/v4/abs/attacklist", {}, json.dumps(body).encode())
        message = said.get("message") if isinstance(said, dict) else ""
        yield Outcome("attack list", True, f"{', '.join(names)}: {message or 'done'}", said)
    except SiemtapError as error:
        yield Outcome("attack list", False, str(error))


def forensics(
    site: Site, subjects: Tuple[str, ...], start: str = "", stop: str = "", **who: str
) -> Iterator[Outcome]:
    """All five are for the admin user, and put what they are asked for into a URL."""
    wanted = {name: value for name, value in who.items() if value}
    if len(wanted) != 1:
        raise ConfigError("say whom, once: --ip, --cookie, --token, --api-key or --username")
    if site.settings.role != "admin":
        raise ConfigError(
            "ABS gives forensics to the admin user only: use an input with `role: admin`"
        )
    until = millis_of(instant(stop)) if stop else site.client.http.now()
    since = millis_of(instant(start)) if start else until - DAY
    earlier, later = asked(since, until, site.settings.timezone)
    name, value = next(iter(wanted.items()))
    try:
        yield Outcome(
            name,
            True,
            "found",
            site.client.get(
                "/v4/abs", {"later_date": later, "earlier_date": earlier, FORENSICS[name]: value}
            ),
        )
    except SiemtapError as error:
        yield Outcome(name, False, str(error))


COMMANDS = (
    Command(
        "unblock",
        "Take clients off ABS's attack list (PUT).",
        unblock,
        (
            *(
                (
                    option._replace(several=True)
                    if option.name != "cookie"
                    else Option(
                        "cookie", "NAME=VALUE", "A cookie, by name and value.", several=True
                    )
                )
                for option in WHO
            ),
            Option("dry_run", "", "Only show what would be sent.", flag=True),
        ),
        subject="",
        alert="Remove from the ABS attack list",
    ),
    Command(
        "forensics",
        "All that ABS knows of one client, as JSON. What is asked for stands in the URL, and so in"
        " the logs of every proxy in between.",
        forensics,
        (
            *WHO,
            Option(
                "start",
                "TIME",
                "From then on, such as 2026-03-04T10:00Z; a day before the end by default.",
            ),
            Option("stop", "TIME", "Until then; now by default."),
        ),
        subject="",
        prints=True,
    ),
)
