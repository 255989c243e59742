"""A plugin that cannot be loaded is left out, and is an error for who uses it alone."""

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from apptrana.mapping import ATTACK
from siemtap.core.errors import ConfigError
from siemtap.core.model import Plugin
from siemtap.core.rows import Dataset
from siemtap.render import registry
from siemtap.shipper.cli.main import main
from siemtap.shipper.config import load as loading

INPUT = "inputs:\n  - type: apptrana\n    client_id: a\n    client_secret: b\n"


def misspelt():
    dataset = Dataset(
        "acme.event", clock=ATTACK.clock, identity=(), rows=(), constant={"sorce.ip": "192.0.2.1"}
    )
    return Plugin("acme", None, (dataset,))


def fails():
    import no_such_module  # noqa: F401


BROKEN = {
    "import": (fails, "ModuleNotFoundError: No module named 'no_such_module'"),
    "field": (misspelt, '"sorce.ip" is no field of ECS'),
    "plugin": (lambda: "acme", "it is no siemtap.core.model.Plugin"),
}


@pytest.fixture(params=BROKEN)
def broken(request, monkeypatch):
    """Install a package whose plugin `acme` cannot be loaded; return why."""
    load, reason = BROKEN[request.param]
    entry_point = SimpleNamespace(
        name="acme", value="acme:PLUGIN", load=load, dist=SimpleNamespace(name="siemtap-acme")
    )
    points = registry._entry_points
    monkeypatch.setattr(registry, "_entry_points", lambda: [*points(), entry_point])
    registry._find.cache_clear()
    yield reason
    registry._find.cache_clear()


def test_the_others_are_there_and_it_is_left_out_with_a_sentence(broken, tmp_path):
    assert "apptrana" in registry.installed() and "acme" not in registry.installed()
    sentence = registry.broken()["acme"]
    assert sentence.startswith("the plugin acme of the package siemtap-acme cannot be loaded: ")
    assert broken in sentence and sentence.endswith("or remove it: pip uninstall siemtap-acme")
    file = tmp_path / "siemtap.yml"
    file.write_text(INPUT)
    file.chmod(0o600)
    done = CliRunner().invoke(main, ["test", "config", "-c", str(file)])
    assert done.exit_code == 0 and f"warning: {sentence}" in done.output


def test_who_uses_it_is_told_why(broken):
    with pytest.raises(ConfigError) as caught:
        loading.parse("inputs:\n  - type: acme\n")
    assert str(caught.value) == f"siemtap.yml line 2: inputs[0].type: {registry.broken()['acme']}"
    with pytest.raises(ConfigError, match="the plugin acme of the package"):
        registry.plugin("acme")


def test_the_commands_tell_it(broken):
    done = CliRunner().invoke(main, ["--help"])
    assert done.exit_code == 0 and "the plugin acme of the package" in done.output
    done = CliRunner().invoke(main, ["acme", "list"])
    assert done.exit_code == 2 and done.output.startswith("siemtap: the plugin acme of the package")
