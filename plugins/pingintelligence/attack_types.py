"""The vendor's attack types, and what we say of each: category and severity are ours, for the
vendor has none."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from siemtap.core.forms import SEVERITIES

CRITICAL, HIGH, MEDIUM, LOW = (SEVERITIES[name] for name in ("critical", "high", "medium", "low"))
ACROSS, API, UNKNOWN = "across", "api", "unknown"


class AttackType(NamedTuple):
    """`kinds`: with which identifiers it is reported, where a name alone does not tell."""

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
    # the names of 50 to 53 are published nowhere
    50: AttackType("WebSocket attack 50", API, "websocket_attack", HIGH),
    51: AttackType("WebSocket attack 51", API, "websocket_attack", HIGH),
    52: AttackType("WebSocket attack 52", API, "websocket_attack", HIGH),
    53: AttackType("WebSocket attack 53", API, "websocket_attack", HIGH),
    100: AttackType("Decoy Attack", API, "decoy", HIGH),
    101: AttackType("Invalid API Activity", API, "invalid_activity", LOW),
}
ALSO_CALLED = {"Stolen Cookie Attack Type 1": 4}
REAL_TIME = (100, 101)  # from ASE; whether type 0 has them, no page says
OTHER = AttackType("", UNKNOWN, UNKNOWN, MEDIUM)
WORD = re.compile(r"\battack\b")
NUMBER = re.compile(r"\btype ([0-9]+)\b")


def _stem(name: str) -> Tuple[str, int]:
    """What is left of a name without the parts that pages leave out now and then, and its
    number."""
    said = re.split(r"- per ", name.lower(), maxsplit=1)[0].rstrip("- ")
    number = NUMBER.search(said)
    said = NUMBER.sub("", WORD.sub("", said))
    return " ".join(said.split()).rstrip("- "), int(number[1]) if number else 1


def _stems() -> Dict[Tuple[str, int], Tuple[int, ...]]:
    found: Dict[Tuple[str, int], Tuple[int, ...]] = {}
    for name, id in [*((of.name, id) for id, of in TYPES.items()), *ALSO_CALLED.items()]:
        found[_stem(name)] = (*found.get(_stem(name), ()), id)
    return found


STEMS = _stems()


@lru_cache(maxsize=4096)
def id_of(name: str, across: bool, kind: str) -> Optional[int]:
    """A name as sent -> the type's number. Several share a name: the scope and the kind of
    identifier decide; None where they cannot."""
    found = STEMS.get(_stem(name), ())
    scoped = [id for id in found if TYPES[id].scope == (ACROSS if across else API)] or list(found)
    fitting = [id for id in scoped if kind in TYPES[id].kinds] or [
        id for id in scoped if not TYPES[id].kinds
    ]
    return fitting[0] if len(fitting) == 1 else None


def of(id: Any) -> AttackType:
    """What the table says of a number, as number or text."""
    text = str(id or "")
    return (
        TYPES.get(int(text), OTHER)
        if text.isascii() and text.isdigit() and len(text) < 10
        else OTHER
    )


def scope_of(id: int) -> str:
    return TYPES[id].scope if id in TYPES else UNKNOWN
