"""A node with every package installed, and the check of a stored error document: it has its time
and an id, and shows no secret."""

import json
from contextlib import contextmanager

from fleet import installed
from search_node import Node

from siemtap.bundles import integration

SECRET, TOKEN = "EXAMPLE-SECRET-IN-CLEAR", "0123456789abcdefEXAMPLETOKEN0123456789abcdefEXAMPLE"
AT = "2026-03-04T10:05:00.000Z"


@contextmanager
def start_installed_node():
    """Run a node with every package installed; it accepts large requests."""
    with Node(**{"http.max_content_length": "200mb"}) as node:
        for plugin in integration.packaged().values():
            installed(node, plugin)
        yield node


def create(node, name, document):
    """Return the answer for a document, and the document as stored."""
    answer = node.ask(
        "POST",
        f"/logs-{name}-default/_bulk",
        data=f'{{"create": {{}}}}\n{json.dumps(document)}\n'.encode(),
        headers={"Content-Type": "application/x-ndjson"},
    ).json()
    item = answer["items"][0]["create"]
    if item["status"] == 409:
        return item, None
    assert item["status"] == 201, json.dumps(item)[:2000]
    return item, node.ask("GET", f"/{item['_index']}/_doc/{item['_id']}").json()["_source"]


def assert_kept(item, kept, name, kinds=("pipeline_error",)):
    assert (
        kept["event"].get("id") == item["_id"]
        and len(item["_id"]) == 32
        and kept["@timestamp"].startswith("20")
    ), json.dumps(kept)[:2000]
    assert (
        kept["event"]["kind"] in kinds
        and kept["event"]["dataset"] == kept["data_stream"]["dataset"] == name
        and kept["event"]["module"] == name.partition(".")[0]
    )
    assert kept["event"]["kind"] != "pipeline_error" or kept["error"]["message"]
    assert (
        not {"_record", "_conf"} & kept.keys()
        and SECRET not in json.dumps(kept)
        and TOKEN not in json.dumps(kept)
    )
