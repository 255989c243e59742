"""Random `kill -9` of the real process against a simulator with late arrivals: the store must equal
the vendor's list. A real OpenSearch node is killed too, and its data stream is rolled over in
between, so that ids alone do not prevent duplicates.

usage: python tests/live/campaign.py [--kills 200] [--output sqlite|file|two|opensearch]
[--seed 1]. two: sqlite and file, both by the queue.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import search_node

COMMAND = [sys.executable, "-m", "siemtap.shipper.cli.main"]
LOOKBACK, OVERLAP = 3600, 12  # seconds
CONFIG = """
path.data: {folder}/data
http.enabled: false
logging: {{level: error}}
inputs:
  - {{type: apptrana, url: "{url}", client_id: demo, client_secret: demo-secret, interval: 1s, lag: 1s, overlap: {overlap}s, lookback: {lookback}s, window: {window}s, concurrency: 3, output: {names}}}
"""


def environment():
    plugins = str(Path(__file__).parents[2] / "plugins")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [plugins, os.environ.get("PYTHONPATH", "")])),
    }


def start(*arguments, **options):
    return subprocess.Popen([*COMMAND, *arguments], env=environment(), **options)


def simulator(plugin="apptrana", **knobs):
    """Start a simulator of a vendor; return (process, url)."""
    arguments = [
        word for name, value in knobs.items() for word in ("--knob", f"{name}={json.dumps(value)}")
    ]
    process = start("simulate", plugin, "--for", "2h", *arguments, stdout=subprocess.PIPE)
    return process, json.loads(process.stdout.readline())["url"]


def ask(url, path):
    with urllib.request.urlopen(f"{url}/_simulator/{path}", timeout=300) as answer:
        return json.load(answer)


class Cluster:
    """A node and its data stream, with random failures."""

    STREAM = "/logs-apptrana.attack-default"

    def __init__(self):
        self.node = search_node.Node()
        self.settings = {"hosts": [self.node.url], "timeout": "10s"}

    def fail_at_random(self, number):
        if number % 4 == 3:
            self.node.ask("POST", f"{self.STREAM}/_rollover")
        if number % 10 == 9:
            self.node.kill()
            self.node.start()

    def ids(self):
        self.node.ask("POST", f"{self.STREAM}/_refresh")
        ids, after = [], {}
        while True:
            hits = self.node.ask(
                "POST",
                f"{self.STREAM}/_search",
                json={
                    "size": 5_000,
                    "_source": False,
                    "sort": [{"event.id": "asc"}, {"_index": "asc"}],
                    **after,
                },
            ).json()["hits"]["hits"]
            ids += [hit["_id"] for hit in hits]
            if len(hits) < 5_000:
                return ids
            after = {"search_after": hits[-1]["sort"]}


def sections(folder, output, cluster):
    """Return the outputs of the configuration by name."""
    if cluster:
        return {"opensearch": {"type": "opensearch", **cluster.settings}}
    files = {"type": "file", "path": f"{folder}/out", "rotate_every_bytes": 300_000}
    known = {"sqlite": {"type": "sqlite"}, "file": files}
    return known if output == "two" else {output: known[output]}


def stored(folder, output, cluster):
    """Return id -> number of copies in an output."""
    if cluster:
        return collections.Counter(cluster.ids())
    if output == "sqlite":
        with sqlite3.connect(folder / "data/siemtap.db") as db:
            return collections.Counter(id for (id,) in db.execute("SELECT id FROM event"))
    paths = sorted((folder / "out").glob("events*.ndjson"))
    return collections.Counter(
        json.loads(line)["event"]["id"] for path in paths for line in path.read_bytes().splitlines()
    )


def cursor(folder):
    with sqlite3.connect(folder / "data/siemtap.db") as db:
        return min(
            json.loads(mark)["cursor"]["until"] for (mark,) in db.execute("SELECT mark FROM mark")
        )


def campaign(kills, output, seed, map_batch=print):
    """Return the numbers of (events in the store, missing events, duplicates, restarts)."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="siemtap-campaign-") as name:
        folder = Path(name)
        vendor, url = simulator(rate=40.0, late=[0, 3, 8], seed=seed, websites=["shop.example.com"])
        cluster = Cluster() if output == "opensearch" else None
        try:
            outputs = sections(folder, output, cluster)
            config = folder / "siemtap.yml"
            # so that the backfill lasts about as long as the campaign
            window = max(5, 3 * LOOKBACK // (4 * max(1, kills)))
            config.write_text(
                CONFIG.format(
                    folder=folder,
                    url=url,
                    overlap=OVERLAP,
                    lookback=LOOKBACK,
                    window=min(300, max(15, window)),
                    names=json.dumps(list(outputs)),
                )
                + f"outputs: {json.dumps(outputs)}\n"
            )
            if cluster:
                subprocess.run(
                    [*COMMAND, "setup", "-c", str(config)],
                    env=environment(),
                    check=True,
                    stdout=subprocess.DEVNULL,
                    timeout=300,
                )
            first = time.time()
            for kill in range(kills):
                process = start("run", "-c", str(config))
                time.sleep(rng.uniform(0.2, 1.6))
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                if cluster:
                    cluster.fail_at_random(kill)
                if kill % 20 == 19:
                    map_batch(f"{output}: {kill + 1} kills")
            code = subprocess.run(
                [*COMMAND, "run", "--once", "-c", str(config)], env=environment(), timeout=600
            ).returncode
            assert code == 0, f"the last run ended with {code}"
            until = cursor(folder)
            begin = int((first - LOOKBACK + 60) * 1000)
            must = set(ask(url, f"ledger?start={begin}&stop={until - (OVERLAP - 2) * 1000}"))
            may = set(ask(url, f"ledger?start={begin - 180_000}"))
            stores = [stored(folder, name, cluster) for name in outputs]
            return (
                min(len(actual) for actual in stores),
                sum(len(must - set(actual)) for actual in stores),
                sum(number > 1 for actual in stores for number in actual.values()),
                sum(len(set(actual) - may) for actual in stores),
                len(must),
            )
        finally:
            if cluster:
                cluster.node.close()
            vendor.kill()
            vendor.wait()
            vendor.stdout.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument(
        "--output", choices=["sqlite", "file", "two", "opensearch"], default="sqlite"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    events, missing, twice, strange, must = campaign(options.kills, options.output, options.seed)
    print(
        f"{options.output}: {options.kills} random kill -9 in {time.monotonic() - began:.0f} s: {events}"
        f" events stored, {must} must be there: {missing} lost, {twice} twice, {strange} the vendor"
        " never had"
    )
    sys.exit(1 if missing or twice or strange else 0)


if __name__ == "__main__":
    main()
