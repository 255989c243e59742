"""docs/deep-security.md: its table of classes is what the cases show."""

import re
from pathlib import Path

from centurylink_ips import PLUGIN, classes

from siemtap.core.paths import leaves
from siemtap.testing.cases import folders, play

PAGE = Path(__file__).parents[2] / "docs/deep-security.md"
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| (\w+) \| (.*?) \| (.*?) \| (.*?) \|$", re.MULTILINE)
CODE = re.compile(r"`([\w.]+)`")


def test_every_class_is_described_as_it_is():
    rows = {row[0]: row[1:] for row in ROW.findall(PAGE.read_text(encoding="utf-8"))}
    assert rows.keys() == classes.CLASSES.keys()
    for name, (kind, categories) in classes.CLASSES.items():
        assert rows[name][1] == kind
        words = re.findall(r"[a-z_]+", rows[name][2])
        assert set(categories) <= set(words), name


def test_every_field_of_a_class_is_in_an_event_of_it():
    rows = {row[0]: row[1:] for row in ROW.findall(PAGE.read_text(encoding="utf-8"))}
    events = [event for folder in folders(PLUGIN) for event in play(folder, PLUGIN)[0]]
    fields = {name: set() for name in rows}
    types = {name: set() for name in rows}
    for event in events:
        name = event.get("centurylink_ips", {}).get("kind")
        if name in fields:
            fields[name] |= dict(leaves(event)).keys()
            types[name] |= set(event["event"]["type"])
    for name, (_, _, _, told_types, told_fields) in rows.items():
        assert set(CODE.findall(told_fields)) <= fields[name], name
        wanted = set(CODE.findall(told_types)) & {"denied", "allowed", "creation", "change", "end"}
        assert wanted <= types[name], name
