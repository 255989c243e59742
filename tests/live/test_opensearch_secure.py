"""Against a real OpenSearch node with TLS, users and roles: the rights that the README lists
suffice, and what is wrong is named."""

import hashlib
import json
import ssl
from pathlib import Path

import pytest
from click.testing import CliRunner
from search_node import SecureNode
from test_opensearch import STREAM, UNIT, events_of

from siemtap.core.errors import AuthError, ConfigError
from siemtap.core.manifest import fill_in
from siemtap.outputs.cluster import Settings
from siemtap.outputs.elasticsearch import Opensearch
from siemtap.runners.cli import main

pytestmark = pytest.mark.slow
PASSWORD = "a-long-Passw0rd-of-4-words!"
# As the README has them.
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


def test_the_rights_that_the_readme_lists_suffice(node, tmp_path):
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
    for wanted in ("6 changed", "0 changed"):
        done = CliRunner().invoke(main, ["setup", "-c", str(path)])
        assert done.exit_code == 0 and wanted in done.output, done.output
    it = output(node, username="collects", password=PASSWORD)
    assert it.deliver(UNIT, events_of(3), None) == [] and it.holds(UNIT, events_of(5)) == {
        event["event"]["id"] for event in events_of(3)
    }
    node.ask("POST", f"/{STREAM}/_rollover")
    assert (
        it.holds(UNIT, events_of(5)) == {event["event"]["id"] for event in events_of(3)}
        and it.deliver(UNIT, events_of(2, 10), None) == []
    )
    assert len(list(it.read(UNIT, "default", 1_500_000_000_000, 1_600_000_000_000))) == 5
    it.close()
    text = (Path(__file__).parents[2] / "README.md").read_text()
    for right in {
        right
        for role in (COLLECTS, SETS_UP)
        for right in [
            *role["cluster_permissions"],
            *(one for part in role["index_permissions"] for one in part["allowed_actions"]),
        ]
    }:
        assert f"`{right}`" in text, right


def test_without_the_right_to_read_it_says_so_once_and_goes_on(node, caplog):
    it = output(node, username="blind", password=PASSWORD)
    assert (
        it.deliver(UNIT, events_of(2, 100), None) == []
        and it.holds(UNIT, events_of(2, 100)) is None
        and "the user may not refresh and read" in caplog.text
    )
    it.close()


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
            "403 security_exception.*rights that the README lists",
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
def test_what_is_wrong_is_named(node, more, error, sentence):
    it = output(node, **more)
    with pytest.raises(error, match=sentence) as told:
        it.deliver(UNIT, events_of(1, 200), None)
    assert PASSWORD not in str(told.value) and "wrong" not in str(told.value)
    it.close()


def test_a_client_certificate_and_a_fingerprint(node):
    home = Path(node.ca).parent
    it = output(node, certificate=str(home / "admin.pem"), key=str(home / "admin.key"))
    assert it.deliver(UNIT, events_of(1, 300), None) == []
    it.close()
    own = (home / "node.pem").read_text().partition("-----END CERTIFICATE-----\n")
    for number, pem in ((301, "".join(own[:2])), (302, (home / "ca.pem").read_text())):
        fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        it = output(
            node,
            username="collects",
            password=PASSWORD,
            ca_file="",
            ca_fingerprint=":".join(fingerprint[place : place + 2] for place in range(0, 64, 2)),
        )
        assert (
            it.deliver(UNIT, events_of(1, number), None) == []
            and it.holds(UNIT, events_of(1, number)) is not None
        )
        it.close()
