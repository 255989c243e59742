"""What `siemtap build` refuses, before it installs anything."""

import importlib
import sys

import pytest
from click.testing import CliRunner

from siemtap.bundles.source import source_of
from siemtap.render import registry
from siemtap.shipper.cli.main import main

METADATA = "Metadata-Version: 2.1\nName: siemtap-acme\nVersion: {version}\n{requires}"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write a new plugin as an installed package; return a function that does."""
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda *arguments: installed(tmp_path, monkeypatch, *arguments)
    for name in [name for name in sys.modules if name.partition(".")[0] == "acme"]:
        del sys.modules[name]


def installed(folder, monkeypatch, version="1.2.0", requires=""):
    result = CliRunner().invoke(main, ["new", "acme", "--into", str(folder)])
    assert result.exit_code == 0, result.output
    info = folder / f"siemtap_acme-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA.format(version=version, requires=requires))
    (info / "RECORD").write_text(f"{info.name}/METADATA,,\n")
    (info / "entry_points.txt").write_text("[siemtap.plugins]\nacme = acme:PLUGIN\n")
    importlib.invalidate_caches()
    plugin = importlib.import_module("acme").PLUGIN
    monkeypatch.setattr(registry, "installed", lambda: {"acme": plugin})
    return plugin, info


def refusal(*arguments):
    result = CliRunner().invoke(main, ["build", *arguments])
    assert result.exit_code == 2, result.output
    return result.output


def test_a_plugin_of_another_package_has_its_version_and_its_license(install):
    plugin, info = install()
    source = source_of(plugin)
    assert (source.folder, source.version) == (info.parent / "acme", "1.2.0")
    assert source.metadata_folders() == [info] and source.requirements() == []


def test_a_plugin_of_siemtap_has_siemtaps_version():
    for plugin in registry.installed().values():
        source = source_of(plugin)
        assert source.version == importlib.import_module("siemtap").VERSION
        assert source.metadata_folders() == [] and (source.folder / "mapping.py").exists()


@pytest.mark.parametrize("command", ["splunk", "elastic"])
def test_a_version_that_is_not_three_numbers(install, command, tmp_path):
    install("1.2rc1")
    message = refusal(command, "acme", "--into", str(tmp_path / "dist"))
    assert "the version of siemtap-acme is 1.2rc1; a bundle needs three numbers" in message
    assert not (tmp_path / "dist").exists()


def test_a_library_that_an_addon_does_not_carry(install):
    requires = (
        "Requires-Dist: siemtap\nRequires-Dist: Requests>=2\nRequires-Dist: lxml (>=5)\n"
        "Requires-Dist: pytest ; extra == 'test'\n"
    )
    install("1.2.0", requires)
    assert "acme requires lxml, which an add-on does not carry" in refusal("splunk", "acme")


def test_a_plugin_without_ingest_py(install, tmp_path):
    plugin, _ = install()
    (source_of(plugin).folder / "ingest.py").unlink()
    importlib.invalidate_caches()
    message = refusal("elastic", "acme", "--into", str(tmp_path / "dist"))
    assert "acme has no ingest.py" in message


def test_fill_with_names_and_an_unknown_name(tmp_path):
    assert "--fill builds nothing" in refusal("splunk", "--fill", str(tmp_path), "apptrana")
    assert 'there is no plugin "aptrana"' in refusal("elastic", "aptrana")
