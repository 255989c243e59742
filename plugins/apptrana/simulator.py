"""AppTrana, as far as it is known, and as rude as it may be. For tests, `siemtap simulate apptrana`
and the demo.

What the vendor's page leaves open is a knob; every knob is turned by a test. All data is invented,
addresses are of the documentation ranges. Attacks are a function of (seed, website, minute), so 30
days of them need no memory, and the ledger can be told at any time: which events must have come out
at the other end, and no others.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import threading
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple
from urllib.parse import parse_qs, parse_qsl, urlsplit

from siemtap.core.identity import canonical, identify
from siemtap.core.mapping import rfc3339
from siemtap.core.windows import DAY, MINUTE, Millis
from siemtap.edge.http import Request
from siemtap.runners.simulate import Answer, Fault, noted

UNIQUE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@-"
# must appear nowhere in output, logs or errors
COOKIE, BEARER = "sid=c00kie-of-a-victim", "Bearer bearer-of-a-victim"
REFUSED = {"errorMessages": ["Unauthorised"]}
HTML = (
    b"<!DOCTYPE html><html><body>Your request was blocked for suspicious behaviour.</body></html>"
)

RULES = (  # id, name, category, tag, severity, what is in the request
    (
        "1021",
        "Traversal sequence in a request argument",
        "Command injection",
        "WEB_ATTACK/FILE_INJECTION",
        2,
        "file=../../etc/secret.cfg",
    ),
    (
        "1044",
        "Quote and comment in a request argument",
        "SQL injection",
        "WEB_ATTACK/SQL_INJECTION",
        2,
        "id=1'%20OR%20'1'='1",
    ),
    (
        "1100",
        "Script element in a request argument",
        "Cross-site scripting",
        "WEB_ATTACK/XSS",
        2,
        "q=<script>x</script>",
    ),
    (
        "40",
        "An automated program explored the site",
        "Bot Attacks",
        "WEB_ATTACK/AUTOMATION/SECURITY_SCANNER",
        3,
        "",
    ),
    ("950", "Too many requests from one address", "Denial of service", "POLICY/RATE", 1, ""),
    ("77", "Request for a hidden file", "Information leak", "POLICY/FILES", 4, ""),
    ("12", "Unusual method", "Protocol", "POLICY/METHOD", 5, ""),
)
PATHS = (
    "/",
    "/login",
    "/cgi-bin/report",
    "/search",
    "/api/v1/items",
    "/.env",
    "/wp-admin/setup.php",
    "/images/müller.png",
)
AGENTS = (
    "curl/8.5.0",
    "Mozilla/5.0 (X11; Linux x86_64) Scanner, with a comma: and a colon",
    "python-requests/2.32",
    "-",
)


@dataclass
class Knobs:
    """What is unknown about the real service, each with the kind setting first."""

    # What it has
    websites: Tuple[str, ...] = ("shop.example.com", "www.example.com")
    rate: float = 6.0  # attacks a minute and website
    seed: int = 1
    odd: bool = True  # records with every oddity that has been seen or feared
    enabled_days: float = 30.0  # how long ago SIEM was enabled
    late: Tuple[float, ...] = (0.0,)  # seconds until an attack can be read: one of these
    # Token
    client_id: str = "demo"  # also demo-1, demo-2, …: many customers
    client_secret: str = "demo-secret"
    auth: str = "any"  # or the only one accepted: client_credentials, basic, code
    code_parameter: str = "code"
    code_extra: bool = False  # more parameters in the redirect
    # the service calls the redirect URL itself, and shows us nothing
    code_silent: bool = False
    code_once: bool = True
    code_life: float = 60.0  # seconds
    token_life: float = 86_400.0  # seconds
    token_fresh: bool = False  # a new token at every call, and not the one in force
    expires_in_as: str = "number"  # string, missing
    revoke_every: int = 0  # data calls after which the token dies
    refuse_always: bool = False  # 401 to every data call
    stubborn: bool = False  # hands out the very token it has just refused
    allow_list: str = ""  # 403_json, 401_json, 403_html: this address is not on it
    one_token_call: bool = False  # refuses a second token call while one is running
    # Attacks
    edges: str = "[]"  # [), (], ()
    order: str = "asc"  # desc, shuffled
    cap: int = 0  # answers stop at so many attacks without saying so
    unknown_site: str = "empty"  # 400
    old_window: str = "empty"  # 400
    wrong_content_type: int = 415  # 400
    # null, missing, no_site, data_null: how an empty site is said
    no_attacks: str = "list"
    # an instant (seconds): no window that holds it can be answered in JSON
    poison: float = 0.0
    agents: str = ""  # only a User-Agent that starts so; others get 406 and HTML
    # seconds the service's clock, as its Date header tells it, is ahead
    skew: float = 0.0
    gzip: bool = False
    bom: bool = False
    # the key `data` stands in the answer twice, the good one last
    twice: bool = False
    # other, missing: successMessage; failed: errorMessages in a 200
    odd_success: str = ""
    delay: float = 0.0  # seconds every data call takes
    # Activity and sites
    activity_unit: str = "records"  # pages
    activity_strict: bool = True  # 400 for a stamp with seconds
    activity_repeat: bool = False  # the same page for ever
    activity_null: bool = False  # result: null
    sites_as: str = "objects"  # nested, empty, missing


class Attack(NamedTuple):
    time: Millis
    readable: Millis
    website: str
    record: Dict[str, Any]

    @property
    def id(self) -> str:
        """Which event this must become: told without the plugin's help."""
        record = {"websiteName": f" {self.website} ", **self.record}
        if record.get("attackTime") == "yesterday":
            return identify("apptrana.attack", [canonical(record)])
        names = ("ruleId", "attackTime", "websiteName", "target", "attackData")
        return identify(
            "apptrana.attack", [record.get("requestId") or record, *map(record.get, names)]
        )


@dataclass
class Simulator:
    """`answer` is the whole vendor: (request, time) -> answer."""

    knobs: Knobs = field(default_factory=Knobs)
    faults: List[Fault] = field(default_factory=list)
    requests: List[Request] = field(default_factory=list)
    counts: Dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.tokens: Dict[str, Tuple[str, Millis]] = {}  # client -> token, end of its life
        self.revoked: Set[str] = set()
        self.codes: Dict[str, Tuple[str, Millis]] = {}
        self.data_calls = self.issued = self.token_calls_now = 0
        self.began: Optional[Millis] = None
        self.minute = lru_cache(maxsize=4096)(self._minute)

    def settings(self, url: str) -> Dict[str, Any]:
        """What to configure an input with to read from here."""
        return {
            "url": url,
            "client_id": self.knobs.client_id,
            "client_secret": self.knobs.client_secret,
        }

    def answer(self, request: Request, now: Millis) -> Answer:
        with self.lock:
            self.began = self.began or now
            call = urlsplit(request.url).path.rpartition("/")[2]
            fault = noted(self, call, request)
        answer = fault.answer(now) if fault else self._answer(call, request, now)
        date = datetime.fromtimestamp(now / 1000 + self.knobs.skew, timezone.utc).strftime(
            "%a, %d %b %Y %H:%M:%S GMT"
        )
        return answer._replace(headers={"Date": date, **answer.headers})

    def _answer(self, call: str, request: Request, now: Millis) -> Answer:
        calls = {
            "authorize": ("GET", self.authorize),
            "getAuthToken": ("POST", self.get_auth_token),
            "getAttackInfo": ("POST", self.get_attack_info),
            "getActivity": ("POST", self.get_activity),
            "get-websites": ("GET", self.get_websites),
        }
        if call not in calls:
            return said({"errorMessages": ["no such call"]}, 404)
        method, serve = calls[call]
        if request.method != method:
            return said({"errorMessages": [f"use {method}"]}, 405)
        headers = {name.lower(): value for name, value in request.headers.items()}
        if self.knobs.agents and not headers.get("user-agent", "").startswith(self.knobs.agents):
            return Answer(406, {"Content-Type": "text/html"}, HTML)
        if call.startswith(("getA", "get-")) and call != "getAuthToken":
            refused = self.data_call(headers, now)
            if refused:
                return refused
        answer = serve(request, headers, now)
        if self.knobs.bom and answer.status == 200:
            answer = answer._replace(body=b"\xef\xbb\xbf" + answer.body)
        if self.knobs.gzip:
            answer = answer._replace(
                body=gzip.compress(answer.body, 1),
                headers={**answer.headers, "Content-Encoding": "gzip"},
            )
        return answer

    # Authorization Code and Generate Token

    def authorize(self, request: Request, headers: Dict[str, str], now: Millis) -> Answer:
        client = dict(parse_qsl(urlsplit(request.url).query)).get("client_id", "")
        if not self.is_client(client):
            return said(REFUSED, 401)
        code = f"code-{len(self.codes) + 1}-{self.knobs.seed}"
        self.codes[code] = (client, now + int(self.knobs.code_life * 1000))
        if self.knobs.code_silent:
            return said({})
        extra = "&state=x&lang=en" if self.knobs.code_extra else ""
        return Answer(
            302,
            {
                "Location": (
                    f"https://siem.example.com/landing?{self.knobs.code_parameter}={code}{extra}"
                )
            },
        )

    def get_auth_token(self, request: Request, headers: Dict[str, str], now: Millis) -> Answer:
        with self.lock:
            self.token_calls_now += 1
            if self.knobs.one_token_call and self.token_calls_now > 1:
                self.token_calls_now -= 1
                return said({"errorMessages": ["one token call at a time"]}, 400)
        try:
            return self._get_auth_token(request, headers, now)
        finally:
            with self.lock:
                self.token_calls_now -= 1

    def _get_auth_token(self, request: Request, headers: Dict[str, str], now: Millis) -> Answer:
        if self.knobs.allow_list:
            status, _, form = self.knobs.allow_list.partition("_")
            return (
                Answer(int(status), {"Content-Type": "text/html"}, HTML)
                if form == "html"
                else said({"errorMessages": ["IP address not allowed"]}, int(status))
            )
        if headers.get("content-type", "").strip() != "application/x-www-form-urlencoded":
            return said({"errorMessages": ["content type"]}, 400)
        form_fields = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        who = self.who_asks(form_fields, headers, now)
        if isinstance(who, Answer):
            return who
        with self.lock:
            token, end = self.tokens.get(who, ("", 0))
            dead = (token in self.revoked and not self.knobs.stubborn) or end - now < 1000
            if dead or self.knobs.token_fresh:
                self.issued += 1
                generator = random.Random(f"{self.knobs.seed}/{who}/{self.issued}/{now}")
                token, end = (
                    "".join(generator.choice(UNIQUE[:62]) for _ in range(32)),
                    now + int(self.knobs.token_life * 1000),
                )
                self.tokens[who] = (token, end)
        life: Any = (end - now) // 1000
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": str(life) if self.knobs.expires_in_as == "string" else life,
        }
        if self.knobs.expires_in_as == "missing":
            del answer["expires_in"]
        return said(answer)

    def who_asks(self, form_fields: Dict[str, str], headers: Dict[str, str], now: Millis) -> Any:
        mode = (
            "basic"
            if "authorization" in headers
            else "code"
            if "code" in form_fields
            else "client_credentials"
        )
        if self.knobs.auth not in ("any", mode):
            return said(REFUSED, 401)
        if mode == "basic":
            scheme, _, pair = headers["authorization"].partition(" ")
            client, _, key = (
                base64.b64decode(pair).decode().partition(":")
                if scheme == "Basic" and not form_fields
                else ("", "", "")
            )
        else:
            client, key = form_fields.get("client_id", ""), form_fields.get("client_secret", "")
            if (
                not client
                or not key
                or (
                    mode == "client_credentials"
                    and form_fields.get("grant_type") != "client_credentials"
                )
            ):
                return said({"errorMessages": ["missing parameter"]}, 400)
        if mode == "code":
            owner, end = self.codes.get(form_fields["code"], ("", 0))
            if owner != client or now > end:
                return said(REFUSED, 401)
            if self.knobs.code_once:
                del self.codes[form_fields["code"]]
        return (
            client
            if self.is_client(client) and key == self.knobs.client_secret
            else said(REFUSED, 401)
        )

    def is_client(self, client: str) -> bool:
        name, _, number = client.partition("-")
        return name == self.knobs.client_id and (not number or number.isdigit())

    def data_call(self, headers: Dict[str, str], now: Millis) -> Optional[Answer]:
        """The token must travel in `Authorization: Bearer`; everything else is a stranger."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        with self.lock:
            self.data_calls += 1
            if self.knobs.revoke_every and self.data_calls % self.knobs.revoke_every == 0:
                self.revoked.add(token)
            alive = (
                any(token == known and now < end for known, end in self.tokens.values())
                if len(self.tokens) < 50
                else True
            )
        if (
            scheme != "Bearer"
            or not token
            or not alive
            or token in self.revoked
            or self.knobs.refuse_always
        ):
            return said(REFUSED, 401)
        return None

    # Get Attack Details

    def get_attack_info(self, request: Request, headers: Dict[str, str], now: Millis) -> Answer:
        asked = self.asked(request, headers)
        if isinstance(asked, Answer):
            return asked
        try:
            start, stop = int(asked["startTime"]), int(asked["endTime"])
        except (KeyError, TypeError, ValueError):
            return said({"errorMessages": ["startTime and endTime are mandatory"]}, 400)
        if not 0 < stop - start <= 300_000:
            return said(
                {"errorMessages": ["startTime and endTime must not be more than 5 minutes apart"]},
                400,
            )
        if asked.get("eventType") not in (None, "Log", "Block"):
            return said({"errorMessages": ["eventType"]}, 400)
        if asked.get("websiteName", self.knobs.websites[0]) not in self.knobs.websites:
            return (
                said({"errorMessages": ["no such website"]}, 400)
                if self.knobs.unknown_site == "400"
                else said({"successMessage": "Success", "data": []})
            )
        if start < now - 30 * DAY - MINUTE and self.knobs.old_window == "400":
            return said({"errorMessages": ["older than 30 days"]}, 400)
        if start <= self.knobs.poison * 1000 <= stop:
            return Answer(
                200,
                {"Content-Type": "application/json"},
                b'{"successMessage":"Success","data":[{"websiteName":"shop.exa',
            )
        return self.success(start, stop, asked, now)._replace(delay=self.knobs.delay)

    def asked(self, request: Request, headers: Dict[str, str]) -> Any:
        if headers.get("content-type", "").strip() != "application/json":
            return said({"errorMessages": ["content type"]}, self.knobs.wrong_content_type)
        try:
            asked = json.loads(request.body)
        except ValueError:
            return said({"errorMessages": ["no JSON"]}, 400)
        return asked if isinstance(asked, dict) else said({"errorMessages": ["no object"]}, 400)

    def success(self, start: Millis, stop: Millis, asked: Dict[str, Any], now: Millis) -> Answer:
        sites = [asked["websiteName"]] if "websiteName" in asked else list(self.knobs.websites)
        found = [
            attack
            for attack in self.attacks(start, stop, sites)
            if self.within(attack.time, start, stop)
            and attack.readable <= now
            and attack.time >= self.oldest(now)
            and ("eventType" not in asked or asked["eventType"] == attack.record.get("eventType"))
        ]
        found.sort(key=lambda attack: attack.time, reverse=self.knobs.order == "desc")
        if self.knobs.order == "shuffled":
            random.Random(start).shuffle(found)
        found = found[: self.knobs.cap or None]
        rows = [
            self.row(site, [attack.record for attack in found if attack.website == site])
            for site in sites
        ]
        data: Any = [row for row in rows if row is not None]
        if not found and self.knobs.no_attacks == "data_null":
            data = None
        answer = {"successMessage": "Success", "data": data}
        if self.knobs.odd_success == "missing":
            del answer["successMessage"]
        elif self.knobs.odd_success == "other":
            answer["successMessage"] = "OK, with a warning"
        elif self.knobs.odd_success == "failed":
            answer["errorMessages"] = ["half of it is missing"]
        body = said(answer)
        return (
            body._replace(body=body.body.replace(b'"data": ', b'"data": null, "data": ', 1))
            if self.knobs.twice
            else body
        )

    def row(self, site: str, records: List[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
        if not records and self.knobs.no_attacks != "list":
            shapes: Dict[str, Any] = {
                "null": {"websiteName": f" {site} ", "attacks": None},
                "missing": {"websiteName": f" {site} "},
            }
            return shapes.get(self.knobs.no_attacks)
        return {"websiteName": f" {site} ", "attacks": records}

    def within(self, time: Millis, start: Millis, stop: Millis) -> bool:
        opens, closes = self.knobs.edges[0], self.knobs.edges[1]
        return (start < time or (opens == "[" and start == time)) and (
            time < stop or (closes == "]" and time == stop)
        )

    def oldest(self, now: Millis) -> Millis:
        """What the service remembers: 30 days, and nothing from before SIEM was enabled."""
        enabled = (self.began or now) - int(self.knobs.enabled_days * DAY)
        return max(now - 30 * DAY, enabled)

    def attacks(self, start: Millis, stop: Millis, sites: List[str]) -> Iterator[Attack]:
        for minute in range(start // MINUTE, stop // MINUTE + 1):
            for site in sites:
                yield from self.minute(site, minute)

    def _minute(self, site: str, minute: int) -> List[Attack]:
        generator = random.Random(f"{self.knobs.seed}/{site}/{minute}")
        number = int(self.knobs.rate * generator.uniform(0.5, 1.5) + generator.random())
        return [
            attack for order in range(number) for attack in self.one(generator, site, minute, order)
        ]

    def one(self, generator: random.Random, site: str, minute: int, order: int) -> List[Attack]:
        """One attack; now and then a second rule of the same request (two events), or the same
        attack twice (one)."""
        time = (
            minute * MINUTE + generator.randrange(60_000)
            if generator.random() > 0.1
            else (minute * MINUTE)
        )
        readable = time + int(generator.choice(self.knobs.late) * 1000)
        record = self.record(generator, site, time)
        records = [record]
        if generator.random() < 0.1:
            rule = generator.choice(RULES)
            records.append({**record, "ruleId": rule[0] + "1", "ruleName": rule[1]})
        if generator.random() < 0.05:
            records.append(dict(record))
        if self.knobs.odd and generator.random() < 0.2:
            records[0] = {**record, **ODD[generator.randrange(len(ODD))]}
        return [Attack(time, readable, site, each) for each in records]

    def record(self, generator: random.Random, site: str, time: Millis) -> Dict[str, Any]:
        rule = generator.choices(RULES, (4, 6, 3, 9, 2, 1, 1))[0]
        path = generator.choice(PATHS)
        address = (
            f"198.51.100.{generator.randrange(1, 30)}"
            if generator.random() < 0.7
            else f"203.0.113.{generator.randrange(1, 255)}"
        )
        block = generator.random() < 0.6
        return {
            "attackerIP": address,
            "attackerGeo": generator.choice(("IN", "DE", "US", "BR", "VN")),
            "severity": rule[4],
            "eventType": "Block" if block else "Log",
            "attackTime": rfc3339(time),
            "attackUri": f"{path}?{rule[5]}" if rule[5] else path,
            "target": generator.choice((None, "file", "ARGS:q")),
            "attackData": rule[5] or "curl/8.5.0",
            "ipReputation": generator.choice((None, "UNK")),
            "category": rule[2],
            "ruleId": rule[0],
            "requestId": "".join(generator.choices(UNIQUE, k=27)),
            "ruleName": rule[1],
            "tagName": rule[3],
            "hostName": f" {site} ",
            "statusCode": 406 if block else generator.choice((200, 404, 0)),
            "requestHeader": (
                f'"Host":" {site} " ,'
                f' "User-Agent":"{generator.choice(AGENTS)}","Accept":"*/*","Accept-Language":"-",'
                '"Accept-Encoding":"-","Connection":"-",'
                f'"Cookie":"{generator.choice(("-", COOKIE))}"'
            ),
            "responseHeader": (
                '"Cache-Control":"-","Connection":"-","Content-Type":"text/html;'
                ' charset=utf-8","Content-Length":"'
                f'{generator.randrange(5000)}","Date":"-","Keep-Alive":"-","Server":"-"'
            ),
            "tlsVersion": generator.choice(("TLSv1.2", "TLSv1.3", "-")),
            "requestProtocol": generator.choice(("HTTP/1.1", "HTTP/2.0")),
        }

    def ledger(self, now: Millis, start: Millis = 0, stop: Millis = 0) -> Set[str]:
        """The ids of all events that attacks readable now must have become, of start < time <
        stop."""
        start = max(start, self.oldest(now))
        return {
            attack.id
            for attack in self.attacks(start, stop or now, list(self.knobs.websites))
            if start < attack.time < (stop or now) and attack.readable <= now
        }

    # Activity and sites

    def get_activity(self, request: Request, headers: Dict[str, str], now: Millis) -> Answer:
        asked = self.asked(request, headers)
        if isinstance(asked, Answer):
            return asked
        shape = "%Y-%m-%dT%H:%MZ"
        try:
            start, stop = (
                int(datetime.strptime(asked[name], shape).replace(tzinfo=timezone.utc).timestamp())
                * 1000
                for name in ("startDate", "endDate")
            )
            offset, size = int(asked["offSet"]), int(asked["maxResult"])
        except (KeyError, TypeError, ValueError):
            if self.knobs.activity_strict:
                return said(
                    {"errorMessages": ["startDate and endDate look like 2026-03-04T10:00Z"]}, 400
                )
            return said({"messages": [], "result": {"actions": []}})
        if self.knobs.activity_null:
            return said(
                {"messages": ["Successfully got the Action Details for a website."], "result": None}
            )
        actions = [
            action for time, action in self.actions(start, stop) if self.within(time, start, stop)
        ]
        first = (
            0
            if self.knobs.activity_repeat
            else offset * size
            if self.knobs.activity_unit == "pages"
            else offset
        )
        return said(
            {
                "messages": ["Successfully got the Action Details for a website."],
                "result": {"actions": actions[first : first + size]},
            }
        )

    def actions(self, start: Millis, stop: Millis) -> List[Tuple[Millis, Dict[str, Any]]]:
        """One a minute; the vendor's keys are unknown, these are invented."""
        return [
            (
                minute * MINUTE,
                {
                    "actionTime": rfc3339(minute * MINUTE)[:19] + "Z",
                    "userName": "operator@example.com",
                    "action": f"rule {1000 + minute % 90} disabled",
                    "from": f"192.0.2.{minute % 250 + 1}",
                },
            )
            for minute in range(start // MINUTE, stop // MINUTE + 1)
        ]

    def get_websites(self, request: Request, headers: Dict[str, str], now: Millis) -> Answer:
        shapes: Dict[str, Any] = {
            "objects": [{"websiteName": site} for site in self.knobs.websites],
            "nested": {"result": {"websites": list(self.knobs.websites)}},
            "empty": [],
        }
        return (
            said(shapes[self.knobs.sites_as])
            if self.knobs.sites_as in shapes
            else said({"errorMessages": ["not found"]}, 404)
        )


def said(body: Any, status: int = 200) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


ODD: Tuple[Dict[str, Any], ...] = (
    {"attackerIP": "2001:DB8::00:7"},
    {"attackerIP": "-"},
    {"attackerIP": "not an address"},
    {"attackerGeo": ""},
    {"attackerGeo": "Atlantis"},
    {"severity": 0},
    {"severity": 9},
    {"severity": None},
    {"severity": "2"},
    {"severity": "high"},
    {"statusCode": None},
    {"statusCode": "abc"},
    {"eventType": "Challenge"},
    {"eventType": None},
    {"ruleName": None},
    {"ruleId": 40},
    {"category": "-"},
    {"hostName": None},
    {"requestHeader": ""},
    {"requestHeader": None},
    {"requestHeader": '"Host":"a \\"quoted\\" host","Authorization":"' + BEARER + '"'},
    {"requestHeader": '"X":"a "bare" quote","Cookie":"' + COOKIE + '","Accept":"*/*"'},
    {"requestHeader": "no pairs at all, Cookie: " + COOKIE},
    {"requestHeader": '" Cookie ":"' + COOKIE + '" , "A" : "b"'},
    {"requestHeader": {"Cookie": COOKIE}},
    {"requestHeader": '"Accept-List":["a","b"],"N":1'},
    {"attackData": "\x00\x1b[31m\u2028 \U0001f600 <b>&\ud800 lone"},
    {"attackData": "A" * 20_000},
    {"attackUri": "/\ud83d?x=\u202e"},
    {"attackUri": "no slash"},
    {"tlsVersion": "SSL"},
    {"requestProtocol": "weird"},
    {"newKey": {"a": [1, 2.5, None]}, "Cookie": COOKIE},
    {"attackTime": "yesterday"},
    {"requestId": None},
    {"requestId": "-x-"},
    {"target": ["a"]},
    {"responseHeader": '"Set-Cookie":"' + COOKIE + '"'},
)
