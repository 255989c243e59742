"""The walk-through of "Adding a vendor": its blocks, put into the named files, give a plugin
whose tests pass, and whose add-on and package are built."""

import importlib
import sys

import pytest
import walk_through
from click.testing import CliRunner
from processes import python

from siemtap.bundles import addon, integration
from siemtap.bundles.source import source_of
from siemtap.core.errors import ConfigError
from siemtap.shipper.cli.main import main
from siemtap.testing.contract import check_ledger
from siemtap.testing.world import World


@pytest.fixture
def new(tmp_path, request):
    """The package of a new plugin, as `siemtap new` writes it."""
    package, kind = tmp_path / "siemtap-acme", getattr(request, "param", "cursor")
    result = CliRunner().invoke(main, ["new", "acme", "--kind", kind, "--into", str(package)])
    assert result.exit_code == 0, result.output
    return package


@pytest.fixture
def imported(new, monkeypatch):
    """Return the plugin in this process: call it once its files are written."""
    monkeypatch.syspath_prepend(new)
    yield lambda: importlib.import_module("acme").PLUGIN
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]


def pytest_of(package, **variables):
    return python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package, **variables)


@pytest.mark.slow
def test_walk_through_gives_a_plugin_whose_tests_pass(new):
    written = walk_through.write(new)
    page = walk_through.PAGE.read_text(encoding="utf-8")
    assert f"{written} lines of Python were written" in page
    accepted = pytest_of(new, SIEMTAP_ACCEPT="1")
    assert accepted.returncode == 0, accepted.stdout[-3000:]
    result = pytest_of(new)
    assert result.returncode == 0, result.stdout[-3000:]
    expected = (new / "acme/cases/an_event/expected.json").read_text()
    assert "b.example" in expected


def test_walk_through_gives_a_package_for_elastic(new, imported):
    walk_through.write(new)
    files = integration.files(imported())
    (agent,) = [text for path, text in files.items() if path.endswith("/cel.yml.hbs")]
    assert "/oauth/token" in agent and "run.object.alerts" in agent
    mapping = files["data_stream/event/elasticsearch/ingest_pipeline/mapping.yml"]
    assert "value = python_int(raw)" in mapping


def test_walk_through_gives_the_sources_of_an_add_on(new, imported, tmp_path):
    """What UCC builds it of. tests/bundles/check_new_package.py builds it."""
    walk_through.write(new)
    plugin = imported()
    source = source_of(plugin)
    addon._write_package(tmp_path, plugin, source.version)
    addon.write_own_sources(tmp_path / "package", plugin, source)
    carried = (tmp_path / "package/lib/acme/plugin.py").read_text(encoding="utf-8")
    assert "Bearer(http, self.login)" in carried
    assert "[acme:event]" in (tmp_path / "package/default/props.conf").read_text(encoding="utf-8")


def test_program_of_the_template_is_refused_once_the_client_is_another(new, imported):
    program = new / "acme/elastic/event.cel"
    left_behind = program.read_text(encoding="utf-8")
    walk_through.write(new)
    program.write_text(left_behind, encoding="utf-8")
    with pytest.raises(ConfigError, match="acme/elastic/event.cel is as `siemtap new` wrote it"):
        integration.files(imported())
    program.write_text(f"// as plugin.py\n{left_behind}", encoding="utf-8")
    assert "manifest.yml" in integration.files(imported())


@pytest.mark.parametrize("new", ["windows"], indirect=True)
@pytest.mark.parametrize("most", [50, 2])
def test_numbered_pages_lose_nothing(new, imported, most):
    """With 2 pages of 3 events at most, wide windows are halved."""
    walk_through.write(new, "numbered-pages")
    client, vendor = new / "acme/plugin.py", new / "acme/simulator.py"
    text = client.read_text().replace("SIZE = 100", "SIZE = 3")
    client.write_text(text.replace("MOST_PAGES = 50", f"MOST_PAGES = {most}"))
    whole = "self.readable(start, stop, call.now)"
    part = f"{whole}[first : first + size]"
    lines = 'size = int(call.query["size"])\n        first = size * (int(call.query["page"]) - 1)\n'
    text = vendor.read_text().replace(
        '        return {"events"', f'        {lines}        return {{"events"'
    )
    assert whole in text and lines in text
    vendor.write_text(text.replace(whole, part))
    plugin = imported()
    simulator = importlib.import_module("acme.simulator").Simulator()
    world = World(plugin, simulator, lookback="31m").cycles(3)
    check_ledger(world)
    assert len(simulator.requests) > (20 if most == 2 else 10)


def test_new_plugin_is_built_as_it_is(imported):
    assert "manifest.yml" in integration.files(imported())
