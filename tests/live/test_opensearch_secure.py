"""A real OpenSearch node with TLS, users and roles: the documented privileges suffice, and
errors name their cause."""

import hashlib
import json
import ssl
from pathlib import Path

import pytest
from click.testing import CliRunner
from cluster import STREAM, UNIT, events_of
from search_node import SecureNode

from siemtap.core.errors import AuthError, ConfigError
from siemtap.core.manifest import fill_in
from siemtap.outputs.elasticsearch.output import Opensearch
from siemtap.outputs.elasticsearch.settings import Settings
from siemtap.shipper.cli.main import main

pytestmark = pytest.mark.slow
PASSWORD = "a-long-Passw0rd-of-4-words!"
# The privileges documented in docs/elasticsearch.md.
COLLECTS = {
    "cluster_permissions": ["cluster:monitor/main", "indices:data/write/bulk"],
    "index_permissions": [
        {
            "index_patterns": ["logs-apptrana.*"],
            "allowed_actions": [
                "indices:data/write/index",
                "indices:data/write/bulk*",
                "indices:admin/auto_create",
                "indices:admin/create",
                "indices:admin/mapping/put",
                "indices:data/read/search",
                "indices:admin/refresh*",
            ],
        }
    ],
}
SETS_UP = {
    "cluster_permissions": [
        "cluster:monitor/main",
        "cluster:monitor/nodes/info",
        "cluster:admin/ingest/pipeline/*",
        "indices:admin/index_template/*",
        "cluster:admin/component_template/*",
    ],
    "index_permissions": [],
}


@pytest.fixture(scope="module")
def node():
    with SecureNode() as node:
        node.user("collects", **COLLECTS)
        node.user("sets-up", **SETS_UP)
        node.user(
            "elsewhere",
            cluster_permissions=COLLECTS["cluster_permissions"],
            index_permissions=[{"index_patterns": ["other-*"], "allowed_actions": ["*"]}],
        )
        node.user(
            "blind",
            cluster_permissions=COLLECTS["cluster_permissions"],
            index_permissions=[
                {
                    **COLLECTS["index_permissions"][0],
                    "allowed_actions": COLLECTS["index_permissions"][0]["allowed_actions"][:5],
                }
            ],
        )
        yield node


def output(node, **more):
    return Opensearch(fill_in(Settings, {"hosts": [node.url], "ca_file": node.ca, **more}))


def test_documented_privileges_suffice(node, tmp_path):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "output": {
                    "opensearch": {
                        "hosts": [node.url],
                        "ca_file": node.ca,
                        "username": "sets-up",
                        "password": PASSWORD,
                    }
                },
                "inputs": [{"type": "apptrana", "client_id": "a", "client_secret": "b"}],
            }
        )
    )
    for expected in ("6 changed", "0 changed"):
        done = CliRunner().invoke(main, ["setup", "-c", str(path)])
        assert done.exit_code == 0 and expected in done.output, done.output
    opensearch = output(node, username="collects", password=PASSWORD)
    assert opensearch.deliver(UNIT, events_of(3), None) == [] and opensearch.holds(
        UNIT, events_of(5)
    ) == {event["event"]["id"] for event in events_of(3)}
    node.ask("POST", f"/{STREAM}/_rollover")
    assert (
        opensearch.holds(UNIT, events_of(5)) == {event["event"]["id"] for event in events_of(3)}
        and opensearch.deliver(UNIT, events_of(2, 10), None) == []
    )
    assert len(list(opensearch.read(UNIT, "default", 1_500_000_000_000, 1_600_000_000_000))) == 5
    opensearch.close()
    text = (Path(__file__).parents[2] / "docs/elasticsearch.md").read_text()
    for right in {
        right
        for role in (COLLECTS, SETS_UP)
        for right in [
            *role["cluster_permissions"],
            *(action for part in role["index_permissions"] for action in part["allowed_actions"]),
        ]
    }:
        assert f"`{right}`" in text, right


def test_missing_read_privilege_is_logged_once(node, caplog):
    opensearch = output(node, username="blind", password=PASSWORD)
    assert (
        opensearch.deliver(UNIT, events_of(2, 100), None) == []
        and opensearch.holds(UNIT, events_of(2, 100)) is None
        and "the user may not refresh and read" in caplog.text
    )
    opensearch.close()


@pytest.mark.parametrize(
    "more,error,sentence",
    [
        (
            {"username": "collects", "password": "wrong"},
            AuthError,
            "401.*check username and password of output.opensearch",
        ),
        (
            {"username": "elsewhere", "password": PASSWORD},
            AuthError,
            "403 security_exception.*rights that docs/elasticsearch.md lists",
        ),
        (
            {"username": "collects", "password": PASSWORD, "ca_file": ""},
            ConfigError,
            "certificate verify failed.*ca_file",
        ),
        (
            {
                "username": "collects",
                "password": PASSWORD,
                "ca_file": "",
                "ca_fingerprint": "ab" * 32,
            },
            ConfigError,
            "[Ff]ingerprint.*ca_fingerprint",
        ),
    ],
)
def test_errors_name_their_cause(node, more, error, sentence):
    opensearch = output(node, **more)
    with pytest.raises(error, match=sentence) as raised:
        opensearch.deliver(UNIT, events_of(1, 200), None)
    assert PASSWORD not in str(raised.value) and "wrong" not in str(raised.value)
    opensearch.close()


def test_client_certificate_and_fingerprint(node):
    home = Path(node.ca).parent
    opensearch = output(node, certificate=str(home / "admin.pem"), key=str(home / "admin.key"))
    assert opensearch.deliver(UNIT, events_of(1, 300), None) == []
    opensearch.close()
    own = (home / "node.pem").read_text().partition("-----END CERTIFICATE-----\n")
    for number, pem in ((301, "".join(own[:2])), (302, (home / "ca.pem").read_text())):
        fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        opensearch = output(
            node,
            username="collects",
            password=PASSWORD,
            ca_file="",
            ca_fingerprint=":".join(fingerprint[place : place + 2] for place in range(0, 64, 2)),
        )
        assert (
            opensearch.deliver(UNIT, events_of(1, number), None) == []
            and opensearch.holds(UNIT, events_of(1, number)) is not None
        )
        opensearch.close()
