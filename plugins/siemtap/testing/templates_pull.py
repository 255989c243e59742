"""The files of a new plugin that is pulled: `windows`, and `cursor`."""

from __future__ import annotations

from typing import Dict

from .templates import EVENTS, RECORD

MANIFEST = '''"""The settings of @Title@, as administrators read them."""

from __future__ import annotations

from dataclasses import dataclass

from siemtap.core.manifest import duration, secret, url


@dataclass(frozen=True)
class Settings:
    """The settings of an input."""

    api_key: str = secret("API key", help="Where to find it in the vendor's portal.")
    url: str = url("API URL", "https://api.example.com", help="The base URL of the API.")
    interval: int = duration("Interval", "60s", least="1s", help="How often to poll the API.")
    lag: int = duration(
        "Lag", "10s", help="Read only events older than this, in case clocks differ."
    )
    overlap: int = duration(
        "Overlap", "120s", help="How far back each poll reads again, for events that arrive late."
    )
    lookback: int = duration("Lookback", "24h", help="How far back the first run reads.")
'''

SKIP_AFTER = """    skip_after: int = duration(
        "Skip after",
        "24h",
        help="Skip a time range that stays unreadable for so long; an event names it.",
    )
"""

PLUGIN_HEAD = '''"""@Title@: events, pulled from its API.

Follows the vendor's API reference: its order, its names. Comments in quotation marks quote it.
"""

from __future__ import annotations

'''

PLUGIN_END = """

PLUGIN = Plugin(
    "@name@",
    Settings,
    (EVENT,),
    connect=Client,
    units=units,
    collect=collect,
    title="@Title@",
)
"""

WINDOWS = '''from typing import Iterator, List, Tuple

from siemtap.core.model import Batch, Cursor, Plugin, Unit
from siemtap.core.rows import Record
from siemtap.core.windows import HOUR, SECOND, Millis, Window
from siemtap.edge.client.http import Http
from siemtap.edge.client.replies import member_of
from siemtap.edge.client.walk import Walk

from .manifest import Settings
from .mapping import EVENT

WIDEST = 1 * HOUR  # the widest time range of one query
NARROWEST = 1 * SECOND  # a time range that is too full or too slow is halved down to this


class Client:
    """The API's requests, in the order of its reference."""

    def __init__(self, settings: Settings, http: Http) -> None:
        self.settings, self.http = settings, http

    def get_events(self, window: Window) -> List[Record]:
        """Return the events of a time range."""
        query = {"from": str(window.start), "to": str(window.stop)}
        headers = {"Authorization": f"Bearer {self.settings.api_key}"}
        request = self.http.get(f"{self.settings.url}/events", query, headers)
        events: List[Record] = member_of(request, self.http.json(request), "events", list)
        return events


def units(client: Client, settings: Settings) -> Iterator[Tuple[str, str]]:
    yield EVENT.name, ""


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Query window by window, from the cursor to now, the overlap first."""
    walk = Walk(
        dataset=EVENT,
        scope=unit.scope,
        fetch=client.get_events,
        settings=client.settings,
        clock=client.http.now,
        widest=WIDEST,
        narrowest=NARROWEST,
    )
    return walk.batches(cursor, now)
'''

CURSOR = '''from typing import Iterator, List, Tuple

from siemtap.core.convert import rfc3339
from siemtap.core.model import Batch, Cursor, Plugin, Unit
from siemtap.core.rows import Record
from siemtap.core.windows import Millis, Window
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import Request, next_url
from siemtap.edge.client.pages import Page, Pages
from siemtap.edge.client.replies import member_of

from .manifest import Settings
from .mapping import EVENT

LIMIT = 100  # events of a page


class Client:
    """The API's requests, in the order of its reference."""

    def __init__(self, settings: Settings, http: Http) -> None:
        self.settings, self.http = settings, http

    def first_page(self, window: Window) -> Page:
        """Return the first page of a time range."""
        query = {
            "since": rfc3339(window.start),
            "until": rfc3339(window.stop),
            "limit": str(LIMIT),
        }
        return self.get_page(self.http.get(f"{self.settings.url}/events", query))

    def next_page(self, link: str) -> Page:
        """Return the page of a link."""
        return self.get_page(self.http.get(link))

    def get_page(self, request: Request) -> Page:
        headers = {**request.headers, "Authorization": f"Bearer {self.settings.api_key}"}
        body = self.http.json(request._replace(headers=headers))
        items: List[Record] = member_of(request, body, "items", list)
        return Page(items, next_url(request, body.get("next")))


def units(client: Client, settings: Settings) -> Iterator[Tuple[str, str]]:
    yield EVENT.name, ""


def collect(client: Client, unit: Unit, cursor: Cursor, now: Millis) -> Iterator[Batch]:
    """Go on with the cursor's link, or query the time since, the overlap first."""
    pages = Pages(
        dataset=EVENT,
        scope=unit.scope,
        first=client.first_page,
        follow=client.next_page,
        settings=client.settings,
        clock=client.http.now,
    )
    return pages.read(cursor, now)
'''

SIMULATOR_HEAD = '''"""A simulator of @Title@, with invented data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Set, Tuple

from siemtap.core.convert import @times@
from siemtap.core.identity import identify
from siemtap.core.windows import MINUTE, Millis
from siemtap.testing.vendor import Call, CommonKnobs, Route, SimulatedVendor

API_KEY = "demo-key"


@dataclass
class Knobs(CommonKnobs):
    """What may differ in the real service; each default is the friendliest."""

    late: Tuple[float, ...] = (0.0,)  # seconds until an event can be read, in turn
@knobs@

@dataclass
class Simulator(SimulatedVendor):
    """The vendor: its calls, and the events that they return."""

    knobs: Knobs = field(default_factory=Knobs)

    def settings(self, url: str) -> Dict[str, Any]:
        return {"url": url, "api_key": API_KEY}

    def routes(self) -> Tuple[Route, ...]:
        return (Route("GET", "/events", self.get_events),)

    def check(self, call: Call) -> None:
        if call.token != API_KEY:
            raise self.refusal(401, "unauthorised")

'''

GET_WINDOW = """    def get_events(self, call: Call) -> Any:
        start, stop = int(call.query["from"]), int(call.query["to"])
        return {"events": self.readable(start, stop, call.now)}
"""

GET_PAGE = """    def get_events(self, call: Call) -> Any:
        start, stop = (millis_of(call.query[name]) for name in ("since", "until"))
        first = int(call.query.get("first", 0))
        items = self.readable(start, stop, call.now)
        after = first + self.knobs.page
        link = None
        if len(items) > after:
            link = f"/events?since={call.query['since']}&until={call.query['until']}&first={after}"
        return {"items": items[first:after], "next": link}
"""

READABLE = '''
    def readable(self, start: Millis, stop: Millis, now: Millis) -> List[Dict[str, Any]]:
        """Return the events of start <= time < stop that can be read now, one a minute."""
        return [
            self.event(minute)
            for minute in range(start // MINUTE, stop // MINUTE + 1)
            if start <= minute * MINUTE < stop and self.readable_at(minute) <= now
        ]

    def readable_at(self, minute: int) -> float:
        """Return when the event of a minute can be read."""
        return minute * MINUTE + self.knobs.late[minute % len(self.knobs.late)] * 1000
'''

LEDGER = """
    def ledger(self, now: Millis, start: Millis = 0, stop: Millis = 0) -> Set[str]:
        events = self.readable(start + 1, stop or now, now)
        return {identify("@name@.event", [event["id"]]) for event in events}
"""

ANSWER = """
HTTP/1.1 200
Content-Type: application/json

"""
WINDOW_EXCHANGE = (
    "GET https://api.example.com/events?from=1772618280000&to=1772618400000\n"
    f"Authorization: Bearer k3y\n{ANSWER}"
    f'{{"events": [{RECORD}]}}\n'
)
RANGE = "since=2026-03-04T09%3A58%3A00.000Z&until=2026-03-04T10%3A00%3A00.000Z&limit=100"
PAGE_EXCHANGE = (
    f"GET https://api.example.com/events?{RANGE}\nAuthorization: Bearer k3y\n{ANSWER}"
    f'{{"items": [{RECORD}], "next": "/events?cursor=c2"}}\n'
    "###\n"
    f"GET https://api.example.com/events?cursor=c2\nAuthorization: Bearer k3y\n{ANSWER}"
    '{"items": [], "next": null}\n'
)
GIVEN = """{
 "settings": {"api_key": "k3y", "lookback": "10s", "lag": "0s", "overlap": "110s"},
 "dataset": "@name@.event",
 "now": "2026-03-04T10:00:00.000Z"
}
"""


def _simulator(get: str, times: str, knobs: str) -> str:
    head = SIMULATOR_HEAD.replace("@times@", times).replace("@knobs@", knobs)
    return head + get + READABLE + EVENTS + LEDGER


FILES_OF_WINDOWS: Dict[str, str] = {
    "manifest.py": MANIFEST + SKIP_AFTER,
    "plugin.py": PLUGIN_HEAD + WINDOWS + PLUGIN_END,
    "simulator.py": _simulator(GET_WINDOW, "rfc3339", ""),
    "cases/an_event/given.json": GIVEN,
    "cases/an_event/exchange.http": WINDOW_EXCHANGE,
}
FILES_OF_CURSOR: Dict[str, str] = {
    "manifest.py": MANIFEST,
    "plugin.py": PLUGIN_HEAD + CURSOR + PLUGIN_END,
    "simulator.py": _simulator(
        GET_PAGE, "millis_of, rfc3339", "    page: int = 10  # events of a page\n"
    ),
    "cases/an_event/given.json": GIVEN,
    "cases/an_event/exchange.http": PAGE_EXCHANGE,
}
