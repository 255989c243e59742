"""`siemtap setup --packages`: which packages are uploaded, and what Kibana answers."""

import json

import pytest
from click.testing import CliRunner
from elastic_simulator import Cluster, Server
from kibana_simulator import Kibana

from siemtap import VERSION
from siemtap.bundles.archive import zipped
from siemtap.core.errors import ConfigError, Retry
from siemtap.shipper.cli.main import main
from siemtap.shipper.config.load import load
from siemtap.shipper.setup import packages

pytestmark = pytest.mark.slow


@pytest.fixture
def served():
    with Server(Cluster()) as cluster, Server(Kibana("8.18.0")) as board:
        yield cluster, board


def configured(served, folder, **more):
    cluster, board = served
    path = folder / "siemtap.yml"
    settings = {
        "output": {"elasticsearch": {"hosts": [cluster.url]}},
        "setup": {"kibana": {"host": board.url}},
        "inputs": [
            {"type": "apptrana", "client_id": "x", "client_secret": "y"},
            {
                "type": "centurylink_ips",
                "listen": "127.0.0.1:0",
                "secret": "s" * 16,
                "enabled": False,
            },
        ],
        **more,
    }
    path.write_text(json.dumps(settings))
    return str(path)


def run(*arguments):
    return CliRunner().invoke(main, list(arguments))


def test_packages_of_enabled_inputs_are_uploaded_once(served, tmp_path):
    path, board = configured(served, tmp_path), served[1].cluster
    assert run("setup", "-c", path).exit_code == 0 and board.packages == {}, "only if asked for"
    dry = run("setup", "--packages", "--dry-run", "-c", path)
    assert f"would be uploaded: package apptrana {VERSION}" in dry.output and not board.packages
    done = run("setup", "--packages", "-c", path)
    assert done.exit_code == 0 and board.packages == {"apptrana": VERSION}, done.output
    assert (
        done.output.startswith(f"uploaded: package apptrana {VERSION}\n")
        and "1 changed" in done.output
    )
    again = run("setup", "--packages", "-c", path)
    assert f"unchanged: package apptrana {VERSION}" in again.output and "0 changed" in again.output
    board.packages["apptrana"] = "0.0.1"
    newer = run("setup", "--packages", "-c", path)
    assert f"replaced: 0.0.1 by package apptrana {VERSION}" in newer.output
    assert board.packages == {"apptrana": VERSION}


def test_upload_waits_where_kibana_asks_for_it(served, tmp_path):
    config = load(configured(served, tmp_path))
    board, waits = served[1].cluster, []
    archive = packages.Archive("apptrana", "1.0.0", zip_of("apptrana", "1.0.0"))
    board.too_soon = 2
    packages.upload(config, archive, waits.append)
    assert board.packages == {"apptrana": "1.0.0"} and waits == [10.0, 10.0]
    board.too_soon = 3
    with pytest.raises(Retry, match="wait 10s"):
        packages.upload(config, archive, waits.append)


def test_live_data_stream_is_explained(served, tmp_path):
    """In the words of Kibana, and with what to do."""
    path, board = configured(served, tmp_path), served[1].cluster
    board.live = ["logs-apptrana.attack-default"]
    done = run("setup", "--packages", "-c", path)
    assert done.exit_code == 2 and not board.packages
    assert 'live data stream "logs-apptrana.attack-default" already exists' in done.output
    assert "elastic-agent.md, Together with the shipper" in done.output


def test_other_refusals_are_those_of_kibana(served, tmp_path):
    config = load(configured(served, tmp_path))
    archive = packages.Archive(
        "apptrana", "1.0.0", zip_of("apptrana", "1.0.1", top="apptrana-1.0.0")
    )
    with pytest.raises(ConfigError, match="do not match top-level directory apptrana-1.0.0"):
        packages.upload(config, archive)


def test_kibana_is_needed_and_new_enough(tmp_path):
    with Server(Cluster()) as cluster, Server(Kibana("8.17.9")) as board:
        old = run("setup", "--packages", "-c", configured((cluster, board), tmp_path))
        assert old.exit_code == 2
        assert "Kibana 8.17.9 is too old for the packages; they need 8.18" in old.output
        none = run("setup", "--packages", "-c", configured((cluster, board), tmp_path, setup={}))
        assert none.exit_code == 2 and "no setup.kibana.host" in none.output
        assert not board.cluster.packages


def zip_of(name, version, top=""):
    """Return the smallest archive with a manifest."""
    manifest = f"name: {name}\nversion: {version}\n".encode()
    return zipped(top or f"{name}-{version}", {"manifest.yml": manifest})
