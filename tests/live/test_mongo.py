"""Addresses of a DDoS report, read from a server with the MongoDB wire protocol."""

import hashlib
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from pingintelligence import PLUGIN
from pingintelligence.attacks import Query, flatten
from pingintelligence.ddos import add_addresses
from search_node import CACHE, java

from siemtap.core.compile import bind
from siemtap.core.errors import ConfigError, Retry
from siemtap.core.manifest import fill_in

HERE = Path(__file__).parent / "mongo"
END = "Wed Mar 04 12:25:36:144 2026"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uri():
    lib = CACHE / f"mongo-{hashlib.sha256((HERE / 'pom.xml').read_bytes()).hexdigest()[:12]}"
    lib.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(lib / "lock"):
        if not (lib / "ready").exists():
            subprocess.run(
                [
                    "mvn",
                    "-q",
                    "-B",
                    "-f",
                    str(HERE / "pom.xml"),
                    "dependency:copy-dependencies",
                    f"-DoutputDirectory={lib}",
                ],
                check=True,
                timeout=900,
                stdout=subprocess.DEVNULL,
            )
            (lib / "ready").touch()
    server = subprocess.Popen(
        [str(java() / "bin/java"), "-cp", f"{lib}/*", str(HERE / "MongoNode.java")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield f"mongodb://127.0.0.1:{server.stdout.readline().strip()}"
    server.communicate()


def settings(uri, **more):
    return fill_in(PLUGIN.settings, {"mongodb": uri, **more})


def reports(end=END):
    return flatten(
        [
            {
                "attack_type": "API DDoS Attack Type 1",
                "api_name": "shop",
                "ddos_info": {"collection": "login_dos", "end_time": end},
            },
            {"attack_type": "Decoy Attack", "api_name": "shop", "ips": ["192.0.2.9"]},
        ],
        Query(0, "shop"),
        settings(""),
    )


def test_each_address_of_a_report_becomes_an_event(uri):
    import pymongo

    with pymongo.MongoClient(uri) as client:
        client["abs_data"]["login_dos"].insert_many(
            [
                {"end_time": END, "ips": ["203.0.113.7", "2001:db8::7", "203.0.113.7", 5]},
                {"end_time": END, "ips": ["203.0.113.8"]},
                {"end_time": "another", "ips": ["192.0.2.1"]},
            ]
        )
    records = add_addresses(reports(), settings(uri))
    assert [record["@who"] for record in records[2:]] == [
        ("ip", "2001:db8::7"),
        ("ip", "203.0.113.7"),
        ("ip", "203.0.113.8"),
    ]
    map_record = bind(PLUGIN.dataset("pingintelligence.attack"), settings(uri))
    events = [map_record(record, 0, None) for record in records]
    assert (
        len({event["event"]["id"] for event in events}) == 5
        and events[3]["source"]["ip"] == "203.0.113.7"
        and events[3]["@timestamp"] == "2026-03-04T12:25:36.144Z"
    )
    assert (
        len(add_addresses(reports(), settings(uri, ddos_limit=2))) == 4
        and len(add_addresses(reports("Wed Mar 04 12:25:36:145 2026"), settings(uri))) == 2
    )


def test_server_that_is_down_is_retried(monkeypatch):
    monkeypatch.setattr("pingintelligence.ddos.TIMEOUT", 300)
    with pytest.raises(Retry, match="MongoDB does not answer"):
        add_addresses(reports(), settings("mongodb://127.0.0.1:9"))


def test_invalid_settings():
    with pytest.raises(ConfigError, match="does not accept the URI"):
        add_addresses(reports(), settings("postgres://x"))
    with pytest.raises(ConfigError, match="does not accept the URI"):
        add_addresses(reports(), settings("mongodb://127.0.0.1:nowhere"))
    for name in ("a secret", "pymongo"):
        assert name not in repr(settings("mongodb://user:a secret@host"))


def test_pymongo_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymongo", None)
    with pytest.raises(ConfigError, match=r"siemtap\[mongodb\]"):
        PLUGIN.connect(
            settings(
                "mongodb://127.0.0.1:9",
                url="https://abs.example.com",
                access_key="a",
                secret_key="b",
            ),
            None,
        )
