"""Cost of large ABS reports and of many APIs: `ci/bench pipeline --plugin pingintelligence`,
`ci/bench apis`."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time

import orjson
from bench_costs import best, print_costs, run_once
from pingintelligence import PLUGIN
from pingintelligence.attacks import Query, flatten

from siemtap.core.identity import identify
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Unit
from siemtap.core.settings import CommonSettings
from siemtap.edge import schemas
from siemtap.edge.client.http import Http
from siemtap.edge.client.messages import Reply
from siemtap.edge.encode import encode
from siemtap.engine.mapper import batch_mapper
from siemtap.engine.protocols import Feed
from siemtap.engine.pump import pump
from siemtap.render.event_check import SchemaCheck
from siemtap.shipper.memory import run_gc_less_often

DETAILS = 50_000  # in total
DETAILS_PER_IDENTIFIER = 5
PAGE = 500  # details of one report
ATTACK = PLUGIN.dataset("pingintelligence.attack")
KINDS = (("ips", "ip"), ("cookies", "cookie"), ("access_tokens", "access_token"))


def build_report(details=DETAILS, number=0):
    """Return a consolidated report: three kinds of identifier, several attacks of each."""
    rng = random.Random(number)
    report = {
        "company": "ping identity",
        "name": "api_attack_type",
        "attack_type": "API Probing Replay Attack Type 1",
        "description": "client probing an API for what it does not know",
        "earlier_date": "Wed Mar 04 08:00:00:000 2026",
        "later_date": "Wed Mar 04 18:00:00:000 2026",
        "api_name": f"shop_{number}",
        "cookie": "JSESSIONID",
    }
    for place in range(details // DETAILS_PER_IDENTIFIER):
        name, key = KINDS[place % 3]
        value = (
            f"198.51.{rng.randrange(256)}.{rng.randrange(256)}"
            if key == "ip"
            else f"{rng.getrandbits(128):032x}"
        )
        stamps = [
            "Wed Mar 04"
            f" {rng.randrange(8, 18):02d}:{rng.randrange(60):02d}:{rng.randrange(60):02d}:{rng.randrange(1000):03d}"
            " 2026"
            for _ in range(DETAILS_PER_IDENTIFIER)
        ]
        report.setdefault(name, []).append(
            {
                key: value,
                "details": [
                    {
                        "access_time": stamp,
                        "attack_code": f"varA(Tx, {rng.randrange(20, 90)})",
                        "attack_deviation": f"varA({rng.randrange(100, 900)}%)",
                    }
                    for stamp in stamps
                ],
            }
        )
    return report


def pipeline():
    settings = fill_in(
        PLUGIN.settings,
        {"url": "https://abs.example.com:8080", "access_key": "a", "secret_key": "b"},
    )
    added_fields = {"agent.type": "siemtap", "agent.version": "0", "agent.name": "bench"}
    check = SchemaCheck(schemas.read("event.schema.json"), PLUGIN.datasets)
    map_batch = batch_mapper(
        PLUGIN,
        settings,
        fill_in(CommonSettings, {}),
        added_fields,
        lambda: "2026-03-04T18:30:00.000Z",
        check,
    )
    pages = [orjson.dumps([build_report(PAGE, number)]) for number in range(DETAILS // PAGE)]

    def read(page):
        return [json.loads(page)]

    def records(page):
        return [flatten(json.loads(page), Query(0, "shop"), settings)]

    def batch(page):
        return [Batch(ATTACK, attacks, {}, 0) for attacks in records(page)]

    def events(page):
        return [event for part in batch(page) for event in map_batch(part)]

    def whole(reports):
        for event in map_batch(Batch(ATTACK, flatten(reports, Query(0, "shop"), settings), {}, 0)):
            if check(event) is None:
                encode(event)

    def name(record):
        return identify(
            "pingintelligence.attack",
            (
                record["@name"],
                record["@api"],
                *record["@who"],
                record["access_time"],
                record["attack_code"],
            ),
        )

    sample = [event for page in pages[:10] for event in events(page)]
    assert len({event["event"]["id"] for event in sample}) == len(sample) > 0.99 * 10 * PAGE
    assert not any(map(check, sample))
    run_gc_less_often()
    seconds = best(
        {
            "loads": (lambda page: [page], orjson.loads),
            "dumps": (events, orjson.dumps),
            "flat": (read, lambda reports: flatten(reports, Query(0, "shop"), settings)),
            "event": (batch, map_batch),
            "id": (lambda page: records(page)[0], name),
            "validated": (events, check),
            "encoded": (events, encode),
            "whole": (read, whole),
        },
        pages,
    )
    micros = {name: duration / DETAILS * 1e6 for name, duration in seconds.items()}
    print(
        f"consolidated reports of {DETAILS:,} details in all, {sum(map(len, pages)) // DETAILS}"
        f" bytes in for each, {len(encode(sample[0]))} bytes out, best of five, Python"
        f" {sys.version.split()[0]}"
    )
    print_costs(
        micros,
        (
            ("report -> records", micros["flat"]),
            ("record -> event", micros["event"] - micros["id"]),
            ("id", micros["id"]),
            ("validated", micros["validated"]),
            ("encoded", micros["encoded"]),
        ),
        "report",
        "events",
    )
    print(
        subprocess.run(
            [sys.executable, __file__, "memory"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )


def memory():
    """Measure one report of 50,000 details, from response to output, in a process of its own."""
    body = orjson.dumps(build_report())
    settings = fill_in(
        PLUGIN.settings,
        {"url": "https://abs.example.com:8080", "access_key": "a", "secret_key": "b"},
    )
    client = PLUGIN.connect(
        settings,
        Http(
            lambda request, seconds: Reply(
                200,
                {"content-type": "application/json"},
                body if "type=0" in request.url else b"[]",
            )
        ),
    )
    check = SchemaCheck(schemas.read("event.schema.json"), PLUGIN.datasets)
    map_batch = batch_mapper(
        PLUGIN, settings, fill_in(CommonSettings, {}), {}, lambda: "2026-03-04T18:30:00.000Z", check
    )
    delivered = [0]

    class Output:
        def deliver(self, unit, events, mark):
            delivered[0] += sum(len(encode(event)) > 0 for event in events if check(event) is None)

    from siemtap.core.model import Mark

    unit, now = Unit("it", ATTACK.name, "shop"), client.http.now()
    pump(
        unit,
        Mark({"until": now - 45 * 60_000}),
        Feed(PLUGIN.collect(client, unit, {"until": now - 45 * 60_000}, now)),
        map_batch,
        Output(),
    )
    print(
        f"one report of {DETAILS:,} details ({len(body) / 2**20:.0f} MiB), {delivered[0]:,} events:"
        f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB resident at most"
        " (at most 200)"
    )


def apis(number=500):
    """Measure one cycle of many APIs: 100 ms for each call, four calls in flight, a simulator in a
    process of its own."""
    from campaign import ask
    from campaign import simulator as simulator_process

    vendor, url = simulator_process(
        "pingintelligence", apis=number, rate=0.0005, delay=0.1, odd=False
    )
    try:
        events, seconds = run_once(
            time.perf_counter,
            {
                "type": "pingintelligence",
                "url": url,
                "access_key": "demo-access",
                "secret_key": "demo-secret",
                "lookback": "2h",
            },
        )
        calls = ask(url, "counts")
        print(
            f"{number} APIs, {sum(calls.values()):,} calls of 100 ms each, at most 4 in flight,"
            f" {events:,} events: {seconds:.1f} s (at most 60;"
            f" {sum(calls.values()) * 0.1 / 4:.1f} s are the calls' own)"
        )
    finally:
        vendor.kill()
        vendor.communicate()


if __name__ == "__main__":
    {"memory": memory}[sys.argv[1]]()
