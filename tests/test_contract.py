"""The contract tests of every installed plugin."""

from siemtap.render import registry
from siemtap.testing.contract import contract_of

for plugin in registry.installed().values():
    globals()[f"Test_{plugin.name}"] = contract_of(plugin)


def test_every_plugin_can_be_loaded():
    assert registry.broken() == {}
