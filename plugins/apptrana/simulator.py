"""Simulator of the AppTrana SIEM API, for tests, `siemtap simulate apptrana` and the demo.

What the vendor's page leaves open is a knob, and a test sets each knob.
"""

from __future__ import annotations

import base64
import random
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple
from urllib.parse import urlencode

from siemtap.core.convert import rfc3339
from siemtap.core.windows import DAY, MINUTE, Millis
from siemtap.testing.simulation import Answer
from siemtap.testing.vendor import Call, Refused, Route, json_answer, within

from .simulator_attacks import Attacks
from .simulator_knobs import Knobs

__all__ = ["Knobs", "Simulator"]

CLIENT_ID = "demo"  # demo-1, demo-2, … are accepted too: many customers
CLIENT_SECRET = "demo-secret"

HTML = (
    b"<!DOCTYPE html><html><body>Your request was blocked for suspicious behaviour.</body></html>"
)


@dataclass
class Simulator(Attacks):
    """The vendor: its calls, in the order of the page."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tokens: Dict[str, Tuple[str, Millis]] = {}  # client -> token, expiry
        self.revoked: Set[str] = set()
        self.codes: Dict[str, Tuple[str, Millis]] = {}
        self.data_calls = 0
        self.token_calls_now = 0

    def settings(self, url: str) -> Dict[str, Any]:
        return {
            "url": url,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }

    def routes(self) -> Tuple[Route, ...]:
        return (
            Route("GET", "/siem/v1/authorize", self.authorize),
            Route("POST", "/siem/v1/getAuthToken", self.get_auth_token),
            Route("POST", "/siem/v1/getAttackInfo", self.get_attack_info),
            Route("POST", "/siem/v1/getActivity", self.get_activity),
            Route("GET", "/v2/website/get-websites", self.get_websites),
        )

    def error(self, status: int, text: str) -> Answer:
        return json_answer({"errorMessages": [text]}, status)

    def check(self, call: Call) -> None:
        """Refuse what the vendor's firewall does not like, and data calls without a valid token."""
        self.began = self.began or call.now
        if not call.header("user-agent").startswith(self.knobs.agents):
            raise firewall(406)
        if call.name in ("authorize", "getAuthToken"):
            return
        with self.lock:
            self.data_calls += 1
            if self.knobs.revoke_every and self.data_calls % self.knobs.revoke_every == 0:
                self.revoked.add(call.token)
            # with many customers, the search would cost more than the response
            valid = len(self.tokens) >= 50 or any(
                call.token == known and call.now < end for known, end in self.tokens.values()
            )
        if not call.token or not valid or call.token in self.revoked or self.knobs.refuse_always:
            raise self.refusal(401, "Unauthorised")

    # Authorization Code and Generate Token

    def authorize(self, call: Call) -> Answer:
        client = call.query.get("client_id", "")
        if not self.is_client(client):
            raise self.refusal(401, "Unauthorised")
        code = f"code-{len(self.codes) + 1}-{self.knobs.seed}"
        self.codes[code] = (client, call.now + int(self.knobs.code_life * 1000))
        if self.knobs.code_silent:
            return json_answer({})
        query = {self.knobs.code_parameter: code}
        if self.knobs.code_extra:
            query.update(state="x", lang="en")
        return Answer(302, {"Location": f"https://siem.example.com/landing?{urlencode(query)}"})

    def get_auth_token(self, call: Call) -> Dict[str, Any]:
        with self.lock:
            self.token_calls_now += 1
            is_busy = self.token_calls_now > 1
        try:
            if self.knobs.one_token_call and is_busy:
                raise self.refusal(400, "one token call at a time")
            return self._get_auth_token(call)
        finally:
            with self.lock:
                self.token_calls_now -= 1

    def _get_auth_token(self, call: Call) -> Dict[str, Any]:
        if self.knobs.allow_list:
            status, _, form = self.knobs.allow_list.partition("_")
            if form == "html":
                raise firewall(int(status))
            raise self.refusal(int(status), "IP address not allowed")
        if call.header("content-type") != "application/x-www-form-urlencoded":
            raise self.refusal(400, "content type")
        client = self.authenticate(call)
        with self.lock:
            token, end = self.tokens.get(client, ("", 0))
            expired = (token in self.revoked and not self.knobs.stubborn) or end - call.now < 1000
            if expired or self.knobs.token_fresh:
                token = uuid.uuid4().hex
                end = call.now + int(self.knobs.token_life * 1000)
                self.tokens[client] = (token, end)
        life = (end - call.now) // 1000
        lifetimes: Dict[str, Dict[str, Any]] = {
            "number": {"expires_in": life},
            "string": {"expires_in": str(life)},
            "missing": {},
        }
        return {
            "access_token": token,
            "token_type": "Bearer",
            **lifetimes[self.knobs.expires_in_as],
        }

    def authenticate(self, call: Call) -> str:
        """Return the client's id."""
        fields = call.form
        client, key = fields.get("client_id", ""), fields.get("client_secret", "")
        method = "client_credentials"
        if call.header("authorization"):
            method = "basic"
            client, key = read_basic_credentials(call)
        elif "code" in fields:
            method = "code"
        if self.knobs.auth not in ("any", method):
            raise self.refusal(401, "Unauthorised")
        if method == "client_credentials" and fields.get("grant_type") != method:
            raise self.refusal(400, "missing parameter")
        if not self.is_client(client) or key != CLIENT_SECRET:
            raise self.refusal(401, "Unauthorised")
        if method == "code":
            owner, end = self.codes.get(fields["code"], ("", 0))
            if owner != client or call.now > end:
                raise self.refusal(401, "Unauthorised")
            if self.knobs.code_once:
                del self.codes[fields["code"]]
        return client

    def is_client(self, client: str) -> bool:
        name, _, number = client.partition("-")
        return name == CLIENT_ID and (not number or number.isdigit())

    # Get Attack Details

    def get_attack_info(self, call: Call) -> Any:
        body = self.read_json(call)
        try:
            start, stop = int(body["startTime"]), int(body["endTime"])
        except (KeyError, TypeError, ValueError):
            raise self.refusal(400, "startTime and endTime are mandatory") from None
        if not 0 < stop - start <= 5 * MINUTE:
            raise self.refusal(400, "startTime and endTime must not be more than 5 minutes apart")
        if body.get("eventType") not in (None, "Log", "Block"):
            raise self.refusal(400, "eventType")
        if body.get("websiteName", self.knobs.websites[0]) not in self.knobs.websites:
            if self.knobs.unknown_site == "400":
                raise self.refusal(400, "no such website")
            return {"successMessage": "Success", "data": []}
        if start < call.now - 30 * DAY - MINUTE and self.knobs.old_window == "400":
            raise self.refusal(400, "older than 30 days")
        if start <= self.knobs.poison * 1000 <= stop:
            return Answer(body=b'{"successMessage":"Success","data":[{"websiteName":"shop.exa')
        return self.success(start, stop, body, call.now)

    def success(self, start: Millis, stop: Millis, body: Dict[str, Any], now: Millis) -> Any:
        """Return the attacks of one window."""
        sites = [body["websiteName"]] if "websiteName" in body else list(self.knobs.websites)
        attacks = [
            attack
            for attack in self.attacks(start, stop, sites)
            if within(self.knobs.edges, attack.time, start, stop)
            and attack.readable <= now
            and attack.time >= self.oldest(now)
            and ("eventType" not in body or body["eventType"] == attack.record.get("eventType"))
        ]
        attacks.sort(key=lambda attack: attack.time, reverse=self.knobs.order == "desc")
        if self.knobs.order == "shuffled":
            random.Random(start).shuffle(attacks)
        attacks = attacks[: self.knobs.cap or None]
        rows = [
            self.row(site, [attack.record for attack in attacks if attack.website == site])
            for site in sites
        ]
        data: Any = [row for row in rows if row is not None]
        if not attacks and self.knobs.no_attacks == "data_null":
            data = None
        heads: Dict[str, Dict[str, Any]] = {
            "": {"successMessage": "Success"},
            "missing": {},
            "other": {"successMessage": "OK, with a warning"},
            "failed": {"successMessage": "Success", "errorMessages": ["half of it is missing"]},
        }
        answer = json_answer({**heads[self.knobs.odd_success], "data": data})
        if self.knobs.twice:
            twice = answer.body.replace(b'"data": ', b'"data": null, "data": ', 1)
            answer = answer._replace(body=twice)
        return answer

    def row(self, site: str, records: List[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
        """Return one website's element of `data`; None to leave it out."""
        if not records and self.knobs.no_attacks != "list":
            shapes: Dict[str, Any] = {
                "null": {"websiteName": f" {site} ", "attacks": None},
                "missing": {"websiteName": f" {site} "},
            }
            return shapes.get(self.knobs.no_attacks)
        return {"websiteName": f" {site} ", "attacks": records}

    # Activity and sites

    def get_activity(self, call: Call) -> Dict[str, Any]:
        body = self.read_json(call)
        try:
            start, stop = parse_minute(body["startDate"]), parse_minute(body["endDate"])
            offset, size = int(body["offSet"]), int(body["maxResult"])
        except (KeyError, TypeError, ValueError):
            if self.knobs.activity_strict:
                raise self.refusal(
                    400, "startDate and endDate look like 2026-03-04T10:00Z"
                ) from None
            return {"messages": [], "result": {"actions": []}}
        actions = [
            action
            for time, action in self.actions(start, stop)
            if within(self.knobs.edges, time, start, stop)
        ]
        first = offset * size if self.knobs.activity_unit == "pages" else offset
        if self.knobs.activity_repeat:
            first = 0
        page = {"actions": actions[first : first + size]}
        return {
            "messages": ["Successfully got the Action Details for a website."],
            "result": None if self.knobs.activity_null else page,
        }

    def actions(self, start: Millis, stop: Millis) -> Iterator[Tuple[Millis, Dict[str, Any]]]:
        """Yield one action a minute. The vendor's keys are unknown; these are invented."""
        for minute in range(start // MINUTE, stop // MINUTE + 1):
            action = {
                "actionTime": rfc3339(minute * MINUTE)[:19] + "Z",
                "userName": "operator@example.com",
                "action": f"rule {1000 + minute % 90} disabled",
                "from": f"192.0.2.{minute % 250 + 1}",
            }
            yield minute * MINUTE, action

    def get_websites(self, call: Call) -> Any:
        shapes: Dict[str, Any] = {
            "objects": [{"websiteName": site} for site in self.knobs.websites],
            "nested": {"result": {"websites": list(self.knobs.websites)}},
            "empty": [],
        }
        if self.knobs.sites_as not in shapes:
            raise self.refusal(404, "not found")
        return shapes[self.knobs.sites_as]


def firewall(status: int) -> Refused:
    """Return the refusal of the vendor's own firewall."""
    return Refused(Answer(status, {"Content-Type": "text/html"}, HTML))


def read_basic_credentials(call: Call) -> Tuple[str, str]:
    """Return client id and key of `Authorization: Basic`; empty ones if the request has a form."""
    scheme, _, encoded = call.header("authorization").partition(" ")
    if scheme != "Basic" or call.form:
        return "", ""
    client, _, key = base64.b64decode(encoded).decode().partition(":")
    return client, key


def parse_minute(text: str) -> Millis:
    wall = datetime.strptime(text, "%Y-%m-%dT%H:%MZ").replace(tzinfo=timezone.utc)
    return int(wall.timestamp()) * 1000
