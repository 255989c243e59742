"""The simulated alerts and detections. All values are invented."""

from __future__ import annotations

import hashlib
from typing import Any, Dict, Iterator, NamedTuple

from siemtap.core.convert import rfc3339
from siemtap.core.windows import MINUTE, SECOND, Millis

MODELS = (
    ("Credential Dumping via Command Line Tool", "high", ["V9.T1003.001", "V9.T1059.003"]),
    ("Possible Spear Phishing Link", "critical", ["T1566.002"]),
    ("Bypass of User Account Control", "medium", ["T1112", "V9.T1112", "V9.T1548.002"]),
    ("Internal Network Scanner", "low", ["T1046"]),
)
CHANGES = (
    (0, "Open", "New", "No Findings"),
    (7 * MINUTE, "In Progress", "In Progress", "No Findings"),
    (40 * MINUTE, "Closed", "True Positive", "True Positive"),
)
EVERY = 2 * MINUTE  # an alert
RISK_LEVELS = ("info", "low", "medium", "high", "critical", "undefined")
HOSTS = ("web-1", "web-2", "db-1", "laptop-eve")


class Timed(NamedTuple):
    """A record, and the time by which it is queried."""

    time: Millis
    record: Dict[str, Any]


def seconds(moment: Millis) -> str:
    return rfc3339(moment)[:19] + "Z"


def guid(*parts: Any) -> str:
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))


def alerts(start: Millis, stop: Millis, odd: bool) -> Iterator[Timed]:
    """Yield each state of the alerts: one is created every two minutes, and every third one is
    changed twice."""
    last = CHANGES[-1][0]
    for number in range((start - last) // EVERY, stop // EVERY + 1):
        created = number * EVERY + number % 7 * 9 * SECOND
        for after, *state in CHANGES if number % 3 == 0 else CHANGES[:1]:
            if start <= created + after <= stop:
                yield Timed(created + after, alert(number, created, created + after, state, odd))


def alert(number: int, created: Millis, updated: Millis, state: Any, odd: bool) -> Dict[str, Any]:
    model, severity, techniques = MODELS[number % len(MODELS)]
    status, old_status, result = state
    host, account = HOSTS[number % len(HOSTS)], f"example\\user{number % 9}"
    host_id, filter_id = guid("host", host), guid("filter", model)
    record = {
        "schemaVersion": "1.14",
        "id": f"WB-9002-{seconds(created)[:10].replace('-', '')}-{number % 100_000:05}",
        "investigationStatus": old_status,
        "status": status,
        "investigationResult": result,
        "workbenchLink": f"https://portal.example.com/index.html#/workbench/alerts/{number}",
        "alertProvider": "SAE",
        "modelId": guid("model", model),
        "model": model,
        "modelType": "preset",
        "score": 20 + number % 80,
        "severity": severity,
        "createdDateTime": seconds(created),
        "updatedDateTime": seconds(updated),
        "ownerIds": [],
        "impactScope": {
            "desktopCount": 1,
            "serverCount": 0,
            "accountCount": 1,
            "emailAddressCount": 0,
            "containerCount": 0,
            "cloudIdentityCount": 0,
            "entities": [
                {
                    "entityType": "account",
                    "entityValue": account,
                    "entityId": account,
                    "relatedEntities": [host_id],
                    "relatedIndicatorIds": [],
                    "provenance": ["Alert"],
                },
                {
                    "entityType": "host",
                    "entityValue": {
                        "guid": host_id,
                        "name": host,
                        "ips": [f"192.0.2.{number % 250 + 1}"],
                    },
                    "entityId": host_id,
                    "relatedEntities": [account],
                    "relatedIndicatorIds": [1, 2],
                    "provenance": ["Alert"],
                },
            ],
        },
        "description": f"{model} was seen on {host}.",
        "matchedRules": [
            {
                "id": guid("rule", model),
                "name": model,
                "matchedFilters": [
                    {
                        "id": filter_id,
                        "name": f"Filter of {model}",
                        "matchedDateTime": rfc3339(created - MINUTE),
                        "mitreTechniqueIds": techniques,
                        "matchedEvents": [
                            {
                                "uuid": guid("event", number),
                                "matchedDateTime": rfc3339(created - MINUTE),
                                "type": "TELEMETRY_PROCESS",
                            }
                        ],
                    }
                ],
            }
        ],
        "indicators": [
            {
                "id": 1,
                "type": "command_line",
                "field": "processCmd",
                "value": f"tool.exe --job {number}",
                "relatedEntities": [host_id],
                "filterIds": [filter_id],
                "provenance": ["Alert"],
            },
            {
                "id": 2,
                "type": "ip",
                "field": "objectIp",
                "value": f"203.0.113.{number % 250 + 1}",
                "relatedEntities": [host_id],
                "filterIds": [filter_id],
                "provenance": ["Alert"],
            },
        ],
    }
    if odd and number % 11 == 0:
        record.update(score="high", severity="unheard of", impactScope=None, indicators="none")
    if odd and number % 13 == 0:
        record.update(matchedRules=[{"id": 7}, None], somethingNew={"a": [1, {"b": "c"}]})
    return record


def detections(start: Millis, stop: Millis, odd: bool) -> Iterator[Timed]:
    """Yield the detections that are ingested in a time range: one every twelve seconds, of an event
    that is some seconds old, or five hours."""
    every = MINUTE // 5
    for number in range(start // every, stop // every + 1):
        ingested = number * every + number % 11 * SECOND
        age = 5 * 60 * MINUTE if number % 17 == 0 else (10 + number % 40) * SECOND
        if start <= ingested <= stop:
            yield Timed(ingested, detection(number, ingested - age, ingested, odd))


def detection(number: int, detected: Millis, ingested: Millis, odd: bool) -> Dict[str, Any]:
    model, _, techniques = MODELS[number % len(MODELS)]
    risk_level = RISK_LEVELS[number % len(RISK_LEVELS)]
    host, uuid = HOSTS[number % len(HOSTS)], guid("event", number)
    source, detail = (
        ("detections", network_event(number))
        if number % 3 == 0
        else ("endpointActivityData", process_event(number, detected))
    )
    record = {
        "source": source,
        "uuid": uuid,
        "filters": [
            {
                "id": f"F{1000 + number % 9000}",
                "name": model,
                "description": f"{model} was observed.",
                "mitreTacticIds": ["TA0002"],
                "mitreTechniqueIds": techniques,
                "highlightedObjects": [{"type": "port", "field": "objectPort", "value": 443}],
                "riskLevel": risk_level,
                "type": "preset",
            }
        ],
        "endpoint": {
            "endpointName": host,
            "agentGuid": guid("host", host),
            "ips": [f"192.0.2.{number % 250 + 1}", "2001:db8::2"],
        },
        "entityType": "endpoint",
        "entityName": f"{host} (192.0.2.{number % 250 + 1})",
        "detectedDateTime": seconds(detected),
        "ingestedDateTime": seconds(ingested),
        "detail": {
            "uuid": uuid,
            "eventTime": str(detected) if number % 2 else detected,
            "filterRiskLevel": risk_level,
            "endpointHostName": host,
            "tags": [f"XSAE.F{1000 + number % 9000}"],
            **detail,
        },
    }
    if odd and number % 19 == 0:
        record.update(endpoint="none", filters=[], detail={"src": ["192.0.2.1", "192.0.2.2"]})
    return record


def process_event(number: int, moment: Millis) -> Dict[str, Any]:
    return {
        "productCode": "xes",
        "pname": "751",
        "pver": "1.2.0.2454",
        "eventId": "1",
        "eventSubId": 2,
        "firstSeen": str(moment),
        "lastSeen": str(moment),
        "endpointMacAddress": ["00:00:5e:00:53:01"],
        "osName": "Windows",
        "osVer": "10.0.19044",
        "processName": "C:\\Windows\\System32\\services.exe",
        "processFilePath": "C:\\Windows\\System32\\services.exe",
        "processPid": 600 + number % 400,
        "processCmd": "C:\\Windows\\system32\\services.exe",
        "processUser": "SYSTEM",
        "processUserDomain": "NT AUTHORITY",
        "processFileHashSha1": hashlib.sha1(b"services").hexdigest(),
        "parentFilePath": "C:\\Windows\\System32\\wininit.exe",
        "objectFilePath": "C:\\Windows\\System32\\sppsvc.exe",
        "objectName": "C:\\Windows\\System32\\sppsvc.exe",
        "objectUser": "NETWORK SERVICE",
    }


def network_event(number: int) -> Dict[str, Any]:
    return {
        "productCode": "pdi",
        "pname": "Deep Discovery Inspector",
        "eventId": "100119",
        "eventName": "SECURITY_RISK_DETECTION",
        "act": ["not blocked"],
        "app": "KERBEROS",
        "src": ["198.51.100.9"],
        "spt": 88,
        "shost": "kerberos.example.com",
        "dst": [f"192.0.2.{number % 250 + 1}"],
        "dpt": 50_000 + number % 9_999,
        "dhost": "client.example.com",
        "dmac": "00:00:5e:00:53:02",
        "suid": f"user{number % 9}",
        "ruleId": 1537,
        "ruleName": "Unsuccessful logon (Response)",
        "severity": 4,
        "dvchost": "inspector-1",
        "dvc": ["192.0.2.250"],
    }
