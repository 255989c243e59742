"""The dashboards of an add-on show what its events have."""

from dataclasses import replace

import pytest

from siemtap.render import registry
from siemtap.splunk.build import dashboards


@pytest.mark.parametrize(
    "field, query",
    [
        ("action", "timechart count by action"),
        ("signature", "stats dc(signature)"),
        ("severity", "timechart count by severity"),
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
    assert query not in overview and f"by {field}" not in overview
    assert "<row></row>" not in overview and "stats count<" in overview
