"""Errors of a CEL program as documents on a real node: readable, and without a secret."""

import pytest
from error_documents import AT, SECRET, TOKEN, assert_kept, create
from fleet import new_agent
from ingest import STREAMS

from apptrana import simulator as apptrana
from siemtap.bundles import integration
from siemtap.render import registry
from siemtap.testing.simulation import Fault, Server


@pytest.fixture(scope="module")
def node(installed_node):
    return installed_node


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
        "POST https://tas.example.com/siem/v1/getAuthToken: 401: no token by client_id and"
        " client_secret; check both, how the connector was registered, and whether this address is"
        " allowed"
    ),
    (
        "POST https://tas.example.com/siem/v1/getActivity: 200: the page before once more; check"
        " what the offset counts"
    ),
    (
        "POST https://tas.example.com/siem/v1/getActivity: 200: the answer has no result.actions;"
        " nothing is skipped"
    ),
    (
        "POST https://tas.example.com/siem/v1/getAttackInfo: 200: the answer has neither data nor a"
        " successMessage; skipped after 24h"
    ),
    (
        "POST https://tas.example.com/siem/v1/getAttackInfo: 200; lost 20260304T100000Z to"
        " 20260304T100009Z, unreadable since 20260303T090000Z"
    ),
    (
        "POST https://tas.example.com/siem/v1/getAttackInfo: 429: asked too often; it goes on after"
        " Retry-After"
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
        "GET https://abs.example.com:8080/v4/abs/attack of all APIs, type 0: 401: ABS does not take"
        " the keys; check the access key, the secret key and the role"
    ),
    (
        "GET https://abs.example.com:8080/v4/abs/attack of shop, type 100: 500; GET"
        " https://abs.example.com:8080/v4/abs/attack of shop, type 101: 200: no report of attacks;"
        " skipped after 24h"
    ),
    (
        "GET https://abs.example.com:8080/v4/abs/attacklist: 200: a deny list of a shape that is on"
        " no page; no change is reported"
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
        " refused: no licence, and only the APIs that are listed"
    ),
    'Get "https://abs.example.com:8080/v4/abs/admin": context deadline exceeded',
    (
        'Get "https://abs.example.com/": tls: failed to verify certificate: x509: certificate'
        " signed by unknown authority"
    ),
]


def shown_of(node, dataset, texts):
    """Return the documents of texts as messages of collection errors, in the same order."""
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


def test_collection_error_shows_no_secret_and_stays_readable(node):
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
            for way in integration.described(registry.plugin(name)).streams[dataset].ways
        )
    ],
)
def test_collection_error_is_a_separate_document(node, name, dataset):
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
            assert create(node, dataset, document)[0]["status"] == 409, (
                "a document that the agent sends twice has one id"
            )
            ids.add(item["_id"])
            if error["message"] in (FAILURES[0]["message"], FAILURES[1]["message"]):
                assert kept["error"]["message"] == error["message"]
    assert len(ids) == 2 * len(FAILURES)


def test_rejected_key_and_429_are_documents(node):
    """Through the agent: a wrong secret, then too many requests, twice."""
    server = Server(apptrana.Simulator(apptrana.Knobs(rate=20.0, late=(0.0,))))
    try:
        agent = new_agent(server, "apptrana.attack", client_secret=SECRET)
        agent.cycle()
        agent.config = new_agent(server, "apptrana.attack").config
        agent.restart()
        server.simulated.faults.append(
            Fault(call="getAttackInfo", times=1, status=429, retry_after="1")
        )
        agent.cycle()
        docs = [document for document in agent.documents() if "error" in document]
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
