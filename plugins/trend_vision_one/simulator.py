"""A simulator of the Trend Vision One API v3.0, as strict as its reference: forms of times, ranges,
names of parameters, a filter that must be in every request for a page, links that expire."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Set, Tuple
from urllib.parse import quote, urlsplit

from siemtap.core.convert import instant, millis_of
from siemtap.core.identity import identify
from siemtap.core.windows import DAY, HOUR, MINUTE, Millis
from siemtap.testing.simulation import Answer
from siemtap.testing.vendor import (
    Call,
    CommonKnobs,
    Route,
    SimulatedVendor,
    json_answer,
    within,
)

from .simulator_events import Timed, alerts, detections

API_KEY = "eyJhbGciOiJSUzI1NiJ9.a-simulated-key.c2lnbmF0dXJl"
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
ALERTS_OF_A_PAGE = 10
CODES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "AccessDenied",
    404: "NotFound",
    429: "TooManyRequests",
}
RANGE = "DateTime range"


@dataclass
class Knobs(CommonKnobs):
    """What the reference leaves open. Each default is the most helpful behaviour; comments list the
    other values."""

    edges: str = "[]"  # [), (], (): whether the ends of a time range belong to it
    late: Tuple[float, ...] = (0.0,)  # seconds until one is readable, in turn
    link_life: float = 3_600.0  # seconds; an older link is a 400
    expired: int = 400  # 404, 410: status of an expired link
    per_minute: int = 0  # requests a minute, the others are a 429; 0: any number
    retry_after: str = "30"  # "": the 429 has no Retry-After
    role: str = "all"  # none: the key's role may not view anything
    total: bool = True  # alerts have totalCount
    # A change while pages are read: the alerts behind it move to an earlier page.
    moves: bool = True
    link_host: str = ""  # the links lead to another host, such as https://other.example.com
    last_link: str = "missing"  # null, empty: nextLink of the last page
    odd: bool = True  # some records have unusual or invalid values


@dataclass
class Simulator(SimulatedVendor):
    """The vendor: its calls, and the alerts and detections that they return."""

    knobs: Knobs = field(default_factory=Knobs)
    asked: List[Millis] = field(default_factory=list)  # times of the last minute's requests

    def settings(self, url: str) -> Dict[str, Any]:
        return {"url": url, "api_key": API_KEY}

    def routes(self) -> Tuple[Route, ...]:
        return (
            Route("GET", "/v3.0/workbench/alerts", self.get_alerts),
            Route("GET", "/v3.0/oat/detections", self.get_detections),
        )

    def check(self, call: Call) -> None:
        if call.token != API_KEY:
            raise self.refusal(401, "Invalid token")
        if self.knobs.role == "none":
            raise self.refusal(403, "The role of the API key does not permit this call")
        with self.lock:
            self.asked = [time for time in self.asked if time > call.now - MINUTE]
            if not self.knobs.per_minute or len(self.asked) < self.knobs.per_minute:
                self.asked.append(call.now)
            else:
                refused = self.refusal(429, "Too many requests")
                if self.knobs.retry_after:
                    headers = {**refused.answer.headers, "Retry-After": self.knobs.retry_after}
                    refused.answer = refused.answer._replace(headers=headers)
                raise refused

    def error(self, status: int, text: str) -> Answer:
        return json_answer({"error": {"code": CODES.get(status, "Error"), "message": text}}, status)

    # Workbench: get alerts list

    def get_alerts(self, call: Call) -> Any:
        query = self.query_of(call)
        self.check_names(query, "startDateTime", "endDateTime", "dateTimeTarget", "orderBy")
        start, stop = self.time_range(query, "startDateTime", "endDateTime", call.now)
        target = query.get("dateTimeTarget", "createdDateTime")
        if target not in ("createdDateTime", "updatedDateTime"):
            raise self.refusal(400, f"dateTimeTarget: {target}")
        name, _, order = query.get("orderBy", "createdDateTime desc").partition(" ")
        if name not in ("createdDateTime", "updatedDateTime", "id", "score") or order not in (
            "asc",
            "desc",
        ):
            raise self.refusal(400, f"orderBy: {name} {order}")
        # A page shows the alerts as they were when the first one was read, if none moves.
        now = call.now if self.knobs.moves else query.get("now", call.now)
        items = [
            alert
            for alert in self.alerts_at(now, start, stop)
            if within(self.knobs.edges, millis(alert[target]), start, stop)
        ]
        items.sort(key=lambda alert: str(alert[name]), reverse=order == "desc")
        answer = self.page(call, query, items, ALERTS_OF_A_PAGE)
        if self.knobs.total:
            answer = {"totalCount": len(items), "count": len(answer["items"]), **answer}
        return answer

    # Observed Attack Techniques: get events

    def get_detections(self, call: Call) -> Any:
        query = self.query_of(call)
        names = [f"{prefix}{end}DateTime" for prefix in DETECTED for end in ("Start", "End")]
        self.check_names(query, *names, "top")
        detected = self.time_range(query, names[0], names[1], call.now, default=HOUR)
        width = call.now - detected[0]  # whenever they were ingested
        start, stop = self.time_range(query, names[2], names[3], call.now, default=width)
        top = query.get("top", "50")
        if top not in ("50", "100", "200"):
            raise self.refusal(400, f"top: {top} is not one of 50, 100, 200")
        items = [
            detection
            for time, detection in self.readable(detections(start, stop, self.knobs.odd), call.now)
            if within(self.knobs.edges, time, start, stop)
            and within(self.knobs.edges, millis(detection["detectedDateTime"]), *detected)
        ]
        return self.page(call, query, items, int(top))

    # Pages

    def query_of(self, call: Call) -> Dict[str, Any]:
        """Return the query of a request, or that of the first page, if it has a skipToken."""
        token = call.query.get("skipToken")
        if token is None:
            return {**call.query, "made": call.now, "now": call.now}
        try:
            query: Dict[str, Any] = json.loads(base64.urlsafe_b64decode(token))
        except ValueError:
            raise self.refusal(400, "skipToken is invalid") from None
        if call.now - query["made"] > self.knobs.link_life * 1000:
            raise self.refusal(self.knobs.expired, "skipToken has expired")
        if query.pop("filter") != filter_of(call):
            raise self.refusal(400, "TMV1-Filter is not that of the first page")
        return query

    def page(
        self, call: Call, query: Mapping[str, Any], items: List[Any], most: int
    ) -> Dict[str, Any]:
        first = int(query.get("skip", 0))
        answer: Dict[str, Any] = {"items": items[first : first + most]}
        if first + most < len(items):
            token = {**query, "skip": first + most, "made": call.now, "filter": filter_of(call)}
            encoded = base64.urlsafe_b64encode(json.dumps(token).encode()).decode()
            parts = urlsplit(call.request.url)
            host = self.knobs.link_host or f"{parts.scheme}://{parts.netloc}"
            answer["nextLink"] = f"{host}{parts.path}?skipToken={quote(encoded)}"
        elif self.knobs.last_link != "missing":
            answer["nextLink"] = None if self.knobs.last_link == "null" else ""
        return answer

    # Parameters

    def check_names(self, query: Mapping[str, Any], *names: str) -> None:
        unknown = set(query) - {*names, "made", "now", "skip"}
        if unknown:
            raise self.refusal(400, f"unknown parameters: {', '.join(sorted(unknown))}")

    def time_range(
        self, query: Mapping[str, Any], first: str, last: str, now: Millis, default: Millis = DAY
    ) -> Tuple[Millis, Millis]:
        """Return the times of two parameters. Refused for another form than whole seconds in UTC,
        for a range that ends in the future, or is empty or longer than 365 days."""
        for name in (first, last):
            if name in query and not TIME.fullmatch(query[name]):
                raise self.refusal(400, f"{name}: {query[name]} is not yyyy-MM-ddThh:mm:ssZ")
        stop = millis(query[last]) if last in query else now
        start = millis(query[first]) if first in query else stop - default
        if stop > now:
            raise self.refusal(400, f"{last} is in the future")
        if not start < stop <= start + 365 * DAY:
            raise self.refusal(400, f"{first} to {last} is empty, or longer than 365 days")
        return start, stop

    # Data

    def readable(self, events: Any, now: Millis) -> List[Tuple[Millis, Dict[str, Any]]]:
        """Return those that can be read now, in the order of time."""
        late = [int(seconds * 1000) for seconds in self.knobs.late]
        return sorted(
            (event for event in events if event.time + late[event.time // 1000 % len(late)] <= now),
            key=by_time,
        )

    def alerts_at(self, now: Millis, start: Millis, stop: Millis) -> List[Dict[str, Any]]:
        """Return the alerts as they are now: each with its last change."""
        states = self.readable(alerts(start - 2 * HOUR, max(stop, now), self.knobs.odd), now)
        return list({alert["id"]: alert for _, alert in states}.values())

    def ledger(self, now: Millis, start: Millis = 0, stop: Millis = 0) -> Set[str]:
        """Return the ids of the detections, and of the alerts as they are now."""
        stop = stop or now
        return self.detection_ids(now, start, stop) | self.alert_ids(now, start, stop)

    def detection_ids(self, now: Millis, start: Millis, stop: Millis) -> Set[str]:
        return {
            identify("trend_vision_one.detection", [event["uuid"], event["ingestedDateTime"]])
            for time, event in self.readable(detections(start, stop, self.knobs.odd), now)
            if start < time < stop
        }

    def alert_ids(self, now: Millis, start: Millis, stop: Millis) -> Set[str]:
        return {
            identify("trend_vision_one.alert", [alert["id"], alert["updatedDateTime"]])
            for alert in self.alerts_at(now, start, stop)
            if start < millis(alert["updatedDateTime"]) < stop
        }


DETECTED = ("detected", "ingested")


def by_time(event: Timed) -> Millis:
    return event.time


def millis(text: str) -> Millis:
    return millis_of(instant(text))


def filter_of(call: Call) -> str:
    return hashlib.sha256(call.header("tmv1-filter").encode()).hexdigest()[:8]
