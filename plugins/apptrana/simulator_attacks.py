"""Attacks of the simulated AppTrana, and the ids of their events.

All data is invented; addresses are from the documentation ranges. Attacks are a function of (seed,
website, minute), so 30 days of them need no memory. The ledger lists the ids of the events that
must reach the output, at any time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

from siemtap.core.convert import rfc3339
from siemtap.core.identity import canonical, identify
from siemtap.core.windows import DAY, MINUTE, Millis
from siemtap.testing.vendor import SimulatedVendor

from .simulator_knobs import Knobs

UNIQUE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@-"
# Secrets that no output, log line or error may show.
COOKIE, BEARER = "sid=c00kie-of-a-victim", "Bearer bearer-of-a-victim"
RULES = (  # id, name, category, tag, severity, attack data
    ("1021", "Path traversal", "Command injection", "WEB_ATTACK/FILE_INJECTION", 2, "file=../../x"),
    ("1044", "Quote and comment", "SQL injection", "WEB_ATTACK/SQL_INJECTION", 2, "id=1'%20OR%201"),
    ("1100", "Script element", "Cross-site scripting", "WEB_ATTACK/XSS", 2, "q=<script>x</script>"),
    ("40", "Automated program", "Bot Attacks", "WEB_ATTACK/AUTOMATION/SECURITY_SCANNER", 3, ""),
    ("950", "Too many requests", "Denial of service", "POLICY/RATE", 1, ""),
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


class Attack(NamedTuple):
    """One attack: its record, and when it happened and becomes readable."""

    time: Millis
    readable: Millis
    website: str
    record: Dict[str, Any]

    @property
    def id(self) -> str:
        """The id of its event, computed without the plugin's mapping."""
        record = {"websiteName": f" {self.website} ", **self.record}
        if record.get("attackTime") == "yesterday":
            return identify("apptrana.attack", [canonical(record)])
        names = ("ruleId", "attackTime", "websiteName", "target", "attackData")
        return identify(
            "apptrana.attack", [record.get("requestId") or record, *map(record.get, names)]
        )


@dataclass
class Attacks(SimulatedVendor):
    """The attacks on the websites, by the vendor's knobs."""

    knobs: Knobs = field(default_factory=Knobs)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.began: Optional[Millis] = None  # time of the first request
        self.minute = lru_cache(maxsize=4096)(self._minute)

    def oldest(self, now: Millis) -> Millis:
        """Return the oldest retained time: 30 days ago, or when SIEM was enabled."""
        enabled = (self.began or now) - int(self.knobs.enabled_days * DAY)
        return max(now - 30 * DAY, enabled)

    def attacks(self, start: Millis, stop: Millis, sites: List[str]) -> Iterator[Attack]:
        """Yield all attacks of the minutes from start to stop."""
        for minute in range(start // MINUTE, stop // MINUTE + 1):
            for site in sites:
                yield from self.minute(site, minute)

    def _minute(self, site: str, minute: int) -> List[Attack]:
        generator = random.Random(f"{self.knobs.seed}/{site}/{minute}")
        number = int(self.knobs.rate * generator.uniform(0.5, 1.5) + generator.random())
        return [
            attack for _ in range(number) for attack in self.build_attacks(generator, site, minute)
        ]

    def build_attacks(self, generator: random.Random, site: str, minute: int) -> List[Attack]:
        """Return one attack; sometimes with a second rule of the same request, which is an event of
        its own, or with a duplicate, which is none."""
        time = minute * MINUTE
        if generator.random() > 0.1:
            time += generator.randrange(60_000)
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
        return [Attack(time, readable, site, record) for record in records]

    def record(self, generator: random.Random, site: str, time: Millis) -> Dict[str, Any]:
        """Return a random attack in the shape of the vendor's sample."""
        rule = generator.choices(RULES, (4, 6, 3, 9, 2, 1, 1))[0]
        path = generator.choice(PATHS)
        if generator.random() < 0.7:
            address = f"198.51.100.{generator.randrange(1, 30)}"
        else:
            address = f"203.0.113.{generator.randrange(1, 255)}"
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
        start = max(start, self.oldest(now))
        return {
            attack.id
            for attack in self.attacks(start, stop or now, list(self.knobs.websites))
            if start < attack.time < (stop or now) and attack.readable <= now
        }
