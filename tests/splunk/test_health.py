"""The dashboard of an add-on's inputs, with few searches."""

import re
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from siemtap.render import registry
from siemtap.splunk.build.dashboards.health import health

each_plugin = pytest.mark.parametrize(
    "plugin", registry.installed().values(), ids=lambda plugin: plugin.name
)
MOST = 6  # searches of the page that are not shared


@each_plugin
def test_panels_share_searches(plugin):
    """Of a page, so many run; each panel goes on from one that counts what the panel asks for."""
    searches = list(ElementTree.fromstring(health(plugin)).iter("search"))
    shared = {search.get("id"): search.findtext("query") for search in searches if search.get("id")}
    own = [search for search in searches if not search.get("base")]
    assert len(own) <= MOST < len(searches)
    for search in searches:
        assert bool(search.get("base")) != bool(search.findtext("earliest"))
        if search.get("base"):
            query, base = search.findtext("query"), shared[search.get("base")]
            asked = re.findall(r"(?:dc\(| by |search )(\w+)", query)
            made = re.findall(r" as (\w+)|\(\?<(\w+)>", query)
            for field in {*asked} - {name for pair in made for name in pair}:
                assert re.search(rf"stats count.* by .*\b{field}\b", base), (query, base)


@each_plugin
def test_a_page_keeps_to_the_theme_that_the_reader_chose(plugin):
    root = ElementTree.fromstring(health(plugin))
    assert root.get("theme") is None and root.get("version") == "1.1"
    assert not [option for option in root.iter("option") if "olor" in option.get("name")]


@each_plugin
def test_a_click_opens_the_events_of_a_row(plugin):
    clicks = list(ElementTree.fromstring(health(plugin)).iter("drilldown"))
    assert len(clicks) >= 3
    for click in clicks:
        address = unquote(click.findtext("link"))
        assert address.startswith("search?q=") and "earliest=$when.earliest$" in address
        assert re.search(r"\$row\.(source|input)\|u\$", address)
