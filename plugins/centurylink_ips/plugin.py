"""CenturyLink Client Security IPS: events that its Deep Security manager sends by webhook and by
syslog, and the API that manages agents and notification destinations.

Follows the vendor's page "IPS - RESTful API", in its order. A comment in quotation marks quotes the
page.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Tuple
from urllib.parse import quote

from siemtap.core.convert import zone
from siemtap.core.errors import AuthError, ConfigError, Malformed
from siemtap.core.model import Batch, Cursor, Payload, Plugin, Records, Unit, query_time
from siemtap.core.windows import DAY, Millis
from siemtap.edge.client.api import Api
from siemtap.edge.client.bearer import Bearer, token_of
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import Reply, Request
from siemtap.edge.client.quoted import redact, request_secrets
from siemtap.edge.client.replies import json_of, raise_for_status

from .commands import COMMANDS
from .destinations import SavedDestination, diff, diff_delivery, save, sends_here
from .formats import read
from .manifest import Settings
from .mapping import DESTINATION, EVENT
from .sns_confirmation import confirm

SUCCESS = (200, 201, 202, 204)
# The keys of a destination on the vendor's page.
DOCUMENTED_KEYS = ("typeCode", "url", "emailAddress", "sysLogSettings")


class Client:
    """Client of the IPS API. One per account."""

    def __init__(self, settings: Settings, http: Http) -> None:
        self.settings = settings
        self.http = http
        self.bearer = Bearer(http, self.login)
        self.api = Api(http, self.bearer, settings.ips_url, self.check_reply)
        for name in (settings.json_timezone, settings.syslog_timezone):
            zone(name)  # ConfigError for an unknown one
        if settings.servers and not settings.account:
            raise ConfigError("`servers` needs the `account` that they belong to")
        if settings.servers and not (settings.username and settings.password):
            raise ConfigError("`servers` needs `username` and `password`")

    # Authentication

    def login(self) -> Tuple[str, Millis]:
        """Return a new token and how long to use it. The vendor's tokens expire after two weeks;
        the response does not say so.

        "In order to use the IPS-API you must retrieve a bearer token from CLC."
        """
        settings = self.settings
        if not settings.username or not settings.password:
            raise ConfigError("the API needs `username` and `password`")
        request = self.http.post(
            f"{settings.login_url}/v2/authentication/login",
            {"username": settings.username, "password": settings.password},
        )
        reply = self.http.ask(request)
        if reply.status in (400, 401, 403):  # 400: wrong user name or password
            raise AuthError(
                f"{error_text(request, reply)}; check `username` and `password`",
                f"{request.line}: {reply.status}",
                reply.status,
            )
        self.check_reply(request, reply)
        token = token_of(request, json_of(request, reply), "bearerToken")
        return token, settings.token_days * DAY

    # Install, uninstall

    def install(self, host: str) -> bool:
        """Install the agent; return False if it is installed already.

        "Installs an IPS agent on the designated host."
        """
        body = {"hostName": host, "accountAlias": self.account()}
        reply = self.call("POST", "app/", body, accept=(409,))
        return reply.status != 409

    def uninstall(self, host: str) -> None:
        """Remove the agent. The DELETE request has a body.

        "Uninstalls an IPS agent from a designated host."
        """
        self.call("DELETE", "app/", {"hostName": host, "accountAlias": self.account()})

    # Notification destinations

    def destinations(self, server: str) -> List[Dict[str, Any]]:
        """Return the destinations as received, with unknown keys. A 404 without "exist" means that
        none is set."""
        reply = self.call("GET", self.notifications_path(server), accept=(404,))
        if reply.status == 404:
            text = redact(read_error(reply), [self.bearer.text])
            if "exist" in text.lower():  # the server does not, rather than its destinations
                raise ConfigError(text, f"notifications of {server}", 404)
            return []
        body = json_of(Request("GET", server), reply)
        if not isinstance(body, list):
            return []
        return [destination for destination in body if isinstance(destination, dict)]

    def set_destinations(self, server: str, wanted: List[Dict[str, Any]]) -> None:
        """Replace the whole list. A 400 is tried again without the keys that the page does not
        document."""
        path = self.notifications_path(server)
        reply = self.call("PUT", path, wanted, accept=(400,))
        if reply.status != 400:
            return
        documented = [
            {name: value for name, value in destination.items() if name in DOCUMENTED_KEYS}
            for destination in wanted
        ]
        if documented == wanted:
            # the URL of a webhook is a secret, too
            urls = [str(destination["url"]) for destination in wanted if destination.get("url")]
            raise ConfigError(
                redact(read_error(reply), [self.bearer.text, *urls]),
                f"notifications of {server}: 400",
                400,
            )
        self.call("PUT", path, documented)

    def notifications_path(self, server: str) -> str:
        return f"notifications/{quote(self.account(), safe='')}/{quote(server, safe='')}"

    def account(self) -> str:
        """Return the account alias; ConfigError if it is not set."""
        if not self.settings.account:
            raise ConfigError("the API needs the `account` alias")
        return self.settings.account

    # Authenticated calls

    def call(self, method: str, path: str, body: Any = None, accept: Tuple[int, ...] = ()) -> Reply:
        """Return a success or one of the accepted statuses; raise for every other one. A 401 is
        tried again once, with a new token."""
        url = f"{self.settings.ips_url}/ips/api/{path}"
        return self.api.send(self.http.request(method, url, body), accept)

    def check_reply(self, request: Request, reply: Reply) -> None:
        """Raise for anything but a success without HTML."""
        raise_for_status(
            request, reply, self.http.now(), SUCCESS, reason=error_text(request, reply)
        )


def error_text(request: Request, reply: Reply) -> str:
    """Return the text of an error response, without the secrets of the request."""
    return redact(read_error(reply), request_secrets(request))


def read_error(reply: Reply) -> str:
    """Return the text of an error response in any of the vendor's forms: modelState, message,
    error, a list of messages, or plain text."""
    try:
        body = reply.json()
    except (ValueError, RecursionError, Malformed):
        text = reply.body.decode("utf-8", "replace").strip()
        return "refused" if not text or reply.is_html else text
    if isinstance(body, dict):
        model_state = body.get("modelState")
        if isinstance(model_state, dict) and model_state:
            return "; ".join(_model_state_messages(model_state))
        body = body.get("message") or body.get("error") or "refused"
    if isinstance(body, list):
        messages = [
            str(item.get("message", item) if isinstance(item, dict) else item) for item in body
        ]
        body = "; ".join(messages) or "refused"
    return str(body)


def _model_state_messages(model_state: Mapping[str, Any]) -> Iterator[str]:
    for value in model_state.values():
        for message in value if isinstance(value, list) else [value]:
            yield str(message)


# The destinations as an input


def units(client: Client, settings: Settings) -> List[Tuple[str, str]]:
    """Return one (dataset, server) per monitored server."""
    return [(DESTINATION.name, server) for server in settings.servers]


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Yield the changes since the last read. The first read is the baseline."""
    read_at = yield from query_time(DESTINATION, cursor, now)
    current = client.destinations(unit.scope)
    saved = sorted({save(destination) for destination in current})
    here = sends_here(current, client.settings)
    before = None
    if "seen" in cursor:
        before = [SavedDestination(*fields) for fields in cursor["seen"]]
    changes = [*diff(before, saved), *diff_delivery(cursor.get("here"), here)]
    changed = [
        {"account": client.account(), "server": unit.scope, "asked": read_at, **change}
        for change in changes
    ]
    after = {"seen": [list(destination) for destination in saved], "here": here, "until": read_at}
    yield Batch(DESTINATION, changed, after, read_at)


def receive(settings: Settings, payload: Payload) -> Iterator[Records]:
    """Yield one batch with all events of a payload. What is not an event is a record, too, because
    the sender does not send it again."""
    yield Records(EVENT, *read(settings, payload))


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
    confirm=confirm,
    commands=COMMANDS,
    sources=("servers",),
    check_login=lambda client: client.bearer(),
)
