"""CenturyLink Client Security IPS: events that its Deep Security manager pushes, by webhook and by
syslog; and the API that says where it pushes them.

Follows the vendor's page "IPS - RESTful API". A comment in quotation marks is the vendor speaking;
one without is us.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterator, List, Mapping, Tuple
from urllib.parse import quote

from siemtap.core.convert import zone
from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.model import Batch, Cursor, Payload, Plugin, Unit
from siemtap.core.windows import DAY, Millis
from siemtap.edge.bearer import Bearer
from siemtap.edge.http import JSON, Http, Reply, Request, wait
from siemtap.edge.quoted import secrets, without_secrets

from .commands import COMMANDS
from .destinations import Seen, compared, is_ours, presence, remembered
from .formats import records
from .manifest import Settings
from .mapping import DESTINATION, EVENT

DONE = (200, 201, 202, 204)


class Client:
    """The calls of the API. One per account."""

    def __init__(self, settings: Settings, http: Http) -> None:
        self.settings, self.http = settings, http
        self.bearer = Bearer(http, self.login)
        for name in (settings.json_timezone, settings.syslog_timezone):
            zone(name)
        if settings.servers and not settings.account:
            raise ConfigError("`servers` needs the `account` that they belong to")

    # Authentication

    def login(self) -> Tuple[str, Millis]:
        """ "In order to use the IPS-API you must retrieve a bearer token from CLC." It lives two
        weeks; nothing in the answer says so."""
        mine = self.settings
        if not mine.username or not mine.password:
            raise ConfigError("the API needs `username` and `password`")
        request = self.http.post(
            f"{mine.login_url}/v2/authentication/login",
            {"username": mine.username, "password": mine.password},
        )
        reply = self.http.ask(request)
        if reply.status in (400, 401, 403):  # 400 is how it says that name or password is wrong
            raise AuthError(
                f"{words(request, reply)}; check `username` and `password`",
                f"{request.line}: {reply.status}",
                reply.status,
            )
        token = _object(self.understood(request, reply)).get("bearerToken")
        if not isinstance(token, str) or not token:
            raise Retry("a token was asked for, and the answer has none", request.line)
        return token, mine.token_days * DAY

    # Install, uninstall

    def install(self, host: str) -> bool:
        """ "Installs an IPS agent on the designated host." False: it was there already."""
        return (
            self.call(
                "POST", "app/", {"hostName": host, "accountAlias": self.account()}, fine=(409,)
            ).status
            != 409
        )

    def uninstall(self, host: str) -> None:
        """ "Uninstalls an IPS agent from a designated host." The body stands in a DELETE."""
        self.call("DELETE", "app/", {"hostName": host, "accountAlias": self.account()})

    # Notification destinations

    def destinations(self, server: str) -> List[Dict[str, Any]]:
        """As received, unknown keys too. None set is an answer."""
        reply = self.call("GET", self.place(server), fine=(404,))
        if reply.status == 404:
            said = without_secrets(told(reply), [self.bearer.text])
            if "exist" in said.lower():  # the server, and not its destinations
                raise ConfigError(said, f"notifications of {server}", 404)
            return []
        found = self.understood(Request("GET", server), reply)
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    def set_destinations(self, server: str, wanted: List[Dict[str, Any]]) -> None:
        """The whole list; once more without the keys that are not the page's, where these are
        refused."""
        reply = self.call("PUT", self.place(server), wanted, fine=(400,))
        if reply.status == 400:
            plain = [
                {
                    name: value
                    for name, value in one.items()
                    if name in ("typeCode", "url", "emailAddress", "sysLogSettings")
                }
                for one in wanted
            ]
            if plain == wanted:
                # a webhook's URL is a secret, too
                urls = [str(one["url"]) for one in wanted if one.get("url")]
                raise ConfigError(
                    without_secrets(told(reply), [self.bearer.text, *urls]),
                    f"notifications of {server}: 400",
                    400,
                )
            self.call("PUT", self.place(server), plain)

    def place(self, server: str) -> str:
        return f"notifications/{quote(self.account(), safe='')}/{quote(server, safe='')}"

    def account(self) -> str:
        if not self.settings.account:
            raise ConfigError("the API needs the `account`, its alias")
        return self.settings.account

    # How a call is made

    def call(self, method: str, path: str, body: Any = None, fine: Tuple[int, ...] = ()) -> Reply:
        """A success, or one of the statuses that the caller understands. 401 costs one fresh
        token."""
        token = self.bearer()
        for attempt in (1, 2):
            request = Request(
                method,
                f"{self.settings.ips_url}/ips/api/{path}",
                {**JSON, "Authorization": f"Bearer {token}"},
                json.dumps(body).encode() if body is not None else b"",
            )
            reply = self.http.ask(request)
            if reply.status != 401 or attempt == 2:
                break
            token = self.bearer(refused=token)
        if reply.status not in fine:
            self.refuse(request, reply)
        return reply

    def understood(self, request: Request, reply: Reply) -> Any:
        self.refuse(request, reply)
        try:
            return reply.json()
        except (ValueError, RecursionError):
            raise Retry("the answer is no JSON", f"{request.line}: {reply.status}") from None

    def refuse(self, request: Request, reply: Reply) -> None:
        status, where = reply.status, f"{request.line}: {reply.status}"
        if status in DONE and not reply.is_html:
            return
        if status in (408, 425, 429) or status >= 500:
            raise Retry(
                words(request, reply),
                where,
                after=wait(reply.headers.get("retry-after"), self.http.now()),
                status=status,
            )
        if status in (401, 403):
            raise AuthError(words(request, reply), where, status)
        if (reply.is_html and status in DONE) or 300 <= status < 400:
            raise Retry(
                "HTML or a redirect where JSON was asked for: a proxy in between answered",
                where,
                status=status,
            )
        raise ConfigError(words(request, reply), where, status)


def words(request: Request, reply: Reply) -> str:
    """What an error says, without the request's secrets."""
    return without_secrets(told(reply), secrets(request))


def told(reply: Reply) -> str:
    """In any of the vendor's ways: modelState, message, error, a list of messages, plain text."""
    try:
        said = reply.json()
    except (ValueError, RecursionError, Malformed):
        text = reply.body.decode("utf-8", "replace").strip()
        return "refused" if not text or reply.is_html else text
    if isinstance(said, dict):
        state = said.get("modelState")
        if isinstance(state, dict) and state:
            return "; ".join(
                str(word)
                for value in state.values()
                for word in (value if isinstance(value, list) else [value])
            )
        said = said.get("message") or said.get("error") or "refused"
    if isinstance(said, list):
        said = (
            "; ".join(
                str(one.get("message", one) if isinstance(one, dict) else one) for one in said
            )
            or "refused"
        )
    return str(said)


def _object(said: Any) -> Mapping[str, Any]:
    return said if isinstance(said, dict) else {}


# The destinations as an input: who is told, and that we still are


def units(client: Client, settings: Settings) -> List[Tuple[str, str]]:
    return [(DESTINATION.name, server) for server in settings.servers]


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """What changed since the last question; the first answer is the baseline. The time of the
    question is saved before it is put, so that what a crash repeats has the same id."""
    asked = int(cursor.get("asked", now))
    if "asked" not in cursor:
        yield Batch(DESTINATION, [], {**cursor, "asked": asked}, asked)
    there = client.destinations(unit.scope)
    seen = sorted({remembered(one) for one in there})
    here = is_ours(there, client.settings)
    before = [Seen(*one) for one in cursor["seen"]] if "seen" in cursor else None
    changes = [*compared(before, seen), *presence(cursor.get("here"), here)]
    found = [
        {"account": client.account(), "server": unit.scope, "asked": asked, **change}
        for change in changes
    ]
    yield Batch(
        DESTINATION,
        found,
        {"seen": [list(one) for one in seen], "here": here, "until": asked},
        asked,
    )


def receive(settings: Settings, payload: Payload) -> Iterator[Batch]:
    """Every event of a payload; what is none is a record all the same, for nobody sends it
    twice."""
    yield Batch(EVENT, records(settings, payload), {}, payload.received)


PLUGIN = Plugin(
    name="centurylink_ips",
    title="CenturyLink Client Security IPS",
    portal="https://control.ctl.io",
    categories=("ids_ips", "network_security"),
    settings=Settings,
    datasets=(EVENT, DESTINATION),
    connect=Client,
    units=units,
    collect=collect,
    receive=receive,
    webhook=True,
    commands=COMMANDS,
    greet=lambda client: client.bearer(),
)
