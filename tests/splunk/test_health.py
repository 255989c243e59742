"""The dashboards of an add-on show what its events have, with few searches."""

import re
from dataclasses import replace
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from siemtap.render import registry
from siemtap.splunk.build import dashboards, knowledge

PAGES = pytest.mark.parametrize(
    "plugin, page, most",
    [
        pytest.param(plugin, page, most, id=f"{plugin.name} {page.__name__}")
        for plugin in registry.installed().values()
        for page, most in ((dashboards.overview, 5), (dashboards.health, 6))
    ],
)


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
    assert query in dashboards.overview(plugin)
    overview = dashboards.overview(replace(plugin, datasets=(without,)))
    assert query not in overview and f" {field} " not in overview
    assert "<row></row>" not in overview and "stats sum(count) as count |" in overview


@PAGES
def test_panels_share_searches(plugin, page, most):
    """Of a page, so many run; each panel goes on from one that counts what the panel asks for."""
    searches = list(ElementTree.fromstring(page(plugin)).iter("search"))
    shared = {search.get("id"): search.findtext("query") for search in searches if search.get("id")}
    own = [search for search in searches if not search.get("base")]
    assert len(own) <= most < len(searches)
    for search in searches:
        assert bool(search.get("base")) != bool(search.findtext("earliest"))
        if search.get("base"):
            query, base = search.findtext("query"), shared[search.get("base")]
            asked = re.findall(r"(?:dc\(| by |search )(\w+)", query)
            made = re.findall(r" as (\w+)|\(\?<(\w+)>", query)
            for field in {*asked} - {name for pair in made for name in pair}:
                assert re.search(rf"stats count.* by .*\b{field}\b", base), (query, base)


@PAGES
def test_a_page_keeps_to_the_theme_that_the_reader_chose(plugin, page, most):
    root = ElementTree.fromstring(page(plugin))
    assert root.get("theme") is None and root.get("version") == "1.1"
    assert not [option for option in root.iter("option") if "olor" in option.get("name")]


@PAGES
def test_a_click_asks_for_a_field_of_the_events(plugin, page, most):
    """A click on a value sets the filter, quoted by Splunk; one on a row opens its events."""
    root = ElementTree.fromstring(page(plugin))
    fields = {name for each in knowledge.event_types(plugin) for name in each.fields}
    clicks = list(root.iter("drilldown"))
    assert len(clicks) >= 3
    for click in clicks:
        for chosen in click.iter("set"):
            field = re.fullmatch(r"(\w+)=\$click\.(?:value|name2)\|s\$", chosen.text)[1]
            assert chosen.get("token") == "form.only" and field in fields
        for link in click.iter("link"):
            address = unquote(link.text)
            assert address.startswith("search?q=") and "earliest=$when.earliest$" in address
            assert re.search(r"\$row\.(id|source|input)\|u\$", address)
    filtered = [query.text for query in root.iter("query") if "$only$" in query.text]
    assert bool(filtered) == any(click.find("set") is not None for click in clicks)
