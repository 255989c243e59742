"""packaging/monitoring: alert rules and a dashboard use metrics and labels that /metrics serves."""

import json
import re
from pathlib import Path

import pytest
from processes import Process, page, wait_for
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML
from search_node import free_port

from apptrana import simulator
from siemtap.shipper.status.metrics import render_metrics
from siemtap.testing.simulation import Server

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "packaging/monitoring"
NAME = re.compile(r"\bsiemtap_\w+")
# of `processes: N` alone: tests/shipper/test_several_processes.py
OF_PROCESSES = {"siemtap_process_up", "siemtap_process_restarts_total"}
OF_KAFKA = {"siemtap_lost_offsets_total"}  # tests/shipper/test_kafka_gaps.py
SELECTOR = re.compile(r"\b(siemtap_\w+)\{([^}]*)\}")
LABEL = re.compile(r"(\w+) *(?:=~|!~|!=|=) *\"")
BY = re.compile(r"\bby *\(([^)]*)\)")
OF_PROMETHEUS = {"job", "instance"}  # labels that a scrape adds


def rules():
    document = YAML(typ="safe").load((FOLDER / "siemtap.rules.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard():
    return json.loads((FOLDER / "grafana.json").read_text())


def expressions():
    """Return every expression, with the labels that its legend or summary names."""
    pairs = [(rule["expr"], rule["annotations"]["summary"]) for rule in rules()]
    for panel in dashboard()["panels"]:
        pairs += [(target["expr"], target["legendFormat"]) for target in panel["targets"]]
    return [
        (expression, set(re.findall(r"\{\{ *(?:\$labels\.)?(\w+) *\}\}", words)))
        for expression, words in pairs
    ]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Return name -> labels of the metrics that a process serves which polls, receives and has two
    outputs, of which one has a queue."""
    folder = tmp_path_factory.mktemp("served")
    simulated = simulator.Simulator()
    server = Server(simulated)
    port = free_port()
    inputs = [
        {"type": "apptrana", "output": ["a", "b"], **simulated.settings(server.url)},
        {"type": "centurylink_ips", "output": "a", "listen": f"127.0.0.1:{port}"},
    ]
    inputs[1]["secret"] = "0123456789abcdef0123456789abcdef"
    outputs = {name: {"type": "file", "path": f"{folder}/{name}"} for name in ("a", "b")}
    config = {"path.data": f"{folder}/data", "http.port": 0, "inputs": inputs, "outputs": outputs}
    path = folder / "siemtap.yml"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    process = Process(path)
    try:
        address = process.until(r"status page at (\S+)")[1].rstrip("/")

        def samples():
            text = page(address, "/metrics")[1]
            families = list(text_string_to_metric_families(text))
            return [sample for family in families for sample in family.samples]

        late = "siemtap_unit_late_p99_seconds"
        wait_for(lambda: {late, "siemtap_events_total"} <= {each.name for each in samples()})
        return {sample.name: set(sample.labels) for sample in samples()}
    finally:
        process.end()
        server.close()


@pytest.mark.slow
def test_every_expression_uses_served_metrics_and_labels(served):
    assert len(served) > 20
    for expression, shown in expressions():
        names = NAME.findall(expression)
        assert names or expression.startswith("up{"), expression
        assert set(names) <= set(served), expression
        known = OF_PROMETHEUS.union(*(served[name] for name in names))
        for name, selector in SELECTOR.findall(expression):
            assert set(LABEL.findall(selector)) <= served[name] | OF_PROMETHEUS, expression
        for labels in BY.findall(expression):
            assert set(re.split(", *", labels)) <= known, expression
        assert shown <= known, expression


@pytest.mark.slow
def test_metrics_of_the_page_are_served_and_all_of_them_are_there(served):
    text = (ROOT / "docs/operations.md").read_text()
    table = text[text.index("| metric | is |") : text.index("Alert rules for Prometheus")]
    assert set(NAME.findall(table)) - OF_PROCESSES - OF_KAFKA == set(served)


def test_events_in_the_failure_store_are_a_metric():
    totals = dict.fromkeys(("accepted", "rejected", "retried", "echoes", "late", "unfit"), 0)
    output = {**totals, "waiting_rejected": 0}
    for number, counts in ((0, {}), (3, {"failure_store": 3})):
        stats = {"healthy": True, "inputs": [], "outputs": [], "output": {**output, **counts}}
        lines = render_metrics(stats, []).decode().splitlines()
        assert f"siemtap_failure_store_total {number}.0" in lines


def test_dashboard_has_no_overlaps_and_explains_its_panels():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 8
    cells = set()
    for panel in panels:
        assert panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in cells, panel["title"]
                cells.add((x, y))


def test_alerts_have_a_severity_and_a_summary():
    assert len(rules()) >= 6 and len({rule["alert"] for rule in rules()}) == len(rules())
    assert all(rule["labels"]["severity"] in ("warning", "critical") for rule in rules())
