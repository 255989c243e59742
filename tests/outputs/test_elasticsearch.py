"""The writer and `setup` against a strict stand-in for Elasticsearch: what OpenSearch does not
have, and what must not be mistaken."""

import json

import pytest
from click.testing import CliRunner
from elastic_simulator import Cluster, Server

from apptrana import PLUGIN
from siemtap import contract
from siemtap.core.errors import AuthError, ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.outputs import Around, elasticsearch
from siemtap.outputs.cluster import Settings
from siemtap.outputs.elasticsearch import Elasticsearch, Opensearch
from siemtap.render import elastic
from siemtap.runners.cli import main

UNIT = Unit("it", "apptrana.attack")
STREAM = "logs-apptrana.attack-default"


@pytest.fixture
def served(request, monkeypatch):
    monkeypatch.setattr(elasticsearch, "PATIENCE", 1.0)
    monkeypatch.setattr(elasticsearch, "LONGEST_PAUSE", 0.05)
    with Server(Cluster(**getattr(request, "param", {}))) as server:
        yield server


def output(server, **more):
    return Elasticsearch(fill_in(Settings, {"hosts": [server.url], **more}))


def event(number, **more):
    return {
        "@timestamp": "2026-03-04T10:00:00.000Z",
        "data_stream": {"type": "logs", "dataset": "apptrana.attack", "namespace": "default"},
        "event": {
            "id": f"{number:032x}",
            "kind": "event",
            "dataset": "apptrana.attack",
            "module": "apptrana",
        },
        **more,
    }


def configured(server, folder, **more):
    path = folder / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "output": {"elasticsearch": {"hosts": [server.url], **more.pop("output", {})}},
                "inputs": [{"type": "apptrana", "client_id": "a", "client_secret": "b"}],
                **more,
            }
        )
    )
    return str(path)


def install(server, folder, **more):
    done = CliRunner().invoke(main, ["setup", "-c", configured(server, folder, **more)])
    assert done.exit_code == 0, done.output
    return done.output


def test_created_then_there_already(served):
    it = output(served)
    assert (
        it.deliver(UNIT, [event(1), event(2)], None) == []
        and it.deliver(UNIT, [event(2), event(3)], None) == []
    )
    assert it.counts["duplicates"] == 1 and it.holds(
        UNIT, [event(number) for number in range(5)]
    ) == {event(number)["event"]["id"] for number in (1, 2, 3)}
    it.close()


def test_an_answer_cut_in_the_middle_is_unknown_and_sent_again(served):
    it = output(served)
    served.cut = 2
    assert (
        it.deliver(UNIT, [event(1), event(2)], None) == []
        and it.counts["duplicates"] == 2
        and len(served.cluster.streams[STREAM]["backing"][0]) == 2
    )
    it.close()


def test_overload_and_the_flood_stage_are_waited_out(served):
    it = output(served)
    served.cluster.busy = 3
    assert (
        it.deliver(UNIT, [event(number) for number in range(100)], None) == []
        and it.counts["waits"] >= 2
        and it.most < 1600
    )
    served.cluster.blocked = True
    with pytest.raises(Retry, match="403 cluster_block_exception"):
        it.deliver(UNIT, [event(200)], None)
    served.cluster.blocked = False
    assert it.deliver(UNIT, [event(200)], None) == []
    it.close()


@pytest.mark.parametrize("served", [{"version": "9.1.4"}, {"version": "8.19.2"}], indirect=True)
def test_what_the_failure_store_took_is_counted_apart(served, tmp_path):
    install(served, tmp_path)
    served.cluster.templates["siemtap-apptrana.attack"]["template"]["settings"]["index"][
        "mapping"
    ] = {"ignore_malformed": "false"}
    it = output(served)
    assert it.deliver(UNIT, [event(1), event(2, source={"ip": "nobody"})], None) == []
    assert it.counts["failure_store"] == 1 and len(served.cluster.failed[STREAM]) == 1
    it.close()


def test_what_the_cluster_ignored_is_counted_when_it_is_read_back(served, tmp_path):
    """`logs@settings` has `ignore_malformed`: a bad value is 201 all the same."""
    install(served, tmp_path)
    it = output(served)
    assert (
        it.deliver(UNIT, [event(1), event(2, source={"ip": "nobody"})], None) == []
        and it.counts["failure_store"] == 0
    )
    assert (
        len(list(it.read(UNIT, "default", 0, 2_000_000_000_000))) == 2 and it.counts["ignored"] == 1
    )
    it.close()


@pytest.mark.parametrize("served", [{"version": "8.12.0"}], indirect=True)
def test_without_a_failure_store_a_bad_document_is_refused_with_the_servers_words(served, tmp_path):
    install(served, tmp_path)
    it = output(served)
    ((refused, reason),) = it.deliver(
        UNIT, [event(1), event(2, source={"ip": "nobody"}), event(3)], None
    )
    assert (
        refused["source"] == {"ip": "nobody"}
        and reason == "400 document_parsing_exception: failed to parse field [source.ip]"
    )
    assert len(served.cluster.streams[STREAM]["backing"][0]) == 2
    it.close()


@pytest.mark.parametrize("served", [{"limit": 20_000}], indirect=True)
def test_too_large_is_split(served):
    it = output(served, compression_level=0)
    ((refused, reason),) = it.deliver(
        UNIT,
        [event(number, message="x" * (30_000 if number == 5 else 900)) for number in range(60)],
        None,
    )
    assert (
        refused["event"]["id"] == f"{5:032x}"
        and reason.startswith("413 ")
        and len(served.cluster.streams[STREAM]["backing"][0]) == 59
    )
    it.close()


@pytest.mark.parametrize("served", [{"api_key": "abc="}], indirect=True)
def test_keys(served, tmp_path):
    good, bad = output(served, api_key="abc="), output(served, api_key="wrong")
    assert good.deliver(UNIT, [event(1)], None) == []
    with pytest.raises(AuthError, match="401.*check api_key") as told:
        bad.deliver(UNIT, [event(2)], None)
    assert "wrong" not in str(told.value)
    good.close()
    bad.close()


@pytest.mark.parametrize(
    "served", [{"privileges": ["read", "monitor", "manage_index_templates"]}], indirect=True
)
def test_rights_that_are_missing_are_named_one_by_one(served, tmp_path, caplog):
    it = output(served)
    it.deliver(UNIT, [event(1)], None)
    assert (
        it.holds(UNIT, [event(1)]) is None
        and it.holds(UNIT, [event(1)]) is None
        and caplog.text.count("`read` and `maintenance`") == 1
    )
    it.close()
    said = CliRunner().invoke(main, ["test", "output", "-c", configured(served, tmp_path)])
    assert (
        said.exit_code == 1
        and "FAIL  the cluster right monitor is missing" in said.output
        and "ok    the cluster right manage_index_templates is missing (only" in said.output
    )
    assert said.output.count("FAIL  the right read on logs-apptrana.") == 2


@pytest.mark.parametrize(
    "more,sentence",
    [
        ({"api_key": "a", "username": "b", "password": "c"}, "api_key and username are given"),
        ({"username": "b"}, "go together"),
        ({"certificate": "x.pem"}, "certificate and key"),
        ({"cloud_id": "not-a-cloud"}, "output.elasticsearch: "),
        ({"index": "Upper"}, "index: .Upper. is not allowed"),
        ({"hosts": ["nowhere"]}, "output.elasticsearch: "),
        ({"ca_fingerprint": "zz"}, "ca_fingerprint"),
    ],
)
def test_settings_that_cannot_work(more, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Elasticsearch(fill_in(Settings, more))


def test_an_inputs_own_index_is_looked_at_before_anything_runs(tmp_path):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "path": {"data": str(tmp_path / "data")},
                "output": {"elasticsearch": {}},
                "inputs": [
                    {
                        "type": "apptrana",
                        "client_id": "a",
                        "client_secret": "b",
                        "index": "Not*Allowed",
                    }
                ],
            }
        )
    )
    done = CliRunner().invoke(main, ["run", "--once", "-c", str(path)])
    assert (
        done.exit_code == 2
        and 'line 1: inputs[0].index cannot be "Not*Allowed"' in done.output
        and "lower case letters" in done.output
    )


def test_opensearch_has_no_api_keys():
    with pytest.raises(ConfigError, match="neither api_key nor cloud_id"):
        Opensearch(fill_in(Settings, {"api_key": "a"}))


def test_a_host_that_is_not_there_is_waited_for(monkeypatch):
    monkeypatch.setattr(elasticsearch, "PATIENCE", 0.2)
    it = Elasticsearch(fill_in(Settings, {"hosts": ["http://127.0.0.1:9"]}), Around())
    with pytest.raises(Retry, match="ConnectionError.*1 of 1 events wait"):
        it.deliver(UNIT, [event(1)], None)
    with pytest.raises(Retry):
        it.holds(UNIT, [event(1)])
    it.close()


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
def test_setup_on_each_version_and_twice(served, tmp_path):
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
    assert done.exit_code == 0 and "found again" in done.output and "and removed" in done.output, (
        done.output
    )


def test_lifecycle_as_wished(served, tmp_path):
    install(served, tmp_path, setup={"retention": "90d"})
    template = served.cluster.templates["siemtap-apptrana.attack"]["template"]
    assert template["lifecycle"] == {"enabled": True, "data_retention": "90d"} and template[
        "settings"
    ]["index"]["lifecycle"] == {"prefer_ilm": "false"}
    assert "template.lifecycle.data_retention: 90d -> 7d" in install(
        served, tmp_path, setup={"retention": "7d"}
    )
    install(served, tmp_path, setup={"lifecycle": "policy", "policy": "security-logs"})
    assert served.cluster.templates["siemtap-apptrana.attack"]["template"]["settings"]["index"][
        "lifecycle"
    ] == {"name": "security-logs"}


@pytest.mark.parametrize(
    "served", [{"version": "3.8.0", "distribution": "opensearch"}], indirect=True
)
def test_opensearch_keeps_events_by_a_policy_of_ours(served, tmp_path):
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
    code, said = setup(lifecycle="policy", policy="mine")
    assert code == 2 and "names its indices itself" in said
    served.cluster.ism_policies.clear()
    served.cluster.without_ism = True
    code, said = setup(retention="7d")
    assert code == 2 and "has no Index State Management" in said


def test_an_integration_package_may_stand_beside_it(served, tmp_path):
    served.cluster.templates["logs-apptrana.attack"] = {
        "index_patterns": ["logs-apptrana.attack-*"],
        "priority": 200,
        "composed_of": [],
        "template": {},
    }
    install(served, tmp_path)


def test_export_writes_what_setup_would(served, tmp_path):
    path = configured(served, tmp_path)
    done = CliRunner().invoke(
        main,
        ["export", "templates", "-c", path, "--into", str(tmp_path / "out"), "--version", "8.12"],
    )
    assert done.exit_code == 0 and len(done.output.splitlines()) == 6
    said = json.loads((tmp_path / "out/index_template-siemtap-apptrana.attack.json").read_text())
    assert said["priority"] == 190 and said["composed_of"] == ["siemtap-apptrana.attack-mappings"]
    assert (
        CliRunner()
        .invoke(
            main, ["export", "templates", "-c", path, "--into", str(tmp_path), "--version", "new"]
        )
        .exit_code
        == 2
    )


# What is rendered

SERVERS = [
    elastic.Server("elasticsearch", (8, 5)),
    elastic.Server("elasticsearch", (9, 2), frozenset({"geoip", "user_agent"})),
    elastic.Server("opensearch", (3, 8), frozenset({"user_agent"})),
]


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: f"{server.flavour}-{server.version}")
@pytest.mark.parametrize("dataset", PLUGIN.datasets, ids=lambda dataset: dataset.name)
def test_every_target_has_a_type_and_opensearch_gets_nothing_it_refuses(server, dataset):
    types = elastic.types(server, contract.read("event.schema.json"), dataset)
    flat = [path for path, spec in types.items() if spec["type"] in ("flattened", "flat_object")]
    assert all(
        path in types
        or any(path.startswith(f"{one}.") for one in flat)
        or any(one.startswith(f"{path}.") for one in types)
        for path in dataset.targets()
    )
    text = json.dumps(
        [
            asset.body
            for asset in elastic.assets(server, contract.read("event.schema.json"), [dataset])
        ]
    )
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
    assert (
        all(spec.get("value") for spec in types.values() if spec["type"] == "constant_keyword")
        or server.flavour == "elasticsearch"
    )
