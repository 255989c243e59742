"""Speed on a real broker: what the output `kafka` alone costs, then workers of a fleet into the broker
and writers out of it (`bench_fleet`): `ci/bench kafka`."""

from __future__ import annotations

import time

import bench_fleet
from bench_hec import UNIT, made
from kafka_broker import Broker, create

from siemtap.core.manifest import fill_in
from siemtap.outputs import OutputContext
from siemtap.outputs.kafka.output import Kafka
from siemtap.outputs.kafka.settings import Settings
from siemtap.shipper.memory import run_gc_less_often

BATCHES = (200, 1_000, 5_000)  # events in one delivery
ROUNDS = 5


def run():
    run_gc_less_often()
    # so that all members of a group are there before it assigns anything
    with Broker(**{"group.initial.rebalance.delay.ms": "3000"}) as broker:
        events = made()
        for compression in ("zstd", "none"):
            for size in BATCHES:
                into_the_broker(broker, events, size, compression)
        bench_fleet.run(broker, events)


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
