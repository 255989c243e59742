"""Sender of the simulated vendor's events, which never retries."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, Set, Tuple
from urllib.parse import quote_plus

from siemtap.core.convert import rfc3339
from siemtap.core.identity import identify
from siemtap.core.windows import DAY, Millis
from siemtap.testing.simulation import Sent
from siemtap.testing.vendor import SimulatedVendor, repeated

from . import simulator_classes
from .simulator_knobs import Knobs

SERVERS = ("VA1ACMEWEB01", "VA1ACMEWEB02", "VA1ACMEDB01")
RULES = (
    ("1000128", "Example Traversal Filter", "High"),
    ("1000552", "Generic Cross Site Scripting Prevention", "Medium"),
    ("1000608", "Generic SQL Injection Prevention", "Critical"),
    ("1005613", "Generic SQL Injection Prevention - 2", "High"),
    ("1006067", "Identified Too Many HTTP Requests", "Low"),
)
NUMBERS = {"Critical": 10, "High": 8, "Medium": 6, "Low": 3}
IDENTITY_KEYS = (
    "reason",
    "action",
    "protocol",
    "sourceIP",
    "sourcePort",
    "destinationIP",
    "destinationPort",
    "packetSize",
    "data",
)
MANAGER_KEYS = {
    "HostName": "Hostname",
    "Iface": "Interface",
    "StartTime": "LogDate",
    "EventOrigin": "OriginString",
    "Action": "ActionString",
    "Direction": "DirectionString",
    "Flow": "FlowString",
    "Protocol": "ProtocolString",
}


@dataclass
class Sender(SimulatedVendor):
    """The sender: `pushed` is everything that it sends."""

    knobs: Knobs = field(default_factory=Knobs)

    def pushed(self, start: Millis, stop: Millis) -> Iterator[Sent]:
        """Yield everything sent from start to stop, in order of time. An event's number decides
        its form."""
        interval = 1000 / self.knobs.rate
        numbers = range(int(-(-start // interval)), int(-(-stop // interval)))
        messages = (self.sent(number, int(number * interval)) for number in numbers)
        return repeated(messages, self.knobs.twice)

    def sent(self, number: int, time: Millis) -> Sent:
        """Return one event in the form that its number decides."""
        form = self.knobs.formats[number % len(self.knobs.formats)]
        if form == "classes":
            message = simulator_classes.message(number, time, self.knobs.seed)
            channel = "syslog" if message.second else "webhook"
            content_type = "" if message.second else "application/json"
            ids = (_whole(message.element, message.second),)
            return Sent(time, message.text.encode(), ids, channel, content_type)
        record = self.event(number, time)
        if form in ("cef", "cef_line", "relayed", "cef_rt", "leef"):
            line, id = _line(record, time, form)
            return Sent(time, line.encode(), (id,))
        document: Any = record
        id = _id(record)
        content_type = "application/json"
        if form == "array":
            document = [record]
        elif form == "wrapper":
            document = {"events": [record]}
        elif form != "json":
            is_slack = form in ("slack", "form")
            document = _slack(record, time) if is_slack else _deep_security(record)
            id = _whole(document)
        if form == "sns":
            document = {
                "Type": "Notification",
                "MessageId": f"00000000-0000-4000-8000-{number % 10**12:012}",
                "TopicArn": "arn:aws:sns:eu-west-1:000000000000:example",
                "Message": json.dumps([document]),
                "Timestamp": rfc3339(time),
            }
            content_type = "text/plain; charset=UTF-8"
        body = json.dumps(document)
        if form == "slack":
            content_type = "application/json; charset=utf-8"
        elif form == "form":
            body = f"payload={quote_plus(body)}"
            content_type = "application/x-www-form-urlencoded"
        return Sent(time, body.encode(), (id,), "webhook", content_type)

    def event(self, number: int, time: Millis) -> Dict[str, Any]:
        """Return a random event with the keys of the vendor's page."""
        generator = random.Random(f"{self.knobs.seed}:{number}")
        rule, name, severity = generator.choice(RULES)
        request = f"GET /cgi-bin/{number}/../../secret.cfg HTTP/1.1"
        packet = f"{request}\r\nHost: shop.example.com\r\n\r\n".encode()
        stamp = rfc3339(time)
        return {
            "packetSize": generator.randint(60, 1500),
            "rank": generator.choice((25, 50, 75, 100)),
            "driverTime": time * 1000 + number % 1000,
            "startTime": stamp,
            "endTime": stamp,
            "action": generator.choice(("Reset", "Reset", "Block", "Detect Only: Reset")),
            "data": base64.b64encode(packet).decode(),
            "destinationIP": f"192.0.2.{generator.randint(10, 30)}",
            "destinationMAC": "00:00:5E:00:53:01",
            "destinationPort": generator.choice(("80", "443", "8080")),
            "direction": "Incoming",
            "eventOrigin": "AGENT",
            "flags": "ACK PSH DF=1",
            "flow": "Connection Flow",
            "hostName": generator.choice(SERVERS),
            "iface": "00:00:5E:00:53:01",
            "protocol": "TCP",
            "reason": f"{rule} - {name}",
            "sourceIP": (
                f"{generator.choice(('203.0.113', '198.51.100'))}.{generator.randint(1, 40)}"
            ),
            "sourceMAC": "00:00:5E:00:53:2A",
            "sourcePort": str(generator.randint(1024, 65535)),
            "tags": "",
            "severity": severity,
        }

    def ledger(self, now: Millis, start: Millis = 0, stop: Millis = 0) -> Set[str]:
        """Return the ids of all events from start to stop, by default of the last day."""
        return {id for sent in self.pushed(start or now - DAY, stop or now) for id in sent.ids}


def _id(record: Dict[str, Any]) -> str:
    """Return the event id of the webhook's own object, computed without the plugin."""
    return identify(
        "centurylink_ips.event",
        [record["hostName"], record["driverTime"], *(record.get(name) for name in IDENTITY_KEYS)],
    )


def _whole(element: Any, instant: str = "") -> str:
    """Return the event id of every other form: the whole element counts."""
    return identify("centurylink_ips.event", [element, instant])


def _deep_security(record: Dict[str, Any]) -> Dict[str, Any]:
    """Return the manager's own JSON."""
    event = {name[:1].upper() + name[1:]: value for name, value in record.items()}
    for page_key, manager_key in MANAGER_KEYS.items():
        event[manager_key] = event.pop(page_key)
    return {**event, "EventType": "PayloadLog"}


def _slack(record: Dict[str, Any], time: Millis) -> Dict[str, Any]:
    """Return the message for Slack."""
    date = datetime.fromtimestamp(time / 1000, timezone.utc).strftime("%a %b %d %H:%M:%S UTC %Y")
    packet = base64.b64decode(record["data"]).decode()
    lines = [
        f"An IPS Event has been caught by our {record['eventOrigin']} on {record['hostName']}",
        f"On {date}",
        f"Rule Name: {record['reason']}",
        f"Action Taken: {record['action']}",
        (
            f"Source\tMAC: {record['sourceMAC']}\tIP: {record['sourceIP']}\tPort:"
            f" {record['sourcePort']}"
        ),
        (
            f"Destination\tMAC: {record['destinationMAC']}\tIP: {record['destinationIP']}\tPort:"
            f" {record['destinationPort']}"
        ),
        f"Direction: {record['direction']}",
        f"Flow: {record['flow']}",
        f"Interface: {record['iface']}",
        f"Flags: {record['flags']}",
        f"Packet Size: {record['packetSize']}",
        f"Data: {packet}",
    ]
    return {
        "username": "Client Security Bot",
        "icon_emoji": ":cop:",
        "text": "\n".join(lines),
    }


def _line(record: Dict[str, Any], time: Millis, form: str) -> Tuple[str, str]:
    """Return a line and its event id. A `cef_line` has no syslog header and no time."""
    rule, _, name = record["reason"].partition(" - ")
    moment = datetime.fromtimestamp(time // 1000, timezone.utc)
    stamp = f"{moment:%b} {moment.day:2d} {moment:%H:%M:%S}"
    action = record["action"].replace("Detect Only: ", "IDS:")
    second = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    header = f"<134>{stamp} dsm01"
    if form == "leef":
        line = (
            f"LEEF:2.0|Trend Micro|Deep Security Agent|20.0.0|{rule}|name={name}\tact={action}"
            f"\tsev={NUMBERS[record['severity']]}\tsrc={record['sourceIP']}"
            f"\tsrcPort={record['sourcePort']}\tdst={record['destinationIP']}"
            f"\tdstPort={record['destinationPort']}\tproto={record['protocol']}"
        )
        return f"{header} {line}", _whole(line, second)
    line = (
        "CEF:0|Trend Micro|Deep Security"
        f" Agent|20.0.0|{rule}|{name}|{NUMBERS[record['severity']]}|cn1=311 cn1Label=Host ID"
        f" dvchost={record['hostName']} dmac={record['destinationMAC']} smac={record['sourceMAC']}"
        f" TrendMicroDsFrameType=IP src={record['sourceIP']} dst={record['destinationIP']}"
        f" in={record['packetSize']} cs3=DF cs3Label=Fragmentation Bits proto={record['protocol']}"
        f" spt={record['sourcePort']} dpt={record['destinationPort']} cs2=0x00 ACK PSH cs2Label=TCP"
        f" Flags cnt=1 act={action}"
        f" TrendMicroDsPacketData={record['data'].replace('=', chr(92) + '=')}"
        " TrendMicroDsTenant=ACME TrendMicroDsTenantId=42"
    )
    if form == "cef_line":
        return line, _whole(line)
    if form == "cef_rt":
        line = f"{line} rt={time}"
        return f"{header} {line}", _whole(line)
    if form == "relayed":
        header = f"<13>{rfc3339(time + 1_000)} relay2 {stamp} relay1 {header}"
    return f"{header} {line}", _whole(line, second)
