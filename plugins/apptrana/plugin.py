"""Indusface AppTrana WAF: the attack log and the portal's audit log, pulled through the SIEM API.

Follows the vendor's page "SIEM Integration through API". A comment in quotation marks is the vendor
speaking; one without is us.
"""

from __future__ import annotations

import base64
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Mapping, Set, Tuple
from urllib.parse import parse_qsl, urlsplit

from siemtap.core.errors import AuthError, ConfigError, Malformed, Retry
from siemtap.core.mapping import Record, rfc3339
from siemtap.core.model import Batch, Cursor, Plugin, Unit
from siemtap.core.windows import DAY, MINUTE, SECOND, Millis, Window, whole
from siemtap.edge.bearer import Bearer
from siemtap.edge.http import FORM, Http, Reply, Request, refuse
from siemtap.edge.quoted import without_secrets
from siemtap.edge.walk import MOST, Walk

from .manifest import Settings
from .mapping import ACTIVITY, ATTACK

RETENTION = 30 * DAY  # "details are available up to 30 days"
# a 400 for a window older than this is the vendor's memory, not our mistake
FORGOTTEN = 29 * DAY
NARROWEST = 1 * SECOND
MOST_ACTIONS = 20_000  # of a window: pages that never end are no audit log
MOST_SITES = 10_000  # of an account; each becomes a unit with a cursor
BLOCKED = (
    "the vendor's own firewall answered, and not the API: ask support whether this address is on"
    " the connector's allow-list, or set `user_agent`"
)
MODES = "client_credentials, basic, code"


class Client:
    """The calls of the API, in the order of the page. One per account; its threads share one
    token."""

    def __init__(self, settings: Settings, http: Http) -> None:
        self.settings, self.http = settings, http
        self.bearer = Bearer(http, self.get_auth_token, settings.token_margin)
        self.parallel = settings.concurrency  # halved to one where the service says "too many"

    # Authorization Code

    def authorize(self) -> str:
        """ "Authorisation code will be sent back in the query string of the pre-configured
        redirection URL."
        """
        mine = self.settings
        if mine.code:
            return mine.code
        request = self.http.get(f"{mine.url}/siem/v1/authorize", {"client_id": mine.client_id})
        reply = self.http.ask(request)
        found = dict(parse_qsl(urlsplit(reply.headers.get("location", "")).query))
        code = found.get(mine.code_parameter) or (
            next(iter(found.values())) if len(found) == 1 else ""
        )
        if not code:
            if not 300 <= reply.status < 400:
                self.understand(request, reply)
            raise AuthError(
                "the redirect carries no code for us to see; open the address yourself and put the"
                " code into `code`, or have the connector registered for client_credentials",
                f"{request.line}: {reply.status}",
            )
        return code

    # Generate Token

    def get_auth_token(self) -> Tuple[str, Millis]:
        """(the token, how long it lives)"""
        mine, url = self.settings, f"{self.settings.url}/siem/v1/getAuthToken"
        who = {"client_id": mine.client_id, "client_secret": mine.client_secret}
        if mine.auth == "basic":
            pair = base64.b64encode(f"{mine.client_id}:{mine.client_secret}".encode()).decode()
            request = Request("POST", url, {**FORM, "Authorization": f"Basic {pair}"})
        elif mine.auth == "code":
            request = self.http.form(url, {**who, "code": self.authorize()})
        else:
            request = self.http.form(url, {**who, "grant_type": "client_credentials"})
        try:
            reply = self.http.ask(request)
            self.understand(request, reply)
            said = reply.json()
        except (AuthError, ConfigError) as error:
            raise AuthError(
                f"no token by `auth: {mine.auth}` ({error.what}); check client_id/client_secret,"
                f" whether the connector was registered for another way ({MODES}), and whether this"
                " address is on its allow-list",
                error.where,
            ) from None
        except ValueError:
            raise Retry("a token was asked for, and the answer is no JSON", request.line) from None
        if (
            not isinstance(said, dict)
            or not isinstance(said.get("access_token"), str)
            or not said["access_token"]
        ):
            raise Retry("a token was asked for, and the answer has no access_token", request.line)
        return said["access_token"], lifetime(said.get("expires_in"))

    # Get Attack Details

    def get_attack_info(self, site: str, window: Window) -> List[Record]:
        """All the attacks of one window, website by website."""
        spell: Callable[[Millis], Any] = str if self.settings.time_as == "string" else int
        body = {"startTime": spell(window.start), "endTime": spell(window.stop)}
        if site:
            body["websiteName"] = site
        if self.settings.event_type != "all":
            body["eventType"] = self.settings.event_type
        said = self.ask("siem/v1/getAttackInfo", body)
        data = said.get("data") or []
        if not isinstance(data, list) or not ("successMessage" in said or "data" in said):
            raise Malformed("the answer has neither data nor a successMessage")
        if sum(map(how_many, data)) > MOST:
            raise Malformed(f"more than {MOST:,} attacks in one answer")
        return [record for row in data for record in attacks(row)]

    # The portal's audit log: on no page of the vendor's; known from a public script of 2022

    def get_activity(self, site: str, window: Window) -> List[Record]:
        """All the actions of a window of whole minutes, page by page."""
        actions: List[Any] = []
        before: Any = None
        pages = 0
        while True:
            offset = pages if self.settings.activity_offset_unit == "pages" else len(actions)
            body = {
                "startDate": minute(window.start),
                "endDate": minute(window.stop),
                "offSet": offset,
                "maxResult": self.settings.activity_page,
            }
            said = self.ask("siem/v1/getActivity", {**body, "websiteName": site} if site else body)
            result = said.get("result")
            page = result.get("actions") if isinstance(result, dict) else result
            if not isinstance(page, list):
                if page is None and "messages" in said:
                    page = []
                else:
                    raise Malformed("the answer has no result.actions")
            if page and page == before:
                raise Malformed(
                    f"offSet {offset} gave the page before once more; check `activity_offset_unit`"
                )
            actions += page
            if len(actions) > MOST_ACTIONS:
                raise Retry(
                    f"more than {MOST_ACTIONS:,} actions in one window",
                    "siem/v1/getActivity",
                    narrower=True,
                )
            before, pages = page, pages + 1
            if len(page) < self.settings.activity_page:
                return [{"websiteName": site, "action": action} for action in actions]

    # The list of sites

    def get_websites(self) -> List[str]:
        said = self.call(
            lambda token: self.http.get(
                f"{self.settings.url}/v2/website/get-websites", headers=token
            )
        )
        sites: Set[str] = set()
        for name in site_names(said):
            sites.add(name)
            if len(sites) > MOST_SITES:
                raise Malformed(
                    f"get-websites names more than {MOST_SITES:,} sites; list those to read under"
                    " `websites`"
                )
        if not sites:
            raise Malformed("get-websites names no site; list them under `websites`")
        return sorted(sites)

    # What all data calls share

    def ask(self, path: str, body: Mapping[str, Any]) -> Dict[str, Any]:
        said = self.call(
            lambda token: self.http.post(f"{self.settings.url}/{path}", body, headers=token)
        )
        if not isinstance(said, dict):
            raise Malformed("the answer is no object", path)
        if said.get("errorMessages"):
            raise Retry(
                "a success that says it failed:"
                f" {without_secrets(str(said['errorMessages']), [self.bearer.text])}",
                path,
            )
        return said

    def call(self, make: Callable[[Mapping[str, str]], Request]) -> Any:
        """With the token in the header; on 401 a fresh token, once."""
        token = self.bearer()
        try:
            return self.send(make({"Authorization": f"Bearer {token}"}))
        except AuthError as error:
            if error.status != 401:
                raise
        return self.send(make({"Authorization": f"Bearer {self.bearer(refused=token)}"}))

    def send(self, request: Request) -> Any:
        reply = self.http.ask(request)
        self.understand(request, reply)
        try:
            said = reply.json()
        except (ValueError, RecursionError) as error:
            raise Malformed(
                f"the answer is no JSON ({type(error).__name__}, {len(reply.body)} bytes)",
                request.line,
            ) from None
        self.parallel = min(self.settings.concurrency, self.parallel * 2)
        return said

    def understand(self, request: Request, reply: Reply) -> None:
        if reply.status == 406 or (reply.is_html and reply.status in (200, 403)):
            raise Retry(
                BLOCKED,
                f"{request.line}: {reply.status}",
                after=self.settings.interval,
                status=reply.status,
            )
        if reply.status in (429, 503):
            self.parallel = 1
        refuse(request, reply, self.http.now())


def lifetime(expires_in: Any) -> Millis:
    """From seconds; "approximately 24 hours" where the answer does not say."""
    try:
        return max(0, int(float(expires_in) * SECOND))
    except (TypeError, ValueError, OverflowError):
        return DAY


def how_many(row: Any) -> int:
    """Return how many attacks a website's row holds, before anything is made of them."""
    attacks = row.get("attacks") if isinstance(row, dict) else None
    return len(attacks) if isinstance(attacks, list) else 0


def attacks(row: Any) -> List[Record]:
    """One website's attacks, each with the name of its website. What is no object is handed on
    as it is."""
    if not isinstance(row, dict) or not isinstance(row.get("attacks") or [], list):
        raise Malformed("data is no list of websites with their attacks")
    site = row.get("websiteName")
    return [
        {"websiteName": site, **attack} if isinstance(attack, dict) else attack
        for attack in row.get("attacks") or []
    ]


def site_names(said: Any) -> Iterator[str]:
    """Names from any list of texts, or of objects that hold one; the vendor publishes no shape."""
    if isinstance(said, dict):
        for value in said.values():
            yield from site_names(value)
    for item in said if isinstance(said, list) else ():
        name = (
            next(
                (
                    item[key]
                    for key in ("websiteName", "website", "name", "domain", "hostName")
                    if item.get(key)
                ),
                None,
            )
            if isinstance(item, dict)
            else item
        )
        if isinstance(name, str) and name.strip():
            yield name.strip()


def minute(moment: Millis) -> str:
    return rfc3339(moment)[:16] + "Z"


def units(client: Client, settings: Settings) -> Iterator[Tuple[str, str]]:
    """One for each dataset and site. A chosen event type has a cursor of its own: the scope says
    so."""
    sites = settings.websites or (client.get_websites() if settings.discover_websites else [""])
    for site in sites:
        if "attack" in settings.datasets:
            yield (
                ATTACK.name,
                (site if settings.event_type == "all" else f"{site}|{settings.event_type}"),
            )
        if "activity" in settings.datasets:
            yield ACTIVITY.name, site


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Walk from the cursor, overlap first, to the present, one window to a batch."""
    wish, site = client.settings, unit.scope.partition("|")[0]
    if unit.dataset == ATTACK.name:
        return Walk(
            ATTACK,
            unit.scope,
            partial(client.get_attack_info, site),
            wish,
            client.http.now,
            wish.window,
            NARROWEST,
            1,
            client.parallel,
            RETENTION,
            FORGOTTEN,
            lambda records: len(records) >= wish.split_at,
        ).batches(cursor, now)
    return Walk(
        ACTIVITY,
        unit.scope,
        partial(client.get_activity, site),
        wish,
        client.http.now,
        whole(wish.activity_window, MINUTE),
        3 * MINUTE,
        MINUTE,
        client.parallel,
        RETENTION,
        FORGOTTEN,
    ).batches(cursor, now)


PLUGIN = Plugin(
    "apptrana",
    Settings,
    (ATTACK, ACTIVITY),
    connect=Client,
    units=units,
    collect=collect,
    title="Indusface AppTrana",
    portal="https://tas.indusface.com",
    categories=("web_application_firewall",),
    addon="indusface-apptrana",
    greet=lambda client: client.bearer(),
)
