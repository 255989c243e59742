"""The transforms of the packages, by the search that Elasticsearch's function `latest` makes
(elastic/elasticsearch, x-pack/plugin/transform/…/transforms/latest/Latest.java): a composite
aggregation over the unique key, missing values being values, and the newest document of each.
OpenSearch has no such function; the search is the same."""

import json
import random

import pytest
from fleet import installed
from ingest import document
from ruamel.yaml import YAML

from siemtap.bundles import integration
from siemtap.core.convert import rfc3339
from siemtap.core.manifest import fill_in
from siemtap.elastic.field_types import types
from siemtap.elastic.package.fields import ELASTIC
from siemtap.elastic.package.transforms import destination
from siemtap.render import registry

PLUGIN = registry.plugin("pingintelligence")
DATASET = PLUGIN.dataset("pingintelligence.attacklist")
PLACE = "elasticsearch/transform/latest_attacklist"
NAME = f"logs-{DATASET.name}-default"
START = 1_770_000_000_000
MINUTE = 60_000


@pytest.fixture(scope="module")
def transform():
    return YAML(typ="safe").load(integration.files(PLUGIN)[f"{PLACE}/transform.yml"])


def latest(node, transform, size):
    """Return the documents that the transform writes."""
    sources = [
        {field: {"terms": {"field": field, "missing_bucket": True}}}
        for field in transform["latest"]["unique_key"]
    ]
    newest = {"top_hits": {"size": 1, "sort": [{transform["latest"]["sort"]: "desc"}]}}
    after, written = {}, []
    while after is not None:
        body = {
            "size": 0,
            "query": transform["source"]["query"],
            "aggs": {
                "entries": {
                    "composite": {
                        "size": size,
                        "sources": sources,
                        **({"after": after} if after else {}),
                    },
                    "aggs": {"newest": newest},
                }
            },
        }
        answer = node.ask("POST", f"/{NAME}/_search", json=body)
        assert answer.ok, answer.text[:2000]
        entries = answer.json()["aggregations"]["entries"]
        for bucket in entries["buckets"]:
            (hit,) = bucket["newest"]["hits"]["hits"]
            written.append(hit["_source"])
        after = entries.get("after_key")
    return written


def changes(random_, moments):
    """Yield (entry, state, moment): at each moment some of the entries change. Entries differ in
    one of kind, name and value only."""
    values = ["198.51.100.7", "198.51.100.8", "alice", "bob"]
    entries = [
        (kind, name, value)
        for kind in ("ip", "cookie", "access_token", "api_key", "username")
        for name in (("", "JSESSIONID", "sid") if kind == "cookie" else ("",))
        for value in values
        if kind != "ip" or value[0].isdigit()
    ]
    for moment in moments:
        for entry in random_.sample(entries, random_.randint(1, len(entries))):
            yield entry, random_.choice(("active", "expired", "removed")), moment


@pytest.mark.parametrize("seed", range(3))
def test_latest_state_of_the_deny_list(node, transform, seed):
    """Each entry once, with its newest state, in whatever order the events arrive."""
    node.ask("DELETE", "/_data_stream/*")
    installed(node, PLUGIN)
    random_ = random.Random(seed)
    settings = fill_in(
        PLUGIN.settings,
        {"url": ["https://abs.example.com"], "access_key": "x", "secret_key": "y"},
    )
    moments = [START + number * MINUTE for number in range(8)]
    events = list(changes(random_, moments))
    wanted = {entry: state for entry, state, _ in events}
    random_.shuffle(events)
    lines = []
    for (kind, name, value), state, moment in events:
        record = {
            "@who": [kind, value],
            "name": name,
            "@clear": None,
            "state": state,
            "later_date": rfc3339(moment)[:16],
            "@when": rfc3339(moment),
        }
        body = {"@timestamp": rfc3339(moment), "message": json.dumps(record)}
        until = {"until": rfc3339(moment)}
        lines.append(document(PLUGIN, DATASET, settings, "cel", body, **until))
    lines.append(
        {
            **document(PLUGIN, DATASET, settings, "cel", {"error": {"message": "401"}}),
            "@timestamp": rfc3339(moments[-1] + MINUTE),
        }
    )
    bulk = "".join(f'{{"create": {{}}}}\n{json.dumps(line)}\n' for line in lines)
    answer = node.ask(
        "POST",
        f"/{NAME}/_bulk?refresh=true",
        data=bulk.encode(),
        headers={"Content-Type": "application/x-ndjson"},
    ).json()
    assert not answer["errors"], answer["items"][0]
    written = latest(node, transform, size=7)  # several pages
    assert len(written) == len(wanted)
    states = sorted(event["pingintelligence"]["state"] for event in written)
    assert states == sorted(wanted.values())
    for event in written:
        kind = event["pingintelligence"]["identifier"]["type"]
        value = event.get("source", {}).get("address") or event.get("user", {}).get("name")
        if value:
            assert wanted[kind, "", value] == event["pingintelligence"]["state"]


def test_transform_needs_no_field_that_is_not_there(transform):
    """Its key are fields that can be grouped by, and its index has a mapping of each. It writes into
    no index that what searches the data streams reads, too."""
    known = types(ELASTIC, DATASET)
    files = integration.files(PLUGIN)
    declared = {
        row["name"]
        for path, text in files.items()
        if path.startswith(f"{PLACE}/fields/")
        for row in YAML(typ="safe").load(text)
    }
    for field in transform["latest"]["unique_key"]:
        assert known[field]["type"] == "keyword" and field in declared
    assert {transform["sync"]["time"]["field"], transform["latest"]["sort"]} <= declared
    assert transform["dest"]["index"].startswith(destination(DATASET))
    assert not transform["dest"]["index"].startswith("logs-")


def test_key_is_all_of_the_identity_but_state_and_time(transform):
    """What names an entry in its id names it here: a new kind of entry would be merged otherwise."""
    entry = set(DATASET.identity) - {"state", "later_date"}
    names = {part if isinstance(part, str) else part.__name__ for part in entry}
    assert names == {"kind_of", "name", "subject_of"}
    who = next(
        row.target
        for row in DATASET.rows
        if getattr(row, "source", "") == "@who" and len(row.target) > 2
    )
    lists = {"related.ip", "related.user", "related.hash"}
    derived = {"source.ip", "source.port"}  # of source.address
    assert set(who) - lists - derived <= set(transform["latest"]["unique_key"])
