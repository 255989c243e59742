"""The pipelines of the Elastic packages on a real node: every record of every case becomes the
same event as in Python, id included."""

import json

import pytest
import requests
from agent_sends import OTHERWISE, documents
from ingest import STREAMS, TOOLS, differences, processed, put

from siemtap.bundles import integration
from siemtap.core.paths import leaves
from siemtap.elastic import painless
from siemtap.elastic.package.pipelines import duplicates
from siemtap.render import registry
from siemtap.testing.cases import all_folders, folder_of, records_of


@pytest.mark.parametrize("name, dataset", STREAMS)
def test_every_record_of_every_case(node, name, dataset):
    plugin = registry.plugin(name)
    dataset, stream = plugin.dataset(dataset), integration.described(plugin).streams[dataset]
    put(node, plugin, dataset)
    number, wrong = 0, {}
    for folder in all_folders():
        if folder.parents[1].name != name:
            continue
        docs, wanted = documents(
            folder, plugin, dataset, {*painless.settings_of(dataset), *stream.reads}, TOOLS / "mito"
        )
        got = processed(node, dataset, docs) if docs else []
        if folder.name in OTHERWISE:
            assert len(got) == len(docs) and all(
                event["event"]["kind"] == "pipeline_error" and event["event"]["original"]
                for event in got
            )
        elif difference := differences(wanted, got):
            wrong[folder.name] = difference
        number += len(got)
        pieces = [json.loads(doc["message"]) for doc in docs if doc["_conf"]["channel"] == "cel"]
        assert {piece["id"] for piece in pieces if isinstance(piece, dict) and "who" in piece} <= {
            event["event"]["id"] for event in got
        }, "the ids of the program differ from those of the events"
    assert number > 2 and not wrong, "\n\n".join(
        f"{case}: {difference}" for case, difference in wrong.items()
    )[:12000]
    print(f"{dataset.name}: {number} records, 0 differences")


@pytest.mark.parametrize("name, dataset", STREAMS)
def test_events_of_the_shipper_pass_unchanged(node, name, dataset):
    plugin = registry.plugin(name)
    dataset = plugin.dataset(dataset)
    put(node, plugin, dataset)
    sample = integration.described(plugin).streams[dataset.name].sample
    *_, event = next(records_of(folder_of(plugin) / "cases" / sample, plugin))
    event = {**event, "agent": {"type": "siemtap"}}
    answer = requests.post(
        f"{node.url}/_ingest/pipeline/{dataset.name}-default/_simulate",
        json={"docs": [{"_source": event}]},
        timeout=300,
    ).json()["docs"][0]["doc"]["_source"]
    assert answer["event"].pop("ingested") and {
        name: answer.get(name) for name in event if name != "user_agent"
    } == {name: value for name, value in event.items() if name != "user_agent"}


def test_duplicates_go_to_the_duplicates_data_stream(node):
    plugin = registry.plugin("apptrana")
    dataset = plugin.datasets[0]
    put(node, plugin, dataset)
    folder = next(folder for folder in all_folders() if folder.name == "a_blocked_attack")
    (doc, *_), (event, *_) = documents(
        folder, plugin, dataset, painless.settings_of(dataset), TOOLS / "mito"
    )
    (got,) = processed(node, dataset, [{**doc, "tags": ["forwarded"]}])
    paths = dict(leaves(event)).keys()
    gone = paths - dict(leaves(got)).keys()
    assert gone == set(duplicates(dataset)) & paths and "apptrana.website" in gone
