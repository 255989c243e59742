"""The addresses behind a DDoS report's pointer, read from a server that speaks MongoDB's wire
protocol."""

import hashlib
import subprocess
import sys
from pathlib import Path

import filelock
import pytest
from pingintelligence import PLUGIN
from pingintelligence.attacks import Asked, flatten
from pingintelligence.ddos import resolved
from search_node import CACHE, java

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
        Asked(0, "shop"),
        settings(""),
    )


def test_each_address_behind_a_pointer_becomes_an_event(uri):
    import pymongo

    with pymongo.MongoClient(uri) as client:
        client["abs_data"]["login_dos"].insert_many(
            [
                {"end_time": END, "ips": ["203.0.113.7", "2001:db8::7", "203.0.113.7", 5]},
                {"end_time": END, "ips": ["203.0.113.8"]},
                {"end_time": "another", "ips": ["192.0.2.1"]},
            ]
        )
    found = resolved(reports(), settings(uri))
    assert [record["@who"] for record in found[2:]] == [
        ("ip", "2001:db8::7"),
        ("ip", "203.0.113.7"),
        ("ip", "203.0.113.8"),
    ]
    say = PLUGIN.dataset("pingintelligence.attack").bind(settings(uri))
    events = [say(record, 0, None) for record in found]
    assert (
        len({event["event"]["id"] for event in events}) == 5
        and events[3]["source"]["ip"] == "203.0.113.7"
        and events[3]["@timestamp"] == "2026-03-04T12:25:36.144Z"
    )
    assert (
        len(resolved(reports(), settings(uri, ddos_limit=2))) == 4
        and len(resolved(reports("Wed Mar 04 12:25:36:145 2026"), settings(uri))) == 2
    )


def test_a_server_that_is_away_is_waited_for(monkeypatch):
    monkeypatch.setattr("pingintelligence.ddos.PATIENCE", 300)
    with pytest.raises(Retry, match="MongoDB does not answer"):
        resolved(reports(), settings("mongodb://127.0.0.1:9"))


def test_mistakes():
    with pytest.raises(ConfigError, match="no URI"):
        resolved(reports(), settings("postgres://x"))
    with pytest.raises(ConfigError, match="no URI"):
        resolved(reports(), settings("mongodb://127.0.0.1:nowhere"))
    for name in ("a secret", "pymongo"):
        assert name not in repr(settings("mongodb://user:a secret@host"))


def test_without_the_package(monkeypatch):
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
