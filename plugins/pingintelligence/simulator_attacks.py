"""Attacks of the simulated ABS, and the ids of their events.

All data is invented; addresses are of the documentation ranges. Attacks are a function of (seed,
scope, minute), so the ledger can compute at any time which events must arrive, and that no others
may.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timezone, tzinfo
from functools import lru_cache
from typing import Iterator, NamedTuple, Optional, Set, Tuple

from siemtap.core.convert import MONTHS, zone
from siemtap.core.identity import canonical, identify, sha256_hex
from siemtap.core.windows import DAY, MINUTE, Millis
from siemtap.testing.vendor import SimulatedVendor

from .attack_types import ACROSS, API, TYPES
from .simulator_knobs import Knobs

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
KINDS = ("ip", "cookie", "access_token", "username", "api_key")
SECRET_KINDS = ("cookie", "access_token", "api_key")
TYPES_PER_API = tuple(
    id
    for id, attack_type in TYPES.items()
    if attack_type.scope == API and id not in (3, 9, 50, 51, 52, 53)
)
TYPES_ACROSS = tuple(id for id, attack_type in TYPES.items() if attack_type.scope == ACROSS)
DDOS = (3, 9)
CODES = (
    "varA(Tx, 26)",
    "varA(Tn, 3), varB(Tn, 12)",
    "varA(Tx,25)",
    "varC(Tn, 7),varA(Tx, 40)",
    "na",
    "",
)
REAL_TIME_CODES = {100: ("decoy",), 101: ("protocol", "method", "content-type")}


class Attack(NamedTuple):
    """One attack. `readable`: when ABS reports it; `times`: how often it is repeated."""

    time: Millis
    readable: Millis
    api: str  # empty: across APIs
    type: int
    kind: str
    value: str
    access_time: str
    code: str
    deviation: str
    times: int


@dataclass
class Attacks(SimulatedVendor):
    """The attacks that ABS detects, by its knobs."""

    knobs: Knobs = field(default_factory=Knobs)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.apis: Tuple[str, ...]
        if isinstance(self.knobs.apis, int):
            self.apis = tuple(f"api_{number:03d}" for number in range(self.knobs.apis))
        else:
            self.apis = tuple(self.knobs.apis)
        self.zone: tzinfo = zone(self.knobs.zone)
        self.minute = lru_cache(maxsize=65_536)(self._minute)

    def _minute(self, scope: str, minute: int) -> Tuple[Attack, ...]:
        luck = random.Random(f"{scope}/{minute}")
        rate = self.knobs.rate * 60
        number = int(rate) + (luck.random() < rate % 1)
        return tuple(self._attack(luck, scope, minute) for _ in range(number))

    def _attack(self, luck: random.Random, scope: str, minute: int) -> Attack:
        if scope:
            type = luck.choice((*TYPES_PER_API, 100, 101, *(DDOS if luck.random() < 0.3 else ())))
            time = minute * MINUTE + luck.randrange(MINUTE)
        else:
            type = luck.choice(TYPES_ACROSS)
            time = minute * MINUTE // (10 * MINUTE) * 10 * MINUTE  # rounded, as ABS does
        kind = self._kind(luck, type)
        readable = time + int(luck.choice(self.knobs.late) * 1000)
        if not scope:
            readable += 10 * MINUTE
        code = luck.choice(REAL_TIME_CODES.get(type, CODES))
        stamp = self.timestamp(time, luck)
        return Attack(
            time=time,
            readable=readable,
            api=scope,
            type=type,
            kind=kind,
            value=self._value(luck, kind, stamp),
            access_time=stamp,
            code=code,
            deviation=(
                luck.choice(("varA(700%)", "varA(-12.5%), varB(90%)", "")) if type < 100 else ""
            ),
            times=3 if self.knobs.odd and luck.random() < 0.1 else 1,
        )

    def _kind(self, luck: random.Random, type: int) -> str:
        kinds = TYPES[type].kinds
        if not kinds and type in (36, 38):
            kinds = ("username",)
        elif not kinds:
            kinds = ("api_key",) if type == 31 else KINDS[:3]
        if type in DDOS and luck.random() < 0.5:
            return "ddos_info"
        return luck.choice(kinds)

    def _value(self, luck: random.Random, kind: str, stamp: str) -> str:
        if kind == "ip":
            if luck.random() < 0.1:
                return f"2001:db8::{luck.randrange(1, 65_535):x}"
            network = luck.choice(("203.0.113", "198.51.100", "192.0.2"))
            return f"{network}.{luck.randrange(1, 255)}"
        if kind == "username":
            name = luck.choice(("anna", "jörg", "o'brien", "user with blanks"))
            return name + str(luck.randrange(100))
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
        if odd < 0.02:
            return f"{secret};path=/;x={'y' * 5000}"
        if odd < 0.05:
            return f"{secret}=ü;"
        return secret

    def timestamp(self, time: Millis, luck: Optional[random.Random] = None) -> str:
        """Return a time in the format of ABS. With `luck` and the knob `odd`, one of three weekdays
        is wrong."""
        wall = datetime.fromtimestamp(time / 1000, timezone.utc).astimezone(self.zone)
        weekday = wall.weekday() + (1 if self.knobs.odd and luck and luck.random() < 0.33 else 0)
        day = f"{wall.day:02d}"
        if luck and wall.day < 10 and luck.random() < 0.1:
            day = f"{wall.day:2d}"
        return (
            f"{WEEKDAYS[weekday % 7]} {MONTHS[wall.month - 1]} {day}"
            f" {wall:%H:%M:%S}:{time % 1000:03d} {wall.year}"
        )

    def happened(self, scope: str, start: Millis, stop: Millis) -> Iterator[Attack]:
        """Yield the attacks with start <= time < stop."""
        before = 10 if not scope else 0
        for minute in range(start // MINUTE - before, stop // MINUTE + 11):
            for attack in self.minute(scope, minute):
                if start <= attack.time < stop:
                    yield attack

    def id_of(self, attack: Attack) -> str:
        """Return the id of the event that an attack must become, computed without the plugin."""
        name = TYPES[attack.type].name
        api = attack.api or "all"
        if attack.kind == "ddos_info":
            end_time = json.loads(attack.value)["end_time"]
            return identify(
                "pingintelligence.attack",
                [name, api, "ddos_info", attack.value, end_time, ""],
            )
        subject = self.visible(attack.kind, attack.value)
        is_digest = self.knobs.role == "restricted" and self.knobs.obfuscated == "digest"
        if attack.kind in SECRET_KINDS and not is_digest:
            subject = sha256_hex(subject)
        return identify(
            "pingintelligence.attack",
            [name, api, attack.kind, subject, attack.access_time, attack.code],
        )

    def ledger(self, now: Millis, start: Millis = 0, stop: Millis = 0) -> Set[str]:
        stop = stop or now
        return {
            self.id_of(attack)
            for scope in ("", *self.apis)
            for attack in self.happened(scope, start or stop - DAY, stop)
            if attack.readable <= now
        }

    def visible(self, kind: str, value: str) -> str:
        """Return an identifier as the user of these keys sees it."""
        if self.knobs.role == "admin" or kind not in SECRET_KINDS:
            return value
        digest = sha256_hex(value)
        return digest if self.knobs.obfuscated == "digest" else f"****{digest[:12]}"
