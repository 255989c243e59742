"""Speed of a fleet, part of `ci/bench kafka`: 1, 2 and 4 workers from a vendor into the broker, then 1,
2 and 4 writers out of it to a bulk server that stores nothing. Vendor, broker and bulk server are
processes of their own, on the same cores: so beside the wall clock, the CPU time of each is measured.
It says what a core does, and what the cores of this machine limit."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from bench_hec import UNIT
from bench_processes import accepted, cpu_seconds, cpu_until_end
from campaign import simulator, start
from kafka_broker import create, read
from kafka_fleet import World
from null_bulk import null_bulk

from siemtap.core.manifest import fill_in
from siemtap.outputs.kafka.output import Kafka
from siemtap.outputs.kafka.settings import Settings
from siemtap.shipper.fleet.fleet import Fleet

PROCESSES = (1, 2, 4)
PARTITIONS = 8  # and as many inputs, one in each
LOOKBACK = 3_600  # seconds
# seconds: the first walk of an input ends so long before its start, and a second one begins a minute
# later
LAG = 10
RATE = 200.0  # events a minute of the vendor, for each input
REPEATS = 20  # of the made events in the topic that is read
TOPIC = "bench"


class Measured(NamedTuple):
    """A run. `cpu`: seconds of each process of siemtap; `others`: of the processes beside them, by
    name. `seconds`: by the wall clock."""

    events: int
    cpu: list[float]
    others: dict[str, float]
    seconds: float

    def print(self, kind, way):
        number, total = len(self.cpu), sum(self.cpu)
        beside = ", ".join(f"{name} {cpu:.1f} s" for name, cpu in self.others.items())
        every = total + sum(self.others.values())
        cores = os.cpu_count()
        print(
            f"{number} {kind}{'s' if number > 1 else ''}: {self.events:,} events {way}:"
            f" {self.events / total:,.0f} events/s per core of the {kind}s (the busiest:"
            f" {max(self.cpu):.1f} of {total:.1f} s), {self.events / self.seconds:,.0f}/s as a whole."
            f" CPU beside: {beside}. {cores} cores do at most"
            f" {cores * self.events / every:,.0f}/s of all this together; with cores of their own"
            f" these {kind}s would do {self.events / max(self.cpu):,.0f}/s",
            flush=True,
        )


def run(broker, events):
    vendor, url = simulator(rate=RATE, odd=False, websites=["shop.example.com"])
    try:
        accounts = Accounts(url)
        for workers in PROCESSES:
            collected(broker, accounts, vendor.pid, workers).print(
                "worker", "from a vendor into the broker"
            )
    finally:
        vendor.kill()
        vendor.communicate()
    fill(broker, events)
    with null_bulk() as sink:
        for writers in PROCESSES:
            written(broker, sink, writers, REPEATS * len(events)).print(
                "writer", "out of the broker to a null bulk server, gzip 1"
            )


class Accounts:
    """Inputs that read one simulator, one in each partition: so each worker has as many. `simulated`:
    their ids, as `World` names them."""

    def __init__(self, url):
        self.url = url
        count = SimpleNamespace(count=PARTITIONS)
        ids = {}
        for number in itertools.count():
            ids.setdefault(Fleet.number_of(count, f"v{number}"), f"v{number}")
            if len(ids) == PARTITIONS:
                break
        self.simulated = sorted(ids.values())

    def input(self, name, **more):
        account = {"client_id": "demo", "client_secret": "demo-secret"}
        place = {"type": "apptrana", "id": name, "url": self.url}
        return {**place, "lag": f"{LAG}s", **account, **more}


def collected(broker, accounts, vendor, workers):
    """Return what workers need to read the vendor from LOOKBACK on, once each has its inputs."""
    world = World(
        broker, accounts, partitions=PARTITIONS, lookback=LOOKBACK, name=f"fleet{workers}"
    )
    world.set_up()
    pids = {"vendor": vendor, "broker": broker.pid}
    try:
        running = [world.add(f"w{number}") for number in range(workers)]
        for each in running:
            each.until("got partitions")
        before = [cpu_seconds(each.process.pid) for each in running]
        others = {name: cpu_seconds(pid) for name, pid in pids.items()}
        world.wait_until_read(int((world.first - LAG) * 1000))
        cpu = [cpu_seconds(each.process.pid) for each in running]
        used = {name: cpu_seconds(pid) - others[name] for name, pid in pids.items()}
        assert [each.end() for each in running] == [0] * workers
    finally:
        world.close()
    messages = read(broker, f"{world.name}.events.apptrana.attack")
    times = [message.timestamp()[1] for message in messages]
    return Measured(
        events=len(messages),
        cpu=[after - start for after, start in zip(cpu, before)],
        others=used,
        seconds=(max(times) - min(times)) / 1000,
    )


def fill(broker, events):
    """Write the made events to a topic, as many to each partition. A repeat has ids of its own: the
    input leaves out an id that comes twice in a batch."""
    create(broker, TOPIC, partitions=PARTITIONS)
    output = Kafka(fill_in(Settings, {"hosts": [broker.address], "topic": TOPIC}))
    for number in range(REPEATS):
        for begin in range(0, len(events), 1_000):
            part = [with_id(event, number) for event in events[begin : begin + 1_000]]

            def write(messages, partition=(number + begin // 1_000) % PARTITIONS):
                return output.writer.write(
                    [each._replace(partition=partition) for each in messages]
                )

            assert output.deliver_by(write, UNIT, part) == []
    output.close()


def with_id(event, number):
    """Return an event with an id that a number makes another."""
    details = event["event"]
    return {**event, "event": {**details, "id": f"{number:04x}{details['id'][4:]}"}}


def written(broker, sink, writers, number):
    """Return what writers need to deliver a topic. Starting, joining the group and ending is measured
    with a second run, which has nothing to deliver, and is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        pids = {"bulk server": sink.pid, "broker": broker.pid}
        runs = []
        for _ in range(2):
            before = {name: cpu_seconds(pid) for name, pid in pids.items()}
            began = time.perf_counter()
            running = [
                start_writer(Path(folder, str(place)), broker, sink.url, writers)
                for place in range(writers)
            ]
            cpu = cpu_until_end(running)
            seconds = time.perf_counter() - began
            logs = [process.communicate()[1] for process in running]
            assert [process.returncode for process in running] == [0] * writers, logs
            others = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
            runs.append(Measured(sum(map(accepted, logs)), cpu, others, seconds))
        full, idle = runs
        assert (full.events, idle.events) == (number, 0), (full, idle, logs)
        return Measured(
            events=number,
            cpu=[each - sum(idle.cpu) / writers for each in full.cpu],
            others={name: cpu - idle.others[name] for name, cpu in full.others.items()},
            seconds=full.seconds - idle.seconds,
        )


def start_writer(folder, broker, url, writers):
    folder.mkdir(exist_ok=True)
    source = {"type": "kafka", "hosts": [broker.address], "topics": [TOPIC]}
    config = {
        "path.data": str(folder / "data"),
        "http": {"enabled": False},
        "inputs": [{**source, "group_id": f"bench-{writers}"}],
        "output": {"elasticsearch": {"hosts": [url]}},
    }
    file = folder / "siemtap.yml"
    file.write_text(json.dumps(config))
    file.chmod(0o600)
    return start("run", "--once", "-c", str(file), stderr=subprocess.PIPE, text=True)
