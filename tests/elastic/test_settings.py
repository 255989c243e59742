"""Every setting of a plugin is in the settings of its Elastic package, or listed with the
reason."""

import pytest
from pingintelligence.manifest import REPORTS
from ruamel.yaml import YAML

from siemtap.bundles import integration
from siemtap.core.manifest import describe
from siemtap.elastic.package.form import absent


@pytest.mark.slow
@pytest.mark.parametrize("name", integration.packaged())
def test_setting_is_in_the_package_or_has_a_reason(name):
    plugin = integration.packaged()[name]
    described = integration.described(plugin)
    settings = {s["name"] for s in describe(plugin.settings)}
    ways = [way for stream in described.streams.values() for way in stream.ways]
    shown = {setting for way in ways for setting in (*way.account, *way.own)}
    reasons = absent(plugin, described)
    assert shown | reasons.keys() == settings
    assert not shown & reasons.keys() and described.absent.keys() <= settings
    assert all(len(reason) > 15 for reason in reasons.values())
    readme = integration.files(plugin)["docs/README.md"]
    assert all(f"| `{setting}` | {reason} |" in readme for setting, reason in reasons.items())


@pytest.mark.parametrize("name", integration.packaged())
def test_option_missing_in_the_package_has_a_reason(name):
    plugin = integration.packaged()[name]
    choices = {s["name"]: s for s in describe(plugin.settings) if s["kind"] == "choice"}
    for stream in integration.described(plugin).streams.values():
        for way in stream.ways:
            for setting, options in way.without.items():
                assert setting in (*way.account, *way.own)
                assert options.keys() < set(choices[setting]["options"]) and all(options.values())


@pytest.mark.slow
def test_a_list_names_the_texts_that_it_may_hold():
    """Fleet lets a person write anything into a list."""
    files = integration.files(integration.packaged()["pingintelligence"])
    manifest = files["data_stream/report/manifest.yml"]
    (reports,) = (
        variable
        for stream in YAML(typ="safe").load(manifest)["streams"]
        for variable in stream["vars"]
        if variable["name"] == "reports"
    )
    assert reports["multi"] and f"Any of {', '.join(REPORTS)}." in reports["description"]
