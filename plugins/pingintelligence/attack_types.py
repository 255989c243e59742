"""The vendor's attack types.

ABS assigns neither category nor severity; those in this table are siemtap's.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from siemtap.core.bounds import cached
from siemtap.core.settings import SEVERITIES

CRITICAL, HIGH, MEDIUM, LOW = (SEVERITIES[name] for name in ("critical", "high", "medium", "low"))
ACROSS, API, UNKNOWN = "across", "api", "unknown"


class AttackType(NamedTuple):
    """A row of the table. `scope`: ACROSS or API. `kinds`: the kinds of identifier that the type
    is reported with; set only where several types share a name."""

    name: str
    scope: str
    category: str
    severity: int
    kinds: Tuple[str, ...] = ()


TYPES: Mapping[int, AttackType] = {
    1: AttackType("Data Exfiltration Attack Type 1", API, "data_exfiltration", CRITICAL),
    2: AttackType("Single Client Login Attack Type 1", API, "login_attack", HIGH),
    3: AttackType("Multi-Client Login Attack", API, "login_attack", HIGH),
    4: AttackType("Stolen Token Attack Type 1", API, "stolen_credential", CRITICAL),
    5: AttackType("API Memory Attack Type 1", API, "memory_attack", HIGH),
    6: AttackType("API Memory Attack Type 2", API, "memory_attack", HIGH),
    7: AttackType("Cookie DoS Attack", API, "denial_of_service", HIGH),
    8: AttackType("API Probing Replay Attack Type 1", API, "probing", MEDIUM),
    9: AttackType("API DDoS Attack Type 1", API, "denial_of_service", HIGH),
    10: AttackType("Extreme Client Activity Attack", API, "abnormal_activity", MEDIUM),
    11: AttackType("Extreme App Activity Attack", API, "abnormal_activity", HIGH),
    12: AttackType("API DoS Attack", API, "denial_of_service", HIGH),
    13: AttackType("API DDoS Attack Type 2", API, "denial_of_service", HIGH),
    14: AttackType("Data Deletion Attack", API, "data_deletion", CRITICAL),
    15: AttackType("Data Poisoning Attack", API, "data_poisoning", CRITICAL),
    16: AttackType("Stolen Token Attack Type 2", ACROSS, "stolen_credential", CRITICAL),
    17: AttackType("Stolen Cookie Attack Type 2", ACROSS, "stolen_credential", CRITICAL),
    18: AttackType("API Probing Replay Attack Type 2", ACROSS, "probing", MEDIUM, ("cookie",)),
    19: AttackType(
        "API Probing Replay Attack Type 2", ACROSS, "probing", MEDIUM, ("access_token",)
    ),
    20: AttackType("API Probing Replay Attack Type 2", ACROSS, "probing", MEDIUM, ("ip",)),
    21: AttackType("Data Exfiltration Attack Type 2", API, "data_exfiltration", CRITICAL),
    22: AttackType(
        "Excessive Client Connections", ACROSS, "excessive_connections", MEDIUM, ("cookie",)
    ),
    23: AttackType(
        "Excessive Client Connections", ACROSS, "excessive_connections", MEDIUM, ("access_token",)
    ),
    24: AttackType(
        "Excessive Client Connections", ACROSS, "excessive_connections", MEDIUM, ("ip",)
    ),
    25: AttackType("Content Scraping Type 1", ACROSS, "content_scraping", MEDIUM, ("cookie",)),
    26: AttackType(
        "Content Scraping Type 1", ACROSS, "content_scraping", MEDIUM, ("access_token",)
    ),
    27: AttackType("Content Scraping Type 1", ACROSS, "content_scraping", MEDIUM, ("ip",)),
    28: AttackType("Content Scraping Type 2", API, "content_scraping", MEDIUM),
    29: AttackType("Unauthorized Client Attack", API, "unauthorized_client", HIGH),
    30: AttackType("Single Client Login Attack Type 2", ACROSS, "login_attack", HIGH),
    31: AttackType("Stolen API Key Attack", ACROSS, "stolen_credential", CRITICAL),
    32: AttackType("API Probing Replay Attack Type 1", ACROSS, "probing", MEDIUM, ("api_key",)),
    33: AttackType("API Probing Replay Attack Type 2", ACROSS, "probing", MEDIUM, ("api_key",)),
    34: AttackType("API Probing Replay Attack Type 1", ACROSS, "probing", MEDIUM, ("username",)),
    35: AttackType("API Probing Replay Attack Type 2", ACROSS, "probing", MEDIUM, ("username",)),
    36: AttackType("Sequence Attack", ACROSS, "sequence_attack", MEDIUM),
    37: AttackType("Header Manipulation Attack", API, "header_manipulation", HIGH),
    38: AttackType("Abnormal API Access", ACROSS, "abnormal_activity", MEDIUM),
    39: AttackType("User Data Exfiltration Type 2", API, "data_exfiltration", CRITICAL),
    40: AttackType("User Data Injection", API, "data_injection", CRITICAL),
    41: AttackType("Query Manipulation Attack", API, "query_manipulation", HIGH),
    # the vendor does not publish the names of 50 to 53
    50: AttackType("WebSocket attack 50", API, "websocket_attack", HIGH),
    51: AttackType("WebSocket attack 51", API, "websocket_attack", HIGH),
    52: AttackType("WebSocket attack 52", API, "websocket_attack", HIGH),
    53: AttackType("WebSocket attack 53", API, "websocket_attack", HIGH),
    100: AttackType("Decoy Attack", API, "decoy", HIGH),
    101: AttackType("Invalid API Activity", API, "invalid_activity", LOW),
}
ALSO_CALLED = {"Stolen Cookie Attack Type 1": 4}
REAL_TIME = (100, 101)  # from ASE; not documented whether type 0 includes them
OTHER = AttackType("", UNKNOWN, UNKNOWN, MEDIUM)
WORD = re.compile(r"\battack\b")
NUMBER = re.compile(r"\btype ([0-9]+)\b")


def _stem(name: str) -> Tuple[str, int]:
    """Return (base name, type number) of a name, without the parts that the vendor's pages leave
    out in places."""
    base = re.split(r"- per ", name.lower(), maxsplit=1)[0].rstrip("- ")
    number = NUMBER.search(base)
    base = NUMBER.sub("", WORD.sub("", base))
    return " ".join(base.split()).rstrip("- "), int(number[1]) if number else 1


def _build_stems() -> Dict[Tuple[str, int], Tuple[int, ...]]:
    names = [(attack_type.name, id) for id, attack_type in TYPES.items()]
    stems: Dict[Tuple[str, int], Tuple[int, ...]] = {}
    for name, id in [*names, *ALSO_CALLED.items()]:
        stem = _stem(name)
        stems[stem] = (*stems.get(stem, ()), id)
    return stems


STEMS = _build_stems()


@cached(4096)
def id_of(name: str, across: bool, kind: str) -> Optional[int]:
    """Return the type number of a name as sent.

    Several types share a name: the scope and the kind of identifier select one. None if they do
    not.
    """
    ids = STEMS.get(_stem(name), ())
    scope = ACROSS if across else API
    in_scope = [id for id in ids if TYPES[id].scope == scope] or list(ids)
    of_kind = [id for id in in_scope if kind in TYPES[id].kinds]
    candidates = of_kind or [id for id in in_scope if not TYPES[id].kinds]
    return candidates[0] if len(candidates) == 1 else None


def lookup(id: Any) -> AttackType:
    """Return the row of a type number, given as number or text; OTHER if there is none."""
    text = str(id or "")
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    return TYPES.get(int(text), OTHER) if is_number else OTHER


def scope_of(id: int) -> str:
    return TYPES[id].scope if id in TYPES else UNKNOWN
