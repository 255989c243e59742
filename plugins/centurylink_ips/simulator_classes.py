"""Events of every class of Deep Security, as a manager or an agent of one's own sends them: a line
of CEF or LEEF, or an object of its JSON."""

from __future__ import annotations

import hashlib
import json
import random
from datetime import datetime, timezone
from typing import Any, Dict, NamedTuple, Tuple

from siemtap.core.convert import rfc3339
from siemtap.core.windows import Millis

from .keys import LABELS

CLASSES = (
    "firewall",
    "reconnaissance",
    "integrity",
    "anti_malware",
    "log_inspection",
    "web_reputation",
    "application_control",
    "device_control",
    "authentication",
    "system",
)
FORMS = ("cef", "leef", "json")
# LEEF's names of the keys that it calls otherwise
LEEF_NAMES = {
    "spt": "srcPort",
    "dpt": "dstPort",
    "smac": "srcMAC",
    "dmac": "dstMAC",
    "suser": "usrName",
}
CATEGORIES = {
    "firewall": "Firewall",
    "reconnaissance": "System",
    "integrity": "Integrity Monitor",
    "anti_malware": "Anti-Malware",
    "log_inspection": "Log Inspection",
    "web_reputation": "Web Reputation",
    "application_control": "AppControl",
    "device_control": "Device Control",
    "authentication": "System",
    "system": "System",
}
EVENT_TYPES = {
    "firewall": "PacketLog",
    "reconnaissance": "SystemEvent",
    "integrity": "IntegrityEvent",
    "anti_malware": "AntiMalwareEvent",
    "log_inspection": "LogInspectionEvent",
    "web_reputation": "WebReputationEvent",
    "application_control": "AppControlEvent",
    "device_control": "DeviceControlEvent",
    "authentication": "SystemEvent",
    "system": "SystemEvent",
}
# keys of a line -> the keys of the manager's JSON
JSON_NAMES = {
    "src": "SourceIP",
    "dst": "DestinationIP",
    "spt": "SourcePort",
    "dpt": "DestinationPort",
    "proto": "ProtocolString",
    "in": "PacketSize",
    "act": "ActionString",
    "suser": "UserName",
    "duser": "OSSEC_DestinationUser",
    "sproc": "ProcessName",
    "result": "ScanResultString",
    "request": "URL",
    "target": "TargetName",
    "targetType": "TargetType",
    "fsize": "FileSize",
    "fileHash": "SHA256",
    "TrendMicroDsFileSHA256": "FileSHA256",
    "msg": "Description",
}
LEVELS = {"3": (1, "Low"), "6": (2, "Medium"), "8": (3, "High"), "10": (4, "Critical")}
STAMPS = ("%b %d %H:%M:%S", "%b %d %Y %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ")


class Event(NamedTuple):
    """An event: its number, name, severity (CEF's scale) and pairs. A key of `labels` is that of a
    custom string in a line."""

    id: str
    name: str
    severity: str
    pairs: Dict[str, str]
    labels: Dict[str, str] = {}
    is_manager: bool = False


class Message(NamedTuple):
    """What is sent, and what the event's id is made of: the element behind the transport's header,
    and the second of that header where it is the only time."""

    text: str
    element: Any
    second: str = ""


def message(number: int, time: Millis, seed: int = 1) -> Message:
    """Return the `number`-th event, as a line or as JSON. No two numbers have the same one."""
    generator = random.Random(f"{seed}:class:{number}")
    name = CLASSES[number % len(CLASSES)]
    form = FORMS[number // len(CLASSES) % len(FORMS)]
    event = _event(name, number, generator)
    if form == "json":
        element = _json(name, event, time, number)
        return Message(json.dumps(element), element)
    moment = datetime.fromtimestamp(time // 1000, timezone.utc)
    line = _cef(event) if form == "cef" else _leef(name, event)
    stamp = moment.strftime(generator.choice(STAMPS))
    return Message(f"<134>{stamp} dsm01 {line}", line, moment.strftime(STAMPS[-1]))


def _event(name: str, number: int, generator: random.Random) -> Event:
    address = f"203.0.113.{generator.randint(1, 254)}"
    path = generator.choice(("/srv/up/", "C:\\Users\\new\\", "/etc/")) + f"{number}.bin"
    user = generator.choice(("alice", "bob", "EXAMPLE\\carol"))
    digest = hashlib.sha256(path.encode()).hexdigest().upper()
    severity = generator.choice(tuple(LEVELS))
    if name == "firewall":
        id, title, action = generator.choice(
            (("20", "Log for TCP Port 22", "Log"), ("21", "Unsolicited TCP", "Deny"))
        )
        packet = {
            "src": address,
            "dst": "192.0.2.10",
            "spt": str(1024 + number % 60_000),
            "dpt": "22",
            "proto": "TCP",
            "in": str(60 + number),
            "act": action,
        }
        return Event(id, title, "5" if action == "Deny" else "0", packet)
    if name == "integrity":
        action = generator.choice(("created", "updated", "deleted", "renamed"))
        pairs = {"act": action, "filePath": path, "suser": user, "sproc": "/usr/bin/vi"}
        return Event("2002779", "Example - System files", severity, pairs)
    if name == "anti_malware":
        action, result = generator.choice(
            (("Quarantine", "Quarantined"), ("Delete", "Deleted"), ("Pass", "Passed"))
        )
        pairs = {"filePath": path, "act": action, "result": result, "suser": user}
        pairs["TrendMicroDsFileSHA256"] = digest
        return Event("4000000", f"Example.{number % 26}", "6", pairs)
    if name == "log_inspection":
        pairs = {"src": address, "duser": user, "msg": f"{number}: failed for {user}"}
        labels = {"LI Description": "Multiple failed logins"}
        return Event("3002828", "Unix - Syslog", severity, pairs, labels)
    if name == "web_reputation":
        pairs = {"request": f"http://bad.example.com/{number}?a=1", "msg": "Blocked By Admin"}
        return Event(generator.choice(("5000000", "5000001")), "WebReputation", "5", pairs)
    if name == "application_control":
        action = generator.choice(("detectOnly", "blocked"))
        pairs = {"filePath": path, "fsize": str(number), "fileHash": digest, "act": action}
        labels = {"actionReason": "notWhitelisted"}
        return Event("6001200", f"AppControl {action}", "6", {**pairs, "suser": user}, labels)
    if name == "device_control":
        pairs = {"fileName": f"E:\\{number}.txt", "processName": "C:\\Windows\\explorer.exe"}
        pairs.update({"vendor": "0951", "serial": str(number), "permission": "0"})
        return Event("7000000", "Device Control DeviceControl", "6", pairs)
    pairs = {"src": "198.51.100.20", "suser": user, "target": user, "targetType": "User"}
    if name == "authentication":
        id, title = generator.choice((("600", "User Signed In"), ("160", "Authentication Failed")))
        pairs["msg"] = f"{title} ({number}) from {address}"
    elif name == "reconnaissance":
        id, title = "851", "Reconnaissance Detected: Network or Port Scan"
        pairs.update({"src": address, "suser": "System", "target": "web01.example.com"})
        pairs.update({"targetType": "Host", "msg": f"scan {number}"})
    else:
        id, title = generator.choice((("650", "User Created"), ("352", "Policy Updated")))
        pairs["msg"] = f"change {number}"
    return Event(id, title, "3", pairs, is_manager=True)


def _header(event: Event) -> Tuple[str, Dict[str, str]]:
    """Return product and version, and the pairs of every event of an agent."""
    if event.is_manager:
        return "Deep Security Manager|20.0.513", {}
    pairs = {"cn1": "12", "cn1Label": "Host ID", "dvchost": "web01.example.com"}
    return "Deep Security Agent|20.0.1234", pairs


def _labelled(event: Event) -> Dict[str, str]:
    pairs = dict(event.pairs)
    for number, (label, value) in enumerate(event.labels.items(), 1):
        assert label in LABELS
        pairs[f"cs{number}"] = value
        pairs[f"cs{number}Label"] = label
    return pairs


def _cef(event: Event) -> str:
    product, pairs = _header(event)
    pairs = {**pairs, **_labelled(event), "TrendMicroDsTenant": "ACME"}
    escaped = (
        f"{key}={value.replace(chr(92), chr(92) * 2).replace('=', chr(92) + '=')}"
        for key, value in pairs.items()
    )
    head = f"CEF:0|Trend Micro|{product}|{event.id}|{event.name}|{event.severity}"
    return f"{head}|{' '.join(escaped)}"


def _leef(name: str, event: Event) -> str:
    product, pairs = _header(event)
    pairs = {
        "cat": CATEGORIES[name],
        "name": event.name,
        "sev": event.severity,
        **pairs,
        **_labelled(event),
        "TrendMicroDsTenant": "ACME",
    }
    written = (f"{LEEF_NAMES.get(key, key)}={value}" for key, value in pairs.items())
    return f"LEEF:2.0|Trend Micro|{product}|{event.id}|{chr(9).join(written)}"


def _json(name: str, event: Event, time: Millis, number: int) -> Dict[str, Any]:
    element: Dict[str, Any] = {
        "EventType": EVENT_TYPES[name],
        "EventID": number,
        "LogDate": rfc3339(time),
        "TenantName": "ACME",
        "Reason": event.name,
    }
    names = {
        **JSON_NAMES,
        "filePath": "Key",
        "suser": "User" if name == "integrity" else "UserName",
    }
    if name == "integrity":
        names["act"] = "ChangeString"
        element["Severity"], element["SeverityString"] = LEVELS[event.severity]
    elif name == "anti_malware":
        names.update({"filePath": "InfectedFilePath", "act": "ScanAction1String"})
        element.update({"MalwareName": event.name, "Reason": "Default Real-Time Scan"})
    elif name == "application_control":
        names.update({"filePath": "Path", "act": "Action"})
    elif name == "log_inspection":
        names.update({"src": "OSSEC_SourceIP", "msg": "OSSEC_FullLog"})
        element["OSSEC_Level"] = 10
    elif event.is_manager:
        names["suser"] = "ActionBy"
        element.update({"Number": int(event.id), "Title": event.name, "Severity": 1})
        del element["Reason"]
    if not event.is_manager:
        element["Hostname"] = "web01.example.com"
    element.update((names.get(key, key), value) for key, value in event.pairs.items())
    return element
