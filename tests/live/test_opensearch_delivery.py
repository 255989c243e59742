"""Delivery to a real OpenSearch node: each event is stored once, whatever happens to the node,
the data stream or siemtap."""

import random
import threading
import time

import pytest
from cluster import STREAM, UNIT, events_of, install, output, simulated, stored
from processes import HANG, wait_for
from search_node import Node

from apptrana import PLUGIN
from siemtap.core.errors import ConfigError, Retry
from siemtap.core.manifest import fill_in
from siemtap.core.model import Unit
from siemtap.core.windows import HOUR, MINUTE
from siemtap.outputs import OutputContext
from siemtap.outputs.elasticsearch.output import Opensearch
from siemtap.outputs.elasticsearch.settings import Settings
from siemtap.testing.world import Marks, World

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("clean")]

LIMITS = {"http.max_content_length": "100kb"}


@pytest.fixture(scope="module")
def small_requests_node():
    """Run a node that answers large requests with 413."""
    with Node(**LIMITS) as node:
        yield node


def test_events_of_a_day_are_stored_once(node, tmp_path):
    install(node, tmp_path)
    world = World(PLUGIN, simulated(rate=0.6, late=(0.0, 83.0)), output=output(node), lookback="6h")
    world.cycles(3)
    actual, start = stored(node), world.time.now - 6 * HOUR
    must = world.simulator.ledger(world.time.now, start, world.until() - 100_000)
    assert (
        len(must) > 100
        and must <= set(actual) <= world.simulator.ledger(world.time.now, start - 10 * MINUTE)
        and len(actual) == len(set(actual))
    )
    before = world.output.counts["duplicates"]
    # everything again, without querying stored ids: the document ids prevent duplicates
    world.marks.saved.clear()
    world.start()
    world.in_doubt = False
    world.cycle()
    again = stored(node)
    assert (
        set(actual) <= set(again)
        and len(again) == len(set(again))
        and world.output.counts["duplicates"] - before >= len(must) - 50
    )
    world.output.close()


def test_rollover_between_delivery_and_mark_causes_no_duplicates(node, tmp_path):
    install(node, tmp_path)

    class FailingMarks(Marks):
        def save(self, unit, mark):
            raise Retry("killed before the mark was saved")

    world = World(
        PLUGIN, simulated(rate=1.0), output=output(node), marks=FailingMarks(), lookback="30m"
    )
    with pytest.raises(Retry):
        world.attempt(world.units()[0])
    first = stored(node)
    assert first and node.ask("POST", f"/{STREAM}/_rollover").json()["rolled_over"]
    world.marks = Marks()
    world.start()
    world.cycle()
    second = stored(node)
    assert len(second) == len(set(second)) >= len(first) and set(first) <= set(second)
    world.output.close()


def test_rollover_causes_duplicates_without_the_query_for_stored_ids(node, tmp_path):
    """This shows that the previous test depends on the query."""
    install(node, tmp_path)
    opensearch = output(node)
    assert not opensearch.has_any(UNIT, events_of(3)), "there is no data stream"
    opensearch.deliver(UNIT, events_of(3), None)
    assert opensearch.has_any(UNIT, events_of(3, 100))
    node.ask("POST", f"/{STREAM}/_rollover")
    opensearch.deliver(UNIT, events_of(3), None)
    assert len(stored(node)) == 6 and opensearch.holds(UNIT, events_of(4)) == {
        event["event"]["id"] for event in events_of(3)
    }
    opensearch.close()


def test_mapping_conflict_is_rejected_with_the_servers_reason_and_accepted_after_a_fix(
    node, tmp_path
):
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
    opensearch = output(node)
    good, bad = events_of(2)
    bad = {**bad, "source": {"address": "not a number"}}
    good = {**good, "source": {"address": "7"}}
    ((event, reason),) = opensearch.deliver(UNIT, [good, bad], None)
    assert (
        event == bad
        and reason.startswith("400 mapper_parsing_exception")
        and "source.address" in reason
    )
    node.ask("POST", f"/{STREAM}/_refresh")
    assert node.ask("GET", f"/{STREAM}/_count").json()["count"] == 1
    install(node, tmp_path)
    node.ask("POST", f"/{STREAM}/_rollover")
    # the other index has no event.id in its mapping to sort by
    assert opensearch.deliver(UNIT, [bad], None) == [] and len(stored(node)) == 1
    opensearch.close()


@pytest.mark.parametrize("block", ["index.blocks.read_only_allow_delete", "index.blocks.write"])
def test_blocked_index_is_retried(node, tmp_path, block, monkeypatch):
    install(node, tmp_path)
    opensearch = output(node)
    opensearch.deliver(UNIT, events_of(1), None)
    node.ask("PUT", f"/{STREAM}/_settings", json={block: True})
    lifted = threading.Timer(
        1.5, lambda: node.ask("PUT", f"/{STREAM}/_settings", json={block: None})
    )
    lifted.start()
    assert opensearch.deliver(UNIT, events_of(40), None) == []
    lifted.join()
    assert opensearch.counts["waits"] >= 1 and len(stored(node)) == 40
    node.ask("PUT", f"/{STREAM}/_settings", json={block: True})
    monkeypatch.setattr("siemtap.outputs.elasticsearch.output.PATIENCE", 0.5)
    with pytest.raises(Retry, match="cluster_block_exception.*40 of 40 events wait"):
        opensearch.deliver(UNIT, events_of(40, 40), None)
    node.ask("PUT", f"/{STREAM}/_settings", json={block: None})
    assert opensearch.deliver(UNIT, events_of(40, 40), None) == [] and len(stored(node)) == 80
    opensearch.close()


def test_read_only_cluster_is_retried(node, tmp_path, monkeypatch):
    install(node, tmp_path)
    monkeypatch.setattr("siemtap.outputs.elasticsearch.output.PATIENCE", 0.5)
    opensearch = output(node)
    node.ask("PUT", "/_cluster/settings", json={"transient": {"cluster.blocks.read_only": True}})
    with pytest.raises(Retry, match="cluster_block"):
        opensearch.deliver(UNIT, events_of(5), None)
    node.ask("PUT", "/_cluster/settings", json={"transient": {"cluster.blocks.read_only": None}})
    assert opensearch.deliver(UNIT, events_of(5), None) == [] and len(stored(node)) == 5
    opensearch.close()


def test_stop_does_not_wait_for_a_blocked_cluster(monkeypatch):
    """The pauses are long enough to be noticed, and a stop ends the first one."""
    monkeypatch.setattr("siemtap.outputs.elasticsearch.output.PATIENCE", 100.0 * HANG)
    monkeypatch.setattr(random, "uniform", lambda low, high: 10.0 * HANG)
    context = OutputContext()
    opensearch = Opensearch(fill_in(Settings, {"hosts": ["http://127.0.0.1:9"]}), context)
    opensearch.templates.asked.add((STREAM, UNIT.dataset))  # otherwise it requests the template
    errors = []

    def deliver():
        try:
            opensearch.deliver(UNIT, events_of(1), None)
        except Retry as error:
            errors.append(str(error))

    delivery = threading.Thread(target=deliver, daemon=True)
    delivery.start()
    wait_for(lambda: opensearch.counts["waits"])
    context.stopping.set()
    delivery.join(HANG)
    assert not delivery.is_alive() and "ConnectionError" in errors[0]
    assert opensearch.counts["waits"] == 1
    opensearch.close()


def test_request_too_large_is_split_and_an_event_too_large_is_rejected(
    small_requests_node, tmp_path
):
    install(small_requests_node, tmp_path)
    opensearch = output(small_requests_node, compression_level=0)
    events = events_of(300)
    huge = {**events[7], "message": "x" * 150_000}
    events[7] = huge
    ((event, reason),) = opensearch.deliver(UNIT, events, None)
    assert event is huge and reason.startswith("413") and opensearch.bulk.most_bytes < 5 * 1024**2
    assert len(stored(small_requests_node)) == 299
    opensearch.close()


def test_overloaded_cluster_gets_smaller_requests(tmp_path):
    """Every request above a size is answered with 429 until the batches fit."""
    with Node(**{"indexing_pressure.memory.limit": "200kb"}) as node:
        install(node, tmp_path)
        opensearch = output(node, worker=1)
        assert opensearch.deliver(UNIT, events_of(600), None) == []
        assert (
            opensearch.counts["waits"] >= 1
            and opensearch.counts["duplicates"] == 0
            and len(stored(node)) == 600
        )
        opensearch.close()


def test_missing_index_error_names_setup(node, tmp_path):
    opensearch = output(node)
    with pytest.raises(
        ConfigError,
        match=(
            f"neither the data stream {STREAM} nor the index template siemtap-apptrana.attack"
            " exists; run `siemtap setup`"
        ),
    ):
        opensearch.deliver(UNIT, events_of(1), None)
    # no index was created that would prevent a data stream
    assert node.ask("GET", f"/{STREAM}").status_code == 404
    node.ask("PUT", "/_cluster/settings", json={"transient": {"action.auto_create_index": "false"}})
    plain = output(node, index="nowhere")
    with pytest.raises(ConfigError, match="404.*siemtap setup"):
        plain.deliver(UNIT, events_of(1), None)
    node.ask("PUT", "/_cluster/settings", json={"transient": {"action.auto_create_index": None}})
    opensearch.close()
    plain.close()


def test_plain_index_named_by_date_and_field(node):
    opensearch = Opensearch(
        fill_in(Settings, {"hosts": [node.url], "index": "siem-%{[event.module]}-%{+yyyy.MM}"}),
        OutputContext(index_by_input={"other": "own"}),
    )
    opensearch.deliver(UNIT, events_of(2), None)
    opensearch.deliver(Unit("other", "apptrana.attack"), events_of(3, 5), None)
    assert (
        number_of_documents(node, "siem-apptrana-2019.01") == 2
        and number_of_documents(node, "own") == 3
    )
    assert opensearch.holds(UNIT, events_of(9)) == {event["event"]["id"] for event in events_of(2)}
    node.ask("DELETE", "/siem-apptrana-2019.01,own")
    opensearch.close()


def number_of_documents(node, index):
    node.ask("POST", f"/{index}/_refresh")
    return node.ask("GET", f"/{index}/_count").json()["count"]


def test_node_crash_under_load_neither_loses_nor_duplicates_events(tmp_path):
    with Node() as node:
        install(node, tmp_path)
        opensearch = output(node, bulk_max_size=50)
        done = []

        def work(part):
            for step in range(12):
                events = events_of(100, part * 10_000 + step * 100)
                while True:
                    try:
                        assert opensearch.deliver(UNIT, events, None) == []
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
        [thread.join(HANG) for thread in threads]
        assert len(done) == 3_600 and stored(node) == sorted(done)
        opensearch.close()
