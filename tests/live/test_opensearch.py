"""Against a real OpenSearch node: what is delivered is there once, whatever happens to the node,
the stream or us."""

import json
import random
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from search_node import Node

from apptrana import PLUGIN, simulator
from cases import folders
from siemtap import contract
from siemtap.core.errors import ConfigError, Retry
from siemtap.core.forms import Connection, Every
from siemtap.core.manifest import describe, fill_in
from siemtap.core.mapping import rfc3339
from siemtap.core.model import Unit
from siemtap.core.windows import HOUR, MINUTE
from siemtap.health import DATASET
from siemtap.outputs import Around
from siemtap.outputs.cluster import Settings
from siemtap.outputs.elasticsearch import Opensearch
from siemtap.render import elastic
from siemtap.runners import audit, plugins, simulate
from siemtap.runners.cli import main
from siemtap.runners.config import Input, load
from siemtap.runners.shipper import Shipper
from world import Marks, World

pytestmark = pytest.mark.slow
UNIT = Unit("it", "apptrana.attack")
STREAM = "logs-apptrana.attack-default"
LIMITS = {"http.max_content_length": "100kb"}


@pytest.fixture(scope="module")
def node():
    with Node() as node:
        yield node


@pytest.fixture(scope="module")
def narrow():
    """A node that refuses what is large: 413 for whole requests."""
    with Node(**LIMITS) as node:
        yield node


@pytest.fixture(autouse=True)
def clean(request):
    """No data, no blocks, templates as `setup` makes them."""
    node = next(
        (
            request.getfixturevalue(name)
            for name in ("node", "narrow")
            if name in request.fixturenames
        ),
        None,
    )
    if node:
        node.ask("PUT", "/_cluster/settings", json={"transient": {"*": None}})
        node.ask("DELETE", "/_data_stream/*")
        node.ask("DELETE", "/_index_template/siemtap*")
        node.ask("DELETE", "/_component_template/siemtap*")


def output(node, **more):
    return Opensearch(fill_in(Settings, {"hosts": [node.url], **more}))


def configured(node, folder, url="http://127.0.0.1:9", **more):
    path = folder / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "path": {"data": str(folder / "data")},
                "http": {"enabled": False},
                "output": {"opensearch": {"hosts": [node.url]}},
                "inputs": [
                    {
                        "type": "apptrana",
                        "url": url,
                        "client_id": "demo",
                        "client_secret": "demo-secret",
                        **more,
                    }
                ],
            }
        )
    )
    return str(path)


def install(node, folder):
    done = CliRunner().invoke(main, ["setup", "-c", configured(node, folder)])
    assert done.exit_code == 0, done.output


def simulated(**knobs):
    return simulator.Simulator(simulator.Knobs(odd=False, **knobs))


def there(node, place=STREAM):
    """Every copy of every event, by id."""
    node.ask("POST", f"/{place}/_refresh")
    found, after = [], None
    while True:
        body = {
            "size": 5_000,
            "sort": [{"event.id": "asc"}, {"_index": "asc"}],
            "_source": False,
            **({"search_after": after} if after else {}),
        }
        hits = node.ask("POST", f"/{place}/_search", json=body).json()["hits"]["hits"]
        found += [hit["_id"] for hit in hits]
        if len(hits) < 5_000:
            return sorted(found)
        after = hits[-1]["sort"]


def events_of(number, start=0):
    record = json.loads(
        (folders()[0].parent / "the_pages_success_response/expected.json").read_text()
    )[0]
    return [
        {**record, "event": {**record["event"], "id": f"{place:032x}"}}
        for place in range(start, start + number)
    ]


# Setup


def test_setup_twice_changes_nothing_the_second_time(node, tmp_path):
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
        and second.output.count("as it should be") == 6
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


@pytest.mark.parametrize("plugin", plugins.installed().values(), ids=lambda plugin: plugin.name)
def test_every_field_of_every_case_has_the_intended_type(node, tmp_path, plugin):
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
    it, wanted, fields = output(node), {}, {}
    server = elastic.Server("opensearch", (3, 8))
    for dataset in plugin.datasets:
        wanted.update(
            {
                path: spec["type"]
                for path, spec in elastic.types(
                    server, contract.read("event.schema.json"), dataset
                ).items()
            }
        )
    ids = set()
    for folder in folders():
        if folder.parents[1].name == plugin.name:
            events = json.loads((folder / "expected.json").read_text())
            assert it.deliver(UNIT, events, None) == [], folder.name
            ids |= {(event["data_stream"]["namespace"], event["event"]["id"]) for event in events}
    it.close()
    node.ask("POST", "/logs-*/_refresh")
    said = node.ask("GET", f"/logs-{plugin.name}*/_field_caps?fields=*").json()["fields"]
    for path, caps in said.items():
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
    assert node.ask("GET", f"/logs-{plugin.name}*/_count").json()["count"] == len(ids) > 20


def test_its_own_health_lands_with_its_types_and_ignored_fields_are_counted(node, tmp_path):
    vendor = simulate.Server(simulated(rate=1.0))
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
    # as Elasticsearch's own `logs@settings` has it
    template["template"]["settings"] = {"index.mapping.ignore_malformed": True}
    node.ask("PUT", "/_component_template/siemtap-apptrana.attack-mappings", json=template)
    it = output(node)
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
    assert it.deliver(UNIT, [odd], None) == []
    it.close()
    node.ask("POST", "/logs-*/_refresh")
    try:
        assert Shipper(load(str(path)), once=True).run()
    finally:
        vendor.close()
    node.ask("POST", "/logs-*/_refresh")
    place = "logs-siemtap.health-ops"
    told = [
        hit["_source"]["siemtap"]
        for hit in node.ask("POST", f"/{place}/_search?size=100").json()["hits"]["hits"]
    ]
    collected = node.ask("GET", f"/{STREAM}/_count").json()["count"]
    assert sum(one.get("events", 0) for one in told) == collected - 1 > 20 and [
        one["ignored"] for one in told if "output" in one
    ] == [1]
    wanted = {
        path: spec["type"]
        for path, spec in elastic.types(
            elastic.Server("opensearch", (3, 8)), contract.read("event.schema.json"), DATASET
        ).items()
    }
    said = node.ask("GET", f"/{place}/_field_caps?fields=siemtap.*,event.*").json()["fields"]
    assert {path: [wanted[path]] for path in said if path in wanted} == {
        path: sorted(caps) for path, caps in said.items() if path in wanted
    } and "siemtap.late_p99_s" in said


# Delivery


def test_the_simulated_day_is_there_once(node, tmp_path):
    install(node, tmp_path)
    world = World(PLUGIN, simulated(rate=0.6, late=(0.0, 83.0)), output=output(node), lookback="6h")
    world.cycles(3)
    got, start = there(node), world.time.now - 6 * HOUR
    must = world.simulator.ledger(world.time.now, start, world.until() - 100_000)
    assert (
        len(must) > 100
        and must <= set(got) <= world.simulator.ledger(world.time.now, start - 10 * MINUTE)
        and len(got) == len(set(got))
    )
    before = world.output.counts["duplicates"]
    # everything again, without asking what is there: the ids swallow it
    world.marks.saved.clear()
    world.start()
    world.in_doubt = False
    world.cycle()
    again = there(node)
    assert (
        set(got) <= set(again)
        and len(again) == len(set(again))
        and world.output.counts["duplicates"] - before >= len(must) - 50
    )
    world.output.close()


def test_a_rollover_between_delivery_and_mark_leaves_no_double(node, tmp_path):
    install(node, tmp_path)

    class Dies(Marks):
        def save(self, unit, mark):
            raise Retry("killed before the mark was saved")

    world = World(PLUGIN, simulated(rate=1.0), output=output(node), marks=Dies(), lookback="30m")
    with pytest.raises(Retry):
        world.attempt(world.units()[0])
    first = there(node)
    assert first and node.ask("POST", f"/{STREAM}/_rollover").json()["rolled_over"]
    world.marks = Marks()
    world.start()
    world.cycle()
    second = there(node)
    assert len(second) == len(set(second)) >= len(first) and set(first) <= set(second)
    world.output.close()


def test_without_the_question_it_would_have_come_twice(node, tmp_path):
    """So that the test above cannot pass for another reason."""
    install(node, tmp_path)
    it = output(node)
    it.deliver(UNIT, events_of(3), None)
    node.ask("POST", f"/{STREAM}/_rollover")
    it.deliver(UNIT, events_of(3), None)
    assert len(there(node)) == 6 and it.holds(UNIT, events_of(4)) == {
        event["event"]["id"] for event in events_of(3)
    }
    it.close()


def test_a_mapping_conflict_is_refused_with_the_servers_words_and_taken_after_a_fix(node, tmp_path):
    install(node, tmp_path)
    template = {
        "template": {
            "mappings": {
                "dynamic": "false",
                "properties": {
                    "@timestamp": {"type": "date"},
                    "source": {"properties": {"address": {"type": "long"}}},
                },
            }
        }
    }
    node.ask("PUT", "/_component_template/siemtap-apptrana.attack-mappings", json=template)
    it = output(node)
    good, bad = events_of(2)
    bad = {**bad, "source": {"address": "not a number"}}
    good = {**good, "source": {"address": "7"}}
    ((event, reason),) = it.deliver(UNIT, [good, bad], None)
    assert (
        event == bad
        and reason.startswith("400 mapper_parsing_exception")
        and "source.address" in reason
    )
    node.ask("POST", f"/{STREAM}/_refresh")
    assert node.ask("GET", f"/{STREAM}/_count").json()["count"] == 1
    install(node, tmp_path)
    node.ask("POST", f"/{STREAM}/_rollover")
    # the other has no event.id in its mapping to sort by
    assert it.deliver(UNIT, [bad], None) == [] and len(there(node)) == 1
    it.close()


@pytest.mark.parametrize("block", ["index.blocks.read_only_allow_delete", "index.blocks.write"])
def test_a_blocked_index_is_waited_for(node, tmp_path, block, monkeypatch):
    install(node, tmp_path)
    it = output(node)
    it.deliver(UNIT, events_of(1), None)
    node.ask("PUT", f"/{STREAM}/_settings", json={block: True})
    lifted = threading.Timer(
        1.5, lambda: node.ask("PUT", f"/{STREAM}/_settings", json={block: None})
    )
    lifted.start()
    assert it.deliver(UNIT, events_of(40), None) == []
    lifted.join()
    assert it.counts["waits"] >= 1 and len(there(node)) == 40
    node.ask("PUT", f"/{STREAM}/_settings", json={block: True})
    monkeypatch.setattr("siemtap.outputs.elasticsearch.PATIENCE", 0.5)
    with pytest.raises(Retry, match="cluster_block_exception.*40 of 40 events wait"):
        it.deliver(UNIT, events_of(40, 40), None)
    node.ask("PUT", f"/{STREAM}/_settings", json={block: None})
    assert it.deliver(UNIT, events_of(40, 40), None) == [] and len(there(node)) == 80
    it.close()


def test_a_cluster_that_only_reads_is_waited_for(node, tmp_path, monkeypatch):
    install(node, tmp_path)
    monkeypatch.setattr("siemtap.outputs.elasticsearch.PATIENCE", 0.5)
    it = output(node)
    node.ask("PUT", "/_cluster/settings", json={"transient": {"cluster.blocks.read_only": True}})
    with pytest.raises(Retry, match="cluster_block"):
        it.deliver(UNIT, events_of(5), None)
    node.ask("PUT", "/_cluster/settings", json={"transient": {"cluster.blocks.read_only": None}})
    assert it.deliver(UNIT, events_of(5), None) == [] and len(there(node)) == 5
    it.close()


def test_a_stop_does_not_wait_for_a_blocked_cluster(node, tmp_path):
    install(node, tmp_path)
    around = Around()
    it = Opensearch(fill_in(Settings, {"hosts": ["http://127.0.0.1:9"]}), around)
    threading.Timer(0.5, around.stopping.set).start()
    began = time.monotonic()
    with pytest.raises(Retry, match="ConnectionError"):
        it.deliver(UNIT, events_of(1), None)
    assert time.monotonic() - began < 5
    it.close()


def test_too_large_is_split_and_a_single_one_is_refused_unaltered(narrow, tmp_path):
    install(narrow, tmp_path)
    it = output(narrow, compression_level=0)
    events = events_of(300)
    huge = {**events[7], "message": "x" * 150_000}
    events[7] = huge
    ((event, reason),) = it.deliver(UNIT, events, None)
    assert event is huge and reason.startswith("413") and it.most_bytes < 5 * 1024**2
    assert len(there(narrow)) == 299
    it.close()


def test_a_cluster_that_is_overloaded_gets_less_at_once(tmp_path):
    """429 for every request above so many bytes, until the batches fit."""
    with Node(**{"indexing_pressure.memory.limit": "200kb"}) as node:
        install(node, tmp_path)
        it = output(node, worker=1)
        assert it.deliver(UNIT, events_of(600), None) == []
        assert it.counts["waits"] >= 1 and it.counts["duplicates"] == 0 and len(there(node)) == 600
        it.close()


def test_a_missing_index_names_setup(node, tmp_path):
    it = output(node)
    with pytest.raises(
        ConfigError,
        match=(
            f"neither the data stream {STREAM} nor the index template siemtap-apptrana.attack is"
            " there; run `siemtap setup`"
        ),
    ):
        it.deliver(UNIT, events_of(1), None)
    # and nothing was made that a data stream would stumble over
    assert node.ask("GET", f"/{STREAM}").status_code == 404
    node.ask("PUT", "/_cluster/settings", json={"transient": {"action.auto_create_index": "false"}})
    plain = output(node, index="nowhere")
    with pytest.raises(ConfigError, match="404.*siemtap setup"):
        plain.deliver(UNIT, events_of(1), None)
    node.ask("PUT", "/_cluster/settings", json={"transient": {"action.auto_create_index": None}})
    it.close()
    plain.close()


def test_a_plain_index_by_date_and_field(node):
    it = Opensearch(
        fill_in(Settings, {"hosts": [node.url], "index": "siem-%{[event.module]}-%{+yyyy.MM}"}),
        Around(index_of={"other": "own"}),
    )
    it.deliver(UNIT, events_of(2), None)
    it.deliver(Unit("other", "apptrana.attack"), events_of(3, 5), None)
    assert there_plain(node, "siem-apptrana-2019.01") == 2 and there_plain(node, "own") == 3
    assert it.holds(UNIT, events_of(9)) == {event["event"]["id"] for event in events_of(2)}
    node.ask("DELETE", "/siem-apptrana-2019.01,own")
    it.close()


def there_plain(node, index):
    node.ask("POST", f"/{index}/_refresh")
    return node.ask("GET", f"/{index}/_count").json()["count"]


def test_a_node_that_dies_under_load_loses_and_doubles_nothing(tmp_path):
    with Node() as node:
        install(node, tmp_path)
        it = output(node, bulk_max_size=50)
        done = []

        def work(part):
            for step in range(12):
                events = events_of(100, part * 10_000 + step * 100)
                while True:
                    try:
                        assert it.deliver(UNIT, events, None) == []
                        break
                    except Retry:
                        continue
                done.extend(event["event"]["id"] for event in events)

        threads = [threading.Thread(target=work, args=(part,)) for part in range(3)]
        [thread.start() for thread in threads]
        while len(done) < 900:
            time.sleep(0.05)
        node.kill()
        node.start()
        [thread.join(120) for thread in threads]
        assert len(done) == 3_600 and there(node) == sorted(done)
        it.close()


# The commands


def test_test_output_says_what_it_saw(node, tmp_path):
    path = configured(node, tmp_path)
    before = CliRunner().invoke(main, ["test", "output", "-c", path])
    assert (
        before.exit_code == 1
        and "opensearch 3.8 answers" in before.output
        and "index template siemtap-apptrana.attack is missing; run `siemtap setup`"
        in before.output
    )
    assert (
        "no canary event was written" in before.output
        and node.ask("GET", f"/{STREAM}").status_code == 404
    )
    install(node, tmp_path)
    after = CliRunner().invoke(main, ["test", "output", "-c", path])
    assert (
        after.exit_code == 0
        and "found again" in after.output
        and "clock differs from ours by 0." in after.output
        and "and removed" in after.output
    ), after.output
    assert there(node) == []


def test_the_wrong_flavour_is_named(node, tmp_path):
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


# The audit


def test_the_audit_finds_the_37_deleted_and_the_5_altered_and_mends_the_37(node, tmp_path):
    install(node, tmp_path)
    world = World(
        PLUGIN,
        simulator.Simulator(simulator.Knobs(odd=True, rate=1.0)),
        output=output(node),
        lookback="3h",
    ).cycles(1)
    ids = there(node)
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
        checking = audit.Audit(world.output, world.time.clock, 2 * HOUR, set())
        checking.ask(
            Input(PLUGIN, world.settings, fill_in(Every, {"id": "it"}), fill_in(Connection, {})),
            world.http,
            {},
        )
        found = checking.compare()
        assert (sorted(found.missing), sorted(found.different), found.extra, found.twice) == (
            [] if repaired else deleted,
            altered,
            [],
            [],
        )
        assert checking.repair(found.missing) == (len(found.missing), [])
    assert there(node) == ids
    world.output.close()
