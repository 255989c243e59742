"""Lines of the simulated attack.log, and the syslog messages that carry them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Iterator

from siemtap.core.convert import rfc3339
from siemtap.core.identity import canonical, identify, sha256_hex
from siemtap.core.windows import Millis
from siemtap.testing.simulation import Sent
from siemtap.testing.vendor import repeated

from .attack_types import TYPES
from .simulator_attacks import SECRET_KINDS, Attack, Attacks


@dataclass
class AttackLog(Attacks):
    """The attack.log of the simulated ABS."""

    def line(self, attack: Attack) -> str:
        """Return the line of attack.log for an attack."""
        kind = "TOKEN" if attack.kind == "access_token" else attack.kind.upper()
        value = sha256_hex(attack.value) if attack.kind in SECRET_KINDS else attack.value
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
        """Return the id of the event that an attack.log line must become."""
        element = json.loads(self.line(attack).partition("-info-")[2])
        return identify(
            "pingintelligence.attack",
            [
                TYPES[attack.type].name,
                attack.api or "MULTI_API",
                attack.kind,
                "",
                str(attack.time),
                sha256_hex(canonical(element)),
            ],
        )

    def pushed(self, start: Millis, stop: Millis) -> Iterator[Sent]:
        """Yield the attack.log lines of a time range as RFC 5424 messages of the Syslog
        appender."""
        attacks = [
            attack
            for scope in ("", *self.apis)
            for attack in self.happened(scope, start, stop)
            if attack.kind != "ddos_info"
        ]
        attacks.sort(key=lambda attack: attack.time)
        return repeated(map(self.message, attacks), self.knobs.twice)

    def message(self, attack: Attack) -> Sent:
        """Return the syslog message of an attack."""
        body = (
            f"<134>1 {rfc3339(attack.time)} abs01.example.com APIIntelligence - Audit -"
            f" {self.line(attack)}"
        )
        return Sent(attack.time, body.encode(), (self.id_in_log(attack),))
