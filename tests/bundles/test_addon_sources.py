"""The sources that an add-on carries break no rule: seen before an add-on is built."""

import pytest
import rules

from siemtap.bundles.addon import write_own_sources
from siemtap.bundles.source import source_of
from siemtap.render import registry
from siemtap.splunk.build.scripts import scripts


@pytest.fixture(params=registry.installed().values(), ids=lambda plugin: plugin.name)
def folder(request, tmp_path):
    plugin = request.param
    write_own_sources(tmp_path, plugin, source_of(plugin))
    for name in ("bin", "default"):
        (tmp_path / name).mkdir()
    (tmp_path / "default/inputs.conf").write_text(f"[{plugin.name}]\n")
    for name, text in scripts(plugin).items():
        (tmp_path / f"bin/{name}.py").write_text(text)
    return tmp_path


def test_sources_break_no_rule(folder):
    assert rules.broken_rules(folder, rules.RULES_OF_SOURCES) == []


@pytest.mark.parametrize(
    "name", ["lib/siemtap/edge/client/http.py", "lib/{}/plugin.py", "bin/{}.py"]
)
def test_planted_defect_is_seen(folder, name):
    plugin = (folder / "default/inputs.conf").read_text().strip("[]\n")
    with open(folder / name.format(plugin), "a") as file:
        file.write("\ncontext.check_hostname = False\n")
    (line,) = rules.broken_rules(folder, rules.RULES_OF_SOURCES)
    assert line.startswith("certificates are verified: ")
