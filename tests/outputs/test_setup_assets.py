"""What `setup` writes into the simulated cluster, for each version."""

import json

import pytest
from click.testing import CliRunner
from outputs.simulated_cluster import configured, install

from apptrana import PLUGIN
from siemtap.elastic import field_types
from siemtap.elastic.assets import assets
from siemtap.elastic.server import Server as ClusterInfo
from siemtap.shipper.cli.main import main


@pytest.mark.slow
@pytest.mark.parametrize(
    "served",
    [
        {"version": version, "serverless": serverless}
        for version, serverless in (
            ("8.0.1", False),
            ("8.13.0", False),
            ("8.14.0", False),
            ("8.19.2", False),
            ("9.0.1", False),
            ("9.1.4", False),
            ("9.2.0", True),
        )
    ],
    indirect=True,
)
def test_setup_on_each_version_twice(served, tmp_path):
    assert (
        "6 changed" in install(served, tmp_path)
        and install(served, tmp_path).splitlines()[-1] == "0 changed"
    )
    template = served.cluster.templates["siemtap-apptrana.attack"]
    assert template["priority"] == 190 and ("ecs@mappings" in template["composed_of"]) is (
        served.cluster.version >= "8.13"
    )
    assert ("data_stream_options" in template["template"]) is (
        served.cluster.version in ("8.19.2", "9.1.4", "9.2.0")
    )
    assert ("lifecycle" in template["template"]) is (served.cluster.version >= "8.14")
    done = CliRunner().invoke(main, ["test", "output", "-c", configured(served, tmp_path)])
    assert (
        done.exit_code == 0
        and "and found" in done.output
        and "event was deleted from" in done.output
    ), done.output


@pytest.mark.slow
def test_lifecycle_settings(served, tmp_path):
    install(served, tmp_path, setup={"retention": "90d"})
    template = served.cluster.templates["siemtap-apptrana.attack"]["template"]
    assert template["lifecycle"] == {"enabled": True, "data_retention": "90d"} and template[
        "settings"
    ]["index"]["lifecycle"] == {"prefer_ilm": "false"}
    assert "template.lifecycle.data_retention: 90d -> 7d" in install(
        served, tmp_path, setup={"retention": "7d"}
    )
    path = configured(served, tmp_path, setup={"retention": "36h"})
    done = CliRunner().invoke(main, ["setup", "-c", path])
    assert done.exit_code == 2 and "whole days" in done.output
    install(served, tmp_path, setup={"lifecycle": "policy", "policy": "security-logs"})
    assert served.cluster.templates["siemtap-apptrana.attack"]["template"]["settings"]["index"][
        "lifecycle"
    ] == {"name": "security-logs"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "served", [{"version": "3.8.0", "distribution": "opensearch"}], indirect=True
)
def test_retention_in_opensearch_uses_an_ism_policy(served, tmp_path):
    path = tmp_path / "siemtap.yml"

    def setup(**more):
        path.write_text(
            json.dumps(
                {
                    "output": {"opensearch": {"hosts": [served.url]}},
                    "setup": more,
                    "inputs": [{"type": "apptrana", "client_id": "a", "client_secret": "b"}],
                }
            )
        )
        done = CliRunner().invoke(main, ["setup", "-c", str(path)])
        return done.exit_code, done.output

    assert "ISM" not in setup()[1]
    assert "created: ISM policy siemtap" in setup(retention="90d")[1] and setup(retention="90d")[
        1
    ].endswith("0 changed\n")
    policy = served.cluster.ism_policies["siemtap"]["policy"]
    assert policy["ism_template"][0]["index_patterns"] == [
        "logs-apptrana.attack-*",
        "logs-apptrana.activity-*",
    ]
    assert policy["states"][0]["transitions"] == [
        {"state_name": "over", "conditions": {"min_rollover_age": "90d"}}
    ]
    assert "min_rollover_age: 90d -> 7d" in setup(retention="7d")[
        1
    ] and served.cluster.ism_policies["siemtap"]["policy"]["states"][0]["transitions"][0][
        "conditions"
    ] == {"min_rollover_age": "7d"}
    code, printed = setup(lifecycle="policy", policy="mine")
    assert code == 2 and "names its indices itself" in printed
    served.cluster.ism_policies.clear()
    served.cluster.without_ism = True
    code, printed = setup(retention="7d")
    assert code == 2 and "has no Index State Management" in printed


def test_setup_beside_an_integration_package(served, tmp_path):
    served.cluster.templates["logs-apptrana.attack"] = {
        "index_patterns": ["logs-apptrana.attack-*"],
        "priority": 200,
        "composed_of": [],
        "template": {},
    }
    install(served, tmp_path)


def test_export_writes_the_assets_of_setup(served, tmp_path):
    path = configured(served, tmp_path)
    done = CliRunner().invoke(
        main,
        ["export", "templates", "-c", path, "--into", str(tmp_path / "out"), "--version", "8.12"],
    )
    assert done.exit_code == 0 and len(done.output.splitlines()) == 6
    template = json.loads(
        (tmp_path / "out/index_template-siemtap-apptrana.attack.json").read_text()
    )
    assert template["priority"] == 190 and template["composed_of"] == [
        "siemtap-apptrana.attack-mappings"
    ]
    assert (
        CliRunner()
        .invoke(
            main, ["export", "templates", "-c", path, "--into", str(tmp_path), "--version", "new"]
        )
        .exit_code
        == 2
    )


def test_export_for_serverless_has_no_setting_of_ilm(served, tmp_path):
    """Serverless rejects them; `logs@settings` elsewhere needs `prefer_ilm: false`."""
    path = configured(served, tmp_path)
    for version, setting in (("9.1", {"prefer_ilm": "false"}), ("serverless", None)):
        into = tmp_path / version
        done = CliRunner().invoke(
            main, ["export", "templates", "-c", path, "--into", str(into), "--version", version]
        )
        assert done.exit_code == 0
        file = into / "index_template-siemtap-apptrana.attack.json"
        index = json.loads(file.read_text())["template"]["settings"]["index"]
        assert index.get("lifecycle") == setting


SERVERS = [
    ClusterInfo("elasticsearch", (8, 5)),
    ClusterInfo("elasticsearch", (9, 2), frozenset({"geoip", "user_agent"})),
    ClusterInfo("opensearch", (3, 8), frozenset({"user_agent"})),
]


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: f"{server.flavour}-{server.version}")
@pytest.mark.parametrize("dataset", PLUGIN.datasets, ids=lambda dataset: dataset.name)
def test_every_field_has_a_type_that_the_server_supports(server, dataset):
    types = field_types.types(server, dataset)
    flat = [path for path, spec in types.items() if spec["type"] in ("flattened", "flat_object")]
    assert all(
        path in types
        or any(path.startswith(f"{other}.") for other in flat)
        or any(other.startswith(f"{path}.") for other in types)
        for path in dataset.targets()
    )
    text = json.dumps([asset.body for asset in assets(server, [dataset])])
    assert "text" not in {spec["type"] for spec in types.values()} and types["event.id"] == {
        "type": "keyword",
        "ignore_above": 1024,
    }
    refused = (
        (
            '"flattened"',
            "ignore_missing",
            "@mappings",
            "lifecycle",
            "data_stream_options",
            "@custom",
        )
        if server.flavour == "opensearch"
        else ('"flat_object"',)
    )
    assert not [word for word in refused if word in text.replace('"ignore_missing": true', "")]
    constants = [path for path, spec in types.items() if spec["type"] == "constant_keyword"]
    assert bool(constants) == (server.flavour == "elasticsearch"), "OpenSearch aggregates names"
