"""What each processor costs an event, beside the mapping of an AppTrana record, in one run."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench_records import records
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from apptrana import PLUGIN
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch
from siemtap.core.settings import CommonSettings
from siemtap.engine.mapper import batch_mapper
from siemtap.shipper.processors.steps import compile_processors, process

ATTACK = PLUGIN.dataset("apptrana.attack")
WHEN = {"equals": {"event.action": "nothing"}}
CITY = {
    "continent": {"names": {"en": "Europe"}},
    "country": {"iso_code": "GB", "names": {"en": "United Kingdom"}},
    "city": {"names": {"en": "Boxford"}},
    "location": {"latitude": 51.75, "longitude": -1.25},
}


def city_database(folder):
    writer = MMDBWriter(6, "GeoLite2-City", ipv4_compatible=True)
    for network in ("128.0.0.0/1", "64.0.0.0/2", "2000::/3"):
        writer.insert_network(IPSet([network]), CITY)
    writer.to_db_file(f"{folder}/city.mmdb")
    return f"{folder}/city.mmdb"


def processors():
    """Print the microseconds of CPU that an event costs in each processor, beside those of its
    mapping. Without processors there is nothing to measure: the mapping itself is what runs."""
    settings = fill_in(PLUGIN.settings, {"client_id": "x", "client_secret": "y"})
    map_batch = batch_mapper(
        PLUGIN, settings, fill_in(CommonSettings, {}), {}, lambda: "2026-03-04T10:00:00.000Z"
    )
    assert process(map_batch, []) is map_batch
    made = list(records())[:4_000]
    events = map_batch(Batch(ATTACK, made, {}, 0))
    mapping = fastest(lambda: map_batch(Batch(ATTACK, made, {}, 0)))
    print(f"  {'mapping':17s} {1e6 * mapping / len(events):5.1f} µs")
    with tempfile.TemporaryDirectory() as folder:
        specs = {
            "add_fields": {"fields": {"team": "web"}},
            "add_tags": {"tags": ["pci"]},
            "drop_event": {"when": WHEN},
            "drop_fields": {"fields": ["url.query"]},
            "geoip": {"database_file": city_database(Path(folder))},
            "rename": {"fields": [{"from": "user_agent.original", "to": "fields.agent"}]},
            "truncate_fields": {"fields": ["url.original"], "max_characters": 16},
        }
        for name, spec in specs.items():
            (step,) = compile_processors([{name: spec}])
            spent = fastest(lambda: [step(event) for event in events])
            print(f"  {name:17s} {1e6 * spent / len(events):5.1f} µs")


def fastest(work, rounds=5):
    """Return the seconds of CPU of the fastest round."""
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)
