"""Indusface AppTrana WAF: the attack log and the portal's audit log, pulled through the SIEM API.

Follows the vendor's page "SIEM Integration through API", in its order. A comment in quotation marks
quotes the page.
"""

from __future__ import annotations

import base64
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Mapping, Set, Tuple
from urllib.parse import parse_qsl, urlsplit

from siemtap.core.convert import rfc3339
from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.model import Batch, Cursor, Plugin, Unit
from siemtap.core.rows import Record
from siemtap.core.windows import DAY, MINUTE, SECOND, Millis, Window, whole
from siemtap.edge.client.ahead import Throttle
from siemtap.edge.client.api import Api
from siemtap.edge.client.bearer import Bearer, token_of
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import FORM, Reply, Request
from siemtap.edge.client.quoted import redact
from siemtap.edge.client.replies import json_of, raise_for_status
from siemtap.edge.client.walk import MOST, Walk

from .manifest import Settings
from .mapping import ACTIVITY, ATTACK

RETENTION = 30 * DAY  # "details are available up to 30 days"
# A 400 for a window older than this means that the service has deleted it already.
FORGOTTEN = 29 * DAY
NARROWEST = 1 * SECOND
MAX_ACTIONS = 20_000  # of one window; a broken offset would page for ever
MAX_WEBSITES = 10_000  # of one account; each becomes a unit with its own cursor
BLOCKED = (
    "the vendor's firewall answered instead of the API: ask support whether this address is on"
    " the connector's allow-list, or set `user_agent`"
)
AUTH_METHODS = "client_credentials, basic, code"


class Client:
    """Client of the SIEM API, its calls in the order of the page. One per account; thread-safe,
    all threads share one token."""

    def __init__(self, settings: Settings, http: Http) -> None:
        self.settings = settings
        self.http = http
        self.bearer = Bearer(http, self.get_auth_token, settings.token_margin)
        self.api = Api(http, self.bearer, settings.url, self.check_reply)
        self.throttle = Throttle(settings.concurrency)
        self.requested: Set[str] = set()  # the websites that have a unit each

    # Authorization Code

    def authorize(self) -> str:
        """Return the authorization code: the configured one, or that of the redirect.

        "Authorisation code will be sent back in the query string of the pre-configured redirection
        URL."
        """
        settings = self.settings
        if settings.code:
            return settings.code
        request = self.http.get(
            f"{settings.url}/siem/v1/authorize", {"client_id": settings.client_id}
        )
        reply = self.http.ask(request)
        parameters = dict(parse_qsl(urlsplit(reply.headers.get("location", "")).query))
        code = parameters.get(settings.code_parameter, "")
        if not code and len(parameters) == 1:
            code = next(iter(parameters.values()))
        if not code:
            if not 300 <= reply.status < 400:
                self.check_reply(request, reply)
            raise AuthError(
                "the redirect contains no code; open the URL in a browser and copy the code that"
                " your redirect URL receives to `code`, or have the connector registered for"
                " client_credentials",
                f"{request.line}: {reply.status}",
            )
        return code

    # Generate Token

    def get_auth_token(self) -> Tuple[str, Millis]:
        """Return a new token and its lifetime."""
        request = self._token_request()
        reply = self.http.ask(request)
        try:
            self.check_reply(request, reply)
            body = json_of(request, reply)
        except (AuthError, ConfigError) as error:
            raise AuthError(
                f"no token by `auth: {self.settings.auth}` ({error.message}); check"
                " client_id/client_secret, whether the connector was registered for another way"
                f" ({AUTH_METHODS}), and whether this address is on its allow-list",
                error.where,
            ) from None
        return token_of(request, body, "access_token"), parse_lifetime(body.get("expires_in"))

    def _token_request(self) -> Request:
        settings = self.settings
        url = f"{settings.url}/siem/v1/getAuthToken"
        if settings.auth == "basic":
            credentials = f"{settings.client_id}:{settings.client_secret}".encode()
            encoded = base64.b64encode(credentials).decode()
            return Request("POST", url, {**FORM, "Authorization": f"Basic {encoded}"})
        fields = {"client_id": settings.client_id, "client_secret": settings.client_secret}
        if settings.auth == "code":
            return self.http.form(url, {**fields, "code": self.authorize()})
        return self.http.form(url, {**fields, "grant_type": "client_credentials"})

    # Get Attack Details

    def get_attack_info(self, website: str, window: Window) -> List[Record]:
        """Return all attacks of one window, by website. An empty `website` means all of them."""
        format_time: Callable[[Millis], Any] = str if self.settings.time_as == "string" else int
        body = {"startTime": format_time(window.start), "endTime": format_time(window.stop)}
        if website:
            body["websiteName"] = website
        if self.settings.event_type != "all":
            body["eventType"] = self.settings.event_type
        answer = self.post("siem/v1/getAttackInfo", body)
        data = answer.get("data") or []
        if not isinstance(data, list) or not ("successMessage" in answer or "data" in answer):
            raise Malformed("the response has neither data nor successMessage")
        if sum(map(count_attacks, data)) > MOST:
            raise Malformed(f"more than {MOST:,} attacks in one response")
        rows = [row for row in data if self._is_of(website, row)]
        if len(rows) < len(data) and sum(map(count_attacks, data)) >= self.settings.split_at:
            raise Retry(
                "the API ignores websiteName, and its answer may be cut",
                "siem/v1/getAttackInfo",
                narrower=True,
            )
        return [attack for row in rows for attack in read_attacks(row)]

    def _is_of(self, website: str, row: Any) -> bool:
        """Return whether a row belongs to the website that was requested.

        False for a row of another website that is collected by itself: an API that ignores
        `websiteName` would otherwise return each attack once for each website. A website that no
        unit requests may be another spelling of this one.
        """
        name = spelled(row.get("websiteName")) if isinstance(row, dict) else ""
        return not website or name == spelled(website) or name not in self.requested

    # The portal's audit log. The vendor's page does not describe it; the call is known from a
    # public script of 2022.

    def get_activity(self, website: str, window: Window) -> List[Record]:
        """Return all actions of a window of whole minutes, page by page."""
        actions: List[Any] = []
        previous: Any = None
        pages = 0
        while True:
            offset = pages if self.settings.activity_offset_unit == "pages" else len(actions)
            page = self._activity_page(website, window, offset)
            if page and page == previous:
                raise Malformed(
                    f"offSet {offset} returned the previous page again; check"
                    " `activity_offset_unit`"
                )
            actions += page
            if len(actions) > MAX_ACTIONS:
                raise Retry(
                    f"more than {MAX_ACTIONS:,} actions in one window",
                    "siem/v1/getActivity",
                    narrower=True,
                )
            previous = page
            pages += 1
            if len(page) < self.settings.activity_page:
                return [{"websiteName": website, "action": action} for action in actions]

    def _activity_page(self, website: str, window: Window, offset: int) -> List[Any]:
        body = {
            "startDate": format_minute(window.start),
            "endDate": format_minute(window.stop),
            "offSet": offset,
            "maxResult": self.settings.activity_page,
        }
        if website:
            body["websiteName"] = website
        answer = self.post("siem/v1/getActivity", body)
        result = answer.get("result")
        page = result.get("actions") if isinstance(result, dict) else result
        if page is None and "messages" in answer:
            return []
        if not isinstance(page, list):
            raise Malformed("the answer has no result.actions")
        return page

    # The list of websites

    def get_websites(self) -> List[str]:
        """Return the names of the account's websites, sorted."""
        url = f"{self.settings.url}/v2/website/get-websites"
        answer = self.api.json(self.http.get(url))
        websites: Set[str] = set()
        for name in find_website_names(answer):
            websites.add(name)
            if len(websites) > MAX_WEBSITES:
                raise Malformed(
                    f"get-websites returned more than {MAX_WEBSITES:,} websites; list those to"
                    " collect under `websites`"
                )
        if not websites:
            raise Malformed("get-websites returned no website; list them under `websites`")
        return sorted(websites)

    # Authenticated calls

    def post(self, path: str, body: Mapping[str, Any]) -> Dict[str, Any]:
        """Return the JSON object that the API answers. Retry for a success with errorMessages."""
        answer = self.api.json(self.http.post(f"{self.settings.url}/{path}", body))
        if not isinstance(answer, dict):
            raise Malformed("the response is not a JSON object", path)
        if answer.get("errorMessages"):
            messages = redact(str(answer["errorMessages"]), [self.bearer.text])
            raise Retry(f"status 200 with an error: {messages}", path)
        return answer

    def check_reply(self, request: Request, reply: Reply) -> None:
        """Raise for anything but a success in JSON. The vendor's own firewall answers 406, or
        HTML."""
        if reply.status == 406 or (reply.is_html and reply.status in (200, 403)):
            raise Retry(
                BLOCKED,
                f"{request.line}: {reply.status}",
                after=self.settings.interval,
                status=reply.status,
            )
        self.throttle.note(reply.status)
        raise_for_status(request, reply, self.http.now())


def parse_lifetime(expires_in: Any) -> Millis:
    """Return a token's lifetime from seconds; "approximately 24 hours" where they are missing."""
    try:
        return max(0, int(float(expires_in) * SECOND))
    except (TypeError, ValueError, OverflowError):
        return DAY


def spelled(website: Any) -> str:
    """Return a website's name for a comparison."""
    return website.strip().rstrip(".").lower() if isinstance(website, str) else ""


def count_attacks(row: Any) -> int:
    """Return the number of attacks in one website's row, before their records are built."""
    attacks = row.get("attacks") if isinstance(row, dict) else None
    return len(attacks) if isinstance(attacks, list) else 0


def read_attacks(row: Any) -> List[Record]:
    """Return one website's attacks, each with `websiteName`. Malformed for a row of another shape;
    an attack that is not an object stays as it is, for the mapping to report."""
    attacks = (row.get("attacks") or []) if isinstance(row, dict) else None
    if not isinstance(attacks, list):
        raise Malformed("data is not a list of websites with their attacks")
    website = row.get("websiteName")
    for attack in attacks:
        if isinstance(attack, dict):
            attack.setdefault("websiteName", website)  # of this answer alone: no copy is needed
    return attacks


def find_website_names(value: Any) -> Iterator[str]:
    """Yield website names from lists of texts or objects, at any depth of an object. The vendor
    publishes no shape."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from find_website_names(inner)
    if isinstance(value, list):
        for item in value:
            name = _website_name(item) if isinstance(item, dict) else item
            if isinstance(name, str) and name.strip():
                yield name.strip()


def _website_name(item: Mapping[str, Any]) -> Any:
    for key in ("websiteName", "website", "name", "domain", "hostName"):
        if item.get(key):
            return item[key]
    return None


def format_minute(moment: Millis) -> str:
    """Return a time without seconds, such as 2026-03-04T10:00Z."""
    return rfc3339(moment)[:16] + "Z"


def units(client: Client, settings: Settings) -> Iterator[Tuple[str, str]]:
    """Yield (dataset, scope) per website and dataset. The scope of attacks contains the event type,
    so that each type has its own cursor."""
    if settings.websites:
        websites: List[str] = list(settings.websites)
    else:
        websites = client.get_websites() if settings.discover_websites else [""]
    client.requested = set(map(spelled, websites))
    for website in websites:
        if "attack" in settings.datasets:
            scope = website
            if settings.event_type != "all":
                scope = f"{website}|{settings.event_type}"
            yield ATTACK.name, scope
        if "activity" in settings.datasets:
            yield ACTIVITY.name, website


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Walk from the cursor, overlap first, to the present, window by window."""
    settings = client.settings
    website = unit.scope.partition("|")[0]
    if unit.dataset == ATTACK.name:
        walk = Walk(
            dataset=ATTACK,
            scope=unit.scope,
            fetch=partial(client.get_attack_info, website),
            settings=settings,
            clock=client.http.now,
            widest=settings.window,
            narrowest=NARROWEST,
            grain=1,
            parallel=client.throttle.allowed,
            retention=RETENTION,
            forgotten=FORGOTTEN,
            is_cut=lambda records: len(records) >= settings.split_at,
        )
    else:
        walk = Walk(
            dataset=ACTIVITY,
            scope=unit.scope,
            fetch=partial(client.get_activity, website),
            settings=settings,
            clock=client.http.now,
            widest=whole(settings.activity_window, MINUTE),
            narrowest=3 * MINUTE,
            grain=MINUTE,
            parallel=client.throttle.allowed,
            retention=RETENTION,
            forgotten=FORGOTTEN,
        )
    return walk.batches(cursor, now)


PLUGIN = Plugin(
    name="apptrana",
    settings=Settings,
    datasets=(ATTACK, ACTIVITY),
    connect=Client,
    units=units,
    collect=collect,
    title="Indusface AppTrana",
    portal="https://tas.indusface.com",
    categories=("web_application_firewall",),
    addon="indusface-apptrana",
    check_login=lambda client: client.bearer(),
)
