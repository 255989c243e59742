"""Events of every plugin's cases, and one of each class of Deep Security's."""

from siemtap.core.paths import put
from siemtap.render import registry
from siemtap.testing.cases import all_folders, play


def events_of_cases():
    for folder in all_folders():
        plugin = registry.plugin(folder.parents[1].name)
        for event in play(folder, plugin)[0]:
            yield plugin, event


def event_of(dataset, number, **fields):
    """Return (plugin, event). `fields`: path, with two underscores for a dot -> value."""
    event = {"@timestamp": "2026-03-04T10:02:13.417Z"}
    fixed = {"event.dataset": dataset, "event.id": f"{number:032x}", "event.kind": "alert"}
    for path, value in {**fixed, **fields}.items():
        if value is not None:
            put(event, path.replace("__", "."), value)
    return registry.plugin(dataset.partition(".")[0]), event


def of_class(number, kind, **fields):
    """Return an event of Deep Security, with what each of its kinds has."""
    shared = {
        "observer__vendor": "Trend Micro",
        "observer__product": "Deep Security Agent",
        "event__severity": 73,
        "host__name": "web01",
        "rule__name": "A rule",
        "rule__id": "1000128",
        "message": "A rule",
        "centurylink_ips__kind": kind,
    }
    return event_of("centurylink_ips.event", number, **{**shared, **fields})


FLOW = {
    "source__ip": "203.0.113.45",
    "source__address": "203.0.113.45",
    "source__port": 48478,
    "destination__ip": "192.0.2.23",
    "destination__address": "192.0.2.23",
    "destination__port": 443,
    "network__transport": "tcp",
    "network__direction": "ingress",
    "event__duration": 1_500_000_000,
}
FILE = {"file__path": "C:\\temp\\eicar.com", "file__name": "eicar.com", "user__name": "bob"}
URL = {"url__full": "http://bad.example.com/a?b=1", "url__domain": "bad.example.com"}
SIGN_IN = {"user__name": "bob", "client__ip": "192.0.2.8"}
NOT_REMOVED = {
    "centurylink_ips__action": "Quarantine",
    "centurylink_ips__result": "Quarantine Failed",
    "centurylink_ips__virus_type": "Virus",
    "file__hash__sha1": "a" * 40,
}
EVENTS_OF_CLASSES = [
    of_class(number, kind, **{"event__type": [type], **fields})
    for number, (kind, type, fields) in enumerate(
        [
            ("intrusion_prevention", "denied", {**FLOW, "vulnerability__id": "CVE-2021-44228"}),
            ("intrusion_prevention", "allowed", FLOW),
            ("reconnaissance", "info", FLOW),
            ("firewall", "denied", FLOW),
            ("firewall", "allowed", {**FLOW, "network__direction": "egress"}),
            ("integrity", "creation", FILE),
            ("integrity", "deletion", FILE),
            ("integrity", "change", {"registry__path": "HKEY_LOCAL_MACHINE\\SOFTWARE\\Run"}),
            ("anti_malware", "denied", {**FILE, "centurylink_ips__action": "Delete"}),
            ("anti_malware", "denied", {**FILE, "centurylink_ips__action": "Quarantine"}),
            ("anti_malware", "allowed", {**FILE, **NOT_REMOVED}),
            ("web_reputation", "denied", URL),
            ("authentication", "start", {**SIGN_IN, "event__outcome": "success"}),
            ("authentication", "start", {**SIGN_IN, "event__outcome": "failure"}),
            ("log_inspection", "info", {}),
            ("application_control", "denied", FILE),
            ("device_control", "denied", dict.fromkeys(["message", "rule__name", "rule__id"])),
            ("system", "info", SIGN_IN),
            ("other", "info", {}),
        ]
    )
]
