"""The frame of a vendor's simulator: it stores each request, plays faults, finds the function that
answers, and writes the response.

A vendor's simulator adds what is the vendor's: its knobs, its routes, its answers, its events.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import cache
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple
from urllib.parse import parse_qsl, unquote, urlsplit

from ..core.windows import Millis
from ..edge.client.messages import Request
from .simulation import Answer, Fault, Sent

MAX_REQUESTS = 100_000  # that a simulator remembers


@dataclass
class CommonKnobs:
    """What may differ in every real service. Each default is the most helpful behaviour."""

    delay: float = 0.0  # seconds that every call takes
    skew: float = 0.0  # seconds by which the service's clock, as in its Date header, is ahead
    gzip: bool = False
    bom: bool = False  # a success begins with a byte order mark
    wrong_content_type: int = 415  # 400: status for a body that is not declared as JSON


class Call(NamedTuple):
    """A request, as the functions of a simulator read it."""

    name: str  # the last fixed segment of the route's path: faults and counts go by it
    request: Request
    now: Millis

    def header(self, name: str) -> str:
        """Return a header by its name, in upper or lower case; empty if there is none."""
        headers = {known.lower(): value.strip() for known, value in self.request.headers.items()}
        return headers.get(name.lower(), "")

    @property
    def query(self) -> Dict[str, str]:
        return dict(parse_qsl(urlsplit(self.request.url).query))

    @property
    def form(self) -> Dict[str, str]:
        return dict(parse_qsl(self.request.body.decode()))

    @property
    def token(self) -> str:
        """Return the token of `Authorization: Bearer`; empty if there is none."""
        scheme, _, token = self.header("authorization").partition(" ")
        return token if scheme == "Bearer" else ""


class Route(NamedTuple):
    """A call of the API. `path`: the end of the URL's path; each `{}` in it is a segment that
    `serve` gets, too. `serve(call, …)` returns an Answer, or the JSON of a success."""

    method: str
    path: str
    serve: Callable[..., Any]

    @property
    def name(self) -> str:
        """Return the last fixed segment of the path."""
        return self.path.replace("/{}", "").rpartition("/")[2]


class Refused(Exception):
    """Ends a call with an error response."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass
class SimulatedVendor:
    """A simulated vendor: `answer` maps a request and a time to the response."""

    knobs: Any = field(default_factory=CommonKnobs)
    faults: List[Fault] = field(default_factory=list)
    requests: List[Request] = field(default_factory=list)
    counts: Dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()

    # What a vendor adds

    def settings(self, url: str) -> Dict[str, Any]:
        """Return the settings of an input that reads from this simulator."""
        raise NotImplementedError

    def routes(self) -> Tuple[Route, ...]:
        """Return the calls of the API."""
        raise NotImplementedError

    def ledger(self, now: Millis, start: Millis = 0, stop: Millis = 0) -> Set[str]:
        """Return the ids of the events readable now, of start < time < `stop`, or `now`."""
        raise NotImplementedError

    def check(self, call: Call) -> None:
        """Raise Refused for a call that the vendor does not let in."""

    def error(self, status: int, text: str) -> Answer:
        """Return an error response in the vendor's shape."""
        return json_answer({"error": text}, status)

    # The frame

    def answer(self, request: Request, now: Millis) -> Answer:
        """Return the response to one request, or the next fault that is set for its call."""
        path = urlsplit(request.url).path.rstrip("/")
        matches = [
            (route, match) for route in self.routes() if (match := _pattern(route.path)(path))
        ]
        call = Call(matches[0][0].name if matches else path.rpartition("/")[2], request, now)
        fault = self._record(call)
        answer = fault.answer(now) if fault else self._serve(call, matches)
        date = formatdate(now / 1000 + self.knobs.skew, usegmt=True)
        return answer._replace(
            headers={"Date": date, **answer.headers},
            delay=max(answer.delay, self.knobs.delay),
        )

    def _record(self, call: Call) -> Optional[Fault]:
        """Count and store a request; return the fault that is due for it, if any."""
        with self.lock:
            self.counts[call.name] = self.counts.get(call.name, 0) + 1
            if len(self.requests) < MAX_REQUESTS:
                self.requests.append(call.request)
            for fault in self.faults:
                if fault.call in ("", call.name) and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def _serve(self, call: Call, matches: List[Tuple[Route, re.Match[str]]]) -> Answer:
        try:
            self.check(call)
            if not matches:
                raise self.refusal(404, "no such call")
            for route, match in matches:
                if route.method == call.request.method:
                    result = route.serve(call, *map(unquote, match.groups()))
                    break
            else:
                raise self.refusal(405, "method")
        except Refused as refused:
            return refused.answer
        answer = result if isinstance(result, Answer) else json_answer(result)
        if self.knobs.bom and answer.status == 200:
            answer = answer._replace(body=b"\xef\xbb\xbf" + answer.body)
        if self.knobs.gzip:
            headers = {**answer.headers, "Content-Encoding": "gzip"}
            answer = answer._replace(body=gzip.compress(answer.body, 1), headers=headers)
        return answer

    def refusal(self, status: int, text: str) -> Refused:
        """Return the exception that ends a call with an error response."""
        return Refused(self.error(status, text))

    def read_json(self, call: Call) -> Any:
        """Return the JSON of a call's body. Refused if it is not JSON, or not declared as such."""
        if call.header("content-type") != "application/json":
            raise self.refusal(self.knobs.wrong_content_type, "content type")
        try:
            return json.loads(call.request.body)
        except ValueError:
            raise self.refusal(400, "no JSON") from None


@cache
def _pattern(path: str) -> Callable[[str], Optional[re.Match[str]]]:
    return re.compile(".*" + re.escape(path).replace(r"\{\}", "([^/]+)")).fullmatch


def json_answer(body: Any, status: int = 200) -> Answer:
    """Return a JSON response."""
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


def within(edges: str, time: Millis, start: Millis, stop: Millis) -> bool:
    """Return whether a time lies in a window. `edges`: "[" or "(" and "]" or ")", whether its ends
    are part of it."""
    after_start = start <= time if edges[0] == "[" else start < time
    before_stop = time <= stop if edges[1] == "]" else time < stop
    return after_start and before_stop


def repeated(messages: Iterable[Sent], every: int) -> Iterator[Sent]:
    """Yield the messages, every n-th of them twice; 0: none."""
    for number, message in enumerate(messages, 1):
        yield message
        if every and number % every == 0:
            yield message
