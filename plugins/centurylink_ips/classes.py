"""The classes of Deep Security events: which one an event is, and what ECS calls it.

An agent's events are told apart by their number, a manager's by their number in another list.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

from siemtap.core.convert import text

IPS = "intrusion_prevention"
# first id, last id, class: of an agent's events
AGENT_IDS = (
    (10, 10, IPS),
    (20, 21, "firewall"),
    (30, 30, "integrity"),
    (40, 40, "log_inspection"),
    (100, 199, "firewall"),
    (200, 399, IPS),
    (500, 849, IPS),
    (850, 854, "reconnaissance"),
    (855, 899, IPS),
    (1_000_000, 1_999_999, IPS),
    (2_000_000, 2_999_999, "integrity"),
    (3_000_000, 3_999_999, "log_inspection"),
    (4_000_000, 4_999_999, "anti_malware"),
    (5_000_000, 5_999_999, "web_reputation"),
    (6_000_000, 6_999_999, "application_control"),
    (7_000_000, 7_999_999, "device_control"),
)
# The same of a manager's events, which are system events but for these. The same numbers mean
# something else there: an agent's 123 is a packet that the firewall denied.
MANAGER_IDS = (
    (160, 160, "authentication"),
    (397, 397, "authentication"),
    (600, 600, "authentication"),
    (608, 608, "authentication"),
    (610, 610, "authentication"),
    (621, 621, "authentication"),
    (850, 854, "reconnaissance"),
)
# `cat` of LEEF and EventType of JSON, letters only, in lower case
NAMES = {
    "intrusionprevention": IPS,
    "payloadlog": IPS,
    "firewall": "firewall",
    "packetlog": "firewall",
    "reconnaissance": "reconnaissance",
    "integrity": "integrity",
    "integritymonitor": "integrity",
    "integritymonitoring": "integrity",
    "loginspection": "log_inspection",
    "antimalware": "anti_malware",
    "webreputation": "web_reputation",
    "appcontrol": "application_control",
    "applicationcontrol": "application_control",
    "devicecontrol": "device_control",
    "system": "system",
}
# class -> event.kind, event.category. Where a class can be `denied`, one of its categories has that
# type in ECS.
CLASSES: Dict[str, Tuple[str, List[str]]] = {
    IPS: ("alert", ["intrusion_detection", "network"]),
    "reconnaissance": ("alert", ["intrusion_detection", "network"]),
    "firewall": ("event", ["network"]),
    "integrity": ("event", ["file"]),
    "anti_malware": ("alert", ["malware", "file", "intrusion_detection"]),
    "log_inspection": ("event", ["host"]),
    "web_reputation": ("event", ["web", "network"]),
    "application_control": ("event", ["process", "intrusion_detection"]),
    "device_control": ("event", ["host", "file", "intrusion_detection"]),
    "authentication": ("event", ["authentication"]),
    "system": ("event", ["host"]),
    "other": ("event", ["host"]),
}
PACKETS = (IPS, "reconnaissance", "firewall")
# first number, last number, event.category: of system events about something else than a computer
SYSTEM_CATEGORIES = (
    (100, 155, ["configuration"]),
    (180, 180, ["configuration"]),
    (350, 599, ["configuration"]),
    (601, 604, ["authentication"]),
    (650, 664, ["iam"]),
    (670, 679, ["configuration"]),
)
# The word of a title -> event.type, the first that is there.
CHANGES = (
    ("created", "creation"),
    ("added", "creation"),
    ("imported", "creation"),
    ("deleted", "deletion"),
    ("removed", "deletion"),
    ("updated", "change"),
    ("changed", "change"),
    ("saved", "change"),
    ("set", "change"),
    ("assigned", "change"),
    ("applied", "change"),
)
FAILED = ("failed", "failure", "error", "offline", "rejected", "invalid", "unsuccessful")
SIGN_INS = ("600", "610", "621")
REFUSED = ("160", "397", "608")  # sign-ins that failed
SIGN_OUTS = ("601", "602")  # and sessions that ended by themselves
# lower case, without blanks
DENIED = ("reset", "block", "blocked", "deny", "denied", "drop", "dropped")
ALLOWED = ("log", "logonly", "allow", "allowed", "forceallow", "bypass", "pass", "passed")
REMOVED = ("delet", "quarantin", "clean", "terminat", "den", "accessdenied", "block")
REGISTRY = ("HKEY_", "HKLM\\", "HKCU\\")
WORD = re.compile(r"[a-z]+")
SHORT_NUMBER = re.compile(r"[0-9]{1,6}")


def kind(product: str, id: str, name: str = "") -> str:
    """Return the class of an event by the header of its line, and by the name of its class where it
    has one (LEEF's `cat`, JSON's EventType)."""
    number = int(id) if id.isascii() and id.isdigit() and len(id) < 10 else -1
    letters = "".join(WORD.findall(name.lower()))
    named = NAMES.get(letters[: -len("event")] if letters.endswith("event") else letters)
    if "manager" in product.lower() or named == "system":
        return _of_range(MANAGER_IDS, number) or "system"
    return named or _of_range(AGENT_IDS, number) or "other"


def _of_range(ranges: Tuple[Tuple[int, int, Any], ...], number: int) -> Any:
    return next((name for first, last, name in ranges if first <= number <= last), None)


def event_kind(name: Any) -> str:
    """Return `event.kind` of a class."""
    return CLASSES.get(name, CLASSES["other"])[0]


def categories(name: Any, id: Any, registry: Any, entity: Any) -> List[str]:
    """Return `event.category` of an event by its class, its number, and what was changed."""
    if name == "system" and isinstance(id, str) and SHORT_NUMBER.fullmatch(id):
        return _of_range(SYSTEM_CATEGORIES, int(id)) or ["host"]
    if name == "integrity" and registry:
        return ["registry"]
    if name == "integrity" and entity:
        return ["configuration"]
    return list(CLASSES.get(name, CLASSES["other"])[1])


def types(name: Any, id: Any, action: Any, result: Any, title: Any, description: Any) -> List[str]:
    """Return `event.type` of an event."""
    word = _squeezed(action)
    if name == "integrity":
        return [{"created": "creation", "deleted": "deletion"}.get(word, "change")]
    if name == "authentication":
        return ["start"]
    if name == "system":
        return _types_of_system(id, title)
    if name == "anti_malware":
        return [_type_of_removal(_squeezed(result) or word)]
    if name == "web_reputation":
        return [_type_of_page(id, _squeezed(description))]
    if name in ("application_control", "device_control"):
        return [_type_of_access(name, id, word)]
    return [_type_of_packet(word) if name in PACKETS else "info"]


def _squeezed(value: Any) -> str:
    return "".join(text(value).lower().split()) if isinstance(value, str) else ""


def _type_of_packet(word: str) -> str:
    if word.startswith(("detectonly", "ids:")) or word in ALLOWED:
        return "allowed"
    return "denied" if word in DENIED else "info"


def _type_of_removal(word: str) -> str:
    """By what became of a file: a removal that failed leaves it where it is."""
    if "fail" in word or "unsuccess" in word or word in ALLOWED:
        return "allowed"
    return "denied" if word.startswith(REMOVED) else "info"


def _type_of_page(id: Any, reason: str) -> str:
    if id == "5000001" or "detectonly" in reason:
        return "allowed"
    return "denied" if id == "5000000" or "block" in reason else "info"


def _type_of_access(name: str, id: Any, word: str) -> str:
    if "block" in word or "denied" in word or word == "deny":
        return "denied"
    if "detect" in word or "allow" in word or "full" in word:
        return "allowed"
    number = id if isinstance(id, str) else ""
    if name == "application_control":
        return {"6001": "allowed", "6002": "denied"}.get(number[:4], "info")
    return "denied" if len(number) == 7 and number[4:] in ("000", "200") else "info"


def _types_of_system(id: Any, title: Any) -> List[str]:
    if id in SIGN_OUTS:
        return ["end"]
    categories_of_id = categories("system", id, None, None)
    words = WORD.findall(title.lower()) if isinstance(title, str) else []
    change = next((change for word, change in CHANGES if word in words), "info")
    if categories_of_id == ["iam"]:
        subject = "user" if "user" in words else "group"
        return [subject, change] if change != "info" else [subject, "info"]
    return [change] if categories_of_id == ["configuration"] else ["info"]


def outcome(
    name: Any, id: Any, action: Any, result: Any, title: Any, description: Any
) -> Optional[str]:
    """Return `event.outcome`, as who acted sees it: what was denied is a failure. None where the
    event does not say how it ended."""
    if name == "authentication":
        return "failure" if id in REFUSED else "success"
    if name == "system":
        words = WORD.findall(title.lower()) if isinstance(title, str) else []
        if "resolved" not in words and any(word in words for word in FAILED):
            return "failure"
        return None if categories(name, id, None, None) == ["host"] else "success"
    if name == "integrity":
        return "success"
    kinds = types(name, id, action, result, title, description)
    if kinds == ["denied"]:
        return "failure"
    return "success" if kinds == ["allowed"] and name == "firewall" else None


def entity_of(path: Any, entity: Any) -> str:
    """Return what an integrity event is about: file, registry or other."""
    named = _squeezed(entity)
    if named.startswith("registry"):
        return "registry"
    if named and named not in ("file", "directory"):
        return "other"
    start = path.lstrip()[:5].upper() if isinstance(path, str) else ""
    return "registry" if not named and start in REGISTRY else "file"
