"""What the searches that start from an event, and the template for Enterprise Security, ask for."""

import json
import re

import pytest

from siemtap.render import registry
from siemtap.splunk.build import knowledge, searches

PLUGINS = pytest.mark.parametrize(
    "plugin", registry.installed().values(), ids=lambda plugin: plugin.name
)
# workflow_actions.conf.spec 10.2.3
KEYS = {
    "type",
    "label",
    "fields",
    "eventtypes",
    "display_location",
    "disabled",
    "link.uri",
    "link.target",
    "link.method",
    "search.search_string",
    "search.app",
    "search.view",
    "search.target",
    "search.earliest",
    "search.latest",
    "search.preserve_timerange",
}


@PLUGINS
def test_workflow_actions_keep_to_the_specification(plugin):
    """Known settings, plain `$field$`, and only a field that an attacker cannot fill with SPL."""
    actions = searches.workflow_actions(plugin)
    assert actions
    for action in actions.values():
        assert set(action) <= KEYS
        tokens = {token for value in action.values() for token in re.findall(r"\$(.*?)\$", value)}
        assert tokens <= {"src_ip"}
        assert tokens <= set(action["fields"].split(", "))
        pattern = action["eventtypes"].replace("*", ".*")
        assert all(re.fullmatch(pattern, name) for name in knowledge.eventtypes(plugin))


@PLUGINS
def test_the_rule_for_enterprise_security_names_fields_of_its_results(plugin):
    ((_, rule),) = [
        (name, stanza)
        for name, stanza in searches.savedsearches(plugin).items()
        if name.startswith("Threat - ")
    ]
    results = {"src", "count", "rules", "signature", "dest"}
    assert results <= set(re.findall(r"\w+", rule["search"]))
    risk = json.loads(rule["action.risk.param._risk"])
    named = {value for entry in risk for key, value in entry.items() if key.endswith("_field")}
    (drilldown,) = json.loads(rule["action.notable.param.drilldown_searches"])
    texts = [rule["action.risk.param._risk_message"], *drilldown.values(), *rule.values()]
    for text in texts:
        named.update(re.findall(r"\$(\w+)(?:\|s)?\$", text))
    assert named <= results | {"info_min_time", "info_max_time"}
    assert drilldown["search"].startswith(knowledge.attacks(plugin).search)
    assert any(entry.get("risk_score") for entry in risk)
