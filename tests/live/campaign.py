"""What the campaigns share: the real process, every vendor there is, and the comparison of an
output with what the vendors know.

Pulled: AppTrana and PingIntelligence, simulated in processes of their own, with late events.
Pushed: CenturyLink IPS, by webhook and by syslog over TCP, from a sender that never retries.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

from search_node import free_port

from siemtap.edge.receive.spool import Spool
from siemtap.testing import simulation

COMMAND = [sys.executable, "-m", "siemtap.shipper.cli.main"]
SECRET = "a-secret-of-sixteen-and-more"
DATASETS = ("apptrana.attack", "pingintelligence.attack", "centurylink_ips.event")
MINUTE, HOUR = 60, 3600  # seconds
OVERLAP = {"apptrana": 12, "pingintelligence": 25 * MINUTE}
# The newest events, in seconds, that need not be there yet: AppTrana's come up to 8 s late, those of
# ABS across APIs ten minutes, which it rounds to ten minutes.
UNREADABLE = {"apptrana": 10, "pingintelligence": 13 * MINUTE}
# in this order, so that the webhook and syslog take turns; every form that identifies its event
FORMATS = ("json", "cef", "array", "relayed", "slack", "cef_line", "deep_security", "cef", "form")


def environment(**variables):
    plugins = str(Path(__file__).parents[2] / "plugins")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [plugins, os.environ.get("PYTHONPATH", "")])),
        **variables,
    }


def start(*arguments, **options):
    return subprocess.Popen([*COMMAND, *arguments], **{"env": environment(), **options})


def simulator(plugin="apptrana", **knobs):
    """Start a simulator of a vendor; return (process, url)."""
    arguments = [
        word for name, value in knobs.items() for word in ("--knob", f"{name}={json.dumps(value)}")
    ]
    process = start("simulate", plugin, "--for", "2h", *arguments, stdout=subprocess.PIPE)
    settings = json.loads(process.stdout.readline())
    return process, settings["url"]


def ask(url, path):
    with urllib.request.urlopen(f"{url}/_simulator/{path}", timeout=300) as answer:
        return json.load(answer)


class Pusher(threading.Thread):
    """A CenturyLink IPS that sends without end, each event once, whatever becomes of it.

    `taken`: the ids that the webhook answered with 2xx. `kept`: the ids of lines of syslog that
    were in the spool after a kill; TCP alone does not tell a sender what was received. `sent`: the
    ids of everything it tried to send.
    """

    def __init__(self, seed, rate=25):
        super().__init__(daemon=True)
        self.webhook, self.syslog = free_port(), free_port()
        self.sender = simulation.Sender(
            [
                f"http://127.0.0.1:{self.webhook}/centurylink_ips/{SECRET}",
                f"tcp://127.0.0.1:{self.syslog}",
            ]
        )
        self.simulated = simulation.simulator(
            "centurylink_ips", {"seed": seed, "formats": list(FORMATS)}
        )
        self.number, self.pause = seed * 1_000_000, 1 / rate
        self.taken, self.kept, self.sent, self.lines = set(), set(), set(), {}
        self.refused = 0
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(self.pause):
            self.number += 1
            message = self.simulated.sent(self.number, int(time.time() * 1000))
            self.sent.update(message.ids)
            if message.channel == "syslog":
                self.lines[message.body] = message.ids
                self.sender.send(message)
            elif self.sender.send(message):
                self.taken.update(message.ids)
            else:
                self.refused += 1

    def wait_for_answer(self, process, seconds=30):
        """Wait until a payload is taken: then everything runs. Return whether one was."""
        before, deadline = len(self.taken), time.monotonic() + seconds
        while len(self.taken) == before and process.poll() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return process.poll() is None

    def note_spooled(self, data):
        """Note the lines that are in the spool now. No process may have it open."""
        with tempfile.TemporaryDirectory(prefix="siemtap-spool-") as name:
            copy = Path(name) / "spool"
            if not (data / "spool/centurylink_ips").exists():
                return
            shutil.copytree(data / "spool/centurylink_ips", copy)
            spool, cursor = Spool(copy), {}
            with contextlib.closing(spool):
                while True:
                    payloads, cursor = spool.read(cursor, 5_000)
                    for payload in payloads:
                        self.kept.update(self.lines.get(payload.body, ()))
                    if not payloads:
                        return

    def close(self):
        self.ended.set()
        self.join()
        self.sender.close()

    def input(self):
        return {
            "type": "centurylink_ips",
            "listen": f"127.0.0.1:{self.webhook}",
            "secret": SECRET,
            "syslog": [f"tcp://127.0.0.1:{self.syslog}"],
        }


class Result(NamedTuple):
    """Of a campaign. `events`: in the output, of several the fewest. `must`: what had to be there,
    and `acknowledged`, how many of these the webhook took. `unknown`: no vendor had them."""

    events: int
    must: int
    acknowledged: int
    lost: int
    twice: int
    unknown: int

    @property
    def is_exact(self):
        return not (self.lost or self.twice or self.unknown)


class Vendors:
    """Every vendor, and the inputs that read them. `apptrana`: how many accounts of AppTrana.

    `steps`: about how many reads the first collection takes, so that it lasts about as long as the
    campaign. `lookback`: of AppTrana, in seconds.
    """

    def __init__(self, seed, steps, apptrana=1, rate=40.0, lookback=HOUR):
        self.recent = lookback
        self.window = min(300, max(15, 3 * lookback // (4 * max(1, steps))))
        self.lookback = min(48 * HOUR, max(4 * HOUR, steps * 20 * MINUTE))
        self.pulled = {}  # id of the input -> (process, url)
        self.seed, self.pusher = seed, Pusher(seed)
        for number in range(apptrana):
            self.pulled[f"apptrana{number}"] = simulator(
                rate=rate,
                late=[0, 3, 8],
                seed=seed + number,
                websites=[f"shop{number}.example.com"],
            )
        self.pulled["pingintelligence"] = simulator("pingintelligence", rate=0.002, late=[0, 20])

    def renew_pusher(self):
        """Start with a new CenturyLink IPS, for another shipper."""
        self.close_pusher()
        self.seed += 1
        self.pusher = Pusher(self.seed)

    def close_pusher(self):
        if self.pusher.is_alive():
            self.pusher.close()

    def inputs(self):
        """Return the inputs of the configuration."""
        common = {"interval": "1s", "lag": "1s", "concurrency": 3, "window": f"{self.window}s"}
        accounts = [
            {
                "type": "apptrana",
                "id": id,
                "url": url,
                "client_id": "demo",
                "client_secret": "demo-secret",
                "overlap": f"{OVERLAP['apptrana']}s",
                "lookback": f"{self.recent}s",
                **common,
            }
            for id, (_, url) in self.pulled.items()
            if id.startswith("apptrana")
        ]
        reports = {
            "type": "pingintelligence",
            "url": self.pulled["pingintelligence"][1],
            "access_key": "demo-access",
            "secret_key": "demo-secret",
            "interval": "1m",
            "lag": "0s",
            "allow_early": True,
            "overlap": f"{OVERLAP['pingintelligence']}s",
            "lookback": f"{self.lookback}s",
            "max_query_range": "10m",
        }
        return [*accounts, reports, self.pusher.input()]

    def compare(self, data, stores):
        """Return the Result. data: path.data. stores: for each output a Counter of the ids of the
        three DATASETS."""
        must, may = set(), set(self.pusher.sent)
        for id, (_, url) in self.pulled.items():
            kind = id.rstrip("0123456789")
            start, until = read_range(data, id, f"{kind}.attack")
            begin = start + MINUTE * 1000
            must |= set(ask(url, f"ledger?start={begin}&stop={until - UNREADABLE[kind] * 1000}"))
            may |= set(ask(url, f"ledger?start={start - HOUR * 1000}"))
        pushed = self.pusher.taken | self.pusher.kept
        return Result(
            events=min(len(ids) for ids in stores),
            must=len(must | pushed),
            acknowledged=len(self.pusher.taken),
            lost=sum(len((must | pushed) - set(ids)) for ids in stores),
            twice=sum(number > 1 for ids in stores for number in ids.values()),
            unknown=sum(len(set(ids) - may) for ids in stores),
        )

    def close(self):
        self.close_pusher()
        for process, _ in self.pulled.values():
            process.kill()
            process.wait()
            process.stdout.close()


def read_range(data, input, dataset):
    """Return the range that an input has read, by its checkpoints, in milliseconds."""
    with contextlib.closing(sqlite3.connect(data / "siemtap.db")) as db:
        (start,) = db.execute(
            "SELECT max(start) FROM first_read WHERE input = ? AND dataset = ?", [input, dataset]
        ).fetchone()
        rows = db.execute("SELECT mark FROM mark WHERE input = ? AND dataset = ?", [input, dataset])
        return start, min(json.loads(mark)["cursor"]["until"] for (mark,) in rows)


def run_once(config, patience=None):
    """Collect all that is due. Return the process as it ended, with its log."""
    more = ["--patience", patience] if patience else []
    return subprocess.run(
        [*COMMAND, "run", "--once", *more, "-c", str(config)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )


def pause(rng, pusher, process):
    """Wait for a random time: half of the times from the start on, so that it hits what has just
    been started, otherwise from when everything runs."""
    if rng.random() < 0.5:
        time.sleep(rng.uniform(0.2, 1.6))
    elif pusher.wait_for_answer(process):
        time.sleep(rng.uniform(0.0, 1.2))


def random_of(seed, name):
    return random.Random(f"{seed}/{name}")


def row(*values):
    """Return a line of a table."""
    return "".join(f"{value!s:>16}" for value in values)
