"""Random `kill -9` of any process of `processes: 2`, the supervisor included, which is started again
as systemd would: three vendors, a webhook whose sender never retries, two outputs. Both must equal
the vendors' lists, and hold once what the webhook acknowledged.

usage: python tests/live/campaign_processes.py [--kills 200] [--seed 1]
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import psutil
from bench_receive import BODY, SECRET
from campaign import COMMAND, LOOKBACK, OVERLAP, ask, environment, simulator, start, stored
from search_node import free_port

VENDORS = 3
OUTPUTS = ("sqlite", "file")
CONFIG = """
path.data: {folder}/data
processes: 2
http.enabled: false
logging: {{level: error}}
outputs:
  sqlite: {{type: sqlite}}
  file: {{type: file, path: {folder}/out, rotate_every_bytes: 300000}}
inputs:
  - {{type: centurylink_ips, listen: "127.0.0.1:{port}", secret: {secret}, output: [sqlite, file]}}
"""
INPUT = """  - {{type: apptrana, id: "{id}", url: "{url}", client_id: demo, client_secret: demo-secret, interval: 1s, lag: 1s, overlap: {overlap}s, lookback: {lookback}s, window: {window}s, output: [sqlite, file]}}
"""


class Sender(threading.Thread):
    """Posts payloads without end, and notes the numbers of those that are answered with 204."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.url = f"http://127.0.0.1:{port}/centurylink_ips/{SECRET}"
        self.taken, self.number, self.ended = [], 0, threading.Event()

    def run(self):
        while not self.ended.wait(0.02):
            self.number += 1
            body = BODY.replace('"driverTime": 0', f'"driverTime": {self.number}').encode()
            request = urllib.request.Request(self.url, body, method="POST")
            with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
                if answer.status == 204:
                    self.taken.append(self.number)

    def wait_for_answer(self, supervisor):
        """Wait until a payload is taken: then everything runs."""
        before, deadline = len(self.taken), time.monotonic() + 30
        while len(self.taken) == before and time.monotonic() < deadline:
            if supervisor.poll() is not None:
                return
            time.sleep(0.05)

    def close(self):
        self.ended.set()
        self.join()


PROCESSES = 3  # of a supervisor: two workers and the receivers


def processes_of(supervisor, at_least=0):
    """Return the supervisor and its processes that run, once there are enough of them."""
    children = []
    deadline = time.monotonic() + 20
    with contextlib.suppress(psutil.NoSuchProcess):
        while len(children) < at_least and time.monotonic() < deadline:
            time.sleep(0.05)
            children = psutil.Process(supervisor.pid).children()
        children = psutil.Process(supervisor.pid).children()
    return [supervisor, *children]


def name_of(process, supervisor):
    if process is supervisor:
        return "supervisor"
    return "receivers" if "receivers" in process.cmdline()[-1] else "worker"


def numbers_of(folder, output):
    """Return driverTime -> number of copies in an output."""
    if output == "sqlite":
        query = "SELECT event FROM event WHERE dataset LIKE 'centurylink_ips%'"
        with sqlite3.connect(folder / "data/siemtap.db") as db:
            events = [json.loads(text) for (text,) in db.execute(query)]
    else:
        events = [
            json.loads(line)
            for path in (folder / "out").glob("events*.ndjson")
            for line in path.read_bytes().splitlines()
        ]
    return collections.Counter(
        event["centurylink_ips"]["driver_time"] for event in events if "centurylink_ips" in event
    )


def read_from(folder, input):
    """Return from where on an input is read."""
    with sqlite3.connect(folder / "data/siemtap.db") as db:
        return db.execute("SELECT min(start) FROM first_read WHERE input = ?", [input]).fetchone()[
            0
        ]


def read_until(folder, input):
    """Return up to where an input is read."""
    with sqlite3.connect(folder / "data/siemtap.db") as db:
        rows = db.execute("SELECT mark FROM mark WHERE input = ?", [input])
        return min(json.loads(mark)["cursor"]["until"] for (mark,) in rows)


def campaign(kills, seed, show=print):
    """Return (events, missing, duplicates, unknown to the vendor, that must be there, killed by
    name, acknowledged by the webhook)."""
    rng = random.Random(seed)
    killed = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="siemtap-campaign-") as name:
        folder = Path(name)
        port = free_port()
        vendors = [
            simulator(rate=15.0, late=[0, 3, 8], seed=seed + n, websites=[f"shop{n}.example.com"])
            for n in range(VENDORS)
        ]
        window = min(300, max(15, 3 * LOOKBACK // (4 * max(1, kills))))
        config = folder / "siemtap.yml"
        config.write_text(
            CONFIG.format(folder=folder, port=port, secret=SECRET)
            + "".join(
                INPUT.format(id=f"v{n}", url=url, overlap=OVERLAP, lookback=LOOKBACK, window=window)
                for n, (_, url) in enumerate(vendors)
            )
        )
        config.chmod(0o600)
        sender = Sender(port)
        supervisor = start("run", "-c", str(config))
        try:
            sender.start()
            while sum(killed.values()) < kills:
                if rng.random() < 0.5:  # else it may hit what has just been started
                    sender.wait_for_answer(supervisor)
                time.sleep(rng.uniform(0.3, 3.0))
                if supervisor.poll() is not None:
                    assert supervisor.returncode == -signal.SIGKILL, supervisor.returncode
                    supervisor = start("run", "-c", str(config))
                    continue
                victim = rng.choice(processes_of(supervisor, PROCESSES))
                with contextlib.suppress(psutil.NoSuchProcess):
                    role = name_of(victim, supervisor)
                    victim.kill()
                    killed[role] += 1
                    if sum(killed.values()) % 20 == 0:
                        show(f"{sum(killed.values())} kills")
            if supervisor.poll() is None and killed["supervisor"] < kills:
                supervisor.terminate()
                assert supervisor.wait(120) in (0, -signal.SIGTERM, -signal.SIGKILL)
            sender.close()
            last = subprocess.run(
                [*COMMAND, "run", "--once", "-c", str(config)], env=environment(), timeout=600
            )
            assert last.returncode == 0, f"the last run ended with {last.returncode}"
            must, may = set(), set()
            for n, (_, url) in enumerate(vendors):
                begin = read_from(folder, f"v{n}") + 60_000
                stop = read_until(folder, f"v{n}") - (OVERLAP - 2) * 1000
                must |= set(ask(url, f"ledger?start={begin}&stop={stop}"))
                may |= set(ask(url, f"ledger?start={begin - 180_000}"))
            pushed = [numbers_of(folder, output) for output in OUTPUTS]
            stores = [stored(folder, output, None) for output in OUTPUTS]
            taken, sent = set(sender.taken), set(range(1, sender.number + 1))
            return (
                min(len(actual) for actual in stores),
                sum(len(must - set(actual)) for actual in stores)
                + sum(len(taken - set(numbers)) for numbers in pushed),
                sum(number > 1 for actual in [*stores, *pushed] for number in actual.values()),
                sum(
                    len(set(actual) - may) - len(numbers) for actual, numbers in zip(stores, pushed)
                )
                + sum(len(set(numbers) - sent) for numbers in pushed),
                len(must) + len(taken),
                dict(killed),
                len(taken),
            )
        finally:
            sender.ended.set()
            for process in processes_of(supervisor):
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    process.kill()
            supervisor.wait()
            for vendor, _ in vendors:
                vendor.kill()
                vendor.wait()
                vendor.stdout.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    events, missing, twice, strange, must, killed, taken = campaign(options.kills, options.seed)
    print(
        f"processes: 2: {options.kills} random kill -9 ({killed}) in"
        f" {time.monotonic() - began:.0f} s: {events} events in each output, {must} must be there,"
        f" {taken} of them acknowledged by the webhook: {missing} lost, {twice} twice, {strange} the"
        " vendor never had"
    )
    sys.exit(1 if missing or twice or strange else 0)


if __name__ == "__main__":
    main()
