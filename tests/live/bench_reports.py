"""What large reports and many APIs cost: `ci/bench pipeline --plugin pingintelligence`,
`ci/bench apis`."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time

import orjson
from pingintelligence import PLUGIN
from pingintelligence.attacks import Asked, flatten

from siemtap import contract
from siemtap.core.forms import Every
from siemtap.core.identity import identify
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Unit
from siemtap.edge.http import Http, Reply
from siemtap.engine import pump, voice
from siemtap.outputs.checked import compiled
from siemtap.outputs.encode import encode
from siemtap.runners.config import parse
from siemtap.runners.shipper import Shipper, spare_the_collector

# of a report; of an identifier; of what is read at a time
DETAILS, EACH, PAGE = 50_000, 5, 500
ATTACK = PLUGIN.dataset("pingintelligence.attack")
KINDS = (("ips", "ip"), ("cookies", "cookie"), ("access_tokens", "access_token"))


def report(details=DETAILS, number=0):
    """A consolidated one: three kinds of identifier, some attacks of each."""
    luck, said = (
        random.Random(number),
        {
            "company": "ping identity",
            "name": "api_attack_type",
            "attack_type": "API Probing Replay Attack Type 1",
            "description": "client probing an API for what it does not know",
            "earlier_date": "Wed Mar 04 08:00:00:000 2026",
            "later_date": "Wed Mar 04 18:00:00:000 2026",
            "api_name": f"shop_{number}",
            "cookie": "JSESSIONID",
        },
    )
    for place in range(details // EACH):
        name, key = KINDS[place % 3]
        value = (
            f"198.51.{luck.randrange(256)}.{luck.randrange(256)}"
            if key == "ip"
            else f"{luck.getrandbits(128):032x}"
        )
        stamps = [
            "Wed Mar 04"
            f" {luck.randrange(8, 18):02d}:{luck.randrange(60):02d}:{luck.randrange(60):02d}:{luck.randrange(1000):03d}"
            " 2026"
            for _ in range(EACH)
        ]
        said.setdefault(name, []).append(
            {
                key: value,
                "details": [
                    {
                        "access_time": stamp,
                        "attack_code": f"varA(Tx, {luck.randrange(20, 90)})",
                        "attack_deviation": f"varA({luck.randrange(100, 900)}%)",
                    }
                    for stamp in stamps
                ],
            }
        )
    return said


def pipeline(best):
    settings = fill_in(
        PLUGIN.settings,
        {"url": "https://abs.example.com:8080", "access_key": "a", "secret_key": "b"},
    )
    also = {"agent.type": "siemtap", "agent.version": "0", "agent.name": "bench"}
    say = voice(PLUGIN, settings, fill_in(Every, {}), also, lambda: "2026-03-04T18:30:00.000Z")
    check = compiled(contract.read("event.schema.json"), PLUGIN.datasets)
    pages = [orjson.dumps([report(PAGE, number)]) for number in range(DETAILS // PAGE)]

    def read(page):
        return [json.loads(page)]

    def records(page):
        return [flatten(json.loads(page), Asked(0, "shop"), settings)]

    def batch(page):
        return [Batch(ATTACK, found, {}, 0) for found in records(page)]

    def events(page):
        return [event for made in batch(page) for event in say(made)]

    def whole(said):
        for event in say(Batch(ATTACK, flatten(said, Asked(0, "shop"), settings), {}, 0)):
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

    made = [event for page in pages[:10] for event in events(page)]
    assert len({event["event"]["id"] for event in made}) == len(
        made
    ) > 0.99 * 10 * PAGE and not any(map(check, made))
    spare_the_collector()
    seconds = best(
        {
            "loads": (lambda page: [page], orjson.loads),
            "dumps": (events, orjson.dumps),
            "flat": (read, lambda said: flatten(said, Asked(0, "shop"), settings)),
            "event": (batch, say),
            "id": (lambda page: records(page)[0], name),
            "validated": (events, check),
            "encoded": (events, encode),
            "whole": (read, whole),
        },
        pages,
    )
    micros = {name: found / DETAILS * 1e6 for name, found in seconds.items()}
    total = micros["flat"] + micros["event"] + micros["validated"] + micros["encoded"]
    print(
        f"consolidated reports of {DETAILS:,} details in all, {sum(map(len, pages)) // DETAILS}"
        f" bytes in for each, {len(encode(made[0]))} bytes out, best of five, Python"
        f" {sys.version.split()[0]}"
    )
    for name, share in (
        ("report -> records", micros["flat"]),
        ("record -> event", micros["event"] - micros["id"]),
        ("id", micros["id"]),
        ("validated", micros["validated"]),
        ("encoded", micros["encoded"]),
    ):
        print(f"  {name:17s} {share:6.2f} µs  {100 * share / total:5.1f} %")
    print(
        f"  all in one        {micros['whole']:6.2f} µs  = {1e6 / micros['whole']:,.0f} events/s"
        " per core"
    )
    print(
        "  orjson.loads of the report + orjson.dumps of the events:"
        f" {micros['loads'] + micros['dumps']:.2f} µs"
    )
    print(f"cost: {micros['whole'] / (micros['loads'] + micros['dumps']):.2f} x (at most 4, aim 2)")
    print(
        subprocess.run(
            [sys.executable, __file__, "memory"], capture_output=True, text=True, check=True
        ).stdout.strip()
    )


def memory():
    """One report of 50,000 details, from the answer to the output, in a process of its own."""
    body = orjson.dumps(report())
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
    say, check = (
        voice(PLUGIN, settings, fill_in(Every, {}), {}, lambda: "2026-03-04T18:30:00.000Z"),
        compiled(contract.read("event.schema.json"), PLUGIN.datasets),
    )
    taken = [0]

    class Output:
        def deliver(self, unit, events, mark):
            taken[0] += sum(len(encode(event)) > 0 for event in events if check(event) is None)

    from siemtap.core.model import Mark

    unit, now = Unit("it", ATTACK.name, "shop"), client.http.now()
    pump(
        unit,
        Mark({"until": now - 45 * 60_000}),
        PLUGIN.collect(client, unit, {"until": now - 45 * 60_000}, now),
        say,
        Output(),
    )
    print(
        f"one report of {DETAILS:,} details ({len(body) / 2**20:.0f} MiB), {taken[0]:,} events:"
        f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB resident at most"
        " (at most 200)"
    )


def apis(number=500):
    """So many APIs in one cycle, 100 ms for each answer, four calls in flight; a simulator of
    its own."""
    from campaign import ask
    from campaign import simulator as simulator_process

    vendor, url = simulator_process(
        "pingintelligence", apis=number, rate=0.0005, delay=0.1, odd=False
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            config = parse(
                json.dumps(
                    {
                        "path": {"data": folder},
                        "inputs": [
                            {
                                "type": "pingintelligence",
                                "url": url,
                                "access_key": "demo-access",
                                "secret_key": "demo-secret",
                                "lookback": "2h",
                            }
                        ],
                    }
                )
            )
            shipper = Shipper(config, once=True)
            began = time.perf_counter()
            assert shipper.run(), "something was left undone"
            seconds = time.perf_counter() - began
        calls = ask(url, "counts")
        print(
            f"{number} APIs, {sum(calls.values()):,} calls of 100 ms each, at most 4 in flight,"
            f" {shipper.counts.totals['accepted']:,} events: {seconds:.1f} s (at most 60;"
            f" {sum(calls.values()) * 0.1 / 4:.1f} s are the calls' own)"
        )
    finally:
        vendor.kill()
        vendor.communicate()


if __name__ == "__main__":
    {"memory": memory}[sys.argv[1]]()
