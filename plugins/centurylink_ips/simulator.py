"""Simulator of the vendor: the API that manages agents and notifications, and the sender of events,
which never retries.

What the vendor's page leaves open is a knob.
"""

from __future__ import annotations

import base64
import ipaddress
from dataclasses import dataclass
from typing import Any, Dict, List, Set, Tuple

from siemtap.core.windows import Millis
from siemtap.testing.simulation import Answer
from siemtap.testing.vendor import Call, Route, json_answer

from .simulator_events import SERVERS, Sender
from .simulator_knobs import Knobs

__all__ = ["Knobs", "Simulator"]

ACCOUNT = "ACME"
LOGIN = {"username": "operator@example.com", "password": "demo-password"}
DONE = Answer(204)


@dataclass
class Simulator(Sender):
    """The vendor: its API, in the order of the page, and the sender."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tokens: Dict[str, Millis] = {}
        self.installed: Set[str] = set()
        self.destinations: Dict[str, List[Dict[str, Any]]] = {}
        self.issued = 0

    def settings(self, url: str) -> Dict[str, Any]:
        return {
            "login_url": url,
            "ips_url": url,
            **LOGIN,
            "account": ACCOUNT,
            "servers": list(SERVERS),
        }

    def routes(self) -> Tuple[Route, ...]:
        notifications = "/ips/api/notifications/{}/{}"
        return (
            Route("POST", "/v2/authentication/login", self.login),
            Route("POST", "/ips/api/app", self.install),
            Route("DELETE", "/ips/api/app", self.uninstall),
            Route("GET", notifications, self.get_destinations),
            Route("PUT", notifications, self.put_destinations),
            Route("DELETE", notifications, self.delete_destinations),
        )

    def error(self, status: int, text: str) -> Answer:
        style = self.knobs.error_style
        if style in ("html", "text", "empty"):
            page = {"html": f"<html><body>{text}</body></html>", "text": text, "empty": ""}[style]
            content_type = "text/html" if style == "html" else "text/plain"
            return Answer(status, {"Content-Type": content_type}, page.encode())
        body: Any = {
            "message": {"message": text},
            "modelState": {"message": "The request is invalid.", "modelState": {"body": [text]}},
            "error": {"error": text},
            "list": [{"message": text}],
        }[style]
        return json_answer(body, status)

    def check(self, call: Call) -> None:
        if call.name != "login" and self.tokens.get(call.token, 0) <= call.now:
            raise self.refusal(401, "no bearer token")

    def login(self, call: Call) -> Dict[str, Any]:
        if self.read_json(call) != LOGIN:
            raise self.refusal(400, "user name or password not recognised")
        self.issued += 1
        token = base64.b64encode(f"token {self.issued}".encode()).decode()
        self.tokens[token] = call.now + int(self.knobs.token_life * 1000)
        return {
            "userName": LOGIN["username"],
            "accountAlias": ACCOUNT,
            "locationAlias": "VA1",
            "roles": ["AccountAdmin"],
            "bearerToken": token,
        }

    def revoke(self) -> None:
        """Invalidate all tokens."""
        self.tokens.clear()

    def install(self, call: Call) -> Answer:
        server = self._server_in(call)
        if server in self.installed and self.knobs.second_install != 204:
            raise self.refusal(self.knobs.second_install, "is installed already")
        self.installed.add(server)
        return DONE

    def uninstall(self, call: Call) -> Answer:
        self.installed.discard(self._server_in(call))
        return DONE

    def _server_in(self, call: Call) -> str:
        """Return the server that the body of a call names."""
        body = self.read_json(call)
        if not {"hostName", "accountAlias"} <= set(body):
            raise self.refusal(400, "hostName and accountAlias are required")
        self._check_access(body["accountAlias"], body["hostName"])
        return str(body["hostName"])

    def _check_access(self, account: str, server: str) -> None:
        """Refuse a foreign account or an unknown server."""
        if account != ACCOUNT:
            raise self.refusal(self.knobs.foreign_account, f"no rights on account {account}")
        if server not in SERVERS:
            raise self.refusal(self.knobs.unknown_server, f"server {server} does not exist")

    def delete_destinations(self, call: Call, account: str, server: str) -> Answer:
        self._check_access(account, server)
        if not self.destinations.pop(server, None) and self.knobs.delete_twice != 204:
            raise self.refusal(self.knobs.delete_twice, "nothing there")
        return DONE

    def get_destinations(self, call: Call, account: str, server: str) -> List[Dict[str, Any]]:
        self._check_access(account, server)
        current = self.destinations.get(server, [])
        if not current and self.knobs.nothing_set == "404":
            raise self.refusal(404, "no notification destinations")
        meddler = {"typeCode": "EMAIL", "emailAddress": "meddler@example.com"}
        if self.knobs.meddle and meddler not in current:
            self.destinations[server] = [*current, meddler]
        empty = {"url": "", "emailAddress": "", "sysLogSettings": None}
        return [
            {**empty, **destination, self.knobs.interval_key: "IMMEDIATE"}
            for destination in current
        ]

    def put_destinations(self, call: Call, account: str, server: str) -> Answer:
        self._check_access(account, server)
        body = self.read_json(call)
        if not isinstance(body, list):
            raise self.refusal(400, "a bare array is needed")
        problem = next(filter(None, map(self._problem, body)), "")
        codes = [item.get("typeCode") for item in body if isinstance(item, dict)]
        if problem or codes.count("WEBHOOK") > 1 or codes.count("SYSLOG") > 1:
            raise self.refusal(400, problem or "at most one WEBHOOK and one SYSLOG")
        self.destinations[server] = [
            {
                name: value
                for name, value in item.items()
                if name != self.knobs.interval_key and value not in ("", None)
            }
            for item in body
        ]
        return DONE

    def _problem(self, destination: Any) -> str:
        """Return what is wrong with one element; "" if nothing is."""
        if not isinstance(destination, dict):
            return "an element is no object"
        known = {"url", "typeCode", "emailAddress", "sysLogSettings"}
        if self.knobs.reject_unknown_keys and not known.issuperset(destination):
            return "unknown property"
        code = destination.get("typeCode")
        if code not in ("WEBHOOK", "SLACK", "SYSLOG", "EMAIL") or (
            code == "SLACK" and self.knobs.reject_slack
        ):
            return f"typeCode {code} is not supported"
        if code == "EMAIL":
            return "" if destination.get("emailAddress") else "emailAddress is required"
        if code != "SYSLOG":
            return "" if destination.get("url") else "url is required"
        syslog = destination.get("sysLogSettings") or {}
        numbers: List[Any] = [syslog.get("udpPort"), syslog.get("facility")]
        port, facility = (
            int(value) if self.knobs.quoted_numbers and str(value).isdigit() else value
            for value in numbers
        )
        is_valid = (
            isinstance(port, int)
            and 1 <= port <= 65_535
            and isinstance(facility, int)
            and 16 <= facility <= 23
            and _is_ip(syslog.get("ipAddress"))
        )
        return "" if is_valid else "sysLogSettings are not valid"


def _is_ip(value: Any) -> bool:
    try:
        return bool(ipaddress.ip_address(value))
    except ValueError:
        return False
