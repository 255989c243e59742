"""What things cost. Absolute times are of this machine; the ratios, measured in one run, count.

usage: python tests/live/bench.py pipeline [--plugin pingintelligence] | backfill | inputs
                                  | elasticsearch | receive | apis | splunk
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import bench_receive
import bench_reports
import bench_splunk
import orjson
import psutil
from campaign import ask, start
from campaign import simulator as simulator_process
from elasticsearch import Elasticsearch, helpers

from apptrana import PLUGIN, simulator
from siemtap import contract
from siemtap.core.forms import Every
from siemtap.core.identity import identify as name_of
from siemtap.core.manifest import fill_in
from siemtap.core.mapping import rfc3339
from siemtap.core.model import Batch
from siemtap.engine import voice
from siemtap.outputs.checked import compiled
from siemtap.outputs.encode import encode
from siemtap.runners.config import parse
from siemtap.runners.shipper import Shipper, spare_the_collector

RECORDS, PAGE = 5_000, 100
ATTACK = PLUGIN.dataset("apptrana.attack")
LANGUAGES = ("en-GB", "de-DE", "pt-BR", "hi-IN", "-")


def records():
    """Distinct in every field that the vendor fills, headers above all."""
    luck, knobs = random.Random(7), simulator.Knobs(odd=False, rate=1.0)
    source = simulator.Simulator(knobs)
    made = []
    for number in range(RECORDS):
        record = source.record(luck, "shop.example.com", 1_772_618_400_000 + number * 977)
        record["requestHeader"] = (
            '"Host":" shop.example.com " ,'
            f' "User-Agent":"Scanner/{number}.{luck.random():.4f}","Accept":"text/html;q={luck.random():.2f}",'
            f'"Accept-Language":"{luck.choice(LANGUAGES)}","Accept-Encoding":"-","Connection":"-","Cookie":"sid={number}"'
        )
        record["responseHeader"] = (
            f'"Cache-Control":"-","Connection":"-","Content-Type":"text/html","Content-Length":"{luck.randrange(10**6)}",'
            '"Date":"-","Keep-Alive":"-","Server":"-"'
        )
        record.update(
            target=f"ARGS:{number % 97}",
            ipReputation="UNK",
            statusCode=406,
            tlsVersion="TLSv1.2",
            attackUri=f"/p/{number}?q={luck.random()}",
            attackData=f"q={luck.random()}",
        )
        made.append({"websiteName": " shop.example.com ", **record})
    return made


def best(works, pages, rounds=5):
    """Seconds of the fastest of five rounds for each work: (what it needs of a page, what it does
    with that). A page is read anew before each work meets it, as in life; all works take turns at
    every page, so that a slow moment of the machine meets them alike."""
    found = {name: float("inf") for name in works}
    for _ in range(rounds):
        spent = dict.fromkeys(works, 0.0)
        for page in pages:
            for name, (need, work) in works.items():
                needed = need(page)
                began = time.perf_counter()
                for value in needed:
                    # the result is let go: what is held costs memory, and would make the peer look
                    # slow
                    work(value)
                spent[name] += time.perf_counter() - began
        found = {name: min(found[name], spent[name]) for name in works}
    return found


def pipeline():
    texts = [orjson.dumps(record) for record in records()]
    settings = fill_in(PLUGIN.settings, {"client_id": "x", "client_secret": "y"})
    also = {"agent.type": "siemtap", "agent.version": "0", "agent.name": "bench"}
    say = voice(PLUGIN, settings, fill_in(Every, {}), also, lambda: "2026-03-04T10:00:00.000Z")
    check = compiled(contract.read("event.schema.json"), PLUGIN.datasets)
    pages = [texts[start : start + PAGE] for start in range(0, RECORDS, PAGE)]

    def read(page):
        return [json.loads(text) for text in page]

    def batch(page):
        return [Batch(ATTACK, read(page), {}, 0)]

    def events(page):
        return [event for made in batch(page) for event in say(made)]

    made = [event for page in pages for event in events(page)]
    assert len({event["event"]["id"] for event in made}) == RECORDS and not any(map(check, made))
    spare_the_collector()

    def whole(batch):
        for event in say(batch):
            if check(event) is None:
                encode(event)

    seconds = best(
        {
            "loads": (list, orjson.loads),
            "dumps": (events, orjson.dumps),
            "event": (batch, say),
            "id": (read, identify),
            "validated": (events, check),
            "encoded": (events, encode),
            "whole": (batch, whole),
        },
        pages,
    )
    micros = {name: found / RECORDS * 1e6 for name, found in seconds.items()}
    total = micros["event"] + micros["validated"] + micros["encoded"]
    print(
        f"{RECORDS} distinct AppTrana records, {len(texts[0])} bytes in, {len(encode(made[0]))}"
        f" bytes out, best of five, Python {sys.version.split()[0]}"
    )
    for name, share in (
        ("record -> event", micros["event"] - micros["id"]),
        ("id", micros["id"]),
        ("validated", micros["validated"]),
        ("encoded", micros["encoded"]),
    ):
        print(f"  {name:16s} {share:6.2f} µs  {100 * share / total:5.1f} %")
    print(
        f"  all in one       {micros['whole']:6.2f} µs  = {1e6 / micros['whole']:,.0f} events/s per"
        " core"
    )
    print(
        "  orjson.loads of the record + orjson.dumps of the event:"
        f" {micros['loads'] + micros['dumps']:.2f} µs"
    )
    print(f"cost: {micros['whole'] / (micros['loads'] + micros['dumps']):.2f} x (at most 4, aim 2)")


def identify(record):
    return name_of(
        "apptrana.attack",
        (record["requestId"], record["ruleId"], record["attackTime"], record["websiteName"]),
    )


def backfill():
    """30 days of one account: 8,640 windows against a simulator of its own that takes 50 ms for
    each, `concurrency: 16`."""
    vendor, url = simulator_process(delay=0.05, rate=0.2, odd=False, websites=["shop.example.com"])
    try:
        with tempfile.TemporaryDirectory() as folder:
            config = parse(
                json.dumps(
                    {
                        "path": {"data": folder},
                        "inputs": [
                            {
                                "type": "apptrana",
                                "url": url,
                                "client_id": "demo",
                                "client_secret": "demo-secret",
                                "lookback": "30d",
                                "concurrency": 16,
                            }
                        ],
                    }
                )
            )
            shipper = Shipper(config, once=True)
            began = time.perf_counter()
            assert shipper.run(), "something was left undone"
            seconds = time.perf_counter() - began
        windows, events = ask(url, "counts")["getAttackInfo"], shipper.counts.totals["accepted"]
        print(
            f"{windows:,} windows of 50 ms each, {events:,} events: {seconds:.1f} s (at most 60);"
            f" one after the other they would take {windows * 0.05:.0f} s"
        )
    finally:
        vendor.kill()
        vendor.communicate()


def elasticsearch():
    """The whole shipper, from the vendor's JSON over HTTP to a bulk server that keeps nothing; CPU
    of the shipper's process alone. Beside it, the client's own helper with events that are made
    already. First with a server that takes a second for each request: how much memory?"""
    vendor, url = simulator_process(rate=200.0, odd=False, websites=["shop.example.com"])
    sink = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("null_bulk.py"))],
        stdout=subprocess.PIPE,
        text=True,
    )
    place = sink.stdout.readline().strip()
    try:
        urllib.request.urlopen(f"{place}/slow?seconds=1", timeout=10).close()
        number, _ = shipped(url, place, lookback="1h", compression_level=1)
        print(
            f"{number:,} events into a server that takes a second for each request:"
            f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB resident at"
            " most (at most 200)"
        )
        urllib.request.urlopen(f"{place}/slow?seconds=0", timeout=10).close()
        for level in (0, 1):
            number, seconds = min(
                (shipped(url, place, lookback="2h", compression_level=level) for _ in range(3)),
                key=lambda pair: pair[1] / pair[0],
            )
            print(
                f"{number:,} events, gzip level {level}: {number / seconds:,.0f} events/s per core"
                " (at least 20,000, aim 40,000)"
            )
        made = [event for _, event in zip(range(20_000), repeated())]
        began = time.process_time()
        client = Elasticsearch([place])
        actions = (
            {
                "_op_type": "create",
                "_index": "logs-apptrana.attack-default",
                "_id": str(n),
                "_source": event,
            }
            for n, event in enumerate(made)
        )
        done = sum(ok for ok, _ in helpers.streaming_bulk(client, actions, chunk_size=1600))
        client.close()
        print(
            "the client's streaming_bulk, of events that are made already, in the same minute:"
            f" {done / (time.process_time() - began):,.0f} events/s per core"
        )
    finally:
        for process in (vendor, sink):
            process.kill()
            process.communicate()


def repeated():
    settings = fill_in(PLUGIN.settings, {"client_id": "x", "client_secret": "y"})
    say = voice(PLUGIN, settings, fill_in(Every, {}), {}, lambda: "2026-03-04T10:00:00.000Z")
    while True:
        yield from say(Batch(ATTACK, records(), {}, 0))


def shipped(url, place, **more):
    """(events, seconds of CPU)"""
    with tempfile.TemporaryDirectory() as folder:
        level = more.pop("compression_level")
        config = parse(
            json.dumps(
                {
                    "path": {"data": folder},
                    "output": {"elasticsearch": {"hosts": [place], "compression_level": level}},
                    "inputs": [
                        {
                            "type": "apptrana",
                            "url": url,
                            "client_id": "demo",
                            "client_secret": "demo-secret",
                            **more,
                        }
                    ],
                }
            )
        )
        shipper = Shipper(config, once=True)
        began = time.process_time()
        assert shipper.run(), [
            state.error for running in shipper.inputs.values() for state in running.states()
        ]
        return shipper.counts.totals["accepted"], time.process_time() - began


def inputs(number=10_000):
    """So many inputs in one process, each with an account of its own: served in their interval?
    How much memory, how much idle?"""
    vendor, url = simulator_process(rate=0.2, odd=False, websites=["shop.example.com"])
    try:
        with tempfile.TemporaryDirectory() as folder:
            for interval, purpose in ((60, "served"), (86_400, "idle")):
                path = Path(folder) / "siemtap.yml"
                rows = [
                    {
                        "type": "apptrana",
                        "id": f"c{n}",
                        "url": url,
                        "client_id": f"demo-{n}",
                        "client_secret": "demo-secret",
                        "lookback": "60s",
                        "overlap": "60s",
                        "interval": f"{interval}s",
                    }
                    for n in range(number)
                ]
                path.write_text(
                    json.dumps(
                        {
                            "path": {"data": f"{folder}/{purpose}"},
                            "http": {"port": 0},
                            "workers": 8,
                            "inputs": rows,
                        }
                    )
                )
                many(path, interval, purpose, number)
    finally:
        vendor.kill()
        vendor.communicate()


def many(path, interval, purpose, number):
    began = time.monotonic()
    process = start("run", "-c", str(path), stderr=subprocess.PIPE, text=True)
    watched = psutil.Process(process.pid)
    try:
        address = next(
            line.rsplit(" ", 1)[1].strip() for line in process.stderr if "status page" in line
        )
        threading.Thread(target=process.stderr.read, daemon=True).start()
        ready = time.monotonic()

        def served(since):
            with urllib.request.urlopen(f"{address}stats", timeout=60) as answer:
                units = [unit for row in json.load(answer)["inputs"] for unit in row["units"]]
            return [
                unit
                for unit in units
                if unit["state"] == "ok" and (unit["last_success"] or "") >= since
            ], units

        if purpose == "served":
            # the first round is spread over one interval; then every one of them in each
            time.sleep(2.2 * interval)
            since = rfc3339(int((time.time() - 1.05 * interval) * 1000))
            good, units = served(since)
            cpu = watched.cpu_times()
            print(
                f"{number:,} inputs, interval {interval} s, configuration read in"
                f" {ready - began:.0f} s: {len(good):,} of {len(units):,} served within their"
                f" interval, {watched.memory_info().rss / 2**20:.0f} MiB (at most 400),"
                f" {100 * (cpu.user + cpu.system) / (time.monotonic() - began):.0f} % of a core"
            )
            assert len(units) == number
        else:
            time.sleep(10)
            idle(watched, number, interval)
    finally:
        process.terminate()
        process.wait(60)


def idle(watched, number, interval):
    """Nothing due: each input waits for its turn of the day."""
    time.sleep(5)
    before = watched.cpu_times()
    time.sleep(30)
    after = watched.cpu_times()
    print(
        f"{number:,} inputs, interval {interval} s:"
        f" {100 * (after.user + after.system - before.user - before.system) / 30:.1f} % of a core"
    )


if __name__ == "__main__":
    works = {
        "pipeline": pipeline,
        "backfill": backfill,
        "inputs": inputs,
        "elasticsearch": elasticsearch,
        "receive": bench_receive.all_of_it,
        "apis": bench_reports.apis,
        "splunk": bench_splunk.run,
    }
    if sys.argv[1:] == ["pipeline", "--plugin", "pingintelligence"]:
        bench_reports.pipeline(best)
    else:
        works[sys.argv[1]]()
