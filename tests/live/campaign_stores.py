"""The outputs of the campaigns: how each is configured, fails and is read."""

from __future__ import annotations

import collections
import contextlib
import json
import sqlite3
import subprocess

import elastic_simulator
import hec_stand_in
import search_node
from campaign import COMMAND, DATASETS, environment
from kafka_broker import Broker, read

BETWEEN = (
    "a kill between delivery and checkpoint: the start sends the batch again, with the same ids"
)


def embedded(data):
    """Return id -> number of copies in the embedded store."""
    query = f"SELECT id FROM event WHERE dataset IN {DATASETS}"
    with contextlib.closing(sqlite3.connect(data / "siemtap.db")) as db:
        return collections.Counter(id for (id,) in db.execute(query))


def files(folder):
    """Return id -> number of copies in the NDJSON files of a folder."""
    events = (
        json.loads(line)["event"]
        for path in sorted(folder.glob("events*.ndjson"))
        for line in path.read_bytes().splitlines()
    )
    return collections.Counter(event["id"] for event in events if event["dataset"] in DATASETS)


class Store:
    """One output, or several by the queue. `why_twice`: why a kill may double an event in it; "" if
    none may be there twice. `needs_setup`: whether `siemtap setup` comes before the first run."""

    why_twice = ""
    needs_setup = False

    def __init__(self, folder):
        self.folder, self.data = folder, folder / "data"

    def sections(self):
        """Return the outputs of the configuration by name."""
        raise NotImplementedError

    def ids(self):
        """Return for each output id -> number of copies, of the datasets of the campaign."""
        raise NotImplementedError

    def fail_at_random(self, number):
        """Do what fails with kill `number`, beside the kill."""

    def forgets(self, number):
        """Return whether failure `number` makes it forget what it has not acknowledged yet."""
        return False

    def close(self):
        """Stop what the output needs."""


class Sqlite(Store):
    def sections(self):
        return {"sqlite": {"type": "sqlite"}}

    def ids(self):
        return [embedded(self.data)]


class File(Store):
    def sections(self):
        return {
            "file": {
                "type": "file",
                "path": str(self.folder / "out"),
                "rotate_every_bytes": 300_000,
            }
        }

    def ids(self):
        return [files(self.folder / "out")]


class Two(Store):
    """The embedded store and files, both by the queue."""

    def __init__(self, folder):
        super().__init__(folder)
        self.each = Sqlite(folder), File(folder)

    def sections(self):
        return {name: each for store in self.each for name, each in store.sections().items()}

    def ids(self):
        return [ids for store in self.each for ids in store.ids()]


class OpenSearch(Store):
    """A real node, which is killed too. Its data streams are rolled over in between, so that ids
    alone do not prevent duplicates."""

    needs_setup = True

    def __init__(self, folder):
        super().__init__(folder)
        self.node = search_node.Node()

    def sections(self):
        return {"opensearch": {"type": "opensearch", "hosts": [self.node.url], "timeout": "10s"}}

    def fail_at_random(self, number):
        if number % 4 == 3:
            for dataset in DATASETS:
                self.node.ask("POST", f"/logs-{dataset}-default/_rollover")
        if number % 10 == 9:
            self.node.kill()
            self.node.start()

    def ids(self):
        self.node.ask("POST", "/logs-*/_refresh")
        ids = [id for dataset in DATASETS for id in self._ids_of(f"logs-{dataset}-default")]
        return [collections.Counter(ids)]

    def _ids_of(self, stream):
        ids, after = [], {}
        while True:
            query = {"size": 5_000, "_source": False, **after}
            query["sort"] = [{"event.id": {"order": "asc", "unmapped_type": "keyword"}}, "_index"]
            answer = self.node.ask("POST", f"/{stream}/_search", json=query)
            if answer.status_code == 404:  # nothing was sent to it yet
                return ids
            assert answer.status_code == 200, answer.text[:500]
            hits = answer.json()["hits"]["hits"]
            ids += [hit["_id"] for hit in hits]
            if len(hits) < 5_000:
                return ids
            after = {"search_after": hits[-1]["sort"]}

    def close(self):
        self.node.close()


class Elasticsearch(Store):
    """A simulated cluster that answers as Elasticsearch does; its data streams are rolled over."""

    needs_setup = True

    def __init__(self, folder):
        super().__init__(folder)
        self.server = elastic_simulator.Server(elastic_simulator.Cluster())
        self.server.server.handle_error = lambda *_: None  # killed clients reset connections

    def sections(self):
        return {"elasticsearch": {"type": "elasticsearch", "hosts": [self.server.url]}}

    def fail_at_random(self, number):
        cluster = self.server.cluster
        with cluster.lock:
            cluster.busy = number % 3
            if number % 4 == 3:
                for stream in cluster.streams.values():
                    stream["backing"].append({})

    def ids(self):
        streams = [self.server.cluster.streams.get(f"logs-{name}-default") for name in DATASETS]
        backings = [backing for stream in filter(None, streams) for backing in stream["backing"]]
        return [collections.Counter(id for backing in backings for id in backing)]

    def close(self):
        self.server.__exit__()


class Queued(Two):
    """The simulated cluster and the embedded store, both by the queue."""

    needs_setup = True

    def __init__(self, folder):
        super().__init__(folder)
        self.each = Elasticsearch(folder), Sqlite(folder)

    def fail_at_random(self, number):
        self.each[0].fail_at_random(number)

    def close(self):
        self.each[0].close()


class Hec(Store):
    """A strict stand-in of Splunk's HTTP Event Collector, without indexer acknowledgement."""

    why_twice = f"{BETWEEN}; HEC cannot be asked what it has"
    ack = False

    def __init__(self, folder):
        super().__init__(folder)
        self.server = hec_stand_in.Hec(ack=self.ack)

    def sections(self):
        settings = {"hosts": [self.server.url], "token": hec_stand_in.TOKEN, "ack": self.ack}
        return {"splunk_hec": {"type": "splunk_hec", **settings}}

    def ids(self):
        sourcetypes = {dataset.replace(".", ":") for dataset in DATASETS}
        events = [
            json.loads(event["raw"])
            for event in self.server.indexed
            if event["sourcetype"] in sourcetypes
        ]
        return [
            collections.Counter(event.get("event.id") or event["event"]["id"] for event in events)
        ]

    def close(self):
        self.server.__exit__()


class HecAck(Hec):
    """The same with acknowledgement, given at the second question. A restart forgets its ids."""

    ack = True

    def __init__(self, folder):
        super().__init__(folder)
        self.server.acks = 1

    def forgets(self, number):
        return number % 10 == 9

    def fail_at_random(self, number):
        if self.forgets(number):
            self.server.restart()


class Kafka(Store):
    """A real broker, which is killed too, read with `read_committed`."""

    needs_setup = True
    why_twice = f"{BETWEEN}; a single shipper saves its checkpoint after the commit"

    def __init__(self, folder):
        super().__init__(folder)
        self.broker = Broker()

    def sections(self):
        return {"kafka": {"type": "kafka", "hosts": [self.broker.address]}}

    def fail_at_random(self, number):
        if number % 20 == 19:
            self.broker.kill()
            self.broker.start()

    def ids(self):
        messages = [
            message
            for dataset in DATASETS
            for message in read(self.broker, f"siemtap.events.{dataset}")
        ]
        return [
            collections.Counter(json.loads(message.value())["event"]["id"] for message in messages)
        ]

    def close(self):
        self.broker.close()


STORES = {
    "sqlite": Sqlite,
    "file": File,
    "two": Two,
    "elasticsearch": Elasticsearch,
    "opensearch": OpenSearch,
    "splunk_hec": Hec,
    "splunk_hec_ack": HecAck,
    "kafka": Kafka,
}


def configure(folder, vendors, store, **more):
    """Write siemtap.yml; create what the output needs. Return the path."""
    sections = store.sections()
    config = folder / "siemtap.yml"
    config.write_text(
        json.dumps(
            {
                "path.data": str(store.data),
                "http.enabled": False,
                "logging.level": "error",
                "outputs": sections,
                "inputs": [{**each, "output": list(sections)} for each in vendors.inputs()],
                **more,
            }
        )
    )
    config.chmod(0o600)
    if store.needs_setup:
        done = subprocess.run(
            [*COMMAND, "setup", "-c", str(config)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return config
