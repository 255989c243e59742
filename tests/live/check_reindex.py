"""What the page of Elastic Agent tells whoever has events before the package: they are moved aside,
the package is installed, they are moved back. On a real OpenSearch node."""

import json

from cluster import install
from fleet import installed

from siemtap.render import registry
from siemtap.testing.cases import all_folders

PLUGIN = registry.plugin("apptrana")
STREAM, ASIDE = "logs-apptrana.attack-default", "apptrana-attack-aside"


def stored(node, index):
    node.ask("POST", f"/{index}/_refresh").raise_for_status()
    body = {"size": 10_000, "seq_no_primary_term": False}
    hits = node.ask("POST", f"/{index}/_search", json=body).json()["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def reindex(node, source, dest):
    body = {"source": {"index": source}, "dest": dest}
    answer = node.ask("POST", "/_reindex?refresh=true", json=body).json()
    assert not answer["failures"], answer
    return answer["created"]


def template_of(node):
    stream = node.ask("GET", f"/_data_stream/{STREAM}").json()["data_streams"][0]
    return stream["template"]


def test_events_stay_when_the_package_comes_second(node, tmp_path):
    """Nothing is lost, doubled or changed, and the data stream is the package's."""
    node.ask("DELETE", "/_data_stream/*")
    for name in ("logs-*", "siemtap*"):
        node.ask("DELETE", f"/_index_template/{name}")
    node.ask("DELETE", f"/{ASIDE}")
    install(node, tmp_path)
    events = {}
    for folder in all_folders():
        if folder.parents[1].name == "apptrana" and (folder / "expected.json").exists():
            for event in json.loads((folder / "expected.json").read_text()):
                if event["event"]["dataset"] == "apptrana.attack":
                    event["agent"] = {"type": "siemtap"}
                    events.setdefault(event["event"]["id"], event)
    lines = "".join(
        f'{{"create": {{"_id": "{id}"}}}}\n{json.dumps(event)}\n' for id, event in events.items()
    )
    answer = node.ask(
        "POST",
        f"/{STREAM}/_bulk",
        data=lines.encode(),
        headers={"Content-Type": "application/x-ndjson"},
    ).json()
    assert not answer["errors"], answer
    assert template_of(node) == "siemtap-apptrana.attack"
    before = stored(node, STREAM)
    assert before.keys() == events.keys() and len(events) > 20

    node.ask("PUT", f"/{ASIDE}", json={"mappings": {"dynamic": False}}).raise_for_status()
    assert reindex(node, STREAM, {"index": ASIDE}) == len(events)
    assert stored(node, ASIDE) == before
    node.ask("DELETE", f"/_data_stream/{STREAM}").raise_for_status()
    installed(node, PLUGIN)
    assert reindex(node, ASIDE, {"index": STREAM, "op_type": "create"}) == len(events)

    assert template_of(node) == "logs-apptrana.attack"
    after = stored(node, STREAM)
    assert after == before
    source = next(event["source"]["ip"] for event in events.values() if event.get("source"))
    query = {"query": {"term": {"source.ip": source}}}
    answer = node.ask("POST", f"/{STREAM}/_search", json=query).json()
    assert answer["hits"]["total"]["value"] >= 1, "searchable with the types of the package"
