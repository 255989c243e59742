"""A fleet in tests: many simulated vendors behind one address, workers as real processes, and the
comparison of the topics with what the vendors know."""

from __future__ import annotations

import collections
import json
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from campaign import COMMAND, environment, start
from kafka_broker import read

from siemtap.testing import simulation

OVERLAP = 12  # seconds


class Vendors:
    """Many simulators behind one address: the first part of the path says which. Each has events
    of its own."""

    def __init__(self, number, **knobs):
        self.simulated = {
            f"v{index}": simulation.simulator(
                "apptrana",
                {"seed": index + 1, "websites": [f"shop{index}.example.com"], **knobs},
            )
            for index in range(number)
        }
        self.server = simulation.Server(self)

    @property
    def url(self):
        return self.server.url

    def answer(self, request, now):
        name = request.url.removeprefix(self.url).split("/")[1]
        return self.simulated[name].answer(request, now)

    def input(self, name, **more):
        return {
            "type": "apptrana",
            "id": name,
            **self.simulated[name].settings(f"{self.url}/{name}"),
            "interval": "1s",
            "lag": "1s",
            "overlap": f"{OVERLAP}s",
            "concurrency": 2,
            **more,
        }

    def close(self):
        self.server.close()


class Worker:
    """A worker of the fleet, as a process of its own. `log`: the file of its standard error."""

    def __init__(self, folder, name, config, page=False, run=True):
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(exist_ok=True)
        self.file = self.folder / "siemtap.yml"
        self.log = self.folder / "log"
        self.file.write_text(
            json.dumps(
                {
                    "path.data": str(self.folder / "data"),
                    "http": {"enabled": page, "port": 0},
                    "logging": {"metrics": {"enabled": False}},
                    **config,
                }
            )
        )
        self.process = None
        if run:
            self.start()

    def siemtap(self, *arguments):
        """Run another command with its configuration."""
        return subprocess.run(
            [*COMMAND, *arguments, "-c", str(self.file)],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )

    def start(self):
        self.paused = False
        with self.log.open("ab") as log:
            self.process = start("run", "-c", str(self.file), stdout=log, stderr=log)

    def pause(self):
        """Freeze it, as a machine that is suspended."""
        self.paused = True
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.paused = False
        self.signal(signal.SIGCONT)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        """Stop it cleanly; return the exit code."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        return self.process.wait(timeout=120)

    def until(self, *patterns, seconds=120):
        """Wait until the log has matches of these patterns, one after the other."""
        deadline = time.monotonic() + seconds
        while not re.search(".*".join(patterns), self.log_text(), re.DOTALL):
            assert time.monotonic() < deadline, f"no {patterns} in:\n{self.log_text()}"
            time.sleep(0.2)

    def log_text(self):
        return self.log.read_text(errors="replace")


class World:
    """A broker, vendors, topics and workers."""

    def __init__(self, broker, vendors, partitions, lookback, session="6s", name="siemtap", **more):
        self.broker = broker
        self.name = name  # of the topics and the group
        self.vendors = vendors
        self.first = time.time()
        self.lookback = lookback
        self.folder = Path(tempfile.mkdtemp(prefix="siemtap-fleet-"))
        self.workers = {}
        self.config = {
            "cluster": {
                "kafka": {
                    "hosts": [broker.address],
                    "session_timeout": session,
                    "prefix": name,
                    "group": name,
                    "partitions": partitions,
                }
            },
            "output": {"kafka": {"topic": f"{name}.events.%{{[event.dataset]}}"}},
            "workers": 4,
            "inputs": [
                vendors.input(name, lookback=f"{lookback}s", **more) for name in vendors.simulated
            ],
        }

    def set_up(self):
        """Create the topics, as a person does."""
        worker = Worker(self.folder, "setup", self.config, run=False)
        done = worker.siemtap("setup")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add(self, name, **more):
        self.workers[name] = Worker(self.folder, name, {**self.config, **more})
        return self.workers[name]

    def close(self):
        for worker in self.workers.values():
            if worker.process.poll() is None:
                worker.signal(signal.SIGCONT)
                worker.kill()

    def _cursors(self):
        """Yield (input, time in milliseconds up to which it is read), as committed."""
        for message in read(self.broker, f"{self.name}.checkpoints"):
            value = json.loads(message.value())
            if value["dataset"] == "apptrana.attack":
                yield value["input"], value["cursor"]["until"]

    def checkpoints(self):
        """Return input -> the time in milliseconds up to which it is read, as committed."""
        return dict(self._cursors())

    def starts(self):
        """Return input -> where its first read began: its first checkpoint, which no compaction
        takes out of the active segment."""
        starts = {}
        for name, until in self._cursors():
            starts.setdefault(name, until)
        return starts

    def wait_until_read(self, moment, seconds=600):
        """Wait until every input is read up to a time."""
        deadline = time.monotonic() + seconds
        while True:
            until = self.checkpoints()
            behind = [name for name in self.vendors.simulated if until.get(name, 0) < moment]
            if not behind:
                return until
            dead = [
                w.name for w in self.workers.values() if w.process.poll() not in (None, -15, -9, 0)
            ]
            assert not dead and time.monotonic() < deadline, (
                f"{len(behind)} inputs are behind, such as {behind[:5]}; logs:\n"
                + "\n".join(f"{w.name}: {w.log_text()[-3000:]}" for w in self.workers.values())
            )
            time.sleep(1.0)

    def compare(self, until):
        """Return (events in the topic, those that must be there, lost, twice, unknown)."""
        return self.compare_ids(until, self.ids())

    def ids(self):
        """Return the ids of attacks in the topic, as committed."""
        messages = read(self.broker, f"{self.name}.events.apptrana.attack")
        return [json.loads(message.value())["event"]["id"] for message in messages]

    def compare_ids(self, until, ids):
        ids = collections.Counter(ids)
        now = int(time.time() * 1000)
        starts = self.starts()
        must, may = set(), set()
        for name, simulated in self.vendors.simulated.items():
            begin, stop = starts[name], until[name] - (OVERLAP - 2) * 1000
            assert begin >= (self.first - self.lookback) * 1000
            must |= simulated.ledger(now, start=begin + 1, stop=stop)
            # the first checkpoint follows the first window
            may |= simulated.ledger(now, start=int((self.first - self.lookback - 60) * 1000))
        twice = sum(number > 1 for number in ids.values())
        return len(ids), len(must), len(must - set(ids)), twice, len(set(ids) - may)
