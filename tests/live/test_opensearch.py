"""A real OpenSearch node: setup, the types of all fields, the commands, the audit."""

import json
import random
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from cluster import STREAM, UNIT, configured, install, output, simulated, stored

from apptrana import PLUGIN, simulator
from siemtap.core.convert import rfc3339
from siemtap.core.manifest import describe, fill_in
from siemtap.core.settings import CommonSettings, Connection
from siemtap.core.windows import HOUR
from siemtap.elastic import field_types
from siemtap.elastic.server import Server as ClusterInfo
from siemtap.render import registry
from siemtap.render.health import DATASET
from siemtap.shipper.audit import comparison
from siemtap.shipper.cli.main import main
from siemtap.shipper.config.load import load
from siemtap.shipper.config.sections import Input
from siemtap.shipper.process import Shipper
from siemtap.testing import simulation
from siemtap.testing.cases import all_folders
from siemtap.testing.world import World

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("clean")]


# Setup


def test_second_setup_changes_nothing(node, tmp_path):
    path = configured(node, tmp_path)
    before = CliRunner().invoke(main, ["setup", "--dry-run", "-c", path])
    assert (
        "would be created: index template siemtap-apptrana.attack" in before.output
        and "6 to change" in before.output
    )
    assert node.ask("GET", "/_index_template/siemtap*").json()["index_templates"] == []
    first, second = (CliRunner().invoke(main, ["setup", "-c", path]) for _ in range(2))
    assert (
        "6 changed" in first.output
        and second.output.splitlines()[-1] == "0 changed"
        and second.output.count("unchanged") == 6
    )
    node.ask(
        "PUT",
        "/_component_template/siemtap-apptrana.attack-mappings",
        json={"template": {"mappings": {"properties": {"message": {"type": "keyword"}}}}},
    )
    third = CliRunner().invoke(main, ["setup", "-c", path])
    assert (
        "changed: component template siemtap-apptrana.attack-mappings" in third.output
        and "message.type: keyword -> match_only_text" in third.output
    )


@pytest.mark.parametrize("plugin", registry.installed().values(), ids=lambda plugin: plugin.name)
def test_every_field_of_every_case_has_its_type(node, tmp_path, plugin):
    needed = {
        s["name"]: "https://vendor.example.com" if s["kind"] == "url" else "x"
        for s in describe(plugin.settings)
        if s["required"]
    }
    (tmp_path / "siemtap.yml").write_text(
        json.dumps(
            {
                "output": {"opensearch": {"hosts": [node.url]}},
                "inputs": [{"type": plugin.name, **needed}],
            }
        )
    )
    assert CliRunner().invoke(main, ["setup", "-c", str(tmp_path / "siemtap.yml")]).exit_code == 0
    opensearch, wanted, fields = output(node), {}, {}
    server = ClusterInfo("opensearch", (3, 8))
    for dataset in plugin.datasets:
        wanted.update(
            {path: spec["type"] for path, spec in field_types.types(server, dataset).items()}
        )
    ids = set()
    for folder in all_folders():
        if folder.parents[1].name == plugin.name:
            events = json.loads((folder / "expected.json").read_text())
            assert opensearch.deliver(UNIT, events, None) == [], folder.name
            ids |= {(event["data_stream"]["namespace"], event["event"]["id"]) for event in events}
    opensearch.close()
    node.ask("POST", "/logs-*/_refresh")
    answer = node.ask("GET", f"/logs-{plugin.name}*/_field_caps?fields=*").json()
    for path, caps in answer["fields"].items():
        if not path.startswith("_") and "object" not in caps:
            fields[path] = sorted(caps)
    plain = {path: kind for path, kind in wanted.items() if path in fields}
    assert {path: [kind] for path, kind in plain.items()} == {path: fields[path] for path in plain}
    assert not [
        path
        for path in fields
        if path not in wanted
        and not any(
            path.startswith(f"{flat}.") for flat, kind in wanted.items() if kind == "flat_object"
        )
    ]
    assert node.ask("GET", f"/logs-{plugin.name}*/_count").json()["count"] == len(ids) > 0
    ignored = {"query": {"exists": {"field": "_ignored"}}}
    assert node.ask("POST", f"/logs-{plugin.name}*/_count", json=ignored).json()["count"] == 0


def test_health_events_have_their_types_and_ignored_fields_are_counted(node, tmp_path):
    vendor = simulation.Server(simulated(rate=1.0))
    path = Path(configured(node, tmp_path, vendor.url, lookback="20m"))
    path.write_text(
        json.dumps(
            {**json.loads(path.read_text()), "health": {"enabled": True, "namespace": "ops"}}
        )
    )
    assert CliRunner().invoke(main, ["setup", "-c", str(path)]).exit_code == 0
    template = node.ask("GET", "/_component_template/siemtap-apptrana.attack-mappings").json()[
        "component_templates"
    ][0]["component_template"]
    # as in `logs@settings` of Elasticsearch
    template["template"]["settings"] = {"index.mapping.ignore_malformed": True}
    node.ask("PUT", "/_component_template/siemtap-apptrana.attack-mappings", json=template)
    opensearch = output(node)
    odd = {
        "@timestamp": rfc3339(int(time.time() * 1000)),
        "source": {"ip": "nowhere"},
        "data_stream": {"type": "logs", "dataset": "apptrana.attack", "namespace": "default"},
        "event": {
            "id": "a" * 32,
            "kind": "event",
            "dataset": "apptrana.attack",
            "module": "apptrana",
        },
    }
    assert opensearch.deliver(UNIT, [odd], None) == []
    opensearch.close()
    node.ask("POST", "/logs-*/_refresh")
    try:
        assert Shipper(load(str(path)), once=True).run()
    finally:
        vendor.close()
    node.ask("POST", "/logs-*/_refresh")
    place = "logs-siemtap.health-ops"
    reports = [
        hit["_source"]["siemtap"]
        for hit in node.ask("POST", f"/{place}/_search?size=100").json()["hits"]["hits"]
    ]
    collected = node.ask("GET", f"/{STREAM}/_count").json()["count"]
    assert sum(report.get("events", 0) for report in reports) == collected - 1 > 20 and [
        report["ignored"] for report in reports if "output" in report
    ] == [1]
    wanted = {
        path: spec["type"]
        for path, spec in field_types.types(ClusterInfo("opensearch", (3, 8)), DATASET).items()
    }
    fields = node.ask("GET", f"/{place}/_field_caps?fields=siemtap.*,event.*").json()["fields"]
    assert {path: [wanted[path]] for path in fields if path in wanted} == {
        path: sorted(caps) for path, caps in fields.items() if path in wanted
    } and "siemtap.late_p99_s" in fields


# Commands


def test_command_test_output_reports_each_step(node, tmp_path):
    path = configured(node, tmp_path)
    before = CliRunner().invoke(main, ["test", "output", "-c", path])
    assert (
        before.exit_code == 1
        and "opensearch 3.8 answers" in before.output
        and "index template siemtap-apptrana.attack is missing; run `siemtap setup`"
        in before.output
    )
    assert (
        "no test event was written" in before.output
        and node.ask("GET", f"/{STREAM}").status_code == 404
    )
    install(node, tmp_path)
    after = CliRunner().invoke(main, ["test", "output", "-c", path])
    assert (
        after.exit_code == 0
        and "and found" in after.output
        and "this machine differ by 0." in after.output
        and "event was deleted" in after.output
    ), after.output
    assert stored(node) == []


def test_opensearch_behind_output_elasticsearch_is_reported(node, tmp_path):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "output": {"elasticsearch": {"hosts": [node.url]}},
                "inputs": [{"type": "apptrana", "client_id": "a", "client_secret": "b"}],
            }
        )
    )
    done = CliRunner().invoke(main, ["setup", "-c", str(path)])
    assert done.exit_code == 2 and "write output.opensearch" in done.output


# Audit


def test_audit_finds_deleted_and_altered_events_and_repairs_deleted_ones(node, tmp_path):
    install(node, tmp_path)
    world = World(
        PLUGIN,
        simulator.Simulator(simulator.Knobs(odd=True, rate=1.0)),
        output=output(node),
        lookback="3h",
    ).cycles(1)
    ids = stored(node)
    picked = random.Random(3).sample(
        [
            event["event"]["id"]
            for event in world.output.read(
                UNIT, "default", world.time.now - 2 * HOUR, world.time.now - HOUR
            )
        ],
        42,
    )
    deleted, altered = sorted(picked[:37]), sorted(picked[37:])
    assert (
        node.ask(
            "POST",
            f"/{STREAM}/_delete_by_query?refresh=true",
            json={"query": {"ids": {"values": deleted}}},
        ).json()["deleted"]
        == 37
    )
    script = {"source": "ctx._source.source.address = '203.0.113.99'"}
    assert (
        node.ask(
            "POST",
            f"/{STREAM}/_update_by_query?refresh=true",
            json={"query": {"ids": {"values": altered}}, "script": script},
        ).json()["updated"]
        == 5
    )
    for repaired in (False, True):
        checking = comparison.Audit(world.output, world.time.clock, 2 * HOUR, set())
        checking.read_vendor(
            Input(
                PLUGIN,
                world.settings,
                fill_in(CommonSettings, {"id": "it"}),
                fill_in(Connection, {}),
            ),
            world.http,
            {},
        )
        result = checking.compare()
        missing = result.ids("missing")
        assert (
            sorted(missing),
            sorted(result.ids("different")),
            result.ids("extra"),
            result.ids("duplicate"),
        ) == (
            [] if repaired else deleted,
            altered,
            [],
            [],
        )
        assert checking.repair(missing) == (len(missing), [])
    assert stored(node) == ids
    world.output.close()
