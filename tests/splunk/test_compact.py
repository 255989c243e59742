"""The event in _raw: which fields it has, their order, and any text in them."""

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from splunk_search import line_of, searched, tags_of

from siemtap.core.paths import leaves
from siemtap.core.rows import Cim, Dataset, Field
from siemtap.edge.encode import LONE_SURROGATE, encode
from siemtap.edge.splunk.compact import cim_paths, compact
from siemtap.edge.splunk.lines import line_encoder
from siemtap.edge.splunk.serializer import sourcetype
from siemtap.render import registry
from siemtap.splunk.build import knowledge
from siemtap.splunk.runtime.pipe import escape_line
from siemtap.testing.cases import all_folders, folder_of, play
from siemtap.testing.cim import value_of


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


# Values that are words of a list, or that tell the event's class: no sender makes them long.
FIXED = ("@timestamp", "event.", "ecs.", "data_stream.", "observer.type", "error.message")
EVENTS = [
    (registry.plugin(folder.parents[1].name), event)
    for folder in all_folders()
    for event in play(folder, registry.plugin(folder.parents[1].name))[0]
]
TEXTS = st.text(min_size=1, max_size=6)


def lengthened(value, paths, more, path=""):
    """Return an event whose texts at these paths (None: at all) go on with `more`."""
    if isinstance(value, dict):
        return {
            name: lengthened(inner, paths, more, f"{path}.{name}" if path else name)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [lengthened(item, paths, more, path) for item in value]
    if isinstance(value, str) and not value.isdigit() and (paths is None or path in paths):
        return value + more
    return value


def check_extraction(plugin, event):
    """Check that Splunk extracts each field that the knowledge reads of an event: the value, or the
    start of one that is too long."""
    dataset = plugin.dataset(event["event"]["dataset"])
    fields = searched(line_of(event, dataset), knowledge.props(plugin)[sourcetype(dataset.name)])
    group = dataset.cim.class_of(event)
    assert tags_of(fields, plugin, sourcetype(dataset.name)) == set(group.tags if group else ())
    assert fields["event.id"] == [event["event"]["id"]]
    if event["event"].get("kind") == "pipeline_error":
        assert fields["event.kind"] == ["pipeline_error"] and fields["error.message"]
        return fields
    for name, rule in dataset.cim.rules_of(group).items():
        whole = value_of(event, rule)
        assert (whole is None) == (name not in fields), (name, whole)
    return fields


def paths_of(plugin, event):
    dataset = plugin.dataset(event["event"]["dataset"])
    read = {*cim_paths(dataset), *(path for path, _ in leaves(event))} - {dataset.cim.by}
    return sorted(path for path in read if not path.startswith(FIXED))


@pytest.mark.slow
@given(st.sampled_from(EVENTS), TEXTS, st.sampled_from([60, 600, 6_000, 20_000]), st.data())
def test_what_the_knowledge_reads_is_extracted_whatever_is_long(case, text, length, data):
    plugin, event = case
    paths = paths_of(plugin, event)
    some = data.draw(st.one_of(st.just(paths), st.sets(st.sampled_from(paths), min_size=1)))
    check_extraction(plugin, lengthened(event, set(some), (text * length)[:length]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["x", "\x00", "\x7f", "\u20ac", "\U0001f600", "\ud800", '"', "\x85"]
)
def test_all_values_may_be_long(text):
    of_class = {}
    for plugin, event in EVENTS:
        dataset = plugin.dataset(event["event"]["dataset"])
        of_class[dataset.name, str(dataset.cim.class_of(event))] = (plugin, event)
    assert len(of_class) > 12
    for plugin, event in of_class.values():
        check_extraction(plugin, lengthened(event, set(paths_of(plugin, event)), text * 6_000))


def test_fields_of_a_long_event_are_the_start_of_its_values():
    plugin = registry.plugin("apptrana")
    (event,) = play(folder_of(plugin) / "cases/a_url_of_5530_characters", plugin)[0]
    fields, url = check_extraction(plugin, event), event["url"]["full"]
    assert len(url) > 5_000 and url.startswith(fields["url"][0]) and len(fields["url"][0]) > 2_000
    assert fields["dest"] == fields["url_domain"] == ["shop.example.com"]
    assert fields["uri_path"] == ["/search"] and fields["src"] == ["203.0.113.45"]
    assert fields["splunk.shortened"] == ["true"]
    line = json.loads(line_of(event, plugin.dataset("apptrana.attack")))
    assert line["splunk.whole.url.full"] == url and line["url.full"] == fields["url.full"][0]


def test_a_measured_value_has_its_whole_length():
    plugin = registry.plugin("apptrana")
    event = play(folder_of(plugin) / "cases/headers_kept_on_request", plugin)[0][0]
    event["apptrana"]["request_headers"]["user-agent"] = "x" * 7_000
    event["user_agent"] = {"original": "x" * 7_000}
    fields = check_extraction(plugin, event)
    assert fields["http_user_agent_length"] == ["7000"]
    assert 2_000 < len(fields["http_user_agent"][0]) < 5_000


def test_an_event_of_many_fields_begins_with_those_of_the_cim():
    plugin = registry.plugin("apptrana")
    event = next(event for _, event in EVENTS if event["event"]["dataset"] == "apptrana.attack")
    event = {
        **event,
        "apptrana": {**{f"x-{number}": "y" for number in range(200)}, **event["apptrana"]},
    }
    assert len(line_of(event, plugin.dataset("apptrana.attack"))) < 5_000
    check_extraction(plugin, event)


def test_an_event_is_not_changed_and_a_list_keeps_its_first_items():
    cim = Cim(custom=("names",), fields={"names": {"from": "acme.names"}})
    dataset = Dataset("acme.event", None, (), (Field("names", "acme.names"),), cim=cim)
    event = {
        "@timestamp": "2026-03-04T10:02:13.417Z",
        "event": {"id": "1", "kind": "pipeline_error"},
        "acme": {"names": ["x" * 30, "y" * 4_000, "z" * 4_000], "short": 1},
    }
    before = json.dumps(event)
    line = json.loads(line_encoder(dataset)(event))
    assert json.dumps(event) == before
    assert line["acme.names"] == ["x" * 30, "y" * 4_000]
    assert line["splunk.whole.acme.names"] == event["acme"]["names"]
    event["acme"]["names"] = ["x" * 9_000]
    (start,) = json.loads(line_encoder(dataset)(event))["acme.names"]
    assert 4_500 < len(start) < 5_000


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
