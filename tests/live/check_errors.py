"""Malformed records and broken scripts in the Elastic packages and in the templates of setup, on
a real node: each becomes a document with its time and an id, and shows no secret."""

import json
from functools import cache

import pytest
from agent_sends import documents
from cluster import install
from error_documents import AT, SECRET, assert_kept, create
from ingest import STREAMS, TOOLS, put
from search_node import Node

from siemtap.bundles import integration
from siemtap.elastic import painless
from siemtap.elastic.package.pipelines import pipelines
from siemtap.render import registry
from siemtap.testing.cases import all_folders


@pytest.fixture(scope="module")
def node(installed_node):
    return installed_node


def nested(levels, inside="x"):
    value = inside
    for _ in range(levels):
        value = {"a": value}
    return value


ODD = {
    "a number beyond 64 bits": 2**70,
    "a negative one": -(2**90),
    "a float beyond all": 1e300,
    "a text of over a million characters": "x" * 1_200_000,
    "a million quotation marks": '"' * 1_100_000,
    "a key with a NUL": {"a\0b": "c", "\0": {"\0\0": 1}},
    "a key of 40,000 characters": {"k" * 40_000: "v"},
    "many long keys": nested(12, {"k" * 3_000: {"l" * 3_000: "v"}}),
    "an empty key": {"": "x", " ": "y", ".": "z", "a..b": 1, ".a": 2},
    "25 levels": nested(25),
    "150 levels": nested(150),
    "lists in lists": [[[[["x", {"a": [[]]}]]]]],
    "half a surrogate pair": "a\ud800b",
    "what is long in UTF-8": "\u4e16" * 9_000,
    "mixed": [1, "x", {"a": 1}, None, True, [2]],
    "a control character": "\x00\x07\x1b[2J",
    "nothing": None,
}


@cache
def sent_by(name, dataset):
    """Return one valid document of each input of a stream, and the path of the record in it."""
    plugin = registry.plugin(name)
    stream, by_channel = integration.described(plugin).streams[dataset], {}
    for folder in all_folders():
        if folder.parents[1].name == name:
            for document in documents(
                folder,
                plugin,
                plugin.dataset(dataset),
                {*painless.settings_of(plugin.dataset(dataset)), *stream.reads},
                TOOLS / "mito",
            )[0]:
                by_channel.setdefault(document["_conf"]["channel"], {"@timestamp": AT, **document})
    return by_channel


def with_odd(document, odd):
    """Return a document with something odd in its record."""
    if document["_conf"]["channel"] == "cel":
        record = json.loads(document["message"])
        inner = record.get("body", record.get("licence", record.get("report", record)))
        (inner if isinstance(inner, dict) else record).update({"new": odd, "session_id": odd})
        return {**document, "message": json.dumps(record)}
    if "_record" in document:
        return {**document, "_record": {**document["_record"], "new": odd, "reason": odd}}
    line = document["message"]
    return {
        **document,
        "message": (
            line[:-1] + f',"new":{json.dumps(odd)}}}' if line.endswith("}") else f"{line} new={odd}"
        ),
    }


@pytest.mark.parametrize("name, dataset", STREAMS)
def test_record_with_any_content_becomes_a_document(node, name, dataset):
    for channel, document in sent_by(name, dataset).items():
        for label, odd in ODD.items():
            item, kept = create(node, dataset, with_odd(document, odd))
            try:
                if kept:
                    assert_kept(
                        item, kept, dataset, ("pipeline_error", "alert", "event", "state", "metric")
                    )
            except AssertionError as error:
                raise AssertionError(f"{channel}, {label}") from error


@pytest.mark.parametrize("name, dataset", STREAMS)
@pytest.mark.parametrize(
    "body",
    [
        "{" * 200_000,
        '{"a":' * 2_000,
        "null",
        "7",
        '"text"',
        "[]",
        f'[{{"token": "{SECRET}"}}]',
        '{"@when": 5}',
        "\0",
        " ",
        "",
        f"<1>1 - - - - - - {SECRET}",
    ],
    ids=range(12),
)
def test_body_that_is_no_record_becomes_a_document(node, name, dataset, body):
    for document in sent_by(name, dataset).values():
        item, kept = create(
            node,
            dataset,
            {
                **{key: value for key, value in document.items() if key != "_record"},
                "message": body,
                "tags": [body[:20]],
            },
        )
        if kept and (name == "pingintelligence" or SECRET not in body):
            assert_kept(
                item,
                {**kept, "tags": []},
                dataset,
                ("pipeline_error", "alert", "event", "state", "metric"),
            )


def test_headers_with_bare_quotes_are_read(node):
    """No regular expression reads them: in Painless, one is limited to six steps for each character
    of the text."""
    record = json.loads(
        """{"websiteName": "shop.example.com", "attackerIP": "203.0.113.9", "severity": "2", "eventType": "Log", "attackUri": "/a", "ruleId": "1", "requestId": "r", "ruleName": "n",
      "attackTime": "2026-03-04T10:02:13.417Z", "hostName": "h", "statusCode": "200", "requestHeader": "\\"a\\":\\"b\\"a\\":\\"b\\"a\\":\\"b\\"a\\":\\"b\\"a\\":\\"bz"}"""
    )
    document = sent_by("apptrana", "apptrana.attack")["cel"]
    item, kept = create(
        node,
        "apptrana.attack",
        {**document, "message": json.dumps(record), "tags": ["preserve_original_event"]},
    )
    assert_kept(item, kept, "apptrana.attack", ("alert", "event"))
    assert (
        kept["@timestamp"] == record["attackTime"]
        and kept["source"]["ip"] == "203.0.113.9"
        and kept["apptrana"]["request_headers_raw"] == '"a REDACTED'
        and "extra" not in kept["apptrana"]
    )
    assert json.loads(kept["event"]["original"])["ruleName"] == "n"


BROKEN = [
    "boolean on = true; while (on) { }",
    "throw new IllegalArgumentException('EXAMPLE-SECRET-IN-CLEAR'.substring(99))",
    "def deep(def a) { return deep(a) } deep(1);",
    "def x = null; x.y = 1;",
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name, dataset", STREAMS)
def test_script_that_always_fails(node, name, dataset, broken):
    """The last fallback: the record is stored as one hash."""
    plugin = registry.plugin(name)
    body = pipelines(plugin, plugin.dataset(dataset), integration.described(plugin))["mapping"]
    steps = [
        (
            {"script": {**step["script"], "source": broken}}
            if step.get("script", {}).get("tag") == "event"
            else step
        )
        for step in body["processors"]
        if "community_id" not in step
    ]
    node.ask(
        "PUT", f"/_ingest/pipeline/{dataset}-mapping", json={**body, "processors": steps}
    ).raise_for_status()
    try:
        ids = set()
        for number, document in enumerate(sent_by(name, dataset).values()):
            record = {"attack_value": SECRET, "n": broken, "channel": number}
            document = {
                **document,
                **(
                    {"_record": record}
                    if "_record" in document
                    else {"message": json.dumps(record)}
                ),
            }
            item, kept = create(node, dataset, document)
            assert_kept(item, kept, dataset)
            assert (
                json.loads(kept["event"]["original"])["characters"] > 20
                and "pipeline_error of script event in" in kept["error"]["message"][0]
                and "message" not in kept
                and kept["event"].get("type") is None
            )
            assert (
                create(node, dataset, {**document, "@timestamp": "2026-03-04T10:09:00.000Z"})[0][
                    "status"
                ]
                == 409
            ), "the same values, the same id"
            ids.add(item["_id"])
        assert len(ids) == number + 1
    finally:
        put(node, plugin, plugin.dataset(dataset))


def test_templates_of_setup_reject_no_event(tmp_path):
    """Events of the shipper with the same odd values below the object of their vendor."""
    with Node(**{"http.max_content_length": "200mb"}) as other:
        install(other, tmp_path)
        good = json.loads(
            (
                next(folder for folder in all_folders() if folder.name == "a_blocked_attack")
                / "expected.json"
            ).read_text()
        )[0]
        for number, (label, odd) in enumerate(ODD.items()):
            event = {
                **good,
                "agent": {"type": "siemtap"},
                "event": {**good["event"], "id": f"{number:032x}"},
                "apptrana": {**good["apptrana"], "extra": {"new": odd, "a\0": odd}},
            }
            if isinstance(odd, str):
                event["url"] = {"original": odd}
            _, kept = create(other, "apptrana.attack", event)
            assert (
                kept["event"]["kind"] == good["event"]["kind"]
                and kept["message"] == good["message"]
            ), label
