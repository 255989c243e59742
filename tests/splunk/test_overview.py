"""The dashboard of an add-on's attacks: Splunk's own schemas accept it, and it shows what the events
have, with few searches. Nothing draws it: Dashboard Studio needs a Splunk."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
from cache import CACHE

from siemtap.render import registry
from siemtap.splunk.build import knowledge
from siemtap.splunk.build.dashboards.overview import WIDTH, definition, overview
from siemtap.splunk.runtime.names import addon

PLUGINS = list(registry.installed().values())
each_plugin = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
MOST = 5  # searches that run for one page
STUDIO = CACHE / "studio-29.6.0"  # ci/tools fetches it
with_schemas = pytest.mark.skipif(
    not (os.environ.get("CI") or ((STUDIO / "ready").exists() and shutil.which("node"))),
    reason="Splunk's schemas of Dashboard Studio are missing: ci/tools",
)
CLICKED = 'a "b" \\ $c$ & d=*'  # what an attacker may send as a value


def studio(*cases):
    """Return what Splunk's schemas and code of Dashboard Studio say about each case."""
    script = Path(__file__).with_name("studio.js")
    text = json.dumps(cases)
    result = subprocess.run(
        ["node", script, STUDIO], input=text, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.slow
@with_schemas
def test_splunks_schemas_accept_every_definition():
    for told in studio(*({"definition": definition(plugin)} for plugin in PLUGINS)):
        assert told["errors"] == []


def first_chart(page):
    return next(panel for panel in page["visualizations"].values() if "column" in panel["type"])


DAMAGE = {
    "a visualization that Studio does not have": lambda page: first_chart(page).update(type="x"),
    "an option with a wrong value": lambda page: first_chart(page)["options"].update(stackMode="x"),
    "an option that there is not": lambda page: first_chart(page)["options"].update(stack="x"),
    "a data source that there is not": lambda page: page["dataSources"]["over_time"].update(
        type="ds.base"
    ),
    "an input's setting that there is not": lambda page: page["inputs"]["only"]["options"].update(
        default="*"
    ),
    "a handler with a key and a value": lambda page: first_chart(page)["eventHandlers"][0][
        "options"
    ]["tokens"][0].update(key="name"),
    "a layout that 9.3 does not know": lambda page: page["layout"].update(tabs={}),
}


@pytest.mark.slow
@with_schemas
def test_splunks_schemas_refuse_a_damaged_definition():
    cases = []
    for damage in DAMAGE.values():
        page = definition(PLUGINS[0])
        damage(page)
        cases.append({"definition": page})
    for name, told in zip(DAMAGE, studio(*cases)):
        assert told["errors"], name


@pytest.mark.slow
@with_schemas
@each_plugin
def test_a_click_filters_the_page_or_opens_the_event(plugin):
    """What Splunk's code makes of each click: the value clicked on is quoted, whatever it is."""
    page = definition(plugin)
    fields = {name for each in knowledge.event_types(plugin) for name in each.fields}
    payload = {f"row.{name}.value": CLICKED for name in (*fields, "id")}
    payload.update({"name": CLICKED, "when.earliest": "-24h@h", "when.latest": "now"})
    handlers = [
        handler
        for panel in page["visualizations"].values()
        for handler in panel.get("eventHandlers", ())
    ]
    assert len(handlers) >= 4
    clicks = [{"options": handler["options"], "payload": payload} for handler in handlers]
    (told,) = studio({"definition": page, "clicks": clicks})
    for handler, options in zip(handlers, told["clicked"]):
        if handler["type"] == "drilldown.setToken":
            (token,) = options["tokens"]
            field, _, value = token["value"].partition("=")
            assert token["token"] == page["inputs"]["only"]["options"]["token"]
            assert field in fields and value == json.dumps(CLICKED)
        else:
            url = urlsplit(options["url"])
            asked = parse_qs(url.query)
            search = knowledge.attacks(plugin).search
            assert url.path == f"/app/{addon(plugin).name}/search" and " " not in options["url"]
            assert asked["q"] == [f"{search} event.id={CLICKED}"]
            assert (asked["earliest"], asked["latest"]) == (["-24h@h"], ["now"])


@each_plugin
def test_the_view_holds_the_definition(plugin):
    root = ElementTree.fromstring(overview(plugin))
    assert root.attrib == {"version": "2"}  # and no theme: it is the reader's
    assert json.loads(root.findtext("definition")) == json.loads(json.dumps(definition(plugin)))
    assert "olor" not in root.findtext("definition")


def test_no_text_ends_the_definition_early():
    plugin = replace(PLUGINS[0], title="a ]]> b & <c>")
    root = ElementTree.fromstring(overview(plugin))
    assert json.loads(root.findtext("definition"))["title"] == "a ]]> b & <c>: overview"


@each_plugin
def test_panels_share_searches(plugin):
    """Few searches run; a panel goes on from one that counts what the panel asks for."""
    sources = definition(plugin)["dataSources"]
    own = [source for source in sources.values() if source["type"] == "ds.search"]
    assert len(own) <= MOST < len(sources)
    for source in sources.values():
        options = source["options"]
        if source["type"] == "ds.chain":
            base = sources[options["extend"]]["options"]["query"]
            for field in re.findall(r"(?:dc\(| by |\| search )(\w+)", options["query"]):
                assert re.search(rf"stats count by .*\b{field}\b", base), (options, base)
        else:
            assert " $only$" in options["query"] and "extend" not in options
    names = [source["name"] for source in sources.values()]
    assert len({*names}) == len(names)


@each_plugin
def test_every_row_is_filled(plugin):
    """The panels of a row stand side by side over the whole width, the rows one below the other."""
    page = definition(plugin)
    structure = page["layout"]["structure"]
    assert {each["item"] for each in structure} == {*page["visualizations"]}
    rows = {}
    for each in structure:
        rows.setdefault(each["position"]["y"], []).append(each["position"])
    end = 0
    for top, row in sorted(rows.items()):
        assert top == end and {place["h"] for place in row} == {row[0]["h"]}
        assert sum(place["w"] for place in row) == WIDTH
        assert [place["x"] for place in row] == [row[0]["w"] * n for n in range(len(row))]
        end = top + row[0]["h"]


@pytest.mark.parametrize(
    "field, query",
    [
        ("action", "timechart sum(count) by action"),
        ("signature", "stats dc(signature)"),
        ("severity", "timechart sum(count) by severity"),
        ("src", "iplocation src"),
    ],
)
def test_a_chart_of_a_field_that_no_event_has_is_left_out(field, query):
    plugin = registry.plugin("apptrana")
    attack = plugin.dataset("apptrana.attack")
    fields = {name: rule for name, rule in attack.cim.fields.items() if name != field}
    without = replace(attack, cim=attack.cim._replace(fields=fields))
    assert query in overview(plugin)
    text = overview(replace(plugin, datasets=(without,)))
    assert query not in text and f" {field} " not in text
    assert "stats sum(count) as count |" in text
