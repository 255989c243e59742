"""The container's files. No container engine runs here: what they say is checked, by
`ci/lint` too, and nothing is built or started."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
from ruamel.yaml import YAML

from siemtap.shipper.cli.main import main
from siemtap.shipper.config.load import parse

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "packaging/container"


@pytest.fixture(scope="module")
def stages():
    """Return the instructions of each stage as (name, arguments)."""
    text = re.sub(r"(?m)^#.*\n", "", (FOLDER / "Containerfile").read_text())
    lines = [line.strip() for line in text.replace("\\\n", " ").split("\n") if line.strip()]
    stages = []
    for line in lines:
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            stages.append([])
        stages[-1].append((name, arguments))
    return stages


@pytest.fixture(scope="module")
def services():
    return YAML(typ="safe").load((FOLDER / "compose.yml").read_text())["services"]


def test_image_is_not_root_and_runs_siemtap(stages):
    last = dict(stages[-1])
    user, _, group = last["USER"].partition(":")
    assert int(user) > 0 and int(group) > 0, "a number, and not root"
    assert f"-o {user} -g {group} {last['VOLUME']}" in last["RUN"]
    assert json.loads(last["ENTRYPOINT"]) == ["siemtap"]
    command, *options = json.loads(last["CMD"])
    assert command in main.commands and options == ["-c", "/etc/siemtap/siemtap.yml"]


def test_what_is_copied_exists_and_is_checked(stages):
    copied = [arguments.split()[0] for name, arguments in stages[0] if name == "COPY"]
    assert copied == [
        "plugins/siemtap/bundles/requirements/shipper.txt",
        "dist/siemtap-*-py3-none-any.whl",
    ]
    assert (ROOT / copied[0]).exists()
    installed = [arguments for name, arguments in stages[0] if "pip install" in arguments]
    assert all("--no-deps" in each for each in installed) and len(installed) == 2
    assert "--require-hashes" in installed[0] and "--no-index" in installed[1]


def test_services_of_siemtap_have_a_read_only_root_and_no_capabilities(services):
    assert set(services) == {"opensearch", "simulator", "setup", "siemtap"}
    for name in ("simulator", "setup", "siemtap"):
        service = services[name]
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"] and "user" not in service
    published = [port for each in services.values() for port in each.get("ports", ())]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_commands_of_the_services_are_valid(services, stages):
    for name in ("simulator", "setup"):
        command, *words = services[name]["command"]
        context = click.Context(main.commands[command], info_name=command)
        main.commands[command].parse_args(context, words)
    assert "command" not in services["siemtap"], "that of the image"


def test_configuration_is_valid_and_names_the_services(services):
    config = parse((FOLDER / "siemtap.yml").read_text(), "siemtap.yml")
    (shipped,) = config.inputs
    words = services["simulator"]["command"]
    url = urlsplit(shipped.settings.url)
    # in the network of the simulator, which listens on 127.0.0.1
    assert url.hostname == "127.0.0.1" and str(url.port) == words[words.index("--port") + 1]
    assert services["siemtap"]["network_mode"] == "service:simulator"
    assert shipped.plugin.name in words
    (output,) = config.outputs
    assert urlsplit(output.settings.hosts[0]).hostname in services
    assert f"{config.data}" == services["siemtap"]["volumes"][0].partition(":")[2]
    port = f"127.0.0.1:{config.http.port}:{config.http.port}"
    assert services["simulator"]["ports"] == [port]
