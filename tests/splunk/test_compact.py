"""The event in _raw: which fields it has, their order, and any text in them."""

import json
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from siemtap.core.convert import instant
from siemtap.core.rows import Dataset
from siemtap.edge.encode import LONE_SURROGATE, encode
from siemtap.edge.splunk.compact import cim_paths, compact
from siemtap.render import registry
from siemtap.splunk.runtime.pipe import escape_line


def test_long_fields_come_last_under_the_same_name():
    small = compact(Dataset("acme.event", None, (), (), {"observer.type": "waf"}))
    event = {
        "@timestamp": "2026-03-04T10:02:13.417Z",
        "observer": {"type": "waf", "name": "a"},
        "event": {"id": "1"},
        "acme": {"body": "x" * 500, "short": "y", "longest": "z" * 900},
        "related": {"ip": ["192.0.2.1"]},
    }
    line = small(event)
    assert (
        list(line)[-2:] == ["acme.body", "acme.longest"]
        and line["acme.short"] == "y"
        and line["observer.name"] == "a"
        and line["event.id"] == "1"
        and "related" not in line
    )


def test_fields_of_the_cim_end_before_the_extraction_limit():
    """In every case, a field that the CIM reads ends before byte 5,000 of the event."""
    from siemtap.testing.cases import all_folders, play

    for folder in all_folders():
        plugin = registry.plugin(folder.parents[1].name)
        for event in play(folder, plugin)[0]:
            dataset = plugin.dataset(event["event"]["dataset"])
            line = encode(compact(dataset)(event))
            if event["event"].get("kind") == "pipeline_error":
                continue
            assert line.index(b'id":"' + event["event"]["id"].encode()) < 5_000 and json.loads(
                line
            )["@timestamp"] == event["@timestamp"] == instant(event["@timestamp"])
            ends = {
                path: line.index(encode(path) + b":") + len(encode(path)) + 1 + len(encode(value))
                for path, value in json.loads(line).items()
                if path in set(cim_paths(dataset)) and len(encode(value)) > 200
            }
            assert all(end < 5_000 for end in ends.values()), (folder.name, ends)


def test_fields_of_the_cim_come_before_shorter_fields():
    dataset = registry.plugin("apptrana").dataset("apptrana.attack")
    event = {
        "@timestamp": "2026-03-04T10:02:13.417Z",
        "event": {"id": "1"},
        "apptrana": {"attack_data": "x" * 300},
        "url": {"original": "/" + "y" * 3_000},
    }
    assert list(compact(dataset)(event))[-2:] == [
        "url.original",
        "apptrana.attack_data",
    ]


@given(st.text())
def test_any_text_in_xml_and_json(text):
    line = escape_line(encode({"a": text, text: 1}))
    back = ElementTree.fromstring(
        b"<stream><event><data>" + line + b"</data></event></stream>"
    ).findtext("event/data")
    fields = json.loads(back)
    assert fields["a"] == LONE_SURROGATE.sub("\ufffd", text) or text == "a"


@given(st.text(st.characters(categories=["Cs", "Cc", "Cn"])))
def test_characters_that_xml_cannot_hold_are_kept(text):
    back = ElementTree.fromstring(
        b"<data>" + escape_line(encode({"value": text})) + b"</data>"
    ).text
    assert json.loads(back)["value"] == LONE_SURROGATE.sub("\ufffd", text)
