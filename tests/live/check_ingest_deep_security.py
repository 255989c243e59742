"""The classes of Deep Security's events on a real node: generated lines and JSON, with odd numbers,
words and values, become the same events as in Python."""

import json
import random

import pytest
from centurylink_ips import keys, simulator_classes
from centurylink_ips.formats import records
from ingest import ADDRESSES, ODD, differences, document, processed, put

from siemtap.core.compile import bind
from siemtap.core.convert import millis_of
from siemtap.core.manifest import fill_in
from siemtap.core.model import Payload
from siemtap.render import registry

ARRIVED = "2026-03-04T10:05:00.000Z"
PRODUCTS = ("Deep Security Agent", "Deep Security Manager10", "Workload Security MANAGER", "", "x")
NUMBERS = (
    *("10", "20", "30", "40", "115", "160", "182", "250", "350", "397", "512", "600", "601", "603"),
    *("650", "661", "664", "721", "730", "851", "899", "1005040", "2002779", "3002795", "4000000"),
    *("5000000", "5000001", "5000002", "6001100", "6002200", "7000000", "7001200", "7001100", "x"),
    *("8000000", "99999999999", "", "\u0661\u0660", "-10"),
)
TITLES = (
    *(
        "User Created",
        "Get Events Failure Resolved",
        "Role Deleted",
        "Policy updated",
        "Send Policy Failed",
        "Offline",
        "x",
        "",
    ),
    "OFFLINE\u0130",
)
WORDS = (
    *("Reset", "IDS:Reset", "Detect Only: x", "Log", "log  only", "Deny", "Delete", "Quarantined"),
    *("Delete Failed", "Passed", "access denied", "created", "Renamed", "detectOnly", "BLOCKED"),
    *("N/A", "(no user)", "-", "", " ", "0", "12", "Host", "User", "RegistryKey", "file", "\u0130"),
    *("Blocked By Admin", "User x signed in from 192.0.2.30.", "from", "x from fe80::1%eth0 y"),
    *("/srv/a", "C:\\a", "HKEY_LOCAL_MACHINE\\x", "hklm\\x", "a", "/", "\\", "x.", "a | b | c"),
    *('"CVE-2021-44228" CVE-2021-1', "cve-2022-30522,CVE-2022-305229999999", "CVE-", "8 0", "8"),
    *(
        "256 0",
        "1 2 3",
        "44D88612FEA8A8F36DE82E1278ABB02F",
        "3395856CE81F2B7382DEE72602F798B642F1414",
    ),
    *("6", "47", "132", "Intrusion Prevention", "a\tb", "a\t=b", "Description Omitted"),
    *("A scan (203.0.113.9).", "x [::1], '192.0.2.1'", "web01 ((192.0.2.10))", "192.0.2.1"),
    *("web01 (192.0.2.10)", "web01 [i-1]", " (x)", "a;b,,c", "http://u:p@h.example.com:80/a?b#c"),
    *("example.com/x?y=1", "example.com:80", "x://", "?", "203.0.113.9:80, 192.0.2.1", *ADDRESSES),
)


@pytest.fixture
def compared(node):
    """Return a function that compares the events of Python and of the pipelines."""
    plugin = registry.plugin("centurylink_ips")
    dataset, settings = plugin.datasets[0], fill_in(plugin.settings, {"decode_data": True})
    put(node, plugin, dataset)
    map_record = bind(dataset, settings, {"data_stream.namespace": "default"})

    def compare(bodies, channel):
        sent, wanted = [], []
        for body in bodies:
            text = body if isinstance(body, str) else json.dumps(body)
            payload = Payload(text.encode(), channel, "", "192.0.2.99", millis_of(ARRIVED), {})
            (record,) = records(settings, payload)
            wanted.append(map_record(record, millis_of(ARRIVED), None))
            how = "udp" if channel == "udp" else "http_endpoint"
            raw = {"message" if channel == "udp" else "_record": body, "@timestamp": ARRIVED}
            sent.append(document(plugin, dataset, settings, how, raw))
        return differences(wanted, processed(node, dataset, sent), bodies)

    return compare


def test_events_as_they_are_sent(compared):
    sent = [simulator_classes.message(number, millis_of(ARRIVED) - number) for number in range(900)]
    assert not compared([message.text for message in sent if message.second], "udp")
    assert not compared([message.element for message in sent if not message.second], "webhook")


def test_lines_with_odd_numbers_words_and_keys(compared):
    rng = random.Random(7)
    names = [
        *keys.LINE_KEYS,
        "dvc",
        "dvchost",
        "in",
        "out",
        "msg",
        "cat",
        "new",
    ]
    # as a record's own
    names += ["user", "hostName", "reason", "managerIP", "sourceIP", "_user", "@kind", "fileName"]
    lines = []
    for number in range(2_500):
        pairs = {name: rng.choice(WORDS) for name in rng.sample(names, rng.randint(1, 9))}
        if rng.random() < 0.5:
            pairs["cs1"] = rng.choice(WORDS)
            pairs["cs1Label"] = rng.choice(("", "DPI ", "Intrusion Prevention ")) + rng.choice(
                ("x", "", *keys.LABELS)
            )
        head = f"Trend Micro|{rng.choice(PRODUCTS)}|20|{rng.choice(NUMBERS)}"
        if number % 3:
            written = " ".join(f"{name}={value}" for name, value in pairs.items())
            line = f"CEF:0|{head}|{rng.choice(TITLES)}|{rng.choice(WORDS)}|{written}"
        else:
            written = "\t".join(f"{name}={value}" for name, value in pairs.items())
            line = f"LEEF:2.0|{head}|{written}"
        lines.append(f"<134>Mar  4 10:02:13 dsm {line}")
    wrong = compared(lines, "udp")
    assert not wrong, wrong


def test_json_with_odd_values(compared):
    rng = random.Random(7)
    names = [*keys.JSON_KEYS, *keys.CODE_KEYS, "Reason", "Risk", "ScanAction1", "ScanAction2"]
    names += ["hostName", "user", "process", "_user", "@kind", "managerIP"]  # a record's own
    names += ["ScanResultAction1", "Description", "TargetType", "TargetID", "Note", "Cve", "Mitre"]
    types = [
        *simulator_classes.EVENT_TYPES.values(),
        "IntrusionPreventionEvent",
        "PayloadLog",
        "New",
        "",
        5,
        None,
    ]
    elements = []
    for _ in range(2_500):
        element = {
            name: rng.choice(rng.choice((WORDS, ODD, (0, 1, 2, 3, 4, 5, 130, -81))))
            for name in rng.sample(names, rng.randint(1, 12))
        }
        if rng.random() < 0.9:
            element["EventType"] = rng.choice(types)
        if rng.random() < 0.5:
            element["Number"] = rng.choice((160, 600, 601, 650, 730, 851, "600", 6.5, True))
        elements.append({"LogDate": "2026-03-04T10:02:13.000Z", **element})
    wrong = compared(elements, "webhook")
    assert not wrong, wrong
