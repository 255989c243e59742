"""What each processor costs an event, beside the mapping of an AppTrana record, in one run."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import orjson
from bench_costs import best
from bench_records import PAGE, RECORDS, records
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from apptrana import PLUGIN
from siemtap.core.manifest import fill_in
from siemtap.core.model import Batch
from siemtap.core.settings import CommonSettings
from siemtap.engine.mapper import batch_mapper
from siemtap.shipper.processors.steps import process

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
    """Print the microseconds an event of each processor, less those of the mapping alone."""
    texts = [orjson.dumps(record) for record in records()]
    pages = [texts[start : start + PAGE] for start in range(0, RECORDS, PAGE)]
    settings = fill_in(PLUGIN.settings, {"client_id": "x", "client_secret": "y"})
    map_batch = batch_mapper(
        PLUGIN, settings, fill_in(CommonSettings, {}), {}, lambda: "2026-03-04T10:00:00.000Z"
    )
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
        # what is measured first at a page pays for its cold caches
        chains = {"warm-up": [], "mapping alone": [], "no processors": []}
        chains.update({name: [{name: spec}] for name, spec in specs.items()})

        def batch(page):
            return [Batch(ATTACK, [json.loads(text) for text in page], {}, 0)]

        works = {name: (batch, process(map_batch, chain)) for name, chain in chains.items()}
        works["mapping alone"] = (batch, map_batch)
        micros = {name: 1e6 * spent / RECORDS for name, spent in best(works, pages).items()}
    micros.pop("warm-up")
    alone = micros.pop("mapping alone")
    print(f"  {'mapping alone':17s} {alone:6.2f} µs")
    for name, spent in micros.items():
        print(f"  {name:17s} {spent - alone:+6.2f} µs")
