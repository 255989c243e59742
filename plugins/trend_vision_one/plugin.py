"""Trend Vision One: Workbench alerts and Observed Attack Techniques, pulled from its API v3.0.

Follows the API reference, in its order. A comment in quotation marks quotes it.
"""

from __future__ import annotations

from typing import Any, Iterator, List, Tuple

from siemtap.core.convert import rfc3339
from siemtap.core.errors import AuthError
from siemtap.core.model import Batch, Cursor, Plugin, Unit
from siemtap.core.rows import Record
from siemtap.core.windows import DAY, HOUR, MINUTE, SECOND, Millis, Window, whole
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import Request, next_url
from siemtap.edge.client.pages import LinkExpired, Page, Pages
from siemtap.edge.client.replies import member_of

from .manifest import HOSTS, Settings
from .mapping import ALERT, DETECTION

TOP = "200"  # detections of a page; the most. A page of alerts always has ten.
# An agent that was offline sends old detections. "The data retrieval time range cannot be greater
# than 365 days."
DETECTED_BEFORE = 30 * DAY


class Client:
    """Client of the API. One per account."""

    def __init__(self, settings: Settings, http: Http) -> None:
        self.settings, self.http = settings, http
        self.url = settings.url or HOSTS[settings.region]

    # Workbench: get alerts list

    def get_alerts(self, window: Window) -> Page:
        """Return the first page of the alerts that were created or changed in a time range."""
        query = {
            "startDateTime": utc(window.start),
            "endDateTime": utc(window.stop),
            "dateTimeTarget": "updatedDateTime",
            "orderBy": "updatedDateTime asc",
        }
        return self.get_alerts_page(self.http.get(f"{self.url}/v3.0/workbench/alerts", query))

    def get_next_alerts(self, link: str) -> Page:
        """Return the next page. LinkExpired if an alert has left the time range, because it was
        changed: the pages count alerts, so that those behind it have moved."""
        count, _, link = link.partition(" ")
        return self.get_alerts_page(self.http.get(link), count)

    def get_alerts_page(self, request: Request, count: str = "") -> Page:
        body = self.ask(request, self.settings.alert_filter)
        page = page_of(request, body)
        total = str(body.get("totalCount"))
        if count and count != total:
            raise LinkExpired("an alert was changed while the pages were read", request.line)
        return page._replace(link=page.link and f"{total} {page.link}")

    # Observed Attack Techniques: get events

    def get_detections(self, window: Window) -> Page:
        """Return the first page of the detections that were ingested in a time range."""
        query = {
            "detectedStartDateTime": utc(window.start - DETECTED_BEFORE),
            "detectedEndDateTime": utc(self.http.now() - self.settings.lag),
            "ingestedStartDateTime": utc(window.start),
            "ingestedEndDateTime": utc(window.stop),
            "top": TOP,
        }
        return self.get_detections_page(self.http.get(f"{self.url}/v3.0/oat/detections", query))

    def get_next_detections(self, link: str) -> Page:
        """Return the next page."""
        return self.get_detections_page(self.http.get(link))

    def get_detections_page(self, request: Request) -> Page:
        return page_of(request, self.ask(request, self.settings.detection_filter))

    # All calls

    def ask(self, request: Request, wanted: str) -> Any:
        """Return the JSON of an answer. `wanted`: a filter. "Include this parameter in every
        request that generates paginated output." """
        headers = {**request.headers, "Authorization": f"Bearer {self.settings.api_key}"}
        if wanted:
            headers["TMV1-Filter"] = wanted
        try:
            return self.http.json(request._replace(headers=headers))
        except AuthError as error:
            place = "`url`" if self.settings.url else f"`region: {self.settings.region}`"
            raise AuthError(
                f"{error.message}; check `api_key`, the permissions of its role, and {place}: a key"
                " belongs to one region",
                error.where,
                error.status,
            ) from None

    def check_login(self) -> None:
        """Query the alerts of one second."""
        now = self.http.now() - self.settings.lag
        self.get_alerts(Window(now - SECOND, now))


def page_of(request: Request, body: Any) -> Page:
    """Return the page that an answer holds."""
    items: List[Record] = member_of(request, body, "items", list)
    return Page(items, next_url(request, body.get("nextLink")))


def utc(moment: Millis) -> str:
    """Return a time as the API reads it: whole seconds, `Z`."""
    return rfc3339(whole(moment, SECOND))[:19] + "Z"


def units(client: Client, settings: Settings) -> Iterator[Tuple[str, str]]:
    """Yield (dataset, scope) of each dataset that is collected."""
    for name in settings.datasets:
        yield f"trend_vision_one.{name}", ""


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Go on with the cursor's link, or query the time since, the overlap first."""
    is_alert = unit.dataset == ALERT.name
    pages = Pages(
        dataset=ALERT if is_alert else DETECTION,
        scope=unit.scope,
        first=client.get_alerts if is_alert else client.get_detections,
        follow=client.get_next_alerts if is_alert else client.get_next_detections,
        settings=client.settings,
        clock=client.http.now,
        widest=30 * MINUTE if is_alert else 1 * HOUR,
        grain=SECOND,
    )
    return pages.read(cursor, now)


PLUGIN = Plugin(
    name="trend_vision_one",
    title="Trend Vision One",
    categories=("edr_xdr",),
    settings=Settings,
    datasets=(ALERT, DETECTION),
    connect=Client,
    units=units,
    collect=collect,
    check_login=Client.check_login,
    sources=("datasets",),
)
