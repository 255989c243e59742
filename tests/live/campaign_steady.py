"""A day of steady running: every vendor and a webhook, and a status page that is asked. The
process's memory, descriptors and threads are sampled every quarter of an hour; after the first two
hours they must not grow. The graph of them is written as SVG. The process also says where its
memory is (memory_probe.py), of which the means of the first and the last quarter are printed.

The process `siemtap run` and the simulators have a clock that runs fast (fast_clock.py). The output
is the bulk server that stores nothing (null_bulk.py).

usage: ci/campaign steady [--hours 24] [--speed 60] [--svg docs/steady.svg]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import memory_probe
import steady_graph
from fast_clock import FastClock, free_port, resident, wait_for_port

from siemtap.testing import simulation

ROOT = Path(__file__).parents[2]
SECRET = "campaign-0123456789"
QUARTER = 900.0  # seconds of the fast clock between two samples
SETTLED = 2.0  # hours, after which nothing may grow
PLATEAU = 2.0  # hours after that, whose most is the measure of what comes later
# What is allowed: growth by the least-squares line from then to the end, and of the most over that of
# the plateau, in percent, but at least so many; and growth by that line in the second half alone.
# Memory: malloc keeps up to 16 MiB at the end of each of its two arenas (shipper/memory.py), and for
# a minute what is free between blocks. `used` is without it: whatever leaks is in there.
BOUNDS = {
    "memory": (5.0, 32.0, 8.0),
    "used": (5.0, 16.0, 4.0),
    "descriptors": (5.0, 6.0, 4.0),
    "threads": (5.0, 2.0, 2.0),
}
# The first read goes back two days: caches of values have a limit, and are full then.
BACK = {"lookback": "48h", "timeout": "5m"}
VENDORS = {
    "apptrana": {**BACK, "interval": "1m", "datasets": ["attack", "activity"]},
    "pingintelligence": {**BACK, "interval": "10m"},
    "trend_vision_one": {**BACK, "interval": "5m"},
    "centurylink_ips": {"timeout": "5m"},
}


class Sample(NamedTuple):
    """The process at one time. memory: MiB, resident. used: MiB, of Python's objects and what else
    malloc has given out."""

    hour: float
    memory: float
    descriptors: int
    threads: int
    used: float = 0.0


class Run(NamedTuple):
    """A run. stats: the last /stats. accepted: webhooks and lines of syslog."""

    samples: list
    memory: list
    stats: dict
    accepted: int
    log: str


class Trend(NamedTuple):
    """How one number behaves after the first hours. growth, late: by the least-squares line, to the
    end and in the second half; plateau, most: the most of the first hours, and of all."""

    growth: float
    late: float
    plateau: float
    most: float
    allowed: float
    allowed_late: float

    @property
    def is_flat(self):
        rise = max(self.growth, self.most - self.plateau)
        return rise <= self.allowed and self.late <= self.allowed_late


def growth(points):
    """Return by how much (hour, value) pairs grow, by the least-squares line."""
    mean_hour = sum(hour for hour, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    spread = sum((hour - mean_hour) ** 2 for hour, _ in points)
    together = sum((hour - mean_hour) * (value - mean) for hour, value in points)
    return together / spread * (points[-1][0] - points[0][0])


def trend(samples, name, settled=SETTLED, plateau=PLATEAU):
    """Return the Trend of one number of the samples."""
    later = [(each.hour, getattr(each, name)) for each in samples if each.hour >= settled]
    first = max(value for hour, value in later if hour < settled + plateau)
    percent, least, allowed_late = BOUNDS[name]
    return Trend(
        growth=growth(later),
        late=growth(later[len(later) // 2 :]),
        plateau=first,
        most=max(value for _, value in later),
        allowed=max(least, first * percent / 100),
        allowed_late=allowed_late,
    )


class Steady:
    """The processes of the campaign."""

    def __init__(self, folder, speed):
        self.clock, self.folder, self.accepted = FastClock(speed), folder, 0
        bulk = [sys.executable, str(Path(__file__).with_name("null_bulk.py"))]
        self.bulk = subprocess.Popen(bulk, stdout=subprocess.PIPE, text=True)
        self.vendors = {name: self.clock.simulate(name) for name in VENDORS}
        self.page, webhook, syslog = free_port(), free_port(), free_port()
        inputs = [
            {"type": name, **settings, **VENDORS[name]}
            for name, (_, settings) in self.vendors.items()
        ]
        listening = {"listen": f"127.0.0.1:{webhook}", "plain_http": True, "secret": SECRET}
        inputs[-1].update(listening, syslog=[f"tcp://127.0.0.1:{syslog}"])
        hosts = [self.bulk.stdout.readline().strip()]
        config = {
            "path": {"data": str(folder / "data")},
            "http": {"host": "127.0.0.1", "port": self.page},
            "logging": {"level": "warning"},
            "inputs": inputs,
            "output": {"elasticsearch": {"hosts": hosts, "timeout": "5m"}},
        }
        (folder / "siemtap.yml").write_text(json.dumps(config))
        (folder / "siemtap.yml").chmod(0o600)
        self.log = open(folder / "siemtap.log", "wb")
        arguments = ["run", "-c", str(folder / "siemtap.yml")]
        probe = {"MEMORY_PROBE": str(folder / "memory.json")}
        self.shipper = self.clock.start(*arguments, stderr=self.log, env=probe)
        for port in (syslog, self.page):
            wait_for_port(port)
        self.ips = simulation.simulator("centurylink_ips", {"rate": 0.05})
        self.sender = simulation.Sender(
            [f"http://127.0.0.1:{webhook}/centurylink_ips/{SECRET}", f"tcp://127.0.0.1:{syslog}"]
        )
        self.began = self.pushed_until = self.clock.millis()

    def hour(self):
        return (self.clock.millis() - self.began) / 3_600_000

    def push(self):
        now = self.clock.millis()
        for message in self.ips.pushed(self.pushed_until, now):
            self.accepted += self.sender.send(message)
        self.pushed_until = now
        self.sender.taken.clear()

    def ask(self, path):
        """Ask the status page, as monitoring does."""
        url = f"http://127.0.0.1:{self.page}/{path}"
        with contextlib.suppress(urllib.error.HTTPError):  # /health may be 503
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.read()
        return b""

    def sample(self):
        for path in ("health", "metrics"):
            self.ask(path)
        process = Path(f"/proc/{self.shipper.pid}")
        return Sample(
            hour=self.hour(),
            memory=resident(self.shipper.pid) / 1024,
            descriptors=len(list((process / "fd").iterdir())),
            threads=len(list((process / "task").iterdir())),
        )

    def close(self):
        self.sender.close()
        processes = [self.shipper, self.bulk, *(process for process, _ in self.vendors.values())]
        for process in processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        self.log.close()


def campaign(hours=24.0, speed=60.0):
    """Return a Run of so many hours."""
    with tempfile.TemporaryDirectory(prefix="siemtap-steady-") as name:
        steady = Steady(Path(name), speed)
        try:
            samples = []
            while steady.hour() < hours:
                assert steady.shipper.poll() is None, "siemtap has ended"
                steady.push()
                if steady.hour() * 3600 >= len(samples) * QUARTER:
                    samples.append(steady.sample())
                steady.clock.sleep(20)
            stats = json.loads(steady.ask("stats"))
            steady.shipper.send_signal(signal.SIGTERM)
            code = steady.shipper.wait(120)
            log = (Path(name) / "siemtap.log").read_text()
            assert code == 0, f"siemtap ended with {code}: {log[-2000:]}"
            memory = memory_probe.read(Path(name) / "memory.json")
            samples = [
                sample._replace(used=parts.objects + parts.given)
                for sample, parts in zip(samples, memory)
            ]
            return Run(samples, memory, stats, steady.accepted, log)
        finally:
            steady.close()


def memory_lines(parts):
    """Yield a line for each part of the memory: its mean in the first and the last quarter of the
    time after the first hours."""
    later = parts[int(SETTLED * 3600 / QUARTER) :]
    quarter = max(1, len(later) // 4)
    for name in memory_probe.Parts._fields:
        first, last = (
            sum(getattr(each, name) for each in some) / len(some)
            for some in (later[:quarter], later[-quarter:])
        )
        yield f"{name}: {first:.1f} MiB, then {last:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--speed", type=float, default=60)
    parser.add_argument("--svg", type=Path, default=ROOT / "docs/steady.svg")
    options = parser.parse_args()
    began = time.monotonic()
    samples, memory, stats, accepted, log = campaign(options.hours, options.speed)
    print(
        f"{options.hours:g} h in {time.monotonic() - began:.0f} s at {options.speed:g} times the"
        f" speed: {stats['output']['accepted']:,} events, {accepted:,} webhooks and lines,"
        f" {len(samples)} samples"
    )
    good = "Traceback" not in log
    for name in BOUNDS:
        each = trend(samples, name)
        good = good and each.is_flat
        print(
            f"  {name}: {each.growth:+.1f} from hour {SETTLED:g} to the end by least squares,"
            f" {each.late:+.1f} in the second half; most {each.plateau:.1f} until hour"
            f" {SETTLED + PLATEAU:g}, {each.most:.1f} later; {each.allowed:.1f} and"
            f" {each.allowed_late:.1f} are allowed: {'flat' if each.is_flat else 'GROWS'}"
        )
    for line in memory_lines(memory):
        print(f"    {line}")
    options.svg.write_text(steady_graph.draw(samples, SETTLED), encoding="utf-8")
    print(f"  graph: {options.svg}")
    if log:
        print(log[-3000:])
    sys.exit(not good)


if __name__ == "__main__":
    main()
