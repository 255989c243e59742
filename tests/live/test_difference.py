"""The Elasticsearch simulator against a real OpenSearch node: the same requests must have the same
results where both support them."""

import json

import pytest
import requests
from elastic_simulator import Cluster, Server
from search_node import Node

pytestmark = pytest.mark.slow
AT = "2026-03-04T10:00:00.000Z"
PLAIN = {
    "index_patterns": ["logs-a-*"],
    "priority": 190,
    "data_stream": {},
    "composed_of": ["types"],
    "template": {},
}
TYPES = {
    "template": {
        "mappings": {
            "dynamic": "false",
            "properties": {
                "@timestamp": {"type": "date"},
                "ip": {"type": "ip"},
                "n": {"type": "long"},
                "event": {"properties": {"id": {"type": "keyword"}}},
            },
        }
    }
}


@pytest.fixture(scope="module")
def both():
    with Node() as node, Server(Cluster(version="8.12.0")) as server:
        yield node.url, server.url


def lines(*objects):
    return b"".join(json.dumps(item).encode() + b"\n" for item in objects)


def doc(id, verb="create", index="logs-a-default", **more):
    return {verb: {"_index": index, "_id": id}}, {"@timestamp": AT, "event": {"id": id}, **more}


STEPS = [
    ("a component", "PUT", "/_component_template/types", TYPES),
    ("a template", "PUT", "/_index_template/plain", PLAIN),
    ("a template of the same pattern and priority", "PUT", "/_index_template/other", PLAIN),
    (
        "a template with a word nobody knows",
        "PUT",
        "/_index_template/odd",
        {**PLAIN, "colour": "red"},
    ),
    (
        "a template of a component that is not there",
        "PUT",
        "/_index_template/odd",
        {**PLAIN, "priority": 191, "composed_of": ["nowhere"]},
    ),
    ("a template that is not there", "GET", "/_index_template/nowhere", None),
    (
        "a pipeline",
        "PUT",
        "/_ingest/pipeline/p",
        {"processors": [{"set": {"field": "a", "value": "b"}}]},
    ),
    (
        "a pipeline of a processor that is not there",
        "PUT",
        "/_ingest/pipeline/q",
        {"processors": [{"fly": {}}]},
    ),
    ("a pipeline that is not there", "GET", "/_ingest/pipeline/nowhere", None),
    ("an empty bulk", "POST", "/_bulk", b""),
    ("a bulk without its last newline", "POST", "/_bulk", lines(*doc("0"))[:-1]),
    ("a bad action", "POST", "/_bulk", b"{nonsense\n{}\n"),
    ("three documents", "POST", "/_bulk", lines(*doc("1"), *doc("2"), *doc("3", ip="192.0.2.1"))),
    ("again, with a new one", "POST", "/_bulk", lines(*doc("1"), *doc("4"))),
    ("an index action", "POST", "/_bulk", lines(*doc("5", verb="index"))),
    (
        "no time",
        "POST",
        "/_bulk",
        lines({"create": {"_index": "logs-a-default", "_id": "6"}}, {"a": 1}),
    ),
    (
        "no JSON",
        "POST",
        "/_bulk",
        lines({"create": {"_index": "logs-a-default", "_id": "7"}}) + b"{nonsense\n",
    ),
    (
        "a bad address",
        "POST",
        "/_bulk",
        lines(*doc("8", ip="nobody"), *doc("9", n="many"), *doc("10", n="7")),
    ),
    ("refresh", "POST", "/logs-a-default/_refresh", None),
    (
        "anything where nothing is",
        "POST",
        "/logs-b-default,logs-b-*/_search?ignore_unavailable=true&allow_no_indices=true",
        {"size": 1, "terminate_after": 1},
    ),
    (
        "ids",
        "POST",
        "/logs-a-default/_search",
        {"query": {"ids": {"values": ["1", "3", "99"]}}, "sort": [{"event.id": "asc"}]},
    ),
    ("rollover", "POST", "/logs-a-default/_rollover", None),
    ("the same after a rollover", "POST", "/_bulk", lines(*doc("1"))),
    ("refresh again", "POST", "/logs-a-default/_refresh", None),
    ("both copies", "POST", "/logs-a-default/_search", {"query": {"ids": {"values": ["1"]}}}),
    (
        "too many at once",
        "POST",
        "/logs-a-default/_search",
        {"query": {"match_all": {}}, "size": 10_001},
    ),
    (
        "remove",
        "POST",
        "/logs-a-default/_delete_by_query",
        {"query": {"ids": {"values": ["2", "99"]}}},
    ),
    ("nowhere", "GET", "/_no/such/thing", None),
]


def outcome(url, method, path, body):
    """Return what both must agree on: status, and results without names and messages."""
    kind = "application/x-ndjson" if path == "/_bulk" else "application/json"
    answer = requests.request(
        method,
        url + path,
        data=body if isinstance(body, (bytes, type(None))) else json.dumps(body),
        headers={"content-type": kind},
        timeout=300,
    )
    reply = answer.json()
    if "items" in reply:
        return (
            answer.status_code,
            reply["errors"],
            [(verb, item["status"]) for row in reply["items"] for verb, item in row.items()],
        )
    if "hits" in reply:
        return answer.status_code, sorted(hit["_id"] for hit in reply["hits"]["hits"])
    return answer.status_code, reply.get("deleted"), reply.get("rolled_over"), "error" in reply


def test_simulator_and_opensearch_have_the_same_results(both):
    different = {}
    for name, *step in STEPS:
        real, simulated = (outcome(url, *step) for url in both)
        if real != simulated:
            different[name] = {"OpenSearch": real, "simulator": simulated}
    assert different == {}
