"""Benchmarks. Times depend on the machine; the ratios, measured in one run, do not.

usage: python tests/live/bench.py pipeline [--plugin pingintelligence] | counts [--accept] |
backfill | inputs | elasticsearch | peers | syslog | hec | kafka |
receive | apis | splunk | processors | processes, with arguments of its function such as rounds=1;
or all [--short]"""

from __future__ import annotations

import json
import resource
import sys
import time
import urllib.request

import bench_all
import bench_counts
import bench_hec
import bench_inputs
import bench_kafka
import bench_peers
import bench_processes
import bench_processors
import bench_receive
import bench_reports
import bench_splunk
import bench_syslog
import orjson
from bench_costs import best, print_costs, run_once
from bench_records import PAGE, RECORDS, records
from campaign import ask
from campaign import simulator as simulator_process
from elasticsearch import Elasticsearch, helpers
from null_bulk import null_bulk

from apptrana import PLUGIN
from siemtap.core.identity import identify as name_of
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch
from siemtap.core.settings import CommonSettings
from siemtap.edge import schemas
from siemtap.edge.encode import encode
from siemtap.engine.mapper import batch_mapper
from siemtap.render.event_check import SchemaCheck
from siemtap.shipper.memory import run_gc_less_often

ATTACK = PLUGIN.dataset("apptrana.attack")


def pipeline():
    texts = [orjson.dumps(record) for record in records()]
    settings = fill_in(PLUGIN.settings, {"client_id": "x", "client_secret": "y"})
    added_fields = {"agent.type": "siemtap", "agent.version": "0", "agent.name": "bench"}
    check = SchemaCheck(schemas.read("event.schema.json"), PLUGIN.datasets)
    map_batch = batch_mapper(
        PLUGIN,
        settings,
        fill_in(CommonSettings, {}),
        added_fields,
        lambda: "2026-03-04T10:00:00.000Z",
        check,
    )
    pages = [texts[start : start + PAGE] for start in range(0, RECORDS, PAGE)]

    def read(page):
        return [json.loads(text) for text in page]

    def batch(page):
        return [Batch(ATTACK, read(page), {}, 0)]

    def events(page):
        return [event for part in batch(page) for event in map_batch(part)]

    sample = [event for page in pages for event in events(page)]
    assert len({event["event"]["id"] for event in sample}) == RECORDS
    assert not any(map(check, sample))
    run_gc_less_often()

    def whole(batch):
        for event in map_batch(batch):
            if check(event) is None:
                encode(event)

    seconds = best(
        {
            "loads": (list, orjson.loads),
            "dumps": (events, orjson.dumps),
            "event": (batch, map_batch),
            "id": (read, identify),
            "validated": (events, check),
            "encoded": (events, encode),
            "whole": (batch, whole),
        },
        pages,
    )
    micros = {name: duration / RECORDS * 1e6 for name, duration in seconds.items()}
    print(
        f"{RECORDS} distinct AppTrana records, {len(texts[0])} bytes in, {len(encode(sample[0]))}"
        f" bytes out, best of five, Python {sys.version.split()[0]}"
    )
    print_costs(
        micros,
        (
            ("record -> event", micros["event"] - micros["id"]),
            ("id", micros["id"]),
            ("validated", micros["validated"]),
            ("encoded", micros["encoded"]),
        ),
        "record",
        "event",
    )


def identify(record):
    return name_of(
        "apptrana.attack",
        (record["requestId"], record["ruleId"], record["attackTime"], record["websiteName"]),
    )


def backfill(days=30):
    """Measure the backfill of days of one account: of 30 days 8,640 windows, a simulator process that takes
    50 ms for each, `concurrency: 16`."""
    vendor, url = simulator_process(delay=0.05, rate=0.2, odd=False, websites=["shop.example.com"])
    try:
        events, seconds = run_once(
            time.perf_counter, {**account(url), "lookback": f"{days}d", "concurrency": 16}
        )
        windows = ask(url, "counts")["getAttackInfo"]
        print(
            f"{windows:,} windows of 50 ms each, {events:,} events: {seconds:.1f} s (at most 60);"
            f" one after the other they would take {windows * 0.05:.0f} s"
        )
    finally:
        vendor.kill()
        vendor.communicate()


def elasticsearch(rounds=3):
    """Measure the whole shipper, from the vendor's JSON over HTTP to a bulk server that stores
    nothing: first memory, with a server that takes a second for each request, then CPU of the
    shipper's process. For comparison: the client's own helper with events that exist already."""
    vendor, url = simulator_process(rate=200.0, odd=False, websites=["shop.example.com"])
    try:
        with null_bulk() as sink:
            urllib.request.urlopen(f"{sink.url}/slow?seconds=1", timeout=10).close()
            number, _ = shipped(url, sink.url, lookback="1h", compression_level=1)
            print(
                f"{number:,} events into a server that takes a second for each request:"
                f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB resident at"
                " most (at most 200)"
            )
            urllib.request.urlopen(f"{sink.url}/slow?seconds=0", timeout=10).close()
            for level in (0, 1):
                number, seconds = min(
                    (
                        shipped(url, sink.url, lookback="2h", compression_level=level)
                        for _ in range(rounds)
                    ),
                    key=lambda pair: pair[1] / pair[0],
                )
                print(
                    f"{number:,} events, gzip level {level}: {number / seconds:,.0f} events/s per core"
                    " (at least 20,000, aim 40,000)"
                )
            events = [event for _, event in zip(range(20_000), repeated())]
            started = time.process_time()
            client = Elasticsearch([sink.url])
            actions = (
                {
                    "_op_type": "create",
                    "_index": "logs-apptrana.attack-default",
                    "_id": str(n),
                    "_source": event,
                }
                for n, event in enumerate(events)
            )
            done = sum(ok for ok, _ in helpers.streaming_bulk(client, actions, chunk_size=1600))
            client.close()
            print(
                "the client's streaming_bulk, of events that are made already, in the same minute:"
                f" {done / (time.process_time() - started):,.0f} events/s per core"
            )
    finally:
        vendor.kill()
        vendor.communicate()


def repeated():
    settings = fill_in(PLUGIN.settings, {"client_id": "x", "client_secret": "y"})
    map_batch = batch_mapper(
        PLUGIN, settings, fill_in(CommonSettings, {}), {}, lambda: "2026-03-04T10:00:00.000Z"
    )
    while True:
        yield from map_batch(Batch(ATTACK, records(), {}, 0))


def account(url):
    return {
        "type": "apptrana",
        "url": url,
        "client_id": "demo",
        "client_secret": "demo-secret",
    }


def shipped(url, bulk_url, lookback, compression_level):
    """Run the shipper once; return (events, seconds of CPU)."""
    return run_once(
        time.process_time,
        {**account(url), "lookback": lookback},
        output={"elasticsearch": {"hosts": [bulk_url], "compression_level": compression_level}},
    )


if __name__ == "__main__":
    works = {
        "pipeline": pipeline,
        "counts": bench_counts.run,
        "backfill": backfill,
        "inputs": bench_inputs.run,
        "elasticsearch": elasticsearch,
        "peers": bench_peers.run,
        "syslog": bench_syslog.run,
        "hec": bench_hec.run,
        "kafka": bench_kafka.run,
        "receive": bench_receive.run,
        "apis": bench_reports.apis,
        "splunk": bench_splunk.run,
        "processors": bench_processors.processors,
        "processes": bench_processes.run,
    }
    if sys.argv[1:] == ["pipeline", "--plugin", "pingintelligence"]:
        bench_reports.pipeline()
    elif sys.argv[1:2] == ["all"]:
        bench_all.run(short="--short" in sys.argv)
    elif not works.keys() & sys.argv[1:2]:
        sys.exit(__doc__)
    else:
        sizes = [word.split("=") for word in sys.argv[2:] if "=" in word]
        works[sys.argv[1]](**{name: int(value) for name, value in sizes})
