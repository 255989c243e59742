"""Commands for ABS: remove entries from the deny list, and show all data of one client.

A command runs only when a person or an alert action calls it; collection never does.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Tuple

from siemtap.core.convert import instant, millis_of
from siemtap.core.errors import ConfigError
from siemtap.core.model import Command, CommandContext, Option, Outcome, run_each
from siemtap.core.windows import DAY

from .times import query_dates

# Option -> query parameter; `IP` in capitals as on the vendor's page
FORENSICS = {
    "ip": "IP",
    "cookie": "cookie",
    "token": "token",
    "api_key": "api_key",
    "username": "username",
}
CLIENT = (
    Option("ip", "ADDRESS", "IP address."),
    Option("cookie", "VALUE", "Value of a cookie."),
    Option("token", "TOKEN", "Access token."),
    Option("api_key", "KEY", "API key."),
    Option("username", "NAME", "User name."),
)
COOKIE_PAIR = Option("cookie", "NAME=VALUE", "Cookie, as name and value.", several=True)
LISTS = {"ip": "ips", "token": "oauth_tokens", "api_key": "api_keys", "username": "usernames"}


def unblock(
    context: CommandContext,
    subjects: Tuple[str, ...],
    dry_run: bool = False,
    cookie: Tuple[str, ...] = (),
    **clients: Tuple[str, ...],
) -> Iterator[Outcome]:
    """Remove entries from the attack list. PUT removes the entries in its body and keeps the
    rest."""
    body = _attack_list_body(cookie, clients)
    if not body:
        raise ConfigError(
            "no client is given; use --ip, --cookie NAME=VALUE, --token, --api-key or --username"
        )
    check_admin(context, "the removal from its attack list")
    names: List[str] = [f"{len(values)} {kind}" for kind, values in body.items()]

    def work(subject: str) -> Outcome:
        if dry_run:
            return Outcome(subject, True, f"would remove {', '.join(names)}", body)
        answer = context.client.call("PUT", "/v4/abs/attacklist", body=body)
        message = answer.get("message") if isinstance(answer, dict) else ""
        return Outcome(subject, True, f"{', '.join(names)}: {message or 'done'}", answer)

    return run_each(["attack list"], work)


def _attack_list_body(
    cookie: Tuple[str, ...], clients: Mapping[str, Tuple[str, ...]]
) -> Dict[str, Any]:
    """Return the body of the PUT. `cookie`: NAME=VALUE pairs; `clients`: option -> values."""
    body: Dict[str, Any] = {
        LISTS[option]: list(values) for option, values in clients.items() if values
    }
    for pair in cookie:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError("--cookie has no name; write NAME=VALUE")
        body.setdefault("cookies", {}).setdefault(name, []).append(value)
    return body


def check_admin(context: CommandContext, call: str) -> None:
    """Raise ConfigError if the keys are those of the restricted user."""
    if context.settings.role != "admin":
        raise ConfigError(
            f"ABS permits {call} to the admin user only: use an input with `role: admin`"
        )


def forensics(
    context: CommandContext,
    subjects: Tuple[str, ...],
    start: str = "",
    stop: str = "",
    **clients: str,
) -> Iterator[Outcome]:
    """Show all data of one client. ABS gives it to the admin user only, and takes the identifier
    only in the URL."""
    selected = {option: value for option, value in clients.items() if value}
    if len(selected) != 1:
        raise ConfigError("give exactly one of --ip, --cookie, --token, --api-key and --username")
    check_admin(context, "forensics")
    until = millis_of(instant(stop)) if stop else context.client.http.now()
    since = millis_of(instant(start)) if start else until - DAY
    earlier, later = query_dates(since, until, context.settings.timezone)
    ((option, value),) = selected.items()
    query = {"later_date": later, "earlier_date": earlier, FORENSICS[option]: value}
    return run_each(
        [option],
        lambda option: Outcome(option, True, "found", context.client.get("/v4/abs", query)),
    )


COMMANDS = (
    Command(
        name="unblock",
        help="Remove clients from ABS's deny list, which its API calls attack list.",
        run=unblock,
        options=(
            *(
                COOKIE_PAIR if option.name == "cookie" else option._replace(several=True)
                for option in CLIENT
            ),
            Option("dry_run", "", "Show what would be sent; send nothing.", flag=True),
        ),
        subject="",
        alert="Remove from the ABS attack list",
    ),
    Command(
        name="forensics",
        help=(
            "Show all that ABS knows of one client, as JSON. The identifier is part of the URL, and"
            " appears in the logs of proxies."
        ),
        run=forensics,
        options=(
            *CLIENT,
            Option(
                "start",
                "TIME",
                "Start, such as 2026-03-04T10:00Z. Default: one day before the end.",
            ),
            Option("stop", "TIME", "End, in the same form. Default: now."),
        ),
        subject="",
        prints=True,
    ),
)
