"""The search-time tests that pytest-splunk-addon generates for an add-on, against the stand-in of
Splunk's search: its own parsers read the conf files and name the fields, tags and eventtypes; what
its tests ask of Splunk is asked of the events of the cases."""

import logging
import os
import sys

import pytest
from cache import CACHE
from splunk_events import EVENTS_OF_CLASSES, events_of_cases
from splunk_search import line_of, searched, tags_of

from siemtap.edge.splunk.serializer import sourcetype
from siemtap.render import registry
from siemtap.splunk.build import knowledge
from siemtap.splunk.build.app import confs
from siemtap.splunk.build.conf import render_conf

FOLDER = CACHE / "cim-6.4.0"
PARSERS = FOLDER / "addonfactory_splunk_conf_parser_lib.py"
pytestmark = pytest.mark.skipif(
    not (PARSERS.exists() or os.environ.get("CI")), reason="no pytest-splunk-addon: ci/tools"
)
each_plugin = pytest.mark.parametrize(
    "plugin", registry.installed().values(), ids=lambda plugin: plugin.name
)


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """Return a function: what pytest-splunk-addon generates its tests of, for a plugin."""
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    logging.getLogger("pytest-splunk-addon").setLevel(logging.CRITICAL)
    from pytest_splunk_addon.addon_parser.eventtype_parser import EventTypeParser
    from pytest_splunk_addon.addon_parser.props_parser import PropsParser
    from pytest_splunk_addon.addon_parser.tags_parser import TagsParser

    def of(plugin):
        (tmp_path / "default").mkdir()
        for name, stanzas in confs(plugin).items():
            (tmp_path / f"default/{name}.conf").write_text(render_conf(stanzas))
        folder = str(tmp_path)
        return (
            list(PropsParser(folder).get_props_fields()),
            list(TagsParser(folder).get_tags()),
            list(EventTypeParser(folder).get_eventtypes()),
        )

    return of


def events(plugin):
    """Return (sourcetype, fields at search time) of every event of the cases."""
    indexed = []
    for owner, event in [*events_of_cases(), *EVENTS_OF_CLASSES]:
        if owner.name == plugin.name:
            dataset = plugin.dataset(event["event"]["dataset"])
            name = sourcetype(dataset.name)
            indexed.append((name, searched(line_of(event, dataset), knowledge.props(plugin)[name])))
    return indexed


@pytest.mark.slow
@each_plugin
def test_every_field_of_props_is_in_an_event_and_never_a_dash(plugin, parse):
    """`test_props_fields`, and `test_props_fields_no_dash_not_empty`."""
    groups, _, _ = parse(plugin)
    known = events(plugin)
    missing, empty = [], []
    for group in groups:
        if group["stanza_type"] != "sourcetype" or group["stanza"].endswith(":log"):
            continue
        of_stanza = [fields for name, fields in known if name == group["stanza"]]
        for field in group["fields"]:
            name = field.name.strip('"')  # its parser leaves the quotes of a name with braces
            values = [fields.get(name, []) for fields in of_stanza]
            assert field.expected_values == ["*"] and field.negative_values == ["-", ""]
            if not any(values):
                missing.append((group["stanza"], name))
            empty += [(group["stanza"], name) for each in values if {"-", ""} & {*each}]
    assert groups and not empty and not missing


@pytest.mark.slow
@each_plugin
def test_every_tag_and_eventtype_finds_an_event(plugin, parse):
    """`test_tags`, for tags that are enabled, and `test_eventtype`."""
    _, tags, eventtypes = parse(plugin)
    assert tags and eventtypes
    known = [tags_of(fields, plugin, name) for name, fields in events(plugin)]
    of_eventtype = {
        name: set(knowledge.tags(plugin)[f"eventtype={name}"])
        for name in knowledge.eventtypes(plugin)
    }
    for tag in tags:
        assert tag["enabled"] and any(tag["tag"] in each for each in known), tag
    for eventtype in eventtypes:
        wanted = of_eventtype[eventtype["stanza"]]
        assert any(wanted <= each for each in known), eventtype
