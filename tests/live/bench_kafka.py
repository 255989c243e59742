"""Speed of the output and the input `kafka` on a real broker: events a second per core of siemtap's
CPU, into the broker and out of it to a bulk server that stores nothing: `ci/bench kafka`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_hec import UNIT, made
from kafka_broker import Broker, create

from siemtap.core.manifest import fill_in
from siemtap.outputs import OutputContext
from siemtap.outputs.kafka.output import Kafka
from siemtap.outputs.kafka.settings import Settings
from siemtap.shipper.config.load import parse
from siemtap.shipper.memory import run_gc_less_often
from siemtap.shipper.process import Shipper

BATCHES = (200, 1_000, 5_000)  # events in one delivery
ROUNDS = 5
REPEATS = 5  # of the made events in the topic that is read
TOPIC = "bench"


def run():
    run_gc_less_often()
    sink = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("null_bulk.py"))],
        stdout=subprocess.PIPE,
        text=True,
    )
    url = sink.stdout.readline().strip()
    try:
        with Broker() as broker:
            events = made()
            for compression in ("zstd", "none"):
                for size in BATCHES:
                    into_the_broker(broker, events, size, compression)
            fill(broker, events)
            out_of_the_broker(broker, url, REPEATS * len(events))
    finally:
        sink.kill()
        sink.communicate()


def opened(broker, topic, compression="zstd"):
    settings = {"hosts": [broker.address], "topic": topic, "compression": compression}
    return Kafka(fill_in(Settings, settings), OutputContext())


def into_the_broker(broker, events, size, compression):
    """Print what the made events cost, in deliveries of one thread."""
    topic = f"into-{compression}-{size}"
    create(broker, topic, partitions=4)
    output = opened(broker, topic, compression)
    batches = [events[start : start + size] for start in range(0, len(events), size)]
    cpu = waited = float("inf")
    for _ in range(ROUNDS):
        began, started = time.process_time(), time.perf_counter()
        for batch in batches:
            assert output.deliver(UNIT, batch, None) == []
        cpu = min(cpu, time.process_time() - began)
        waited = min(waited, time.perf_counter() - started)
    output.close()
    print(
        f"into the broker, {compression:4s}, {size:5,} in a transaction:"
        f" {len(events) / cpu:9,.0f} events/s per core, {len(events) / waited:8,.0f}/s as a whole,"
        f" {1000 * waited / len(batches):4.0f} ms a transaction"
    )


def fill(broker, events):
    create(broker, TOPIC, partitions=4)
    output = opened(broker, TOPIC)
    for _ in range(REPEATS):
        for start in range(0, len(events), 1_000):
            output.deliver(UNIT, events[start : start + 1_000], None)
    output.close()


def out_of_the_broker(broker, url, number):
    """Print what the input and the output `elasticsearch` cost together, joining included."""
    cpu = waited = float("inf")
    for attempt in range(3):
        with tempfile.TemporaryDirectory() as folder:
            source = {"type": "kafka", "hosts": [broker.address], "topics": [TOPIC]}
            config = {
                "path": {"data": folder},
                "inputs": [{**source, "group_id": f"bench-{attempt}"}],
                "output": {"elasticsearch": {"hosts": [url]}},
            }
            shipper = Shipper(parse(json.dumps(config)), once=True)
            began, started = time.process_time(), time.perf_counter()
            assert shipper.run()
            cpu = min(cpu, time.process_time() - began)
            waited = min(waited, time.perf_counter() - started)
            assert shipper.counts.totals["accepted"] == number
    print(
        f"{number:,} events out of the broker to a null bulk server, gzip 1:"
        f" {number / cpu:,.0f} events/s per core, {number / waited:,.0f}/s as a whole"
    )
