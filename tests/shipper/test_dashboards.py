"""What leads from a dashboard to others, and narrows it; the simulator of Kibana checks the forms."""

import json

import pytest
from elastic_refusal import Refusal
from kibana_navigation import controls
from kibana_simulator import panels, references_of

from siemtap.elastic import field_types as elastic_types
from siemtap.elastic.kibana import navigation
from siemtap.elastic.kibana import saved_objects as kibana
from siemtap.elastic.server import Server
from siemtap.render import registry
from siemtap.render.panels import dashboards

ES = Server("elasticsearch", (9, 1))
TOPICS = ["overview", "sources", "rules", "collection"]


def written(name):
    """Return the dashboards of a vendor's package by topic, as saved objects."""
    plugin = registry.plugin(name)
    known = {
        path: spec
        for dataset in plugin.datasets
        for path, spec in elastic_types.types(ES, dataset).items()
    }
    saved = kibana.objects(
        dashboards(name, plugin.datasets), known, kibana.View("logs-*", package=name)
    )
    prefix = f"{name}-"
    return {item["id"][len(prefix) :]: item for item in saved if item["type"] == "dashboard"}


def named(saved):
    return {reference["name"]: reference["id"] for reference in saved["references"]}


@pytest.mark.parametrize("name", registry.installed())
def test_each_dashboard_links_to_all(name):
    by_topic = written(name)
    assert list(by_topic) == TOPICS
    for saved in by_topic.values():
        first = panels(saved)[0]
        assert first["type"] == "links" and first["gridData"]["w"] == 48
        shown = first["embeddableConfig"]["attributes"]["links"]
        targets = [named(saved)[f"links:{link['destinationRefName']}"] for link in shown]
        assert targets == [f"{name}-{topic}" for topic in TOPICS]
        assert [link["label"] for link in shown] == [topic.capitalize() for topic in TOPICS]


@pytest.mark.parametrize("name", registry.installed())
def test_values_lead_to_the_dashboard_about_them(name):
    """A click on a rule opens Rules, on a source Sources, on a dataset of Collection the overview;
    none leads to the dashboard that it is on."""
    leads = {}
    for topic, saved in written(name).items():
        for panel in panels(saved):
            for reference, target in named(saved).items():
                if reference.startswith(f"{panel['panelIndex']}:drilldown:"):
                    leads.setdefault(topic, {})[panel["title"]] = target
    assert leads["overview"]["Top rules"] == leads["sources"]["Top rules"] == f"{name}-rules"
    assert leads["overview"]["Top sources"] == leads["rules"]["Top sources"] == f"{name}-sources"
    assert leads["collection"]["Events by dataset"] == f"{name}-overview"
    for topic, targets in leads.items():
        assert f"{name}-{topic}" not in targets.values()


@pytest.mark.parametrize("name", registry.installed())
def test_controls_filter_by_fields_that_vary(name):
    plugin = registry.plugin(name)
    varying = {
        path
        for dataset in plugin.datasets
        for path in dataset.targets()
        if path not in dataset.constant
    }
    for topic, saved in written(name).items():
        group = saved["attributes"]["controlGroupInput"]
        placed = json.loads(group["panelsJSON"]).values()
        fields = [control["explicitInput"]["fieldName"] for control in placed]
        assert set(fields) <= varying
        assert len(fields) == len(controls(saved)) >= (1 if topic == "collection" else 3)


def test_collection_shows_errors():
    """With their reasons, by dataset, over time."""
    saved = written("apptrana")["collection"]
    by_title = {panel["title"]: panel for panel in panels(saved)}
    assert by_title["Errors"]["type"] == "search"
    state = by_title["Errors over time, by dataset"]["embeddableConfig"]["attributes"]["state"]
    assert state["query"]["query"] == 'event.kind: "pipeline_error"'


@pytest.mark.parametrize(
    "old, new",
    [
        ('"order":0', '"order":1'),
        ("optionsListControl", "optionsList"),
        ("dashboardLink", "dashboard"),
        ("FILTER_TRIGGER", "VALUE_CLICK_TRIGGER"),
        ("link_rules_dashboard", "rules_dashboard"),
        ("useCurrentDateRange", "useDateRange"),
        ('"width":"medium"', '"width":"wide"'),
    ],
)
def test_simulator_refuses_other_forms(old, new):
    """The check that all dashboards pass can fail."""
    saved = written("apptrana")["overview"]
    assert references_of(saved) == set(named(saved))
    text = json.dumps(saved)
    escaped, instead = json.dumps(old)[1:-1], json.dumps(new)[1:-1]
    broken = json.loads(text.replace(escaped, instead))
    assert broken != saved
    with pytest.raises(Refusal):
        assert references_of(broken) == set(named(broken))
        raise AssertionError("nobody refused it")


def test_links_need_a_second_dashboard():
    plugin = registry.plugin("apptrana")
    first, *_ = dashboards("AppTrana", plugin.datasets)
    known = {}
    for dataset in plugin.datasets:
        known.update(elastic_types.types(ES, dataset))
    saved = kibana.objects([first], known, kibana.View("logs-*", package="apptrana"))[-1]
    assert not {panel["type"] for panel in panels(saved)} & {"links"}
    assert not any(navigation.DRILLDOWN in reference for reference in named(saved))
