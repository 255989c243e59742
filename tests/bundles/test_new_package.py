"""`siemtap new NAME --into DIR`: an installable package outside of this checkout."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from processes import python

from siemtap.shipper.cli.main import main

pytestmark = pytest.mark.slow
KINDS = ["windows", "cursor", "push"]


@pytest.fixture
def package(tmp_path, request):
    kind = getattr(request, "param", "windows")
    folder = tmp_path / "siemtap-acme"
    result = CliRunner().invoke(main, ["new", "acme", "--kind", kind, "--into", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.mark.parametrize("package", KINDS, indirect=True)
def test_tests_of_the_new_package_pass(package):
    lines = (package / "tests/test_acme.py").read_text().strip().splitlines()
    assert len([line for line in lines if line]) == 3
    result = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)
    assert result.returncode == 0, result.stdout[-3000:]
    assert " passed" in result.stdout and "skipped" not in result.stdout


@pytest.mark.parametrize("package", KINDS, indirect=True)
def test_its_files_are_complete(package):
    (event,) = json.loads((package / "acme/cases/an_event/expected.json").read_text())
    assert event["user"] == {"name": "eve", "email": "eve@example.com"}
    assert event["acme"] == {"id": "e1", "tags": ["first", "second"]}
    assert event["event"]["severity"] == 73 and event["source"]["ip"] == "192.0.2.7"
    readme = (package / "acme/README.md").read_text()
    assert "`actor.email`" in readme and "`interval`" in readme
    assert "type: acme" in (package / "acme/sample.yml").read_text()
    assert "python_requires = >=3.10" in (package / "setup.cfg").read_text()


def test_a_failing_test_shows_the_values(package):
    path = package / "acme/cases/an_event/expected.json"
    path.write_text(path.read_text().replace("eve@", "mallory@"))
    result = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)
    assert result.returncode == 1
    assert '[0].user.email: "eve@example.com", and not "mallory@example.com"' in result.stdout


def test_a_new_setting_is_rendered(package):
    """sample.yml and README.md are written by the package's own tests, where they are asked to."""
    manifest = package / "acme/manifest.py"
    added = '    depth: int = integer("Depth", 3, help="How deep it looks.")\n'
    manifest.write_text(
        manifest.read_text().replace("import duration", "import duration, integer") + added
    )
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "rendered"]
    stale = python(*words, cwd=package)
    assert stale.returncode == 1 and "SIEMTAP_ACCEPT=1 renders them" in stale.stdout
    assert "['sample.yml', 'README.md']" in stale.stdout
    assert python(*words, cwd=package, SIEMTAP_ACCEPT="1").returncode == 0
    assert python(*words, cwd=package).returncode == 0
    assert "depth" in (package / "acme/sample.yml").read_text()
    assert "`depth`" in (package / "acme/README.md").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_plugin_in_a_checkout_passes_its_tests(kind, tmp_path, monkeypatch):
    (tmp_path / "plugins/siemtap").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["new", "acme", "--kind", kind])
    assert result.exit_code == 0 and "To install it, add to setup.cfg" in result.output
    (tmp_path / "plugins/siemtap").rmdir()
    tests = tmp_path / "test_acme.py"
    tests.write_text(
        "from acme import PLUGIN\nfrom siemtap.testing.contract import contract_of\n"
        "Test_acme = contract_of(PLUGIN)\n"
    )
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests)]
    result = python(*words, cwd=tmp_path, PYTHONPATH=str(tmp_path / "plugins"))
    assert result.returncode == 0, result.stdout[-3000:]


def test_outside_of_a_checkout_it_asks_for_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["new", "acme"])
    assert result.exit_code == 2 and "--into siemtap-acme" in result.output
    assert not list(tmp_path.iterdir())


def test_no_package_is_replaced(package):
    before = (package / "setup.cfg").read_text()
    result = CliRunner().invoke(main, ["new", "other", "--into", str(package)])
    assert result.exit_code == 2 and "setup.cfg exists already" in result.output
    assert (package / "setup.cfg").read_text() == before and not (package / "other").exists()


def test_shipper_finds_the_installed_plugin(package, tmp_path):
    site = tmp_path / "site"
    install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps"]
    result = python(*install, "--target", str(site), str(package), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    vendor = subprocess.Popen(
        [sys.executable, "-m", "siemtap.shipper.cli.main", "simulate", "acme"],
        env={**os.environ, "PYTHONPATH": str(site)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        settings = json.loads(vendor.stdout.readline())
        config = tmp_path / "siemtap.yml"
        config.write_text(
            json.dumps(
                {
                    "path.data": str(tmp_path / "data"),
                    "http.enabled": False,
                    "inputs": [{"type": "acme", **settings, "lookback": "30m"}],
                    "output": {"file": {"path": str(tmp_path / "events")}},
                }
            )
        )
        result = python(
            "-m",
            "siemtap.shipper.cli.main",
            "run",
            "--once",
            "-c",
            str(config),
            cwd=tmp_path,
            PYTHONPATH=str(site),
        )
    finally:
        vendor.terminate()
        vendor.wait(300)
        vendor.stdout.close()
    assert result.returncode == 0, result.stderr
    events = [
        json.loads(line)
        for path in (tmp_path / "events").glob("*.ndjson")
        for line in path.read_text().splitlines()
    ]
    assert len(events) >= 29
    assert {event["event"]["dataset"] for event in events} == {"acme.event"}


@pytest.mark.parametrize("name", ["Acme", "1acme", "a-b", "", "json"])
def test_invalid_package_name_is_rejected(name, tmp_path):
    result = CliRunner().invoke(main, ["new", name, "--into", str(tmp_path / "new")])
    assert result.exit_code == 2
    assert "cannot name a plugin" in result.output or "name of a Python package" in result.output
    assert not (tmp_path / "new").exists()
