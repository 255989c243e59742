"""Elastic's packages and setup's templates on a real node, and what nobody wants to get:
whatever comes is a document with its time and an id, and shows no secret."""

import json
from functools import cache

import elastic
import pytest
from agent_sends import documents
from check_ingest import TOOLS, put
from check_package import agent, installed
from click.testing import CliRunner
from search_node import Node

from apptrana import simulator as apptrana
from cases import folders
from siemtap.render import package, painless
from siemtap.runners import plugins
from siemtap.runners.cli import main
from siemtap.runners.simulate import Fault, Server

STREAMS = [
    (name, dataset)
    for name, plugin in elastic.packaged().items()
    for dataset in elastic.described(plugin).streams
]
SECRET, TOKEN = "EXAMPLE-SECRET-IN-CLEAR", "0123456789abcdefEXAMPLETOKEN0123456789abcdefEXAMPLE"
AT = "2026-03-04T10:05:00.000Z"


@pytest.fixture(scope="module")
def node():
    with Node(**{"http.max_content_length": "200mb"}) as found:
        for plugin in elastic.packaged().values():
            installed(found, plugin)
        yield found


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


def create(node, name, document):
    """The answer for one document, and the document as it is kept."""
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


@cache
def sent_by(name, dataset):
    """One good document of each of the inputs that a stream has, and the place in it where the
    record is."""
    plugin = plugins.plugin(name)
    stream, found = elastic.described(plugin).streams[dataset], {}
    for folder in folders():
        if folder.parents[1].name == name:
            for one in documents(
                folder,
                plugin,
                plugin.dataset(dataset),
                {*painless.settings_of(plugin.dataset(dataset)), *stream.reads},
                TOOLS / "mito",
            )[0]:
                found.setdefault(one["_conf"]["channel"], {"@timestamp": AT, **one})
    return found


def with_odd(document, odd):
    """The record in a document, with something odd in it."""
    if document["_conf"]["channel"] == "cel":
        record = json.loads(document["message"])
        inner = record.get("said", record.get("licence", record.get("report", record)))
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
def test_whatever_is_in_a_record_it_is_a_document(node, name, dataset):
    for channel, document in sent_by(name, dataset).items():
        for what, odd in ODD.items():
            item, kept = create(node, dataset, with_odd(document, odd))
            try:
                if kept:
                    assert_kept(
                        item, kept, dataset, ("pipeline_error", "alert", "event", "state", "metric")
                    )
            except AssertionError as error:
                raise AssertionError(f"{channel}, {what}") from error


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
def test_what_is_no_record_is_a_document(node, name, dataset, body):
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


def test_a_header_that_painless_cannot_read_costs_that_header(node):
    """An expression of Painless looks at six characters for each of the text's, and refuses
    then."""
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
        and "SHA-256" in kept["apptrana"]["extra"]["requestHeader"]
    )
    assert (
        "SHA-256" in json.loads(kept["event"]["original"])["requestHeader"]
        and json.loads(kept["event"]["original"])["ruleName"] == "n"
    )


BROKEN = [
    "boolean on = true; while (on) { }",
    "throw new IllegalArgumentException('EXAMPLE-SECRET-IN-CLEAR'.substring(99))",
    "def deep(def a) { return deep(a) } deep(1);",
    "def x = null; x.y = 1;",
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name, dataset", STREAMS)
def test_a_script_that_fails_altogether(node, name, dataset, broken):
    """The last resort: what came is one hash."""
    plugin = plugins.plugin(name)
    body = package.pipelines(plugin, plugin.dataset(dataset), elastic.described(plugin))["mapping"]
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
            ), "the same words, the same id"
            ids.add(item["_id"])
        assert len(ids) == number + 1
    finally:
        put(node, plugin, plugin.dataset(dataset))


FAILURES = [
    {
        "code": "401",
        "message": (
            "POST https://tas.example.com/getAuthToken: no token by client_id and client_secret;"
            " check both"
        ),
    },
    {"code": 429, "message": "POST …/getAttackInfo: asked too often; it goes on after Retry-After"},
    {"message": "failed eval: ERROR: <input>:61:40: no such overload\n | a.b\n | .^"},
    {
        "message": (
            "failed eval: Get"
            f' "https://user:{SECRET}@abs.example.com:8080/v4/abs/attack?later_date=2026&token={SECRET}": EOF'
        )
    },
    {"message": f"Authorization: Bearer {SECRET}", "id": f"token={SECRET}"},
    {"message": f'{{"error":"{SECRET}"}} {TOKEN} "token": "{SECRET}" key={SECRET}'},
    {"message": ["one", f"https://x.example.com/?a={SECRET}"]},
]


HIDE = "Zq7xWv3-Kx9wQz"
LONG = "aB3/dE5+" * 6
IN_A_TEXT = [
    f"X-API-Key: {HIDE}",
    f"api_key: {HIDE}",
    f"access_key:{HIDE}",
    f'{{"token" : "{HIDE}"}}',
    f"{{'token': '{HIDE}'}}",
    f'{{"token":"{HIDE}","n":"{HIDE}"}}',
    f"map[access_key:{HIDE} secret_key:{HIDE}]",
    f"state: {{access_key: {HIDE}}}",
    f"Authorization: Token {HIDE}",
    f"Bearer: {HIDE}",
    f"Basic {HIDE}",
    f"password {HIDE}",
    f"the password is {HIDE}.",
    f"Cookie: {HIDE}",
    f"Cookie: a; {HIDE}",
    f"token,{HIDE}",
    f"token|{HIDE}",
    f"token, {HIDE}",
    f"key = {HIDE}",
    f"key\t=\t{HIDE}",
    f"https://h.example.com/token/{HIDE}",
    f"https://h.example.com/a/session;{HIDE}",
    f"https://h.example.com/#{HIDE}",
    f"https://abs:{HIDE}@h.example.com/a",
    f"https://abs:x/{HIDE}@h.example.com",
    f"https://{HIDE}@h.example.com",
    f"https://h.example.com/a;sid={HIDE}",
    f"user:{HIDE}@host",
    LONG,
    f"a {LONG} b",
    f"https://h.example.com/{LONG.replace(chr(47), '')}",
    f"credentials {HIDE} refused",
    f"no such key: {HIDE}",
    f"token for anna is {HIDE}",
    f"session\u00a0{HIDE}",
    f'password "a b {HIDE}"',
    f"a={HIDE}",
    f"x : {HIDE}",
    f"AUTHORIZATION={HIDE}",
    f"GET https://h.example.com/token {HIDE}",
    f'{{"keys":["{HIDE}", "{HIDE}"]}}',
    f"client_secret={HIDE}&grant_type=x",
    f"clientSecret {HIDE}",
    f"x-abs-sk: {HIDE}",
    f"key: [ {HIDE} ]",
    f"url=https://h.example.com/?{HIDE}",
]
OF_OURS = [
    (
        "POST https://tas.example.com/siem/v1/getAuthToken: no token by client_id and"
        " client_secret; check both, how the connector was registered, and whether this address is"
        " allowed"
    ),
    (
        "POST https://tas.example.com/siem/v1/getActivity: the page before once more; check what"
        " the offset counts"
    ),
    (
        "POST https://tas.example.com/siem/v1/getAttackInfo: the answer has no result.actions;"
        " nothing is skipped"
    ),
    (
        "POST https://api.example.com/v2/authentication/login: 401: no token; check the user name"
        " and the password"
    ),
    (
        "GET https://ips.example.com/ips/api/notifications/ACME/VA1ACMEWEB01: 404: there is no such"
        " server; GET https://ips.example.com/ips/api/notifications/ACME/B: 403: refused"
    ),
    (
        "GET https://abs.example.com:8080/v4/abs/attack: 401: ABS does not take the keys; check the"
        " access key, the secret key and the role; GET https://abs.example.com:8080/v4/abs/attack"
        " of shop, type 4: 503"
    ),
    (
        "GET https://abs.example.com:8080/v4/abs/attacklist: a deny list of a shape that is on no"
        " page; nothing is told"
    ),
    (
        "GET https://abs.example.com:8080/v4/abs/apikeys of pay & go/v1: 200: no report; nothing is"
        " skipped"
    ),
    "GET https://abs.example.com:8080/v4/abs/attacklist: 200: the answer is no JSON",
    "failed eval: ERROR: <input>:61:40: no such overload",
    (
        "GET https://abs.example.com:8080/v4/abs/admin: Get"
        ' "https://abs.example.com:8080/v4/abs/admin": dial tcp 192.0.2.1:8080: connect: connection'
        " refused"
    ),
    'Get "https://abs.example.com:8080/v4/abs/admin": context deadline exceeded',
    (
        'Get "https://abs.example.com/": tls: failed to verify certificate: x509: certificate'
        " signed by unknown authority"
    ),
]


def shown_of(node, dataset, texts):
    """What becomes of texts as messages of collection errors, in their order."""
    docs = [
        {
            "_source": {
                "@timestamp": AT,
                "agent": {"type": "filebeat", "id": "a"},
                "data_stream": {"type": "logs", "dataset": dataset, "namespace": "default"},
                "input": {"type": "cel"},
                "_conf": {"channel": "cel"},
                "error": {"message": text},
            }
        }
        for text in texts
    ]
    answer = node.ask("POST", f"/_ingest/pipeline/{dataset}-default/_simulate", json={"docs": docs})
    return [doc["doc"]["_source"]["error"]["message"] for doc in answer.json()["docs"]]


def test_a_failure_to_collect_shows_no_secret_and_stays_readable(node):
    shown = shown_of(node, "apptrana.attack", IN_A_TEXT + OF_OURS)
    assert not [
        (text, line)
        for text, line in zip(IN_A_TEXT, shown)
        if "\u2026" not in line
        or any(piece in line for piece in (HIDE, HIDE[:6], HIDE[-6:], LONG[:9]))
    ]
    assert shown[len(IN_A_TEXT) :] == OF_OURS


@pytest.mark.parametrize(
    "name, dataset",
    [
        (name, dataset)
        for name, dataset in STREAMS
        if any(
            way.input == "cel"
            for way in elastic.described(plugins.plugin(name)).streams[dataset].ways
        )
    ],
)
def test_a_failure_to_collect_is_a_document_of_its_own(node, name, dataset):
    ids = set()
    for error in FAILURES:
        for at in (AT, "2026-03-04T10:06:00.000Z"):
            document = {
                "@timestamp": at,
                "agent": {"type": "filebeat", "id": "a"},
                "data_stream": {"type": "logs", "dataset": dataset, "namespace": "default"},
                "tags": ["forwarded"],
                "input": {"type": "cel"},
                "_conf": {"channel": "cel", "url": "https://tas.example.com"},
                "error": error,
            }
            item, kept = create(node, dataset, document)
            assert_kept(item, kept, dataset)
            assert (
                kept["@timestamp"] == at
                and kept["error"].get("code") == (str(error["code"]) if "code" in error else None)
                and "type" not in kept["event"]
                and kept["input"] == {"type": "cel"}
                and kept["tags"] == ["forwarded"]
            )
            assert create(node, dataset, document)[0]["status"] == 409, "what the agent sends twice"
            ids.add(item["_id"])
            if error["message"] in (FAILURES[0]["message"], FAILURES[1]["message"]):
                assert kept["error"]["message"] == error["message"]
    assert len(ids) == 2 * len(FAILURES)


def test_a_refusal_reaches_the_cluster(node):
    """Through the agent: a wrong secret, then too many requests, twice."""
    server = Server(apptrana.Simulator(apptrana.Knobs(rate=20.0, late=(0.0,))))
    try:
        found = agent(
            "apptrana",
            "apptrana.attack",
            **{**server.simulated.settings(server.url), "client_secret": SECRET},
        )
        found.cycle()
        found.config = agent(
            "apptrana", "apptrana.attack", **server.simulated.settings(server.url)
        ).config
        found.restart()
        server.simulated.faults.append(
            Fault(call="getAttackInfo", times=1, status=429, retry_after="1")
        )
        found.cycle()
        docs = [document for document in found.documents() if "error" in document]
        kept = [create(node, "apptrana.attack", document) for document in docs]
        for item, event in kept:
            assert_kept(item, event, "apptrana.attack")
        assert [event["error"].get("code") for _, event in kept] == ["200", "429"] or [
            event["error"].get("code") for _, event in kept
        ] == ["401", "429"], kept
        assert (
            "no token by client_id" in kept[0][1]["error"]["message"]
            and "asked too often" in kept[1][1]["error"]["message"]
            and kept[0][0]["_id"] != kept[1][0]["_id"]
        )
    finally:
        server.close()


def test_what_setup_installs_loses_nothing(tmp_path):
    """Events of the shipper with the same oddities below their vendor's object."""
    with Node(**{"http.max_content_length": "200mb"}) as other:
        config = tmp_path / "siemtap.yml"
        config.write_text(
            json.dumps(
                {
                    "path": {"data": str(tmp_path / "data")},
                    "http": {"enabled": False},
                    "output": {"opensearch": {"hosts": [other.url]}},
                    "inputs": [{"type": "apptrana", "client_id": "x", "client_secret": "y"}],
                }
            )
        )
        done = CliRunner().invoke(main, ["setup", "-c", str(config)])
        assert done.exit_code == 0, done.output
        good = json.loads(
            (
                next(folder for folder in folders() if folder.name == "a_blocked_attack")
                / "expected.json"
            ).read_text()
        )[0]
        for number, (what, odd) in enumerate(ODD.items()):
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
            ), what
