"""`siemtap audit` beside a running shipper: complete at first; then exactly the events that were
deleted, altered and doubled, with the fields named."""

import json
import sqlite3
import time

import pytest
from elastic_simulator import Cluster, Server
from processes import Process, siemtap, wait_for

from apptrana import simulator
from siemtap.testing import simulation

pytestmark = pytest.mark.slow

DELETED, ALTERED, DOUBLED = 37, 5, 3


class InSqlite:
    """The embedded store. It has an id once only, so nothing is doubled."""

    doubled = 0

    def __init__(self, tmp_path):
        self.path = tmp_path / "data/siemtap.db"

    def config(self):
        return {"sqlite": {}}

    def events(self):
        with sqlite3.connect(self.path) as db:
            return [json.loads(text) for (text,) in db.execute("SELECT event FROM event")]

    def change(self, deleted, altered, doubled):
        with sqlite3.connect(self.path, timeout=30) as db:
            db.executemany("DELETE FROM event WHERE id = ?", [[id] for id in deleted])
            db.executemany(
                "UPDATE event SET event = ? WHERE id = ?",
                [[json.dumps(event), id] for id, event in altered.items()],
            )

    def close(self):
        pass


class InFiles:
    """Only rotated files are changed: the shipper has the other one open."""

    doubled = DOUBLED

    def __init__(self, tmp_path):
        self.folder = tmp_path / "out"

    def config(self):
        return {"file": {"path": str(self.folder), "rotate_every_bytes": 100_000}}

    def closed(self):
        return sorted(self.folder.glob("events-*.ndjson"))

    def events(self):
        return [
            json.loads(line) for path in self.closed() for line in path.read_bytes().splitlines()
        ]

    def change(self, deleted, altered, doubled):
        for path in self.closed():
            lines = []
            for line in path.read_bytes().splitlines(keepends=True):
                id = json.loads(line)["event"]["id"]
                if id in altered:
                    line = json.dumps(altered[id]).encode() + b"\n"
                if id not in deleted:
                    lines += [line] * (2 if id in doubled else 1)
            path.write_bytes(b"".join(lines))

    def close(self):
        pass


class InElasticsearch:
    doubled = DOUBLED

    def __init__(self, tmp_path):
        self.server = Server(Cluster()).__enter__()

    def config(self):
        return {"elasticsearch": {"hosts": [self.server.url]}}

    def stream(self):
        return self.server.cluster.streams["logs-apptrana.attack-default"]

    def events(self):
        return [event for backing in self.stream()["backing"] for event in backing.values()]

    def change(self, deleted, altered, doubled):
        (backing,) = self.stream()["backing"]
        for id in deleted:
            del backing[id]
        backing.update(altered)
        # as after a rollover in the middle of a delivery
        self.stream()["backing"].append({id: backing[id] for id in doubled})

    def close(self):
        self.server.__exit__(None, None, None)


@pytest.fixture(
    params=[InSqlite, InFiles, InElasticsearch], ids=["sqlite", "file", "elasticsearch"]
)
def store(request, tmp_path):
    store = request.param(tmp_path)
    yield store
    store.close()


@pytest.fixture
def vendor():
    server = simulation.Server(simulator.Simulator(simulator.Knobs(odd=True, rate=1.0)))
    yield server
    server.close()


def write(tmp_path, vendor, store):
    path = tmp_path / "siemtap.yml"
    path.write_text(
        json.dumps(
            {
                "path": {"data": str(tmp_path / "data")},
                "http": {"port": 0},
                "output": store.config(),
                "inputs": [
                    {
                        "type": "apptrana",
                        "url": vendor.url,
                        "client_id": "demo",
                        "client_secret": "demo-secret",
                        "interval": "1s",
                        "lookback": "150m",
                    }
                ],
            }
        )
    )
    return path


def has_read_all(path):
    row = siemtap("state", "list", "-c", path).stdout.split("\t")
    return len(row) > 1 and json.loads(row[1])["until"] > (time.time() - 60) * 1000


def test_audit_beside_a_running_shipper(tmp_path, vendor, store):
    path = write(tmp_path, vendor, store)
    process = Process(path)
    process.until("status page at")
    wait_for(lambda: (tmp_path / "data/siemtap.db").exists() and has_read_all(path))
    done = siemtap("audit", "--since", "24h", "-c", path)
    assert done.stdout.endswith("; nothing is missing, nothing is duplicate\n")
    assert "reading the vendor again from" in done.stderr and "comparing" in done.stderr
    earliest = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 7200))
    latest = time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - 900))
    picked = {
        event["event"]["id"]: event
        for event in store.events()
        if earliest <= event["@timestamp"] < latest
        and event["event"]["kind"] != "pipeline_error"
        and "address" in event.get("source", {})  # odd ones have none, and a cluster may add it
    }
    ids = sorted(picked)
    deleted = ids[:DELETED]
    altered = ids[DELETED : DELETED + ALTERED]
    doubled = ids[DELETED + ALTERED :][: store.doubled]
    for number, id in enumerate(altered):
        picked[id]["source"]["address"] = "203.0.113.99"
        picked[id]["apptrana"]["added"] = number
    store.change(deleted, {id: picked[id] for id in altered}, doubled)
    done = siemtap("audit", "--since", "24h", "-c", path, code=1)
    reported = {}
    for line in done.stdout.splitlines():
        if "\t" in line:
            kind, id, dataset, moment, *fields = line.split("\t")
            reported.setdefault(kind, []).append(id)
            assert dataset == "apptrana.attack" and moment == picked[id]["@timestamp"]
            if kind == "different":
                assert "source.address: " in fields[0] and "apptrana.added: " in fields[0]
                assert fields[0].count(" instead of ") == 2
    expected = {"missing": deleted, "different": altered, "duplicate": doubled}
    assert {kind: sorted(ids) for kind, ids in reported.items()} == {
        kind: ids for kind, ids in expected.items() if ids
    }
    total = done.stdout.splitlines()[-1]
    assert f"{DELETED} missing, {ALTERED} different" in total
    assert (f"{DOUBLED} duplicate" in total) is bool(store.doubled)
    assert "by field: " in done.stdout and "extra" not in total
    assert process.process.poll() is None and process.end() == 0
    done = siemtap("audit", "--since", "24h", "--repair", "-c", path, code=1)
    assert f"{DELETED} delivered" in done.stdout
    done = siemtap("audit", "--since", "24h", "-c", path, code=1)
    assert "missing" not in done.stdout


def test_repair_of_a_store_needs_the_shipper_to_stop(tmp_path, vendor):
    path = write(tmp_path, vendor, InSqlite(tmp_path))
    process = Process(path)
    process.until("status page at")
    done = siemtap("audit", "--repair", "-c", path, code=1)
    assert "is in use by another siemtap" in done.stderr
    assert process.end() == 0


def test_audit_before_the_first_run(tmp_path, vendor):
    path = write(tmp_path, vendor, InSqlite(tmp_path))
    done = siemtap("audit", "-c", path, code=2)
    assert "start `siemtap run` first" in done.stderr and not (tmp_path / "data").exists()
