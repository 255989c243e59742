"""ABS, as far as it is known, and as rude as it may be. For tests, `siemtap simulate
pingintelligence` and the demo.

What the vendor's pages leave open is a knob. All data is invented, addresses are of the
documentation ranges. Attacks are a function of (seed, scope, minute), so that the ledger can be
told at any time: which events must have come out at the other end, and no others.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple
from urllib.parse import parse_qsl, urlsplit

from siemtap.core.convert import MONTHS, zone
from siemtap.core.identity import canonical, identify
from siemtap.core.windows import DAY, MINUTE, Millis
from siemtap.edge.http import Request
from siemtap.runners.simulate import Answer, Fault, noted

from .attack_types import ACROSS, API, TYPES
from .reports import REPORTS

ACCESS, SECRET = "demo-access", "demo-secret"
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
KINDS = ("ip", "cookie", "access_token", "username", "api_key")
LISTS = {
    "ip": "ips",
    "cookie": "cookies",
    "access_token": "access_tokens",
    "username": "usernames",
    "api_key": "api_keys",
}
HIDDEN = ("cookie", "access_token", "api_key")
OF_API = tuple(
    id for id, of in TYPES.items() if of.scope == API and id not in (3, 9, 50, 51, 52, 53)
)
OF_ACROSS = tuple(id for id, of in TYPES.items() if of.scope == ACROSS)
DDOS = (3, 9)
CODES = (
    "varA(Tx, 26)",
    "varA(Tn, 3), varB(Tn, 12)",
    "varA(Tx,25)",
    "varC(Tn, 7),varA(Tx, 40)",
    "na",
    "",
)
WORDS = {100: ("decoy",), 101: ("protocol", "method", "content-type")}


@dataclass
class Knobs:
    """What is unknown about a real ABS, each with the kind setting first."""

    apis: Any = ("shop", "pay & go/v1")  # or how many
    rate: float = 0.05  # attacks a second and scope
    seed: int = 1
    # wrong weekdays, swapped echoes, repeats, lists in the wrong place, odd identifiers
    odd: bool = True
    # seconds after its time until an attack can be read: one of these
    late: Tuple[float, ...] = (0.0,)
    role: str = "restricted"  # admin: the keys of the admin user
    access_key: str = ACCESS
    secret_key: str = SECRET
    wrong_key: str = "401"  # 403, 200: what a wrong pair gets
    obfuscated: str = "digest"  # mask: how the restricted user sees secrets
    zone: str = "UTC"
    edges: str = "[]"  # [), (], ()
    select: str = "access"  # detection: by the time when it could be read
    real_time_in_zero: bool = True  # whether type 0 has 100 and 101
    real_time: str = "yes"  # 404: no such types
    unknown_api: str = "404"  # 400, empty
    admin_at: str = "v5"  # v4, both, refused
    be_name: str = "both"  # ealier_date
    widest: float = 0.0  # hours; more of them time out
    empty_as: str = "list"  # object, lists, nothing, 204
    one_object: bool = False  # an answer of one report is no list
    list_form: str = "plain"  # wrapped, objects
    list_filter: bool = True  # false: status is ignored
    license_days: float = 400.0
    exceeded: bool = False
    training: bool = False
    delay: float = 0.0  # seconds every call takes
    poison: float = 0.0  # an instant (seconds): no report that holds it is JSON
    twice: int = 0  # every so many-th pushed line is pushed again
    start: float = 0.0  # seconds: the list's first entry; now, if 0


class Attack(NamedTuple):
    time: Millis
    readable: Millis
    api: str  # empty: across
    type: int
    kind: str
    value: str
    access_time: str
    code: str
    deviation: str
    times: int


class Sent(NamedTuple):
    """A line of attack.log, as its syslog form brings it."""

    time: Millis
    body: bytes
    headers: Dict[str, str]
    channel: str
    ids: Tuple[str, ...]


@dataclass
class Simulator:
    """`answer` is the whole vendor: (request, time) -> answer."""

    knobs: Knobs = field(default_factory=Knobs)
    faults: List[Fault] = field(default_factory=list)
    requests: List[Request] = field(default_factory=list)
    counts: Dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.apis = (
            tuple(f"api_{number:03d}" for number in range(self.knobs.apis))
            if isinstance(self.knobs.apis, int)
            else tuple(self.knobs.apis)
        )
        self.zone: tzinfo = zone(self.knobs.zone)
        self.unblocked: Set[str] = set()
        self.minute = lru_cache(maxsize=65_536)(self._minute)

    def settings(self, url: str) -> Dict[str, Any]:
        """What to configure an input with to read from here."""
        parts = urlsplit(url)
        return {
            "url": f"{parts.scheme}://{parts.netloc}",
            "role": self.knobs.role,
            "access_key": self.knobs.access_key,
            "secret_key": self.knobs.secret_key,
            "timezone": self.knobs.zone,
        }

    # What happens

    def _minute(self, scope: str, minute: int) -> Tuple[Attack, ...]:
        luck = random.Random(f"{self.knobs.seed}/{scope}/{minute}")
        wanted = self.knobs.rate * 60
        number = int(wanted) + (luck.random() < wanted % 1)
        return tuple(self._attack(luck, scope, minute) for _ in range(number))

    def _attack(self, luck: random.Random, scope: str, minute: int) -> Attack:
        if scope:
            type = luck.choice((*OF_API, 100, 101, *(DDOS if luck.random() < 0.3 else ())))
            time = minute * MINUTE + luck.randrange(MINUTE)
        else:
            type = luck.choice(OF_ACROSS)
            time = minute * MINUTE // (10 * MINUTE) * 10 * MINUTE  # rounded, as ABS does
        kinds = TYPES[type].kinds or (
            ("username",) if type in (36, 38) else ("api_key",) if type == 31 else KINDS[:3]
        )
        kind = "ddos_info" if type in DDOS and luck.random() < 0.5 else luck.choice(kinds)
        readable = (
            time + int(luck.choice(self.knobs.late) * 1000) + (10 * MINUTE if not scope else 0)
        )
        code = luck.choice(WORDS.get(type, CODES))
        stamp = self.spelled(time, luck)
        return Attack(
            time,
            readable,
            scope,
            type,
            kind,
            self._value(luck, kind, stamp),
            stamp,
            code,
            luck.choice(("varA(700%)", "varA(-12.5%), varB(90%)", "")) if type < 100 else "",
            3 if self.knobs.odd and luck.random() < 0.1 else 1,
        )

    def _value(self, luck: random.Random, kind: str, stamp: str) -> str:
        if kind == "ip":
            if luck.random() < 0.1:
                return f"2001:db8::{luck.randrange(1, 65_535):x}"
            network = luck.choice(("203.0.113", "198.51.100", "192.0.2"))
            return f"{network}.{luck.randrange(1, 255)}"
        if kind == "username":
            return luck.choice(("anna", "jörg", "o'brien", "user with blanks")) + str(
                luck.randrange(100)
            )
        if kind == "ddos_info":
            return canonical(
                {
                    "db": "abs_data",
                    "collection": "login_dos",
                    "end_time": stamp,
                    "n": luck.randrange(10**6),
                }
            )
        odd = luck.random() if self.knobs.odd else 1.0
        secret = f"SECRET-{kind}-{luck.randrange(10**9):09d}"
        return (
            f"{secret};path=/;x={'y' * 5000}"
            if odd < 0.02
            else f"{secret}=ü;"
            if odd < 0.05
            else secret
        )

    def spelled(self, time: Millis, luck: Optional[random.Random] = None) -> str:
        """As a body says it; the weekday is wrong in one of three."""
        wall = datetime.fromtimestamp(time / 1000, timezone.utc).astimezone(self.zone)
        weekday = wall.weekday() + (1 if self.knobs.odd and luck and luck.random() < 0.33 else 0)
        day = (
            f"{wall.day:2d}"
            if luck and wall.day < 10 and luck.random() < 0.1
            else f"{wall.day:02d}"
        )
        return (
            f"{WEEKDAYS[weekday % 7]} {MONTHS[wall.month - 1]} {day}"
            f" {wall:%H:%M:%S}:{time % 1000:03d} {wall.year}"
        )

    def happened(self, scope: str, start: Millis, stop: Millis) -> Iterator[Attack]:
        """Attacks with start <= time < stop."""
        before = 10 if not scope else 0
        for minute in range(start // MINUTE - before, stop // MINUTE + 11):
            for attack in self.minute(scope, minute):
                if start <= attack.time < stop:
                    yield attack

    def id_of(self, attack: Attack) -> str:
        """Which event this must become: told without the plugin's help."""
        of = TYPES[attack.type].name
        if attack.kind == "ddos_info":
            return identify(
                "pingintelligence.attack",
                [
                    of,
                    attack.api or "all",
                    "ddos_info",
                    attack.value,
                    json.loads(attack.value)["end_time"],
                    "",
                ],
            )
        shown = self.shown(attack.kind, attack.value)
        if attack.kind in HIDDEN and not (
            self.knobs.role == "restricted" and self.knobs.obfuscated == "digest"
        ):
            shown = hashlib.sha256(shown.encode()).hexdigest()
        return identify(
            "pingintelligence.attack",
            [of, attack.api or "all", attack.kind, shown, attack.access_time, attack.code],
        )

    def ledger(self, now: Millis, start: Millis = 0, stop: Optional[Millis] = None) -> Set[str]:
        """The events that must have come out: attacks from start to stop that can be read by
        now."""
        until = now if stop is None else stop
        return {
            self.id_of(attack)
            for scope in ("", *self.apis)
            for attack in self.happened(scope, start or until - DAY, until)
            if attack.readable <= now
        }

    def shown(self, kind: str, value: str) -> str:
        if self.knobs.role == "admin" or kind not in HIDDEN:
            return value
        digest = hashlib.sha256(value.encode()).hexdigest()
        return digest if self.knobs.obfuscated == "digest" else f"****{digest[:12]}"

    # How it answers

    def answer(self, request: Request, now: Millis) -> Answer:
        path = urlsplit(request.url).path
        call = path.rstrip("/").rpartition("/")[2]
        with self.lock:
            fault = noted(self, call, request)
        answer = fault.answer(now) if fault else self._answer(path, request, now)
        return answer._replace(delay=max(answer.delay, self.knobs.delay))

    def _answer(self, path: str, request: Request, now: Millis) -> Answer:
        headers = {name.lower(): value for name, value in request.headers.items()}
        access, secret = (
            ("x-abs-ak", "x-abs-sk")
            if self.knobs.role == "admin"
            else ("x-abs-ak-ru", "x-abs-sk-ru")
        )
        if (
            headers.get(access) != self.knobs.access_key
            or headers.get(secret) != self.knobs.secret_key
        ):
            return said(
                {"error": "Unauthorized", "message": "check the keys"}, int(self.knobs.wrong_key)
            )
        query = dict(parse_qsl(urlsplit(request.url).query))
        if request.method == "PUT" and path == "/v4/abs/attacklist":
            return self.take_off(json.loads(request.body), now)
        if request.method != "GET":
            return said({"error": "method"}, 405)
        if path == "/v4/abs/attack":
            return self.attack_report(query, now)
        if path == "/v4/abs/attacklist":
            return self.attack_list(query, now)
        if path in ("/v4/abs/admin", "/v5/abs/admin"):
            return self.admin(path[1:3], now)
        if path == "/v4/abs" and len(set(query) - {"later_date", "earlier_date"}) == 1:
            return (
                self.forensics(query)
                if self.knobs.role == "admin"
                else said({"error": "forbidden"}, 403)
            )
        report = next((name for name, of in REPORTS.items() if path == f"/v4/abs/{of.path}"), "")
        return self.other_report(report, query) if report else said({"error": "no such call"}, 404)

    def moment(self, said_: Optional[str]) -> Optional[Millis]:
        try:
            wall = datetime.strptime(said_ or "", "%Y-%m-%dT%H:%M")
        except ValueError:
            return None
        return int(wall.replace(tzinfo=self.zone).timestamp() * 1000)

    def attack_report(self, query: Dict[str, str], now: Millis) -> Answer:
        start, stop, api, id = (
            self.moment(query.get("earlier_date")),
            self.moment(query.get("later_date")),
            query.get("api", ""),
            int(query.get("type", "0")),
        )
        if (
            start is None
            or stop is None
            or start > stop
            or set(query) - {"earlier_date", "later_date", "api", "type"}
        ):
            return said({"error": "bad date"}, 400)
        if api and api not in self.apis:
            return (
                self.nothing()
                if self.knobs.unknown_api == "empty"
                else said({"error": "unknown API"}, int(self.knobs.unknown_api))
            )
        if id in (100, 101) and self.knobs.real_time != "yes":
            return said({"error": "unknown type"}, int(self.knobs.real_time))
        if self.knobs.widest and stop - start > self.knobs.widest * 60 * MINUTE:
            return Answer(504, {"Content-Type": "application/json"}, b'{"error": "too much"}')
        if start <= self.knobs.poison * 1000 < stop:
            return Answer(
                200,
                {"Content-Type": "application/json"},
                b'[{"company": "ping identity", "attack_type": "Data\nExfiltration", "ips": [{"ip":'
                b' "192.0.2.1" "details": []}]}]',
            )
        chosen = [
            attack
            for attack in self.happened(
                api, start - DAY if self.knobs.select == "detection" else start, stop + MINUTE
            )
            if attack.readable <= now
            and self.fits(attack, start, stop)
            and (
                attack.type == id
                or (id == 0 and (self.knobs.real_time_in_zero or attack.type < 100))
            )
        ]
        luck = random.Random(f"{self.knobs.seed}/{sorted(query.items())}/{now}")
        reports = self.written(luck, chosen, start, stop)
        if not reports:
            return self.nothing()
        return said(reports[0] if len(reports) == 1 and self.knobs.one_object else reports)

    def fits(self, attack: Attack, start: Millis, stop: Millis) -> bool:
        at = attack.readable if self.knobs.select == "detection" else attack.time
        return (start <= at if self.knobs.edges[0] == "[" else start < at) and (
            at <= stop if self.knobs.edges[1] == "]" else at < stop
        )

    def nothing(self) -> Answer:
        form = self.knobs.empty_as
        if form in ("nothing", "204"):
            return Answer(204 if form == "204" else 200, {"Content-Type": "application/json"}, b"")
        return said(
            []
            if form == "list"
            else (
                {}
                if form == "object"
                else {
                    "company": "ping identity",
                    "attack_type": "",
                    "ips": [],
                    "cookies": [],
                    "access_tokens": [],
                }
            )
        )

    def written(
        self, luck: random.Random, attacks: List[Attack], start: Millis, stop: Millis
    ) -> List[Dict[str, Any]]:
        """Reports, in one of the shapes each."""
        by_type: Dict[Tuple[int, str], List[Attack]] = {}
        for attack in attacks:
            place = (
                attack.value
                if attack.kind == "ddos_info"
                else attack.kind
                if luck.random() < 0.5 or not self.knobs.odd
                else ""
            )
            by_type.setdefault((attack.type, place), []).append(attack)
        found = []
        for (type, _), some in by_type.items():
            earlier, later = self.spelled(start, luck), self.spelled(stop, luck)
            if self.knobs.odd and luck.random() < 0.1:
                earlier, later = later, earlier
            report: Dict[str, Any] = {
                "company": "ping identity",
                "name": "api_attack_type",
                "description": "an invented\n  description",
                "earlier_date": earlier,
                "later_date": later,
                "api_name": some[0].api or "all",
                "ioc_type" if self.knobs.odd and luck.random() < 0.3 else "attack_type": (
                    TYPES[type].name
                ),
            }
            if some[0].kind == "ddos_info":
                found.append({**report, "ddos_info": json.loads(some[0].value)})
                continue
            bare = self.knobs.odd and luck.random() < 0.3
            wrong = self.knobs.odd and luck.random() < 0.2
            if type in (100, 101):
                report.update(ips=[], cookies=[], access_tokens=[])
            elements: Dict[Tuple[str, str], Dict[str, Any]] = {}
            for attack in some:
                shown = self.shown(attack.kind, attack.value)
                element = elements.setdefault((attack.kind, shown), {attack.kind: shown})
                for _ in range(attack.times):
                    if bare and not attack.code:
                        element.setdefault("access_time", []).append(attack.access_time)
                    else:
                        element.setdefault("details", []).append(
                            {
                                "access_time": attack.access_time,
                                **(
                                    {"attack_code": attack.code}
                                    if attack.code or luck.random() < 0.5
                                    else {}
                                ),
                                **(
                                    {"attack_deviation": attack.deviation}
                                    if attack.deviation
                                    else {}
                                ),
                            }
                        )
            for (kind, _), element in elements.items():
                if "access_time" in element and "details" in element:  # one or the other
                    element["details"] += [
                        {"access_time": time} for time in element.pop("access_time")
                    ]
                report.setdefault(
                    "access_tokens" if wrong and kind == "ip" else LISTS[kind], []
                ).append(element)
                if kind == "cookie":
                    report["cookie"] = "JSESSIONID"
            found.append(report)
        luck.shuffle(found)
        return found

    # Deny list

    def entries(self, now: Millis) -> Dict[str, List[str]]:
        """identifier -> state; one more every ten minutes, each expires after an hour and is
        gone after two."""
        step = 10 * MINUTE
        found = {}
        for number in range(now // step - 12, now // step + 1):
            ip = f"192.0.2.{number % 250 + 1}"
            age = now - number * step
            if ip not in self.unblocked:
                found[ip] = ["active" if age < 6 * step else "expired"]
        return found

    def attack_list(self, query: Dict[str, str], now: Millis) -> Answer:
        wanted = query.get("status") if self.knobs.list_filter else None
        chosen = [
            (ip, state[0]) for ip, state in self.entries(now).items() if wanted in (None, state[0])
        ]
        ips: List[Any] = (
            [{"ip": ip, "status": state} for ip, state in chosen]
            if self.knobs.list_form == "objects"
            else [ip for ip, _ in chosen]
        )
        hidden = (
            [self.shown("access_token", "SECRET-listed-token")]
            if wanted != "expired" and "SECRET-listed-token" not in self.unblocked
            else []
        )
        body = {
            "ips": ips,
            "cookies": (
                {"JSESSIONID": [self.shown("cookie", "SECRET-listed-cookie")]}
                if wanted != "expired"
                else {}
            ),
            "oauth_tokens": hidden,
            "api_keys": [],
            "usernames": ["anna"] if wanted != "expired" else [],
        }
        return said(
            {"message": "Success", "attacklist": body}
            if self.knobs.list_form == "wrapped"
            else body
        )

    def take_off(self, body: Dict[str, Any], now: Millis) -> Answer:
        if self.knobs.role != "admin":
            return said({"error": "admin only"}, 403)
        self.unblocked.update(body.get("ips", []), body.get("oauth_tokens", []))
        return said(
            {
                "message": "Success: taken off",
                "date": "Thu Mar 05 03:39:12 UTC 2026",
                "attacklist": body,
            }
        )

    # Everything else

    def admin(self, version: str, now: Millis) -> Answer:
        if self.knobs.admin_at == "refused":
            return said({"error": "forbidden"}, 403)
        if self.knobs.admin_at not in (version, "both"):
            return said({"error": "no such call"}, 404)
        end = datetime.fromtimestamp(now / 1000, timezone.utc) + timedelta(
            days=self.knobs.license_days
        )
        expiry = (
            f"{WEEKDAYS[end.weekday()]} {MONTHS[end.month - 1]} {end:%d %H:%M:%S} UTC {end.year}"
        )
        return said(
            {
                "company": "ping identity",
                "name": "api_admin",
                "license_info": {
                    "tier": "Subscription",
                    "expiry": expiry,
                    "max_transactions_per_month": 1_000_000,
                    "current_month_transactions": 1_041_822 if self.knobs.exceeded else 41_822,
                    "max_transactions_exceeded": self.knobs.exceeded,
                    "expired": self.knobs.license_days < 0,
                },
                "across_api_prediction_mode": not self.knobs.training,
                "poc": True,
                "api_discovery": {"status": False},
                "apis": [
                    {
                        "api_name": api,
                        "url": f"/{api}",
                        "api_type": "regular",
                        "servers": 0,
                        "protocol": "http",
                        "prediction_mode": not self.knobs.training,
                    }
                    for api in self.apis
                ],
            }
        )

    def other_report(self, name: str, query: Dict[str, str]) -> Answer:
        of = REPORTS[name]
        if of.admin and self.knobs.role != "admin":
            return said({"error": "forbidden"}, 403)
        if name == "be" and self.knobs.be_name == "ealier_date" and "ealier_date" not in query:
            return said({"error": "ealier_date is missing"}, 400)
        if of.each and query.get("api") not in self.apis:
            return said({"error": "unknown API"}, 404)
        token = self.shown("access_token", "SECRET-token-in-a-report")
        return said(
            {
                "company": "ping identity",
                "name": of.name,
                "description": "an invented description",
                **({"api_name": query["api"]} if of.each else {}),
                "earlier_date": query.get("earlier_date", ""),
                "later_date": query.get("later_date", ""),
                "summary": {
                    "total_requests": 342,
                    "success": 279,
                    "most_popular_ips": ["192.0.2.38"],
                },
                "details": [
                    {
                        "access_token": token,
                        "total_requests": 1,
                        "ip_list": [{"ip": "192.0.2.38", "methods": {"GET": 1}}],
                    }
                ],
            }
        )

    def forensics(self, query: Dict[str, str]) -> Answer:
        kind = next(name for name in query if name not in ("later_date", "earlier_date"))
        if kind not in ("IP", "cookie", "token", "api_key", "username"):
            return said({"error": "unknown parameter"}, 400)
        return said(
            {
                "name": f"api_abs_{kind.lower()}",
                "summary": {"total_requests": 2621, "total_attacks": 1, "total_anomalies": 1},
                "details": {"metrics": {kind.lower(): query[kind]}},
            }
        )

    # What it writes itself

    def line(self, attack: Attack) -> str:
        kind = {
            "access_token": "TOKEN",
            "ip": "IP",
            "cookie": "COOKIE",
            "username": "USERNAME",
            "api_key": "API_KEY",
        }[attack.kind]
        value = (
            hashlib.sha256(attack.value.encode()).hexdigest()
            if attack.kind in HIDDEN
            else attack.value
        )
        return "pi-attack-info-" + json.dumps(
            {
                "timestamp": str(attack.time),
                "protocol": "HTTP",
                "attack_id": str(attack.type),
                "description": TYPES[attack.type].name,
                "attack_bucket": "API",
                "attack_scope": "SINGLE_API" if attack.api else "MULTI_API",
                "attacked_api": attack.api or "MULTI_API",
                "attack_identifier_type": kind,
                "attack_key": "JSESSIONID" if attack.kind == "cookie" else "",
                "attack_value": value,
            }
        )

    def id_in_log(self, attack: Attack) -> str:
        element = hashlib.sha256(
            canonical(json.loads(self.line(attack).partition("-info-")[2])).encode()
        ).hexdigest()
        return identify(
            "pingintelligence.attack",
            [
                TYPES[attack.type].name,
                attack.api or "MULTI_API",
                attack.kind,
                "",
                str(attack.time),
                element,
            ],
        )

    def pushed(self, start: Millis, stop: Millis) -> Iterator[Sent]:
        """RFC 5424, as the Syslog appender writes it."""
        for number, attack in enumerate(
            sorted(
                (
                    attack
                    for scope in ("", *self.apis)
                    for attack in self.happened(scope, start, stop)
                    if attack.kind != "ddos_info"
                ),
                key=lambda attack: attack.time,
            ),
            1,
        ):
            wall = datetime.fromtimestamp(attack.time / 1000, timezone.utc)
            body = (
                f"<134>1 {wall:%Y-%m-%dT%H:%M:%S}.{attack.time % 1000:03d}Z abs01.example.com"
                f" APIIntelligence - Audit - {self.line(attack)}".encode()
            )
            sent = Sent(attack.time, body, {}, "syslog", (self.id_in_log(attack),))
            yield sent
            if self.knobs.twice and number % self.knobs.twice == 0:
                yield sent


def said(body: Any, status: int = 200) -> Answer:
    return Answer(
        status, {"Content-Type": "application/json"}, json.dumps(body, ensure_ascii=False).encode()
    )
