"""The ingest pipelines of the Elastic packages on a real node: install them, send documents
through them, compare the events with Python's; odd values for generated records."""

import json
import os
from collections import Counter
from pathlib import Path

import requests

from siemtap.bundles import integration
from siemtap.core.identity import canonical
from siemtap.core.paths import leaves
from siemtap.elastic import painless
from siemtap.elastic.package.pipelines import pipelines

TOOLS = Path(os.environ.get("SIEMTAP_ELASTIC_TOOLS", "/nowhere"))
UNKNOWN_HERE = {"geoip"}  # processors that OpenSearch does not have
STREAMS = [
    (name, dataset)
    for name, plugin in integration.packaged().items()
    for dataset in integration.described(plugin).streams
]


def adapted(step):
    """Return a step as OpenSearch needs it: it requires the field names of a flow, which
    Elasticsearch takes from ECS."""
    if "community_id" not in step:
        return step
    fields = {
        "source_ip_field": "source.ip",
        "source_port_field": "source.port",
        "destination_ip_field": "destination.ip",
        "destination_port_field": "destination.port",
        "protocol_field": "network.transport",
    }
    return {"community_id": {**step["community_id"], **fields}}


def put(node, plugin, dataset):
    """Install both pipelines of a dataset."""
    both = pipelines(plugin, dataset, integration.described(plugin))
    for name in ("mapping", "default"):
        body = {
            **both[name],
            "processors": [
                adapted(step) for step in both[name]["processors"] if not UNKNOWN_HERE & set(step)
            ],
        }
        text = json.dumps(body).replace(
            '{{ IngestPipeline \\"mapping\\" }}', f"{dataset.name}-mapping"
        )
        answer = requests.put(
            f"{node.url}/_ingest/pipeline/{dataset.name}-{name}",
            data=text,
            headers={"Content-Type": "application/json"},
            timeout=300,
        )
        assert answer.ok, "\n".join(
            [
                *answer.json()["error"].get("script_stack", []),
                str(answer.json()["error"].get("caused_by")),
                str(answer.json()["error"]["reason"]),
            ]
        )[:3000]


def document(plugin, dataset, settings, channel, body, tags=(), **conf):
    """Return what an agent sends: `body`, and the settings that the pipelines read."""
    read = {
        *painless.settings_of(dataset),
        *integration.described(plugin).streams[dataset.name].reads,
    }
    return {
        **body,
        "_conf": {**{name: getattr(settings, name) for name in read}, "channel": channel, **conf},
        "data_stream": {"namespace": "default"},
        "tags": ["preserve_duplicate_custom_fields", *tags],
    }


def processed(node, dataset, docs):
    """Return the events that the pipelines make of documents, without the fields of the agent;
    nothing for a dropped document."""
    answer = requests.post(
        f"{node.url}/_ingest/pipeline/{dataset.name}-default/_simulate",
        data=json.dumps({"docs": [{"_source": doc} for doc in docs]}),
        headers={"Content-Type": "application/json"},
        timeout=300,
    )
    assert answer.ok, answer.text[:3000]
    events = []
    for result in answer.json()["docs"]:
        if result is None:
            continue
        assert "doc" in result, result
        event = result["doc"]["_source"]
        assert result["doc"]["_id"] == event["event"].get("id"), json.dumps(event)[:3000]
        assert event["event"].pop("ingested")
        for name in ("agent", "tags"):
            event.pop(name, None)
        for name in ("name", "version", "device", "os"):
            (event.get("user_agent") or {}).pop(name, None)
        events.append(event)
    return events


class DataStream:
    """A data stream with the pipelines of a package. `strange`: documents that became no event
    of the vendor."""

    def __init__(self, node, plugin, dataset):
        self.node, self.name, self.strange = node, f"logs-{dataset.name}-default", []
        put(node, plugin, dataset)
        template = {
            "index_patterns": [self.name],
            "data_stream": {},
            "priority": 300,
            "template": {
                "settings": {
                    "default_pipeline": f"{dataset.name}-default",
                    "number_of_replicas": 0,
                },
                "mappings": {
                    "dynamic": False,
                    "properties": {
                        "event": {
                            "properties": {"id": {"type": "keyword"}, "kind": {"type": "keyword"}}
                        }
                    },
                },
            },
        }
        node.ask("PUT", f"/_index_template/{self.name}", json=template).raise_for_status()

    def take(self, documents):
        for at in range(0, len(documents), 2_000):
            lines = "".join(
                f'{{"create": {{}}}}\n{json.dumps(document)}\n'
                for document in documents[at : at + 2_000]
            )
            answer = self.node.ask(
                "POST",
                f"/{self.name}/_bulk",
                data=lines.encode(),
                headers={"Content-Type": "application/x-ndjson"},
            ).json()
            self.strange += [
                item["create"]
                for item in answer["items"]
                if item["create"]["status"] not in (201, 409)
            ]

    def roll_over(self):
        self.node.ask("POST", f"/{self.name}/_rollover").raise_for_status()

    def ids(self):
        """Return how often each id is stored."""
        self.node.ask("POST", f"/{self.name}/_refresh").raise_for_status()
        counts, after = Counter(), None
        while True:
            body = {
                "size": 0,
                "aggs": {
                    "ids": {
                        "composite": {
                            "size": 10_000,
                            "sources": [{"id": {"terms": {"field": "event.id"}}}],
                            **({"after": after} if after else {}),
                        }
                    }
                },
            }
            page = self.node.ask("POST", f"/{self.name}/_search", json=body).json()["aggregations"][
                "ids"
            ]
            counts.update({bucket["key"]["id"]: bucket["doc_count"] for bucket in page["buckets"]})
            after = page.get("after_key")
            if not after:
                return counts


def differences(wanted, got, sent=()):
    """Return the differences by id, or in the order in which the documents were sent, with the
    first of each kind."""
    if not sent:
        wanted, got = (
            sorted(some, key=lambda event: (event["event"]["id"], canonical(event)))
            for some in (wanted, got)
        )
    if wanted == got:
        return ""
    kinds, first = Counter(), {}
    for number, (event, other) in enumerate(zip(wanted, got)):
        event, other = dict(leaves(event)), dict(leaves(other))
        for difference in [
            f"{path}: {event.get(path)!r:.200} became {other.get(path)!r:.200}"
            for path in event.keys() | other.keys()
            if event.get(path) != other.get(path)
        ]:
            kinds[difference] += 1
            first.setdefault(difference, f", of {sent[number]!s:.600}" if sent else "")
    return f"{len(wanted)} became {len(got)}:\n" + "\n".join(
        f"{count} x {difference}{first[difference]}" for difference, count in kinds.most_common(40)
    )


ODD = (
    None,
    "",
    "-",
    " - ",
    0,
    1,
    -5,
    2.0,
    2.5,
    True,
    False,
    [],
    ["x"],
    {},
    {"a": 1},
    "x",
    " x\u00a0",
    "\u2003",
    "1.0",
    "07",
    "-3",
    "Ünïcödé 😀",
    "a\x00b\x7f\x85",
    "\ufeff",
    "2026-03-04T10:02:13.417Z",
    "'\"\\/",
)
# The first and the last years, before and after conversion to UTC, and offsets that only some
# time libraries accept.
TIMES = (
    "9999-12-31T23:59:59-12:00",
    "9999-12-31T23:59:59.999Z",
    "9999-12-31 23:59:59",
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:00:00Z",
    "0001-01-01 00:00:00",
    "0000-12-31T23:59:59-01:00",
    "0000-01-01T00:00:00.000Z",
    "2026-03-04T10:02:13+19:00",
    "2026-03-04T10:02:13-19:00",
    "2026-03-04T10:02:13+23:59",
    "2026-03-04T10:02:13-2359",
    "2026-03-04T10:02:13+24:00",
    "2026-03-04T10:02:13+05:99",
    "2026-03-04T10:02:13+23:60",
    "2026-03-04T24:00:00Z",
    "2026-03-04T23:59:60Z",
    "\u0662026-03-04T10:02:13Z",
)
ADDRESSES = (
    "203.0.113.9",
    "256.1.1.1",
    "1.2.3",
    "01.2.3.4",
    "2001:DB8::0001",
    "::",
    "::1",
    "1::",
    "2001:db8:0:0:1:0:0:1",
    "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7",
    "::ffff:192.0.2.1",
    "64:ff9b::192.0.2.33",
    "fe80::1%eth0",
    "fe80::1%",
    "::ffff:c000:201",
    "::ffff:01.2.3.4",
    "203.0.113.9:4444",
    "203.0.113.9:65536",
    "203.0.113.9, [2001:db8::1]:5,x",
    "x, 203.0.113.9",
    "[::ffff:192.0.2.1]:80",
    "[192.0.2.1]:80",
    "[2001:db8::1",
    ["203.0.113.9:1", "2001:db8::1"],
    ["x"],
    "1:::2",
    "12345::",
    "2001:db8::1::2",
    "0:0:0:0:0:0:0:0",
    "1:0:0:2:0:0:0:3",
    "1::2:3:4:5:6:7",
    ":1:2:3:4:5:6:7",
)
