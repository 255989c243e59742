"""Speed of the output `splunk_hec` to a collector that stores nothing, beside the output
`elasticsearch` to a bulk server that stores nothing: `ci/bench hec`."""

from __future__ import annotations

import time

from bench_costs import run_once
from bench_records import records
from campaign import simulator as simulator_process
from null_bulk import null_bulk

from apptrana import PLUGIN
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch, Unit
from siemtap.core.settings import CommonSettings
from siemtap.engine.mapper import batch_mapper
from siemtap.outputs import OutputContext
from siemtap.outputs.elasticsearch.output import Elasticsearch
from siemtap.outputs.splunk_hec.output import SplunkHec
from siemtap.render import registry

UNIT = Unit("apptrana", "apptrana.attack")
BATCH = 1_000  # events in one delivery
ROUNDS = 5
OUTPUTS = {
    "elasticsearch, no gzip": (Elasticsearch, {"compression_level": 0}),
    "elasticsearch, gzip 1": (Elasticsearch, {}),
    "splunk_hec, no gzip": (SplunkHec, {"compression_level": 0}),
    "splunk_hec, gzip 1": (SplunkHec, {}),
    "splunk_hec, gzip 1, ack": (SplunkHec, {"ack": True}),
}


def run():
    vendor, vendor_url = simulator_process(rate=200.0, odd=False, websites=["shop.example.com"])
    try:
        with null_bulk() as sink:
            of_made_events(sink.url)
            of_the_whole_shipper(vendor_url, sink.url)
    finally:
        vendor.kill()
        vendor.communicate()


def of_made_events(url):
    """Print the events a second of CPU that each output takes. The outputs take turns."""
    events = made()
    batches = [events[start : start + BATCH] for start in range(0, len(events), BATCH)]
    outputs = {name: opened(kind, url, settings) for name, (kind, settings) in OUTPUTS.items()}
    cpu = dict.fromkeys(outputs, float("inf"))
    waited = dict.fromkeys(outputs, float("inf"))
    for _ in range(ROUNDS):
        for name, output in outputs.items():
            began, started = time.process_time(), time.perf_counter()
            for batch in batches:
                assert output.deliver(UNIT, batch, None) == []
            cpu[name] = min(cpu[name], time.process_time() - began)
            waited[name] = min(waited[name], time.perf_counter() - started)
    print(f"{len(events):,} made events, {BATCH:,} in a delivery, best of {ROUNDS}:")
    for name, output in outputs.items():
        output.close()
        print(
            f"  {name:24s} {len(events) / cpu[name]:9,.0f} events/s per core,"
            f" {1000 * waited[name] / len(batches):5.0f} ms a delivery"
        )
    print("splunk_hec, gzip 1: as above (at least 20,000, aim 40,000)")


def made():
    settings = fill_in(PLUGIN.settings, {"client_id": "x", "client_secret": "y"})
    map_batch = batch_mapper(
        PLUGIN, settings, fill_in(CommonSettings, {}), {}, lambda: "2026-03-04T10:00:00.000Z"
    )
    return map_batch(Batch(PLUGIN.dataset(UNIT.dataset), records(), {}, 0))


def opened(kind, url, settings):
    more = {"token": "x"} if kind is SplunkHec else {}
    return kind(
        fill_in(kind.settings_type, {"hosts": [url], **more, **settings}),
        OutputContext(datasets=registry.datasets()),
    )


def of_the_whole_shipper(vendor_url, url):
    """Print the events a second of CPU from the vendor's JSON over HTTP to the collector."""
    account = {"type": "apptrana", "url": vendor_url, "client_id": "demo"}
    sections = {
        "splunk_hec": {"hosts": [url], "token": "x"},
        "elasticsearch": {"hosts": [url]},
    }
    for name, section in sections.items():
        number, seconds = min(
            (
                run_once(
                    time.process_time,
                    {**account, "client_secret": "demo-secret", "lookback": "1h"},
                    output={name: section},
                )
                for _ in range(3)
            ),
            key=lambda pair: pair[1] / pair[0],
        )
        print(
            f"{number:,} events, the whole shipper to {name}, gzip 1:"
            f" {number / seconds:,.0f} events/s per core"
        )
