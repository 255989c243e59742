"""Records of AppTrana for the benchmarks."""

from __future__ import annotations

import random

from apptrana import simulator

RECORDS, PAGE = 5_000, 100
LANGUAGES = ("en-GB", "de-DE", "pt-BR", "hi-IN", "-")


def records(number_of_records=RECORDS):
    """Return records that differ in every field that the vendor fills."""
    rng = random.Random(7)
    source = simulator.Simulator(simulator.Knobs(odd=False, rate=1.0))
    distinct = []
    for number in range(number_of_records):
        record = source.record(rng, "shop.example.com", 1_772_618_400_000 + number * 977)
        record["requestHeader"] = (
            '"Host":" shop.example.com " ,'
            f' "User-Agent":"Scanner/{number}.{rng.random():.4f}","Accept":"text/html;q={rng.random():.2f}",'
            f'"Accept-Language":"{rng.choice(LANGUAGES)}","Accept-Encoding":"-","Connection":"-","Cookie":"sid={number}"'
        )
        record["responseHeader"] = (
            f'"Cache-Control":"-","Connection":"-","Content-Type":"text/html","Content-Length":"{rng.randrange(10**6)}",'
            '"Date":"-","Keep-Alive":"-","Server":"-"'
        )
        record.update(
            target=f"ARGS:{number % 97}",
            ipReputation="UNK",
            statusCode=406,
            tlsVersion="TLSv1.2",
            attackUri=f"/p/{number}?q={rng.random()}",
            attackData=f"q={rng.random()}",
        )
        distinct.append({"websiteName": " shop.example.com ", **record})
    return distinct
