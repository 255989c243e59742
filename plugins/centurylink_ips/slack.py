"""Reader of the vendor's Slack text."""

from __future__ import annotations

import base64
import re
from typing import Any, Dict, Optional, Tuple

from siemtap.core import bounds

SLACK_HEADLINE = re.compile(r"An IPS Event has been caught by our (\S+) on (.+)")
SLACK_LABELS = {
    "Rule Name": "reason",
    "Action Taken": "action",
    "Direction": "direction",
    "Flow": "flow",
    "Interface": "iface",
    "Flags": "flags",
    "Packet Size": "packetSize",
}
SLACK_PARTS = {"MAC": "MAC", "IP": "IP", "Port": "Port"}


def slack(message: str) -> Optional[Dict[str, Any]]:
    """Return the record of a Slack message; None for another text.

    Only the first `Data:` ends the head. What follows is the captured packet, which the attacker
    controls.
    """
    head, mark, data = _split_data(message)
    if head.count("\n") > bounds.LINES_PER_READ:
        return None
    lines = head.split("\n")
    headline = SLACK_HEADLINE.fullmatch(lines[0].strip())
    if not headline:
        return None
    record: Dict[str, Any] = {
        "eventOrigin": headline[1],
        "hostName": headline[2].strip(),
        "@channel": "slack",
    }
    for line in lines[1:]:
        label, colon, value = line.partition(":")
        if line.startswith("On ") and "@date" not in record:
            record["@date"] = line[3:].strip()
        elif "\t" in line and line.split("\t")[0].strip() in ("Source", "Destination"):
            record.update(_read_side(line))
        elif colon and label in SLACK_LABELS:
            record[SLACK_LABELS[label]] = value.strip()
    if mark and data:
        record["data"] = base64.b64encode(data.encode("utf-8", "surrogatepass")).decode()
    return record


def _read_side(line: str) -> Dict[str, str]:
    """Return MAC, IP and port of a line that begins with "Source" or "Destination"."""
    side, *parts = line.split("\t")
    fields = {}
    for part in parts:
        name, _, value = part.partition(":")
        if name.strip() in SLACK_PARTS:
            fields[f"{side.strip().lower()}{SLACK_PARTS[name.strip()]}"] = value.strip()
    return fields


def _split_data(message: str) -> Tuple[str, str, str]:
    """Return the text before "Data:", that mark, and the text behind it."""
    match = re.search(r"^Data: ?", message, re.MULTILINE)
    if not match:
        return message, "", ""
    return message[: match.start()], match[0], message[match.end() :]
