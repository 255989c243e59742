"""Simulator of ABS, for tests, `siemtap simulate pingintelligence` and the demo.

What the vendor does not document is a knob.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple
from urllib.parse import urlsplit

from siemtap.core.convert import MONTHS
from siemtap.core.windows import DAY, MINUTE, Millis
from siemtap.testing.simulation import Answer
from siemtap.testing.vendor import Call, Route, within

from .report_types import REPORTS, Report
from .simulator_attacks import WEEKDAYS, Attack
from .simulator_knobs import Knobs
from .simulator_log import AttackLog
from .simulator_reports import build_reports

__all__ = ["Knobs", "Simulator"]

ACCESS_KEY, SECRET_KEY = "demo-access", "demo-secret"


@dataclass
class Simulator(AttackLog):
    """A simulated ABS: its calls, in the order of the vendor's pages."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.unblocked: Set[str] = set()

    def settings(self, url: str) -> Dict[str, Any]:
        parts = urlsplit(url)
        return {
            "url": f"{parts.scheme}://{parts.netloc}",
            "role": self.knobs.role,
            "access_key": ACCESS_KEY,
            "secret_key": SECRET_KEY,
            "timezone": self.knobs.zone,
        }

    def routes(self) -> Tuple[Route, ...]:
        return (
            Route("GET", "/v4/abs/attack", self.attack_report),
            Route("GET", "/v4/abs/attacklist", self.attack_list),
            Route("PUT", "/v4/abs/attacklist", self.remove_entries),
            Route("GET", "/{}/abs/admin", self.admin),
            Route("GET", "/v4/abs", self.forensics),
            *(
                Route("GET", f"/v4/abs/{report.path}", partial(self.other_report, report))
                for report in REPORTS.values()
            ),
        )

    def check(self, call: Call) -> None:
        suffix = "" if self.knobs.role == "admin" else "-ru"
        keys = call.header(f"x-abs-ak{suffix}"), call.header(f"x-abs-sk{suffix}")
        if keys != (ACCESS_KEY, SECRET_KEY):
            raise self.refusal(int(self.knobs.wrong_key), "check the keys")

    def check_admin(self) -> None:
        """Refuse a call of the restricted user."""
        if self.knobs.role != "admin":
            raise self.refusal(403, "forbidden")

    def parse_date(self, value: Optional[str]) -> Millis:
        """Return a date of a query."""
        try:
            wall = datetime.strptime(value or "", "%Y-%m-%dT%H:%M")
        except ValueError:
            raise self.refusal(400, "bad date") from None
        return int(wall.replace(tzinfo=self.zone).timestamp() * 1000)

    def attack_report(self, call: Call) -> Any:
        query = call.query
        start = self.parse_date(query.get("earlier_date"))
        stop = self.parse_date(query.get("later_date"))
        api = query.get("api", "")
        id = int(query.get("type", "0"))
        if start > stop or set(query) - {"earlier_date", "later_date", "api", "type"}:
            raise self.refusal(400, "bad date")
        if api and api not in self.apis:
            raise self.refusal(404, "unknown API")
        if self.knobs.widest and stop - start > self.knobs.widest * 60 * MINUTE:
            raise self.refusal(504, "too much")
        if start <= self.knobs.poison * 1000 < stop:
            return Answer(
                body=b'[{"company": "ping identity", "attack_type": "Data\nExfiltration", "ips":'
                b' [{"ip": "192.0.2.1" "details": []}]}]'
            )
        first = start - DAY if self.knobs.select == "detection" else start
        selected = [
            attack
            for attack in self.happened(api, first, stop + MINUTE)
            if attack.readable <= call.now
            and within(self.knobs.edges, self.selection_time(attack), start, stop)
            and self.has_type(attack, id)
        ]
        luck = random.Random(f"{sorted(query.items())}/{call.now}")
        reports = build_reports(self, luck, selected, start, stop)
        if not reports:
            return self.empty_answer()
        return reports[0] if len(reports) == 1 and self.knobs.one_object else reports

    def selection_time(self, attack: Attack) -> Millis:
        """Return the time by which a query selects an attack."""
        return attack.readable if self.knobs.select == "detection" else attack.time

    def has_type(self, attack: Attack, id: int) -> bool:
        """Return whether an attack belongs to a query for a type; 0 is all types."""
        if id:
            return attack.type == id
        return self.knobs.real_time_in_zero or attack.type < 100

    def empty_answer(self) -> Any:
        if self.knobs.empty_as in ("nothing", "204"):
            return Answer(204 if self.knobs.empty_as == "204" else 200)
        lists: Dict[str, List[Any]] = {"ips": [], "cookies": [], "access_tokens": []}
        shapes: Dict[str, Any] = {
            "list": [],
            "object": {},
            "lists": {"company": "ping identity", "attack_type": "", **lists},
        }
        return shapes[self.knobs.empty_as]

    # Deny list

    def entries(self, now: Millis) -> Iterator[Tuple[str, str]]:
        """Yield (address, state). Every ten minutes an entry is added; it expires after an hour and
        is removed after two."""
        step = 10 * MINUTE
        for number in range(now // step - 12, now // step + 1):
            ip = f"192.0.2.{number % 250 + 1}"
            if ip not in self.unblocked:
                yield ip, "active" if now - number * step < 6 * step else "expired"

    def attack_list(self, call: Call) -> Dict[str, Any]:
        status = call.query.get("status") if self.knobs.list_filter else None
        ips: List[Any] = [
            {"ip": ip, "status": state} if self.knobs.list_form == "objects" else ip
            for ip, state in self.entries(call.now)
            if status in (None, state)
        ]
        body: Dict[str, Any] = {
            "ips": ips,
            "cookies": {},
            "oauth_tokens": [],
            "api_keys": [],
            "usernames": [],
        }
        if status != "expired":
            body["cookies"] = {"JSESSIONID": [self.visible("cookie", "SECRET-listed-cookie")]}
            body["usernames"] = ["anna"]
            if "SECRET-listed-token" not in self.unblocked:
                body["oauth_tokens"] = [self.visible("access_token", "SECRET-listed-token")]
        if self.knobs.list_form == "wrapped":
            return {"message": "Success", "attacklist": body}
        return body

    def remove_entries(self, call: Call) -> Dict[str, Any]:
        self.check_admin()
        body = self.read_json(call)
        self.unblocked.update(body.get("ips", []), body.get("oauth_tokens", []))
        return {
            "message": "Success: taken off",
            "date": "Thu Mar 05 03:39:12 UTC 2026",
            "attacklist": body,
        }

    # Everything else

    def admin(self, call: Call, version: str) -> Dict[str, Any]:
        if self.knobs.admin_at == "refused":
            raise self.refusal(403, "forbidden")
        if self.knobs.admin_at not in (version, "both"):
            raise self.refusal(404, "no such call")
        end = datetime.fromtimestamp(call.now / 1000, timezone.utc) + timedelta(days=400)
        day = f"{WEEKDAYS[end.weekday()]} {MONTHS[end.month - 1]}"
        return {
            "company": "ping identity",
            "name": "api_admin",
            "license_info": {
                "tier": "Subscription",
                "expiry": f"{day} {end:%d %H:%M:%S} UTC {end.year}",
                "max_transactions_per_month": 1_000_000,
                "current_month_transactions": 41_822,
                "max_transactions_exceeded": False,
                "expired": False,
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

    def other_report(self, report: Report, call: Call) -> Dict[str, Any]:
        query = call.query
        if report.admin:
            self.check_admin()
        is_misspelt = report.path == "be" and self.knobs.be_name == "ealier_date"
        if is_misspelt and "ealier_date" not in query:
            raise self.refusal(400, "ealier_date is missing")
        if report.each and query.get("api") not in self.apis:
            raise self.refusal(404, "unknown API")
        element = {
            "access_token": self.visible("access_token", "SECRET-token-in-a-report"),
            "total_requests": 1,
            "ip_list": [{"ip": "192.0.2.38", "methods": {"GET": 1}}],
        }
        return {
            "company": "ping identity",
            "name": report.name,
            "description": "an invented description",
            **({"api_name": query["api"]} if report.each else {}),
            "earlier_date": query.get("earlier_date", ""),
            "later_date": query.get("later_date", ""),
            "summary": {
                "total_requests": 342,
                "success": 279,
                "most_popular_ips": ["192.0.2.38"],
            },
            "details": [element],
        }

    def forensics(self, call: Call) -> Dict[str, Any]:
        self.check_admin()
        kinds = call.query.keys() - {"later_date", "earlier_date"}
        if len(kinds) != 1 or not kinds <= {"IP", "cookie", "token", "api_key", "username"}:
            raise self.refusal(400, "unknown parameter")
        (kind,) = kinds
        return {
            "name": f"api_abs_{kind.lower()}",
            "summary": {"total_requests": 2621, "total_attacks": 1, "total_anomalies": 1},
            "details": {"metrics": {kind.lower(): call.query[kind]}},
        }
