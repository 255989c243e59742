"""The vendor, both halves: the API that manages agent and notifications, and the sender that pushes
and never tries twice.

What its page does not say is a knob.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import random
import re
import threading
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple
from urllib.parse import quote_plus, unquote, urlsplit

from siemtap.core.identity import identify
from siemtap.core.mapping import rfc3339
from siemtap.core.windows import DAY, Millis
from siemtap.edge.http import Request
from siemtap.runners.simulate import Answer, Fault, noted

RULES = (
    ("1000128", "Example Traversal Filter", "High"),
    ("1000552", "Generic Cross Site Scripting Prevention", "Medium"),
    ("1000608", "Generic SQL Injection Prevention", "Critical"),
    ("1005613", "Generic SQL Injection Prevention - 2", "High"),
    ("1006067", "Identified Too Many HTTP Requests", "Low"),
)
FORMATS = ("json", "array", "wrapper", "slack", "form", "deep_security", "cef", "cef_line")
NUMBERS = {"Critical": 10, "High": 8, "Medium": 6, "Low": 3}


@dataclass(frozen=True)
class Knobs:
    seed: int = 1
    rate: float = 0.01  # events a second
    formats: Tuple[str, ...] = FORMATS[:-1]  # the last has no time of its own
    twice: int = 0  # every so-manieth event is sent a second time
    username: str = "operator@example.com"
    password: str = "demo-password"
    account: str = "ACME"
    servers: Tuple[str, ...] = ("VA1ACMEWEB01", "VA1ACMEWEB02", "VA1ACMEDB01")
    token_life: float = 14 * 86_400.0  # seconds
    wrong_content_type: int = 415  # 400
    foreign_account: int = 403  # 404
    unknown_server: int = 404  # 400
    second_install: int = 204  # 409
    nothing_set: str = "list"  # 404
    interval_key: str = "intervalCode"  # IntervalCod
    reject_slack: bool = False
    reject_unknown_keys: bool = False
    quoted_numbers: bool = False  # are accepted
    delete_twice: int = 204  # 404
    error_style: str = "message"  # modelState, error, list, text, html, empty
    # another client changes the list between our question and our answer
    meddle: bool = False


class Sent(NamedTuple):
    """One thing pushed, and the ids of the events in it."""

    time: Millis
    body: bytes
    headers: Dict[str, str]
    channel: str  # webhook, syslog
    ids: Tuple[str, ...]


@dataclass
class Simulator:
    knobs: Knobs = field(default_factory=Knobs)
    faults: List[Fault] = field(default_factory=list)
    requests: List[Request] = field(default_factory=list)
    counts: Dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.tokens: Dict[str, Millis] = {}
        self.installed: Set[str] = set()
        self.destinations: Dict[str, List[Dict[str, Any]]] = {}
        self.issued = 0

    def settings(self, url: str) -> Dict[str, Any]:
        """What to configure an input with to read from here."""
        return {
            "login_url": url,
            "ips_url": url,
            "username": self.knobs.username,
            "password": self.knobs.password,
            "account": self.knobs.account,
            "servers": list(self.knobs.servers),
        }

    # The API

    def answer(self, request: Request, now: Millis) -> Answer:
        with self.lock:
            path = urlsplit(request.url).path
            call = (
                "login"
                if path.endswith("/authentication/login")
                else "app"
                if "/api/app" in path
                else "notifications"
            )
            fault = noted(self, call, request)
            if fault:
                return fault.answer(now)
            headers = {name.lower(): value for name, value in request.headers.items()}
            if call == "login":
                return self._login(request, headers, now)
            if not self._knows(headers.get("authorization", ""), now):
                return self._error(401, "no bearer token")
            if headers.get("content-type") != "application/json":
                return self._error(self.knobs.wrong_content_type, "content type")
            app = re.fullmatch(r".*/ips/api/app/?", path)
            place = re.fullmatch(r".*/ips/api/notifications/([^/]+)/([^/]+)", path)
            if app:
                return self._app(request)
            if place:
                return self._notifications(request, unquote(place[1]), unquote(place[2]))
            return self._error(404, "no such thing")

    def _login(self, request: Request, headers: Dict[str, str], now: Millis) -> Answer:
        if request.method != "POST" or headers.get("content-type") != "application/json":
            return self._error(self.knobs.wrong_content_type, "content type")
        said = _json(request.body)
        if not isinstance(said, dict) or (said.get("username"), said.get("password")) != (
            self.knobs.username,
            self.knobs.password,
        ):
            return self._error(400, "user name or password not recognised")
        self.issued += 1
        token = base64.b64encode(f"token {self.issued}".encode()).decode()
        self.tokens[token] = now + int(self.knobs.token_life * 1000)
        return _answer(
            200,
            {
                "userName": said["username"],
                "accountAlias": self.knobs.account,
                "locationAlias": "VA1",
                "roles": ["AccountAdmin"],
                "bearerToken": token,
            },
        )

    def _knows(self, authorization: str, now: Millis) -> bool:
        kind, _, token = authorization.partition(" ")
        return kind == "Bearer" and self.tokens.get(token, 0) > now

    def revoke(self) -> None:
        self.tokens.clear()

    def _app(self, request: Request) -> Answer:
        said = _json(request.body)
        if not isinstance(said, dict) or not {"hostName", "accountAlias"} <= set(said):
            return self._error(400, "hostName and accountAlias are required")
        refused = self._stranger(said["accountAlias"], said["hostName"])
        if refused:
            return refused
        if request.method == "POST":
            again = said["hostName"] in self.installed
            self.installed.add(said["hostName"])
            return (
                Answer(204)
                if not again or self.knobs.second_install == 204
                else self._error(self.knobs.second_install, "is installed already")
            )
        if request.method == "DELETE":
            self.installed.discard(said["hostName"])
            return Answer(204)
        return self._error(405, "method")

    def _stranger(self, account: str, server: str) -> Optional[Answer]:
        if account != self.knobs.account:
            return self._error(self.knobs.foreign_account, f"no rights on account {account}")
        return (
            None
            if server in self.knobs.servers
            else self._error(self.knobs.unknown_server, f"server {server} does not exist")
        )

    def _notifications(self, request: Request, account: str, server: str) -> Answer:
        refused = self._stranger(account, server)
        if refused:
            return refused
        there = self.destinations.get(server, [])
        if request.method == "GET":
            if not there and self.knobs.nothing_set == "404":
                return self._error(404, "no notification destinations")
            found = _answer(
                200,
                [
                    {
                        "url": "",
                        "emailAddress": "",
                        "sysLogSettings": None,
                        **one,
                        self.knobs.interval_key: "IMMEDIATE",
                    }
                    for one in there
                ],
            )
            if self.knobs.meddle and not any(
                one.get("emailAddress") == "meddler@example.com" for one in there
            ):
                self.destinations[server] = [
                    *there,
                    {"typeCode": "EMAIL", "emailAddress": "meddler@example.com"},
                ]
            return found
        if request.method == "DELETE":
            return (
                Answer(204)
                if self.destinations.pop(server, None) or self.knobs.delete_twice == 204
                else self._error(self.knobs.delete_twice, "nothing there")
            )
        if request.method != "PUT":
            return self._error(405, "method")
        said = _json(request.body)
        problem = (
            "a bare array is needed"
            if not isinstance(said, list)
            else next(filter(None, map(self._problem, said)), "")
        )
        codes = (
            [one.get("typeCode") for one in said if isinstance(one, dict)]
            if isinstance(said, list)
            else []
        )
        if problem or codes.count("WEBHOOK") > 1 or codes.count("SYSLOG") > 1:
            return self._error(400, problem or "at most one WEBHOOK and one SYSLOG")
        self.destinations[server] = [
            {
                name: value
                for name, value in one.items()
                if name != self.knobs.interval_key and value not in ("", None)
            }
            for one in said
        ]
        return Answer(204)

    def _problem(self, one: Any) -> str:
        if not isinstance(one, dict):
            return "an element is no object"
        if self.knobs.reject_unknown_keys and set(one) - {
            "url",
            "typeCode",
            "emailAddress",
            "sysLogSettings",
        }:
            return "unknown property"
        code = one.get("typeCode")
        if code not in ("WEBHOOK", "SLACK", "SYSLOG", "EMAIL") or (
            code == "SLACK" and self.knobs.reject_slack
        ):
            return f"typeCode {code} is not supported"
        if code == "EMAIL":
            return "" if one.get("emailAddress") else "emailAddress is required"
        if code != "SYSLOG":
            return "" if one.get("url") else "url is required"
        said = one.get("sysLogSettings") or {}
        numbers: List[Any] = [said.get("udpPort"), said.get("facility")]
        port, facility = (
            int(value) if self.knobs.quoted_numbers and str(value).isdigit() else value
            for value in numbers
        )
        fine = (
            isinstance(port, int)
            and 1 <= port <= 65_535
            and isinstance(facility, int)
            and 16 <= facility <= 23
            and _is_ip(said.get("ipAddress"))
        )
        return "" if fine else "sysLogSettings are not valid"

    def _error(self, status: int, words: str) -> Answer:
        style = self.knobs.error_style
        if style in ("html", "text", "empty"):
            body = {"html": f"<html><body>{words}</body></html>", "text": words, "empty": ""}[style]
            return Answer(
                status,
                {"Content-Type": "text/html" if style == "html" else "text/plain"},
                body.encode(),
            )
        said: Any = {
            "message": {"message": words},
            "modelState": {"message": "The request is invalid.", "modelState": {"body": [words]}},
            "error": {"error": words},
            "list": [{"message": words}],
        }[style]
        return _answer(status, said)

    # The sender

    def pushed(self, start: Millis, stop: Millis) -> Iterator[Sent]:
        """Everything that it sends from start to stop, in order of time; which event goes in
        which form is a matter of its number."""
        apart = 1000 / self.knobs.rate
        for number in range(int(-(-start // apart)), int(-(-stop // apart))):
            sent = self.sent(number, int(number * apart))
            yield sent
            if self.knobs.twice and number % self.knobs.twice == 0:
                yield sent

    def sent(self, number: int, time: Millis) -> Sent:
        form = self.knobs.formats[number % len(self.knobs.formats)]
        record = self.event(number, time)
        if form in ("json", "array", "wrapper"):
            said: Any = {"json": record, "array": [record], "wrapper": {"events": [record]}}[form]
            return Sent(
                time,
                json.dumps(said).encode(),
                {"Content-Type": "application/json"},
                "webhook",
                (_id(record),),
            )
        if form in ("slack", "form"):
            message = {
                "username": "Client Security Bot",
                "icon_emoji": ":cop:",
                "text": _slack(record, time),
            }
            body = json.dumps(message)
            return Sent(
                time,
                (f"payload={quote_plus(body)}" if form == "form" else body).encode(),
                {
                    "Content-Type": (
                        "application/x-www-form-urlencoded"
                        if form == "form"
                        else "application/json; charset=utf-8"
                    )
                },
                "webhook",
                (_whole(message),),
            )
        if form == "deep_security":
            capital = {name[:1].upper() + name[1:]: value for name, value in record.items()}
            for ours, theirs in (
                ("HostName", "Hostname"),
                ("Iface", "Interface"),
                ("StartTime", "LogDate"),
                ("EventOrigin", "OriginString"),
                ("Action", "ActionString"),
                ("Direction", "DirectionString"),
                ("Flow", "FlowString"),
                ("Protocol", "ProtocolString"),
            ):
                capital[theirs] = capital.pop(ours)
            event = {**capital, "EventType": "PayloadLog"}
            return Sent(
                time,
                json.dumps(event).encode(),
                {"Content-Type": "application/json"},
                "webhook",
                (_whole(event),),
            )
        line, id = _cef(record, time, "dsm01" if form == "cef" else "")
        return Sent(time, line.encode(), {}, "syslog", (id,))

    def event(self, number: int, time: Millis) -> Dict[str, Any]:
        luck = random.Random(f"{self.knobs.seed}:{number}")
        rule, name, severity = luck.choice(RULES)
        request = f"GET /cgi-bin/{number}/../../secret.cfg HTTP/1.1"
        packet = f"{request}\r\nHost: shop.example.com\r\n\r\n".encode()
        stamp = rfc3339(time)
        return {
            "packetSize": luck.randint(60, 1500),
            "rank": luck.choice((25, 50, 75, 100)),
            "driverTime": time * 1000 + number % 1000,
            "startTime": stamp,
            "endTime": stamp,
            "action": luck.choice(("Reset", "Reset", "Block", "Detect Only: Reset")),
            "data": base64.b64encode(packet).decode(),
            "destinationIP": f"192.0.2.{luck.randint(10, 30)}",
            "destinationMAC": "00:00:5E:00:53:01",
            "destinationPort": luck.choice(("80", "443", "8080")),
            "direction": "Incoming",
            "eventOrigin": "AGENT",
            "flags": "ACK PSH DF=1",
            "flow": "Connection Flow",
            "hostName": luck.choice(self.knobs.servers),
            "iface": "00:00:5E:00:53:01",
            "protocol": "TCP",
            "reason": f"{rule} - {name}",
            "sourceIP": f"{luck.choice(('203.0.113', '198.51.100'))}.{luck.randint(1, 40)}",
            "sourceMAC": "00:00:5E:00:53:2A",
            "sourcePort": str(luck.randint(1024, 65535)),
            "tags": "",
            "severity": severity,
        }

    def ledger(self, now: Millis, start: Millis = 0, stop: Millis = 0) -> Set[str]:
        """Ids of all events of that time; the last day where none is named."""
        return {id for sent in self.pushed(start or now - DAY, stop or now) for id in sent.ids}


NAMES = (
    "reason",
    "action",
    "protocol",
    "sourceIP",
    "sourcePort",
    "destinationIP",
    "destinationPort",
    "packetSize",
    "data",
)


def _id(record: Dict[str, Any]) -> str:
    """Return the id of the webhook's own object, without the plugin's help."""
    return identify(
        "centurylink_ips.event",
        [record["hostName"], record["driverTime"], *(record.get(name) for name in NAMES)],
    )


def _whole(element: Any, instant: str = "") -> str:
    """Return the id of whatever else is pushed: every word counts."""
    return identify("centurylink_ips.event", [element, instant])


def _slack(record: Dict[str, Any], time: Millis) -> str:
    date = datetime.fromtimestamp(time / 1000, timezone.utc).strftime("%a %b %d %H:%M:%S UTC %Y")
    packet = base64.b64decode(record["data"]).decode()
    lines = [
        f"An IPS Event has been caught by our {record['eventOrigin']} on {record['hostName']}",
        f"On {date}",
        f"Rule Name: {record['reason']}",
        f"Action Taken: {record['action']}",
        (
            f"Source\tMAC: {record['sourceMAC']}\tIP: {record['sourceIP']}\tPort:"
            f" {record['sourcePort']}"
        ),
        (
            f"Destination\tMAC: {record['destinationMAC']}\tIP: {record['destinationIP']}\tPort:"
            f" {record['destinationPort']}"
        ),
        f"Direction: {record['direction']}",
        f"Flow: {record['flow']}",
        f"Interface: {record['iface']}",
        f"Flags: {record['flags']}",
        f"Packet Size: {record['packetSize']}",
        f"Data: {packet}",
    ]
    return "\n".join(lines)


def _cef(record: Dict[str, Any], time: Millis, relay: str) -> Tuple[str, str]:
    """With a syslog head, or (relay "") as a bare line whose time nobody tells."""
    rule, _, name = record["reason"].partition(" - ")
    stamp = (
        datetime.fromtimestamp(time / 1000, timezone.utc)
        .strftime("%b %d %H:%M:%S")
        .replace(" 0", "  ", 1)
    )
    action = record["action"].replace("Detect Only: ", "IDS:")
    line = (
        "CEF:0|Trend Micro|Deep Security"
        f" Agent|20.0.0|{rule}|{name}|{NUMBERS[record['severity']]}|cn1=311 cn1Label=Host ID"
        f" dvchost={record['hostName']} dmac={record['destinationMAC']} smac={record['sourceMAC']}"
        f" TrendMicroDsFrameType=IP src={record['sourceIP']} dst={record['destinationIP']}"
        f" in={record['packetSize']} cs3=DF cs3Label=Fragmentation Bits proto={record['protocol']}"
        f" spt={record['sourcePort']} dpt={record['destinationPort']} cs2=0x00 ACK PSH cs2Label=TCP"
        f" Flags cnt=1 act={action}"
        f" TrendMicroDsPacketData={record['data'].replace('=', chr(92) + '=')}"
        " TrendMicroDsTenant=ACME TrendMicroDsTenantId=42"
    )
    if not relay:
        return line, _whole(line)
    second = datetime.fromtimestamp(time // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"<134>{stamp} {relay} {line}", _whole(line, second)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _answer(status: int, said: Any) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(said).encode())


def _is_ip(said: Any) -> bool:
    try:
        return bool(ipaddress.ip_address(said))
    except ValueError:
        return False
